"""Whatever a client sends is read, or refused in one line that names the place."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from las_langchain.errors import BadRequestError
from servers.requests import validated
from servers.responses.calls import without_oldest
from servers.responses.items import checked_items, sealed, unsealed
from servers.responses.requests import chat_body, reading_of
from servers.responses.responding import page_of
from servers.responses.schemas import ResponseRequest
from tests.fake_openai_rules import check_chat
from tests.fake_server import Refusal

Json = dict[str, Any]

NAMES = st.sampled_from(
    "type role content text id call_id name arguments output input summary encrypted_content image_url detail "
    "file_data input_audio data format parameters strict tools mode schema namespace effort verbosity refusal "
    "definition syntax status odd".split()
)
WORDS = st.sampled_from(
    "message user assistant system input_text output_text refusal input_image input_file input_audio function_call "
    "function_call_output custom_tool_call custom_tool_call_output reasoning item_reference function custom namespace "
    "web_search mcp allowed_tools auto required none grammar lark json_schema json_object text low wav c1 f "
    "data:image/png;base64,AA reasoning_text summary_text".split()
)
VALUES = st.recursive(
    st.one_of(WORDS, WORDS, st.none(), st.booleans(), st.integers(-1, 3), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=5)),
    max_leaves=12,
)
ITEMS = st.dictionaries(NAMES, VALUES, min_size=1, max_size=6)
REQUESTS = st.fixed_dictionaries(
    {"model": st.just("m"), "input": st.one_of(st.text(max_size=3), st.lists(ITEMS, max_size=4))},
    optional={
        "tools": st.lists(ITEMS, max_size=3),
        "tool_choice": st.one_of(WORDS, ITEMS),
        "text": ITEMS,
        "reasoning": ITEMS,
        "include": st.lists(WORDS, max_size=2),
    },
)


def body_of(fields: Json) -> Json:
    asked = validated(ResponseRequest, fields)
    items = [item for item in checked_items(asked.input or []) if item["type"] != "item_reference"]
    return chat_body(reading_of(asked), items)


def outcome(fields: Json) -> tuple[Json, BadRequestError | None]:
    try:
        return body_of(fields), None
    except BadRequestError as error:
        return {}, error


@settings(max_examples=60)
@given(REQUESTS)
def test_any_request_is_read_or_refused(fields: Json) -> None:
    body, refusal = outcome(fields)
    if refusal is None:
        assert all(message["role"] for message in body["messages"])
        assert body["messages"]
    else:
        assert refusal.param
        assert "\n" not in refusal.message
        assert refusal.status_code == 400


TEXTS = st.text(min_size=1, max_size=5)
SPOKEN = st.one_of(
    st.builds(lambda text, role: [{"role": role, "content": text}], TEXTS, st.sampled_from(["user", "developer"])),
    st.builds(lambda text: [{"role": "assistant", "content": text}], TEXTS),
    st.builds(lambda text: [{"type": "reasoning", "content": [{"type": "reasoning_text", "text": text}]}], TEXTS),
)


@st.composite
def conversations(draw: st.DrawFn) -> list[Json]:
    """Well-formed ones, with parallel calls whose results come in any order, and ids that are used again."""
    items: list[Json] = []
    for _ in range(draw(st.integers(1, 4))):
        items += draw(SPOKEN)
        names = draw(st.lists(st.sampled_from(["c1", "c2", "c3"]), unique=True, max_size=3))
        kinds = [draw(st.sampled_from([("function_call", "arguments"), ("custom_tool_call", "input")])) for _ in names]
        items += [{"type": kind, "call_id": name, "name": "f", field: "{}"}
                  for name, (kind, field) in zip(names, kinds, strict=True)]  # fmt: skip
        results = [{"type": f"{kind}_output", "call_id": name, "output": draw(TEXTS)}
                   for name, (kind, _) in zip(names, kinds, strict=True)]  # fmt: skip
        items += draw(st.permutations(results))
    return [*items, {"role": "user", "content": "go on"}]


@given(conversations())
def test_well_formed_conversations_are_chats_that_openai_takes(items: list[Json]) -> None:
    body = body_of({"model": "m", "input": items})
    try:
        check_chat({"model": "gpt-4o", **body})
    except Refusal as refusal:
        pytest.fail(str(refusal))
    calls = [item["call_id"] for item in items if item.get("type", "").endswith("_call")]
    sent = [call["id"] for message in body["messages"] for call in message.get("tool_calls", ())]
    assert sent == calls
    said = [item["content"] for item in items if item.get("role") == "assistant"]
    told = [message["content"] for message in body["messages"] if message["role"] == "assistant" and message["content"]]
    assert "\n\n".join(told) == "\n\n".join(said)


@given(st.text())
def test_what_is_sealed_can_be_read_again(text: str) -> None:
    assert unsealed(sealed(text)) == text


@pytest.mark.parametrize("content", ["", "gAAAAABo", "las1.%%%", "las1.gA", "las1./w=="])
def test_what_others_have_sealed_does_no_harm(content: str) -> None:
    assert unsealed(content) is None


def test_the_oldest_turns_go_first() -> None:
    system: Json = {"role": "system", "content": "s"}
    turns = [[{"role": "user", "content": str(n)}, {"role": "assistant", "content": str(n)}] for n in range(5)]
    messages: list[Json] | None = [system, *(message for turn in turns for message in turn)]
    left = []
    while messages is not None:
        left.append([message["content"] for message in messages])
        messages = without_oldest(messages)
    assert left[1:] == [["s", "3", "3", "4", "4"], ["s", "4", "4"]]


def test_pages() -> None:
    items = [{"id": str(number)} for number in range(5)]
    first = page_of(items, after=None, limit=2, order="desc")
    assert ([item["id"] for item in first["data"]], first["has_more"]) == (["4", "3"], True)
    last = page_of(items, after="1", limit=3, order="asc")
    assert ([item["id"] for item in last["data"]], last["has_more"]) == (["2", "3", "4"], False)
    assert page_of([], after=None, limit=2, order="asc")["first_id"] is None
