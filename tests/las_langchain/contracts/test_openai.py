"""OpenAI: what it gets, and what the caller gets of its answers."""

from __future__ import annotations

import pytest

from las_langchain import errors
from las_langchain.provider_rows import PROVIDERS
from las_langchain.providers import Target
from tests.conftest import UPSTREAM_KEY
from tests.fake_openai import FakeOpenAI, Reply, ToolCall
from tests.las_langchain.contracts.cases import (
    PNG,
    WAYS,
    Json,
    ask,
    asked,
    by,
    embed,
    failure,
    only_litellm,
    shown,
    target_of,
    transport,
)
from tests.las_langchain.contracts.round_trips import (
    EMBEDDING_WAYS,
    FAULT_WAYS,
    STREAMS,
    TOOL_REQUEST,
    call,
    check_stream,
    check_text,
    no_variables,
    nobody_else_asked,
    sent,
    stream,
    use_tool,
)

__all__ = ["by", "no_variables", "nobody_else_asked"]

pytestmark = pytest.mark.usefixtures("by")

MODEL = "openai/gpt-4o"
VECTORS = "openai/text-embedding-3-small"
MODELS = {**dict.fromkeys(WAYS, MODEL), **dict.fromkeys(EMBEDDING_WAYS, VECTORS)}
FIELDS: Json = {
    "temperature": 0.5,
    "top_p": 0.9,
    "seed": 3,
    "stop": ["never"],
    "max_completion_tokens": 50,
    "user": "me",
    "metadata": {"trace": "1"},
    "parallel_tool_calls": False,
    "tool_choice": "none",
}


def of(upstream: FakeOpenAI, model: str = MODEL, key: str = UPSTREAM_KEY) -> Target:
    """Where calls of a model of the double go."""
    return target_of(model, api_key=key, base_url=upstream.url, headers={"x-team": "red"})


@pytest.mark.parametrize("way", WAYS)
async def test_a_plain_request_and_its_answer(upstream: FakeOpenAI, way: str) -> None:
    body = {**TOOL_REQUEST, **FIELDS}
    said = await ask(of(upstream), body, way)
    assert (said.content, said.finish_reason) == ("Echo: What is the weather in Oslo?", "stop")
    assert said.tokens == (6, 7, 13)
    (got,) = upstream.requests
    assert (got.method, got.raw_path, got.query) == ("POST", "/v1/chat/completions", {})
    assert (got.headers["authorization"], got.headers["x-team"]) == (f"Bearer {UPSTREAM_KEY}", "red")
    assert got.body == sent(body, way in STREAMS, model="gpt-4o")


def test_a_stream_is_as_openai_sends_it(upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(content="a b c"))
    check_stream(stream(of(upstream), "hello"), "a b c")


@pytest.mark.parametrize("way", WAYS)
async def test_a_tool_is_called_and_its_result_sent(upstream: FakeOpenAI, way: str) -> None:
    called, told = await use_tool(of(upstream), way)
    assert (called.calls, called.finish_reason) == ([("get_weather", {"city": "Oslo"})], "tool_calls")
    assert (told.content, told.finish_reason) == ("The result is: 4 degrees", "stop")
    assert upstream.last.body["tools"] == TOOL_REQUEST["tools"]
    _, call, result = upstream.last.body["messages"]
    assert call["tool_calls"] == called.message["tool_calls"]
    assert result == {"role": "tool", "tool_call_id": call["tool_calls"][0]["id"], "content": "4 degrees"}


@pytest.mark.parametrize("way", WAYS)
async def test_parallel_calls_keep_their_order(upstream: FakeOpenAI, way: str) -> None:
    upstream.enqueue(Reply(tool_calls=[ToolCall("get_weather", {"city": name}, name) for name in ("Oslo", "Rome")]))
    said = await ask(of(upstream), TOOL_REQUEST, way)
    assert [call["id"] for call in said.message["tool_calls"]] == ["Oslo", "Rome"]
    assert said.calls == [("get_weather", {"city": "Oslo"}), ("get_weather", {"city": "Rome"})]


@pytest.mark.parametrize("way", WAYS)
async def test_an_image_is_sent_as_it_is(upstream: FakeOpenAI, way: str) -> None:
    said = await ask(of(upstream), shown("What is this?"), way)
    assert said.content == "Echo: What is this? [image]"
    assert upstream.last.body["messages"][0]["content"][1] == {"type": "image_url", "image_url": {"url": PNG}}


