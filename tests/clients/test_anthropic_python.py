"""A session of Anthropic's own client, whose wire coding assistants speak, on models of any provider and on chains."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic

from tests.clients.cases import (
    AGENT,
    BROKEN,
    COUNT,
    FOUND,
    LOCAL,
    MODEL,
    WEATHER,
    WEATHER_CALL,
    WEATHER_TOOL,
    ChainCase,
)
from tests.conftest import Server
from tests.fake_openai import FakeOpenAI, Reply
from tests.media import png

HELLO: list[Any] = [{"role": "user", "content": "hello"}]
TOOLS: list[Any] = [
    {
        "name": WEATHER_TOOL["name"],
        "description": WEATHER_TOOL["description"],
        "input_schema": WEATHER_TOOL["parameters"],
    }
]
SIZE: Any = {"max_tokens": 100}


@pytest.fixture
def client(chain_server: Server, upstream: FakeOpenAI) -> Iterator[Anthropic]:
    with Anthropic(base_url=chain_server.url, api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
async def aclient(chain_server: Server, upstream: FakeOpenAI) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(base_url=chain_server.url, api_key="any", max_retries=0) as client:
        yield client


def texts(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def thoughts(message: Any) -> str:
    return "".join(block.thinking for block in message.content if block.type == "thinking")


def test_create(client: Anthropic, upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(usage=COUNT))
    hot: Any = {"extra_body": {"temperature": 0.5}}
    answer = client.messages.create(model=MODEL, messages=HELLO, system="Be brief.", **hot, **SIZE)
    assert (answer.type, answer.role, texts(answer)) == ("message", "assistant", "Echo: hello")
    assert (answer.stop_reason, answer.model) == ("end_turn", "gpt-4o-2024-08-06")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (10, 5)
    assert upstream.last.body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert upstream.last.body["temperature"] == 0.5
    cut = client.messages.create(model=MODEL, messages=[{"role": "user", "content": "a b c d"}], max_tokens=2)
    assert (texts(cut), cut.stop_reason) == ("Echo: a", "max_tokens")


def test_images(client: Anthropic, upstream: FakeOpenAI) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(png()).decode()}
    content: Any = [{"type": "image", "source": source}, {"type": "text", "text": "What is it?"}]
    answer = client.messages.create(model=MODEL, messages=[{"role": "user", "content": content}], **SIZE)
    assert texts(answer) == "Echo: [image] What is it?"
    (picture,) = [part for part in upstream.last.body["messages"][-1]["content"] if part["type"] == "image_url"]
    assert picture["image_url"]["url"] == f"data:image/png;base64,{source['data']}"


def test_streams(client: Anthropic, upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(usage=COUNT))
    with client.messages.stream(model=MODEL, messages=HELLO, **SIZE) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert pieces == ["Echo:", " hello"]
    assert (texts(final), final.stop_reason, final.usage.output_tokens) == ("Echo: hello", "end_turn", 5)
    events = [event.type for event in client.messages.create(model=MODEL, messages=HELLO, stream=True, **SIZE)]
    assert [event for event in events if event != "ping"] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_tools(client: Anthropic) -> None:
    assert _tools_answered(client, MODEL) == FOUND
    messages: list[Any] = [{"role": "user", "content": WEATHER}]
    with client.messages.stream(model=MODEL, messages=messages, tools=TOOLS, **SIZE) as stream:
        final = stream.get_final_message()
    (call,) = [block for block in final.content if block.type == "tool_use"]
    assert (call.name, call.input, final.stop_reason) == ("get_weather", {"location": "Lyon"}, "tool_use")


async def test_asynchronously(aclient: AsyncAnthropic) -> None:
    assert texts(await aclient.messages.create(model=MODEL, messages=HELLO, **SIZE)) == "Echo: hello"
    async with aclient.messages.stream(model=MODEL, messages=HELLO, **SIZE) as stream:
        assert await stream.get_final_text() == "Echo: hello"


@pytest.mark.parametrize("model", [MODEL, LOCAL])
def test_counts(client: Anthropic, model: str) -> None:
    short = client.messages.count_tokens(model=model, messages=HELLO).input_tokens
    longer = client.messages.count_tokens(model=model, messages=HELLO, system="Be brief.", tools=TOOLS).input_tokens
    assert 0 < short < longer


def test_models(client: Anthropic) -> None:
    listed = {model.id: model for model in client.models.list(limit=1000)}
    assert {MODEL, LOCAL} <= listed.keys()
    assert listed[MODEL].type == "model"
    assert listed[MODEL].display_name
    assert listed[MODEL].created_at
    assert client.models.retrieve(MODEL).id == MODEL


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "kind", "type_"),
    [
        (400, anthropic.BadRequestError, "invalid_request_error"),
        (401, anthropic.AuthenticationError, "authentication_error"),
        (403, anthropic.PermissionDeniedError, "permission_error"),
        (404, anthropic.NotFoundError, "not_found_error"),
        (429, anthropic.RateLimitError, "rate_limit_error"),
        (500, anthropic.InternalServerError, "api_error"),
    ],
)
def test_upstream_errors(
    client: Anthropic, upstream: FakeOpenAI, status: int, kind: type[anthropic.APIStatusError], type_: str, stream: bool
) -> None:
    upstream.enqueue(*[Reply(status=status, headers={"retry-after": "3600"})] * 3)
    with pytest.raises(kind) as raised:
        client.messages.create(model=MODEL, messages=HELLO, stream=stream, **SIZE)
    assert type(raised.value) is kind
    assert error_of(raised.value)["type"] == type_


def error_of(error: anthropic.APIStatusError) -> dict[str, Any]:
    body: Any = error.body
    assert body["type"] == "error"
    return dict(body["error"])


def test_other_errors(client: Anthropic, upstream: FakeOpenAI) -> None:
    with pytest.raises(anthropic.NotFoundError) as unknown:
        client.messages.create(model="nobody/x", messages=HELLO, **SIZE)
    assert error_of(unknown.value)["type"] == "not_found_error"
    with pytest.raises(anthropic.BadRequestError, match="temperature"):
        client.messages.create(model=MODEL, messages=HELLO, extra_body={"temperature": 9}, **SIZE)
    upstream.enqueue(BROKEN)
    with pytest.raises(anthropic.APIStatusError, match="broke") as broken:
        list(client.messages.create(model=MODEL, messages=HELLO, stream=True, **SIZE))
    assert error_of(broken.value)["type"] == "api_error"
    upstream.enqueue(Reply(delay=1))
    with pytest.raises(anthropic.APITimeoutError):
        client.messages.create(model=MODEL, messages=HELLO, timeout=0.2, **SIZE)


def test_chains_as_models(client: Anthropic, upstream: FakeOpenAI, case: ChainCase) -> None:
    messages: list[Any] = [{"role": "user", "content": case.prompt}]
    upstream.enqueue(*case.replies)
    answer = client.messages.create(model=case.model, messages=messages, **SIZE)
    assert (texts(answer), thoughts(answer)) == (case.text, case.reasoning)
    assert (answer.stop_reason, answer.model) == ("end_turn", case.model)
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == case.tokens[:2]
    upstream.enqueue(*case.replies)
    with client.messages.stream(model=case.model, messages=messages, **SIZE) as stream:
        final = stream.get_final_message()
    assert (texts(final), thoughts(final), final.stop_reason) == (case.text, case.reasoning, "end_turn")


def test_an_agent_takes_tools_of_the_client(client: Anthropic, upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(tool_calls=[WEATHER_CALL]), Reply(content=FOUND))
    assert _tools_answered(client, AGENT) == FOUND


def _tools_answered(client: Anthropic, model: str) -> str:
    """The answer after the client's tool was called and its result sent."""
    messages: list[Any] = [{"role": "user", "content": WEATHER}]
    asked = client.messages.create(model=model, messages=messages, tools=TOOLS, **SIZE)
    (call,) = [block for block in asked.content if block.type == "tool_use"]
    assert (call.name, call.input, asked.stop_reason) == ("get_weather", {"location": "Lyon"}, "tool_use")
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "22 degrees"}
    messages += [{"role": "assistant", "content": asked.content}, {"role": "user", "content": [result]}]
    answer = client.messages.create(model=model, messages=messages, tools=TOOLS, **SIZE)
    assert answer.stop_reason == "end_turn"
    return texts(answer)
