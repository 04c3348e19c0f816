"""What is measured of a server while it is asked, and how a round of it is taken."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from benchmarks.serving.contestants import KEY, Running
from benchmarks.serving.load import Wish, check, milliseconds, run
from benchmarks.serving.processes import cpu_seconds

WORDS = 200
"""Words of a stream."""
_MOST = 2000
"""Requests of one sample."""
_LEAST = 2
_WARM_STREAMS = 4
_PAUSE = 0.02
"""Seconds that a server gets, when it has answered, for what it does afterwards."""


@dataclass(frozen=True)
class Case:
    """A way to ask a server.

    Attributes:
        name: what the results call it.
        wish: what is asked for.
        concurrency: how many requests are under way at a time.
    """

    name: str
    wish: Wish
    concurrency: int


PLAIN = [Case(f"plain {concurrency}", Wish(), concurrency) for concurrency in (1, 4, 16, 64, 256)]
STREAMS = [Case(f"stream {concurrency}", Wish(WORDS, stream=True), concurrency) for concurrency in (1, 16)]
BURST = Case("burst 16", Wish(WORDS, stream=True, at_once=True), 16)
CASES = [*PLAIN, *STREAMS, BURST]
"""Whole answers, streams whose events come one by one, and streams whose events are there at once."""
FEW = [case for case in [*PLAIN, *STREAMS] if case.concurrency in (1, 16)]
"""Those that the bars need."""


@dataclass(frozen=True)
class Sample:
    """What one round of a case took.

    Attributes:
        cpu_us: microseconds of processor time a request.
        event_us: the same an event; 0, if there are none.
        per_second: requests answered a second.
        latency_ms: median and 99th percentile of the time until an answer was complete.
        first_ms: the same until its first word.
    """

    cpu_us: float
    event_us: float
    per_second: float
    latency_ms: dict[str, float]
    first_ms: dict[str, float]


async def sample(server: Running, case: Case, count: int) -> Sample:
    """Ask *server* for *count* answers.

    Raises:
        WrongAnswer: one is not what the upstream said.
        TimeoutError: they take too long.
    """
    used, began = cpu_seconds(server.pid), time.perf_counter()
    results = await run(server.url, KEY, case.wish, count, case.concurrency)
    took = time.perf_counter() - began
    # Logging, usage and costs may be written after the client has its answer; that belongs to the request too.
    await asyncio.sleep(_PAUSE)
    each = (cpu_seconds(server.pid) - used) / count * 1e6
    check(case.wish, results)
    return Sample(
        cpu_us=each,
        event_us=each / case.wish.events if case.wish.stream else 0.0,
        per_second=count / took,
        latency_ms=milliseconds([answer.ended - answer.began for answer in results]),
        first_ms=milliseconds([answer.first - answer.began for answer in results]),
    )


async def warm_up(server: Running, case: Case, seconds: float) -> int:
    """Ask *server* a little; gives how many requests take about *seconds*, which is at least one for each connection.

    Raises:
        WrongAnswer: an answer is not what the upstream said.
        TimeoutError: they take too long.
    """
    taken = await sample(server, case, min(_WARM_STREAMS, case.concurrency) if case.wish.stream else case.concurrency)
    return max(case.concurrency, _LEAST, min(_MOST, round(taken.per_second * seconds)))
