"""The transport for every provider: what goes upstream, what comes back, and how faults look."""

from __future__ import annotations

import contextlib
import pickle
import re
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import litellm
import orjson
import pytest
from litellm.exceptions import InvalidRequestError

from las_langchain import errors
from las_langchain.providers import Target, resolve
from las_langchain.settings import load_settings
from las_langchain.transports.litellm import LiteLLMTransport
from tests.conftest import UPSTREAM_KEY
from tests.fake_openai import FakeOpenAI, Reply, ToolCall
from tests.las_langchain.transports.blocking import Blocking

BODY = {"messages": [{"role": "user", "content": "hello there"}]}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
transport = Blocking(LiteLLMTransport())


@pytest.fixture
def target(upstream: FakeOpenAI) -> Target:
    return resolve("openai/gpt-4o", load_settings(timeout=5, stream_timeout=5))


def test_an_answer_is_as_openai_sent_it(target: Target, upstream: FakeOpenAI) -> None:
    answer = transport.complete(target, BODY)
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "gpt-4o-2024-08-06"
    choice = answer["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": "Echo: hello there", "refusal": None}
    assert (choice["finish_reason"], choice["logprobs"]) == ("stop", None)
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]
    assert "provider_specific_fields" not in str(answer)


@pytest.mark.parametrize("count", [1, 2])
def test_every_chunk_names_the_model_and_the_tier_that_openai_named(
    target: Target, upstream: FakeOpenAI, count: int
) -> None:
    chunks = list(transport.stream(target, {**BODY, "n": count, "stream_options": {"include_usage": True}}))
    assert {(chunk["model"], chunk.get("service_tier")) for chunk in chunks} == {("gpt-4o-2024-08-06", "default")}


LIKELY = {"content": None, "refusal": [{"token": "no", "bytes": [110], "logprob": -1.0, "top_logprobs": []}]}
CALL = {"index": 0, "id": "call_1", "type": "custom"}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            {"delta": {"role": "assistant", "tool_calls": [{**CALL, "custom": {"name": "f", "input": ""}}]}},
            {"delta": {"tool_calls": [{"index": 0, "custom": {"input": "abc"}}]}},
        ),
        (
            {"delta": {"role": "assistant", "content": "", "function_call": {"name": "f", "arguments": ""}}},
            {"delta": {"function_call": {"arguments": "{}"}}},
        ),
        ({"delta": {"role": "assistant", "content": ""}}, {"delta": {"refusal": "no"}, "logprobs": LIKELY}),
    ],
)
def test_rare_deltas_come_as_openai_sent_them(target: Target, upstream: FakeOpenAI, first: Any, second: Any) -> None:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
    sent = [first, second, {"delta": {}, "finish_reason": "stop"}]
    events = [{**head, "choices": [{"index": 0, **choice}]} for choice in sent]
    raw = b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in events)
    upstream.enqueue(Reply(raw=raw + b"data: [DONE]\n\n", raw_type="text/event-stream"))
    choices = [chunk["choices"][0] for chunk in transport.stream(target, BODY) if chunk["choices"]]
    assert [choice["delta"] for choice in choices] == [choice["delta"] for choice in sent]
    assert choices[1].get("logprobs") == second.get("logprobs")


BROKE = "OpenAI: the connection broke before the answer was whole"
NO_ANSWER = "OpenAI sent what is no answer to such a request"


@pytest.mark.parametrize(
    ("odd", "texts", "vectors"),
    [
        (Reply(cut_after=0), BROKE, BROKE),
        (Reply(raw=b"<html>", raw_type="text/html"), NO_ANSWER, NO_ANSWER),
        (Reply(raw=b"{}"), "The provider's answer has no choices", "The provider's answer has no embeddings"),
        (Reply(status=408), "OpenAI: Request timed out.", "OpenAI: Request timed out."),
    ],
)
async def test_what_openai_did_is_told_as_it_was(
    target: Target, upstream: FakeOpenAI, odd: Reply, texts: str, vectors: str
) -> None:
    upstream.enqueue(odd, odd)
    with pytest.raises(errors.LASError, match=f"^{re.escape(texts)}$"):
        await transport.acomplete_text(target, {"prompt": "a"})
    with pytest.raises(errors.LASError, match=f"^{re.escape(vectors)}$"):
        await transport.aembed(target, {"input": "a"})


async def test_what_holds_no_words_and_no_sound_is_no_answer(target: Target, upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(raw=b"{}"), Reply(raw=b"", raw_type="audio/mpeg"))
    with pytest.raises(errors.APIError, match="has no text"):
        await transport.atranscribe(replace(target, model="whisper-1"), {"file": ("a.mp3", b"a", "audio/mpeg")})
    with pytest.raises(errors.APIError, match="empty sound"):
        async for _ in transport.astream_speech(replace(target, model="tts-1"), {"input": "a", "voice": "alloy"}):
            pass


