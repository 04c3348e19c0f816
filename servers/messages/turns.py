"""The turns of Anthropic's conversations as OpenAI's messages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from las_langchain.errors import BadRequestError
from las_langchain.messages.media import OPENAI_WIRE, media_part
from servers.messages.blocks import (
    Block,
    Blocks,
    Document,
    Image,
    Message,
    PlainText,
    RedactedThinking,
    SearchResult,
    ServerBlock,
    Text,
    Thinking,
    ToolReference,
    ToolResult,
    ToolUse,
    blocks_of,
    dumped,
)
from servers.messages.shapes import refused

Json = dict[str, Any]

_ERROR = "Error: "
"""Begins the result of a tool that failed; OpenAI's messages have no other place for that."""
_BILLING = "x-anthropic-billing-header:"
"""Begins a block by which Anthropic counts its own clients; it differs in every request, so it would defeat caches."""
_OF_USERS = (Image, Document, SearchResult, ToolResult)
_OF_MODELS = (Thinking, RedactedThinking, ToolUse, ServerBlock)


@dataclass(frozen=True, slots=True)
class Reader:
    """The model that is going to read a request.

    Attributes:
        provider: its provider; empty for a chain.
        model: its name without the provider's.
    """

    provider: str = ""
    model: str = ""

    @property
    def is_claude(self) -> bool:
        """Whether it takes cache points, signed thoughts and budgets for thinking."""
        return self.provider == "anthropic" or ("claude" in self.model.lower() and self.provider not in OPENAI_WIRE)

    @property
    def takes_thoughts(self) -> bool:
        """Whether it wants back what it thought as text."""
        return self.provider == "deepseek"


def system_message(system: str | list[Text], reader: Reader) -> Iterator[Json]:
    """The instructions as a message; none if there are none."""
    blocks = [block for block in blocks_of(system) if reader.is_claude or not block.text.startswith(_BILLING)]
    if blocks:
        yield {"role": "system", "content": _texts(blocks, reader)}


def messages(turns: Sequence[Message], reader: Reader, named: Callable[[str], str]) -> Iterator[Json]:
    """The conversation as OpenAI's messages.

    Args:
        turns: as the client sent them.
        reader: who is going to read them.
        named: gives a tool's name as *reader* takes it.

    Raises:
        BadRequestError: a block is not where it may be, or *reader* does not take it; ``param`` is its path.
    """
    calls: set[str] = set()
    for index, turn in enumerate(turns):
        where = f"messages.{index}"
        blocks = blocks_of(turn.content)
        _check_places(turn.role, blocks, f"{where}.content")
        if turn.role == "assistant":
            calls |= {block.id for block in blocks if isinstance(block, ToolUse)}
            yield from _assistant(blocks, where, reader, named)
        elif turn.role == "system":
            yield {"role": "system", "content": _texts([block for block in blocks if isinstance(block, Text)], reader)}
        else:
            _check_results(blocks, calls, f"{where}.content")
            yield from _user(blocks, where, reader)


def _check_places(role: str, blocks: Sequence[Any], where: str) -> None:
    for place, block in enumerate(blocks):
        allowed = "user" if isinstance(block, _OF_USERS) else "assistant" if isinstance(block, _OF_MODELS) else role
        if allowed != role:
            raise refused(f"{where}.{place}", f"`{block.type}` blocks can only be in `{allowed}` messages")


def _check_results(blocks: Sequence[Any], calls: set[str], where: str) -> None:
    for place, block in enumerate(blocks):
        if isinstance(block, ToolResult) and block.tool_use_id not in calls:
            why = f"no `tool_use` block before it has the id {block.tool_use_id!r:.100}"
            raise refused(f"{where}.{place}.tool_use_id", why)


# What people say


