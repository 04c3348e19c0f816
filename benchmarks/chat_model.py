"""What ChatLAS costs per call and per streamed token, beside LangChain's other chat models, in one process.

All ask the same upstream, :mod:`benchmarks.serving.upstream` in a process of its own, by turns; what counts is the
processor time of this process, all its threads included. Bytes alone, by httpx, are the floor. langchain-litellm wants
versions of its own, which uv lays over the environment for one run:

    VIRTUAL_ENV=.venv .venv/bin/uv run --no-project --active --with langchain-litellm python benchmarks/chat_model.py

Without it, ``python benchmarks/chat_model.py`` measures the others. The exit code is 1 if a bar is missed.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import httpx
from langchain_openai import ChatOpenAI

# Run as a script, only this folder is importable, not the package it is.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.serving import answers, upstream
from benchmarks.serving.contestants import ROOT
from las_langchain import ChatLAS

ROUNDS = 7
CALLS = 40
TOKENS = 400
STREAMS = 3
BARS = {"invoke": 0.70, "stream": 0.65}
"""What share of ChatOpenAI's processor time ChatLAS may take."""
PROMPT = answers.prompt(1, TOKENS, at_once=True)
SHORT_PROMPT = answers.prompt(1)

Measure = Callable[[Any], float]


def contestants(url: str) -> dict[str, Any]:
    """The chat models that are installed, by name."""
    models: dict[str, Any] = {
        "ChatLAS": ChatLAS(model="openai/gpt-4o", api_key=upstream.KEY, api_base=url),
        "ChatOpenAI": ChatOpenAI(model="gpt-4o", api_key=upstream.KEY, base_url=url, stream_usage=True),
    }
    if importlib.util.find_spec("langchain_litellm"):
        from langchain_litellm import ChatLiteLLM

        models["ChatLiteLLM"] = ChatLiteLLM(model="openai/gpt-4o", api_key=upstream.KEY, api_base=url)
    return models


def per_call(model: Any) -> float:
    """Milliseconds of processor time for one ``invoke``."""
    began = time.process_time()
    for _ in range(CALLS):
        model.invoke(SHORT_PROMPT)
    return (time.process_time() - began) / CALLS * 1e3


def per_token(model: Any) -> float:
    """Microseconds of processor time for one token of ``stream``."""
    began = time.process_time()
    count = sum(1 for _ in range(STREAMS) for chunk in model.stream(PROMPT) if chunk.content)
    return (time.process_time() - began) / count * 1e6


def per_async_call(runner: asyncio.Runner, model: Any) -> float:
    """Milliseconds of processor time for one ``ainvoke``, eight at a time."""

    async def run() -> None:
        for _ in range(CALLS // 8):
            await asyncio.gather(*(model.ainvoke(SHORT_PROMPT) for _ in range(8)))

    began = time.process_time()
    runner.run(run())
    return (time.process_time() - began) / (CALLS // 8 * 8) * 1e3


def per_async_token(runner: asyncio.Runner, model: Any) -> float:
    """Microseconds of processor time for one token of ``astream``."""

    async def run() -> int:
        counts = [sum([1 async for chunk in model.astream(PROMPT) if chunk.content]) for _ in range(STREAMS)]
        return sum(counts)

    began = time.process_time()
    count = runner.run(run())
    return (time.process_time() - began) / count * 1e6


def floor(url: str) -> tuple[float, float]:
    """The same two figures for bytes read by httpx: milliseconds per call, microseconds per token."""
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": PROMPT}]}
    with httpx.Client(headers={"authorization": f"Bearer {upstream.KEY}"}, trust_env=False) as client:
        began = time.process_time()
        for _ in range(CALLS):
            client.post(
                f"{url}/chat/completions", json={**body, "messages": [{"role": "user", "content": SHORT_PROMPT}]}
            ).json()
        call = (time.process_time() - began) / CALLS * 1e3
        began = time.process_time()
        for _ in range(STREAMS):
            with client.stream("POST", f"{url}/chat/completions", json={**body, "stream": True}) as response:
                _ = [line for line in response.iter_lines() if line]
        return call, (time.process_time() - began) / (TOKENS * STREAMS) * 1e6


def measures(runner: asyncio.Runner) -> dict[str, tuple[Measure, str]]:
    """What is measured, with its unit; one event loop for all, since ChatOpenAI keeps to the one it met first."""
    return {
        "invoke": (per_call, "ms a call"),
        "stream": (per_token, "µs a token"),
        "ainvoke": (partial(per_async_call, runner), "ms a call"),
        "astream": (partial(per_async_token, runner), "µs a token"),
    }


def measure(models: dict[str, Any], take: Measure) -> dict[str, float]:
    """The median of several rounds for each of *models*, which take turns."""
    for model in models.values():
        take(model)
    taken: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(ROUNDS):
        for name, model in models.items():
            taken[name].append(take(model))
    return {name: statistics.median(figures) for name, figures in taken.items()}


def told(runner: asyncio.Runner, models: dict[str, Any]) -> bool:
    """Print the figures and ChatLAS's share of each; gives whether it keeps to the bars."""
    kept = True
    for name, (take, unit) in measures(runner).items():
        figures = measure(models, take)
        shares = {who: figures["ChatLAS"] / figure for who, figure in figures.items()}
        row = "   ".join(f"{who} {figure:8.2f} ({shares[who]:4.2f})" for who, figure in figures.items())
        bar = ""
        if name in BARS:
            passed = shares["ChatOpenAI"] <= BARS[name]
            kept = kept and passed
            bar = f"   {'pass' if passed else 'MISS'}: at most {BARS[name]:.2f} of ChatOpenAI's"
        print(f"{name:8} {row}   {unit}{bar}", flush=True)
    return kept


def main() -> int:
    """Print the figures; return 1 if one misses its bar."""
    command = [sys.executable, "-m", "benchmarks.serving.upstream"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        try:
            print(f"processor time, median of {ROUNDS} rounds; in brackets, ChatLAS's share of it")
            with asyncio.Runner() as runner:
                kept = told(runner, contestants(url))
            call, token = floor(url)
            print(f"{'httpx':8} {call:.2f} ms a call, {token:.2f} µs a token")
        finally:
            process.terminate()
    return int(not kept)


if __name__ == "__main__":
    sys.exit(main())
