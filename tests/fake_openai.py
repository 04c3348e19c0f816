"""An OpenAI upstream for tests: a real HTTP server on 127.0.0.1 that speaks OpenAI's wire format.

    with FakeOpenAI() as upstream:
        upstream.enqueue(Reply(content="Hi"), Reply(status=429, headers={"retry-after": "1"}))
        client = openai.OpenAI(base_url=upstream.url, api_key="sk-test")

Requests are checked as strictly as OpenAI checks them; scripted replies go, in order, to the requests that
pass; without a script an obedient, deterministic model answers. ``python tests/fake_openai.py --port 8001``
runs it as a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import itertools
import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl

import orjson
import uvicorn

if __package__ in (None, ""):
    # Run as a script, only this folder is importable, not the package it is.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.fake_openai_rules import ApiError, check_chat, check_completion, check_embedding, check_key, check_model
from tests.fake_openai_rules import inputs_of as texts_of
from tests.fake_openai_schema import (
    JSON,
    Answer,
    ToolCall,
    answer,
    fragments_of,
    legacy_logprobs_of,
    limited,
    logprobs_of,
    merged,
    message_text,
    pieces_of,
    reply_to,
    shares_of,
    suffix_of,
    usage_of,
    vector_of,
)

__all__ = ["MODELS", "FakeOpenAI", "Received", "Reply", "ToolCall"]

MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "o3-mini", "fake-model", "text-embedding-3-small")
FINGERPRINT = "fp_fa4e0fa4e0"
_DATED_MODELS = {"gpt-4o": "gpt-4o-2024-08-06"}
_EVENT_STREAM = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
_SERVER_ERROR = ("The server had an error while processing your request. Sorry about that!", "server_error", None)
_ERRORS: dict[int, tuple[str, str, str | None]] = {
    400: ("The request is invalid.", "invalid_request_error", None),
    401: ("Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
    403: ("You are not allowed to sample from this model.", "invalid_request_error", "permission_denied"),
    404: ("The model does not exist or you do not have access to it.", "invalid_request_error", "model_not_found"),
    408: ("Request timed out.", "timeout", "timeout"),
    409: ("The resource was updated by another request.", "invalid_request_error", "conflict"),
    413: ("The request is too large.", "invalid_request_error", "request_too_large"),
    422: ("The request could not be processed.", "invalid_request_error", "unprocessable_entity"),
    429: ("Rate limit reached for requests. Please try again later.", "requests", "rate_limit_exceeded"),
    503: ("The engine is currently overloaded, please try again later.", "service_unavailable", None),
}

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Delta = tuple[JSON, JSON | None]


@dataclass(frozen=True)
class Received:
    """A request as it arrived; header names are lower-cased, a body that is no JSON stays bytes."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Reply:
    """A scripted reply; with no content, chunks, tool_calls or refusal the default rules make the answer."""

    content: str | None = None
    chunks: Sequence[str] | None = None
    """The exact pieces of the stream; by default the words of the content."""
    tool_calls: Sequence[ToolCall] = ()
    """Several are parallel calls."""
    reasoning: str | None = None
    """Sent as ``reasoning_content``, in a stream before the content."""
    refusal: str | None = None
    finish_reason: str | None = None
    usage: JSON | None = None
    """Merged, at every depth, over the counted usage."""
    status: int = 200
    """From 400 on, OpenAI's error body for that status is sent."""
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
    system_fingerprint: str | None = FINGERPRINT
    """Left out when None, as is ``service_tier``."""
    service_tier: str | None = "default"
    logprobs: JSON | None = None
    annotations: Sequence[JSON] = ()
    extra: JSON = field(default_factory=dict)
    """Merged into the message; in a stream, into the delta of the finish chunk."""
    error_event: JSON | None = None
    """Ends a stream with an error event after ``cut_after`` (by default 0) events."""

    @property
    def speaks(self) -> bool:
        """Tell whether the script says what the model answers."""
        return bool(self.tool_calls) or (self.content, self.chunks, self.refusal) != (None, None, None)


class ClientGone(Exception):
    """The connection is over: the client left or the server stops."""


