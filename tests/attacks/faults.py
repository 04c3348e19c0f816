"""What can go wrong with an upstream, each byte as it goes over the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import orjson

from tests.attacks.upstream import Fault, Wire

Json = dict[str, Any]

SECRET = "sk-upstream-attacked-0123456789"
"""The server's key of the provider."""
_HEAD: Json = {"id": "chatcmpl-1", "created": 1764000000, "model": "gpt-4o"}
_USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
GOOD: Json = {
    **_HEAD,
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Fine."}, "finish_reason": "stop"}],
    "usage": _USAGE,
}
EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
DONE = b"data: [DONE]\n\n"


def answer(
    body: bytes | Json, status: str = "200 OK", kind: str = "application/json", headers: str = "", length: int = 0
) -> bytes:
    """A whole answer; *length*: bytes that are announced beyond those that come."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(content) + length}\r\n{headers}\r\n"
    return head.encode("latin-1") + content


def error(status: str, headers: str = "", **fields: Any) -> bytes:
    """OpenAI's error."""
    said = {"message": "It went wrong.", "type": "some_error", "param": None, "code": None, **fields}
    return answer({"error": said}, status, headers=headers)


def chunked(data: bytes) -> bytes:
    """A piece of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(delta: Json, finish: str | None = None, **fields: Any) -> bytes:
    """A chunk of an answer."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    data = {**_HEAD, "object": "chat.completion.chunk", "choices": [choice], **fields}
    return chunked(b"data: " + orjson.dumps(data) + b"\n\n")


def words(*texts: str) -> bytes:
    """The begin of a stream, and these texts."""
    role = event({"role": "assistant", "content": ""})
    return EVENTS + role + b"".join(event({"content": text}) for text in texts)


def says(data: bytes) -> Fault:
    """Sends bytes, with the canary's address where they say ``CANARY``, and closes the connection."""

    async def fault(wire: Wire) -> None:
        await wire.write(data.replace(b"CANARY", wire.upstream.canary.encode()))

    return fault


def stays(data: bytes) -> Fault:
    """Sends bytes, and then nothing more."""

    async def fault(wire: Wire) -> None:
        await wire.write(data)
        await wire.forever()

    return fault


def drips(first: bytes, piece: bytes, seconds: float = 0.1) -> Fault:
    """Sends bytes, and then a piece again and again without end."""

    async def fault(wire: Wire) -> None:
        await wire.write(first)
        while True:
            await wire.pause(seconds)
            await wire.write(piece)

    return fault


def either(plain: bytes, stream: bytes) -> Fault:
    """Sends one thing to those who want a whole answer, and another to those who want a stream."""

    async def fault(wire: Wire) -> None:
        await wire.write(stream if wire.request.body.get("stream") else plain)

    return fault


async def _slow_then_limited(wire: Wire) -> None:
    await asyncio.sleep(0.4)
    await wire.write(error("429 Too Many Requests", "retry-after: 3600\r\n"))


async def _flood(wire: Wire) -> None:
    await wire.write(words())
    await wire.write(event({"content": "x"}) * 200)
    await wire.write(_ALL)


async def _fails_once(wire: Wire) -> None:
    """The first time 503, then right."""
    stream = bool(wire.request.body.get("stream"))
    if len(wire.upstream.asked("once", stream)) % 2:
        await wire.write(error("503 Service Unavailable", "retry-after: 0\r\n"))
    else:
        await wire.write(words("Fine.") + _ALL if stream else answer(GOOD))


def _statuses(statuses: Iterable[str]) -> dict[str, Fault]:
    return {f"status-{status[:3]}": says(error(status)) for status in statuses}


_GIANT = "x" * 500_000
_STOP = event({}, "stop")
_TOLD = chunked(b"data: " + orjson.dumps({**_HEAD, "choices": [], "usage": _USAGE}) + b"\n\n")
_ALL = _STOP + _TOLD + chunked(DONE) + END
_KEYED = {"message": f"Incorrect API key provided: {SECRET}.", "code": "invalid_api_key"}
_SECRET_PLACES = f"Bearer {SECRET} at /usr/lib/python3/site-packages\nTraceback (most recent call last):\n  File x"

