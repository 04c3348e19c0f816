"""The items of a response while they are being made, each of which emits its events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from servers.responses.answers import call_item, citation, message_item, reasoning_fields, reasoning_item, text_part
from servers.responses.custom_inputs import InputReader, custom_input
from servers.responses.requests import Thoughts
from servers.responses.tools import Tools

Json = dict[str, Any]


class Emit(Protocol):
    """Takes an event of an item."""

    def __call__(self, kind: str, **fields: Any) -> None:
        """Emit an event of *kind*."""
        ...


class OpenItem:
    """An item that is being made.

    Args:
        emit: takes its events.
        item: as it begins.

    Attributes:
        item: as it is now.
        open: whether there is more to come.
    """

    def __init__(self, emit: Emit, item: Json) -> None:
        self.item, self.open = item, True
        self._emit_event = emit
        self._begun = False

    def begin(self) -> None:
        """Tell that it is there."""
        if not self._begun:
            self._begun = True
            self._emit_event("response.output_item.added", item={**self.item, "status": "in_progress"})

    def close(self, status: str) -> None:
        """End it, if it has not ended; *status* says how."""
        if self.open:
            self.begin()
            self.item = self.so_far()
            self._finish()
            self.open = False
            self.item["status"] = status
            self._emit_event("response.output_item.done", item=dict(self.item))

    def so_far(self) -> Json:
        """The item with all that is there of it now."""
        raise NotImplementedError

    def _finish(self) -> None:
        """Emit what ends the parts of :attr:`item`, which is whole."""
        raise NotImplementedError

    def _emit(self, kind: str, **fields: Any) -> None:
        self._emit_event(f"response.{kind}", item_id=self.item["id"], **fields)


class OpenReasoning(OpenItem):
    """What a model thinks."""

    def __init__(self, emit: Emit, told: Thoughts) -> None:
        begun = {**reasoning_item("", told), "summary": [], "content": [], "encrypted_content": None}
        super().__init__(emit, begun)
        self._told = told
        self._texts: list[str] = []
        self.begin()
        self._emit_part("added", "")

    def text(self, piece: str) -> None:
        """Add to it."""
        self._texts.append(piece)
        self._emit_text("delta", delta=piece)

    def so_far(self) -> Json:
        """See :class:`OpenItem`."""
        return {**self.item, **reasoning_fields("".join(self._texts), self._told)}

    def _finish(self) -> None:
        text = "".join(self._texts)
        self._emit_text("done", text=text)
        self._emit_part("done", text)

    def _emit_text(self, what: str, **fields: Any) -> None:
        if self._told.in_summary:
            self._emit(f"reasoning_summary_text.{what}", summary_index=0, **fields)
        else:
            self._emit(f"reasoning_text.{what}", content_index=0, **fields)

    def _emit_part(self, what: str, text: str) -> None:
        if self._told.in_summary:
            part = {"type": "summary_text", "text": text}
            self._emit(f"reasoning_summary_part.{what}", summary_index=0, part=part)
        else:
            self._emit(f"content_part.{what}", content_index=0, part={"type": "reasoning_text", "text": text})


class OpenMessage(OpenItem):
    """What a model says: a text, and perhaps a refusal."""

    def __init__(self, emit: Emit) -> None:
        super().__init__(emit, message_item([]))
        self._places: dict[str, int] = {}
        self._texts: dict[str, list[str]] = {"output_text": [], "refusal": []}
        self._logprobs: list[Json] = []
        self._annotations: list[Json] = []
        self.begin()

    def text(self, piece: str, logprobs: Sequence[Json]) -> None:
        """Add to the text."""
        place = self._place("output_text")
        self._logprobs += logprobs
        if piece:
            self._texts["output_text"].append(piece)
            self._emit("output_text.delta", content_index=place, delta=piece, logprobs=[*logprobs])

    def refusal(self, piece: str) -> None:
        """Add to the refusal."""
        place = self._place("refusal")
        self._texts["refusal"].append(piece)
        self._emit("refusal.delta", content_index=place, delta=piece)

    def cite(self, notes: Iterable[Json]) -> None:
        """Add a chat's citations to the text, if there is one; they may come when it has ended."""
        if (place := self._places.get("output_text")) is None:
            return
        for note in filter(None, map(citation, notes)):
            index = len(self._annotations)
            self._annotations.append(note)
            self._emit("output_text.annotation.added", content_index=place, annotation_index=index, annotation=note)

    def _place(self, kind: str) -> int:
        if kind not in self._places:
            self._places[kind] = len(self._places)
            self._emit("content_part.added", content_index=self._places[kind], part=self._part(kind))
        return self._places[kind]

    def _part(self, kind: str) -> Json:
        text = "".join(self._texts[kind])
        if kind == "refusal":
            return {"type": kind, "refusal": text}
        return {**text_part(text, (), self._logprobs), "annotations": self._annotations}

    def so_far(self) -> Json:
        """See :class:`OpenItem`."""
        return {**self.item, "content": [self._part(kind) for kind in self._places]}

    def _finish(self) -> None:
        for place, part in enumerate(self.item["content"]):
            if part["type"] == "refusal":
                self._emit("refusal.done", content_index=place, refusal=part["refusal"])
            else:
                self._emit("output_text.done", content_index=place, text=part["text"], logprobs=part["logprobs"])
            self._emit("content_part.done", content_index=place, part=dict(part))


class OpenCall(OpenItem):
    """What a model calls: it is there when its name is."""

    def __init__(self, emit: Emit, tools: Tools) -> None:
        super().__init__(emit, {})
        self._tools = tools
        self._call_id = ""
        self._reader: InputReader | None = None
        self._pieces: list[str] = []

    def feed(self, delta: Json) -> None:
        """Add a part of a chat's call."""
        function = delta.get("function") or {}
        self._call_id = self._call_id or delta.get("id") or ""
        piece = function.get("arguments") or ""
        self._pieces.append(piece)
        if not self.item and function.get("name"):
            self._name(function["name"])
        elif self.item:
            self._tell(piece)

    def _name(self, name: str) -> None:
        call = {"id": self._call_id, "function": {"name": name}}
        self.item = call_item(call, self._tools)
        if self.item["type"] == "custom_tool_call":
            self._reader = InputReader()
        self.begin()
        self._tell("".join(self._pieces))

    def _tell(self, piece: str) -> None:
        if self._reader is None:
            kind, letters = "function_call_arguments", piece
        else:
            kind, letters = "custom_tool_call_input", self._reader.feed(piece)
        if letters:
            self._emit(f"{kind}.delta", delta=letters)

    def so_far(self) -> Json:
        """See :class:`OpenItem`."""
        if self._reader is None:
            return {**self.item, "arguments": "".join(self._pieces)} if self.item else {}
        return {**self.item, "input": custom_input("".join(self._pieces))}

    def _finish(self) -> None:
        if self._reader is None:
            arguments = self.item["arguments"]
            self._emit("function_call_arguments.done", arguments=arguments, name=self.item["name"])
            return
        if rest := self._reader.end()[0]:
            self._emit("custom_tool_call_input.delta", delta=rest)
        self._emit("custom_tool_call_input.done", input=self.item["input"])

    def close(self, status: str) -> None:
        """End it, though its name may never have come."""
        if not self.item:
            self._name("")
        super().close(status)
