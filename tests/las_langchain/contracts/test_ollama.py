"""Ollama's own API: what it gets, and what the caller gets of its answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from las_langchain import errors
from las_langchain.providers import Target
from tests.fake_ollama import FakeOllama, Reply, ToolCall
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

KEY = "ollama-0123456789abcdef"
VECTORS = "nomic-embed-text"
TWO_CALLS = [ToolCall("get_weather", {"city": city}, f"call_{city}") for city in ("Oslo", "Rome")]


@pytest.fixture(scope="module")
def _double() -> Iterator[FakeOllama]:
    with FakeOllama() as double:
        yield double


@pytest.fixture
def upstream(_double: FakeOllama) -> FakeOllama:
    """A server on a machine of one's own, which asks for no key."""
    _double.reset()
    return _double


@pytest.fixture(scope="module")
def guarded() -> Iterator[FakeOllama]:
    """A server that asks for a key, as ollama.com does."""
    with FakeOllama(KEY) as double:
        yield double


def of(upstream: FakeOllama, model: str = "llama3.2", **provider: Any) -> Target:
    """Where calls of a model of the double go."""
    return target_of(f"ollama/{model}", base_url=upstream.url, **provider)


def sent(text: str, way: str, model: str = "llama3.2", options: Json | None = None, **fields: Any) -> Json:
    """The body that a request with one text becomes."""
    messages = [{"role": "user", "content": text, "images": []}]
    return {"model": model, "messages": messages, "options": options or {}, "stream": way in STREAMS, **fields}


@pytest.mark.parametrize("way", WAYS)
async def test_a_plain_request_and_its_answer(upstream: FakeOllama, way: str) -> None:
    said = await ask(of(upstream), asked("hello there"), way)
    assert said.message == {"role": "assistant", "content": "Echo: hello there"}
    assert (said.finish_reason, said.tokens) == ("stop", (2, 3, 5))
    (got,) = upstream.requests
    assert (got.method, got.path, got.query) == ("POST", "/api/chat", {})
    assert "authorization" not in got.headers
    assert got.body == sent("hello there", way)


@pytest.mark.parametrize("way", WAYS)
async def test_fields_become_options(upstream: FakeOllama, way: str) -> None:
    fields = {"temperature": 0.5, "top_p": 0.9, "seed": 3, "stop": ["z"], "max_tokens": 2, "top_k": 5}
    said = await ask(of(upstream, headers={"x-team": "red"}), asked("a b c", **fields), way)
    assert (said.content, said.finish_reason) == ("Echo: a", "length")
    options = {"temperature": 0.5, "top_p": 0.9, "seed": 3, "stop": ["z"], "num_predict": 2, "top_k": 5}
    assert upstream.last.body == sent("a b c", way, options=options)
    assert upstream.last.headers["x-team"] == "red"


@pytest.mark.parametrize("way", WAYS)
async def test_a_tool_is_called_and_its_result_sent(upstream: FakeOllama, way: str) -> None:
    called, told = await use_tool(of(upstream), way)
    assert (called.calls, called.finish_reason) == ([("get_weather", {"city": "Oslo"})], "tool_calls")
    assert called.tokens is not None
    assert (told.content, told.finish_reason) == ("The result is: 4 degrees", "stop")
    first, second = [request.body for request in upstream.requests]
    assert first == sent("What is the weather in Oslo?", way, tools=[WEATHER])
    _, assistant, result = second["messages"]
    (sent_call,) = assistant["tool_calls"]
    assert sent_call["function"] == {"name": "get_weather", "arguments": {"city": "Oslo"}}
    identifier = called.message["tool_calls"][0]["id"]
    assert result == {"role": "tool", "content": "4 degrees", "images": [], "tool_call_id": identifier}


