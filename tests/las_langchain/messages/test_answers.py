"""OpenAI's answers and streams as LangChain's messages: plain JSON inside, the same whole or in pieces."""

from __future__ import annotations

import copy
import json
import pickle
from functools import reduce
from operator import add
from typing import Any

import pytest
from hypothesis import given, strategies
from langchain_core.load import dumps, loads
from langchain_core.messages import AIMessage, AIMessageChunk

from las_langchain.messages import StreamState, chat_result, usage_metadata
from las_langchain.messages.blocks import content_blocks
from las_langchain.providers import Target

Json = dict[str, Any]
OPENAI = Target("openai", "gpt-4o", "openai/gpt-4o")
ANTHROPIC = Target("anthropic", "claude-sonnet-4-5", "anthropic/claude-sonnet-4-5")

RESPONSE: Json = {
    "id": "chatcmpl-1",
    "created": 1700000000,
    "model": "gpt-4o-2024-08-06",
    "system_fingerprint": "fp",
    "service_tier": "default",
    "choices": [
        {
            "index": 0,
            "finish_reason": "tool_calls",
            "logprobs": None,
            "message": {
                "content": None,
                "refusal": None,
                "reasoning_content": "why",
                "tool_calls": [
                    {"id": "1", "function": {"name": "f", "arguments": '{"a": 1}'}},
                    {"id": "2", "function": {"name": "g", "arguments": "{bro"}},
                    {"id": "3", "function": {"name": "h", "arguments": "[1]"}},
                    {"id": "4", "function": {"name": "i", "arguments": ""}},
                    {"id": "5", "function": {"name": "j", "arguments": "[" * 100_000}},
                ],
            },
        }
    ],
    "usage": {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 1, "cache_creation_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 2, "audio_tokens": 0},
    },
}


def message_of(response: Json, target: Target = OPENAI, output_version: str | None = None) -> AIMessage:
    message = chat_result(response, target, output_version).generations[0].message
    assert isinstance(message, AIMessage)
    return message


