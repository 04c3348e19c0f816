"""What the upstream doubles share: a real HTTP server in a thread, whose answers can be scripted, cut and counted.

A double derives from ``FakeServer`` and says what its API's routes, errors and events look like.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import socket
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Generic, Self, TypeVar
from urllib.parse import parse_qsl

import orjson
import uvicorn

JSON = dict[str, Any]
Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

_EVENT_STREAM = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}


class Refusal(Exception):
    """A request that the API refuses, with the error that it answers."""

    def __init__(self, status: int, error: JSON) -> None:
        super().__init__(error["message"])
        self.status = status
        self.error = error


class ClientGone(Exception):
    """The connection is over: the client left or the server stops."""


@dataclass(frozen=True)
class Received:
    """A request as it arrived; header names are lower-cased, a body that is no JSON stays bytes."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    raw_path: str = ""
    """The path before its escapes are read, and below the body's bytes: what signatures are made of."""
    content: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """How a scripted reply is sent, whatever it says."""

    status: int = 200
    """From 400 on, the API's error body for that status is sent."""
    error: JSON | None = None
    """Replaces the error of that body."""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    """Seconds before the first byte."""
    chunk_delay: float = 0.0
    """Seconds between events."""
    cut_after: int | None = None
    """Close the connection after so many events, 0 being right after the headers; a plain body is cut halfway."""
    hang: bool = False
    """Never answer; with ``cut_after``, fall silent there instead of closing."""
    raw: bytes | None = None
    """The exact body to send."""
    raw_type: str = "application/json"
    error_event: JSON | None = None
    """Ends a stream with an error event after ``cut_after`` (by default 0) events."""


ReplyT = TypeVar("ReplyT", bound=Delivery)


