"""OpenAI's messages as LangChain's, and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, FunctionMessage, HumanMessage, SystemMessage, ToolMessage

from las_langchain.errors import BadRequestError
from las_langchain.messages import from_openai, to_openai

Json = dict[str, Any]
TEXT = st.text(min_size=1, max_size=20)
NAMED = st.fixed_dictionaries({}, optional={"name": TEXT})
TEXTS = st.lists(st.builds(lambda text: {"type": "text", "text": text}, TEXT), min_size=1, max_size=3)
MEDIA = st.sampled_from(
    [
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"}},
    ]
)
ARGUMENTS = st.dictionaries(TEXT, st.none() | st.booleans() | st.integers() | TEXT, max_size=3).map(
    lambda value: json.dumps(value, ensure_ascii=False)
) | st.sampled_from(['{"a": ', "[1]", "null", "x"])
CALL = st.builds(
    lambda identifier, name, arguments: {
        "id": identifier,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    },
    TEXT,
    TEXT,
    ARGUMENTS,
)


def _sorted(calls: list[Json]) -> list[Json]:
    """*calls* with those first whose arguments are an object, as LangChain keeps them."""
    return sorted(calls, key=lambda call: not call["function"]["arguments"].endswith("}"))


ASSISTANT = st.one_of(
    st.builds(lambda said, calls: {"content": said, "tool_calls": _sorted(calls)}, st.none() | TEXT,
              st.lists(CALL, min_size=1, max_size=3)),
    st.builds(lambda said, thought: {"content": said, "reasoning_content": thought}, TEXT | TEXTS, TEXT),
    st.builds(lambda refusal: {"content": None, "refusal": refusal}, TEXT),
)  # fmt: skip
MESSAGE = st.one_of(
    st.builds(lambda role, said, name: {"role": role, "content": said, **name},
              st.sampled_from(["system", "developer"]), TEXT | TEXTS, NAMED),
    st.builds(lambda said, name: {"role": "user", "content": said, **name},
              st.text() | st.lists(MEDIA | TEXTS.map(lambda parts: parts[0]), min_size=1, max_size=3), NAMED),
    st.builds(lambda said, name: {"role": "assistant", **said, **name}, ASSISTANT, NAMED),
    st.builds(lambda said, call: {"role": "tool", "content": said, "tool_call_id": call}, st.text() | TEXTS, TEXT),
    st.builds(lambda said, name: {"role": "function", "content": said, "name": name}, TEXT, TEXT),
)  # fmt: skip


@given(st.lists(MESSAGE, min_size=1, max_size=5))
def test_there_and_back_they_say_the_same(messages: list[Json]) -> None:
    assert to_openai(from_openai(messages), "openai") == messages


def test_they_are_langchains() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    broken = {"id": "c2", "type": "function", "function": {"name": "f", "arguments": "{"}}
    system, developer, human, answer, result, function = from_openai(
        [
            {"role": "system", "content": "S"},
            {"role": "developer", "content": "D"},
            {"role": "user", "content": "U", "name": "ada"},
            {"role": "assistant", "content": None, "tool_calls": [call, broken], "reasoning_content": "Hm."},
            {"role": "tool", "tool_call_id": "c1", "content": "R"},
            {"role": "function", "name": "g", "content": "F"},
        ]
    )
    assert isinstance(system, SystemMessage)
    assert isinstance(developer, SystemMessage)
    assert isinstance(human, HumanMessage)
    assert human.name == "ada"
    assert isinstance(answer, AIMessage)
    assert (answer.text, answer.tool_calls[0]["args"], answer.invalid_tool_calls[0]["id"]) == ("", {"a": 1}, "c2")
    assert answer.additional_kwargs == {"reasoning_content": "Hm."}
    assert isinstance(result, ToolMessage)
    assert isinstance(function, FunctionMessage)


def test_the_older_form_of_a_call_becomes_the_newer() -> None:
    _, answer, result = to_openai(
        from_openai(
            [
                {"role": "user", "content": "U"},
                {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"a": 1}'}},
                {"role": "function", "name": "f", "content": "R"},
            ]
        )
    )
    assert answer["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a": 1}'}
    assert (result["role"], result["tool_call_id"]) == ("tool", answer["tool_calls"][0]["id"])


@pytest.mark.parametrize("messages", [[], None, [7], [{"role": "user"}], [{"role": "tool", "content": "x"}]])
def test_what_is_no_message_is_refused(messages: Any) -> None:
    with pytest.raises(BadRequestError) as caught:
        from_openai(messages)
    assert caught.value.param.startswith("messages")
