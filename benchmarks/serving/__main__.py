"""What serving costs, beside a floor, the usual tutorial's server and LiteLLM Proxy.

    python -m benchmarks.serving              everything, some ten minutes
    python -m benchmarks.serving --quick      less than a minute, with one round of the most important
    python -m benchmarks.serving --soak       with the whole soak, however long it takes
    python -m benchmarks.serving --only floor,las --rounds 9

All servers are asked the same of the same upstream, by turns; processor time is that of the server's processes, and
what is told is the median of the rounds. Every answer is checked. The first run installs LiteLLM Proxy into
``.artifacts``; where that does not work, it is left out, and why is told. The figures go to
``benchmarks/results/serving.json``, of which ``benchmarks/serving/plot.py`` makes a picture. The exit code is 1 if a
bar is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.serving import figures, overhead, proxy, report
from benchmarks.serving.contestants import CONTESTANTS, Contestant, Running, running, upstream_process
from benchmarks.serving.load import WrongAnswer
from benchmarks.serving.measures import CASES, FEW, Case, Sample, sample, warm_up
from benchmarks.serving.processes import Ended
from benchmarks.serving.starts import Soak, early_mb, started

OUTPUT = Path(__file__).resolve().parents[1] / "results" / "serving.json"
ENOUGH = 240.0
"""Seconds of rounds after which there is no further one."""
SOAK = 90.0
"""Seconds after which a soak ends where the whole one is not wanted."""
QUICK = ("floor", "las", "proxy")
SLOW = Soak(2_000, 100, 500, 25, SOAK)
"""The soak of servers that would take an hour for the whole one."""
_FAILURES = (Ended, WrongAnswer, TimeoutError, OSError)

Samples = dict[str, dict[str, list[Sample]]]


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        rounds: of each case.
        seconds: of asking, for a sample.
        starts: of each contestant, alone; 0: only those for the rounds count.
        soak: how long they are asked in one of these.
        cases: what is measured.
        overhead: whether litellm as a transport is measured, too.
    """

    rounds: int
    seconds: float
    starts: int
    soak: Soak
    cases: Sequence[Case]
    overhead: bool


def plan(options: argparse.Namespace) -> Plan:
    """What *options* ask for."""
    if options.quick:
        return Plan(options.rounds or 1, 0.2, 0, Soak(0, 0), FEW, overhead=False)
    soak = Soak(50_000, 2_000, limit=3600 if options.soak else SOAK)
    return Plan(options.rounds or 5, 0.7, 3, soak, CASES, overhead=True)


class Benchmark:
    """One run.

    Args:
        chosen: who takes part.
        plan: how much is measured.
        folder: for what the servers write.

    Attributes:
        results: by contestant.
        skipped: by contestant, why it takes part no more.
    """

    def __init__(self, chosen: Sequence[Contestant], plan: Plan, folder: Path) -> None:
        self._plan, self._folder = plan, folder
        self._left = list(chosen)
        self.results: figures.Results = {}
        self.skipped: dict[str, str] = {}

    async def run(self) -> None:
        """Measure everything."""
        async with upstream_process(self._folder / "upstream") as url:
            starts = await self._starts(url)
            samples, more = await self._rounds(url)
            for name in [one.name for one in self._left]:
                taken = {case: figures.of_samples(rounds) for case, rounds in samples[name].items() if rounds}
                self.results[name] = {**figures.of_starts(starts.get(name) or more[name]), "cases": taken}
            if self._plan.overhead and "las" in self.results:
                note("litellm as a transport, beside litellm alone")
                self.results["las"]["overhead"] = await overhead.measured(url)

    async def _starts(self, url: str) -> dict[str, list[figures.Json]]:
        starts: dict[str, list[figures.Json]] = {one.name: [] for one in self._left}
        for number in range(self._plan.starts):
            for one in list(self._left):
                note(f"start {number + 1} of {self._plan.starts}, {one.name}")
                with self._unless_it_fails(one):
                    soak = self._plan.soak if one.whole_soak else SLOW
                    place = self._folder / f"start-{number}-{one.name}"
                    starts[one.name].append(await started(one, place, url, None if number else soak))
                    if one.health and not number:
                        early = await early_mb(one, self._folder / f"early-{one.name}", url)
                        starts[one.name][-1]["early_mb"] = early
        return starts

    async def _rounds(self, url: str) -> tuple[Samples, dict[str, list[figures.Json]]]:
        async with contextlib.AsyncExitStack() as stack:
            servers: list[Running] = []
            for one in list(self._left):
                note(f"start for the rounds, {one.name}")
                with self._unless_it_fails(one):
                    place = self._folder / f"rounds-{one.name}"
                    servers.append(await stack.enter_async_context(running(one, place, url)))
            return await self._sampled(servers), {one.contestant.name: [one.figures] for one in servers}

    async def _sampled(self, servers: Sequence[Running]) -> Samples:
        counts: dict[tuple[str, str], int] = {}
        for case in self._plan.cases:
            for server in self._those(servers):
                with self._unless_it_fails(server.contestant):
                    name = server.contestant.name
                    counts[name, case.name] = await warm_up(server, case, self._plan.seconds)
        samples: Samples = {one.contestant.name: {case.name: [] for case in self._plan.cases} for one in servers}
        began = time.monotonic()
        for number in range(self._plan.rounds):
            if time.monotonic() - began > ENOUGH:
                break
            note(f"round {number + 1} of {self._plan.rounds}")
            for case in self._plan.cases:
                for server in self._those(servers):
                    with self._unless_it_fails(server.contestant):
                        name = server.contestant.name
                        samples[name][case.name].append(await sample(server, case, counts[name, case.name]))
        return samples

    def _those(self, servers: Sequence[Running]) -> list[Running]:
        return [server for server in servers if server.contestant in self._left]

    @contextlib.contextmanager
    def _unless_it_fails(self, one: Contestant) -> Any:
        try:
            yield
        except _FAILURES as error:
            self._left.remove(one)
            self.skipped[one.name] = str(error) or "it did not answer in time"
            note(f"{one.name} takes part no more: {self.skipped[one.name]}")


