"""A chat's chunks as the events of a response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from las_langchain.errors import BadRequestError, LASError, RateLimitError
from servers.errors import known
from servers.json_texts import json_text
from servers.responses.answers import finished, is_cut, logprobs_of
from servers.responses.open_items import Emit, OpenCall, OpenItem, OpenMessage, OpenReasoning
from servers.responses.requests import Reading

Json = dict[str, Any]
Item = TypeVar("Item", bound=OpenItem)


class ResponseEvents:
    """The events of one response, chunk by chunk.

    What a model thinks, says and calls are items of their own, in the order in which they begin. Thoughts and words
    end where something else begins; calls, which may come in parallel, end with the answer.

    Args:
        shell: the response as it begins.
        read: the request.

    Attributes:
        response: as it is now; after :meth:`end`, whole.
    """

    def __init__(self, shell: Json, read: Reading) -> None:
        self.response = shell
        self._tools, self._thoughts = read.tools, read.thoughts
        self._queue: list[Json] = []
        self._number = 0
        self._begun = False
        self._items: list[OpenItem] = []
        self._speaking: OpenReasoning | OpenMessage | None = None
        self._calls: dict[int, OpenCall] = {}
        self._message: OpenMessage | None = None
        self._finish_reason: str | None = None
        self._usage: Json | None = None

    def of(self, chunk: Json) -> list[Json]:
        """The events that *chunk* brings."""
        for name in ("model", "service_tier"):
            if chunk.get(name):
                self.response[name] = chunk[name]
        self._begin()
        for choice in chunk["choices"]:
            # More than one is never asked for.
            if not choice.get("index"):
                self._choice(choice)
        self._usage = chunk.get("usage") or self._usage
        return self._taken()

    def end(self) -> list[Json]:
        """The events that end the items; :attr:`response` is whole then."""
        self._begin()
        if not self._items:
            # An empty answer is one all the same.
            self._said().text("", [])
        cut = is_cut(self._finish_reason)
        for item in self._items:
            item.close("incomplete" if cut and item is self._items[-1] else "completed")
        output = [item.item for item in self._items]
        self.response = finished(self.response, output, self._finish_reason, self._usage)
        return self._taken()

    def last(self, response: Json) -> list[Json]:
        """The event that ends a whole *response*."""
        self._emit(f"response.{response['status']}", response=response)
        return self._taken()

    def failed(self, error: Exception) -> list[Json]:
        """The events that end the response because of *error*; what there is of it stays."""
        self._begin()
        failure = known(error)
        parts = ((item.so_far(), item.open) for item in self._items)
        output = [{**part, "status": "incomplete"} if is_open else part for part, is_open in parts if part]
        reason = {"code": _code(failure), "message": failure.message}
        self.response = {**self.response, "status": "failed", "error": reason, "output": output, "store": False}
        self._emit("error", code=failure.code or failure.type, message=failure.message, param=failure.param)
        self._emit("response.failed", response=self.response)
        return self._taken()

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._emit("response.created", response=dict(self.response))
            self._emit("response.in_progress", response=dict(self.response))

    def _choice(self, choice: Json) -> None:
        delta = choice.get("delta") or {}
        if thoughts := delta.get("reasoning_content"):
            self._thought().text(str(thoughts))
        if text := delta.get("content"):
            self._said().text(text, logprobs_of((choice.get("logprobs") or {}).get("content")))
        if refusal := delta.get("refusal"):
            self._said().refusal(refusal)
        for call in delta.get("tool_calls") or ():
            self._called(call)
        if self._message is not None:
            self._message.cite(delta.get("annotations") or ())
        self._finish_reason = choice.get("finish_reason") or self._finish_reason

    def _thought(self) -> OpenReasoning:
        if not isinstance(self._speaking, OpenReasoning):
            self._stop_speaking()
            self._speaking = self._opened(OpenReasoning(self._adder(), self._thoughts))
        return self._speaking

    def _said(self) -> OpenMessage:
        if not isinstance(self._speaking, OpenMessage):
            self._stop_speaking()
            self._speaking = self._message = self._opened(OpenMessage(self._adder()))
        return self._speaking

    def _called(self, delta: Json) -> None:
        index = delta.get("index") or 0
        if index not in self._calls:
            self._stop_speaking()
            self._calls[index] = self._opened(OpenCall(self._adder(), self._tools))
        self._calls[index].feed(delta)

    def _stop_speaking(self) -> None:
        if self._speaking is not None:
            self._speaking.close("completed")
            self._speaking = None

    def _opened(self, item: Item) -> Item:
        self._items.append(item)
        return item

    def _adder(self) -> Emit:
        """What emits the events of the next item."""
        index = len(self._items)

        def emit(kind: str, **fields: Any) -> None:
            self._emit(kind, output_index=index, **fields)

        return emit

    def _emit(self, kind: str, **fields: Any) -> None:
        self._queue.append({"type": kind, "sequence_number": self._number, **fields})
        self._number += 1

    def _taken(self) -> list[Json]:
        taken, self._queue = self._queue, []
        return taken


def _code(error: LASError) -> str:
    """Why a response fails, in the words that this API has for it."""
    if isinstance(error, RateLimitError):
        return "rate_limit_exceeded"
    return "invalid_prompt" if isinstance(error, BadRequestError) else "server_error"


def encoded(events: Sequence[Json]) -> bytes:
    """*events* as they go over the wire."""
    lines = (b"event: " + event["type"].encode() + b"\ndata: " + json_text(event) + b"\n\n" for event in events)
    return b"".join(lines)