class FakeServer(Generic[ReplyT]):
    """The server; start it with ``with`` or ``start()``. A stopped one starts again on the same port."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.requests: list[Received] = []
        """Every request but health checks, in order of arrival."""
        self.events_sent = 0
        """Server-sent events written so far, the last of each stream included."""
        self.disconnects = 0
        """Clients that left before the end of their answer."""
        self._streaming: set[Exchange] = set()
        self._script: deque[ReplyT] = deque()
        self._ids = itertools.count(1)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The base URL that a client is given."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def last(self) -> Received:
        """The newest request."""
        return self.requests[-1]

    @property
    def open_streams(self) -> int:
        """The event streams now open."""
        return len(self._streaming)

    def enqueue(self, *replies: ReplyT) -> None:
        """Script the answers to the next valid requests."""
        self._script.extend(replies)

    def reset(self) -> None:
        """Forget the requests and the replies still scripted; the counters go on."""
        self.requests.clear()
        self._script.clear()

    def start(self) -> Self:
        """Serve from a daemon thread; returns once connections are accepted."""
        if self._server is not None:
            raise RuntimeError("already started")
        # asyncio turns Nagle's delays off only for sockets that name their protocol.
        listener = socket.socket(proto=socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._server = _Server(self._serve)
        name = type(self).__name__
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True, name=name)
        self._thread.start()
        if not self._server.ready.wait(10):
            raise RuntimeError("the server did not start")
        return self

    def stop(self) -> None:
        """Drop every connection and end the server."""
        if self._server is None or self._thread is None:
            return
        self._server.leave()
        self._thread.join(5)
        self._server = self._thread = None

    def route(self, request: Received) -> Callable[[Exchange, ReplyT], Awaitable[None]]:
        """Check a request; gives what answers it."""
        raise NotImplementedError

    def default_reply(self) -> ReplyT:
        """The reply to a request that none is scripted for."""
        raise NotImplementedError

    def stamps(self, exchange: Exchange) -> Mapping[str, str]:
        """The headers of every answer."""
        raise NotImplementedError

    def scripted_error(self, reply: ReplyT) -> JSON:
        """The error that goes with the status of a scripted reply."""
        raise NotImplementedError

    def error_body(self, error: JSON, exchange: Exchange) -> JSON:
        """An error as the body of an answer or as the data of an event."""
        raise NotImplementedError

    def event(self, data: JSON) -> bytes:
        """A server-sent event."""
        raise NotImplementedError

    def last_event(self) -> bytes:
        """The event that ends a whole stream."""
        raise NotImplementedError

    def next_id(self) -> int:
        """A number that no other request or answer has."""
        return next(self._ids)

    async def send_body(self, exchange: Exchange, reply: ReplyT, body: JSON) -> None:
        """Send a plain answer, or its first half if the reply is to be cut."""
        content = orjson.dumps(body) if reply.raw is None else reply.raw
        headers = {"content-type": reply.raw_type if reply.raw is not None else "application/json", **reply.headers}
        if reply.cut_after is None:
            await exchange.respond(reply.status, headers, content)
            return
        await exchange.start(reply.status, {**headers, "content-length": str(len(content))})
        await exchange.write(content[: len(content) // 2 if reply.cut_after else 0])
        await self._break_off(exchange, reply)

    async def send_events(self, exchange: Exchange, reply: ReplyT, events: Iterator[JSON]) -> None:
        """Send a stream: these events and the last one, as far as the reply lets it come."""
        self._streaming.add(exchange)
        try:
            await exchange.start(reply.status, {**_EVENT_STREAM, **reply.headers})
            await self._write_events(exchange, reply, events)
        finally:
            self._streaming.discard(exchange)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        assert self._server is not None
        exchange = Exchange(scope, receive, send, self._server, f"req_{self.next_id():032x}")
        exchange.stamps = lambda: self.stamps(exchange)
        watcher: asyncio.Task[None] | None = None
        try:
            request = _received(scope, await exchange.body())
            watcher = asyncio.create_task(exchange.watch())
            await self._respond(exchange, request)
        except Refusal as refusal:
            await exchange.respond(refusal.status, {}, orjson.dumps(self.error_body(refusal.error, exchange)))
        except ClientGone:
            self.disconnects += exchange.left_early
        finally:
            if watcher:
                watcher.cancel()

    async def _respond(self, exchange: Exchange, request: Received) -> None:
        if request.path == "/healthz":
            await exchange.respond(200, {}, b'{"status":"ok"}')
            return
        self.requests.append(request)
        answer_with = self.route(request)
        reply = self._script.popleft() if self._script else self.default_reply()
        if reply.hang and reply.cut_after is None:
            await exchange.forever()
        await exchange.pause(reply.delay)
        if reply.status >= 400 or reply.raw is not None:
            error = reply.error if reply.error is not None else self.scripted_error(reply)
            await self.send_body(exchange, reply, self.error_body(error, exchange))
        else:
            await answer_with(exchange, reply)

    async def _write_events(self, exchange: Exchange, reply: ReplyT, events: Iterator[JSON]) -> None:
        limit = reply.cut_after if reply.error_event is None else reply.cut_after or 0
        for count, event in enumerate(events):
            if count == limit:
                break
            await exchange.pause(reply.chunk_delay if count else 0)
            # Counted before it is sent: whoever has read an event must find it counted.
            self.events_sent += 1
            await exchange.write(self.event(event))
        if limit is None:
            await exchange.pause(reply.chunk_delay)
            await self._write_last(exchange, self.last_event())
        elif reply.error_event is not None:
            await self._write_last(exchange, self.event(self.error_body(reply.error_event, exchange)))
        else:
            await self._break_off(exchange, reply)

    async def _write_last(self, exchange: Exchange, event: bytes) -> None:
        self.events_sent += 1
        self._streaming.discard(exchange)
        await exchange.write(event, last=True)

    async def _break_off(self, exchange: Exchange, reply: ReplyT) -> None:
        await (exchange.forever() if reply.hang else exchange.cut())


class _Config(uvicorn.Config):
    def configure_logging(self) -> None:
        """Leave uvicorn's loggers alone: the product under test may use them in this process."""