def answer(**message: Any) -> Json:
    return {**RESPONSE, "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "x", **message}}]}


def chunk(finish: str | None = None, index: int = 0, **delta: Any) -> Json:
    choice = {"index": index, "delta": delta, "finish_reason": finish, "logprobs": None}
    return {"id": "c1", "model": "m", "choices": [choice]}


def streamed(chunks: list[Json], target: Target = OPENAI, output_version: str | None = None) -> AIMessageChunk:
    state = StreamState(target, output_version)
    messages = [generation.message for one in chunks for generation in state.chunks(one)]
    end = AIMessageChunk([] if output_version == "v1" else "", chunk_position="last")
    total = reduce(add, [*messages, end])
    assert isinstance(total, AIMessageChunk)
    return total


@pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
def test_an_answer_becomes_a_message() -> None:
    message = message_of(RESPONSE)
    assert [(call["name"], call["args"]) for call in message.tool_calls] == [("f", {"a": 1}), ("i", {})]
    assert [call["name"] for call in message.invalid_tool_calls] == ["g", "h", "j"]
    assert message.additional_kwargs == {"reasoning_content": "why"}
    cost = message.response_metadata.pop("cost")
    assert cost == pytest.approx(4 * 2.5e-6 + 6 * 1.25e-6 + 5 * 1e-5, rel=0.5)
    assert message.response_metadata == {
        "id": "chatcmpl-1",
        "created": 1700000000,
        "model_name": "gpt-4o-2024-08-06",
        "model_provider": "openai",
        "system_fingerprint": "fp",
        "service_tier": "default",
        "finish_reason": "tool_calls",
    }
    assert message.usage_metadata == {
        "input_tokens": 10,
        "output_tokens": 5,
        "total_tokens": 15,
        "input_token_details": {"audio": 1, "cache_read": 4, "cache_creation": 2},
        "output_token_details": {"audio": 0, "reasoning": 2},
    }
    assert loads(dumps(message), allowed_objects="core") == message


def test_usage_may_be_missing_or_bare() -> None:
    assert usage_metadata(None) is None
    assert usage_metadata({"prompt_tokens": 3}) == {"input_tokens": 3, "output_tokens": 0, "total_tokens": 3}


def test_an_unknown_price_is_none_and_not_nothing() -> None:
    assert message_of(RESPONSE, Target("openai", "no-such", "openai/no-such")).response_metadata["cost"] is None
    assert message_of(RESPONSE, Target("local", "x", "local/x")).response_metadata["cost"] == 0


EVERYTHING = answer(
    reasoning_content="hm, ho",
    thinking_blocks=[
        {"type": "thinking", "thinking": "hm, ", "signature": "s1"},
        {"type": "redacted_thinking", "data": "zzz"},
        {"type": "thinking", "thinking": "ho", "signature": "s2"},
    ],
    annotations=[{"type": "url_citation", "url_citation": {"url": "https://x", "title": "t", "start_index": 0}}],
    citations=[{"type": "char_location", "cited_text": "c", "document_title": "d", "document_index": 0}],
    images=[{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}, "index": 0}],
    audio={"id": "a1", "data": "BBBB", "transcript": "said"},
    refusal="no",
    tool_calls=[
        {"id": "1", "function": {"name": "f", "arguments": "{}"}},
        {"id": "2", "function": {"name": "g", "arguments": "{bro"}},
    ],
)
BLOCKS = [
    {"type": "reasoning", "reasoning": "hm, ", "extras": {"signature": "s1"}},
    {"type": "non_standard", "value": {"type": "redacted_thinking", "data": "zzz"}},
    {"type": "reasoning", "reasoning": "ho", "extras": {"signature": "s2"}},
    {
        "type": "text",
        "text": "x",
        "annotations": [
            {"type": "citation", "url": "https://x", "title": "t", "start_index": 0},
            {
                "type": "citation",
                "cited_text": "c",
                "title": "d",
                "extras": {"type": "char_location", "document_index": 0},
            },
        ],
    },
    {"type": "image", "base64": "AAAA", "mime_type": "image/png"},
    {"type": "audio", "base64": "BBBB", "extras": {"id": "a1", "transcript": "said"}},
    {"type": "non_standard", "value": {"type": "refusal", "refusal": "no"}},
    {"type": "tool_call", "id": "1", "name": "f", "args": {}},
]


@pytest.mark.parametrize(
    "target", [OPENAI, ANTHROPIC, Target("groq", "m", "groq/m"), Target("mistral", "m", "mistral/m")]
)
@pytest.mark.parametrize("output_version", [None, "v1"])
@pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
def test_content_blocks_hold_all_of_an_answer(target: Target, output_version: str | None) -> None:
    message = message_of(EVERYTHING, target, output_version)
    blocks = message.content_blocks
    assert blocks[:-1] == BLOCKS
    assert blocks[-1]["type"] == "invalid_tool_call"
    assert message.text == "x"
    assert message.content == ("x" if output_version is None else blocks)
    assert (message.additional_kwargs == {}) is (output_version == "v1")
    for copied in (
        loads(dumps(message), allowed_objects="core"),
        pickle.loads(pickle.dumps(message)),
        copy.deepcopy(message),
        AIMessage(**json.loads(message.model_dump_json())),
    ):
        assert copied == message


THINKING = [
    chunk(
        role="assistant", content="", reasoning_content="hm", thinking_blocks=[{"type": "thinking", "thinking": "hm"}]
    ),
    chunk(reasoning_content=", ", thinking_blocks=[{"type": "thinking", "thinking": ", "}]),
    chunk(thinking_blocks=[{"type": "thinking", "thinking": "", "signature": "s1"}]),
    chunk(thinking_blocks=[{"type": "redacted_thinking", "data": "zzz"}]),
    chunk(reasoning_content="ho", thinking_blocks=[{"type": "thinking", "thinking": "ho"}]),
    chunk(thinking_blocks=[{"type": "thinking", "thinking": "", "signature": "s2"}]),
    chunk(content="x"),
    chunk(annotations=EVERYTHING["choices"][0]["message"]["annotations"]),
    chunk(citations=EVERYTHING["choices"][0]["message"]["citations"]),
    chunk(images=EVERYTHING["choices"][0]["message"]["images"]),
    chunk(audio={"id": "a1", "data": "BB"}),
    chunk(audio={"id": "a1", "data": "BB", "transcript": "said"}),
    chunk(refusal="n"),
    chunk(refusal="o"),
    chunk(tool_calls=[{"index": 0, "id": "1", "function": {"name": "f", "arguments": "{"}}]),
    chunk(tool_calls=[{"index": 0, "function": {"arguments": "}"}}]),
    chunk("tool_calls"),
    {"id": "c1", "model": "m", "choices": [], "usage": RESPONSE["usage"]},
]


