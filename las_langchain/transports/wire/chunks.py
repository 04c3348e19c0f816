"""The chunks of a stream as OpenAI would have sent them; most are, and stay as they came."""

from __future__ import annotations

import itertools
import time
import uuid
from typing import Any

from las_langchain.errors import APIConnectionError, LASError
from las_langchain.providers import Target
from las_langchain.transports import Event
from las_langchain.transports.wire.answers import (
    check_content,
    check_text,
    decoded,
    finish_reason,
    function_of,
    without_reasoning_alias,
)
from las_langchain.transports.wire.failures import SHAPELESS, failed_inside, unreadable_answer
from las_langchain.transports.wire.usage import usage_of

Json = dict[str, Any]
DONE = b"[DONE]"
"""The last event of a stream."""
_NOTHING: tuple[Json, ...] = ({}, {"content": ""})


class ChunkReader:
    """Reads the events of one stream.

    Args:
        target: whom the stream is from.
        text: whether it is of a completion, whose chunks have a ``text`` in the place of a ``delta``.
    """

    def __init__(self, target: Target, *, text: bool = False) -> None:
        self._target, self._text = target, text
        self._finishes: dict[int, str | None] = {}
        self._calling: set[int] = set()
        self._calls = itertools.count()
        self._usage: Json | None = None
        self._last: Json = {}
        self._head: Json = {}

    @property
    def is_whole(self) -> bool:
        """Whether every answer that has begun has ended."""
        return bool(self._finishes) and all(self._finishes.values())

    def read_all(self, events: list[bytes]) -> tuple[list[Event], LASError | None]:
        """What several events say, up to one that is a failure, and that."""
        read: list[Event] = []
        try:
            for data in events:
                if (event := self.read(data)) is not None:
                    read.append(event)
        except LASError as failure:
            return read, failure
        except SHAPELESS:
            return read, unreadable_answer(self._target)
        return read, None

    def read(self, data: bytes) -> Event | None:
        """What an event says; None: nothing that a client of OpenAI's would miss.

        Raises:
            LASError: it says what went wrong, or is nothing that a stream has.
        """
        if data == DONE or not data or data.isspace():
            return None
        chunk = self._parsed(data)
        choices = chunk.get("choices")
        tells_usage = chunk.get("usage") is not None or "x_groq" in chunk
        if not choices and not tells_usage:
            # Azure begins with one that tells how it rates the prompt.
            return None
        changed = self._fill(chunk)
        if tells_usage:
            changed |= self._take_usage(chunk)
        if not choices:
            return None
        for choice in choices:
            if choice.get("error") or choice.get("finish_reason") == "error":
                # OpenRouter's, in an otherwise good chunk.
                raise failed_inside(choice.get("error") or {}, self._target)
            changed |= self._read_text(choice) if self._text else self._read_choice(choice)
        if len(choices) == 1 and not self._text and _says_nothing(choices[0]):
            return None
        return Event(chunk, None if changed or b"\n" in data else data)

    def _parsed(self, data: bytes) -> Json:
        try:
            chunk = decoded(data)
        except ValueError:
            raise unreadable_answer(self._target) from None
        if not isinstance(chunk, dict):
            raise unreadable_answer(self._target)
        if chunk.get("error"):
            raise failed_inside(chunk["error"], self._target)
        return chunk

    def end(self) -> Event | None:
        """The usage, in a chunk without choices, where the provider told it.

        Raises:
            APIConnectionError: the answer is not whole.
        """
        if not self.is_whole:
            raise APIConnectionError("The stream ended before the answer was whole")
        if self._usage is None:
            return None
        return Event({**self._last, "choices": [], "usage": self._usage}, None)

    def _take_usage(self, chunk: Json) -> bool:
        """Keep the usage for the end, wherever the provider tells it."""
        usage = usage_of(chunk)
        told = chunk.pop("usage", None)
        if usage is None:
            # What counts nothing is nothing to be told.
            return told is not None
        self._usage = usage
        if chunk.get("choices"):
            return True
        self._last = chunk
        return False

    def _fill(self, chunk: Json) -> bool:
        """Put in what every chunk of OpenAI's has."""
        if not self._head:
            self._head = _head(chunk, self._target, text=self._text)
        kind = self._head["object"]
        is_full = chunk.get("object") == kind and chunk.get("id") and chunk.get("created") and chunk.get("model")
        if not is_full:
            chunk.update({name: chunk.get(name) or value for name, value in self._head.items()}, object=kind)
        self._last = self._last or _without_choices(chunk)
        return not is_full

    def _read_choice(self, choice: Json) -> bool:
        """Put *choice* right; returns whether anything was wrong with it."""
        delta, index = choice.get("delta"), choice.get("index")
        changed = "logprobs" not in choice or "finish_reason" not in choice
        if index is None or not isinstance(delta, dict):
            choice["index"] = index = index or 0
            choice["delta"] = delta = delta if isinstance(delta, dict) else {}
            changed = True
        check_content(delta)
        if ("role" in delta) == (index in self._finishes):
            if index not in self._finishes and _says_nothing(choice):
                return changed
            changed |= self._read_role(delta, index)
        if "reasoning" in delta:
            changed |= without_reasoning_alias(delta)
        if delta.get("tool_calls"):
            changed |= self._read_calls(delta["tool_calls"], index)
        if choice.get("finish_reason") is not None:
            changed |= self._read_finish(choice, index)
        self._finishes.setdefault(index, None)
        return changed

    def _read_role(self, delta: Json, index: int) -> bool:
        """See to it that the first chunk of an answer says whose it is, and no other."""
        if index in self._finishes:
            del delta["role"]
            return True
        rest = dict(delta) if delta.get("tool_calls") else {"content": "", **delta}
        delta.clear()
        delta.update({"role": "assistant", **rest})
        return True

    def _read_calls(self, calls: list[Json], index: int) -> bool:
        self._calling.add(index)
        for call in calls:
            function_of(call)
        unplaced = [call for call in calls if call.get("index") is None]
        for call in unplaced:
            call["index"] = next(self._calls)
        return bool(unplaced)

    def _read_finish(self, choice: Json, index: int) -> bool:
        told = choice["finish_reason"]
        finish = finish_reason(told, calls=index in self._calling)
        # An answer ends once.
        choice["finish_reason"] = None if self._finishes.get(index) else finish
        self._finishes[index] = self._finishes.get(index) or finish
        return bool(choice["finish_reason"] != told)

    def _read_text(self, choice: Json) -> bool:
        index = choice.setdefault("index", 0)
        changed = not choice.keys() >= {"text", "logprobs", "finish_reason"}
        if changed:
            choice.update({"text": "", "logprobs": None, "finish_reason": None, **choice})
        if choice["text"] is None:
            choice["text"], changed = "", True
        check_text(choice)
        self._finishes[index] = choice["finish_reason"] or self._finishes.get(index)
        return changed


def _says_nothing(choice: Json) -> bool:
    return choice["delta"] in _NOTHING and not choice.get("finish_reason") and not choice.get("logprobs")


def _without_choices(chunk: Json) -> Json:
    return {name: value for name, value in chunk.items() if name not in ("choices", "usage")}


def _head(chunk: Json, target: Target, *, text: bool) -> Json:
    """What all chunks of a stream have in common, made up where its first one does not say it."""
    made_up = f"cmpl-{uuid.uuid4().hex}" if text else f"chatcmpl-{uuid.uuid4().hex}"
    return {
        "id": chunk.get("id") or made_up,
        "object": "text_completion" if text else "chat.completion.chunk",
        "created": chunk.get("created") or int(time.time()),
        "model": chunk.get("model") or target.model,
    }
