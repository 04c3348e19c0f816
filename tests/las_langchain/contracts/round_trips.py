"""What the contract tests of the OpenAI-shaped wires, Azure's and Bedrock's share beside ``cases``."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from las_langchain.errors import LASError
from las_langchain.provider_rows import PROVIDERS
from las_langchain.providers import Target
from tests.las_langchain.contracts.cases import WEATHER, Json, Said, answered, ask, asked, embed, transport

STREAMS = ("stream", "astream")
EMBEDDING_WAYS = ("embed", "aembed")
FAULT_WAYS = ("complete", "astream")
"""Of the ways to chat those that errors are tested on; they take all of their code from one of these two."""
TOOL_REQUEST = asked("What is the weather in Oslo?", tools=[WEATHER])


async def use_tool(target: Target, way: str) -> tuple[Said, Said]:
    """The call of the weather tool that the model makes, and what it says when it has the result."""
    called = await ask(target, TOOL_REQUEST, way)
    return called, await ask(target, answered(TOOL_REQUEST, called.message, "4 degrees"), way)


def check_stream(chunks: list[Json], content: str) -> None:
    """Check that a stream is one as OpenAI sends it: one id, the role first and once, an end, and then the usage."""
    first, *_, last = chunks
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert first["choices"][0]["delta"]["role"] == "assistant"
    assert sum("role" in delta for delta in deltas) == 1
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert "".join(delta.get("content") or "" for delta in deltas) == content
    assert [choice["finish_reason"] for choice in chunks[-2]["choices"]] == ["stop"]
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] > 0


def check_text(error: LASError, *secrets: str) -> None:
    """Check that an error is one readable line, in the provider's own words, without what nobody may see."""
    text = str(error)
    assert text.startswith(PROVIDERS[error.provider or ""].title), text
    for unreadable in ("\n", "{", "litellm", "Exception", "invalid literal", *secrets):
        assert unreadable not in text, text


async def call(target: Target, way: str, text: str = "hello") -> Said | Json:
    """Ask a chat model, or have a text embedded, whichever *way* does."""
    if way in EMBEDDING_WAYS:
        return await embed(target, {"input": text}, way)
    return await ask(target, asked(text), way)


def stream(target: Target, text: str) -> list[Json]:
    """The chunks of an answer, as they come."""
    return list(transport.stream(target, asked(text, stream_options={"include_usage": True})))


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """No provider's variable is set, whatever this machine has."""
    own = {name for row in PROVIDERS.values() for name in (*row.key_variables, *row.base_url_variables)}
    for name in list(os.environ):
        if name in own or name.startswith(("AWS_", "AZURE_", "HOSTED_VLLM_")):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def nobody_else_asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody but the double is looked up: litellm passes over what it does not get, so a closed network hides it."""
    look_up, asked_for = socket.getaddrinfo, []

    def spy(host: Any, *arguments: Any, **options: Any) -> Any:
        if host not in ("127.0.0.1", "localhost", None):
            asked_for.append(host)
            raise socket.gaierror(f"not from a test: {host}")
        return look_up(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", spy)
    yield
    assert not asked_for


def sent(body: Json, streamed: bool, **fields: Any) -> Json:
    """A request as it should arrive."""
    ending = {"stream": True, "stream_options": {"include_usage": True}} if streamed else {}
    return {**body, **ending, **fields}
