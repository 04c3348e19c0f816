"""What calling litellm through this package costs, beside calling it alone.

Both run in one process, by turns, with the same arguments and the same upstream; what is told is the share of the
processor time of the one in that of the other. ``python -m benchmarks.serving.overhead URL`` prints it as JSON.

Ours includes all that the service does about a call, down to the row of it in SQLite, of which litellm alone does
nothing. The machine's noise is longer than a turn and shorter than the whole, so there are many short turns, in pairs,
whose order changes; what is told is the median of the pairs' ratios.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from benchmarks.serving import upstream
from benchmarks.serving.contestants import ROOT, environment
from benchmarks.serving.load import MODEL, Wish, WrongAnswer

BAR = 1.10
"""What the share may be."""
LIMIT = 300.0
"""Seconds that it may take."""
CALLS = 8
"""Calls in a turn; a stream is a turn by itself."""
WORDS = 200
PAIRS = 61
WARM = 5
"""Turns before those that count."""
SETTLING = 0.04
"""Seconds in which what comes after an answer is done: litellm's callbacks, and the row in the ledger."""
Json = dict[str, Any]
Call = Callable[[], Awaitable[None]]


async def measured(url: str) -> Json:
    """Microseconds of processor time a call and an event, ours and litellm's, and the shares.

    Args:
        url: the upstream.

    Raises:
        WrongAnswer: it does not work.
        TimeoutError: it takes longer than :data:`LIMIT`.
    """
    with tempfile.TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "benchmarks.serving.overhead", url),
            env=environment({"PYTHONPATH": str(ROOT)}, Path(folder), url),
            cwd=folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(LIMIT):
                said, complaint = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    if process.returncode:
        raise WrongAnswer(f"overhead: {complaint.decode(errors='replace').strip().splitlines()[-1:]}")
    found: Json = json.loads(said.splitlines()[-1])
    return found


def bars(results: dict[str, Json]) -> list[Json]:
    """Whether the shares keep to :data:`BAR`."""
    found = results.get("las", {}).get("overhead") or {}
    return [
        {
            "name": f"litellm as a transport, beside litellm alone, {name}",
            "value": (value := found.get(name, {}).get("share")),
            "most": BAR,
            "passed": None if value is None else value <= BAR,
        }
        for name in ("call", "event")
    ]


def _calls(url: str) -> dict[str, tuple[Call, Call, int]]:
    """Ours, litellm's, and how many there are of it in one, for a call and for an event."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    from las_langchain import LiteLLMService

    service = LiteLLMService()
    target = service.target(MODEL, transport="litellm")
    import litellm

    import las_langchain.transports.litellm  # noqa: F401 - sets litellm up, for both

    plain, streamed = (json.loads(wish.body(1)) for wish in (Wish(), Wish(WORDS, stream=True, at_once=True)))
    bare = {"api_base": url, "api_key": upstream.KEY, "max_retries": 0, "timeout": 600}
    asked = {name: value for name, value in plain.items() if name != "model"}
    asked_streamed = {name: value for name, value in streamed.items() if name not in ("model", "stream")}

    async def ours() -> None:
        _check((await service.acomplete(target, asked))["choices"][0]["message"]["content"] or "", 20)

    async def alone() -> None:
        _check((await litellm.acompletion(**plain, **bare)).choices[0].message.content, 20)

    async def ours_streamed() -> None:
        pieces = [
            choice["delta"].get("content") or ""
            async for chunk in service.astream(target, asked_streamed)
            for choice in chunk["choices"]
        ]
        _check("".join(pieces), WORDS)

    async def alone_streamed() -> None:
        stream = await litellm.acompletion(**streamed, **bare)
        pieces = [choice.delta.content or "" async for chunk in stream for choice in chunk.choices]
        _check("".join(pieces), WORDS)

    return {"call": (ours, alone, 1), "event": (ours_streamed, alone_streamed, Wish(WORDS, stream=True).events)}


def _check(text: str, words: int) -> None:
    if len(text.split()) != words:
        raise WrongAnswer(f"{len(text.split())} words are there, not {words}")


async def _taken(call: Call, count: int) -> float:
    """Microseconds of processor time of this process for one *call*."""
    began = time.process_time()
    for _ in range(count):
        await call()
    await asyncio.sleep(SETTLING)
    return (time.process_time() - began) / count * 1e6


async def _pair(first: Call, second: Call, count: int) -> tuple[float, float]:
    return await _taken(first, count), await _taken(second, count)


async def _run(url: str) -> Json:
    found: Json = {}
    for name, (ours, alone, size) in _calls(url).items():
        count = CALLS if size == 1 else 1
        for _ in range(WARM):
            await _pair(ours, alone, count)
        # A look at all that litellm holds would fall on whoever is at work at that moment.
        gc.collect()
        gc.freeze()
        pairs = []
        for turn in range(PAIRS):
            if turn % 2:
                pairs.append(await _pair(ours, alone, count))
            else:
                pairs.append((await _pair(alone, ours, count))[::-1])
        low, share, high = statistics.quantiles((mine / its for mine, its in pairs), n=4)
        found[name] = {
            "las_us": statistics.median(mine for mine, _ in pairs) / size,
            "litellm_us": statistics.median(its for _, its in pairs) / size,
            "share": share,
            "quartiles": [low, high],
        }
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_run(sys.argv[1]))))
