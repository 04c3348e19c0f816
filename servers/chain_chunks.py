"""What a chain yields, as the deltas of OpenAI's chunks."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any, Literal

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.tool import ToolCallChunk, tool_call_chunk
from langchain_core.runnables.utils import AddableDict

from chains.chain import Chain
from chains.steps import steps_of, thought_of

Json = dict[str, Any]
Steps = Literal["reasoning", "status", "off"]

_LONGEST_STEP = 300
"""Letters of the arguments that a step shows."""
STATUS = "status"
"""Key of a delta that is no delta but a step, for those who show these apart."""
_REASONS = {
    **dict.fromkeys(("length", "max_tokens", "MAX_TOKENS", "model_length"), "length"),
    **dict.fromkeys(("content_filter", "SAFETY", "refusal", "guardrail_intervened"), "content_filter"),
}
"""OpenAI's words for why an answer is not whole, by those of several providers."""


class Deltas:
    """Turns what one run yields into deltas.

    The tool calls of a run are its own, and clients would carry out what they are sent, so that they become steps;
    only calls of the client's tools are tool calls.

    Args:
        chain: whose run it is.
        steps: how steps are told.
        clients: the names of the client's tools.

    Attributes:
        finish_reason: why the answer ended, as far as the outputs say it.
        output: the sum of the outputs that are neither texts nor messages; None: there were none.
        is_question: whether the run waits for a person.
    """

    def __init__(self, chain: Chain, steps: Steps, clients: Collection[str] = ()) -> None:
        self._chain, self._steps, self._clients = chain, steps, clients
        self._places: dict[Any, int] = {}
        self._own: dict[Any, list[str]] = {}
        self._count = 0
        self.finish_reason: str | None = None
        self.output: Any = None
        self.is_question = False

    def of(self, part: Any) -> Iterator[Json]:
        """What *part* of the output adds to the answer."""
        if isinstance(part, str):
            yield from _if_any("content", part)
        elif isinstance(part, AIMessage):
            yield from self._said(part)
        elif isinstance(part, BaseMessage):
            yield from _if_any("content", str(part.text))
        elif part is not None:
            self.output = _added(self.output, part)

    def rest(self) -> Iterator[Json]:
        """What follows the last part: calls whose arguments are whole now, and an output that is no text."""
        if self.output is not None:
            yield from self._said(self._chain.to_message(self.output))
        for key in list(self._own):
            yield from self._made(key)

    def _said(self, message: AIMessage) -> Iterator[Json]:
        kept = message.additional_kwargs
        if (reason := _reason(message)) is not None:
            cut = cut_off(reason)
            self.finish_reason = cut or (self.finish_reason if self.finish_reason == "tool_calls" else None)
        self.is_question = self.is_question or bool(kept.get("interrupts"))
        if steps := steps_of(message):
            yield from self._stepped(thought_of(message), steps)
        else:
            yield from _if_any("reasoning_content", thought_of(message))
        yield from _if_any("content", str(message.text))
        yield from _if_any("refusal", kept.get("refusal"))
        for place, call in enumerate(_calls(message)):
            yield from self._called(call, place)

    def _stepped(self, text: str, steps: list[str]) -> Iterator[Json]:
        if self._steps == "reasoning":
            yield from _if_any("reasoning_content", text)
        elif self._steps == "status":
            yield from ({STATUS: step} for step in steps if step)

    def _called(self, call: ToolCallChunk, place: int) -> Iterator[Json]:
        key = call["index"] if call["index"] is not None else (call["id"], place)
        if call["name"]:
            yield from self._made(key)
            self._places.pop(key, None)
            if call["name"] not in self._clients:
                self._own[key] = [call["name"], call["args"] or ""]
                return
            self._places[key] = self._count
            self._count += 1
            self.finish_reason = "tool_calls"
            function = {"name": call["name"], "arguments": call["args"] or ""}
            entry = {"index": self._places[key], "id": call["id"], "type": "function", "function": function}
            yield {"tool_calls": [entry]}
        elif key in self._own:
            self._own[key][1] += call["args"] or ""
        elif key in self._places and call["args"]:
            yield {"tool_calls": [{"index": self._places[key], "function": {"arguments": call["args"]}}]}

    def _made(self, key: Any) -> Iterator[Json]:
        if (call := self._own.pop(key, None)) is not None:
            step = f"{call[0]}({call[1][:_LONGEST_STEP]})"
            yield from self._stepped(f"{step}\n", [step])


def cut_off(reason: str | None) -> str | None:
    """OpenAI's word for why an answer is not whole; None: it is."""
    return _REASONS.get(reason or "")


def _reason(message: AIMessage) -> str | None:
    known = message.response_metadata
    found = (known.get(name) for name in ("finish_reason", "stop_reason", "done_reason"))
    return next((reason for reason in found if isinstance(reason, str)), None)


def _if_any(name: str, text: Any) -> Iterator[Json]:
    if text:
        yield {name: text}


def _calls(message: AIMessage) -> list[ToolCallChunk]:
    if isinstance(message, AIMessageChunk):
        return message.tool_call_chunks
    valid = [(call["name"], json.dumps(call["args"], ensure_ascii=False), call["id"]) for call in message.tool_calls]
    broken = [(call["name"], call["args"], call["id"]) for call in message.invalid_tool_calls]
    return [tool_call_chunk(name=name, args=args, id=identifier) for name, args, identifier in [*valid, *broken]]


def _added(whole: Any, part: Any) -> Any:
    """*part* after *whole*, as LangChain adds them up."""
    if type(part) is dict:
        part = AddableDict(part)
    if whole is None:
        return part
    try:
        return whole + part
    except TypeError:
        return part


class Whole:
    """The deltas of an answer put together."""

    def __init__(self) -> None:
        self._texts: Json = {}
        self._calls: list[Json] = []

    def add(self, delta: Json) -> None:
        """Add what follows."""
        for name in ("content", "reasoning_content", "refusal"):
            if delta.get(name):
                self._texts.setdefault(name, []).append(delta[name])
        if STATUS in delta:
            # There are no events in a whole answer.
            self._texts.setdefault("reasoning_content", []).append(f"{delta[STATUS]}\n")
        for call in delta.get("tool_calls") or ():
            if "id" in call:
                self._calls.append({name: value for name, value in call.items() if name != "index"})
            else:
                function = self._calls[call["index"]]["function"]
                function["arguments"] += call["function"]["arguments"]

    def text(self, name: str = "content") -> str:
        """What was said, thought or refused."""
        return "".join(self._texts.get(name, ()))

    def message(self) -> Json:
        """The answer's message."""
        thought, refusal = self.text("reasoning_content"), self.text("refusal")
        return {
            "role": "assistant",
            "content": self.text() or (None if self._calls or refusal else ""),
            "refusal": refusal or None,
            **({"reasoning_content": thought} if thought else {}),
            **({"tool_calls": self._calls} if self._calls else {}),
        }