@pytest.mark.parametrize("way", EMBEDDING_WAYS)
async def test_embeddings(upstream: FakeOpenAI, way: str) -> None:
    answer = await embed(of(upstream, VECTORS), {"input": ["one", "two words"], "dimensions": 4}, way)
    assert [(item["index"], len(item["embedding"])) for item in answer["data"]] == [(0, 4), (1, 4)]
    assert (answer["object"], answer["usage"]["prompt_tokens"], answer["usage"]["total_tokens"]) == ("list", 3, 3)
    (got,) = upstream.requests
    assert got.raw_path == "/v1/embeddings"
    assert (got.headers["authorization"], got.headers["x-team"]) == (f"Bearer {UPSTREAM_KEY}", "red")
    assert (got.body["model"], got.body["input"], got.body["dimensions"]) == (
        "text-embedding-3-small",
        ["one", "two words"],
        4,
    )


@only_litellm
async def test_what_is_spoken_is_written_down(upstream: FakeOpenAI) -> None:
    sound = await transport.aspeak(of(upstream, "openai/tts-1"), {"input": "Good morning", "voice": "alloy"})
    spoken = {"file": ("a.mp3", sound.content, sound.content_type)}
    heard = await transport.atranscribe(of(upstream, "openai/whisper-1"), spoken)
    assert (sound.content_type, heard["text"]) == ("audio/mpeg", "Good morning")
    assert [got.raw_path for got in upstream.requests] == ["/v1/audio/speech", "/v1/audio/transcriptions"]
    for got in upstream.requests:
        assert (got.headers["authorization"], got.headers["x-team"]) == (f"Bearer {UPSTREAM_KEY}", "red")
    assert upstream.requests[0].body == {"model": "tts-1", "input": "Good morning", "voice": "alloy"}


@pytest.mark.parametrize("way", [*FAULT_WAYS, "aembed"])
async def test_a_wrong_key(upstream: FakeOpenAI, way: str) -> None:
    with pytest.raises(errors.AuthenticationError, match="OPENAI_API_KEY") as info:
        await call(of(upstream, MODELS[way], key="sk-wrong"), way)
    assert (info.value.status_code, info.value.code, len(upstream.requests)) == (401, "invalid_api_key", 1)
    check_text(info.value, "sk-wrong")


@pytest.mark.parametrize("way", [*FAULT_WAYS, "aembed"])
async def test_an_unknown_model(upstream: FakeOpenAI, way: str) -> None:
    with pytest.raises(errors.ModelNotFoundError, match="missing-model") as info:
        await call(of(upstream, "openai/missing-model"), way)
    assert (info.value.status_code, info.value.code) == (404, "model_not_found")
    check_text(info.value)


FAULTS: list[tuple[int, type[errors.LASError]]] = [
    (400, errors.BadRequestError),
    (403, errors.PermissionDeniedError),
    (408, errors.APITimeoutError),
    (429, errors.RateLimitError),
    (500, errors.APIError),
    (503, errors.ServiceUnavailableError),
]


@pytest.mark.parametrize("way", [*FAULT_WAYS, "aembed"])
@pytest.mark.parametrize(("status", "kind"), FAULTS)
async def test_faults(upstream: FakeOpenAI, status: int, kind: type[errors.LASError], way: str) -> None:
    upstream.enqueue(Reply(status=status, headers={"retry-after": "7"}))
    with pytest.raises(kind) as info:
        await call(of(upstream, MODELS[way]), way)
    error = info.value
    assert (error.status_code, error.retry_after, len(upstream.requests)) == (status, 7, 1)
    check_text(error, UPSTREAM_KEY)


@pytest.mark.parametrize(("after", "way"), [(0, "astream"), (1, "stream"), (4, "astream")])
async def test_a_stream_that_is_cut(upstream: FakeOpenAI, after: int, way: str) -> None:
    upstream.enqueue(Reply(content="a b c d e f", cut_after=after))
    error = await failure(of(upstream), asked("hello"), way)
    assert isinstance(error, errors.APIConnectionError)
    check_text(error)


@pytest.mark.parametrize("after", [1, 4])
async def test_an_error_in_a_stream(upstream: FakeOpenAI, after: int) -> None:
    fault = {"message": "The model fell over.", "type": "server_error", "param": None, "code": None}
    upstream.enqueue(Reply(content="a b c d e f", cut_after=after, error_event=fault))
    error = await failure(of(upstream), asked("hello"), "astream")
    assert isinstance(error, errors.APIError)
    assert "The model fell over." in str(error)
    check_text(error)


async def test_keys_and_addresses_come_from_the_variables(
    upstream: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = PROVIDERS["openai"]
    for name in row.base_url_variables:
        with monkeypatch.context() as variables:
            for other in row.base_url_variables:
                variables.delenv(other, raising=False)
            variables.setenv(name, upstream.url)
            variables.setenv("OPENAI_API_KEY", UPSTREAM_KEY)
            assert (await ask(target_of(MODEL), asked("hello"), "acomplete")).content == "Echo: hello"
        assert upstream.requests.pop().headers["authorization"] == f"Bearer {UPSTREAM_KEY}"


async def test_settings_come_before_the_variables(upstream: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong")
    assert (await ask(of(upstream), asked("hello"), "acomplete")).content == "Echo: hello"