class FakeOpenAI:
    """The server; start it with ``with`` or ``start()``. A stopped one starts again on the same port."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.requests: list[Received] = []
        """Every request but health checks, in order of arrival."""
        self.events_sent = 0
        """Server-sent events written so far, ``[DONE]`` included."""
        self.disconnects = 0
        """Clients that left before the end of their answer."""
        self._streaming: set[_Exchange] = set()
        self._script: deque[Reply] = deque()
        self._ids = itertools.count(1)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> FakeOpenAI:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The base URL that an OpenAI client is given."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def last(self) -> Received:
        """The newest request."""
        return self.requests[-1]

    @property
    def open_streams(self) -> int:
        """The event streams now open."""
        return len(self._streaming)

    def enqueue(self, *replies: Reply) -> None:
        """Script the answers to the next valid requests."""
        self._script.extend(replies)

    def reset(self) -> None:
        """Forget the requests and the replies still scripted; the counters go on."""
        self.requests.clear()
        self._script.clear()

    def start(self) -> FakeOpenAI:
        """Serve from a daemon thread; returns once connections are accepted."""
        if self._server is not None:
            raise RuntimeError("already started")
        # asyncio turns Nagle's delays off only for sockets that name their protocol.
        listener = socket.socket(proto=socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._server = _Server(self._serve)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True, name="fake-openai")
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

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        assert self._server is not None
        exchange = _Exchange(scope, receive, send, self._server, f"req_{next(self._ids):032x}")
        watcher: asyncio.Task[None] | None = None
        try:
            request = _received(scope, await exchange.body())
            watcher = asyncio.create_task(exchange.watch())
            await self._respond(exchange, request)
        except ApiError as refusal:
            await exchange.respond(refusal.status, {}, orjson.dumps({"error": refusal.error}))
        except ClientGone:
            self.disconnects += exchange.left_early
        finally:
            if watcher:
                watcher.cancel()

    async def _respond(self, exchange: _Exchange, request: Received) -> None:
        if request.path == "/healthz":
            await exchange.respond(200, {}, b'{"status":"ok"}')
            return
        self.requests.append(request)
        answer_with = self._route(request)
        reply = self._script.popleft() if self._script else Reply()
        if reply.hang and reply.cut_after is None:
            await exchange.forever()
        await exchange.pause(reply.delay)
        if reply.status >= 400 or reply.raw is not None:
            await self._send_body(exchange, reply, _error_body(reply))
        else:
            await answer_with(exchange, reply)

    def _route(self, request: Received) -> Callable[[_Exchange, Reply], Awaitable[None]]:
        """Check a request; gives what answers it."""
        if request.path.startswith("/v1/"):
            check_key(request.headers)
        routes: dict[str, tuple[Callable[[JSON], None], Callable[[JSON, Reply, str], _Answering]]] = {
            "/v1/chat/completions": (check_chat, _ChatAnswering),
            "/v1/completions": (check_completion, _CompletionAnswering),
        }
        known = (*routes, "/v1/embeddings", "/v1/models")
        if request.path not in known and not request.path.startswith("/v1/models/"):
            raise ApiError(f"Invalid URL ({request.method} {request.path})", status=404, code="unknown_url")
        if request.method != ("GET" if request.path.startswith("/v1/models") else "POST"):
            message = f"Not allowed to {request.method} on {request.path}."
            raise ApiError(message, status=405, code="method_not_supported")
        if request.method == "GET":
            return self._body_sender(_models_body(request.path))
        body = _json_object(request.body)
        if request.path == "/v1/embeddings":
            check_embedding(body)
            return lambda exchange, reply: self._send_body(exchange, reply, _embeddings_body(body, reply))
        check, answering = routes[request.path]
        check(body)
        return self._completer(body, answering)

    def _body_sender(self, body: JSON) -> Callable[[_Exchange, Reply], Awaitable[None]]:
        return lambda exchange, reply: self._send_body(exchange, reply, body)

    def _completer(
        self, body: JSON, make: Callable[[JSON, Reply, str], _Answering]
    ) -> Callable[[_Exchange, Reply], Awaitable[None]]:
        async def complete(exchange: _Exchange, reply: Reply) -> None:
            answering = make(body, reply, f"{next(self._ids):024x}")
            if body.get("stream"):
                await self._send_events(exchange, reply, answering.events())
            else:
                await self._send_body(exchange, reply, answering.whole())

        return complete

    async def _send_body(self, exchange: _Exchange, reply: Reply, body: JSON) -> None:
        """Send a plain answer, or its first half if the reply is to be cut."""
        content = orjson.dumps(body) if reply.raw is None else reply.raw
        headers = {"content-type": reply.raw_type if reply.raw is not None else "application/json", **reply.headers}
        if reply.cut_after is None:
            await exchange.respond(reply.status, headers, content)
            return
        await exchange.start(reply.status, {**headers, "content-length": str(len(content))})
        await exchange.write(content[: len(content) // 2 if reply.cut_after else 0])
        await self._break_off(exchange, reply)

    async def _send_events(self, exchange: _Exchange, reply: Reply, events: Iterator[JSON]) -> None:
        self._streaming.add(exchange)
        try:
            await exchange.start(reply.status, {**_EVENT_STREAM, **reply.headers})
            await self._write_events(exchange, reply, events)
        finally:
            self._streaming.discard(exchange)

    async def _write_events(self, exchange: _Exchange, reply: Reply, events: Iterator[JSON]) -> None:
        limit = reply.cut_after if reply.error_event is None else reply.cut_after or 0
        for count, event in enumerate(events):
            if count == limit:
                break
            await exchange.pause(reply.chunk_delay if count else 0)
            # Counted before it is sent: whoever has read an event must find it counted.
            self.events_sent += 1
            await exchange.write(_event(orjson.dumps(event)))
        if limit is None:
            await exchange.pause(reply.chunk_delay)
            await self._write_last(exchange, b"[DONE]")
        elif reply.error_event is not None:
            await self._write_last(exchange, orjson.dumps({"error": reply.error_event}))
        else:
            await self._break_off(exchange, reply)

    async def _write_last(self, exchange: _Exchange, data: bytes) -> None:
        self.events_sent += 1
        self._streaming.discard(exchange)
        await exchange.write(_event(data), last=True)

    async def _break_off(self, exchange: _Exchange, reply: Reply) -> None:
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

    def close_connection(self, client: tuple[str, int]) -> None:
        """Close a client's connection after what was already written to it."""
        for connection in list(self.server_state.connections):
            if connection.transport.get_extra_info("peername") == tuple(client):
                connection.transport.close()

    def _drop(self) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()