@pytest.mark.parametrize("target", [OPENAI, ANTHROPIC])
@pytest.mark.parametrize("output_version", [None, "v1"])
def test_a_stream_merges_into_exactly_the_blocks_of_the_answer(target: Target, output_version: str | None) -> None:
    total = streamed(THINKING, target, output_version)
    blocks = [{key: value for key, value in block.items() if key != "index"} for block in total.content_blocks]
    assert blocks == BLOCKS
    assert total.usage_metadata == usage_metadata(RESPONSE["usage"])
    if output_version is None:
        whole = message_of(EVERYTHING, target)
        assert total.content == "x"
        assert total.additional_kwargs == whole.additional_kwargs


def test_thoughts_without_signature_end_where_something_else_begins() -> None:
    chunks = [
        chunk(thinking_blocks=[{"type": "thinking", "thinking": "h"}], reasoning_content="h"),
        chunk(thinking_blocks=[{"type": "thinking", "thinking": "m"}], reasoning_content="m"),
        chunk(content="x"),
        chunk("stop"),
    ]
    assert streamed(chunks).additional_kwargs["thinking_blocks"] == [{"type": "thinking", "thinking": "hm"}]
    assert streamed(chunks[:2] + chunks[3:]).additional_kwargs["thinking_blocks"][0]["thinking"] == "hm"


def test_text_after_a_tool_call_is_a_block_of_its_own() -> None:
    call = {"index": 0, "id": "1", "function": {"name": "f", "arguments": "{}"}}
    total = streamed([chunk(content="a"), chunk(tool_calls=[call]), chunk(content="b"), chunk("stop")], OPENAI, "v1")
    assert [block.get("text", block["type"]) for block in total.content_blocks] == ["a", "tool_call", "b"]


def test_candidates_stay_apart() -> None:
    call = {"index": 0, "id": "1", "function": {"name": "f", "arguments": "{"}}
    chunks = [
        chunk(role="assistant", content="a"),
        chunk(role="assistant", content="b", index=1),
        chunk(content="a"),
        chunk(tool_calls=[call], index=2),
        chunk(content="b", index=1),
        chunk(tool_calls=[{"index": 0, "function": {"arguments": "}"}}], index=2),
        chunk("stop"),
        chunk("stop", index=1),
        chunk("tool_calls", index=2),
    ]
    total = streamed(chunks)
    assert total.content == "aa"
    called = {"index": 0, "id": "1", "function": {"name": "f", "arguments": "{}"}}
    assert total.additional_kwargs["candidates"] == [
        {"index": 1, "role": "assistant", "content": "bb", "finish_reason": "stop"},
        {"index": 2, "tool_calls": [called], "finish_reason": "tool_calls"},
    ]


def test_calls_without_places_are_told_apart() -> None:
    calls = [{"id": str(n), "function": {"name": f"f{n}", "arguments": "{}"}} for n in range(2)]
    total = streamed([chunk(tool_calls=[calls[0]]), chunk(tool_calls=[calls[1]]), chunk("tool_calls")])
    assert [call["name"] for call in total.tool_calls] == ["f0", "f1"]


