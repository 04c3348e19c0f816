"""What the tests of ``/v1/responses`` share: chats' answers as chunks, and checks by OpenAI's own classes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, get_args

from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

Json = dict[str, Any]

_EVENTS: dict[str, TypeAdapter[Any]] = {
    get_args(event.model_fields["type"].annotation)[0]: TypeAdapter(event)
    for event in get_args(get_args(ResponseStreamEvent)[0])
}
_RESPONSE = TypeAdapter(Response)


def checked_response(given: Json) -> Json:
    """*given*, which OpenAI's own class takes as strictly as it can."""
    _RESPONSE.validate_json(json.dumps(given), strict=True)
    missing = [name for name in ("created_at", "model", "output", "tools", "usage", "text") if name not in given]
    assert not missing
    return given


def checked_events(given: Sequence[Json]) -> list[Json]:
    """*given*, each of which OpenAI's own classes take, in one count from 0, with every item begun and ended once."""
    for event in given:
        _EVENTS[event["type"]].validate_json(json.dumps(event), strict=True)
    assert [event["sequence_number"] for event in given] == list(range(len(given)))
    assert [event["type"] for event in given[:2]] == ["response.created", "response.in_progress"]
    for event in given:
        if "response" in event:
            checked_response(event["response"])
    return list(given)


def folded(events: Iterable[Json]) -> list[Json]:
    """The output that a client makes of *events* without looking at the last one."""
    items: dict[int, Json] = {}
    for event in events:
        kind, index = event["type"], event.get("output_index", -1)
        if kind == "response.output_item.added":
            assert index == len(items)
            items[index] = json.loads(json.dumps(event["item"]))
            assert event["item"]["status"] == "in_progress"
        elif kind == "response.content_part.added":
            assert event["content_index"] == len(items[index]["content"])
            items[index]["content"].append(json.loads(json.dumps(event["part"])))
        elif kind == "response.reasoning_summary_part.added":
            assert event["summary_index"] == len(items[index]["summary"])
            items[index]["summary"].append(json.loads(json.dumps(event["part"])))
        elif kind.endswith(".delta"):
            _add(items[index], event)
        elif kind == "response.output_text.annotation.added":
            items[index]["content"][event["content_index"]]["annotations"].append(event["annotation"])
        elif kind == "response.output_item.done":
            items[index]["status"] = event["item"]["status"]
            if "encrypted_content" in event["item"]:
                items[index]["encrypted_content"] = event["item"]["encrypted_content"]
        if "item_id" in event:
            assert event["item_id"] == items[index]["id"]
    return [items[index] for index in sorted(items)]


def _add(item: Json, event: Json) -> None:
    match event["type"]:
        case "response.function_call_arguments.delta":
            item["arguments"] += event["delta"]
        case "response.custom_tool_call_input.delta":
            item["input"] += event["delta"]
        case "response.refusal.delta":
            item["content"][event["content_index"]]["refusal"] += event["delta"]
        case "response.reasoning_summary_text.delta":
            item["summary"][event["summary_index"]]["text"] += event["delta"]
        case _:
            part = item["content"][event["content_index"]]
            part["text"] += event["delta"]
            if "logprobs" in event:
                part["logprobs"] += event["logprobs"]


def parsed(text: str) -> list[Json]:
    """The events of a stream; their names on the wire are their types."""
    events = []
    for block in text.split("\n\n"):
        if block and not block.startswith(":"):
            name, data = block.split("\n")
            event = json.loads(data.removeprefix("data: "))
            assert name == f"event: {event['type']}"
            events.append(event)
    return events