def _user(blocks: Sequence[Any], where: str, reader: Reader) -> Iterator[Json]:
    """The results of tools, each a message of its own and right after the calls, and the rest."""
    moved: list[Json] = []
    rest: list[Json] = []
    for place, block in enumerate(blocks):
        path = f"{where}.content.{place}"
        if isinstance(block, ToolResult):
            sent, media = _result(block, path, reader)
            moved += media
            yield sent
        else:
            rest += _parts(block, path, reader)
    if moved or rest or not blocks:
        yield {"role": "user", "content": _simple([*moved, *rest], reader)}


def _parts(block: Any, where: str, reader: Reader, *, in_result: bool = False) -> list[Json]:
    """A block of a person's, or of a tool's result, as OpenAI's parts."""
    # litellm passes Anthropic's documents on, but takes none of them out of the results of tools.
    documents = reader.provider == "anthropic" and not in_result
    match block:
        case Text():
            return [_text(block.text, block, reader)]
        case Image():
            return [_media(block, where, reader)]
        case Document():
            return [dumped(block)] if documents else _document(block, where, reader)
        case SearchResult():
            return [_cited(block)] if documents else [_found(block, reader)]
        case ToolReference():
            # To other models all tools are shown from the beginning.
            named = {"type": "text", "text": f"The tool {block.tool_name} is there."}
            return [dumped(block) if reader.provider == "anthropic" else named]
    raise refused(f"{where}.type", f"only Anthropic's own models take {block.type!r}")


def _text(text: str, block: Block, reader: Reader) -> Json:
    return {"type": "text", "text": text, **(block.cached if reader.is_claude else {})}


def _media(block: Block, where: str, reader: Reader) -> Json:
    try:
        part = media_part(dumped(block), reader.provider)
    except BadRequestError as error:
        raise refused(f"{where}.source", error.message) from None
    if not reader.is_claude:
        part.pop("cache_control", None)
    return part


def _document(block: Document, where: str, reader: Reader) -> list[Json]:
    source = block.source
    if isinstance(source, PlainText):
        return [*_about(block), _text(source.data, block, reader)]
    if not isinstance(source, Blocks):
        return [*_about(block), _media(block, where, reader)]
    inner = blocks_of(source.content)
    parts = [part for place, one in enumerate(inner) for part in _parts(one, f"{where}.source.content.{place}", reader)]
    return [*_about(block), *parts]


def _about(block: Document) -> list[Json]:
    """What is known of a document, which has no place in OpenAI's files."""
    known = {"Document": block.title, "Context": block.context}
    lines = [f"{name}: {value}" for name, value in known.items() if value]
    return [{"type": "text", "text": "\n".join(lines)}] if lines else []


def _found(block: SearchResult, reader: Reader) -> Json:
    return _text("\n".join([block.title, block.source, *(one.text for one in block.content)]), block, reader)


def _cited(block: SearchResult) -> Json:
    """A search result as a document, which can be cited as well: litellm leaves search results out."""
    source = {"type": "content", "content": [{"type": "text", "text": one.text} for one in block.content]}
    cited = {} if block.citations is None else {"citations": dumped(block.citations)}
    about = {"title": block.title, "context": block.source}
    return {"type": "document", "source": source, **about, **cited, **block.cached}


# What tools say


def _result(block: ToolResult, where: str, reader: Reader) -> tuple[Json, list[Json]]:
    """A tool's result, and what of it is a person's to say, since the reader takes only text from tools."""
    parts = [
        part
        for place, one in enumerate(blocks_of(block.content))
        for part in _parts(one, f"{where}.content.{place}", reader, in_result=True)
    ]
    if block.is_error:
        parts = [{"type": "text", "text": _ERROR}, *parts] if not _is_text(parts[:1]) else _marked(parts)
    said, media = parts, []
    if not reader.is_claude:
        media = [part for part in parts if part["type"] != "text"]
        said = [part for part in parts if part["type"] == "text"] if media else parts
    content = _simple(said, reader) if said or not media else "The result follows."
    if media:
        media.insert(0, {"type": "text", "text": f"Result of the tool call {block.tool_use_id}:"})
    cached = block.cached if reader.is_claude else {}
    return {"role": "tool", "tool_call_id": block.tool_use_id, "content": content, **cached}, media


