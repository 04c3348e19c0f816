"""Upstreams that drip: nothing that they send but words may stretch the wait."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from las_langchain.errors import APIConnectionError, APITimeoutError
from las_langchain.providers import Target
from las_langchain.transports.litellm import LiteLLMTransport
from las_langchain.transports.wire.transport import WireTransport
from tests.fake_openai import FakeOpenAI, Reply
from tests.las_langchain.transports.blocking import Blocking

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"


def event(delta: dict[str, Any]) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


DRIPS = {
    "headers": (HEAD, b"x-drip: 1\r\n"),
    "comments": (HEAD + b"\r\n", b": ping\n\n"),
    "empty deltas": (HEAD + b"\r\n", event({})),
    "empty texts": (HEAD + b"\r\n", event({"content": ""})),
    "empty thoughts": (HEAD + b"\r\n", event({"reasoning_content": ""})),
    "comments after a word": (HEAD + b"\r\n" + event({"role": "assistant", "content": "Hi"}), b": ping\n\n"),
    "empty texts after a word": (HEAD + b"\r\n" + event({"content": "Hi"}), event({"content": ""})),
}


@asynccontextmanager
async def dripping(first: bytes, drip: bytes) -> AsyncGenerator[str]:
    """The address of a server that sends *first*, and then *drip* for ever."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(first)
            while True:
                writer.write(drip)
                await writer.drain()
                await asyncio.sleep(0.05)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()


def target(url: str, timeout: float = 0.4, stream_timeout: float = 0.4, model: str = "gpt-4o") -> Target:
    """The double as a provider with little patience."""
    key = SecretStr("sk-test")
    return Target("openai", model, f"openai/{model}", url, key, timeout=timeout, stream_timeout=stream_timeout)


@pytest.fixture(params=[WireTransport, LiteLLMTransport])
def transport(request: pytest.FixtureRequest) -> Blocking:
    """Each of the transports that wait for others."""
    return Blocking(request.param())


@pytest.mark.parametrize("name", DRIPS)
async def test_what_says_nothing_stretches_no_wait(transport: Blocking, name: str) -> None:
    async with dripping(*DRIPS[name]) as url:
        begin = time.monotonic()
        with pytest.raises(APITimeoutError):
            _ = [chunk async for chunk in transport.astream(target(url), CHAT)]
        # Once until the first word, once after it.
        assert time.monotonic() - begin < 3


@pytest.mark.parametrize("name", ["headers", "comments"])
async def test_completions_wait_no_longer(transport: Blocking, name: str) -> None:
    async with dripping(*DRIPS[name]) as url:
        with pytest.raises(APITimeoutError):
            _ = [chunk async for chunk in transport.astream_text(target(url), {"prompt": "Hi"})]
        with pytest.raises(APITimeoutError):
            await transport.acomplete_text(target(url), {"prompt": "Hi"})


async def test_a_slow_reader_is_no_slow_provider(transport: Blocking, upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(content="a b c d"))
    texts = []
    async for chunk in transport.astream(target(upstream.url, 30, 0.3), CHAT):
        texts += [choice["delta"].get("content") or "" for choice in chunk["choices"]]
        await asyncio.sleep(0.1)
    assert "".join(texts) == "a b c d"


@pytest.mark.parametrize("cut", [*range(1, 10), None])
async def test_of_several_answers_each_ends_or_the_stream_is_broken(
    transport: Blocking, upstream: FakeOpenAI, cut: int | None
) -> None:
    upstream.enqueue(Reply(content="a b", cut_after=cut))
    texts = {0: "", 1: ""}
    ends: set[int] = set()
    stream = transport.astream(target(upstream.url, 30, 30), {**CHAT, "n": 2})
    whole = False
    try:
        async for chunk in stream:
            for choice in chunk["choices"]:
                assert choice["index"] not in ends
                texts[choice["index"]] += choice["delta"].get("content") or ""
            ends |= {choice["index"] for choice in chunk["choices"] if choice.get("finish_reason")}
        whole = True
    except APIConnectionError:
        pass
    assert whole == (ends == {0, 1}), cut
    assert whole <= (texts == {0: "a b", 1: "a b #1"})


async def test_the_ends_of_several_answers_are_their_own(transport: Blocking, upstream: FakeOpenAI) -> None:
    chunks = [
        {"index": 1, "delta": {"role": "assistant", "content": "b"}, "finish_reason": None},
        {"index": 0, "delta": {"role": "assistant", "content": "a"}, "finish_reason": None},
        {"index": 1, "delta": {}, "finish_reason": "length"},
        {"index": 0, "delta": {}, "finish_reason": "stop"},
    ]
    for order in (chunks, [*chunks[:2], chunks[3], chunks[2]]):
        head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
        raw = b"".join(b"data: " + json.dumps({**head, "choices": [one]}).encode() + b"\n\n" for one in order)
        upstream.enqueue(Reply(raw=raw + b"data: [DONE]\n\n", raw_type="text/event-stream"))
        slow = dataclasses.replace(target(upstream.url), timeout=30, stream_timeout=30)
        ends = {}
        async for chunk in transport.astream(slow, {**CHAT, "n": 2}):
            ends |= {one["index"]: one["finish_reason"] for one in chunk["choices"] if one.get("finish_reason")}
        assert ends == {0: "stop", 1: "length"}
