"""Google's Gemini API: what it gets, and what the caller gets of its answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from las_langchain import errors
from las_langchain.providers import Target
from tests.fake_gemini import KEY, FakeGemini, Reply, ToolCall, detail, signature
from tests.las_langchain.contracts.cases import (
    PNG_DATA,
    WAYS,
    WEATHER,
    Json,
    ask,
    asked,
    embed,
    failure,
    leave,
    shown,
    target_of,
    transport,
)
from tests.las_langchain.contracts.round_trips import (
    EMBEDDING_WAYS,
    STREAMS,
    TOOL_REQUEST,
    call,
    check_stream,
    check_text,
    no_variables,
    nobody_else_asked,
    stream,
    use_tool,
)

__all__ = ["no_variables", "nobody_else_asked"]

MODEL = "gemini-2.5-flash"
NEWER = "gemini-3-pro-preview"
VECTORS = "gemini-embedding-001"
WRONG_KEY = "AIzaSyD-wrong-0123456789abcdefghijklmno"
DECLARED = {"function_declarations": [WEATHER["function"]]}
TWO_CALLS = [ToolCall("get_weather", {"city": city}, f"call_{city}") for city in ("Oslo", "Rome")]


@pytest.fixture(scope="module")
def _double() -> Iterator[FakeGemini]:
    with FakeGemini() as double:
        yield double


@pytest.fixture
def upstream(_double: FakeGemini) -> FakeGemini:
    """Google's API, which takes one key."""
    _double.reset()
    return _double


def of(upstream: FakeGemini, model: str = MODEL, key: str = KEY, **provider: Any) -> Target:
    """Where calls of a model of the double go."""
    return target_of(f"gemini/{model}", base_url=upstream.url, api_key=key, **provider)


def model_for(way: str) -> str:
    """A model that answers calls of a kind."""
    return VECTORS if way in EMBEDDING_WAYS else MODEL


def user(*parts: Json) -> Json:
    """A turn of the user."""
    return {"role": "user", "parts": list(parts)}


@pytest.mark.parametrize("way", WAYS)
async def test_a_plain_request_and_its_answer(upstream: FakeGemini, way: str) -> None:
    said = await ask(of(upstream, headers={"x-team": "red"}), asked("hello there"), way)
    assert said.message == {"role": "assistant", "content": "Echo: hello there"}
    assert (said.finish_reason, said.tokens) == ("stop", (2, 3, 5))
    (got,) = upstream.requests
    method, query = ("streamGenerateContent", {"alt": "sse"}) if way in STREAMS else ("generateContent", {})
    assert (got.method, got.path, got.query) == ("POST", f"/v1beta/models/{MODEL}:{method}", query)
    assert (got.headers["x-goog-api-key"], got.headers["content-type"]) == (KEY, "application/json")
    assert got.headers["x-team"] == "red"
    assert "authorization" not in got.headers
    assert got.body == {"contents": [user({"text": "hello there"})]}


@pytest.mark.parametrize("way", WAYS)
async def test_fields_and_the_system_message(upstream: FakeGemini, way: str) -> None:
    fields = {"temperature": 0.5, "top_p": 0.9, "seed": 3, "stop": ["z"], "max_tokens": 2, "top_k": 5}
    penalties = {"presence_penalty": 0.1, "frequency_penalty": 0.2}
    body = asked("a b c", **fields, **penalties)
    body["messages"].insert(0, {"role": "system", "content": "Be brief."})
    said = await ask(of(upstream), body, way)
    assert (said.content, said.finish_reason) == ("Echo: a", "length")
    config = {"temperature": 0.5, "top_p": 0.9, "seed": 3, "stop_sequences": ["z"], "max_output_tokens": 2, "top_k": 5}
    assert upstream.last.body == {
        "contents": [user({"text": "a b c"})],
        "system_instruction": {"parts": [{"text": "Be brief."}]},
        "generationConfig": {**config, **penalties},
    }


@pytest.mark.parametrize("way", WAYS)
async def test_a_tool_is_called_and_its_result_sent(upstream: FakeGemini, way: str) -> None:
    called, told = await use_tool(of(upstream), way)
    assert (called.calls, called.finish_reason) == ([("get_weather", {"city": "Oslo"})], "tool_calls")
    assert called.message["tool_calls"][0]["id"]
    assert called.tokens is not None
    assert (told.content, told.finish_reason) == ("The result is: 4 degrees", "stop")
    first, second = [request.body for request in upstream.requests]
    question = user({"text": "What is the weather in Oslo?"})
    assert first == {"contents": [question], "tools": [DECLARED]}
    function_call = {"name": "get_weather", "args": {"city": "Oslo"}}
    response = {"name": "get_weather", "response": {"content": "4 degrees"}}
    assert second["contents"] == [
        question,
        {"role": "model", "parts": [{"function_call": function_call}]},
        user({"function_response": response}),
    ]