def _is_text(parts: Sequence[Json]) -> bool:
    return bool(parts) and parts[0]["type"] == "text"


def _marked(parts: Sequence[Json]) -> list[Json]:
    first = parts[0]
    return [{**first, "text": f"{_ERROR}{first['text']}"}, *parts[1:]]


# What models say


def _assistant(blocks: Sequence[Any], where: str, reader: Reader, named: Callable[[str], str]) -> Iterator[Json]:
    for place, block in enumerate(blocks):
        if isinstance(block, ServerBlock) and reader.provider != "anthropic":
            raise refused(f"{where}.content.{place}.type", f"only Anthropic's own models take {block.type!r}")
    # litellm joins messages that follow each other, and within one it sends thoughts first and calls last.
    for part in _in_order(blocks) if reader.is_claude else [blocks]:
        yield _said(part, reader, named)


def _in_order(blocks: Sequence[Any]) -> Iterator[list[Any]]:
    """*blocks* in pieces, each of which has thoughts, then words, then calls."""
    ranks: dict[type, int] = {Thinking: 0, RedactedThinking: 0, ToolUse: 2}
    piece: list[Any] = []
    last = 0
    for block in blocks:
        rank = ranks.get(type(block), 1)
        if piece and rank < last:
            yield piece
            piece = []
        piece.append(block)
        last = rank
    yield piece


def _said(blocks: Sequence[Any], reader: Reader, named: Callable[[str], str]) -> Json:
    """One message of a model."""
    words = [block for block in blocks if isinstance(block, (Text, ServerBlock))]
    calls = [_call(block, reader, named) for block in blocks if isinstance(block, ToolUse)]
    content: str | list[Json] = "".join(block.text for block in words if isinstance(block, Text))
    if reader.is_claude and any(isinstance(block, ServerBlock) or block.cached for block in words):
        content = [_text(one.text, one, reader) if isinstance(one, Text) else dumped(one) for one in words]
    return {
        "role": "assistant",
        "content": content or (None if calls else ""),
        **_thoughts(blocks, reader),
        **({"tool_calls": calls} if calls else {}),
    }


def _thoughts(blocks: Iterable[Any], reader: Reader) -> Json:
    """What the model thought, where the reader can have thought it: its own is signed."""
    thoughts = [block for block in blocks if isinstance(block, (Thinking, RedactedThinking))]
    if reader.is_claude:
        signed = [dumped(one) for one in thoughts if isinstance(one, RedactedThinking) or one.signature]
        return {"thinking_blocks": signed} if signed else {}
    text = "".join(one.thinking for one in thoughts if isinstance(one, Thinking) and not one.signature)
    return {"reasoning_content": text} if text and reader.takes_thoughts else {}


def _call(block: ToolUse, reader: Reader, named: Callable[[str], str]) -> Json:
    function = {"name": named(block.name), "arguments": json.dumps(block.input, ensure_ascii=False)}
    cached = block.cached if reader.is_claude else {}
    return {"id": block.id, "type": "function", "function": function, **cached}


# Content


def _texts(blocks: Sequence[Text], reader: Reader) -> str | list[Json]:
    if reader.is_claude and any(block.cached for block in blocks):
        return [_text(block.text, block, reader) for block in blocks]
    return "\n\n".join(block.text for block in blocks)


def _simple(parts: Sequence[Json], reader: Reader) -> str | list[Json]:
    """*parts*, as a text where they are no more than that, which every provider takes."""
    if any(part["type"] != "text" or "cache_control" in part for part in parts):
        return [*parts]
    if reader.is_claude and len(parts) > 1:
        return [*parts]
    return "\n".join(part["text"] for part in parts)
