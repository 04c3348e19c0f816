"""The standard content blocks of an answer, whichever provider gave it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.block_translators import get_translator, register_translator

Json = dict[str, Any]
Translate = Callable[[AIMessage], list[Any]]

MOVED = ("annotations", "audio", "citations", "images", "reasoning_content", "refusal", "thinking_blocks")
"""What version 0 keeps in ``additional_kwargs`` and version 1 in content blocks."""


def content_blocks(message: AIMessage) -> list[Json]:
    """The blocks of an answer with text as its content: reasoning, text with citations, media, refusal, tool calls."""
    kept = message.additional_kwargs
    text = text_block(str(message.content), kept)
    return [
        *reasoning_blocks(kept),
        *([text] if text["text"] or "annotations" in text else []),
        *map(image_block, kept.get("images", ())),
        *([audio_block(kept["audio"])] if kept.get("audio") else []),
        *([refusal_block(kept["refusal"])] if kept.get("refusal") else []),
        *_call_blocks(message),
    ]


def text_block(text: str, kept: Json) -> Json:
    """A ``text`` block, with the citations in ``additional_kwargs``."""
    notes = [annotation(note) for key in ("annotations", "citations") for note in kept.get(key, ())]
    return {"type": "text", "text": text, **({"annotations": notes} if notes else {})}


def reasoning_blocks(kept: Json) -> list[Json]:
    """``reasoning`` blocks, each with the signature that its provider wants back; from ``additional_kwargs``."""
    if thoughts := kept.get("thinking_blocks"):
        return [thinking_block(thought) for thought in thoughts]
    return [{"type": "reasoning", "reasoning": kept["reasoning_content"]}] if kept.get("reasoning_content") else []


def thinking_block(thought: Json) -> Json:
    """Anthropic's ``thinking`` as a ``reasoning`` block; what it keeps secret as a ``non_standard`` one."""
    if thought.get("type") == "redacted_thinking":
        return {"type": "non_standard", "value": {key: thought[key] for key in ("type", "data") if key in thought}}
    block = {"type": "reasoning", "reasoning": thought.get("thinking", "")}
    return {**block, "extras": {"signature": thought["signature"]}} if thought.get("signature") else block


def image_block(image: Json) -> Json:
    """A generated image as litellm gives it, as an ``image`` block."""
    return {"type": "image", **_media(image["image_url"]["url"])}


def audio_block(audio: Json) -> Json:
    """A spoken answer as an ``audio`` block; its id and transcript are in ``extras``."""
    extras = {key: audio[key] for key in ("id", "transcript") if audio.get(key)}
    return {"type": "audio", "base64": audio.get("data", ""), "extras": extras}


def refusal_block(refusal: str) -> Json:
    """A refusal as a ``non_standard`` block, which is how LangChain has it from OpenAI's other API."""
    return {"type": "non_standard", "value": {"type": "refusal", "refusal": refusal}}


def annotation(note: Json | str) -> Json:
    """A ``citation``: OpenAI's ``url_citation``, Anthropic's, or an address alone."""
    if isinstance(note, str):
        return {"type": "citation", "url": note}
    given = note["url_citation"] if isinstance(note.get("url_citation"), dict) else note
    known = ("url", "title", "start_index", "end_index", "cited_text")
    citation = {"type": "citation", **{key: given[key] for key in known if given.get(key) is not None}}
    if "title" not in citation and given.get("document_title"):
        citation["title"] = given["document_title"]
    extras = {key: value for key, value in given.items() if key not in (*known, "document_title")}
    return {**citation, "extras": extras} if extras else citation


def _media(url: str) -> Json:
    mime_type, separator, data = url.removeprefix("data:").partition(";base64,")
    return {"base64": data, "mime_type": mime_type} if separator and url.startswith("data:") else {"url": url}


def _call_blocks(message: AIMessage) -> list[Json]:
    if isinstance(message, AIMessageChunk) and message.chunk_position != "last":
        return [{**call, "type": "tool_call_chunk"} for call in message.tool_call_chunks]
    return [
        *({"type": "tool_call", "id": call["id"], "name": call["name"], "args": call["args"]}
          for call in message.tool_calls),
        *({**call, "type": "invalid_tool_call"} for call in message.invalid_tool_calls),
    ]  # fmt: skip


def register(provider: str) -> None:
    """Let ``message.content_blocks`` read this package's answers of *provider*.

    LangChain picks a reader by the provider's name; its own expect what its own integrations make, so that of Anthropic
    misses the tool calls, and that of OpenAI the reasoning, of an answer whose content is text.
    """
    existing = get_translator(provider) or {}
    if not isinstance(existing.get("translate_content"), partial):
        register_translator(
            provider,
            partial(_translate, existing.get("translate_content")),
            partial(_translate, existing.get("translate_content_chunk")),
        )


def _translate(fallback: Translate | None, message: AIMessage) -> list[Any]:
    # Only this package's answers say what they cost.
    if isinstance(message.content, str) and "cost" in message.response_metadata:
        return content_blocks(message)
    if fallback is None:
        # What core takes for "read it as you would without me".
        raise NotImplementedError
    return fallback(message)
