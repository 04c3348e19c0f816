"""litellm's streams, whole: what its wrapper drops is read off the provider's own chunks as they pass."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import AsyncIterator
from typing import Any

import litellm

Json = dict[str, Any]

# Keys of a delta that litellm's wrapper does not pass on.
_LOST = ("refusal", "images", "role")
_NOTHING: Json = {}


class Tap:
    """Goes between a provider's stream and litellm's wrapper and remembers what that drops.

    Those are refusals and images, and of all choices but the first (``n`` above 1) how they began and ended.

    Args:
        stream: litellm's stream; its ``completion_stream`` is replaced by this.
        whole_calls: whether calls of tools come each in one piece; they are numbered anew then, since litellm begins at
            0 with every chunk of Ollama's.

    Attributes:
        ended: whether the provider has said why its answer ends, where litellm does not look.
        model: the model that the provider says it is, where it does; litellm tells the one that was asked for.
    """

    def __init__(self, stream: Any, *, whole_calls: bool = False) -> None:
        self._upstream = stream.completion_stream
        self._open = stream.make_call
        self._whole_calls = whole_calls
        self._calls = itertools.count()
        self._id: str | None = None
        self.ended = False
        self.model: str | None = None
        self._finishes: dict[int, str | None] = {}
        self._told: set[int] = set()
        self._chunks: AsyncIterator[Any] | None = None
        self._lost: list[Json] = []
        stream.completion_stream = self

    def __aiter__(self) -> Tap:
        return self

    async def __anext__(self) -> Any:
        if self._chunks is None:
            if self._upstream is None:
                # litellm asks Gemini, and a few others, only when the first chunk is wanted.
                self._upstream = self._watched(await self._open(client=litellm.module_level_aclient))
            self._chunks = aiter(self._upstream)
        chunk = await anext(self._chunks)
        said = getattr(chunk, "id", None)
        if said and said != self._id:
            if self._id is None:
                self._id = said
            else:
                # Ollama's have none, so litellm gives each another.
                chunk.id = self._id
        if self._whole_calls:
            self._number(chunk)
        self.model = getattr(chunk, "model", None) or self.model
        for choice in getattr(chunk, "choices", None) or ():
            index = getattr(choice, "index", 0) or 0
            self._finishes[index] = getattr(choice, "finish_reason", None) or self._finishes.get(index)
            if (lost := _lost(choice, index)) is not None:
                self._lost.append(lost)
        return chunk

    @property
    def unfinished(self) -> bool:
        """Whether one of several answers has begun and not ended."""
        return len(self._finishes) > 1 and not all(self._finishes.values())

    def _watched(self, upstream: Any) -> Any:
        """*upstream*, whose own word on its end is noted: litellm makes up a "stop" for every chunk of Gemini's."""
        parse = getattr(upstream, "chunk_parser", None)
        if parse is not None:

            def noting(chunk: Any) -> Any:
                self.ended = self.ended or _says_why_it_ends(chunk)
                return parse(chunk)

            upstream.chunk_parser = noting
        return upstream

    def _number(self, chunk: Any) -> None:
        for choice in chunk.choices:
            for call in choice.delta.tool_calls or ():
                call.index = next(self._calls)

    async def aclose(self) -> None:
        """Close the provider's stream, and what it reads, which litellm leaves to the garbage collector."""
        for stream in (self._upstream, getattr(self._upstream, "streaming_response", None)):
            close = getattr(stream, "aclose", None) or getattr(stream, "close", None)
            if close is not None and inspect.isawaitable(closing := close()):
                await closing

    def take(self, chunk: Json) -> list[Json]:
        """What was dropped since the last call, as chunks like *chunk*; those that it passed on after all left out."""
        lost, self._lost = self._lost, []
        if len(self._finishes) > 1:
            for choice in chunk["choices"]:
                # litellm takes the end of any answer for that of the first.
                choice.pop("finish_reason", None)
        if not lost:
            return []
        passed = {(choice["index"], key) for choice in chunk["choices"] for key in choice.get("delta", ())}
        choices = [_without(choice, passed) for choice in lost]
        return [_like(chunk, choice) for choice in choices if choice["delta"]]

    def ends(self, chunk: Json) -> list[Json]:
        """Of several answers, those that have ended since the last call, as chunks like *chunk*."""
        if len(self._finishes) < 2:
            return []
        ended = {index: finish for index, finish in self._finishes.items() if finish and index not in self._told}
        self._told |= ended.keys()
        return [_like(chunk, {"index": index, "delta": {}, "finish_reason": end}) for index, end in ended.items()]


def _like(chunk: Json, choice: Json) -> Json:
    kept = ("id", "created", "model", "object", "system_fingerprint", "service_tier")
    return {**{key: chunk[key] for key in kept if key in chunk}, "choices": [choice]}


def _says_why_it_ends(chunk: Any) -> bool:
    candidates = chunk.get("candidates") or () if isinstance(chunk, dict) else ()
    return any(one.get("finishReason") for one in candidates) or "promptFeedback" in chunk


def _without(choice: Json, passed: set[tuple[int, str]]) -> Json:
    delta = {key: value for key, value in choice["delta"].items() if (choice["index"], key) not in passed}
    return {**choice, "delta": delta}


def _lost(choice: Any, index: int) -> Json | None:
    """The parts of a provider's *choice* that litellm's wrapper drops; only OpenAI's own kind of chunk has them."""
    delta = getattr(choice, "delta", None)
    # What a model lacks is dear to ask it for.
    own, further = getattr(delta, "__dict__", _NOTHING), getattr(delta, "__pydantic_extra__", None) or _NOTHING
    keys = _LOST if index else _LOST[:2]
    lost = {key: _plain(value) for key in keys if (value := own.get(key) or further.get(key))}
    if not lost:
        return None
    likely = getattr(choice, "logprobs", None) if "refusal" in lost else None
    return {"index": index, "delta": lost, **({"logprobs": _plain(likely)} if likely else {})}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.model_dump() if hasattr(value, "model_dump") else value


class Order:
    """Puts the chunks of one stream into OpenAI's order: the role once, and no end in calls that never came."""

    def __init__(self) -> None:
        self._begun: set[int] = set()
        self._calling: set[int] = set()

    def restore(self, chunk: Json) -> Json | None:
        """*chunk* put right; None if it says nothing, such as Azure's first one."""
        for choice in chunk["choices"]:
            delta, index = choice["delta"], choice["index"]
            if index in self._begun:
                delta.pop("role", None)
            self._begun.add(index)
            if "tool_calls" in delta:
                self._calling.add(index)
            if choice.get("finish_reason") == "tool_calls" and index not in self._calling:
                # The tool was litellm's own, for a schema.
                choice["finish_reason"] = "stop"
        chunk["choices"] = [choice for choice in chunk["choices"] if _says(choice)]
        return chunk if chunk["choices"] or chunk.get("usage") else None


def _says(choice: Json) -> bool:
    return choice["delta"] not in ({}, {"content": ""}) or bool(choice.get("finish_reason") or choice.get("logprobs"))
