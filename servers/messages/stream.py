"""Chat completion chunks as the events of one of Anthropic's streams."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from typing import Any

from las_langchain.errors import APIError
from servers.errors import known
from servers.json_texts import json_text
from servers.messages.answer import call_id, citations, end, head, thinking, usage_of
from servers.messages.errors import error_body

Json = dict[str, Any]


async def encoded(chunks: AsyncGenerator[Json], names: Mapping[str, str]) -> AsyncGenerator[bytes]:
    """The answer as server-sent events.

    Args:
        chunks: the answer as ``chat.completion.chunk`` objects; closed at the end.
        names: as for :class:`Events`.
    """
    events = Events(names)
    async with aclosing(chunks):
        async for chunk in chunks:
            for event in events.take(chunk):
                yield encode(event)
    for event in events.end():
        yield encode(event)


def encode(event: Json) -> bytes:
    """*event* as it goes over the wire."""
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), json_text(event))


def failed(error: Exception) -> bytes:
    """The event that ends a stream whose status is sent already."""
    return encode(error_body(known(error)))


class Events:
    """Turns chunks into events; content blocks come one after the other.

    Args:
        names: the names of tools that were shortened, by what they were shortened to.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._first: Json | None = None
        self._kind: str | None = None
        self._index = -1
        self._calls: dict[int, str] = {}
        self._count = 0
        self._place = -1
        self._finish_reason: str | None = None
        self._refused = False
        self._usage: Json | None = None

    def take(self, chunk: Json) -> Iterator[Json]:
        """The events of *chunk*.

        Raises:
            APIError: the pieces of several calls are mixed.
        """
        if self._first is None:
            self._first = chunk
            unsaid: Json = {
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": usage_of(None, chunk.get("service_tier")),
            }
            yield {"type": "message_start", "message": {**head(chunk), **unsaid}}
            yield {"type": "ping"}
        self._usage = chunk.get("usage") or self._usage
        for choice in chunk["choices"]:
            if not choice.get("index"):
                yield from self._deltas(choice.get("delta") or {}, chunk)
                self._finish_reason = choice.get("finish_reason") or self._finish_reason

    def end(self) -> Iterator[Json]:
        """The last events."""
        if self._first is None:
            raise APIError("The provider sent an empty stream")
        yield from self._close()
        cost = {"cost": self._usage["cost"]} if self._usage and self._usage.get("cost") is not None else {}
        usage = {**usage_of(self._usage), **cost}
        # Only whole messages have it.
        usage.pop("cache_creation", None)
        told = end(self._finish_reason, called=bool(self._count), refused=self._refused)
        yield {"type": "message_delta", "delta": told, "usage": usage}
        yield {"type": "message_stop"}

    def _deltas(self, delta: Json, chunk: Json) -> Iterator[Json]:
        pieces = delta.get("thinking_blocks") or ()
        for piece in pieces:
            yield from self._thought(piece)
        if not pieces and delta.get("reasoning_content"):
            yield from self._thought({"thinking": delta["reasoning_content"]})
        self._refused = self._refused or bool(delta.get("refusal"))
        cited = citations(delta.get("citations") or ())
        if (text := delta.get("content") or delta.get("refusal") or "") or cited:
            yield from self._open("text", {"type": "text", "text": ""})
            if text:
                yield self._delta({"type": "text_delta", "text": text})
        for one in cited:
            yield self._delta({"type": "citations_delta", "citation": one})
        for call in delta.get("tool_calls") or ():
            yield from self._call(call, chunk)

    def _thought(self, piece: Json) -> Iterator[Json]:
        if piece.get("type") == "redacted_thinking":
            yield from self._open("", {"type": "redacted_thinking", "data": piece.get("data") or ""})
            return
        yield from self._open("thinking", thinking(""))
        if piece.get("thinking"):
            yield self._delta({"type": "thinking_delta", "thinking": piece["thinking"]})
        if piece.get("signature"):
            yield self._delta({"type": "signature_delta", "signature": piece["signature"]})
            # What comes after it is another thought.
            yield from self._close()

    def _call(self, call: Json, chunk: Json) -> Iterator[Json]:
        function, given = call.get("function") or {}, call.get("id")
        # Some providers send whole calls and leave out their places, or give all the same one.
        place = call["index"] if call.get("index") is not None else -1
        if place not in self._calls or (given and given != self._calls[place]):
            self._calls[place] = call_id(given, chunk.get("id"), self._count)
            name = function.get("name") or ""
            block: Json = {"id": self._calls[place], "name": self._names.get(name, name), "input": {}}
            yield from self._open("", {"type": "tool_use", **block})
            self._kind, self._place = "tool_use", place
            self._count += 1
        elif self._kind != "tool_use" or place != self._place:
            raise APIError("The provider mixed the pieces of several tool calls")
        if function.get("arguments"):
            yield self._delta({"type": "input_json_delta", "partial_json": function["arguments"]})

    def _open(self, kind: str, block: Json) -> Iterator[Json]:
        """Begin *block*, if none of its *kind* is open; one without a kind is always new."""
        if kind and kind == self._kind:
            return
        yield from self._close()
        self._kind = kind
        self._index += 1
        yield {"type": "content_block_start", "index": self._index, "content_block": block}

    def _close(self) -> Iterator[Json]:
        if self._kind is not None:
            self._kind = None
            yield {"type": "content_block_stop", "index": self._index}

    def _delta(self, delta: Json) -> Json:
        return {"type": "content_block_delta", "index": self._index, "delta": delta}