def test_what_is_sent_is_what_was_asked_and_nothing_more(target: Target, upstream: FakeOpenAI) -> None:
    fields = {"temperature": 0.5, "top_p": 0.9, "seed": 3, "stop": ["x"], "user": "me", "metadata": {"a": "b"}}
    transport.complete(replace(target, headers={"x-team": "red"}), {**BODY, **fields})
    received = upstream.last
    assert received.path == "/v1/chat/completions"
    assert received.headers["authorization"] == f"Bearer {UPSTREAM_KEY}"
    assert received.headers["x-team"] == "red"
    assert received.body == {**BODY, **fields, "model": "gpt-4o"}


async def test_tools_pass_both_ways_plain_and_streamed(target: Target, upstream: FakeOpenAI) -> None:
    calls = [ToolCall("get_weather", '{"city": "Oslo"}', "c1"), ToolCall("get_weather", '{"city": "Rome"}', "c2")]
    for _ in range(3):
        upstream.enqueue(Reply(tool_calls=calls))
    body = {**BODY, "tools": [WEATHER], "tool_choice": "auto"}
    answer = transport.complete(target, body)
    assert [call["id"] for call in answer["choices"][0]["message"]["tool_calls"]] == ["c1", "c2"]
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    chunks = list(transport.stream(target, body))
    assert _joined_calls(chunks) == _joined_calls([chunk async for chunk in transport.astream(target, body)])
    assert _joined_calls(chunks) == {
        0: ("c1", "get_weather", '{"city": "Oslo"}'),
        1: ("c2", "get_weather", '{"city": "Rome"}'),
    }
    assert upstream.last.body["tools"] == [WEATHER]
    assert "_skip_mcp_handler" not in upstream.last.body


async def test_streams_begin_with_the_role_and_end_with_usage_alone(target: Target, upstream: FakeOpenAI) -> None:
    body = {**BODY, "stream_options": {"include_usage": True}}
    upstream.enqueue(Reply(content="a b c", reasoning="why"), Reply(content="a b c", reasoning="why"))
    for chunks in (list(transport.stream(target, body)), [chunk async for chunk in transport.astream(target, body)]):
        assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        assert len({chunk["id"] for chunk in chunks}) == 1
        assert chunks[-1]["choices"] == []
        assert chunks[-1]["usage"]["completion_tokens"] > 0
        assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
        assert "".join(delta.get("content", "") for delta in deltas) == "a b c"
        assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "why"


def test_refusals_stay_where_openai_puts_them(target: Target, upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(refusal="I won't"))
    message = transport.complete(target, BODY)["choices"][0]["message"]
    assert (message["refusal"], message["content"]) == ("I won't", None)


async def test_embeddings(target: Target, upstream: FakeOpenAI) -> None:
    target = resolve("openai/text-embedding-3-small", load_settings())
    answer = transport.embed(target, {"input": ["a", "b"], "dimensions": 4})
    assert [len(item["embedding"]) for item in answer["data"]] == [4, 4]
    assert upstream.last.body["dimensions"] == 4
    assert (await transport.aembed(target, {"input": ["a", "b"], "dimensions": 4}))["data"] == answer["data"]


ERRORS: list[tuple[int, type[errors.LASError], type[Exception]]] = [
    (400, errors.BadRequestError, InvalidRequestError),
    (400, errors.BadRequestError, litellm.BadRequestError),
    (401, errors.AuthenticationError, litellm.AuthenticationError),
    (403, errors.PermissionDeniedError, litellm.PermissionDeniedError),
    (404, errors.ModelNotFoundError, litellm.NotFoundError),
    (429, errors.RateLimitError, litellm.RateLimitError),
    (500, errors.APIError, litellm.InternalServerError),
    (503, errors.ServiceUnavailableError, litellm.ServiceUnavailableError),
]


