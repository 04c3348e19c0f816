"""What a run came to, as text and as a file."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.serving.figures import OURS, TABLE, Json, Results

_LIBRARIES = ("litellm", "fastapi", "starlette", "uvicorn", "uvloop", "httptools", "aiohttp", "orjson", "pydantic")


def about() -> Json:
    """When and on what this runs, and with which versions."""
    versions = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {**versions, "las-langchain": _own_version()},
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _own_version() -> str:
    from las_langchain import __version__

    return __version__


def table(results: Results) -> Iterator[str]:
    """The figures by contestant, with this server's share of the floor's and of the proxy's."""
    names = list(results)
    beside = [name for name in ("floor", "proxy") if name in results and OURS in results]
    yield f"{'':45}" + "".join(f"{name:>13}" for name in [*names, *(f"las/{name}" for name in beside)])
    for figure in TABLE:
        values = {name: figure.of(results[name]) for name in names}
        if all(value is None for value in values.values()):
            continue
        cells = ["" if value is None else f"{value:,.{figure.digits}f}" for value in values.values()]
        cells += [_share(values[OURS], values[name]) for name in beside]
        yield f"{figure.title:45}" + "".join(f"{cell:>13}" for cell in cells)


def _share(ours: float | None, theirs: float | None) -> str:
    return f"{ours / theirs:.3f}" if ours is not None and theirs else ""


def verdicts(bars: Sequence[Json]) -> Iterator[str]:
    """The bars, one a line."""
    words = {True: "pass", False: "MISS", None: "not measured"}
    for bar in bars:
        value = "" if bar["value"] is None else f"{bar['value']:.3f}"
        yield f"{words[bar['passed']]:12} {bar['name']:60} {value:>9}  (at most {bar['most']:.3f})"
