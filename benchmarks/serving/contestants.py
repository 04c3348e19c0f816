"""The servers that are compared: how each is started, and told of its upstream and its key."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.serving import proxy, upstream
from benchmarks.serving.load import MODEL, Wish, WrongAnswer, check, connect
from benchmarks.serving.processes import Process, cpu_seconds, free_port, resident_mb

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
KEY = "sk-local-benchmark"
"""What clients present."""
START_LIMIT = 120.0
"""Seconds that a server gets to answer for the first time."""
_BETWEEN = 0.01
"""Seconds between two tries to reach a server that is starting."""
_QUIET = 1.0
"""Seconds after which a server that has started is idle."""

Command = Callable[[int, Path, str], list[str]]
"""Makes a command line of the port, the folder that the server works in, and the upstream's address."""


@dataclass(frozen=True)
class Contestant:
    """A server.

    Attributes:
        name: what tables call it.
        command: how it is started.
        variables: of its environment, beside the upstream's.
        ready: makes what it needs, once; gives the reason why it cannot be started, if there is one.
        whole_soak: whether it is fast enough to be asked as often as a soak wants.
        health: whether it tells at ``/health`` that it is there, before it was asked for an answer.
    """

    name: str
    command: Command
    variables: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], str | None] = lambda: None
    whole_soak: bool = False
    health: bool = False


@dataclass(frozen=True)
class Running:
    """A server that has started.

    Attributes:
        contestant: which.
        url: its endpoint.
        pid: its process.
        figures: what its start cost: ``start_seconds`` and ``start_cpu_seconds`` until its first answer, and
            ``idle_mb``, the memory that it holds after that.
    """

    contestant: Contestant
    url: str
    pid: int
    figures: dict[str, float]


def _las(port: int, folder: Path, url: str) -> list[str]:
    return [sys.executable, "-m", "servers", "serve", "--port", str(port)]


def _script(name: str) -> Command:
    return lambda port, folder, url: [sys.executable, str(HERE / name), str(port)]


_LITELLM = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
    "LITELLM_TELEMETRY": "False",
}
_LAS = {"LAS_API_KEYS": KEY, "LAS_MODEL": MODEL, "PYTHONPATH": str(ROOT)}

CONTESTANTS = {
    one.name: one
    for one in (
        Contestant("floor", _script("floor.py"), {"FLOOR_KEY": KEY}, whole_soak=True),
        Contestant("las", _las, _LAS, whole_soak=True, health=True),
        Contestant("las litellm", _las, {**_LAS, "LAS_TRANSPORT": "litellm"}, health=True),
        Contestant("naive", _script("naive.py"), {**_LITELLM, "NAIVE_KEY": KEY}),
        Contestant("proxy", proxy.command(KEY, MODEL), _LITELLM, proxy.ready),
    )
}
"""By their names: bytes handed on, this server, this server by way of litellm, the tutorial's, LiteLLM Proxy."""


def environment(variables: Mapping[str, str], folder: Path, url: str) -> dict[str, str]:
    """The variables of a server that works in *folder*: none of the user's settings and keys, and those it needs."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(("LAS_", "OPENAI_", "LITELLM_", "PYTHON"))
        and not name.upper().endswith(("_API_KEY", "_API_BASE", "_PROXY"))
    }
    own = {"LAS_DATA_DIR": str(folder), "XDG_CONFIG_HOME": str(folder)}
    return {**kept, **own, "OPENAI_BASE_URL": url, "OPENAI_API_KEY": upstream.KEY, **variables}


@asynccontextmanager
async def upstream_process(folder: Path, pace: float = upstream.PACE) -> AsyncIterator[str]:
    """A running upstream; gives its address."""
    command = [sys.executable, "-m", "benchmarks.serving.upstream", "--pace", str(pace)]
    folder.mkdir(parents=True, exist_ok=True)
    with Process(command, environment({"PYTHONPATH": str(ROOT)}, folder, ""), folder) as process:
        async with asyncio.timeout(START_LIMIT):
            while not (said := process.output()).endswith("\n"):
                process.check()
                await asyncio.sleep(_BETWEEN)
        yield said.strip()


@asynccontextmanager
async def running(
    contestant: Contestant, folder: Path, upstream_url: str, *, asked: bool = True
) -> AsyncIterator[Running]:
    """*contestant*, which has answered once.

    Args:
        contestant: it is :attr:`~Contestant.ready`.
        folder: of its own, for what it writes.
        upstream_url: whom it asks.
        asked: whether its first answer is that of the model; else it is the server's own, to ``GET /health``.

    Raises:
        Ended: it does not start; the message has its last words.
        WrongAnswer: its first answer is not what the upstream said.
        TimeoutError: it does not answer within :data:`START_LIMIT`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    url = f"http://127.0.0.1:{port}/v1"
    command = contestant.command(port, folder, upstream_url)
    with Process(command, environment(contestant.variables, folder, upstream_url), folder) as process:
        async with asyncio.timeout(START_LIMIT):
            await _first_answer(process, url, asked=asked)
        took, used = time.perf_counter() - process.began, cpu_seconds(process.pid)
        await asyncio.sleep(_QUIET)
        figures = {"start_seconds": took, "start_cpu_seconds": used, "idle_mb": resident_mb(process.pid)}
        yield Running(contestant, url, process.pid, figures)


async def _first_answer(process: Process, url: str, *, asked: bool) -> None:
    wish = Wish()
    while True:
        process.check()
        try:
            connection = await connect(url, KEY)
        except OSError:
            await asyncio.sleep(_BETWEEN)
            continue
        try:
            if not asked:
                await connection.ask(0, b"", path="/health")
                return
            check(wish, [await connection.ask(0, wish.body(0))])
        except WrongAnswer:
            process.check()
            raise
        else:
            return
        finally:
            connection.close()
