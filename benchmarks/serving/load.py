"""A client that asks an OpenAI endpoint, many at a time, and checks every answer to the last byte.

    python -m benchmarks.serving.load http://127.0.0.1:7777/v1 --key sk-local --concurrency 16 --requests 400
    python -m benchmarks.serving.load http://127.0.0.1:7777/v1 --key sk-local --concurrency 16 --requests 64 --stream
        [--words 200] [--at-once] [--pid 4711]

prints latencies and, with ``--pid`` of the server, its processor time per request and per event. The upstream behind it
is :mod:`benchmarks.serving.upstream`. Answers are only collected while the clock runs; they are checked afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import re
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httptools
import orjson
import uvloop

from benchmarks.serving import answers
from benchmarks.serving.processes import cpu_seconds

LIMIT = 120.0
"""Seconds after which a run is given up."""
MODEL = f"openai/{answers.MODEL}"
_NUMBERS = itertools.count(1)
_TOKEN = re.compile(rb'"content":\s*"[^"]')


class WrongAnswer(Exception):
    """An answer is not what the upstream said; the message tells in what."""


@dataclass(frozen=True)
class Wish:
    """What is asked for.

    Attributes:
        words: how many the answer has; of a stream, each is an event.
        stream: whether it is to come as events.
        at_once: whether the upstream sends its events without a pause.
    """

    words: int = answers.WORDS
    stream: bool = False
    at_once: bool = False

    def body(self, number: int) -> bytes:
        """The request, as the client of a chat would send it."""
        messages = [
            {"role": "system", "content": "You are a helpful assistant. Answer briefly, and in the user's language."},
            {"role": "user", "content": answers.prompt(number, self.words, at_once=self.at_once)},
        ]
        streamed = {"stream": True, "stream_options": {"include_usage": True}} if self.stream else {}
        return orjson.dumps({"model": MODEL, "messages": messages, "temperature": 0.7, "max_tokens": 256, **streamed})

    @property
    def events(self) -> int:
        """Events of an answer that comes as such, without ``[DONE]``."""
        return self.words + answers.EXTRA_EVENTS


@dataclass
class Answer:
    """What came back, with the moments at which it did, in seconds of the performance counter."""

    number: int
    began: float
    first: float = 0.0
    ended: float = 0.0
    status: int = 0
    parts: list[bytes] = field(default_factory=list)

    @property
    def body(self) -> bytes:
        """All of it."""
        return b"".join(self.parts)


class Connection(asyncio.Protocol):
    """A connection that is kept, with one request on it at a time."""

    def __init__(self, host: str, path: str, key: str) -> None:
        self._path = f"{path}/chat/completions"
        self._head = (
            f" HTTP/1.1\r\nhost: {host}\r\naccept: application/json\r\n"
            f"accept-encoding: identity\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n"
            "user-agent: AsyncOpenAI/Python 2.54.0\r\nx-stainless-async: async:asyncio\r\nx-stainless-lang: python\r\n"
            "x-stainless-os: Linux\r\nx-stainless-package-version: 2.54.0\r\nx-stainless-retry-count: 0\r\n"
            "x-stainless-runtime: CPython\r\nx-stainless-runtime-version: 3.11.7\r\n"
        ).encode()
        self._answer: Answer | None = None
        self._done: asyncio.Future[None] | None = None
        self.closed = False

    async def ask(self, number: int, body: bytes, path: str | None = None) -> Answer:
        """Send *body*, or, if there is none, get *path*; returns what came back.

        Raises:
            WrongAnswer: the connection was closed before that was all there.
        """
        self._parser = httptools.HttpResponseParser(self)
        self._done = asyncio.get_running_loop().create_future()
        self._answer = answer = Answer(number, time.perf_counter())
        first = f"GET {path}" if path else f"POST {self._path}"
        length = b"" if path else b"content-length: %d\r\n" % len(body)
        self._transport.write(first.encode() + self._head + length + b"\r\n" + body)
        await self._done
        return answer

    def close(self) -> None:
        """Hang up."""
        self._transport.close()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keep the way to the server."""
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up what is not complete."""
        self.closed = True
        if self._done and not self._done.done():
            self._done.set_exception(WrongAnswer("the connection was closed before the answer was complete"))

    def data_received(self, data: bytes) -> None:
        """Read a part of an answer."""
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Take a piece, and note when the first word came."""
        answer = self._answer
        assert answer
        answer.parts.append(body)
        if not answer.first and (_TOKEN.search(body) or _TOKEN.search(answer.body)):
            answer.first = time.perf_counter()

    def on_message_complete(self) -> None:
        """Hand over."""
        assert self._answer
        assert self._done
        self._answer.ended, self._answer.status = time.perf_counter(), self._parser.get_status_code()
        self._done.set_result(None)


async def connect(url: str, key: str) -> Connection:
    """A connection to the endpoint at *url*.

    Raises:
        OSError: nobody answers there.
    """
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(
        lambda: Connection(parts.netloc, parts.path, key), parts.hostname, parts.port
    )
    return connection


