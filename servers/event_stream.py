"""Server-sent events of a run that ends with its client, and that show a failure as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress
from typing import Any

import orjson
from starlette.responses import StreamingResponse
from starlette.types import Send

from servers.answers import STREAM_HEADERS

Json = dict[str, Any]

KEEP_ALIVE = 15.0
"""Seconds of silence after which a comment tells proxies and clients that the run goes on."""
_AHEAD = 32
"""Events that a run may be ahead of its client."""


class EventResponse(StreamingResponse):
    """Events as they come, each as LangServe has it: ``event`` and ``data``; None is a while of silence.

    A failure is told by an ``error`` event, and then the connection is cut: ended cleanly, the text would look complete
    to LangServe's pages.

    Args:
        first: what has come already.
        rest: what follows; it may raise.
        explain: what to tell clients of a failure.
    """

    def __init__(
        self, first: Json | None, rest: AsyncGenerator[Json | None], explain: Callable[[Exception], Json]
    ) -> None:
        super().__init__(_encoded(first, rest), media_type="text/event-stream", headers=STREAM_HEADERS)
        self._explain = explain

    async def stream_response(self, send: Send) -> None:
        """Send the events."""
        try:
            await super().stream_response(send)
        except OSError:
            raise
        except Exception as error:
            data = orjson.dumps(self._explain(error)).decode()
            # Without a last part, which would say that the body is complete.
            body = _event({"event": "error", "data": data})
            await send({"type": "http.response.body", "body": body, "more_body": True})


async def _encoded(first: Json | None, rest: AsyncGenerator[Json | None]) -> AsyncGenerator[bytes]:
    async with aclosing(rest):
        yield _event(first)
        async for event in rest:
            yield _event(event)


def _event(event: Json | None) -> bytes:
    if event is None:
        return b": ping\r\n\r\n"
    # The names are LangServe's own; data is JSON, which has no line breaks.
    data = event.get("data", "")
    return f"event: {event['event']}\r\ndata: {data}\r\n\r\n".encode()


async def pumped(events: AsyncGenerator[Json]) -> AsyncGenerator[Json | None]:
    """*events*, iterated in a task of its own that ends with this generator; None for every while of silence.

    What a suspended generator has started, such as the tasks of a LangGraph graph, goes on until the garbage collector
    finds it; a task can be cancelled.
    """
    queue: asyncio.Queue[Json | Exception | None] = asyncio.Queue(_AHEAD)
    pump = asyncio.create_task(_pump(events, queue))
    try:
        while True:
            try:
                item = await asyncio.wait_for(queue.get(), KEEP_ALIVE)
            except TimeoutError:
                yield None
                continue
            if isinstance(item, Exception):
                raise item
            if item is None:
                return
            yield item
    finally:
        pump.cancel()
        with suppress(asyncio.CancelledError):
            await pump


async def _pump(events: AsyncIterator[Json], queue: asyncio.Queue[Json | Exception | None]) -> None:
    outcome: Exception | None = None
    try:
        async for event in events:
            # What is wrong follows, as an exception that says more.
            if event["event"] != "error":
                await queue.put(event)
    except Exception as error:
        outcome = error
    await queue.put(outcome)
