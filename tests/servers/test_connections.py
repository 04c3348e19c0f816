"""Connections whose clients neither send nor read, on a real server with small bounds."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from servers.connections import Connection


class Impatient(Connection):
    """Waits for nobody."""

    head_seconds = 0.4
    head_bytes = 2000
    unread_seconds = 0.4
    last_seconds = 0.2


MUCH = 30_000_000
"""Bytes that no socket holds."""
left = threading.Event()


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answers at once; under ``/flood`` with more than anybody reads, under ``/slow`` after a while.

    Under ``/echo`` with what it was sent, under ``/much`` with :data:`MUCH` in one piece.
    """
    await send({"type": "http.response.start", "status": 200, "headers": []})
    try:
        if scope["path"] == "/echo":
            await send({"type": "http.response.body", "body": await _body(receive), "more_body": True})
        if scope["path"] == "/much":
            await send({"type": "http.response.body", "body": b"x" * MUCH, "more_body": True})
        if scope["path"] == "/flood":
            while (await _message(receive))["type"] != "http.disconnect":
                await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
            left.set()
        if scope["path"] == "/slow":
            await asyncio.sleep(1.0)
    except asyncio.CancelledError:
        left.set()
        raise
    await send({"type": "http.response.body", "body": b"done", "more_body": False})


async def _body(receive: Any) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    return body


async def _message(receive: Any) -> Any:
    """The next message, if there is one."""
    try:
        return await asyncio.wait_for(receive(), 0.001)
    except TimeoutError:
        return {"type": "none"}


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of a running server."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(application, http=Impatient, ws="none", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(10)


def say(port: int, *parts: bytes, pause: float = 0.0) -> tuple[bytes, float]:
    """What a server answers to *parts* until it closes the connection, and when it does."""
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        for part in parts:
            client.sendall(part)
            time.sleep(pause)
        raw = b""
        while more := client.recv(65_536):
            raw += more
    return raw, time.monotonic() - begun


def test_who_says_nothing_is_not_waited_for(port: int) -> None:
    raw, seconds = say(port)
    assert raw == b""
    assert 0.3 < seconds < 5


@pytest.mark.parametrize("begin", [b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nX: y"])
def test_a_head_that_does_not_end_is_given_up(port: int, begin: bytes) -> None:
    raw, seconds = say(port, begin)
    assert raw.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b'"type":"invalid_request_error"' in raw
    assert 0.3 < seconds < 5


def test_a_head_that_comes_letter_by_letter_is_given_up(port: int) -> None:
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.settimeout(0.05)
        raw = b""
        while not raw and time.monotonic() - begun < 10:
            # An empty line is what a request may begin with.
            client.sendall(b"\r\n")
            with contextlib.suppress(TimeoutError):
                raw = client.recv(65_536)
    assert raw.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - begun < 5


def test_an_empty_line_after_an_answer_keeps_no_connection(port: int) -> None:
    raw, seconds = say(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\r\n", pause=0.1)
    assert raw.startswith(b"HTTP/1.1 200 OK")
    assert seconds < 4


def test_a_second_head_that_does_not_end_is_given_up(port: int) -> None:
    raw, seconds = say(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /", b" HTTP/1.1\r\n", pause=0.1)
    assert raw.count(b"HTTP/1.1 200 OK") == raw.count(b"HTTP/1.1 408 ") == 1
    assert seconds < 4


def test_an_answer_that_takes_its_time_is_waited_for(port: int) -> None:
    raw, seconds = say(port, b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b"done" in raw
    assert seconds >= 1.0


@pytest.mark.parametrize("after", [b"\r\n", b"GET / HT"])
def test_what_follows_a_request_does_not_break_off_its_answer(port: int, after: bytes) -> None:
    raw, seconds = say(port, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n", after, pause=0.1)
    assert b"done" in raw
    assert 1.0 <= seconds < 4


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 3000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 3_000_000,
        b"GET /" + b"a" * 3_000_000,
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 500 + b"\r\n",
    ],
)
def test_a_head_that_is_too_long_is_refused(port: int, data: bytes) -> None:
    raw, _ = say(port, data)
    assert raw.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert b"connection: close" in raw
    assert raw.count(b"HTTP/1.1") == 1


def test_what_is_no_request_is_refused_in_json(port: int) -> None:
    raw, _ = say(port, b"hello\r\n\r\n")
    assert raw.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert raw.endswith(b'"param":null,"code":null}}')


def test_who_does_not_read_is_left(port: int) -> None:
    left.clear()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"GET /flood HTTP/1.1\r\nHost: x\r\n\r\n")
        assert left.wait(10)


def test_who_reads_slowly_is_waited_for(port: int) -> None:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 100_000)
        client.settimeout(10)
        client.connect(("127.0.0.1", port))
        client.sendall(b"GET /much HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        begun, read = time.monotonic(), 0
        while more := client.recv(1_000_000):
            read += len(more)
            time.sleep(max(0.0, read / (MUCH / 2) - (time.monotonic() - begun)))
    assert read > MUCH
    assert time.monotonic() - begun > 1.9


UPGRADE = b"Host: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEA\r\n"


@pytest.mark.parametrize(
    "length", [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
)
@pytest.mark.parametrize("cuts", [0, 1, 30])
def test_who_would_rather_speak_another_protocol_is_answered_in_this_one(port: int, length: bytes, cuts: int) -> None:
    asked = b"POST /echo HTTP/1.1\r\n" + UPGRADE + length
    last = asked.replace(b"HTTP2-Settings\r\n", b"HTTP2-Settings, close\r\n")
    parts = [asked + last] if not cuts else [asked[:-cuts], asked[-cuts:] + last]
    raw, _ = say(port, *parts, pause=0.1)
    assert raw.count(b"HTTP/1.1 200 OK") == raw.count(b"\r\nhello\r\n") == 2


def test_a_head_with_an_upgrade_has_the_same_bounds(port: int) -> None:
    raw, _ = say(port, b"GET / HTTP/1.1\r\n" + UPGRADE + b"X: " + b"a" * 3000 + b"\r\n\r\n")
    assert raw.startswith(b"HTTP/1.1 431 ")
    raw, seconds = say(
        port, b"POST /echo HTTP/1.1\r\n" + UPGRADE + b"Content-Length: 5\r\n\r\nhello", b"GET", pause=0.1
    )
    assert raw.count(b"HTTP/1.1 200 OK") == raw.count(b"HTTP/1.1 408 ") == 1
    assert seconds < 4
