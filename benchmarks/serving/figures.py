"""The figures of a run: medians of its rounds, and whether they keep to the bars."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.serving.measures import Sample

Json = dict[str, Any]
Results = dict[str, Json]
"""By contestant: what its starts and its samples came to."""


def of_samples(samples: Sequence[Sample]) -> Json:
    """The medians of several rounds, and all of them."""
    return {
        "cpu_us": statistics.median(one.cpu_us for one in samples),
        "event_us": statistics.median(one.event_us for one in samples),
        "per_second": statistics.median(one.per_second for one in samples),
        "latency_ms": _medians([one.latency_ms for one in samples]),
        "first_ms": _medians([one.first_ms for one in samples]),
        "rounds": [asdict(one) for one in samples],
    }


def of_starts(starts: Sequence[Json]) -> Json:
    """The medians of several starts, and all of them; of what was measured once, that."""
    names = ("start_seconds", "start_cpu_seconds", "idle_mb")
    medians = {name: statistics.median(start[name] for start in starts) for name in names}
    once = {name: start[name] for start in starts for name in start if name not in names}
    return {**medians, **once, "starts": [{name: start[name] for name in names} for start in starts]}


def _medians(figures: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(one[name] for one in figures) for name in figures[0]}


@dataclass(frozen=True)
class Figure:
    """A line of the table.

    Attributes:
        title: what it says, with its unit.
        path: where it is among a contestant's results.
        scale: what it is multiplied by.
        digits: behind the point.
    """

    title: str
    path: tuple[str, ...]
    scale: float = 1.0
    digits: int = 0

    def of(self, result: Json | None) -> float | None:
        """Its value for a contestant; None: it was not measured."""
        found: Any = result
        for name in self.path:
            if not isinstance(found, dict) or name not in found:
                return None
            found = found[name]
        return float(found) * self.scale


def _cases(title: str, kind: str, concurrencies: Sequence[int], *path: str) -> list[Figure]:
    digits = 0 if path[-1] in ("cpu_us", "per_second") else 1
    return [
        Figure(title.format(f"{concurrency} at a time"), ("cases", f"{kind} {concurrency}", *path), digits=digits)
        for concurrency in concurrencies
    ]


TABLE = [
    *_cases("µs of processor time an answer, {}", "plain", (1, 4, 16, 64, 256), "cpu_us"),
    *_cases("µs of processor time an event, {}", "stream", (1, 16), "event_us"),
    *_cases("  the same, all there at once, {}", "burst", (16,), "event_us"),
    *_cases("ms until an answer, median, {}", "plain", (1, 16), "latency_ms", "p50"),
    *_cases("ms until an answer, p99, {}", "plain", (1, 4, 16, 64, 256), "latency_ms", "p99"),
    *_cases("ms until the first token, median, {}", "stream", (1, 16), "first_ms", "p50"),
    *_cases("ms until the first token, p99, {}", "stream", (1, 16), "first_ms", "p99"),
    *_cases("  the same, all there at once, {}", "burst", (16,), "first_ms", "p99"),
    *_cases("answers a second, {}", "plain", (1, 4, 16, 64, 256), "per_second"),
    Figure("s from start to first answer", ("start_seconds",), digits=2),
    Figure("s of processor time for that", ("start_cpu_seconds",), digits=2),
    Figure("MB before the first answer", ("early_mb",)),
    Figure("MB after it, idle", ("idle_mb",)),
    Figure("% that memory grew in a soak", ("soak", "growth"), 100, 1),
    Figure("  of so many plain answers", ("soak", "plain")),
    Figure("  and so many streams", ("soak", "streams")),
]
OURS = "las"


@dataclass(frozen=True)
class Bar:
    """What this server's figure must be at most, beside another's, or, without one, by itself."""

    figure: Figure
    other: str | None
    most: float

    def judged(self, results: Results) -> Json:
        """What came out, as ``name``, ``value``, ``most`` and ``passed``; None is what was not measured."""
        ours = self.figure.of(results.get(OURS))
        theirs = self.figure.of(results.get(self.other)) if self.other else 1.0
        value = None if ours is None or not theirs else ours / theirs
        beside = f", beside {self.other}" if self.other else ""
        passed = None if value is None else value <= self.most
        return {"name": f"{self.figure.title}{beside}", "value": value, "most": self.most, "passed": passed}


def _bars(wanted: Callable[[Figure], bool], limits: dict[str | None, float]) -> list[Bar]:
    return [Bar(figure, other, most) for figure in TABLE if wanted(figure) for other, most in limits.items()]


def _is(kind: str, measure: str) -> Callable[[Figure], bool]:
    names = {f"{kind} 1", f"{kind} 16"}
    return lambda figure: len(figure.path) > 1 and figure.path[1] in names and figure.path[2] == measure


BARS = [
    *_bars(_is("plain", "cpu_us"), {"proxy": 1 / 12, "floor": 3.0}),
    *_bars(_is("stream", "event_us"), {"floor": 4.0}),
    # Of a single stream the wake-up for each event is most, and that is the kernel's: the floor itself would miss it.
    *_bars(lambda figure: figure.path[1:] == ("stream 16", "event_us"), {"proxy": 1 / 15}),
    *_bars(lambda figure: figure.path[1:] == ("stream 16", "first_ms", "p99"), {"proxy": 1 / 10}),
    *_bars(lambda figure: figure.path == ("start_seconds",), {"proxy": 1 / 6}),
    *_bars(lambda figure: figure.path == ("idle_mb",), {"proxy": 1 / 3}),
    # Of a soak that was cut short, nothing is said.
    Bar(Figure("% that memory grew in a whole soak", ("soak", "whole_growth"), 100), None, 5.0),
]
"""What is asked of this server."""
