"""What is left of many streams: nothing."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import pytest

from las_langchain.errors import APIError
from las_langchain.transports.wire.transport import WireTransport
from tests.las_langchain.transports.wire.test_clients import CHAT, ask, stream, target
from tests.las_langchain.transports.wire.upstream import Answer, Upstream, chunk

WARM, AT_ONCE = 500, 50
SPARE = 100
"""Objects that the interpreter's own caches may take meanwhile."""


def objects() -> Counter[str]:
    """How many objects of each kind there are."""
    gc.collect()
    return Counter(type(one).__qualname__ for one in gc.get_objects())


async def left_upstream(upstream: Upstream) -> str:
    """Leave a stream in its middle, sometimes by cancelling it."""
    upstream.answers.append(Answer(chunk("po"), chunked=True, then="silence"))
    if len(upstream.requests) % 2:
        call = asyncio.create_task(stream(upstream))
        await asyncio.sleep(0.005)
        call.cancel()
        await asyncio.wait([call])
        return "pong"
    async with aclosing(WireTransport().astream(target(upstream.url), CHAT)) as events:
        await anext(events)
    return "pong"


async def failed_upstream(upstream: Upstream) -> str:
    """Have a stream fail before, or after its beginning."""
    body = chunk("po") if len(upstream.requests) % 2 else b"no"
    upstream.answers.append(Answer(body, chunked=True, status=200 if body != b"no" else 500, then="close"))
    with pytest.raises(APIError):
        await stream(upstream)
    return "pong"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "calls"), [(ask, 1_000), (stream, 5_000), (left_upstream, 1_000), (failed_upstream, 1_000)]
)
async def test_thousands_of_calls_leave_nothing(call: Callable[[Upstream], Awaitable[str]], calls: int) -> None:
    async def many(count: int) -> None:
        for _ in range(count // AT_ONCE):
            assert set(await asyncio.gather(*(call(upstream) for _ in range(AT_ONCE)))) == {"pong"}
        # What was closed is told to its loop a moment later.
        await asyncio.sleep(0.2)
        upstream.requests.clear()

    with Upstream() as upstream:
        await many(WARM)
        before, tasks = objects(), len(asyncio.all_tasks())
        await many(calls)
        grown = objects() - before
        assert len(asyncio.all_tasks()) == tasks
        assert {name: count for name, count in grown.items() if count > SPARE} == {}
        assert upstream.open <= AT_ONCE
