"""Events and whole answers say the same, whatever a model sends and in whichever pieces."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from las_langchain.errors import APIConnectionError, BadRequestError, RateLimitError
from servers.responses.answers import response_shell, with_answer
from servers.responses.custom_inputs import InputReader, custom_input
from servers.responses.items import checked_items
from servers.responses.messages import messages_of
from servers.responses.requests import Reading, reading_of
from servers.responses.schemas import ResponseRequest
from servers.responses.streams import ResponseEvents, encoded
from tests.servers.responses.wire import checked_events, checked_response, folded, parsed

Json = dict[str, Any]

TOOLS: list[Json] = [
    {"type": "function", "name": "add", "parameters": {"type": "object", "properties": {}}},
    {"type": "custom", "name": "patch"},
    {"type": "namespace", "name": "files", "description": "Files", "tools": [{"type": "function", "name": "read"}]},
]
ASKED = ResponseRequest(model="m", input="x", tools=TOOLS, include=["reasoning.encrypted_content"])
HEAD = {"id": "chatcmpl-1", "created": 1, "model": "m-1", "object": "chat.completion.chunk"}
LETTERS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=6)
TOKEN = {"token": "a", "bytes": None, "logprob": -0.5, "top_logprobs": [{"token": "b", "bytes": [98], "logprob": -1}]}


def reading(summary: str | None = None) -> Reading:
    return reading_of(ASKED.model_copy(update={"reasoning": {"summary": summary}}))


def chunk(delta: Json, finish_reason: str | None = None, logprobs: Json | None = None) -> Json:
    choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
    return {**HEAD, "choices": [choice]}


@st.composite
def calls(draw: st.DrawFn) -> list[tuple[str, list[str]]]:
    names = st.sampled_from(["add", "patch", "files__read", "made_up"])
    arguments = st.one_of(LETTERS, LETTERS.map(lambda text: json.dumps({"input": text})))
    return [(name, draw(pieces_of(draw(arguments)))) for name in draw(st.lists(names, max_size=3))]


@st.composite
def pieces_of(draw: st.DrawFn, text: str) -> list[str]:
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=3)))
    return [text[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@st.composite
def chunks(draw: st.DrawFn) -> list[Json]:
    """What a model thinks, says, refuses and calls, in any order, the calls in parallel."""
    deltas: list[tuple[Json, Json | None]] = [({"role": "assistant", "content": ""}, None)]
    deltas += [({"reasoning_content": text}, None) for text in draw(st.lists(LETTERS, max_size=3))]
    said = draw(st.lists(st.tuples(LETTERS, st.sampled_from([None, {"content": [TOKEN]}])), max_size=4))
    deltas += [({"content": text}, likely) for text, likely in said]
    deltas += [({"refusal": text}, None) for text in draw(st.lists(LETTERS, max_size=2))]
    queues = []
    for index, (name, pieces) in enumerate(draw(calls())):
        head = {"index": index, "id": f"call_{index}", "type": "function", "function": {"name": name, "arguments": ""}}
        rest = [{"index": index, "function": {"arguments": piece}} for piece in pieces]
        queues.append([{"tool_calls": [one]} for one in (head, *rest)])
    begun: list[list[Json]] = []
    while queues or begun:
        # Calls begin in their order, and go on in any.
        queue = draw(st.sampled_from([*begun, *queues[:1]]))
        if queue in queues[:1]:
            begun.append(queues.pop(0))
        deltas.append((queue.pop(0), None))
        begun = [one for one in begun if one]
    finish = draw(st.sampled_from(["stop", "length", "content_filter", "tool_calls"]))
    sent = [chunk(delta, None, likely) for delta, likely in deltas]
    usage = draw(st.sampled_from([None, {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "cost": 0.1}]))
    return [*sent, chunk({}, finish), *([{**HEAD, "choices": [], "usage": usage}] if usage else [])]


def merged(sent: list[Json]) -> Json:
    """The whole answer that *sent* are the chunks of."""
    texts: dict[str, str] = {"reasoning_content": "", "content": "", "refusal": ""}
    by_index: dict[int, Json] = {}
    logprobs: list[Json] = []
    finish = usage = None
    for one in sent:
        usage = one.get("usage") or usage
        for choice in one["choices"]:
            delta = choice["delta"]
            for name in texts:
                texts[name] += delta.get(name) or ""
            if delta.get("content") and choice["logprobs"]:
                logprobs += choice["logprobs"]["content"]
            for call in delta.get("tool_calls", ()):
                known = by_index.setdefault(call["index"], {"id": call.get("id"), "function": {"arguments": ""}})
                known["function"].setdefault("name", call["function"].get("name"))
                known["function"]["arguments"] += call["function"]["arguments"]
            finish = choice["finish_reason"] or finish
    message = {"role": "assistant", **texts, "tool_calls": [by_index[index] for index in sorted(by_index)]}
    choice = {"index": 0, "message": message, "logprobs": {"content": logprobs}, "finish_reason": finish}
    return {"id": "chatcmpl-1", "model": "m-1", "choices": [choice], "usage": usage}


def told(sent: list[Json], summary: str | None = None) -> list[Json]:
    events = ResponseEvents(response_shell(reading(summary), ASKED), reading(summary))
    lines = b"".join(encoded(events.of(one)) for one in sent) + encoded(events.end())
    return parsed((lines + encoded(events.last(events.response))).decode())


def without_ids(response: Json) -> Json:
    output = [{name: value for name, value in item.items() if name != "id"} for item in response["output"]]
    return {**response, "id": "", "created_at": 0, "completed_at": 0, "output": output}


def by_kind(output: list[Json]) -> list[Json]:
    return sorted(output, key=lambda item: ("reasoning", "message").index(item["type"]) if "content" in item else 2)


@settings(max_examples=40)
@given(chunks(), st.sampled_from([None, "auto", "none"]))
def test_events_fold_into_the_whole_answer(sent: list[Json], summary: str | None) -> None:
    events = checked_events(told(sent, summary))
    response = events[-1]["response"]
    assert folded(events) == response["output"]
    read = reading(summary)
    whole = checked_response(with_answer(response_shell(read, ASKED), read, merged(sent)))
    in_order = by_kind(whole["output"])
    assert without_ids({**response, "output": response["output"]}) == without_ids({**whole, "output": in_order})
    assert events[-1]["type"] == f"response.{whole['status']}"


@settings(max_examples=40)
@given(chunks(), st.sampled_from([None, "auto"]))
def test_an_answer_can_be_sent_back(sent: list[Json], summary: str | None) -> None:
    whole = with_answer(response_shell(reading(summary), ASKED), reading(summary), merged(sent))
    results = [
        {"type": f"{item['type']}_output", "call_id": item["call_id"], "output": "done"}
        for item in whole["output"]
        if item["type"].endswith("_call")
    ]
    messages = messages_of(checked_items([*whole["output"], *results, {"role": "user", "content": "and?"}]))
    answer = merged(sent)["choices"][0]["message"]
    assistant = [message for message in messages if message["role"] == "assistant"]
    names = [call["function"]["name"] for message in assistant for call in message.get("tool_calls", ())]
    assert names == [call["function"]["name"] for call in answer["tool_calls"]]
    said = "".join(message["content"] or "" for message in assistant)
    assert said == answer["content"] + answer["refusal"]
    if assistant:
        assert assistant[0].get("reasoning_content", "") == answer["reasoning_content"]


def test_thoughts_between_words_are_items_of_their_own() -> None:
    sent = [
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"reasoning_content": text}) for text in ("step ", "one")),
        chunk({"content": "Look"}),
        chunk({"reasoning_content": "step two"}),
        chunk({"content": "Done"}),
        chunk({}, "stop"),
    ]
    events = checked_events(told(sent))
    output = events[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["reasoning", "message"] * 2
    assert folded(events) == output
    ends = [event["output_index"] for event in events if event["type"] == "response.output_item.done"]
    assert ends == [0, 1, 2, 3]


def test_citations_that_come_late_are_not_lost() -> None:
    note = {"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "A", "end_index": 2}}
    call = {"index": 0, "id": "c", "function": {"name": "add", "arguments": "{}"}}
    sent = [chunk({"content": "Hi"}), chunk({"tool_calls": [call]}), chunk({"annotations": [note]}), chunk({}, "stop")]
    events = checked_events(told(sent))
    (cited,) = events[-1]["response"]["output"][0]["content"][0]["annotations"]
    assert cited == {
        "type": "url_citation",
        "url": "https://a.example",
        "title": "A",
        "start_index": 0,
        "end_index": 2,
    }
    assert [event["annotation"] for event in events if "annotation" in event] == [cited]


def test_calls_without_index_name_or_id_are_still_calls() -> None:
    sent = [chunk({"tool_calls": [{"function": {"arguments": "{}"}}]}), chunk({}, "tool_calls")]
    (item,) = checked_events(told(sent))[-1]["response"]["output"]
    assert (item["type"], item["name"], item["arguments"]) == ("function_call", "", "{}")
    assert item["call_id"].startswith("call_")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (APIConnectionError("It broke"), "server_error"),
        (RateLimitError("Too fast", code="slow_down"), "rate_limit_exceeded"),
        (BadRequestError("No", param="input"), "invalid_prompt"),
        (KeyError("a secret"), "server_error"),
    ],
)
@pytest.mark.parametrize("begun", [True, False])
def test_a_failure_ends_the_events_with_what_there_is(error: Exception, code: str, begun: bool) -> None:
    events = ResponseEvents(response_shell(reading(), ASKED), reading())
    before = events.of(chunk({"content": "Half"})) if begun else []
    sent = checked_events(parsed(encoded([*before, *events.failed(error)]).decode()))
    failure, last = sent[-2:]
    assert (failure["type"], last["type"], last["response"]["status"]) == ("error", "response.failed", "failed")
    assert last["response"]["error"]["code"] == code
    assert last["response"]["store"] is False
    assert "secret" not in json.dumps(sent)
    assert [item["status"] for item in last["response"]["output"]] == (["incomplete"] if begun else [])


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])), st.booleans(), st.data())
def test_custom_inputs_are_read_piece_by_piece(text: str, ascii_only: bool, data: st.DataObject) -> None:
    arguments = json.dumps({"input": text}, ensure_ascii=ascii_only)
    reader = InputReader()
    read = [reader.feed(piece) for piece in data.draw(pieces_of(arguments))]
    rest, whole = reader.end()
    assert "".join(read) + rest == whole == text


@given(st.text(alphabet='{"input:\\u dD8cC0aAn}', max_size=40), st.data())
def test_odd_custom_inputs_are_read_alike_in_pieces_and_whole(arguments: str, data: st.DataObject) -> None:
    for odd in (arguments, '{"input": "' + arguments):
        reader = InputReader()
        read = [reader.feed(piece) for piece in data.draw(pieces_of(odd))]
        rest, whole = reader.end()
        assert "".join(read) + rest == whole == custom_input(odd)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ('{"input": "a\\nb"}', "a\nb"),
        ('{"input": "cut off \\', "cut off "),
        ('{"patch": "x"}', "x"),
        ('{"a": 1, "input": "x"}', "x"),
        ('"x"', "x"),
        ("*** Begin Patch", "*** Begin Patch"),
        ('{"a": "x", "b": "y"}', '{"a": "x", "b": "y"}'),
        ('{"input": "\\ud83d\\ude00 \\ud83dx"}', "😀 �x"),
        (" " * 300 + '{"input": "x"}', "x"),
        ("", ""),
    ],
)
def test_custom_inputs_in_other_forms(arguments: str, text: str) -> None:
    assert custom_input(arguments) == text
