"""Streams of events that are silent, fail, are left, or do not want to end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import Any

import pytest

from las_langchain.errors import APITimeoutError
from servers.event_stream import EventStream, pumped

LATE = APITimeoutError("too late")
PING = b": ping\n\n"


class Client:
    """What is at the other end of a stream.

    Attributes:
        sent: the parts of the body.
        ended: whether the answer was whole.
        left: set when the client leaves.
    """

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.ended = False
        self.left = asyncio.Event()
        self.status: int | None = None
        self.headers: dict[bytes, bytes] = {}

    async def receive(self) -> dict[str, Any]:
        """Wait until it leaves."""
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        """Take a message."""
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
            return
        assert not self.ended, "something was sent after the end"
        self.sent.append(message["body"])
        self.ended = not message["more_body"]

    async def read(
        self,
        events: AsyncGenerator[bytes],
        *,
        seconds: float = 10,
        cut: bool = False,
        keep_alive: float = 10,
        awaited: bool = True,
    ) -> None:
        """Read a stream to its end; *awaited*: whether it begins with its first event, if that comes in time."""
        deadline = asyncio.get_running_loop().time() + seconds
        first = asyncio.ensure_future(_anext(events))
        await asyncio.wait([first], timeout=min(keep_alive, seconds) if awaited else 0)
        stream = EventStream(first, events, _failed, deadline=(deadline, LATE), cut=cut, keep_alive=keep_alive)
        await stream({"type": "http"}, self.receive, self.send)


async def _anext(events: AsyncGenerator[bytes]) -> bytes:
    return await anext(events, b"")


def _failed(error: Exception) -> bytes:
    return f"failed: {error}".encode()


async def _said(*parts: bytes, pause: float = 0.0, error: Exception | None = None) -> AsyncGenerator[bytes]:
    for part in parts:
        await asyncio.sleep(pause)
        yield part
    if error:
        raise error


async def test_events_are_sent_as_they_are() -> None:
    client = Client()
    await client.read(_said(b"a", b"b", b"c"))
    assert (client.status, client.sent, client.ended) == (200, [b"a", b"b", b"c", b""], True)
    assert client.headers[b"content-type"].startswith(b"text/event-stream")
    assert client.headers[b"cache-control"] == b"no-cache"
    assert b"content-length" not in client.headers


async def test_without_events_an_answer_is_whole_too() -> None:
    client = Client()
    await client.read(_said())
    assert (b"".join(client.sent), client.ended) == (b"", True)


async def test_silence_is_filled_with_comments() -> None:
    client = Client()
    await client.read(_said(b"a", b"b", pause=0.25), keep_alive=0.1)
    assert client.sent[0] == PING, "there is none while the first event is awaited"
    assert client.sent.index(b"a") < client.sent.index(PING, client.sent.index(b"a")) < client.sent.index(b"b")
    assert client.ended


async def test_there_are_no_comments_between_events_that_come() -> None:
    client = Client()
    await client.read(_said(*[b"x"] * 20, pause=0.02), keep_alive=1)
    assert PING not in client.sent


@pytest.mark.parametrize(("cut", "end"), [(False, [b""]), (True, [])])
async def test_a_failure_is_the_last_event(cut: bool, end: list[bytes]) -> None:
    client = Client()
    await client.read(_said(b"a", error=ValueError("broken")), cut=cut)
    assert client.sent == [b"a", b"failed: broken", *end]
    assert client.ended is not cut


async def test_a_failure_of_the_first_event_is_told_too() -> None:
    client = Client()
    await client.read(_said(error=ValueError("broken")))
    assert client.sent == [b"failed: broken", b""]


async def test_a_timeout_inside_is_not_the_stream_s_own() -> None:
    client = Client()
    await client.read(_said(b"a", error=TimeoutError("inside")))
    assert client.sent == [b"a", b"failed: inside", b""]


@pytest.mark.parametrize("pause", [0.05, 60])
async def test_the_whole_answer_is_bounded(pause: float) -> None:
    client, begun = Client(), time.monotonic()
    await client.read(_said(*[b"x"] * 1000, pause=pause), seconds=0.3)
    assert client.sent[-2:] == [b"failed: too late", b""]
    assert time.monotonic() - begun < 5


class Work:
    """Events of something that has to be tidied up.

    Attributes:
        tidied: whether it was.
    """

    def __init__(self, tidying: float = 0.0) -> None:
        self.tidied = False
        self._tidying = tidying

    async def events(self) -> AsyncGenerator[bytes]:
        """One event, and then nothing more."""
        try:
            yield b"a"
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(self._tidying)
            self.tidied = True


async def _until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("tidying", [0.0, 0.2])
async def test_a_client_that_leaves_ends_the_work(tidying: float) -> None:
    client, work = Client(), Work(tidying)
    reading = asyncio.create_task(client.read(work.events()))
    await _until(lambda: client.sent)
    client.left.set()
    await asyncio.wait_for(reading, 5)
    assert work.tidied
    assert not client.ended
    assert client.sent == [b"a"]


async def test_a_client_that_leaves_before_the_first_event_ends_the_work() -> None:
    client, never = Client(), Work()

    async def silent() -> AsyncGenerator[bytes]:
        async with aclosing(never.events()) as events:
            await anext(events)
            async for event in events:
                yield event

    reading = asyncio.create_task(client.read(silent(), awaited=False))
    await _until(lambda: client.sent)
    client.left.set()
    await asyncio.wait_for(reading, 5)
    assert never.tidied
    assert client.sent == [PING]


async def test_a_server_that_ends_ends_the_work() -> None:
    client, work = Client(), Work()
    reading = asyncio.create_task(client.read(work.events()))
    await _until(lambda: client.sent)
    reading.cancel()
    with suppress(asyncio.CancelledError):
        await reading
    assert work.tidied


async def test_work_that_goes_on_after_its_cancellation_says_no_more() -> None:
    async def stubborn() -> AsyncGenerator[bytes]:
        yield b"a"
        for _ in range(3):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                yield b"still here"

    client = Client()
    reading = asyncio.create_task(client.read(stubborn()))
    await _until(lambda: client.sent)
    client.left.set()
    await asyncio.wait_for(reading, 5)
    assert b"still here" not in client.sent


async def test_a_client_that_does_not_read_holds_nothing_up() -> None:
    client, work, stuck = Client(), Work(), asyncio.Event()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            stuck.set()
            await asyncio.sleep(60)

    client.send = send  # type: ignore[method-assign]
    reading = asyncio.create_task(client.read(work.events()))
    await stuck.wait()
    client.left.set()
    await asyncio.wait_for(reading, 5)
    assert work.tidied


async def test_streams_that_are_there_already_take_turns() -> None:
    order: list[str] = []

    async def ready(name: str) -> AsyncGenerator[bytes]:
        for _ in range(5):
            order.append(name)
            yield b"x"

    await asyncio.gather(*(Client().read(ready(name)) for name in "abcd"))
    # Nobody is twice on before everybody was once.
    assert set(order[:4]) == set("abcd")
    assert all(abs(order[:place].count("a") - order[:place].count("d")) <= 2 for place in range(len(order)))


async def test_what_is_pumped_ends_with_who_reads_it() -> None:
    work, read = Work(), []

    async def items() -> AsyncGenerator[dict[str, Any]]:
        async with aclosing(work.events()) as events:
            async for event in events:
                yield {"event": event}

    async with aclosing(pumped(items())) as pump:
        async for item in pump:
            read.append(item)
            break
    assert read == [{"event": b"a"}]
    assert work.tidied


async def test_what_fails_in_a_pump_fails_where_it_is_read() -> None:
    async def items() -> AsyncGenerator[dict[str, Any]]:
        yield {"a": 1}
        raise ValueError("broken")

    pump = pumped(items())
    assert await anext(pump) == {"a": 1}
    with pytest.raises(ValueError, match="broken"):
        await anext(pump)
