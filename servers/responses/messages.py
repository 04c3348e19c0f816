"""Items as a chat's messages."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any

from las_langchain.errors import BadRequestError
from servers.responses.parts import chat_content, chat_part, said
from servers.responses.tools import joined

Json = dict[str, Any]

_OUTPUTS = ("function_call_output", "custom_tool_call_output")


def messages_of(items: Sequence[Json], instructions: str | None = None, *, continues: bool = False) -> list[Json]:
    """Checked *items* as messages.

    What a model thought, said and called in one turn is one message, and the results of its calls follow it at once,
    as chats have it. Thoughts that nothing was said or called after belong to no message.

    Args:
        items: from the oldest to the newest, without references.
        instructions: what the system says first.
        continues: whether the reader remembers what went before, so that results may be of calls that only it knows.

    Raises:
        BadRequestError: a result belongs to no call, or a call has no result.
    """
    result: list[Json] = [{"role": "system", "content": instructions}] if instructions else []
    turn = _Turn(_results(items))
    for item in items:
        if item["type"] in _OUTPUTS:
            result += turn.end()
            result += turn.left(item, continues=continues)
        elif item["type"] == "message" and item["role"] != "assistant":
            result += turn.end()
            result.append({"role": item["role"], "content": chat_content(item["content"])})
        else:
            turn.add(item)
    return result + turn.end()


def _results(items: Sequence[Json]) -> dict[str, deque[Json]]:
    """What the calls returned, by the calls' ids, which some models use again."""
    results: dict[str, deque[Json]] = defaultdict(deque)
    for item in items:
        if item["type"] in _OUTPUTS:
            results[item["call_id"]].append(item)
    return results


class _Turn:
    """What a model thinks, says and calls, until somebody else speaks."""

    def __init__(self, results: dict[str, deque[Json]]) -> None:
        self._results = results
        self._used: set[int] = set()
        self._thoughts: list[str] = []
        self._texts: list[str] = []
        self._calls: list[Json] = []

    def add(self, item: Json) -> None:
        if item["type"] == "reasoning":
            thoughts = item["content"] or item["summary"]
            self._thoughts += [part["text"] for part in thoughts]
        elif item["type"] == "message":
            self._texts.append("".join(map(said, item["content"])))
        else:
            self._calls.append(_chat_call(item))

    def left(self, output: Json, *, continues: bool) -> list[Json]:
        """The messages of an *output* of no call before it; none if it is of one."""
        if id(output) in self._used:
            return []
        if not continues:
            call_id = output["call_id"]
            raise BadRequestError(f"input: no tool call was found for the output with call_id {call_id}", param="input")
        message, media = _tool_message(output)
        return [message, {"role": "user", "content": media}] if media else [message]

    def end(self) -> list[Json]:
        """The messages of the turn, and the next one begins."""
        thoughts, texts, calls = self._thoughts, self._texts, self._calls
        self._thoughts, self._texts, self._calls = [], [], []
        if not texts and not calls:
            return []
        text = "\n\n".join(filter(None, texts))
        message: Json = {"role": "assistant", "content": text or (None if calls else "")}
        if thoughts:
            message["reasoning_content"] = "\n\n".join(thoughts)
        if calls:
            message["tool_calls"] = calls
        return [message, *self._tool_messages(calls)]

    def _tool_messages(self, calls: Sequence[Json]) -> list[Json]:
        messages: list[Json] = []
        media: list[Json] = []
        for call in calls:
            if not self._results[call["id"]]:
                raise BadRequestError(f"input: no output was found for the tool call {call['id']}", param="input")
            result = self._results[call["id"]].popleft()
            self._used.add(id(result))
            message, others = _tool_message(result)
            messages.append(message)
            media += others
        # Most providers read only text in a tool's answer.
        return [*messages, {"role": "user", "content": media}] if media else messages


def _tool_message(output: Json) -> tuple[Json, list[Json]]:
    """A tool's answer, and what of it a person must show."""
    call_id = output["call_id"]
    text, others = _split(output["output"])
    media = [{"type": "text", "text": f"Result of the tool call {call_id}:"}, *others] if others else []
    return {"role": "tool", "tool_call_id": call_id, "content": text}, media


def _split(output: str | list[Json]) -> tuple[str, list[Json]]:
    """The text of a tool's answer, and what else is in it."""
    if isinstance(output, str):
        return output, []
    others = [chat_part(part) for part in output if part["type"] != "input_text"]
    text = "\n".join(part["text"] for part in output if part["type"] == "input_text")
    return text or ("The result follows." if others else ""), others


def _chat_call(item: Json) -> Json:
    custom = item["type"] == "custom_tool_call"
    arguments = json.dumps({"input": item["input"]}, ensure_ascii=False) if custom else item["arguments"]
    name = joined(item["name"], item.get("namespace"))
    return {"id": item["call_id"], "type": "function", "function": {"name": name, "arguments": arguments}}
