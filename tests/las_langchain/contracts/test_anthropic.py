"""Anthropic's Messages API: what it gets, and what the caller gets of its answers."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from las_langchain import errors
from las_langchain.providers import Target
from tests.conftest import UPSTREAM_KEY
from tests.fake_anthropic import FakeAnthropic, Reply, ToolCall
from tests.las_langchain.contracts.cases import (
    PNG_DATA,
    WAYS,
    WEATHER,
    Json,
    answered,
    ask,
    asked,
    failure,
    leave,
    shown,
    target_of,
    transport,
)
from tests.las_langchain.contracts.round_trips import (
    STREAMS,
    TOOL_REQUEST,
    check_stream,
    check_text,
    no_variables,
    nobody_else_asked,
    stream,
    use_tool,
)

__all__ = ["no_variables", "nobody_else_asked"]

MODEL = "claude-sonnet-4-5"
MOST = 64_000
"""Tokens that the model answers at most, which litellm asks for where the request names no limit."""
WRONG_KEY = "sk-ant-wrong"
TOOL = {
    "type": "custom",
    "name": "get_weather",
    "description": WEATHER["function"]["description"],
    "input_schema": WEATHER["function"]["parameters"],
}
TWO_CALLS = [ToolCall("get_weather", {"city": city}, f"toolu_{city}") for city in ("Oslo", "Rome")]


@pytest.fixture
def upstream(_anthropic_upstream: FakeAnthropic) -> FakeAnthropic:
    """Anthropic's API, with no variable set for it."""
    _anthropic_upstream.reset()
    return _anthropic_upstream


def of(upstream: FakeAnthropic, model: str = MODEL, key: str = UPSTREAM_KEY, **provider: Any) -> Target:
    """Where calls of a model of the double go."""
    return target_of(f"anthropic/{model}", base_url=upstream.url, api_key=key, **provider)


def text_of(text: str) -> Json:
    """A block of text."""
    return {"type": "text", "text": text}


def user(*blocks: Json) -> Json:
    """A turn of the user."""
    return {"role": "user", "content": list(blocks)}


def sent(way: str, *messages: Json, **fields: Any) -> Json:
    """The body that a request becomes."""
    streamed = {"stream": True} if way in STREAMS else {}
    return {"model": MODEL, "messages": list(messages), "max_tokens": MOST, **streamed, **fields}


@pytest.mark.parametrize("way", WAYS)
async def test_a_plain_request_and_its_answer(upstream: FakeAnthropic, way: str) -> None:
    said = await ask(of(upstream, headers={"x-team": "red"}), asked("hello there"), way)
    assert said.message == {"role": "assistant", "content": "Echo: hello there"}
    assert (said.finish_reason, said.tokens) == ("stop", (2, 3, 5))
    (got,) = upstream.requests
    assert (got.method, got.path, got.query) == ("POST", "/v1/messages", {})
    assert (got.headers["x-api-key"], got.headers["anthropic-version"]) == (UPSTREAM_KEY, "2023-06-01")
    assert (got.headers["content-type"], got.headers["x-team"]) == ("application/json", "red")
    assert "authorization" not in got.headers
    assert got.body == sent(way, user(text_of("hello there")))


def test_a_stream_is_as_openai_sends_it(upstream: FakeAnthropic) -> None:
    upstream.enqueue(Reply(text="a b c"))
    check_stream(stream(of(upstream), "hello"), "a b c")


@pytest.mark.parametrize("way", WAYS)
async def test_fields_and_the_system_message(upstream: FakeAnthropic, way: str) -> None:
    body = asked("a b c", temperature=0.5, stop="z", max_tokens=2, top_k=5, user="me")
    body["messages"].insert(0, {"role": "system", "content": "Be brief."})
    said = await ask(of(upstream), body, way)
    assert (said.content, said.finish_reason) == ("Echo: a", "length")
    fields = {"temperature": 0.5, "stop_sequences": ["z"], "max_tokens": 2, "top_k": 5, "metadata": {"user_id": "me"}}
    assert upstream.last.body == sent(way, user(text_of("a b c")), system=[text_of("Be brief.")], **fields)


