"""The engine's life: loading, stopping, threads, forks, and the end of the process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from las_langchain.errors import APITimeoutError, BadRequestError, ConfigurationError
from las_langchain.transports.background import BACKGROUND
from las_langchain.transports.local.engine import Engine, EngineConfig, get_engine
from las_langchain.transports.local.runs import Clock
from las_langchain.transports.local.weights import CHAT

LONG = {"messages": [{"role": "user", "content": "Tell a very long story about the sea."}], "max_tokens": 2000}
SHORT = {"messages": [{"role": "user", "content": "Say hi"}], "max_tokens": 3}

LOAD = """
from las_langchain.transports.background import BACKGROUND
import os, sys, threading, time
from pathlib import Path
from las_langchain.errors import APIConnectionError
from las_langchain.transports.local.engine import EngineConfig, get_engine
from las_langchain.transports.local.runs import Clock
config = EngineConfig(Path(os.environ["LAS_DATA_DIR"]) / "models" / "smollm2-135m-instruct.Q4_1.gguf", batch_threads=1)
def streamed(engine, body, clock):
    return BACKGROUND.iterate(engine.astream(body, clock))
def say(limit=3):
    body = {"messages": [{"role": "user", "content": "Tell a long story"}], "max_tokens": limit}
    return len([chunk for chunk in streamed(get_engine(config), body, Clock(60)) if chunk["choices"]])
"""


def streamed(engine: Engine, body: dict[str, Any], clock: Clock) -> Generator[dict[str, Any]]:
    """The engine's chunks, for tests without an event loop."""
    return BACKGROUND.iterate(engine.astream(body, clock))


@pytest.fixture
def engine(data_dir: Path) -> Engine:
    return get_engine(EngineConfig(CHAT.path(data_dir), batch_threads=1))