FAULTS: dict[str, Fault] = {
    **_statuses(
        [
            "400 Bad Request",
            "401 Unauthorized",
            "402 Payment Required",
            "403 Forbidden",
            "404 Not Found",
            "408 Request Timeout",
            "409 Conflict",
            "413 Payload Too Large",
            "418 I'm a teapot",
            "422 Unprocessable Entity",
            "429 Too Many Requests",
            "500 Internal Server Error",
            "501 Not Implemented",
            "502 Bad Gateway",
            "503 Service Unavailable",
            "504 Gateway Timeout",
            "529 Overloaded",
            "599 Odd",
        ]
    ),
    "none": either(answer(GOOD), words("Fine", ".") + _ALL),
    "once": _fails_once,
    # Answers that are none
    "text": says(answer(b"I am no JSON", kind="text/plain")),
    "redirect": says(answer(b"", "307 Temporary Redirect", headers="location: http://CANARY/v1/chat/completions\r\n")),
    "moved": says(answer(b"", "301 Moved Permanently", headers="location: http://CANARY/v1/chat/completions\r\n")),
    "html": says(answer(b"<html><title>Sign in</title></html>", kind="text/html")),
    "html-502": says(answer(b"<html><h1>502 Bad Gateway</h1></html>", "502 Bad Gateway", "text/html")),
    "empty": says(answer(b"")),
    "empty-object": says(answer({})),
    "null": says(answer(b"null")),
    "list": says(answer(b"[1, 2]")),
    "no-choices": says(answer({**GOOD, "choices": []})),
    "null-choices": says(answer({**GOOD, "choices": None})),
    "no-message": says(answer({**GOOD, "choices": [{"index": 0, "finish_reason": "stop"}]})),
    "truncated": says(answer(orjson.dumps(GOOD)[:60])),
    "short": says(answer(orjson.dumps(GOOD)[:60], length=200)),
    "bad-utf8": says(answer(b'{"choices": "\xff\xfe\xfa"}')),
    "deep": says(answer(b"[" * 100_000)),
    "error-200": says(answer({"error": {"message": "Not today.", "type": "server_error", "code": None}})),
    "wrong-type": either(
        answer(GOOD, kind="text/plain"),
        words("Fine", ".").replace(b"text/event-stream", b"application/octet-stream") + _ALL,
    ),
    "cut-at-once": says(b""),
    "cut-head": says(b"HTTP/1.1 200 OK\r\ncontent-ty"),
    "no-http": says(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "tls": says(b"\x15\x03\x03\x00\x02\x02\x28\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "huge-head": says(b"HTTP/1.1 200 OK\r\nx: " + b"a" * 500_000 + b"\r\n\r\n"),
    "gzip-lie": says(answer(GOOD, headers="content-encoding: gzip\r\n")),
    # What an error may hold
    "echo-key": says(error("401 Unauthorized", **_KEYED)),
    "echo-all": says(error("500 Internal Server Error", message=_SECRET_PLACES)),
    "error-text": says(answer({"error": "No."}, "400 Bad Request")),
    "error-odd": says(answer({"error": {"message": {"a": [1]}, "code": 17, "param": ["x"]}}, "400 Bad Request")),
    "error-huge": says(error("400 Bad Request", message="x" * 300_000)),
    # When to come back
    "after-3600": says(error("429 Too Many Requests", "retry-after: 3600\r\n")),
    "after-date": says(error("429 Too Many Requests", "retry-after: Fri, 31 Dec 2100 23:59:59 GMT\r\n")),
    "after-ms": says(error("429 Too Many Requests", "retry-after-ms: 3600000\r\n")),
    "after-garbage": says(error("429 Too Many Requests", "retry-after: soon\r\n")),
    "after-minus": says(error("429 Too Many Requests", "retry-after: -5\r\n")),
    "after-nan": says(error("429 Too Many Requests", "retry-after: nan\r\n")),
    "after-503": says(error("503 Service Unavailable", "retry-after: 7200\r\n")),
    "slow-429": _slow_then_limited,
    # Streams that end wrongly
    "cut-before": says(EVENTS),
    "cut-role": says(words()),
    "cut-mid": says(words("one ", "two ")),
    "cut-event": says(words("one ") + event({"content": "two"})[:40]),
    "cut-finish": says(words("one ") + _STOP),
    "no-done": says(words("one ") + _STOP + END),
    "no-finish": says(words("one ") + chunked(DONE) + END),
    "only-done": says(EVENTS + chunked(DONE) + END),
    "no-events": says(EVENTS + END),
    "error-event": says(words("one ") + chunked(b'data: {"error": {"message": "Broken.", "code": null}}\n\n') + END),
    "error-event-key": says(words("one ") + chunked(b'data: {"error": {"message": "%b"}}\n\n' % SECRET.encode())),
    "event-garbage": says(words("one ") + chunked(b"data: {no json\n\n") + _ALL),
    "event-utf8": says(words("one ") + chunked(b'data: {"choices": [{"delta": {"content": "\xff"}}]}\n\n') + _ALL),
    "event-list": says(words("one ") + chunked(b"data: [1]\n\n") + _ALL),
    "twice": says(words("one") + _STOP + _STOP + chunked(DONE) + chunked(DONE) + END),
    "after-finish": says(words("one") + _STOP + event({"content": " more"}) + chunked(DONE) + END),
    "flood": _flood,
    "giant": either(
        answer({**GOOD, "choices": [{"message": {"content": _GIANT}, "index": 0, "finish_reason": "stop"}]}),
        words(_GIANT) + _ALL,
    ),
    "breaks": says(words("a\n\ndata: [DONE]\n\nevent: x\r\n: ping\r\r\u2028\u0085 b") + _ALL),
    # Those that never end
    "hang": stays(b""),
    "hang-head": stays(EVENTS),
    "hang-mid": stays(words("one ")),
    "hang-body": stays(answer(orjson.dumps(GOOD)[:60], length=200)),
    "drip-head": drips(b"HTTP/1.1 200 OK\r\n", b"x-more: a\r\n"),
    "drip-body": drips(answer(b"{", length=100_000), b" "),
    "drip-pings": drips(EVENTS, chunked(b": ping\n\n")),
    "drip-empty": drips(EVENTS, event({})),
    "drip-mid-pings": drips(words("one "), chunked(b": ping\n\n")),
    "drip-mid-empty": drips(words("one "), event({"content": ""})),
    "drip-words": drips(words("one "), event({"content": "more "})),
    "torrent": drips(words("one "), event({"content": "more "}) * 50, 0),
    "giants": drips(words("one "), event({"content": "x" * 100_000}), 0),
    "trickle": drips(words("one "), event({"content": "more "}), 0.02),
}
"""By the names under which requests ask for them."""