class _Exchange:
    """One request and its answer on a live connection."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, server: _Server, request_id: str) -> None:
        self._client = scope["client"]
        self._receive = receive
        self._send = send
        self._server = server
        self._request_id = request_id
        self._began = time.perf_counter()
        self._over = asyncio.Event()
        self._settled = False

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
        every = {
            "x-request-id": self._request_id,
            "openai-processing-ms": str(round((time.perf_counter() - self._began) * 1000)),
            **{name.lower(): value for name, value in headers.items()},
        }
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


@dataclass(frozen=True)
class _Choice:
    """One choice of a chat answer."""

    index: int
    text: str | None
    pieces: Sequence[str]
    calls: Sequence[ToolCall]
    finish_reason: str
    logprobs: JSON | None
    reply: Reply

    def message(self) -> JSON:
        """The choice as a whole message."""
        message: JSON = {"role": "assistant", "content": self.text, "refusal": self.reply.refusal}
        if self.reply.reasoning is not None:
            message["reasoning_content"] = self.reply.reasoning
        if self.calls:
            message["tool_calls"] = [_call_body(call, call.text) for call in self.calls]
        return {**message, "annotations": list(self.reply.annotations), **self.reply.extra}

    def deltas(self) -> Iterator[Delta]:
        """The choice as deltas with their logprobs, all but the finish."""
        content = "" if self.text is not None else None
        yield {"role": "assistant", "content": content, "refusal": None}, None
        for piece in pieces_of(self.reply.reasoning or ""):
            yield {"reasoning_content": piece}, None
        shares = shares_of(self.logprobs, self.pieces)
        yield from (({"content": piece}, share) for piece, share in zip(self.pieces, shares, strict=True))
        for piece in pieces_of(self.reply.refusal or ""):
            yield {"refusal": piece}, None
        for index, call in enumerate(self.calls):
            yield {"tool_calls": [{"index": index, **_call_body(call, "")}]}, None
            for fragment in fragments_of(call.text):
                yield {"tool_calls": [{"index": index, "function": {"arguments": fragment}}]}, None
        if self.reply.annotations:
            yield {"annotations": list(self.reply.annotations)}, None


class _Answering:
    """Builds the bodies that answer one completion request."""

    kind: str
    chunk_kind: str

    def __init__(self, body: JSON, reply: Reply, id_: str) -> None:
        self.body = body
        self.reply = reply
        self.head: JSON = {"id": id_, "created": int(time.time()), "model": _served_model(body["model"])}
        if reply.system_fingerprint is not None:
            self.head["system_fingerprint"] = reply.system_fingerprint

    def whole(self) -> JSON:
        """The answer in one piece."""
        return {**self.head, "object": self.kind, "choices": self.choices(), "usage": self.usage()}

    def events(self) -> Iterator[JSON]:
        """The answer as stream chunks, the choices interleaved."""
        wants_usage = (self.body.get("stream_options") or {}).get("include_usage")
        head: JSON = {**self.head, "object": self.chunk_kind, **({"usage": None} if wants_usage else {})}
        for turn in itertools.zip_longest(*self.streams()):
            for choice in turn:
                if choice is not None:
                    yield {**head, "choices": [choice]}
        if wants_usage:
            yield {**head, "choices": [], "usage": self.usage()}

    def choices(self) -> list[JSON]:
        """The choices of the whole answer."""
        raise NotImplementedError

    def streams(self) -> list[Iterator[JSON]]:
        """For each choice, its entries in the chunks of a stream."""
        raise NotImplementedError

    def usage(self) -> JSON:
        """The tokens of the request and the answer."""
        raise NotImplementedError


class _ChatAnswering(_Answering):
    kind = "chat.completion"
    chunk_kind = "chat.completion.chunk"

    def __init__(self, body: JSON, reply: Reply, id_: str) -> None:
        super().__init__(body, reply, f"chatcmpl-{id_}")
        if reply.service_tier is not None:
            self.head["service_tier"] = reply.service_tier
        self._choices = [self._choice(index) for index in range(body.get("n") or 1)]

    def choices(self) -> list[JSON]:
        """The choices of the whole answer."""
        return [
            {"index": one.index, "message": one.message(), "logprobs": one.logprobs, "finish_reason": one.finish_reason}
            for one in self._choices
        ]

    def streams(self) -> list[Iterator[JSON]]:
        """For each choice, its entries in the chunks of a stream."""
        return [self._stream(choice) for choice in self._choices]

    def usage(self) -> JSON:
        """The words of the messages and of the choices, under OpenAI's names."""
        reasoning = len((self.reply.reasoning or "").split()) * len(self._choices)
        said = sum(_words_said(choice) for choice in self._choices)
        prompt = sum(len(message_text(message).split()) for message in self.body["messages"])
        return usage_of(prompt, said + reasoning, reasoning, self.reply.usage)

    def _stream(self, choice: _Choice) -> Iterator[JSON]:
        for delta, logprobs in choice.deltas():
            yield {"index": choice.index, "delta": delta, "logprobs": logprobs, "finish_reason": None}
        end: JSON = {"index": choice.index, "delta": dict(self.reply.extra), "logprobs": None}
        yield {**end, "finish_reason": choice.finish_reason}

    def _choice(self, index: int) -> _Choice:
        reply = self.reply
        given = _scripted(reply, index) if reply.speaks else answer(self.body, index)
        pieces = pieces_of(given.text or "")
        if reply.chunks is not None:
            pieces = [*reply.chunks, *([suffix_of(index)] if index else [])]
        calls = [
            ToolCall(call.name, call.arguments, call.id or f"call_{self.head['id'][-18:]}{index:03d}{place:03d}")
            for place, call in enumerate(given.tool_calls)
        ]
        logprobs = reply.logprobs
        if logprobs is None and self.body.get("logprobs"):
            logprobs = logprobs_of(given.text or "", self.body.get("top_logprobs") or 0)
        finish = reply.finish_reason or given.finish_reason
        return _Choice(index, given.text, pieces, calls, finish, logprobs, reply)