@pytest.mark.parametrize("way", WAYS)
async def test_signed_thoughts_go_back_with_their_call(upstream: FakeGemini, way: str) -> None:
    upstream.enqueue(Reply(tool_calls=TWO_CALLS))
    _, told = await use_tool(of(upstream, NEWER), way)
    assert told.content == "The result is: 4 degrees, 4 degrees"
    _, model, results = upstream.last.body["contents"]
    assert [part["function_call"]["id"] for part in model["parts"]] == ["call_Oslo", "call_Rome"]
    assert [part.get("thoughtSignature") for part in model["parts"]] == [signature("call_Oslo"), None]
    assert [part["function_response"]["id"] for part in results["parts"]] == ["call_Oslo", "call_Rome"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("apart", [False, True])
async def test_parallel_calls_keep_their_order(upstream: FakeGemini, way: str, apart: bool) -> None:
    upstream.enqueue(Reply(text="Let me see.", tool_calls=TWO_CALLS, calls_apart=apart))
    said = await ask(of(upstream), TOOL_REQUEST, way)
    assert said.calls == [("get_weather", {"city": "Oslo"}), ("get_weather", {"city": "Rome"})]
    assert len({call["id"] for call in said.message["tool_calls"]}) == 2
    assert (said.content, said.finish_reason) == ("Let me see.", "tool_calls")


CHOICES: list[tuple[str | Json, Json]] = [
    ("auto", {"mode": "AUTO"}),
    ("none", {"mode": "NONE"}),
    ("required", {"mode": "ANY"}),
    (
        {"type": "function", "function": {"name": "get_weather"}},
        {"mode": "ANY", "allowed_function_names": ["get_weather"]},
    ),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("choice", "mode"), CHOICES)
async def test_the_choice_of_tools(upstream: FakeGemini, way: str, choice: str | Json, mode: Json) -> None:
    said = await ask(of(upstream), asked("Oslo", tools=[WEATHER], tool_choice=choice), way)
    assert len(said.calls) == (mode["mode"] == "ANY")
    assert upstream.last.body["toolConfig"] == {"functionCallingConfig": mode}


@pytest.mark.parametrize("way", WAYS)
async def test_a_tool_without_parameters(upstream: FakeGemini, way: str) -> None:
    tool = {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}
    said = await ask(of(upstream), asked("call now", tools=[tool]), way)
    assert said.calls == [("now", {})]


@pytest.mark.parametrize("way", WAYS)
async def test_an_image_is_sent_inline(upstream: FakeGemini, way: str) -> None:
    said = await ask(of(upstream), shown("What is this?"), way)
    assert said.content == "Echo: What is this? [image]"
    image = {"inline_data": {"mime_type": "image/png", "data": PNG_DATA}}
    assert upstream.last.body == {"contents": [user({"text": "What is this?"}, image)]}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("model", "effort", "config"),
    [
        (MODEL, "low", {"thinkingBudget": 1024, "includeThoughts": True}),
        (MODEL, "none", {"thinkingBudget": 0, "includeThoughts": False}),
        (NEWER, "low", {"thinkingLevel": "low", "includeThoughts": True}),
    ],
)
async def test_thoughts_are_reasoning(upstream: FakeGemini, way: str, model: str, effort: str, config: Json) -> None:
    said = await ask(of(upstream, model), asked("hi", reasoning_effort=effort), way)
    thought = "The user says: hi" if config["includeThoughts"] else None
    assert (said.content, said.message.get("reasoning_content")) == ("Echo: hi", thought)
    assert upstream.last.body["generationConfig"]["thinkingConfig"] == config
    assert said.usage is not None
    assert (said.usage["completion_tokens_details"].get("reasoning_tokens") or 0) == (4 if thought else 0)
    assert said.tokens == ((1, 6, 7) if thought else (1, 2, 3))


@pytest.mark.parametrize("way", WAYS)
async def test_a_schema_is_the_responses(upstream: FakeGemini, way: str) -> None:
    schema = WEATHER["function"]["parameters"]
    wanted = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}
    said = await ask(of(upstream), asked("in 'Oslo'", response_format=wanted), way)
    assert orjson.loads(said.content) == {"city": "Oslo"}
    assert upstream.last.body["generationConfig"]["response_mime_type"] == "application/json"


ENDS = [("STOP", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "content_filter"), ("RECITATION", "content_filter")]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("reason", "finish"), ENDS)
async def test_why_an_answer_ends(upstream: FakeGemini, way: str, reason: str, finish: str) -> None:
    upstream.enqueue(Reply(text="a b", finish_reason=reason))
    assert (await ask(of(upstream), asked("hi"), way)).finish_reason == finish


