"""A picture of the figures in ``benchmarks/results/serving.json``, beside that file.

    uv run --no-project --with matplotlib python benchmarks/serving/plot.py [serving.json] [serving.png]

matplotlib is not among this package's dependencies; uv lays it over the environment for this one run.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")
from matplotlib import pyplot as plt

RESULTS = Path(__file__).resolve().parents[1] / "results" / "serving.json"
WIDTH, HEIGHT, DOTS = 8.0, 4.3, 200
TITLES = {
    "floor": "bytes handed on\n(aiohttp, no parsing)",
    "las": "las serve",
    "las litellm": "las serve,\ntransport=litellm",
    "naive": "FastAPI + litellm\n(a tutorial's server)",
    "proxy": "LiteLLM Proxy",
}
COLOURS = {"las": "#1f6feb", "las litellm": "#8ab4f8", "floor": "#9aa0a6"}
OTHERS = "#d9822b"
PANELS = (
    ("an answer, 16 at a time", "plain 16", "cpu_us"),
    ("a streamed event, 16 at a time", "stream 16", "event_us"),
)


def shown(microseconds: float) -> str:
    """A time as people write it."""
    if microseconds < 1000:
        return f"{microseconds:.0f} µs"
    return f"{microseconds / 1000:.1f}".removesuffix(".0") + " ms"


def panel(axes: Any, results: dict[str, Any], title: str, case: str, measure: str) -> None:
    """Draw one measure of all servers."""
    names = [name for name in TITLES if case in results.get(name, {}).get("cases", {})]
    values = [results[name]["cases"][case][measure] for name in names]
    bars = axes.barh(range(len(names)), values, color=[COLOURS.get(name, OTHERS) for name in names], height=0.62)
    axes.bar_label(bars, [shown(value) for value in values], padding=4, fontsize=10, fontweight="bold")
    axes.set_xscale("log")
    axes.set_xlim(min(values) / 2.5, max(values) * 6)
    axes.set_yticks(range(len(names)), [TITLES[name] for name in names], fontsize=10)
    axes.set_title(title, fontsize=11, loc="left")
    axes.xaxis.set_major_formatter(lambda value, _: shown(value))
    axes.tick_params(axis="x", labelsize=9)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def main() -> None:
    """Draw the picture."""
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else source.with_suffix(".png")
    found = json.loads(source.read_text())
    figure, columns = plt.subplots(1, len(PANELS), figsize=(WIDTH, HEIGHT), sharey=True)
    for axes, (title, case, measure) in zip(columns, PANELS, strict=True):
        panel(axes, found["contestants"], title, case, measure)
    columns[0].invert_yaxis()
    figure.suptitle("Processor time of the server (log scale; less is better)", fontsize=12, fontweight="bold")
    versions = found["versions"]
    note = f"{found['date'][:10]}, {found['processor']}, Python {found['python']}, litellm {versions['litellm']}"
    figure.text(0.99, 0.01, note, ha="right", fontsize=7, color="#666666")
    figure.tight_layout(rect=(0, 0.02, 1, 0.98))
    figure.savefig(target, dpi=DOTS)
    print(target)


if __name__ == "__main__":
    main()