class _CompletionAnswering(_Answering):
    kind = chunk_kind = "text_completion"

    def __init__(self, body: JSON, reply: Reply, id_: str) -> None:
        super().__init__(body, reply, f"cmpl-{id_}")
        self._prompts = texts_of(body["prompt"]) if body["prompt"] is not None else [""]
        count = body.get("n") or 1
        self._texts = [self._text(prompt, index) for prompt in self._prompts for index in range(count)]

    def choices(self) -> list[JSON]:
        """The choices of the whole answer: n for each prompt."""
        return [self._entry(index, text, finish) for index, (text, finish) in enumerate(self._texts)]

    def streams(self) -> list[Iterator[JSON]]:
        """For each choice, its entries in the chunks of a stream."""
        return [self._stream(index, text, finish) for index, (text, finish) in enumerate(self._texts)]

    def usage(self) -> JSON:
        """The words of the prompts and of the choices."""
        said = sum(len(text.split()) for text, _ in self._texts)
        return usage_of(sum(len(prompt.split()) for prompt in self._prompts), said, 0, self.reply.usage)

    def _text(self, prompt: str, index: int) -> tuple[str, str]:
        if self.reply.speaks:
            scripted = _scripted(self.reply, index)
            text, finish = scripted.text or "", "stop"
        else:
            text = reply_to(prompt) + suffix_of(index)
            text, finish = limited(text, self.body.get("stop"), self.body.get("max_tokens"))
        return (prompt + text if self.body.get("echo") else text), self.reply.finish_reason or finish

    def _stream(self, index: int, text: str, finish: str) -> Iterator[JSON]:
        chunks = self.reply.chunks
        for piece in pieces_of(text) if chunks is None or "".join(chunks) != text else chunks:
            yield self._entry(index, piece, None)
        yield {**self._entry(index, "", finish), "logprobs": None}

    def _entry(self, index: int, text: str, finish: str | None) -> JSON:
        top = self.body.get("logprobs")
        logprobs = self.reply.logprobs
        if logprobs is None and top is not None:
            logprobs = legacy_logprobs_of(text, top)
        return {"text": text, "index": index, "logprobs": logprobs, "finish_reason": finish}