def note(text: str) -> None:
    """Tell what is going on."""
    print(text, file=sys.stderr, flush=True)


def chosen(options: argparse.Namespace) -> tuple[list[Contestant], dict[str, str]]:
    """Who takes part, and why others do not."""
    names = options.only.split(",") if options.only else QUICK if options.quick else tuple(CONTESTANTS)
    skipped: dict[str, str] = {}
    if options.quick and not options.only and not proxy.installed():
        skipped["proxy"] = "it is not installed; python -m benchmarks.serving.proxy does that"
    for name in names:
        if name not in CONTESTANTS:
            sys.exit(f"serving: there is no {name!r}; there are {', '.join(CONTESTANTS)}")
        if name not in skipped and (reason := CONTESTANTS[name].ready()):
            skipped[name] = reason
    return [CONTESTANTS[name] for name in names if name not in skipped], skipped


def told(benchmark: Benchmark, output: Path) -> int:
    """Print what came out and write it down; gives the exit code."""
    bars = [bar.judged(benchmark.results) for bar in figures.BARS] + overhead.bars(benchmark.results)
    whole = {**report.about(), "contestants": benchmark.results, "skipped": benchmark.skipped, "bars": bars}
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(whole, indent=1))
    for line in (*report.table(benchmark.results), "", *report.verdicts(bars)):
        print(line)
    for name, reason in benchmark.skipped.items():
        print(f"{name} is missing: {reason}")
    return int("las" in benchmark.skipped or any(bar["passed"] is False for bar in bars))


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="serving", description="What serving costs, beside others.")
    parser.add_argument("--quick", action="store_true", help="less than a minute, with one round of the most important")
    parser.add_argument("--soak", action="store_true", help="the whole soak, however long it takes")
    parser.add_argument("--only", help=f"who takes part: {','.join(CONTESTANTS)}")
    parser.add_argument("--rounds", type=int, help="default: 5, if --quick 1")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="default: benchmarks/results/serving.json")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Measure, tell, and give the exit code."""
    options = arguments(given)
    if not Path("/proc/self/task").is_dir():
        print("serving: processor time and memory are read from /proc, which only Linux has", file=sys.stderr)
        return 2
    # Every server is ended on the way out. What a shell starts in the background has Ctrl+C switched off.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    takes_part, skipped = chosen(options)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        benchmark = Benchmark(takes_part, plan(options), Path(folder))
        benchmark.skipped.update(skipped)
        try:
            uvloop.run(benchmark.run())
        except KeyboardInterrupt:
            return 130
        except _FAILURES as error:
            print(f"serving: {error or 'no answer in time'}", file=sys.stderr)
            return 1
    return told(benchmark, options.output)


if __name__ == "__main__":
    sys.exit(main())