@pytest.mark.parametrize("way", WAYS)
async def test_a_tool_is_called_and_its_result_sent(upstream: FakeAnthropic, way: str) -> None:
    called, told = await use_tool(of(upstream), way)
    assert (called.calls, called.finish_reason) == ([("get_weather", {"city": "Oslo"})], "tool_calls")
    assert called.tokens is not None
    assert (told.content, told.finish_reason) == ("The result is: 4 degrees", "stop")
    first, second = [request.body for request in upstream.requests]
    question = user(text_of("What is the weather in Oslo?"))
    assert first == sent(way, question, tools=[TOOL])
    identifier = called.message["tool_calls"][0]["id"]
    use = {"type": "tool_use", "id": identifier, "name": "get_weather", "input": {"city": "Oslo"}}
    result = {"type": "tool_result", "tool_use_id": identifier, "content": "4 degrees"}
    assert second == sent(way, question, {"role": "assistant", "content": [use]}, user(result), tools=[TOOL])


@pytest.mark.parametrize("way", WAYS)
async def test_parallel_calls_keep_their_order(upstream: FakeAnthropic, way: str) -> None:
    upstream.enqueue(Reply(text="Let me see.", tool_calls=TWO_CALLS))
    called, told = await use_tool(of(upstream), way)
    assert called.calls == [("get_weather", {"city": "Oslo"}), ("get_weather", {"city": "Rome"})]
    assert [call["id"] for call in called.message["tool_calls"]] == ["toolu_Oslo", "toolu_Rome"]
    assert (called.content, called.finish_reason) == ("Let me see.", "tool_calls")
    assert told.content == "The result is: 4 degrees, 4 degrees"
    results = upstream.last.body["messages"][-1]["content"]
    assert [block["tool_use_id"] for block in results] == ["toolu_Oslo", "toolu_Rome"]


@pytest.mark.parametrize("way", WAYS)
async def test_a_call_without_arguments_is_an_empty_object(upstream: FakeAnthropic, way: str) -> None:
    tool = {"type": "function", "function": {"name": "now"}}
    said = await ask(of(upstream), asked("call now", tools=[tool]), way)
    assert said.calls == [("now", {})]
    assert upstream.last.body["tools"][0]["input_schema"] == {"type": "object", "properties": {}}


CHOICES: list[tuple[str | Json, Json]] = [
    ("auto", {"type": "auto"}),
    ("none", {"type": "none"}),
    ("required", {"type": "any"}),
    ({"type": "function", "function": {"name": "get_weather"}}, {"type": "tool", "name": "get_weather"}),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("choice", "wanted"), CHOICES)
async def test_the_choice_of_tools(upstream: FakeAnthropic, way: str, choice: str | Json, wanted: Json) -> None:
    said = await ask(of(upstream), asked("Oslo", tools=[WEATHER], tool_choice=choice), way)
    assert len(said.calls) == (wanted["type"] in ("any", "tool"))
    assert upstream.last.body["tool_choice"] == wanted


@pytest.mark.parametrize("way", WAYS)
async def test_one_call_at_a_time(upstream: FakeAnthropic, way: str) -> None:
    await ask(of(upstream), {**TOOL_REQUEST, "parallel_tool_calls": False}, way)
    assert upstream.last.body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}


@pytest.mark.parametrize("way", WAYS)
async def test_an_image_is_a_block(upstream: FakeAnthropic, way: str) -> None:
    said = await ask(of(upstream), shown("What is this?"), way)
    assert said.content == "Echo: What is this? [image]"
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG_DATA}}
    assert upstream.last.body == sent(way, user(text_of("What is this?"), image))