def _received(scope: Scope, raw: bytes) -> Received:
    """The request of an ASGI scope and its body."""
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        body = raw
    return Received(scope["method"], scope["path"], dict(parse_qsl(scope["query_string"].decode())), headers, body)


def _json_object(body: Any) -> JSON:
    """The body if it is a JSON object."""
    if isinstance(body, dict):
        return body
    raise ApiError("We could not parse the JSON body of your request. The API expects a JSON payload.")


def _error_body(reply: Reply) -> JSON:
    """The body of a scripted error."""
    if reply.error is not None:
        return {"error": reply.error}
    message, type_, code = _ERRORS.get(reply.status, _SERVER_ERROR)
    return {"error": {"message": message, "type": type_, "param": None, "code": code}}


def _event(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"


def _models_body(path: str) -> JSON:
    """The list of models, or one of them."""
    name = path.removeprefix("/v1/models").removeprefix("/")
    if not name:
        return {"object": "list", "data": [_model_body(model) for model in MODELS]}
    check_model(name, "model")
    return _model_body(name)


def _model_body(model: str) -> JSON:
    return {"id": model, "object": "model", "created": 1_715_367_049, "owned_by": "system"}


def _served_model(model: str) -> str:
    """The name that answers carry: a dated one for an alias."""
    return _DATED_MODELS.get(model, model)


def _call_body(call: ToolCall, arguments: str) -> JSON:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _scripted(reply: Reply, index: int) -> Answer:
    """What a script says in one choice."""
    text = reply.content
    if text is None and reply.chunks is not None:
        text = "".join(reply.chunks)
    finish = "tool_calls" if reply.tool_calls else "stop"
    return Answer(text if text is None else text + suffix_of(index), finish, reply.tool_calls)


def _words_said(choice: _Choice) -> int:
    """The words of a choice but for its reasoning."""
    calls = (f"{call.name} {call.text}" for call in choice.calls)
    return len(" ".join((choice.text or "", choice.reply.refusal or "", *calls)).split())


def _embeddings_body(body: JSON, reply: Reply) -> JSON:
    """The vectors of an embeddings request."""
    texts = texts_of(body["input"])
    as_text = body.get("encoding_format") == "base64"
    data: list[JSON] = []
    for index, text in enumerate(texts):
        packed = vector_of(text, body.get("dimensions", 8))
        vector = base64.b64encode(packed).decode() if as_text else struct.unpack(f"<{len(packed) // 4}f", packed)
        data.append({"object": "embedding", "index": index, "embedding": vector})
    tokens = sum(len(text.split()) for text in texts)
    usage = merged({"prompt_tokens": tokens, "total_tokens": tokens}, reply.usage or {})
    return {"object": "list", "data": data, "model": body["model"], "usage": usage}


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="Serve OpenAI's API with an obedient model.")
    parser.add_argument("--port", type=int, default=0, help="the port on 127.0.0.1; a free one by default")
    with FakeOpenAI(parser.parse_args().port) as upstream:
        print(upstream.url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