@pytest.mark.parametrize(("status", "kind", "theirs"), ERRORS)
async def test_errors_are_ours_and_litellms(
    target: Target, upstream: FakeOpenAI, status: int, kind: type[errors.LASError], theirs: type[Exception]
) -> None:
    reply = Reply(status=status, headers={"retry-after": "7"})
    upstream.enqueue(reply, reply, reply, reply)
    raised = [_raised(lambda: transport.complete(target, BODY)), _raised(lambda: list(transport.stream(target, BODY)))]
    raised.append(await _araised(transport.acomplete(target, BODY)))
    raised.append(await _araised(anext(transport.astream(target, BODY))))
    for error in raised:
        assert isinstance(error, kind)
        assert isinstance(error, theirs)
        assert (error.status_code, error.retry_after, error.provider) == (status, 7, "openai")
        assert "\n" not in str(error)
        assert "litellm" not in str(error)
        assert UPSTREAM_KEY not in str(error)
        assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_prompt_that_is_too_long_is_its_own_error(target: Target, upstream: FakeOpenAI) -> None:
    text = "This model's maximum context length is 8 tokens."
    upstream.enqueue(Reply(status=400, error={"message": text, "code": "context_length_exceeded"}))
    error = _raised(lambda: transport.complete(target, BODY))
    assert isinstance(error, errors.ContextWindowExceededError)
    assert isinstance(error, litellm.ContextWindowExceededError)
    assert error.code == "context_length_exceeded"


def test_keys_that_the_provider_echoes_are_removed(target: Target, upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(status=400, error={"message": f"bad key {UPSTREAM_KEY} or sk-proj-abcdefgh12345678"}))
    text = str(_raised(lambda: transport.complete(target, BODY)))
    assert "***" in text
    assert "abcdefgh" not in text
    assert UPSTREAM_KEY not in text


def test_a_key_in_the_code_or_the_param_of_an_error_is_removed(target: Target, upstream: FakeOpenAI) -> None:
    wrong = {"message": "No", "type": "x", "param": f"key {UPSTREAM_KEY}", "code": f"bad {UPSTREAM_KEY}"}
    upstream.enqueue(Reply(status=400, error=wrong))
    with pytest.raises(errors.BadRequestError) as error:
        transport.complete(target, BODY)
    assert (error.value.param, error.value.code) == ("key ***", "bad ***")
    assert UPSTREAM_KEY not in repr(error.value.__dict__)


def _in_an_hour() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "bounds"),
    [
        ({"retry-after-ms": "1500", "retry-after": "9"}, (1.5, 1.5)),
        ({"retry-after": "2.5"}, (2.5, 2.5)),
        ({"retry-after": _in_an_hour()}, (1, 3600)),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, (0, 0)),
    ],
)
def test_when_to_come_back_is_understood_in_every_form(
    target: Target, upstream: FakeOpenAI, headers: dict[str, str], bounds: tuple[float, float]
) -> None:
    upstream.enqueue(Reply(status=429, headers=headers))
    with pytest.raises(errors.RateLimitError) as error:
        transport.complete(target, BODY)
    assert error.value.retry_after is not None
    assert bounds[0] <= error.value.retry_after <= bounds[1]


@pytest.mark.parametrize("value", ["soon", "nan", "inf", "Wed, 99 Foo"])
def test_what_says_no_time_is_no_time(target: Target, upstream: FakeOpenAI, value: str) -> None:
    upstream.enqueue(Reply(status=429, headers={"retry-after": value}))
    with pytest.raises(errors.RateLimitError) as error:
        transport.complete(target, BODY)
    assert error.value.retry_after is None


@pytest.mark.parametrize("after", [1, 3, 5])
async def test_a_cut_stream_is_never_taken_for_whole(target: Target, upstream: FakeOpenAI, after: int) -> None:
    upstream.enqueue(*[Reply(content="a b c d e f g h", cut_after=after)] * 2)
    assert isinstance(_raised(lambda: list(transport.stream(target, BODY))), errors.APIConnectionError)
    with pytest.raises(errors.APIConnectionError):
        _ = [chunk async for chunk in transport.astream(target, BODY)]


async def test_a_provider_that_hangs_is_a_timeout(target: Target, upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(hang=True), Reply(hang=True), *[Reply(hang=True, cut_after=2)] * 2)
    quick = replace(target, timeout=0.4, stream_timeout=0.4)
    begin = time.monotonic()
    assert isinstance(_raised(lambda: transport.complete(quick, BODY)), errors.APITimeoutError)
    assert isinstance(await _araised(transport.acomplete(quick, BODY)), errors.APITimeoutError)
    with pytest.raises(errors.APITimeoutError, match="LAS_STREAM_TIMEOUT"):
        _ = [chunk async for chunk in transport.astream(quick, BODY)]
    with pytest.raises(errors.APITimeoutError, match="LAS_STREAM_TIMEOUT"):
        list(transport.stream(quick, BODY))
    assert time.monotonic() - begin < 10


def test_an_unreachable_server_says_what_to_start() -> None:
    target = resolve("ollama/llama3.2", load_settings(providers={"ollama": {"base_url": "http://127.0.0.1:9"}}))
    error = _raised(lambda: transport.complete(target, BODY))
    assert isinstance(error, errors.APIConnectionError)
    assert str(error) == "Ollama does not answer at http://127.0.0.1:9: start it, or set OLLAMA_BASE_URL"