@pytest.mark.parametrize("way", WAYS)
async def test_signed_thoughts_go_back_with_their_call(upstream: FakeAnthropic, way: str) -> None:
    budget = {"type": "enabled", "budget_tokens": 1024}
    body = {**TOOL_REQUEST, "max_tokens": 3000, "thinking": budget}
    called = await ask(of(upstream), body, way)
    (block,) = called.message["thinking_blocks"]
    assert called.message["reasoning_content"] == "The user says: What is the weather in Oslo?"
    assert block["thinking"] == called.message["reasoning_content"]
    told = await ask(of(upstream), answered(body, called.message, "4 degrees"), way)
    assert told.content == "The result is: 4 degrees"
    assert upstream.last.body["messages"][1]["content"][0] == block
    assert upstream.last.body["thinking"] == budget


@pytest.mark.parametrize("way", WAYS)
async def test_effort_becomes_a_budget_of_thoughts(upstream: FakeAnthropic, way: str) -> None:
    said = await ask(of(upstream), asked("hi", reasoning_effort="low"), way)
    assert (said.content, said.message["reasoning_content"]) == ("Echo: hi", "The user says: hi")
    assert upstream.last.body["thinking"] == {"type": "enabled", "budget_tokens": 1024}


@pytest.mark.parametrize("way", WAYS)
async def test_a_schema_is_the_format(upstream: FakeAnthropic, way: str) -> None:
    schema = WEATHER["function"]["parameters"]
    wanted = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}
    said = await ask(of(upstream), asked("in 'Oslo'", response_format=wanted), way)
    assert orjson.loads(said.content) == {"city": "Oslo"}
    closed = {**schema, "additionalProperties": False}
    assert upstream.last.body["output_format"] == {"type": "json_schema", "schema": closed}
    assert upstream.last.headers["anthropic-beta"].startswith("structured-outputs-")


ENDS = [("end_turn", "stop"), ("stop_sequence", "stop"), ("max_tokens", "length"), ("refusal", "content_filter")]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("reason", "finish"), ENDS)
async def test_why_an_answer_ends(upstream: FakeAnthropic, way: str, reason: str, finish: str) -> None:
    upstream.enqueue(Reply(text="a b", stop_reason=reason))
    assert (await ask(of(upstream), asked("hi"), way)).finish_reason == finish


@pytest.mark.parametrize("way", WAYS)
async def test_cached_tokens_are_counted(upstream: FakeAnthropic, way: str) -> None:
    upstream.enqueue(Reply(text="a b", usage={"cache_read_input_tokens": 10, "cache_creation_input_tokens": 5}))
    said = await ask(of(upstream), asked("hi"), way)
    assert said.tokens == (16, 2, 18)
    assert said.usage is not None
    assert said.usage["prompt_tokens_details"]["cached_tokens"] == 10


