"""Routing by meaning and arguments under a grammar."""

from __future__ import annotations

import json
from typing import Any

import pytest

from las_langchain.errors import BadRequestError
from las_langchain.transports.local import tools

Json = dict[str, Any]


def function(name: str, description: str = "", **properties: Json) -> Json:
    """A tool with required *properties*."""
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


TEXT = {"type": "string"}
ONE = function("get_weather", "Get the weather", city=TEXT)
TWO = function("send_email", "Send an email", to=TEXT)


def by_first_letter(texts: list[str]) -> list[list[float]]:
    """Vectors that are nearest for texts with the same first letter."""
    return [[1.0 if ord(text[0].lower()) - 97 == index else 0.0 for index in range(26)] for text in texts]


def chosen(request: str, choice: Any = None, *offered: Json) -> str | None:
    body = {
        "messages": [{"role": "user", "content": request}],
        "tools": list(offered or (ONE, TWO)),
        "tool_choice": choice,
    }
    found = tools.choose_tool(body, by_first_letter)
    return found and found["name"]


def test_the_nearest_tool_is_chosen_unless_a_decoy_is_nearer() -> None:
    assert chosen("get it") == "get_weather"
    assert chosen("send it", "auto") == "send_email"
    assert chosen("hello") is None
    assert chosen("hello", "required") == "get_weather"
    assert chosen("send it", "none") is None
    assert chosen("hello", {"type": "function", "function": {"name": "send_email"}}) == "send_email"


def test_one_required_tool_needs_no_embedding() -> None:
    body = {"messages": [{"role": "user", "content": "x"}], "tools": [ONE], "tool_choice": "required"}
    assert tools.choose_tool(body, lambda texts: pytest.fail("asked for an embedding"))["name"] == "get_weather"


def test_after_a_tool_result_the_model_answers_unless_a_call_is_required() -> None:
    messages = [{"role": "user", "content": "get it"}, {"role": "tool", "tool_call_id": "1", "content": "5"}]
    assert tools.choose_tool({"messages": messages, "tools": [ONE]}, by_first_letter) is None
    required = {"messages": messages, "tools": [ONE], "tool_choice": "required"}
    assert tools.choose_tool(required, by_first_letter) is not None


@pytest.mark.parametrize(
    ("offered", "choice", "message"),
    [
        ([{"type": "function"}], "auto", "tools: each needs"),
        ([{"type": "retrieval", "function": {"name": "x"}}], "auto", "tools: each needs"),
        (["x"], "auto", "tools: each needs"),
        ([function("x", n={"type": "nonsense"})], "auto", "x: not a JSON schema"),
        ([{"type": "function", "function": {"name": "x", "parameters": True}}], "auto", "x: expected a text"),
        ([function("x", t={"$ref": "file:///etc/passwd"})], "auto", "x: not a JSON schema"),
        ([function("x", t={"$ref": "http://127.0.0.1:9/schema"})], "auto", "x: not a JSON schema"),
        ([{"type": "function", "function": {"name": "x", "parameters": {"type": "array"}}}], "auto", "are an object"),
        ([{"type": "function", "function": {"name": "x", "description": 5}}], "auto", "x: expected a text"),
        ([function("x", t={"type": "string", "pattern": "("})], "auto", "x: not a JSON schema"),
        ([function("x", t={"$ref": "#/$defs/nowhere"})], "auto", "x: not a JSON schema"),
        ("get_weather", "auto", "tools: expected a list"),
        ([ONE], ["auto"], "tool_choice: expected auto"),
        ([ONE], {"type": "function", "function": "get_weather"}, "names None"),
        ([ONE], "sometimes", "tool_choice: expected auto, none, required"),
        ([ONE], {"type": "function", "function": {"name": "other"}}, "names 'other', which is not among the tools"),
        ([], "required", "needs at least one tool"),
    ],
)
def test_malformed_tools_are_refused(offered: list[Any], choice: Any, message: str) -> None:
    with pytest.raises(BadRequestError, match=message):
        tools.choose_tool(
            {"messages": [{"role": "user", "content": "x"}], "tools": offered, "tool_choice": choice}, by_first_letter
        )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{\n "city": "Köln"}', '{"city": "Köln"}'),
        ('{"city": 5}', None),
        ('{"city": "Ber', None),
        ("[]", None),
        ("", None),
    ],
)
def test_only_valid_arguments_pass(text: str, expected: str | None) -> None:
    assert tools.checked_arguments(tools.offered({"tools": [ONE]})[0], text) == expected


def test_conversations_lose_their_tools_for_a_template_without_them() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "q"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "42"},
        {"role": "assistant", "content": "so", "tool_calls": [call]},
    ]
    plain = tools.without_tools(messages)
    assert [(message["role"], message["content"]) for message in plain[1:]] == [
        ("user", "Tool result: 42"),
        ("assistant", "so"),
    ]
    assert "tool_calls" not in json.dumps(plain)


def test_after_a_tool_result_the_callers_system_message_and_earlier_turns_stay() -> None:
    messages = [
        {"role": "system", "content": "Answer in French"},
        {"role": "user", "content": "I am Bob"},
        {"role": "assistant", "content": "Hello Bob"},
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]},
        {"role": "tool", "tool_call_id": "1", "content": "42"},
    ]
    system, *_, earlier, reply, question = tools.answer_messages(messages)
    assert system["content"].endswith("Answer in French")
    assert (earlier["content"], reply["content"]) == ("I am Bob", "Hello Bob")
    assert question == {"role": "user", "content": "q\n\nTool result: 42"}
