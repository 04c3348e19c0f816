"""From the engine's chunks to OpenAI's: pure state, fed by the sync and the async loop alike."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from las_langchain.errors import APIConnectionError, APIError
from las_langchain.transports.local import tools

Json = dict[str, Any]

ARGUMENT_TRIES = 3


class TextAnswer:
    """An answer in words (or in the model's own tool calls).

    Args:
        model: the model's id.
        body: what to ask the engine.
    """

    def __init__(self, model: str, body: Json) -> None:
        self.body = body
        self._frame = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
        }
        self._begun: set[int] = set()
        self._finished: set[int] = set()
        self._usages: list[Json] = []
        self._timings: Json | None = None

    def bodies(self) -> Iterator[Json]:
        """What to ask the engine, one after the other; every chunk of an answer goes to :meth:`feed`."""
        yield self.body

    def feed(self, chunk: Json) -> Iterator[Json]:
        """Yield what to pass on for one *chunk* of the engine's."""
        self.account(chunk)
        for choice in chunk.get("choices", ()):
            yield from self._choice(choice)

    def end(self) -> Iterator[Json]:
        """Yield the last chunk: the usage of the whole call.

        Raises:
            APIConnectionError: the engine stopped before the answer was whole.
        """
        if not self._begun or self._begun != self._finished:
            raise APIConnectionError("The local engine stopped before the answer was whole", provider="local")
        yield self._last()

    def account(self, chunk: Json) -> None:
        """Take note of what *chunk* says about usage; with n > 1 every choice has its own."""
        if chunk.get("usage"):
            self._usages.append(chunk["usage"])
            self._timings = chunk.get("timings", self._timings)

    def emit(self, index: int, delta: Json, finish_reason: str | None = None, logprobs: Json | None = None) -> Json:
        """One chunk with one choice."""
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        return {**self._frame, "choices": [choice]}

    def _choice(self, choice: Json) -> Iterator[Json]:
        index, delta, finish_reason = choice["index"], choice.get("delta", {}), choice.get("finish_reason")
        if index not in self._begun:
            self._begun.add(index)
            yield self.emit(index, {"role": "assistant", "content": ""})
        delta = {key: value for key, value in delta.items() if key != "role" and value is not None}
        if delta or finish_reason:
            yield self.emit(index, delta, finish_reason, choice.get("logprobs"))
        if finish_reason:
            self._finished.add(index)

    def _last(self) -> Json:
        prompt = self._usages[0]["prompt_tokens"] if self._usages else 0
        completion = sum(usage["completion_tokens"] for usage in self._usages)
        cached = self._usages[0].get("prompt_tokens_details", {}).get("cached_tokens", 0) if self._usages else 0
        usage = {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": cached},
        }
        timings = {"timings": self._timings} if self._timings else {}
        return {**self._frame, "choices": [], "usage": usage, **timings}


class ToolAnswer(TextAnswer):
    """One call of *function*, its arguments written under a grammar and checked before anything is passed on.

    Args:
        model: the model's id.
        body: what to ask the engine if there is no valid call and the caller does not insist on one.
        function: the function to call.
        request: what the user asked.
        required: whether the caller insists.
    """

    def __init__(self, model: str, body: Json, function: Json, request: str, *, required: bool) -> None:
        super().__init__(model, body)
        self._function = function
        self._request = request
        self._required = required
        self._text = ""
        self._arguments: str | None = None
        self._in_words = False

    def bodies(self) -> Iterator[Json]:
        """See :meth:`TextAnswer.bodies`."""
        for seed in range(ARGUMENT_TRIES):
            self._text = ""
            yield {
                **tools.arguments_body(self._function, self._request),
                "seed": seed,
                "temperature": 0 if seed == 0 else 0.7,
            }
            self._arguments = tools.checked_arguments(self._function, self._text)
            if self._arguments is not None:
                return
        if self._required:
            raise APIError(
                f"The local model found no valid arguments for {self._function['name']!r}; a larger model may",
                provider="local",
            )
        self._in_words = True
        yield self.body

    def feed(self, chunk: Json) -> Iterator[Json]:
        """See :meth:`TextAnswer.feed`."""
        if self._in_words:
            yield from super().feed(chunk)
            return
        self.account(chunk)
        for choice in chunk.get("choices", ()):
            self._text += choice.get("delta", {}).get("content") or ""

    def end(self) -> Iterator[Json]:
        """See :meth:`TextAnswer.end`."""
        if self._in_words:
            yield from super().end()
            return
        call = {
            "index": 0,
            "id": f"call_{uuid.uuid4().hex[:24]}",
            "type": "function",
            "function": {"name": self._function["name"], "arguments": ""},
        }
        yield self.emit(0, {"role": "assistant", "content": None, "tool_calls": [call]})
        yield self.emit(0, {"tool_calls": [{"index": 0, "function": {"arguments": self._arguments}}]})
        yield self.emit(0, {}, "tool_calls")
        yield self._last()


class NativeToolAnswer(ToolAnswer):
    """A call that the caller insists on, from a model that knows tools: its own if it makes one, else as above.

    The engine lets such a model talk instead of calling, whatever ``tool_choice`` says.

    Args:
        native: what to ask the engine first.
    """

    def __init__(self, model: str, native: Json, function: Json, request: str) -> None:
        super().__init__(model, native, function, request, required=True)
        self._chunks: list[Json] | None = []

    def bodies(self) -> Iterator[Json]:
        """See :meth:`TextAnswer.bodies`."""
        yield self.body
        chunks, self._chunks = self._chunks or [], None
        if any(choice.get("delta", {}).get("tool_calls") for chunk in chunks for choice in chunk.get("choices", ())):
            self._in_words = True
            self._chunks = chunks
            return
        yield from super().bodies()

    def feed(self, chunk: Json) -> Iterator[Json]:
        """See :meth:`TextAnswer.feed`."""
        if self._chunks is None:
            yield from super().feed(chunk)
        else:
            self._chunks.append(chunk)

    def end(self) -> Iterator[Json]:
        """See :meth:`TextAnswer.end`."""
        for chunk in self._chunks or ():
            yield from super().feed(chunk)
        yield from super().end()


def joined(chunks: Sequence[Json]) -> Json:
    """The ``chat.completion`` that *chunks* add up to."""
    choices: dict[int, Json] = {}
    for chunk in chunks:
        for piece in chunk["choices"]:
            _join_choice(choices, piece)
    last = chunks[-1]
    extra = {"timings": last["timings"]} if "timings" in last else {}
    return {
        **{key: last[key] for key in ("id", "created", "model")},
        "object": "chat.completion",
        "choices": [choices[index] for index in sorted(choices)],
        "usage": last["usage"],
        **extra,
    }


def _join_choice(choices: dict[int, Json], piece: Json) -> None:
    choice = choices.setdefault(
        piece["index"],
        {
            "index": piece["index"],
            "message": {"role": "assistant", "content": None, "refusal": None},
            "logprobs": None,
            "finish_reason": None,
        },
    )
    message, delta = choice["message"], piece["delta"]
    for key in ("content", "reasoning_content"):
        if delta.get(key) is not None:
            message[key] = (message.get(key) or "") + delta[key]
    for call in delta.get("tool_calls") or ():
        _join_call(message.setdefault("tool_calls", []), call)
    if piece.get("logprobs"):
        logprobs = choice["logprobs"] = choice["logprobs"] or {"content": [], "refusal": None}
        logprobs["content"] += piece["logprobs"].get("content") or []
    choice["finish_reason"] = piece["finish_reason"] or choice["finish_reason"]


def _join_call(calls: list[Json], piece: Json) -> None:
    if piece["index"] == len(calls):
        calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
    call, function = calls[piece["index"]], piece.get("function", {})
    call["id"] += piece.get("id") or ""
    call["function"]["name"] += function.get("name") or ""
    call["function"]["arguments"] += function.get("arguments") or ""
