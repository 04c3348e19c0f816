"""How long a stream is waited for, on a real loop."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref

import pytest

from las_langchain.providers import Target
from las_langchain.transports.clock import Clock


def target(timeout: float, stream_timeout: float = 60) -> Target:
    return Target("openai", "m", "openai/m", None, None, timeout=timeout, stream_timeout=stream_timeout)


def chunk(text: str) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}


async def wait(clock: Clock, seconds: float) -> None:
    async with clock.patience():
        await asyncio.sleep(seconds)


async def test_a_wait_ends_when_the_piece_is_due() -> None:
    began = time.monotonic()
    with Clock(target(0.05)) as clock, pytest.raises(TimeoutError):
        await wait(clock, 10)
    assert 0.04 < time.monotonic() - began < 2
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_each_piece_puts_the_end_off_and_what_says_nothing_does_not() -> None:
    with Clock(target(0.3, 0.3)) as clock:
        for _ in range(5):
            await wait(clock, 0.1)
            clock.heard(chunk("word"))
        await wait(clock, 0.1)
        clock.heard(chunk(""), {"choices": []})
        with pytest.raises(TimeoutError):
            await wait(clock, 0.3)


async def test_the_first_piece_may_make_the_next_one_due_earlier() -> None:
    began = time.monotonic()
    with Clock(target(30, 0.05)) as clock:
        await wait(clock, 0)
        clock.hear()
        with pytest.raises(TimeoutError):
            await wait(clock, 30)
    assert time.monotonic() - began < 10


async def test_what_the_reader_does_is_not_counted_and_is_not_cancelled() -> None:
    with Clock(target(0.1, 0.1)) as clock:
        for _ in range(3):
            await wait(clock, 0)
            with clock.stopped():
                await asyncio.sleep(0.15)
        with pytest.raises(TimeoutError):
            await wait(clock, 10)


async def test_each_wait_may_be_in_a_task_of_its_own() -> None:
    with Clock(target(0.3, 0.3)) as clock:
        await asyncio.create_task(wait(clock, 0.01))
        clock.hear()
        await asyncio.create_task(wait(clock, 0.05))
        with pytest.raises(TimeoutError):
            await asyncio.create_task(wait(clock, 10))


async def test_who_cancels_a_wait_is_heard() -> None:
    with Clock(target(5)) as clock:
        task = asyncio.create_task(wait(clock, 10))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()


async def test_who_cancels_a_wait_in_the_moment_of_its_end_is_heard() -> None:
    loop = asyncio.get_running_loop()
    with Clock(target(0.05)) as clock:
        task = asyncio.create_task(wait(clock, 10))
        await asyncio.sleep(0)
        # The loop is held until both are due, and calls the clock's first.
        loop.call_later(0.051, task.cancel)
        time.sleep(0.1)
        await asyncio.wait([task])
    assert task.cancelled()


async def test_nothing_is_left_of_a_clock_whose_stream_is_over() -> None:
    with Clock(target(600)) as clock:
        await wait(clock, 0)
    left = weakref.ref(clock.patience())
    del clock
    gc.collect()
    assert left() is None


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ({"delta": {}}, False),
        ({"delta": {"role": "assistant"}}, True),
        ({"delta": {"content": None}}, False),
        ({"delta": {"content": "a"}}, True),
        ({"delta": {"content": [{"type": "text", "text": ""}]}}, False),
        ({"delta": {"content": [{"type": "text", "text": ""}], "refusal": "no"}}, True),
        ({"delta": {"content": "", "tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}}, True),
        ({"delta": {"tool_calls": [{"index": 0, "type": "function", "function": {"arguments": ""}}]}}, False),
        ({"text": ""}, False),
        ({"text": "a"}, True),
        ({"delta": {}, "finish_reason": "stop"}, True),
    ],
)
async def test_what_is_heard(choice: dict[str, object], says: bool) -> None:
    with Clock(target(0.05, 60)) as clock:
        clock.heard({"choices": [choice]})
        if says:
            await wait(clock, 0.08)
        else:
            with pytest.raises(TimeoutError):
                await wait(clock, 10)
