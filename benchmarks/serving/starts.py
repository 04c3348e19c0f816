"""What a server takes to start, what it holds when it is idle, and whether it grows when it is asked for long."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.serving.contestants import KEY, Contestant, Running, running
from benchmarks.serving.load import Wish, check, run
from benchmarks.serving.processes import resident_mb

STREAM_WORDS = 50
CONCURRENCY = 16
_PLAIN, _STREAMS = Wish(), Wish(STREAM_WORDS, stream=True, at_once=True)
_PARTS = 20
_AT_A_TIME = 1000
"""Answers that are kept until they are checked."""


@dataclass(frozen=True)
class Soak:
    """How long a server is asked.

    Attributes:
        plain: whole answers.
        streams: streams.
        warm_plain: whole answers before its memory is measured for the first time.
        warm_streams: streams before that.
        limit: seconds after which it is enough.
    """

    plain: int
    streams: int
    warm_plain: int = 2000
    warm_streams: int = 100
    limit: float = 3600.0


async def started(contestant: Contestant, folder: Path, url: str, soak: Soak | None) -> dict[str, Any]:
    """Start *contestant* alone, soak it if *soak* says so, and end it; gives the figures.

    Raises:
        Ended: it does not start.
        WrongAnswer: an answer is not what the upstream said.
        TimeoutError: it takes too long.
    """
    async with running(contestant, folder, url) as server:
        figures: dict[str, Any] = dict(server.figures)
        if soak:
            figures["soak"] = await _soaked(server, soak)
        return figures


async def _soaked(server: Running, soak: Soak) -> dict[str, Any]:
    await _ask(server, _PLAIN, soak.warm_plain)
    await _ask(server, _STREAMS, soak.warm_streams)
    before, began = resident_mb(server.pid), time.monotonic()
    course, plain, streams = [before], 0, 0
    # By turns, so that a limit cuts both alike.
    for _ in range(_PARTS):
        if time.monotonic() - began > soak.limit:
            break
        plain += await _ask(server, _PLAIN, soak.plain // _PARTS)
        streams += await _ask(server, _STREAMS, soak.streams // _PARTS)
        course.append(resident_mb(server.pid))
    growth = course[-1] / before - 1
    return {
        "asked": asdict(soak),
        "plain": plain,
        "streams": streams,
        "seconds": time.monotonic() - began,
        "mb": course,
        "growth": growth,
        **({"whole_growth": growth} if len(course) > _PARTS else {}),
    }


async def _ask(server: Running, wish: Wish, count: int) -> int:
    for done in range(0, count, _AT_A_TIME):
        part = min(_AT_A_TIME, count - done)
        check(wish, await run(server.url, KEY, wish, part, CONCURRENCY))
    return count


async def early_mb(contestant: Contestant, folder: Path, url: str) -> float:
    """Megabytes that *contestant* holds before it is asked for anything but its health."""
    async with running(contestant, folder, url, asked=False) as server:
        return server.figures["idle_mb"]
