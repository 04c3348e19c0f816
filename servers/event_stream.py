"""Server-sent events of an answer that ends with its client, says that it lives, and shows a failure as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from las_langchain.errors import LASError
from servers.deps import service_of
from servers.requests import gone, too_long, unless_gone

Json = dict[str, Any]
Events = AsyncGenerator[bytes]

KEEP_ALIVE = 15.0
"""Seconds of silence after which a comment tells proxies and clients that the answer is still to come."""
_PING = b": ping\n\n"
_AHEAD = 32
"""Events that a run may be ahead of its client."""


async def event_response(
    request: Request,
    events: Events,
    failed: Callable[[Exception], bytes],
    *,
    headers: Callable[[], Mapping[str, str]] = dict,
    cut: bool = False,
) -> Response:
    """The answer to *request* that consists of *events*; they end when the client leaves.

    What goes wrong before the first event is an error with a status of its own, unless it takes so long to come that
    the client must be told before that it will.

    Args:
        request: its body has been read.
        events: as they go over the wire; may raise.
        failed: what to tell the client of a failure after the status was sent.
        headers: further ones, known when the first event is there.
        cut: whether the connection is cut after a failure, for clients that would take the text for complete.

    Raises:
        LASError: the answer failed before it began.
        ClientDisconnect: the client left before it began.
    """
    limit = service_of(request).settings.total_timeout
    deadline = asyncio.get_running_loop().time() + limit
    first = asyncio.create_task(_first(events))
    try:
        with suppress(TimeoutError):
            await unless_gone(request, asyncio.wait_for(asyncio.shield(first), min(KEEP_ALIVE, limit)))
        if not first.done() and limit <= KEEP_ALIVE:
            raise too_long(limit)
    except BaseException:
        first.cancel()
        with suppress(Exception, asyncio.CancelledError):
            await first
        await events.aclose()
        raise
    return EventStream(first, events, failed, deadline=(deadline, too_long(limit)), headers=headers(), cut=cut)


async def _first(events: Events) -> bytes:
    # Without any event an answer is complete, too.
    return await anext(events, b"")


class EventStream(Response):
    """Events as they come.

    Args:
        first: the first event, which may not be there yet.
        rest: what follows; it may raise.
        failed: as for :func:`event_response`.
        deadline: when the answer must be complete, in the event loop's time, and what to tell if it is not.
        headers: beside those of every stream.
        cut: as for :func:`event_response`.
        keep_alive: seconds of silence after which there is a comment.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        first: asyncio.Future[bytes],
        rest: Events,
        failed: Callable[[Exception], bytes],
        *,
        deadline: tuple[float, LASError],
        headers: Mapping[str, str] | None = None,
        cut: bool = False,
        keep_alive: float = KEEP_ALIVE,
    ) -> None:
        self.status_code, self.background = 200, None
        self.init_headers({"cache-control": "no-cache", "x-accel-buffering": "no", **(headers or {})})
        del self.headers["content-length"]
        self._first, self._rest, self._failed = first, rest, failed
        self._deadline, self._late = deadline
        self._cut, self._keep_alive = cut, keep_alive
        self._spoke, self._over = 0.0, False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events, until they end or the client leaves."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        work, watch = asyncio.create_task(self._send_all(send)), asyncio.create_task(gone(receive))
        tasks = [work, watch, asyncio.create_task(self._keep(send))]
        try:
            await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            self._over = True
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _send_all(self, send: Send) -> None:
        failure: Exception | None = None
        try:
            async with asyncio.timeout_at(self._deadline) as limit:
                failure = await self._send_events(send)
        except TimeoutError as error:
            failure = self._late if limit.expired() else error
        if failure is not None:
            await self._write(send, self._failed(failure))
        self._over = True
        if failure is None or not self._cut:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_events(self, send: Send) -> Exception | None:
        """Send what there is; returns why there is no more, if that is a failure."""
        async with aclosing(_outcomes(self._first, self._rest)) as events:
            async for event in events:
                if isinstance(event, Exception):
                    return event
                if self._over:
                    # It was cancelled, and went on all the same.
                    break
                await self._write(send, event)
                # What is there already is read without a pause, and other streams are to have their turn.
                await asyncio.sleep(0)
        return None

    async def _write(self, send: Send, event: bytes) -> None:
        self._spoke = asyncio.get_running_loop().time()
        await send({"type": "http.response.body", "body": event, "more_body": True})

    async def _keep(self, send: Send) -> None:
        clock = asyncio.get_running_loop().time
        while not self._over:
            silence = clock() - self._spoke
            if silence >= self._keep_alive:
                await self._write(send, _PING)
                silence = 0.0
            await asyncio.sleep(self._keep_alive - silence)


async def _outcomes(first: asyncio.Future[bytes], rest: Events) -> AsyncGenerator[bytes | Exception]:
    """The events, the last of which may be a failure."""
    try:
        async with aclosing(rest):
            yield await first
            async for event in rest:
                yield event
    except Exception as error:
        yield error
    finally:
        first.cancel()


async def pumped(items: AsyncGenerator[Json]) -> AsyncGenerator[Json]:
    """*items*, iterated in one task, in one context, which ends with this generator.

    What a suspended generator has started, such as the tasks of a LangGraph graph, goes on until the garbage collector
    finds it; a task can be cancelled.
    """
    queue: asyncio.Queue[Json | Exception | None] = asyncio.Queue(_AHEAD)
    pump = asyncio.create_task(_pump(items, queue))
    try:
        while (item := await queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        pump.cancel()
        with suppress(asyncio.CancelledError):
            await pump


async def _pump(items: AsyncGenerator[Json], queue: asyncio.Queue[Json | Exception | None]) -> None:
    outcome: Exception | None = None
    try:
        async with aclosing(items):
            async for item in items:
                await queue.put(item)
    except Exception as error:
        outcome = error
    await queue.put(outcome)