def test_calls_without_ids_get_one_and_repeated_names_count_once() -> None:
    function = {"name": "f", "arguments": ""}
    total = streamed(
        [chunk(tool_calls=[{"index": 0, "function": {**function, "arguments": "{}"}}]), chunk("tool_calls")]
    )
    assert total.tool_calls[0]["name"] == "f"
    assert total.tool_calls[0]["id"]
    pieces = ["{", "}"]
    repeated = [chunk(tool_calls=[{"index": 0, "id": "1", "function": {**function, "arguments": p}}]) for p in pieces]
    total = streamed([*repeated, chunk("tool_calls")])
    assert [(call["name"], call["args"], call["id"]) for call in total.tool_calls] == [("f", {}, "1")]


def test_calls_that_share_their_place_are_told_apart() -> None:
    calls = [{"index": 0, "id": str(n), "function": {"name": f"f{n}", "arguments": "{}"}} for n in range(2)]
    total = streamed([chunk(tool_calls=calls), chunk("tool_calls")], OPENAI, "v1")
    assert [call["name"] for call in total.tool_calls] == ["f0", "f1"]
    assert [block["type"] for block in total.content_blocks] == ["tool_call", "tool_call"]


def test_custom_tools_and_calls_without_a_name() -> None:
    calls = [
        {"id": "1", "type": "custom", "custom": {"name": "shell", "input": "ls"}},
        {"id": "2", "function": {"arguments": "{}"}},
    ]
    message = message_of(answer(tool_calls=calls))
    assert [(call["name"], call["args"]) for call in message.tool_calls] == [("shell", {"__arg1": "ls"})]
    assert message.invalid_tool_calls[0]["error"] == "the call names no tool"


def test_messages_of_others_of_a_provider_stay_as_they_were() -> None:
    chat_result(RESPONSE, OPENAI)
    others = AIMessage("x", additional_kwargs={"images": [{"url": "u"}], "reasoning_content": "hm"})
    others.response_metadata["model_provider"] = "openai"
    assert others.content_blocks == [{"type": "text", "text": "x"}]


def test_a_usage_said_twice_counts_once() -> None:
    usage = {"id": "c1", "model": "m", "choices": [], "usage": RESPONSE["usage"]}
    total = streamed([chunk(content="x"), usage, usage])
    assert total.usage_metadata is not None
    assert total.usage_metadata["total_tokens"] == 15


def test_messages_of_others_are_read_as_before() -> None:
    chat_result(RESPONSE, ANTHROPIC)
    others = AIMessage([{"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}}])
    others.response_metadata["model_provider"] = "anthropic"
    assert others.content_blocks == [{"type": "tool_call", "id": "1", "name": "f", "args": {"a": 1}}]


JSON_VALUES = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers() | strategies.text(),
    lambda inner: strategies.lists(inner, max_size=3) | strategies.dictionaries(strategies.text(), inner, max_size=3),
    max_leaves=6,
)


@given(
    strategies.text(), strategies.text(), strategies.dictionaries(strategies.text(), JSON_VALUES, max_size=3),
    strategies.sampled_from([None, "v1"]), strategies.data(),
)  # fmt: skip
def test_any_answer_streams_into_the_message_that_it_is_whole(
    reasoning: str, text: str, arguments: Json, output_version: str | None, data: Any
) -> None:
    encoded = json.dumps(arguments)
    cut = data.draw(strategies.integers(0, len(encoded)))
    call = {"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": encoded[:cut]}}
    total = streamed(
        [
            chunk(role="assistant", content=""),
            chunk(reasoning_content=reasoning),
            chunk(content=text),
            chunk(tool_calls=[call]),
            chunk(tool_calls=[{"index": 0, "function": {"arguments": encoded[cut:]}}]),
            chunk("tool_calls"),
            {"id": "c1", "model": "m", "choices": [], "usage": RESPONSE["usage"]},
        ],
        OPENAI,
        output_version,
    )
    whole = answer(
        content=text,
        reasoning_content=reasoning,
        tool_calls=[{"id": "1", "function": {"name": "f", "arguments": encoded}}],
    )
    expected = content_blocks(message_of(whole))
    blocks = [{key: value for key, value in block.items() if key != "index"} for block in total.content_blocks]
    assert blocks == expected
    assert total.text == text
    assert total.usage_metadata == usage_metadata(RESPONSE["usage"])
    assert total.response_metadata["model_provider"] == "openai"