@pytest.mark.parametrize("way", WAYS)
async def test_calls_in_one_object_keep_their_order(upstream: FakeOllama, way: str) -> None:
    upstream.enqueue(Reply(text="Let me see.", tool_calls=TWO_CALLS, calls_at_end=True))
    said = await ask(of(upstream), TOOL_REQUEST, way)
    assert said.calls == [("get_weather", {"city": "Oslo"}), ("get_weather", {"city": "Rome"})]
    assert len({call["id"] for call in said.message["tool_calls"]}) == 2
    assert (said.content, said.finish_reason) == ("Let me see.", "tool_calls")


@pytest.mark.parametrize("way", WAYS)
async def test_a_call_without_arguments_is_an_empty_object(upstream: FakeOllama, way: str) -> None:
    upstream.enqueue(Reply(tool_calls=[ToolCall("now", {}, "call_1")]))
    said = await ask(of(upstream), TOOL_REQUEST, way)
    assert said.calls == [("now", {})]
    assert said.message["tool_calls"][0]["id"] == "call_1"


@pytest.mark.parametrize("way", WAYS)
async def test_an_image_goes_beside_the_text(upstream: FakeOllama, way: str) -> None:
    said = await ask(of(upstream, "gemma3"), shown("What is this?"), way)
    assert said.content == "Echo: What is this? [image]"
    message = {"role": "user", "content": "What is this?", "images": [PNG_DATA]}
    assert upstream.last.body == {**sent("", way, "gemma3"), "messages": [message]}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("effort", "think", "thought"),
    [(None, None, "The user says: hi"), ("low", True, "The user says: hi"), ("none", False, None)],
)
async def test_thoughts_are_reasoning(
    upstream: FakeOllama, way: str, effort: str | None, think: bool | None, thought: str | None
) -> None:
    said = await ask(of(upstream, "qwen3"), asked("hi", reasoning_effort=effort), way)
    assert (said.content, said.message.get("reasoning_content")) == ("Echo: hi", thought)
    assert upstream.last.body.get("think") is think


@pytest.mark.parametrize("way", WAYS)
async def test_a_thought_goes_back_with_its_call(upstream: FakeOllama, way: str) -> None:
    called, _ = await use_tool(of(upstream, "qwen3"), way)
    assert called.message["reasoning_content"] == "The user says: What is the weather in Oslo?"
    assert upstream.last.body["messages"][1]["thinking"] == called.message["reasoning_content"]


@pytest.mark.parametrize("way", WAYS)
async def test_a_schema_is_the_format(upstream: FakeOllama, way: str) -> None:
    schema = WEATHER["function"]["parameters"]
    wanted = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}
    said = await ask(of(upstream), asked("in 'Oslo'", response_format=wanted), way)
    assert orjson.loads(said.content) == {"city": "Oslo"}
    assert upstream.last.body == sent("in 'Oslo'", way, format=schema)
    said = await ask(of(upstream), asked("hi", response_format={"type": "json_object"}), way)
    assert orjson.loads(said.content) == {"answer": "hi"}
    assert upstream.last.body == sent("hi", way, format="json")


@pytest.mark.parametrize("way", EMBEDDING_WAYS)
async def test_embeddings(upstream: FakeOllama, way: str) -> None:
    answer = await embed(of(upstream, VECTORS), {"input": ["a b", "c"], "dimensions": 4}, way)
    assert [(item["index"], len(item["embedding"])) for item in answer["data"]] == [(0, 4), (1, 4)]
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["total_tokens"]) == (3, 3)
    (got,) = upstream.requests
    assert (got.method, got.path) == ("POST", "/api/embed")
    assert got.body == {"model": VECTORS, "input": ["a b", "c"], "dimensions": 4}
    alone = await embed(of(upstream, VECTORS), {"input": "c", "dimensions": 4}, way)
    assert alone["data"][0]["embedding"] == answer["data"][1]["embedding"]