async def run(url: str, key: str, wish: Wish, count: int, concurrency: int) -> list[Answer]:
    """*count* answers, *concurrency* at a time; check them with :func:`check` when the clock has stopped.

    Raises:
        WrongAnswer: one was cut off.
        TimeoutError: they were not there within :data:`LIMIT`.
    """
    numbers = iter([next(_NUMBERS) for _ in range(count)])
    results: list[Answer] = []

    async def work() -> None:
        connection = await connect(url, key)
        try:
            for number in numbers:
                if connection.closed:
                    connection = await connect(url, key)
                results.append(await connection.ask(number, wish.body(number)))
        finally:
            connection.close()

    async with asyncio.timeout(LIMIT):
        await _all([work() for _ in range(min(concurrency, count))])
    return results


async def _all(works: Sequence[Any]) -> None:
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def check(wish: Wish, results: Sequence[Answer]) -> None:
    """Check that each answer is what the upstream said.

    Raises:
        WrongAnswer: one is not.
    """
    for answer in results:
        if answer.status != 200:
            raise WrongAnswer(f"status {answer.status}: {answer.body.decode(errors='replace')[:300]}")
        try:
            (_check_events if wish.stream else _check_whole)(wish, answer)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise WrongAnswer(f"{error!r} in {answer.body.decode(errors='replace')[:300]}") from None


def _check_whole(wish: Wish, answer: Answer) -> None:
    got = orjson.loads(answer.body)
    choice = got["choices"][0]
    _equal("object", got["object"], "chat.completion")
    _equal("content", choice["message"]["content"], answers.text(answer.number, wish.words))
    _equal("role", choice["message"]["role"], "assistant")
    _equal("finish_reason", choice["finish_reason"], "stop")
    _check_usage(wish, got["usage"])


def _check_events(wish: Wish, answer: Answer) -> None:
    events = [event for event in answer.body.replace(b"\r\n", b"\n").split(b"\n\n") if event[:1] != b":"]
    _equal("end", events[-2:], [b"data: [DONE]", b""])
    chunks = [orjson.loads(event.removeprefix(b"data: ")) for event in events[:-2]]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    words = [choice["delta"]["content"] for choice in choices if choice["delta"].get("content")]
    _equal("content", "".join(words), answers.text(answer.number, wish.words))
    _equal("number of events with content", len(words), wish.words)
    _equal("finish_reason", [choice["finish_reason"] for choice in choices if choice.get("finish_reason")], ["stop"])
    told = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
    _equal("number of events with usage", len(told), 1)
    _check_usage(wish, told[0])


def _check_usage(wish: Wish, got: dict[str, Any]) -> None:
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        _equal(name, got[name], answers.usage(wish.words)[name])


def _equal(name: str, got: Any, wanted: Any) -> None:
    if got != wanted:
        raise WrongAnswer(f"{name} is {got!r:.200}, not {wanted!r:.200}")


def milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    """Median and 99th percentile."""
    ordered = sorted(seconds)
    return {
        "p50": statistics.median(ordered) * 1e3,
        "p99": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] * 1e3,
    }


def main() -> int:
    """Print the figures of one run; return 1 if an answer was wrong."""
    parser = argparse.ArgumentParser(description="Ask an OpenAI endpoint, and check what it answers.")
    parser.add_argument("url", help="such as http://127.0.0.1:7777/v1")
    parser.add_argument("--key", default="sk-local")
    parser.add_argument("--concurrency", type=int, default=1, help="requests at a time")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--warm-up", type=int, default=20, help="requests before the clock starts")
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--words", type=int, default=0, help="default: 20, of a stream 200")
    parser.add_argument("--at-once", action="store_true", help="the upstream sends its events without a pause")
    parser.add_argument("--pid", type=int, help="the server's process")
    options = parser.parse_args()
    words = options.words or (200 if options.stream else answers.WORDS)
    wish = Wish(words, options.stream, options.at_once)
    try:
        uvloop.run(_measured(options, wish))
    except (WrongAnswer, OSError) as error:
        print(f"load: {error or 'no answer in time'}", file=sys.stderr)
        return 1
    return 0


async def _measured(options: argparse.Namespace, wish: Wish) -> None:
    check(wish, await run(options.url, options.key, wish, options.warm_up, options.concurrency))
    used, began = cpu_seconds(options.pid) if options.pid else 0.0, time.perf_counter()
    results = await run(options.url, options.key, wish, options.requests, options.concurrency)
    took = time.perf_counter() - began
    used = cpu_seconds(options.pid) - used if options.pid else 0.0
    check(wish, results)
    latency = milliseconds([answer.ended - answer.began for answer in results])
    print(f"{len(results)} right answers in {took:.2f} s, {len(results) / took:.0f}/s; latency {_shown(latency)}")
    if wish.stream:
        print(f"first token {_shown(milliseconds([answer.first - answer.began for answer in results]))}")
    if options.pid:
        each = f"{used / len(results) * 1e6:.0f} µs a request"
        event = f", {used / len(results) / wish.events * 1e6:.1f} µs an event" if wish.stream else ""
        print(f"processor time of the server: {each}{event}")


def _shown(figures: dict[str, float]) -> str:
    return f"p50 {figures['p50']:.2f} ms, p99 {figures['p99']:.2f} ms"


if __name__ == "__main__":
    sys.exit(main())
