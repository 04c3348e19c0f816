"""LangChain's messages as OpenAI's requests: every role, every kind of block, every provider's peculiarities."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

from las_langchain.errors import BadRequestError
from las_langchain.messages import to_openai

Json = dict[str, Any]


def one(message: Any, provider: str = "") -> Json:
    return to_openai([message], provider)[0]


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
PNG_GUESSED = "data:image/png;base64,iVBORw=="


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


PDF = "JVBERi0xLjQ="


@pytest.mark.parametrize(
    ("block", "provider", "expected"),
    [
        (
            {"type": "file", "base64": PDF, "mime_type": "application/pdf", "filename": "a.pdf"},
            "openai",
            {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}", "filename": "a.pdf"}},
        ),
        (
            {"type": "file", "source_type": "base64", "data": PDF, "mime_type": "application/pdf"},
            "openai",
            {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}", "filename": "file.pdf"}},
        ),
        (
            {"type": "file", "base64": "aGVsbG8=", "mime_type": "text/plain"},
            "anthropic",
            {"type": "text", "text": "hello"},
        ),
        (
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}},
            "anthropic",
            {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}", "filename": "file.pdf"}},
        ),
        ({"type": "file", "file_id": "file-1"}, "openai", {"type": "file", "file": {"file_id": "file-1"}}),
        (
            {"type": "image", "file_id": "file-1"},
            "anthropic",
            {"type": "file", "file": {"file_id": "file-1", "format": "image/png"}},
        ),
        (
            {"type": "file", "url": "https://x/a.pdf"},
            "anthropic",
            {"type": "file", "file": {"file_id": "https://x/a.pdf"}},
        ),
        (
            {"type": "video", "url": "https://x/a.mp4", "mime_type": "video/mp4"},
            "gemini",
            {"type": "file", "file": {"file_id": "https://x/a.mp4", "format": "video/mp4"}},
        ),
        (
            {"type": "file", "url": f"data:application/pdf;base64,{PDF}"},
            "openai",
            {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}", "filename": "file.pdf"}},
        ),
        ({"type": "image", "base64": "iVBORw=="}, "openai", {"type": "image_url", "image_url": {"url": PNG_GUESSED}}),
        (
            {"type": "image", "url": "https://x/y.png", "extras": {"detail": "low"}},
            "openai",
            {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
        ),
        ({"type": "image_url", "image_url": PNG}, "openai", {"type": "image_url", "image_url": {"url": PNG}}),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
            "openai",
            {"type": "image_url", "image_url": {"url": PNG}},
        ),
        (
            {
                "type": "image",
                "source": {"type": "url", "url": "https://x/y.png"},
                "cache_control": {"type": "ephemeral"},
            },
            "anthropic",
            {
                "type": "image_url",
                "image_url": {"url": "https://x/y.png"},
                "cache_control": {"type": "ephemeral"},
            },
        ),
        (
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}, "title": "t"},
            "openai",
            {"type": "text", "text": "words"},
        ),
        (
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}, "title": "t"},
            "anthropic",
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}, "title": "t"},
        ),
        (
            {"type": "audio", "url": "data:audio/mpeg;base64,AAAA"},
            "openai",
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
        ),
        (
            {"type": "text-plain", "text": "plain", "mime_type": "text/plain"},
            "openai",
            {"type": "text", "text": "plain"},
        ),
        ({"type": "non_standard", "value": {"type": "odd", "x": 1}}, "openai", {"type": "odd", "x": 1}),
    ],
)
def test_media_for_each_provider(block: Any, provider: str, expected: Json) -> None:
    assert one(HumanMessage([block]), provider)["content"] == [expected]


@pytest.mark.parametrize(
    ("block", "text"),
    [
        ({"type": "image"}, "needs url, base64 with mime_type, or file_id"),
        ({"type": "image", "base64": "AAAA"}, "needs its mime_type"),
        ({"type": "file", "base64": "/w==", "mime_type": "text/plain"}, "not base64 of UTF-8"),
        ({"type": "audio", "base64": "AAAA"}, "needs its mime_type"),
        ({"type": "file", "url": "https://x/a.pdf"}, "openai takes no file by address"),
        ({"type": "audio", "url": "https://x/a.wav"}, "openai takes no audio by address"),
    ],
)
def test_an_incomplete_block_says_what_it_lacks(block: Any, text: str) -> None:
    with pytest.raises(BadRequestError, match=text):
        one(HumanMessage([block]), "openai")


IMAGE = {"type": "image", "base64": "AAAA", "mime_type": "image/png"}


def test_media_of_tools_follow_as_the_users_where_tools_may_only_say_text() -> None:
    calls = [{"name": "see", "args": {}, "id": "1"}, {"name": "say", "args": {}, "id": "2"}]
    messages = [
        AIMessage("", tool_calls=calls),
        ToolMessage([{"type": "text", "text": "a picture"}, IMAGE], tool_call_id="1"),
        ToolMessage([IMAGE], tool_call_id="2"),
        HumanMessage("and?"),
    ]
    part = {"type": "image_url", "image_url": {"url": PNG}}
    sent = to_openai(messages, "openai")
    assert [message["role"] for message in sent] == ["assistant", "tool", "tool", "user", "user"]
    assert sent[1]["content"] == [{"type": "text", "text": "a picture"}]
    assert sent[2]["content"] == "The result follows."
    assert sent[3]["content"] == [
        {"type": "text", "text": "Result of the tool call 1:"},
        part,
        {"type": "text", "text": "Result of the tool call 2:"},
        part,
    ]
    assert to_openai(messages[:3], "openai")[-1]["role"] == "user"
    assert to_openai(messages, "anthropic")[1]["content"] == [{"type": "text", "text": "a picture"}, part]
    assert messages[1].content[1] == IMAGE  # type: ignore[index]


THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "s1"}
SECRET = {"type": "redacted_thinking", "data": "xyz"}


@pytest.mark.parametrize(
    "message",
    [
        AIMessage("x", additional_kwargs={"reasoning_content": "hm", "thinking_blocks": [THOUGHT, SECRET]}),
        AIMessage([THOUGHT, SECRET, {"type": "text", "text": "x"}]),
        AIMessage(
            [
                {"type": "reasoning", "reasoning": "hm", "extras": {"signature": "s1"}, "index": "lc_rs_1"},
                {"type": "non_standard", "value": SECRET},
                {"type": "text", "text": "x"},
            ]
        ),
    ],
)
def test_signed_thoughts_go_back_to_who_had_them(message: AIMessage) -> None:
    message.response_metadata["model_provider"] = "anthropic"
    sent = one(message, "anthropic")
    assert sent["thinking_blocks"] == [THOUGHT, SECRET]
    assert sent["reasoning_content"] == "hm"
    elsewhere = one(message, "openai")
    assert elsewhere.keys() == {"role", "content"}


def test_unsigned_reasoning_goes_back_as_text() -> None:
    message = AIMessage([{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "x"}])
    assert one(message, "deepseek")["reasoning_content"] == "hm"
    assert "thinking_blocks" not in one(message, "deepseek")


@pytest.mark.parametrize(
    "message",
    [
        AIMessage("", additional_kwargs={"refusal": "no"}),
        AIMessage([{"type": "non_standard", "value": {"type": "refusal", "refusal": "no"}}]),
    ],
)
def test_a_refusal_goes_back_as_the_provider_knows_it(message: AIMessage) -> None:
    assert one(message, "openai") == {"role": "assistant", "content": None, "refusal": "no"}
    assert one(message, "anthropic") == {"role": "assistant", "content": "no"}


def test_generated_images_go_back_where_they_are_taken() -> None:
    message = AIMessage([{"type": "text", "text": "here"}, IMAGE])
    assert one(message, "openai")["content"] == [{"type": "text", "text": "here"}]
    assert one(message, "gemini")["content"][1]["type"] == "image_url"


def test_what_other_integrations_answered_can_be_sent() -> None:
    anthropics = AIMessage(
        [{"type": "text", "text": "x", "citations": []}, {"type": "tool_use", "id": "1", "name": "f", "input": {}}],
        tool_calls=[{"name": "f", "args": {}, "id": "1"}],
    )
    sent = one(anthropics, "openai")
    assert sent["content"] == [{"type": "text", "text": "x"}]
    assert sent["tool_calls"][0]["function"]["name"] == "f"


@pytest.mark.parametrize(
    "block",
    [
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}},
        {"type": "executable_code", "executable_code": "1"},
        {"type": "image_generation_call", "result": "AAAA"},
    ],
)
def test_what_another_provider_did_on_its_side_is_left_out(block: Json) -> None:
    message = AIMessage([block, {"type": "output_text", "text": "x"}])
    assert one(message, "openai")["content"] == [{"type": "text", "text": "x"}]


def test_blocks_of_openais_and_googles_other_apis() -> None:
    blocks = [
        {"type": "input_text", "text": "x"},
        {"type": "input_image", "image_url": PNG, "detail": "low"},
        {"type": "media", "mime_type": "image/png", "data": "AAAA"},
        {"type": "text-plain", "base64": "aGVsbG8=", "mime_type": "text/plain"},
    ]
    part = {"type": "image_url", "image_url": {"url": PNG}}
    sent = one(HumanMessage(blocks), "openai")["content"]
    assert sent == [{"type": "text", "text": "x"}, part, part, {"type": "text", "text": "hello"}]


@pytest.mark.parametrize("output_version", [None, "v1"])
def test_what_was_said_aloud_goes_back(output_version: str | None) -> None:
    audio = {"id": "a1", "transcript": "hello"}
    message = AIMessage("", additional_kwargs={"audio": {**audio, "data": "AAAA"}})
    if output_version == "v1":
        message = AIMessage([{"type": "audio", "base64": "AAAA", "extras": audio}])
    assert one(message, "openai") == {"role": "assistant", "content": None, "audio": {"id": "a1"}}
    assert one(message, "gemini")["content"] == "hello"


@pytest.mark.parametrize(
    "block",
    [
        {"type": "text"},
        {"type": "image_url"},
        {"type": "non_standard"},
        {"type": "non_standard", "value": "x"},
        {"type": "document", "source": 5},
    ],
)
def test_malformed_blocks_are_bad_requests(block: Json) -> None:
    with pytest.raises(BadRequestError, match="content block"):
        one(HumanMessage([block]), "anthropic")


def test_arguments_that_are_no_json_are_bad_requests() -> None:
    call: Any = {"name": "f", "args": {"when": object()}, "id": "1"}
    with pytest.raises(BadRequestError, match="are not JSON"):
        one(AIMessage("", tool_calls=[call]))


def test_cache_control_of_a_whole_message_stays() -> None:
    message = ToolMessage("x", tool_call_id="1", additional_kwargs={"cache_control": {"type": "ephemeral"}})
    assert one(message, "anthropic")["cache_control"] == {"type": "ephemeral"}