@pytest.mark.parametrize("name", ["api_base", "model_list", "mock_response", "custom_llm_provider", "temprature"])
def test_what_is_no_request_field_never_reaches_litellm(target: Target, upstream: FakeOpenAI, name: str) -> None:
    error = _raised(lambda: transport.complete(target, {**BODY, name: "x"}))
    assert isinstance(error, errors.BadRequestError)
    assert error.param == name
    assert upstream.requests == []


def test_no_messages_are_refused(target: Target) -> None:
    assert "at least one message" in str(_raised(lambda: transport.complete(target, {"messages": []})))


def _raised(call: Any) -> Any:
    with pytest.raises(errors.LASError) as info:
        call()
    return info.value


async def _araised(call: Any) -> Any:
    with pytest.raises(errors.LASError) as info:
        await call
    return info.value


def _joined_calls(chunks: list[dict[str, Any]]) -> dict[int, tuple[str, str, str]]:
    calls: dict[int, tuple[str, str, str]] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            for piece in choice["delta"].get("tool_calls", ()):
                identifier, name, arguments = calls.get(piece["index"], ("", "", ""))
                function = piece["function"]
                calls[piece["index"]] = (
                    identifier + piece.get("id", ""),
                    name + function.get("name", ""),
                    arguments + function.get("arguments", ""),
                )
    return calls


SELF_HOSTED = ["custom_openai", "hosted_vllm", "litellm_proxy", "lm_studio", "xinference"]


@pytest.mark.parametrize("provider", SELF_HOSTED)
async def test_what_has_no_address_does_not_go_to_openai(upstream: FakeOpenAI, provider: str) -> None:
    own_key = resolve(f"{provider}/gpt-4o", load_settings(providers={provider: {"api_key": "own"}}))
    for target in (own_key, resolve(f"{provider}/gpt-4o", load_settings())):
        with pytest.raises(errors.BadRequestError, match=f"No address for {provider}: set {provider.upper()}_API_BASE"):
            transport.complete(target, BODY)
        with pytest.raises(errors.BadRequestError, match="No address"):
            await transport.aembed(target, {"input": "x"})
    assert not upstream.requests


@pytest.mark.parametrize("provider", [*SELF_HOSTED, "ai21", "cerebras", "fireworks_ai", "gmi", "mistral", "vllm"])
async def test_the_key_of_openai_goes_to_nobody_else(upstream: FakeOpenAI, provider: str) -> None:
    target = resolve(f"{provider}/gpt-4o", load_settings(providers={provider: {"base_url": upstream.url}}))
    for call in (transport.acomplete(target, BODY), transport.aembed(target, {"input": "x"})):
        with contextlib.suppress(errors.LASError):  # some do not embed, and the double knows one key only
            await call
    sent = [request.headers.get("authorization", "") for request in upstream.requests]
    assert sent
    assert not any(UPSTREAM_KEY in header for header in sent)


def test_a_provider_without_a_key_names_its_variable(upstream: FakeOpenAI) -> None:
    with pytest.raises(errors.AuthenticationError, match="No key for cerebras: set CEREBRAS_API_KEY"):
        transport.complete(resolve("cerebras/llama3.1-8b", load_settings()), BODY)
    with pytest.raises(errors.AuthenticationError, match="No key for scx-ai: set SCX_AI_API_KEY"):
        transport.complete(resolve("scx-ai/gpt-4o", load_settings()), BODY)


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([], "messages"),
        ("hi", "messages"),
        (["hi"], "messages[0]"),
        ([{"content": "x"}], "messages[0].role"),
        ([{"role": "robot", "content": "x"}], "messages[0].role"),
        ([{"role": "user"}], "messages[0].content"),
        ([{"role": "user", "content": 5}], "messages[0].content"),
        ([{"role": "user", "content": ["x"]}], "messages[0].content[0]"),
        ([{"role": "assistant", "tool_calls": [5]}], "messages[0].tool_calls"),
    ],
)
def test_malformed_messages_are_not_sent(target: Target, upstream: FakeOpenAI, messages: Any, param: str) -> None:
    with pytest.raises(errors.BadRequestError) as error:
        transport.complete(target, {"messages": messages})
    assert error.value.param == param
    assert not upstream.requests


@pytest.mark.parametrize(
    "words", ["The parameter foo is not known", "Your trial has timed out", "Connection reset by you"]
)
def test_the_words_of_a_refusal_do_not_make_it_another_failure(
    target: Target, upstream: FakeOpenAI, words: str
) -> None:
    upstream.enqueue(Reply(status=400, error={"message": words, "type": "invalid_request_error"}))
    with pytest.raises(errors.BadRequestError, match=words):
        transport.complete(target, BODY)
