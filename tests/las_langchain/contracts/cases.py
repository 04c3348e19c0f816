"""What the contract tests of all providers share: the requests, four ways to make them, and what the caller gets.

target = target_of("groq/llama-3.3-70b-versatile", base_url=upstream.url, api_key=KEY)
said = await ask(target, asked("hello"), way)
assert (said.message["content"], said.finish_reason) == ("Echo: hello", "stop")
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from las_langchain.errors import LASError
from las_langchain.providers import Target, resolve
from las_langchain.settings import load_settings
from las_langchain.transports.litellm import LiteLLMTransport
from las_langchain.transports.wire.transport import WireTransport
from tests.fake_server import FakeServer
from tests.las_langchain.transports.blocking import Blocking

Json = dict[str, Any]

WAYS = ("complete", "acomplete", "stream", "astream")
"""The transport's methods that answer a chat request."""
WEATHER: Json = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tell the weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
PNG_DATA = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABh6FO1AAAAABJRU5ErkJggg=="
"""A picture of one pixel, in base64."""
PNG = f"data:image/png;base64,{PNG_DATA}"


class Chosen:
    """The transport that the tests call, litellm's unless :func:`by` chooses another."""

    def __init__(self) -> None:
        self._transports = {"litellm": Blocking(LiteLLMTransport()), "wire": Blocking(WireTransport())}
        self.name = "litellm"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transports[self.name], name)


transport = Chosen()


@pytest.fixture(params=["litellm", "wire"])
def by(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run a test by each transport, for providers that speak OpenAI's format; it is given the name."""
    before, transport.name = transport.name, request.param
    yield request.param
    transport.name = before


only_litellm = pytest.mark.parametrize("by", ["litellm"], indirect=True)
"""For what is left to litellm: the choice of a transport never lets it go another way."""


@dataclass(frozen=True)
class Said:
    """An answer, whole or out of a stream.

    Attributes:
        message: the assistant's message as OpenAI has it, without keys that are None.
        finish_reason: how it ended.
        usage: the tokens, if they came.
    """

    message: Json
    finish_reason: str | None
    usage: Json | None

    @property
    def content(self) -> Any:
        """The message's text."""
        return self.message.get("content")

    @property
    def calls(self) -> list[tuple[str, Json]]:
        """The names of the tools called, with their arguments read."""
        functions = [call["function"] for call in self.message.get("tool_calls", ())]
        return [(function["name"], json.loads(function["arguments"])) for function in functions]

    @property
    def tokens(self) -> tuple[int, int, int] | None:
        """The tokens of the prompt, of the answer, and of both."""
        usage = self.usage
        return (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) if usage else None


def asked(text: str, **fields: Any) -> Json:
    """A request with one message of a user."""
    return {"messages": [{"role": "user", "content": text}], **fields}


def shown(text: str, image: str = PNG, **fields: Any) -> Json:
    """A request with a text and an image."""
    parts = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": image}}]
    return {"messages": [{"role": "user", "content": parts}], **fields}


def answered(body: Json, call: Json, result: str) -> Json:
    """The request that follows *body* when the assistant's message *call* called a tool and that said *result*."""
    results = [{"role": "tool", "tool_call_id": one["id"], "content": result} for one in call["tool_calls"]]
    return {**body, "messages": [*body["messages"], call, *results]}


def target_of(model: str, timeout: float = 5, **provider: Any) -> Target:
    """Where the calls of a model go.

    Args:
        model: ``provider/model``.
        timeout: longest wait for the first byte and between chunks, in seconds.
        provider: the provider's entry in the settings; without any, its variables hold.
    """
    entries = {model.partition("/")[0]: provider} if provider else {}
    return resolve(model, load_settings(timeout=timeout, stream_timeout=timeout, providers=entries))


async def ask(target: Target, body: Json, way: str) -> Said:
    """The answer to a chat request, by one of the ``WAYS``; streams are asked for the usage too."""
    streamed = {**body, "stream_options": {"include_usage": True}}
    if way == "complete":
        return whole(transport.complete(target, body))
    if way == "acomplete":
        return whole(await transport.acomplete(target, body))
    if way == "stream":
        return merged(transport.stream(target, streamed))
    return merged([chunk async for chunk in transport.astream(target, streamed)])


async def embed(target: Target, body: Json, way: str) -> Json:
    """The answer to an embeddings request, by ``embed`` or ``aembed``."""
    return transport.embed(target, body) if way == "embed" else await transport.aembed(target, body)


async def failure(target: Target, body: Json, way: str) -> LASError:
    """The error that a chat request ends with."""
    with pytest.raises(LASError) as info:
        await ask(target, body, way)
    return info.value


async def leave(target: Target, upstream: FakeServer[Any]) -> None:
    """Begin to read a stream, leave it, and check that it soon ends upstream, where it would go on for long."""
    chunks = transport.astream(target, asked("hi"))
    await anext(chunks)
    assert upstream.open_streams == 1
    await chunks.aclose()
    for _ in range(100):
        if not upstream.open_streams:
            return
        await asyncio.sleep(0.02)
    pytest.fail("the stream goes on upstream")


def whole(answer: Json) -> Said:
    """What a ``chat.completion`` says."""
    assert answer["object"] == "chat.completion"
    (choice,) = answer["choices"]
    message = {key: value for key, value in choice["message"].items() if value is not None}
    return Said(message, choice["finish_reason"], answer.get("usage"))


def merged(chunks: Iterable[Json]) -> Said:
    """What the ``chat.completion.chunk`` objects of a stream say together, which come in OpenAI's order."""
    message: Json = {}
    finish, usage = None, None
    for chunk in chunks:
        assert chunk["object"] == "chat.completion.chunk"
        assert usage is None, "something follows the usage"
        usage = chunk.get("usage")
        for choice in chunk["choices"]:
            assert finish is None, "something follows the end"
            _merge(message, choice["delta"])
            finish = choice.get("finish_reason")
    if "tool_calls" in message:
        message["tool_calls"] = list(message["tool_calls"].values())
    return Said({key: value for key, value in message.items() if value != ""}, finish, usage)


def _merge(message: Json, delta: Json) -> None:
    for key, value in delta.items():
        if key == "tool_calls":
            for piece in value:
                _merge_call(message.setdefault("tool_calls", {}), piece)
        elif key == "thinking_blocks":
            for piece in value:
                _merge_thought(message.setdefault("thinking_blocks", []), piece)
        elif key == "role" or value is None:
            message.update({key: value} if value is not None else {})
        else:
            message[key] = message[key] + value if key in message else value


def _merge_thought(blocks: list[Json], piece: Json) -> None:
    """Add a piece of a thinking block to those so far; a signature ends one."""
    if not blocks or "signature" in blocks[-1] or "thinking" not in piece:
        blocks.append(dict(piece))
    else:
        text = blocks[-1]["thinking"] + piece["thinking"]
        blocks[-1].update(piece, thinking=text)


def _merge_call(calls: dict[int, Json], piece: Json) -> None:
    """Add a piece of a call to those so far; what is no argument comes once, with its first piece."""
    function = piece["function"]
    if piece["index"] not in calls:
        assert piece["id"], "a call begins without its id"
        calls[piece["index"]] = {"id": piece["id"], "type": piece["type"], "function": {"arguments": "", **function}}
        return
    assert not piece.get("id"), "a call has two ids"
    assert not function.get("name"), "a call has two names"
    calls[piece["index"]]["function"]["arguments"] += function.get("arguments", "")