@pytest.mark.parametrize("way", WAYS)
async def test_a_blocked_prompt_is_a_filtered_answer(upstream: FakeGemini, way: str) -> None:
    upstream.enqueue(Reply(blocked="SAFETY"))
    said = await ask(of(upstream), asked("hi"), way)
    assert (said.content, said.finish_reason) == (None, "content_filter")
    assert said.tokens == (1, 0, 1)


@pytest.mark.parametrize("way", WAYS)
async def test_cached_tokens_are_counted(upstream: FakeGemini, way: str) -> None:
    usage = {"promptTokenCount": 100, "cachedContentTokenCount": 80, "totalTokenCount": 102}
    upstream.enqueue(Reply(text="a b", usage=usage))
    said = await ask(of(upstream), asked("hi"), way)
    assert said.tokens == (100, 2, 102)
    assert said.usage is not None
    assert said.usage["prompt_tokens_details"]["cached_tokens"] == 80


@pytest.mark.parametrize("way", EMBEDDING_WAYS)
async def test_embeddings(upstream: FakeGemini, way: str) -> None:
    target = of(upstream, VECTORS, headers={"x-team": "red"})
    answer = await embed(target, {"input": ["a b", "c"], "dimensions": 4}, way)
    assert [(item["index"], len(item["embedding"])) for item in answer["data"]] == [(0, 4), (1, 4)]
    assert answer["usage"]["prompt_tokens"] > 0
    (got,) = upstream.requests
    assert (got.method, got.path, got.query) == ("POST", f"/v1beta/models/{VECTORS}:batchEmbedContents", {})
    assert (got.headers["x-goog-api-key"], got.headers["x-team"]) == (KEY, "red")
    wanted = {"model": f"models/{VECTORS}", "outputDimensionality": 4}
    assert got.body == {"requests": [{**wanted, "content": {"parts": [{"text": text}]}} for text in ("a b", "c")]}
    alone = await embed(target, {"input": "c", "dimensions": 4}, way)
    assert alone["data"][0]["embedding"] == answer["data"][1]["embedding"]


@pytest.mark.parametrize("variable", ["GEMINI_API_KEY", "GOOGLE_API_KEY"])
@pytest.mark.parametrize("way", [*WAYS, *EMBEDDING_WAYS])
async def test_key_and_address_are_the_variables(
    upstream: FakeGemini, monkeypatch: pytest.MonkeyPatch, variable: str, way: str
) -> None:
    monkeypatch.setenv(variable, KEY)
    monkeypatch.setenv("GEMINI_API_BASE", upstream.url)
    await call(target_of(f"gemini/{model_for(way)}"), way)
    assert upstream.last.headers["x-goog-api-key"] == KEY


