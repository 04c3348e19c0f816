"""From the engine's chunks to OpenAI's: pure state, fed by the sync and the async loop alike."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from las_langchain.errors import APIConnectionError, BadRequestError
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
    """Calls of the caller's functions, checked against their schemas before anything of them is passed on.

    Arguments are written under a grammar, without regard to the caller's sampling. A model that knows tools may make
    its calls itself first; the grammar then writes only what it got wrong.

    Args:
        model: the model's id.
        words: what to ask the engine if there is no valid call and the caller does not insist on one.
        functions: what may be called.
        chosen: the function to call; None leaves the choice to a model that knows tools.
        request: what the user asked.
        required: whether the caller insists on a call.
        native: what to ask a model that knows tools; None for one that does not.
        max_tokens: the caller's bound, if there is one.
    """

    def __init__(
        self,
        model: str,
        words: Json,
        functions: Sequence[Json],
        chosen: Json | None,
        request: str,
        *,
        required: bool,
        native: Json | None = None,
        max_tokens: int | None = None,
    ) -> None:
        super().__init__(model, words)
        self._functions = {function["name"]: function for function in functions}
        self._chosen = chosen
        self._request = request
        self._required = required
        self._native = native
        self._max_tokens = max_tokens
        self._collect: _Collected | None = None
        self._calls: list[Json] = []

    def bodies(self) -> Iterator[Json]:
        """See :meth:`TextAnswer.bodies`."""
        function = self._chosen
        if self._native is not None:
            self._collect = _Collected(passes_text=not self._required)
            yield self._native
            attempts, self._calls = self._collect.calls, self._checked(self._collect.calls)
            if self._calls or (not attempts and not self._required):
                return
            # Calls that do not hold: the grammar writes the first of them anew.
            function = self._functions.get(attempts[0]["name"]) if attempts else function
        if function is not None:
            yield from self._written(function)
        if self._calls:
            return
        if self._required or self._begun:
            names = ", ".join(self._functions)
            raise BadRequestError(
                f"The local model found no valid arguments for {function['name'] if function else names}: simplify the "
                "schema, allow more tokens, or use a larger model",
                param="tools",
                provider="local",
            )
        self._collect = None
        yield self.body

    def feed(self, chunk: Json) -> Iterator[Json]:
        """See :meth:`TextAnswer.feed`."""
        if self._collect is None:
            yield from super().feed(chunk)
            return
        self.account(chunk)
        for choice in chunk.get("choices", ()):
            if (rest := self._collect.take(choice)) is not None:
                yield from self._choice(rest)

    def end(self) -> Iterator[Json]:
        """See :meth:`TextAnswer.end`."""
        if not self._calls:
            yield from super().end()
            return
        if not self._begun:
            yield self.emit(0, {"role": "assistant", "content": None})
        for index, call in enumerate(self._calls):
            function = {"name": call["name"], "arguments": ""}
            opening = {"index": index, "id": f"call_{uuid.uuid4().hex[:24]}", "type": "function", "function": function}
            yield self.emit(0, {"tool_calls": [opening]})
            yield self.emit(0, {"tool_calls": [{"index": index, "function": {"arguments": call["arguments"]}}]})
        yield self.emit(0, {}, "tool_calls")
        yield self._last()

    def _written(self, function: Json) -> Iterator[Json]:
        """Ask for the arguments of *function* until they hold; a text that was cut off would be cut off again."""
        for seed in range(ARGUMENT_TRIES):
            self._collect = _Collected(passes_text=False)
            body = tools.arguments_body(function, self._request, self._max_tokens)
            yield {**body, "seed": seed, "temperature": 0 if seed == 0 else 0.7}
            self._calls = self._checked([{"name": function["name"], "arguments": self._collect.text}])
            if self._calls or self._collect.finish_reason == "length":
                return

    def _checked(self, calls: Sequence[Json]) -> list[Json]:
        """*calls* with their arguments in compact form; none at all if one of them does not hold."""
        checked = []
        for call in calls:
            function = self._functions.get(call["name"])
            arguments = tools.checked_arguments(function, call["arguments"]) if function else None
            if arguments is None:
                return []
            checked.append({"name": call["name"], "arguments": arguments})
        return checked


class _Collected:
    """What one run of the engine produced, held back until it has been checked.

    Args:
        passes_text: whether text goes on at once.
    """

    def __init__(self, *, passes_text: bool) -> None:
        self._passes_text = passes_text
        self._calls: list[Json] = []
        self.text = ""
        self.finish_reason: str | None = None

    @property
    def calls(self) -> list[Json]:
        """The tool calls: name and arguments."""
        return [call["function"] for call in self._calls]

    def take(self, choice: Json) -> Json | None:
        """Keep what must wait of *choice* and return what may go on, if anything."""
        delta = dict(choice.get("delta", {}))
        for piece in delta.pop("tool_calls", None) or ():
            _join_call(self._calls, piece)
        self.text += delta.get("content") or ""
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        if not self._passes_text:
            return None
        finish = None if self._calls else choice.get("finish_reason")
        said = {key: value for key, value in delta.items() if key != "role" and value}
        return {**choice, "delta": said, "finish_reason": finish} if said or finish else None


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