@pytest.mark.parametrize("variable", ["OLLAMA_BASE_URL", "OLLAMA_API_BASE"])
@pytest.mark.parametrize("way", [*WAYS, *EMBEDDING_WAYS])
async def test_the_address_is_the_variables(
    upstream: FakeOllama, monkeypatch: pytest.MonkeyPatch, variable: str, way: str
) -> None:
    monkeypatch.setenv(variable, upstream.url)
    await call(target_of("ollama/" + (VECTORS if way in EMBEDDING_WAYS else "llama3.2")), way)
    assert len(upstream.requests) == 1


async def test_the_settings_address_comes_first(upstream: FakeOllama, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_BASE_URL", "http://127.0.0.1:9")
    await call(of(upstream), "acomplete")
    await call(of(upstream, VECTORS), "aembed")
    assert [request.path for request in upstream.requests] == ["/api/chat", "/api/embed"]


@pytest.mark.parametrize("way", WAYS)
async def test_a_key_is_sent_and_a_wrong_one_is_said_so(guarded: FakeOllama, way: str) -> None:
    await ask(of(guarded, api_key=KEY), asked("hi"), way)
    assert guarded.last.headers["authorization"] == f"Bearer {KEY}"
    for provider in ({"api_key": "ollama-wrong-0123456789"}, {}):
        error = await failure(of(guarded, **provider), asked("hi"), way)
        assert isinstance(error, errors.AuthenticationError)
        assert (error.status_code, error.provider) == (401, "ollama")
        assert "wrong-0123" not in str(error)


@pytest.mark.parametrize("way", WAYS)
async def test_an_unknown_model(upstream: FakeOllama, way: str) -> None:
    error = await failure(of(upstream, "nobody"), asked("hi"), way)
    assert isinstance(error, errors.ModelNotFoundError)
    assert (error.status_code, error.code) == (404, "model_not_found")
    assert "model 'nobody' not found" in str(error)


@pytest.mark.parametrize("way", WAYS)
async def test_what_the_model_cannot_do(upstream: FakeOllama, way: str) -> None:
    error = await failure(of(upstream, "gemma3"), TOOL_REQUEST, way)
    assert isinstance(error, errors.BadRequestError)
    assert "does not support tools" in str(error)


FAILURES = [
    (429, errors.RateLimitError),
    (500, errors.APIError),
    (503, errors.ServiceUnavailableError),
]


@pytest.mark.parametrize(("status", "kind"), FAILURES)
@pytest.mark.parametrize("way", [*WAYS, *EMBEDDING_WAYS])
async def test_failures(upstream: FakeOllama, status: int, kind: type[errors.LASError], way: str) -> None:
    upstream.enqueue(Reply(status=status, headers={"retry-after": "7"}))
    with pytest.raises(kind) as info:
        await call(of(upstream, VECTORS if way in EMBEDDING_WAYS else "llama3.2"), way)
    assert (info.value.status_code, info.value.retry_after, info.value.provider) == (status, 7, "ollama")
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("after", [0, 1, 40])
@pytest.mark.parametrize("way", STREAMS)
async def test_a_cut_stream_is_never_taken_for_whole(upstream: FakeOllama, way: str, after: int) -> None:
    upstream.enqueue(Reply(text="word " * 50, cut_after=after))
    assert isinstance(await failure(of(upstream), asked("hi"), way), errors.APIConnectionError)


@pytest.mark.parametrize("way", STREAMS)
async def test_a_stream_that_never_says_done_is_not_whole(upstream: FakeOllama, way: str) -> None:
    line = orjson.dumps({"model": "llama3.2", "message": {"role": "assistant", "content": "word"}, "done": False})
    upstream.enqueue(Reply(raw=line + b"\n", raw_type="application/x-ndjson"))
    assert isinstance(await failure(of(upstream), asked("hi"), way), errors.APIConnectionError)


@pytest.mark.parametrize("way", ["complete", "acomplete"])
async def test_a_cut_answer(upstream: FakeOllama, way: str) -> None:
    upstream.enqueue(Reply(cut_after=1))
    assert isinstance(await failure(of(upstream), asked("hi"), way), errors.APIConnectionError)


async def test_a_stream_that_is_left_ends_upstream(upstream: FakeOllama) -> None:
    upstream.enqueue(Reply(text="word " * 200, chunk_delay=0.05))
    await leave(of(upstream), upstream)


def test_a_stream_is_as_openai_sends_it(upstream: FakeOllama) -> None:
    upstream.enqueue(Reply(text="a b c"))
    check_stream(stream(of(upstream), "hello"), "a b c")


def test_the_model_is_named_as_ollama_names_it(upstream: FakeOllama) -> None:
    assert transport.complete(of(upstream), asked("hi"))["model"] == "llama3.2"


@pytest.mark.parametrize("way", STREAMS)
async def test_calls_in_several_objects_are_several(upstream: FakeOllama, way: str) -> None:
    upstream.enqueue(Reply(tool_calls=TWO_CALLS))
    said = await ask(of(upstream), TOOL_REQUEST, way)
    assert said.calls == [("get_weather", {"city": "Oslo"}), ("get_weather", {"city": "Rome"})]
    assert len({call["id"] for call in said.message["tool_calls"]}) == 2


@pytest.mark.parametrize("way", WAYS)
async def test_a_single_stop_is_a_list_of_one(upstream: FakeOllama, way: str) -> None:
    said = await ask(of(upstream), asked("one two", stop="two"), way)
    assert (said.content, said.finish_reason) == ("Echo: one ", "stop")
    assert upstream.last.body == sent("one two", way, options={"stop": ["two"]})


@pytest.mark.parametrize("way", [*WAYS, *EMBEDDING_WAYS])
async def test_nobody_is_asked_about_a_model(
    upstream: FakeOllama, guarded: FakeOllama, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    guarded.reset()
    monkeypatch.setenv("OLLAMA_API_BASE", guarded.url)
    monkeypatch.setenv("OLLAMA_API_KEY", KEY)
    await call(of(upstream, VECTORS if way in EMBEDDING_WAYS else "llama3.2:latest"), way)
    assert guarded.lookups == guarded.requests == upstream.lookups == []


@pytest.mark.parametrize("way", [*WAYS, *EMBEDDING_WAYS])
async def test_an_address_may_end_in_a_slash(upstream: FakeOllama, way: str) -> None:
    model = VECTORS if way in EMBEDDING_WAYS else "llama3.2"
    await call(target_of(f"ollama/{model}", base_url=f"{upstream.url}/"), way)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("way", [*WAYS, *EMBEDDING_WAYS])
async def test_failures_are_told_in_ollamas_words(upstream: FakeOllama, way: str) -> None:
    upstream.enqueue(Reply(status=500, error={"message": "the model's runner has stopped"}))
    with pytest.raises(errors.APIError) as info:
        await call(of(upstream, VECTORS if way in EMBEDDING_WAYS else "llama3.2"), way)
    assert str(info.value) == "Ollama: the model's runner has stopped"


@pytest.mark.parametrize("way", STREAMS)
async def test_a_failure_in_mid_stream(upstream: FakeOllama, way: str) -> None:
    upstream.enqueue(Reply(text="a b c", cut_after=2, error_event={"message": "the runner has stopped"}))
    error = await failure(of(upstream), asked("hi"), way)
    assert isinstance(error, errors.APIError)
    assert (str(error), error.status_code) == ("Ollama: the runner has stopped", 500)


@pytest.mark.parametrize("way", WAYS)
async def test_a_broken_answer_is_not_a_server_that_is_down(upstream: FakeOllama, way: str) -> None:
    upstream.enqueue(Reply(text="a b c", cut_after=1))
    error = await failure(of(upstream), asked("hi"), way)
    assert isinstance(error, errors.APIConnectionError)
    assert "start it" not in str(error)
    check_text(error)
