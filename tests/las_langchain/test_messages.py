"""The translations between LangChain's messages and OpenAI's dicts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies
from langchain_core.load import dumps, loads
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

from las_langchain.errors import BadRequestError
from las_langchain.messages import chat_result, generation_chunk, to_openai, usage_metadata

Json = dict[str, Any]


def one(message: Any) -> Json:
    return to_openai([message])[0]


def test_every_role_has_its_name() -> None:
    messages = [
        SystemMessage("s"),
        SystemMessage("d", additional_kwargs={"__openai_role__": "developer"}),
        HumanMessage("h", name="bob"),
        AIMessage("a"),
        ToolMessage("t", tool_call_id="1"),
        FunctionMessage("f", name="fn"),
        ChatMessage("c", role="critic"),
    ]
    assert [(message["role"], message["content"]) for message in to_openai(messages)] == [
        ("system", "s"),
        ("developer", "d"),
        ("user", "h"),
        ("assistant", "a"),
        ("tool", "t"),
        ("function", "f"),
        ("critic", "c"),
    ]
    assert to_openai(messages)[2]["name"] == "bob"
    assert to_openai(messages)[4]["tool_call_id"] == "1"


def test_a_message_that_is_none_is_refused() -> None:
    with pytest.raises(BadRequestError, match="RemoveMessage cannot be sent"):
        one(RemoveMessage(id="1"))


PNG = "data:image/png;base64,AAAA"


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("plain", {"type": "text", "text": "plain"}),
        ({"type": "text", "text": "x", "id": "lc_1", "index": 0}, {"type": "text", "text": "x"}),
        (
            {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}},
        ),
        ({"type": "image_url", "image_url": {"url": PNG}}, {"type": "image_url", "image_url": {"url": PNG}}),
        ({"type": "image", "url": "https://x/y.png"}, {"type": "image_url", "image_url": {"url": "https://x/y.png"}}),
        (
            {"type": "image", "base64": "AAAA", "mime_type": "image/png"},
            {"type": "image_url", "image_url": {"url": PNG}},
        ),
        (
            {"type": "image", "source_type": "base64", "data": "AAAA", "mime_type": "image/png"},
            {"type": "image_url", "image_url": {"url": PNG}},
        ),
        (
            {"type": "audio", "base64": "AAAA", "mime_type": "audio/wav"},
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        ),
    ],
)
def test_content_blocks(block: Any, expected: Json) -> None:
    assert one(HumanMessage([block]))["content"] == [expected]


def test_tool_calls_valid_and_broken_go_back() -> None:
    message = AIMessage(
        "",
        tool_calls=[{"name": "f", "args": {"city": "Köln"}, "id": "1", "type": "tool_call"}],
        invalid_tool_calls=[{"name": "g", "args": "{bro", "id": "2", "error": "x", "type": "invalid_tool_call"}],
    )
    assert one(message) == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"city": "Köln"}'}},
            {"id": "2", "type": "function", "function": {"name": "g", "arguments": "{bro"}},
        ],
    }


def test_what_only_an_answer_has_does_not_go_back_as_content() -> None:
    content = [
        {"type": "reasoning", "reasoning": "why"},
        {"type": "text", "text": "x"},
        {"type": "tool_call", "name": "f"},
    ]
    message = AIMessage(content, additional_kwargs={"reasoning_content": "why", "other": 1})
    assert one(message) == {
        "role": "assistant",
        "content": [{"type": "text", "text": "x"}],
        "reasoning_content": "why",
    }


RESPONSE: Json = {
    "id": "chatcmpl-1",
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
                ],
            },
        }
    ],
    "usage": {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 2, "audio_tokens": 0},
    },
}


@pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
def test_an_answer_becomes_a_message() -> None:
    message = chat_result(RESPONSE, "openai").generations[0].message
    assert isinstance(message, AIMessage)
    assert [(call["name"], call["args"]) for call in message.tool_calls] == [("f", {"a": 1}), ("i", {})]
    assert [call["name"] for call in message.invalid_tool_calls] == ["g", "h"]
    assert message.additional_kwargs == {"reasoning_content": "why"}
    assert message.response_metadata == {
        "id": "chatcmpl-1",
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
        "input_token_details": {"audio": 1, "cache_read": 4},
        "output_token_details": {"audio": 0, "reasoning": 2},
    }
    assert loads(dumps(message), allowed_objects="core") == message


def test_usage_may_be_missing_or_bare() -> None:
    assert usage_metadata(None) is None
    assert usage_metadata({"prompt_tokens": 3}) == {"input_tokens": 3, "output_tokens": 0, "total_tokens": 3}


JSON_VALUES = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers() | strategies.text(),
    lambda inner: strategies.lists(inner, max_size=3) | strategies.dictionaries(strategies.text(), inner, max_size=3),
    max_leaves=6,
)


@given(strategies.text(), strategies.dictionaries(strategies.text(), JSON_VALUES, max_size=3), strategies.data())
def test_any_answer_streams_into_the_message_that_it_is_whole(text: str, arguments: Json, data: Any) -> None:
    encoded = json.dumps(arguments)
    cut = data.draw(strategies.integers(0, len(encoded)))
    frame = {"id": "c1", "model": "m"}

    def delta(finish: str | None = None, **fields: Any) -> Json:
        return {**frame, "choices": [{"index": 0, "delta": fields, "finish_reason": finish, "logprobs": None}]}

    call = {"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": encoded[:cut]}}
    chunks = [
        delta(role="assistant", content=""),
        delta(content=text),
        delta(tool_calls=[call]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": encoded[cut:]}}]),
        delta("tool_calls"),
        {**frame, "choices": [], "usage": RESPONSE["usage"]},
    ]
    total = sum(
        (generation_chunk(chunk, "openai").message for chunk in chunks[1:]),
        generation_chunk(chunks[0], "openai").message,
    )
    assert isinstance(total, AIMessageChunk)
    assert total.content == text
    assert [(item["name"], item["args"], item["id"]) for item in total.tool_calls] == [("f", arguments, "1")]
    assert total.usage_metadata == usage_metadata(RESPONSE["usage"])
    assert total.response_metadata["model_provider"] == "openai"