def run(code: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run *code* in an interpreter of its own."""
    return subprocess.run(
        [sys.executable, "-c", LOAD + code], capture_output=True, text=True, timeout=timeout, check=False
    )


def test_equal_configurations_share_one_engine_across_threads(data_dir: Path) -> None:
    found: list[Engine] = []
    threads = [
        threading.Thread(target=lambda: found.append(get_engine(EngineConfig(CHAT.path(data_dir), batch_threads=1))))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1


def test_stopping_a_stream_frees_the_engine(engine: Engine) -> None:
    stream = streamed(engine, LONG, Clock(60))
    next(stream)
    stream.close()
    _assert_idle_soon(engine)


async def test_cancelling_a_task_frees_the_engine_also_while_it_reads_the_prompt(engine: Engine) -> None:
    long_prompt = {"messages": [{"role": "user", "content": "word " * 7500}], "max_tokens": 5}

    async def consume() -> None:
        async for _ in engine.astream(long_prompt, Clock(60)):
            pass

    task = asyncio.create_task(consume())
    await asyncio.sleep(0.3)
    begin = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - begin < 3, "the caller does not wait for the engine"
    await asyncio.to_thread(_assert_idle_soon, engine)


async def test_calls_in_several_loops_and_threads_at_once(engine: Engine) -> None:
    async def count() -> int:
        return len([chunk async for chunk in engine.astream(SHORT, Clock(60))])

    def in_thread() -> int:
        return asyncio.run(count())

    results = await asyncio.gather(*(asyncio.to_thread(in_thread) for _ in range(6)), count())
    assert min(results) > 1


def test_a_consumer_whose_loop_is_closed_stops_the_engine(engine: Engine) -> None:
    async def begin() -> None:
        stream = engine.astream(LONG, Clock(60))
        await anext(stream)
        streams.append(stream)  # survives the loop, unclosed

    streams: list[object] = []
    asyncio.run(begin())
    _assert_idle_soon(engine)


def test_a_process_may_end_right_after_loading() -> None:
    result = run("get_engine(config)")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


# Five calls are one more than there are slots.
@pytest.mark.parametrize("calls", [1, 5])
@pytest.mark.parametrize("until", ["time.sleep(0.5)", "begun.wait(50)"], ids=["loads", "answers"])
def test_a_process_may_end_while_it_loads_or_answers(calls: int, until: str) -> None:
    code = f"""
begun = threading.Event()
body = {{"messages": [{{"role": "user", "content": "Tell a long story"}}], "max_tokens": 2000}}
def talk():
    try:
        for chunk in streamed(get_engine(config), body, Clock(60)):
            if chunk["choices"] and chunk["choices"][0]["delta"].get("content"):
                begun.set()
    except APIConnectionError:  # "this process is ending"
        pass
for _ in range({calls}):
    threading.Thread(target=talk, daemon=True).start()
{until}
sys.exit(3)
"""
    result = run(code)
    assert (result.returncode, result.stdout, result.stderr) == (3, "", "")


def test_nothing_begins_while_the_process_ends() -> None:
    code = """
import atexit
def late():
    for begin in (lambda: streamed(engine, {}, Clock(5)), lambda: get_engine(config)):
        try:
            list(begin())
        except APIConnectionError as error:
            print(error)
from las_langchain.transports.local import engine as module
atexit.unregister(module._engines.close)
atexit.register(late)
atexit.register(module._engines.close)
engine = get_engine(config)
"""
    result = run(code)
    assert result.stdout == 2 * "The local model has stopped: this process is ending\n", result.stderr


def test_more_calls_than_slots_wait_for_their_turn(data_dir: Path) -> None:
    engine = get_engine(EngineConfig(CHAT.path(data_dir), parallel=2, batch_threads=1))
    texts: list[int] = []
    threads = [
        threading.Thread(target=lambda: texts.append(len(list(streamed(engine, SHORT, Clock(60)))))) for _ in range(7)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(texts) == 7
    assert min(texts) > 1


def test_a_call_that_waits_for_a_slot_can_be_stopped(data_dir: Path) -> None:
    engine = get_engine(EngineConfig(CHAT.path(data_dir), parallel=1, batch_threads=1))
    first = streamed(engine, LONG, Clock(60))
    next(first)
    with pytest.raises(APITimeoutError, match="did not answer in time"):
        next(streamed(engine, SHORT, Clock(0.2)))
    assert next(first), "the one inside is not disturbed"
    first.close()
    _assert_idle_soon(engine)
    assert list(streamed(engine, SHORT, Clock(60)))


def test_more_answers_than_slots_are_refused(engine: Engine) -> None:
    with pytest.raises(BadRequestError, match=r"n: the local model gives 1 to 4 answers .* LAS_LOCAL_PARALLEL"):
        next(streamed(engine, {**SHORT, "n": 5}, Clock(60)))
    assert list(streamed(engine, {**SHORT, "n": 4}, Clock(60)))


async def test_a_call_ends_when_its_clock_has_run_out(engine: Engine) -> None:
    with pytest.raises(APITimeoutError, match="raise LAS_TIMEOUT or LAS_STREAM_TIMEOUT"):
        list(streamed(engine, LONG, Clock(0.5)))
    with pytest.raises(APITimeoutError):
        async for _ in engine.astream(LONG, Clock(0.5)):
            pass
    _assert_idle_soon(engine)


def test_the_engine_is_silent() -> None:
    result = run("say()")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this system has no fork")
def test_a_forked_child_loads_its_own_engine_and_ends_by_itself() -> None:
    code = """
say()
child = os.fork()
if child == 0:
    sys.exit(7 if say() else 1)
idle = os.fork()
if idle == 0:
    sys.exit(8)
codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in (child, idle)]
print(*codes, bool(say()))
"""
    result = run(code)
    assert (result.stdout, result.stderr) == ("7 8 True\n", "")


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"LAS_LOCAL_MODEL: no such file; .*nowhere.gguf"):
        get_engine(EngineConfig(Path("/nowhere.gguf")))


def test_a_missing_projector_is_named(data_dir: Path) -> None:
    with pytest.raises(ConfigurationError, match="LAS_LOCAL_MMPROJ: no such file"):
        get_engine(EngineConfig(CHAT.path(data_dir), mmproj=Path("/nowhere.gguf"), batch_threads=1))


def test_a_file_that_is_no_model_is_named(tmp_path: Path, data_dir: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"not a model")
    with pytest.raises(ConfigurationError, match="LAS_LOCAL_MODEL: this is no GGUF file") as error:
        get_engine(EngineConfig(path))
    assert "broken.gguf" in str(error.value)
    assert "broken.gguf" not in str(error.value.to_openai())
    with pytest.raises(ConfigurationError, match="LAS_LOCAL_MMPROJ: this is no GGUF file"):
        get_engine(EngineConfig(CHAT.path(data_dir), mmproj=path, batch_threads=1))
    path.write_bytes(CHAT.path(data_dir).read_bytes()[:100_000])
    with pytest.raises(ConfigurationError, match="cut short or of an unknown kind"):
        get_engine(EngineConfig(path))


def test_a_context_beyond_memory_is_named(data_dir: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"context of 10000000 tokens .* \(LAS_LOCAL_CONTEXT\)"):
        get_engine(EngineConfig(CHAT.path(data_dir), context=10_000_000, batch_threads=1))


def _assert_idle_soon(engine: Engine) -> None:
    """The engine stops within a batch of the prompt: seconds, where all of it takes far longer."""
    deadline = time.monotonic() + 20
    while engine.working:
        assert time.monotonic() < deadline, "the engine still runs"
        time.sleep(0.02)