@pytest.mark.parametrize("variable", ["ANTHROPIC_BASE_URL", "ANTHROPIC_API_BASE"])
@pytest.mark.parametrize("way", WAYS)
async def test_key_and_address_are_the_variables(
    upstream: FakeAnthropic, monkeypatch: pytest.MonkeyPatch, variable: str, way: str
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-of-the-variable")
    monkeypatch.setenv(variable, upstream.url)
    await ask(target_of(f"anthropic/{MODEL}"), asked("hi"), way)
    assert upstream.last.headers["x-api-key"] == "sk-ant-of-the-variable"


@pytest.mark.parametrize("way", WAYS)
async def test_the_settings_come_first(upstream: FakeAnthropic, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", WRONG_KEY)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    await ask(of(upstream), asked("hi"), way)
    assert upstream.last.headers["x-api-key"] == UPSTREAM_KEY


def test_without_a_key_the_variable_is_named(upstream: FakeAnthropic) -> None:
    with pytest.raises(errors.AuthenticationError, match="set ANTHROPIC_API_KEY"):
        target_of(f"anthropic/{MODEL}", base_url=upstream.url)


@pytest.mark.parametrize("way", WAYS)
async def test_a_wrong_key(upstream: FakeAnthropic, way: str) -> None:
    error = await failure(of(upstream, key=WRONG_KEY), asked("hi"), way)
    assert isinstance(error, errors.AuthenticationError)
    assert (error.status_code, error.provider) == (401, "anthropic")
    assert "Anthropic refused the key in ANTHROPIC_API_KEY: " in str(error)
    assert WRONG_KEY not in str(error)


@pytest.mark.parametrize("way", WAYS)
async def test_an_unknown_model(upstream: FakeAnthropic, way: str) -> None:
    error = await failure(of(upstream, "claude-9"), asked("hi"), way)
    assert isinstance(error, errors.ModelNotFoundError)
    assert (error.status_code, error.code) == (404, "model_not_found")
    assert "claude-9" in str(error)


async def test_embeddings_are_not_offered(upstream: FakeAnthropic) -> None:
    with pytest.raises(errors.BadRequestError):
        await transport.aembed(of(upstream), {"input": "hi"})
    assert upstream.requests == []


FAILURES = [
    (400, errors.BadRequestError),
    (402, errors.BadRequestError),
    (403, errors.PermissionDeniedError),
    (429, errors.RateLimitError),
    (500, errors.APIError),
    (503, errors.ServiceUnavailableError),
    (529, errors.ServiceUnavailableError),
]


@pytest.mark.parametrize(("status", "kind"), FAILURES)
@pytest.mark.parametrize("way", WAYS)
async def test_failures(upstream: FakeAnthropic, status: int, kind: type[errors.LASError], way: str) -> None:
    upstream.enqueue(Reply(status=status, headers={"retry-after": "7"}))
    error = await failure(of(upstream), asked("hi"), way)
    assert isinstance(error, kind)
    assert (error.status_code, error.retry_after, error.provider) == (status, 7, "anthropic")
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("after", [0, 1, 40])
@pytest.mark.parametrize("way", STREAMS)
async def test_a_cut_stream_is_never_taken_for_whole(upstream: FakeAnthropic, way: str, after: int) -> None:
    upstream.enqueue(Reply(text="word " * 50, cut_after=after))
    assert isinstance(await failure(of(upstream), asked("hi"), way), errors.APIConnectionError)


async def test_a_stream_that_is_left_ends_upstream(upstream: FakeAnthropic) -> None:
    upstream.enqueue(Reply(text="word " * 200, chunk_delay=0.05))
    await leave(of(upstream), upstream)


@pytest.mark.parametrize("way", WAYS)
async def test_failures_are_told_in_anthropics_words(upstream: FakeAnthropic, way: str) -> None:
    for status, _ in FAILURES:
        upstream.enqueue(Reply(status=status))
        check_text(await failure(of(upstream), asked("hi"), way), UPSTREAM_KEY)


@pytest.mark.parametrize("way", ["complete", "acomplete"])
async def test_a_cut_answer(upstream: FakeAnthropic, way: str) -> None:
    upstream.enqueue(Reply(cut_after=1))
    error = await failure(of(upstream), asked("hi"), way)
    assert isinstance(error, errors.APIConnectionError)
    check_text(error)


@pytest.mark.parametrize("way", STREAMS)
async def test_a_failure_in_mid_stream(upstream: FakeAnthropic, way: str) -> None:
    event = {"type": "api_error", "message": "Internal server error"}
    upstream.enqueue(Reply(text="a b c", cut_after=4, error_event=event))
    error = await failure(of(upstream), asked("hi"), way)
    assert isinstance(error, errors.APIError)
    assert str(error).startswith("Anthropic: Internal server error")
    check_text(error)


@pytest.mark.parametrize("way", WAYS)
async def test_an_address_may_end_in_a_slash(upstream: FakeAnthropic, way: str) -> None:
    await ask(target_of(f"anthropic/{MODEL}", base_url=f"{upstream.url}/", api_key=UPSTREAM_KEY), asked("hi"), way)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("way", WAYS)
async def test_calls_have_openais_fields_only(upstream: FakeAnthropic, way: str) -> None:
    called, _ = await use_tool(of(upstream), way)
    assert called.message["tool_calls"][0].keys() == {"id", "type", "function"}