@pytest.mark.parametrize("way", [*WAYS, *EMBEDDING_WAYS])
async def test_the_settings_come_first(upstream: FakeGemini, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", WRONG_KEY)
    monkeypatch.setenv("GEMINI_API_BASE", "http://127.0.0.1:9/v1beta")
    await call(of(upstream, model_for(way)), way)
    assert upstream.last.headers["x-goog-api-key"] == KEY


def test_without_a_key_the_variable_is_named(upstream: FakeGemini) -> None:
    with pytest.raises(errors.AuthenticationError, match="set GEMINI_API_KEY"):
        target_of(f"gemini/{MODEL}", base_url=upstream.url)


@pytest.mark.parametrize("way", [*WAYS, *EMBEDDING_WAYS])
async def test_a_wrong_key(upstream: FakeGemini, way: str) -> None:
    with pytest.raises(errors.AuthenticationError, match="refused the key in GEMINI_API_KEY") as info:
        await call(of(upstream, model_for(way), key=WRONG_KEY), way)
    assert (info.value.status_code, info.value.provider) == (401, "gemini")
    assert WRONG_KEY not in str(info.value)


@pytest.mark.parametrize("way", [*WAYS, *EMBEDDING_WAYS])
async def test_an_unknown_model(upstream: FakeGemini, way: str) -> None:
    with pytest.raises(errors.ModelNotFoundError, match="models/gemini-9 is not found") as info:
        await call(of(upstream, "gemini-9"), way)
    assert (info.value.status_code, info.value.code) == (404, "model_not_found")


FAILURES = [
    (400, errors.BadRequestError),
    (403, errors.PermissionDeniedError),
    (429, errors.RateLimitError),
    (500, errors.APIError),
]


@pytest.mark.parametrize(("status", "kind"), FAILURES)
@pytest.mark.parametrize("way", [*WAYS, *EMBEDDING_WAYS])
async def test_failures(upstream: FakeGemini, status: int, kind: type[errors.LASError], way: str) -> None:
    upstream.enqueue(Reply(status=status, headers={"retry-after": "7"}))
    with pytest.raises(kind) as info:
        await call(of(upstream, model_for(way)), way)
    assert (info.value.status_code, info.value.retry_after, info.value.provider) == (status, 7, "gemini")
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("way", ["complete", "acomplete"])
async def test_a_cut_answer(upstream: FakeGemini, way: str) -> None:
    upstream.enqueue(Reply(cut_after=1))
    assert isinstance(await failure(of(upstream), asked("hi"), way), errors.APIConnectionError)


def test_a_stream_is_as_openai_sends_it(upstream: FakeGemini) -> None:
    upstream.enqueue(Reply(text="a b c"))
    check_stream(stream(of(upstream), "hello"), "a b c")


@pytest.mark.parametrize("after", [0, 1, 40])
@pytest.mark.parametrize("way", STREAMS)
async def test_a_cut_stream_is_never_taken_for_whole(upstream: FakeGemini, way: str, after: int) -> None:
    upstream.enqueue(Reply(text="word " * 50, cut_after=after))
    assert isinstance(await failure(of(upstream), asked("hi"), way), errors.APIConnectionError)


@pytest.mark.parametrize("way", STREAMS)
async def test_a_stream_without_a_reason_of_its_end_is_not_whole(upstream: FakeGemini, way: str) -> None:
    upstream.enqueue(Reply(text="a b c", finish_reason=""))
    assert isinstance(await failure(of(upstream), asked("hi"), way), errors.APIConnectionError)


IN_MID_STREAM = [
    (429, "RESOURCE_EXHAUSTED", errors.RateLimitError),
    (500, "INTERNAL", errors.APIError),
    (503, "UNAVAILABLE", errors.ServiceUnavailableError),
]


@pytest.mark.parametrize(("status", "name", "kind"), IN_MID_STREAM)
@pytest.mark.parametrize("way", STREAMS)
async def test_a_failure_in_mid_stream(
    upstream: FakeGemini, way: str, status: int, name: str, kind: type[errors.LASError]
) -> None:
    event = {"code": status, "message": "Not now.", "status": name}
    upstream.enqueue(Reply(text="a b c", cut_after=2, error_event=event))
    error = await failure(of(upstream), asked("hi"), way)
    assert isinstance(error, kind)
    assert (error.status_code, str(error)) == (status, f"Google Gemini: {name} - Not now.")


@pytest.mark.parametrize("way", [*WAYS, *EMBEDDING_WAYS])
async def test_when_to_come_back_is_in_the_body(upstream: FakeGemini, way: str) -> None:
    advice = detail("RetryInfo", retryDelay="36s")
    error = {"code": 429, "message": "Quota exceeded.", "status": "RESOURCE_EXHAUSTED", "details": [advice]}
    upstream.enqueue(Reply(status=429, error=error))
    with pytest.raises(errors.RateLimitError) as info:
        await call(of(upstream, model_for(way)), way)
    assert (str(info.value), info.value.retry_after) == ("Google Gemini: Quota exceeded.", 36)


@pytest.mark.parametrize("status", [400, 403, 429, 500, 503])
@pytest.mark.parametrize("way", [*WAYS, *EMBEDDING_WAYS])
async def test_failures_are_told_in_googles_words(upstream: FakeGemini, way: str, status: int) -> None:
    upstream.enqueue(Reply(status=status))
    with pytest.raises(errors.LASError) as info:
        await call(of(upstream, model_for(way)), way)
    assert info.value.status_code == status
    check_text(info.value, KEY)


@pytest.mark.parametrize("way", [*WAYS, *EMBEDDING_WAYS])
async def test_an_address_may_end_in_a_slash(upstream: FakeGemini, way: str) -> None:
    await call(target_of(f"gemini/{model_for(way)}", base_url=f"{upstream.url}/", api_key=KEY), way)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_of_googles_own_is_left_in_an_answer(upstream: FakeGemini, way: str) -> None:
    called, _ = await use_tool(of(upstream, NEWER), way)
    assert called.message["tool_calls"][0].keys() == {"id", "type", "function"}
    answer = transport.complete(of(upstream), asked("hi"))
    assert answer.keys() == {"id", "object", "created", "model", "choices", "usage"}
    assert None not in answer["usage"]["prompt_tokens_details"].values()


async def test_a_stream_that_is_left_ends_upstream(upstream: FakeGemini) -> None:
    upstream.enqueue(Reply(text="word " * 200, chunk_delay=0.05))
    await leave(of(upstream), upstream)