class _Server(uvicorn.Server):
    """uvicorn with an event for its start and an immediate end."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        # A short keep-alive would race with clients that reuse their connections.
        super().__init__(
            _Config(
                app,
                interface="asgi3",
                ws="none",
                lifespan="off",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=1,
            )
        )
        self.ready = threading.Event()
        self.leaving = False
        self._left = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the listeners and tell so."""
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self.ready.set()

    def leave(self) -> None:
        """Drop listeners and connections at once; called from another thread."""
        self.leaving = self.should_exit = self.force_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._drop)

    async def main_loop(self) -> None:
        """Do uvicorn's housekeeping, until the time to leave and no longer."""
        counter = 0
        while not await self.on_tick(counter):
            counter += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._left.wait(), 0.1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the listeners; the connections, which uvicorn would look after, are dropped already."""
        for listener in (*self.servers, *(sockets or [])):
            listener.close()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=0.1)

    def close_connection(self, client: tuple[str, int]) -> None:
        """Close a client's connection after what was already written to it."""
        for connection in list(self.server_state.connections):
            if connection.transport.get_extra_info("peername") == tuple(client):
                connection.transport.close()

    def _drop(self) -> None:
        self._left.set()
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()


class Exchange:
    """One request and its answer on a live connection."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, server: _Server, request_id: str) -> None:
        self._client = scope["client"]
        self._receive = receive
        self._send = send
        self._server = server
        self.request_id = request_id
        self.stamps: Callable[[], Mapping[str, str]] = dict
        self._began = time.perf_counter()
        self._over = asyncio.Event()
        self._settled = False

    @property
    def milliseconds(self) -> int:
        """The time since the request arrived."""
        return round((time.perf_counter() - self._began) * 1000)

    @property
    def left_early(self) -> bool:
        """Tell whether it was the client who ended this."""
        return not self._settled and not self._server.leaving

    async def body(self) -> bytes:
        """The whole body of the request."""
        parts: list[bytes] = []
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                return b"".join(parts)

    async def watch(self) -> None:
        """Wait for the end of the connection or of the answer."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._over.set()

    async def pause(self, seconds: float) -> None:
        """Sleep, unless and until the client leaves; even no time at all lets its leaving be noticed."""
        if seconds > 0:
            try:
                await asyncio.wait_for(self._over.wait(), seconds)
            except TimeoutError:
                return
        else:
            await asyncio.sleep(0)
        if self._over.is_set():
            raise ClientGone

    async def forever(self) -> None:
        """Stay silent until the connection ends."""
        await self._over.wait()
        raise ClientGone

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the status and the headers."""
        every = {**self.stamps(), **{name.lower(): value for name, value in headers.items()}}
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in every.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def write(self, data: bytes, *, last: bool = False) -> None:
        """Send a piece of the body; whoever leaves after the last one has had everything."""
        self._settled = self._settled or last
        await self._send({"type": "http.response.body", "body": data, "more_body": not last})

    async def respond(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        """Send a whole answer."""
        lower = {name.lower(): value for name, value in headers.items()}
        await self.start(status, {"content-type": "application/json", "content-length": str(len(content)), **lower})
        await self.write(content, last=True)

    async def cut(self) -> None:
        """Close the connection in the middle of the answer."""
        self._settled = True
        self._server.close_connection(self._client)
        await self.forever()


def _received(scope: Scope, raw: bytes) -> Received:
    """The request of an ASGI scope and its body."""
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        body = raw
    query = dict(parse_qsl(scope["query_string"].decode()))
    return Received(scope["method"], scope["path"], query, headers, body, scope["raw_path"].decode("latin-1"), raw)


def run_as_script(make: Callable[[int], FakeServer[Any]], description: str) -> None:
    """Serve on the port that the command line names until interrupted."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, default=0, help="the port on 127.0.0.1; a free one by default")
    with make(parser.parse_args().port) as upstream:
        print(upstream.url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
