"""What a span says of a call, as a collector gets it."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

import las_langchain
from las_langchain.callers import calling
from las_langchain.errors import APIError, RateLimitError
from las_langchain.records import CallRecord, Tokens
from las_langchain.tracing.contents import LONGEST, LONGEST_TEXT, input_messages, output_messages
from las_langchain.tracing.observer import Tracing
from tests.fake_collector import FakeCollector, attributes_of
from tests.las_langchain.tracing.calls import (
    ANSWER,
    REQUEST,
    SECRET,
    answered,
    chat_record,
    memory,
    opened,
    traced,
)


def test_a_chat_is_a_span_of_the_conventions(collector: FakeCollector) -> None:
    tracing = opened()
    with calling(key_id="key-0123456789ab", chain="agent", request_id="req_1"):
        record = chat_record()
    tracing.began(record, REQUEST)
    time.sleep(0.01)
    tracing.ended(answered(record), ANSWER)
    tracing.close()
    [span] = collector.spans
    assert span.name == "chat gpt-4o"
    assert span.kind == Span.SPAN_KIND_CLIENT
    assert span.status.code == Status.STATUS_CODE_UNSET
    assert span.end_time_unix_nano - span.start_time_unix_nano >= 10_000_000
    assert attributes_of(span) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.max_tokens": 100,
        "gen_ai.request.presence_penalty": 1.0,
        "gen_ai.request.frequency_penalty": -1.0,
        "gen_ai.request.seed": 7,
        "gen_ai.request.choice.count": 2,
        "gen_ai.request.reasoning.level": "low",
        "gen_ai.output.type": "json",
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.cache_write.input_tokens": 3,
        "gen_ai.usage.reasoning.output_tokens": 2,
        "las.call_id": record.id,
        "las.request_id": "req_1",
        "las.key_id": "key-0123456789ab",
        "las.chain": "agent",
        "las.status": "ok",
        "las.status_code": 200,
        "las.attempts": 1,
        "las.cache_hit": False,
        "las.cost_usd": 0.25,
    }
    scope = collector.exports[0].resource_spans[0].scope_spans[0].scope
    assert (scope.name, scope.version) == ("las_langchain", las_langchain.__version__)


def test_a_stream_tells_its_first_token(collector: FakeCollector) -> None:
    tracing, record = opened(), chat_record(stream=True)
    tracing.began(record, {})
    record.first_token_seconds = 0.125
    tracing.ended(answered(record), None)
    tracing.close()
    found = attributes_of(collector.spans[0])
    assert found["gen_ai.request.stream"] is True
    assert found["gen_ai.response.time_to_first_chunk"] == 0.125


def test_a_failure_is_an_error_with_its_code(collector: FakeCollector) -> None:
    tracing = opened()
    record = chat_record(attempts=3)
    tracing.began(record, {})
    record.ended("error", RateLimitError("Too many of them", provider="openai"))
    tracing.ended(record, None)
    tracing.close()
    [span] = collector.spans
    found = attributes_of(span)
    assert (span.status.code, span.status.message) == (Status.STATUS_CODE_ERROR, "rate_limit_exceeded")
    assert found["error.type"] == "rate_limit_exceeded"
    assert (found["las.status"], found["las.status_code"], found["las.attempts"]) == ("error", 429, 3)
    assert "gen_ai.response.finish_reasons" not in found


@pytest.mark.parametrize(
    ("status", "error"), [("error", APIError("The connection broke")), ("cancelled", asyncio.CancelledError())]
)
def test_an_answer_that_is_broken_off_finished_with_an_error(
    collector: FakeCollector, status: str, error: BaseException
) -> None:
    tracing, record = opened(), chat_record(stream=True)
    tracing.began(record, {})
    record.first_token_seconds = 0.5
    record.tokens, record.tokens_estimated = Tokens(prompt=9, completion=1), True
    record.ended(status, error)  # type: ignore[arg-type]
    tracing.ended(record, None)
    tracing.close()
    [span] = collector.spans
    found = attributes_of(span)
    assert found["gen_ai.response.finish_reasons"] == ["error"]
    assert found["las.tokens_estimated"] is True
    assert ("error.type" in found) == (status == "error")
    assert span.status.code == (Status.STATUS_CODE_ERROR if status == "error" else Status.STATUS_CODE_UNSET)
    assert found["las.status"] == status


def test_a_cached_answer_uses_no_tokens(collector: FakeCollector) -> None:
    tracing, record = opened(), chat_record()
    tracing.began(record, {})
    answered(record)
    record.cache_hit, record.cost_usd, record.attempts = True, 0.0, 0
    tracing.ended(record, ANSWER)
    tracing.close()
    found = attributes_of(collector.spans[0])
    assert (found["las.cache_hit"], found["las.cost_usd"], found["las.attempts"]) == (True, 0.0, 0)
    assert not [name for name in found if name.startswith("gen_ai.usage")]


def test_embeddings_and_speech_have_names_of_their_own(collector: FakeCollector) -> None:
    tracing = opened()
    embedding = CallRecord("embeddings", "small", "openai/text-embedding-3-small", tokens=Tokens(prompt=3))
    traced(tracing, embedding, {"input": [SECRET], "dimensions": 256, "encoding_format": "base64"})
    traced(tracing, CallRecord("speech", "openai/tts-1", "openai/tts-1"), {"input": SECRET})
    tracing.close()
    first, second = collector.spans
    assert (first.name, second.name) == ("embeddings text-embedding-3-small", "speech tts-1")
    found = attributes_of(first)
    assert found["gen_ai.operation.name"] == "embeddings"
    assert found["gen_ai.embeddings.dimension.count"] == 256
    assert found["gen_ai.request.encoding_formats"] == ["base64"]
    assert found["gen_ai.usage.input_tokens"] == 3
    assert "gen_ai.usage.output_tokens" not in found
    assert found["las.asked"] == "small"
    assert attributes_of(second)["gen_ai.output.type"] == "speech"
    assert SECRET not in str(collector.spans)


@pytest.mark.parametrize(
    ("model", "provider", "name"),
    [
        ("anthropic/claude-sonnet-5-5", "anthropic", "claude-sonnet-5-5"),
        ("gemini/gemini-2.0-flash", "gcp.gemini", "gemini-2.0-flash"),
        ("vertex_ai/gemini-2.0-flash", "gcp.vertex_ai", "gemini-2.0-flash"),
        ("bedrock/anthropic.claude-3", "aws.bedrock", "anthropic.claude-3"),
        ("azure/gpt-4", "azure.ai.openai", "gpt-4"),
        ("xai/grok-4", "x_ai", "grok-4"),
        ("openrouter/openai/gpt-4o", "openrouter", "openai/gpt-4o"),
        ("local/smollm2-135m-instruct", "local", "smollm2-135m-instruct"),
    ],
)
def test_providers_have_the_names_of_the_conventions(model: str, provider: str, name: str) -> None:
    users, exporter = memory()
    traced(Tracing(users), chat_record(model))
    [span] = exporter.get_finished_spans()
    assert span.attributes is not None
    assert span.attributes["gen_ai.provider.name"] == provider
    assert span.attributes["gen_ai.request.model"] == name
    assert span.name == f"chat {name}"


def test_a_fallback_is_named_in_the_place_of_the_model_that_was_asked_first() -> None:
    users, exporter = memory()
    tracing, record = Tracing(users), CallRecord("chat", "fast", "openai/gpt-4o")
    tracing.began(record, {})
    record.model = "groq/llama-3.3"
    tracing.ended(answered(record), None)
    [span] = exporter.get_finished_spans()
    assert span.attributes is not None
    assert span.name == "chat llama-3.3"
    assert span.attributes["gen_ai.provider.name"] == "groq"
    assert span.attributes["las.asked"] == "fast"


@pytest.mark.parametrize(
    "request_body", [{"temperature": "hot", "seed": True, "n": None, "top_p": float("nan"), "response_format": 3}, {}]
)
def test_what_is_no_number_is_left_out(request_body: dict, caplog: pytest.LogCaptureFixture) -> None:
    users, exporter = memory()
    traced(Tracing(users), chat_record(), request_body)
    assert not [name for name in exporter.get_finished_spans()[0].attributes or () if "request.t" in name]
    assert caplog.text == ""


def test_no_text_is_told_unless_prompts_are_logged(collector: FakeCollector) -> None:
    tracing = opened()
    traced(tracing, answered(chat_record()), REQUEST, ANSWER)
    tracing.close()
    assert SECRET not in str(collector.spans)
    assert "the answer" not in str(collector.spans)
    assert "no more" not in str(collector.spans)


def test_texts_are_told_where_prompts_are_logged(collector: FakeCollector) -> None:
    tracing = opened(log_prompts=True)
    traced(tracing, answered(chat_record()), REQUEST, ANSWER)
    tracing.log_prompts = False
    traced(tracing, answered(chat_record()), REQUEST, ANSWER)
    tracing.close()
    told, silent = map(attributes_of, collector.spans)
    assert json.loads(told["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": SECRET}]}
    ]
    assert json.loads(told["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "the answer"}], "finish_reason": "stop"}
    ]
    assert "gen_ai.input.messages" not in silent


def test_messages_take_the_form_of_the_conventions() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    broken = {"id": "call_2", "type": "function", "function": {"name": "add", "arguments": "{"}}
    messages = [
        {"role": "system", "content": "Be kind"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "See"},
                {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                {"type": "file", "file": {"file_id": "file-1"}},
                {"type": "odd", "odd": "thing"},
            ],
        },
        {"role": "assistant", "content": None, "reasoning_content": "Hm", "tool_calls": [call, broken]},
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "3"}]},
    ]
    assert json.loads(input_messages({"messages": messages}) or "") == [
        {"role": "system", "parts": [{"type": "text", "content": "Be kind"}]},
        {
            "role": "user",
            "parts": [
                {"type": "text", "content": "See"},
                {"type": "uri", "modality": "image", "uri": "https://x/y.png"},
                {"type": "left_out", "modality": "image"},
                {"type": "left_out", "modality": "audio"},
                {"type": "file", "modality": "document", "file_id": "file-1"},
                {"type": "odd"},
            ],
        },
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": "Hm"},
                {"type": "tool_call", "id": "call_1", "name": "add", "arguments": {"a": 1}},
                {"type": "tool_call", "id": "call_2", "name": "add", "arguments": "{"},
            ],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "call_1", "response": "3"}]},
    ]
    choices = [
        {"message": {"content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"},
        {"message": {"refusal": "No"}, "finish_reason": None},
    ]
    assert json.loads(output_messages({"choices": choices}) or "") == [
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "id": "call_1", "name": "add", "arguments": {"a": 1}}],
            "finish_reason": "tool_call",
        },
        {"role": "assistant", "parts": [{"type": "refusal", "content": "No"}], "finish_reason": "error"},
    ]
    assert input_messages({"input": "x"}) is None
    assert output_messages({"data": []}) is None


def test_long_texts_are_cut_and_the_oldest_messages_left_out() -> None:
    messages = [{"role": "user", "content": f"{number} " + "x" * 2 * LONGEST_TEXT} for number in range(20)]
    written = input_messages({"messages": messages}) or ""
    kept = json.loads(written)
    assert len(written) <= LONGEST
    assert kept[-1]["parts"][0]["content"].startswith("19 x")
    assert kept[-1]["parts"][0]["content"].endswith("more letters)")
    assert 1 < len(kept) < 20
    parts = [{"type": "text", "text": "y" * LONGEST_TEXT} for _ in range(10)]
    assert len(json.loads(input_messages({"messages": [{"role": "user", "content": parts}]}) or "")) == 1
