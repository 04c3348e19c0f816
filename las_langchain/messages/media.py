"""Images, audio, video and files: LangChain's blocks of both versions and Anthropic's, as OpenAI's content parts."""

from __future__ import annotations

import base64
import logging
from typing import Any

from las_langchain.errors import BadRequestError

Json = dict[str, Any]
logger = logging.getLogger(__name__)

OPENAI_WIRE = frozenset({"openai", "azure"})
"""Providers whose API refuses what OpenAI does not document."""
# Providers that name a file's kind in litellm's `format`, also where it is given by its address.
_GOOGLE = frozenset({"gemini", "vertex_ai"})

# litellm would leave the sound out and say nothing.
_DEAF = frozenset({"anthropic"})

MEDIA = frozenset({"image", "audio", "video", "file", "document", "text-plain", "media"})
"""Types of the blocks that :func:`media_part` takes."""

_MAGIC = {
    "iVBOR": "image/png",
    "/9j/": "image/jpeg",
    "R0lGOD": "image/gif",
    "UklGR": "image/webp",
    "JVBERi": "application/pdf",
}
_AUDIO_FORMATS = {"mpeg": "mp3", "x-wav": "wav", "wave": "wav", "vnd.wave": "wav", "x-m4a": "m4a"}


def media_part(block: Json, provider: str) -> Json:
    """OpenAI's content part for *block*.

    Args:
        block: an ``image``, ``audio``, ``video``, ``file`` or ``text-plain`` block of LangChain's version 0
            (``source_type``) or 1, an ``image`` or ``document`` of Anthropic's (``source``), or Google's ``media``.
        provider: who is going to read it.

    Raises:
        BadRequestError: it has no source, or one that the provider does not take.
    """
    kind = _kind(block)
    how, value, mime_type = _source(block)
    if kind == "audio" and provider in _DEAF:
        logger.warning("%s models cannot hear: they are told that there was a sound", provider)
        return {"type": "text", "text": "[A sound was attached here, which you cannot hear.]"}
    if how == "text":
        part: Json = {"type": "text", "text": value}
    elif how == "id" or (how == "url" and kind != "image"):
        part = _reference(how, value, kind, mime_type, provider)
    elif kind == "image":
        part = {"type": "image_url", "image_url": {"url": value if how == "url" else _data_uri(value, mime_type)}}
        if detail := _extra(block, "detail"):
            part["image_url"]["detail"] = detail
    elif kind == "audio":
        part = {"type": "input_audio", "input_audio": {"data": value, "format": _audio_format(mime_type)}}
    else:
        part = _file(block, value, mime_type)
    return _with_cache_control(part, block)


def _kind(block: Json) -> str:
    if block["type"] == "media":
        # Google's, whose MIME type says what it is.
        kind = str(block.get("mime_type")).partition("/")[0]
        return kind if kind in ("image", "audio", "video") else "file"
    return "file" if block["type"] in ("document", "text-plain") else str(block["type"])


def _source(block: Json) -> tuple[str, str, str | None]:
    """How *block*'s content is given (``url``, ``base64``, ``id`` or ``text``), the content, its MIME type if said."""
    source = block.get("source")
    if isinstance(source, dict):
        block = {**source, "mime_type": source.get("media_type"), "base64": source.get("data")}
        if source.get("type") == "text":
            block = {"text": source.get("data")}
    mime_type = block.get("mime_type")
    given = {
        "id": block.get("file_id") or (block.get("id") if block.get("source_type") == "id" else None),
        "url": block.get("url") or block.get("file_uri"),
        "base64": block.get("base64") or (block.get("data") if block.get("source_type") in ("base64", None) else None),
        "text": block.get("text"),
    }
    for how, value in given.items():
        if isinstance(value, str) and value:
            return how, value, mime_type
    raise BadRequestError(
        f"A content block of type {block.get('type')!r} needs url, base64 with mime_type, or file_id", param="messages"
    )


def _reference(how: str, value: str, kind: str, mime_type: str | None, provider: str) -> Json:
    """A file that the provider has, or fetches itself."""
    if how == "url" and value.startswith("data:"):
        return _inline(value, kind)
    if provider in OPENAI_WIRE:
        if how == "url":
            raise BadRequestError(f"{provider} takes no {kind} by address: send it as base64", param="messages")
        return {"type": "file", "file": {"file_id": value}}
    named = how == "id" or provider in _GOOGLE
    kind_of_file = mime_type or {"image": "image/png", "file": "application/pdf"}.get(kind)
    return {"type": "file", "file": {"file_id": value, **({"format": kind_of_file} if named and kind_of_file else {})}}


def _inline(uri: str, kind: str) -> Json:
    mime_type, _, data = uri.removeprefix("data:").partition(";base64,")
    if kind == "audio":
        return {"type": "input_audio", "input_audio": {"data": data, "format": _audio_format(mime_type)}}
    return {"type": "file", "file": {"file_data": uri, "filename": _filename({}, mime_type)}}


def _file(block: Json, data: str, mime_type: str | None) -> Json:
    if mime_type and mime_type.startswith("text/"):
        # Providers take files to be PDFs.
        return {"type": "text", "text": _decoded(data)}
    uri = _data_uri(data, mime_type)
    return {"type": "file", "file": {"file_data": uri, "filename": _filename(block, uri[5 : uri.index(";")])}}


def _decoded(data: str) -> str:
    try:
        return base64.b64decode(data, validate=True).decode()
    except ValueError as error:
        raise BadRequestError(f"A text file is not base64 of UTF-8: {error}", param="messages") from None


def _filename(block: Json, mime_type: str) -> str:
    # OpenAI asks for a name even where the caller has none.
    given = _extra(block, "filename") or (block.get("metadata") or {}).get("filename") or block.get("title")
    return given or f"file.{mime_type.rpartition('/')[2]}"


def _data_uri(data: str, mime_type: str | None) -> str:
    known = mime_type or next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), None)
    if known is None:
        raise BadRequestError("A base64 content block needs its mime_type, such as image/png", param="messages")
    return f"data:{known};base64,{data}"


def _audio_format(mime_type: str | None) -> str:
    if not mime_type:
        raise BadRequestError("An audio block needs its mime_type, such as audio/wav", param="messages")
    subtype = mime_type.rpartition("/")[2]
    return _AUDIO_FORMATS.get(subtype, subtype)


def _extra(block: Json, key: str) -> Any:
    return block.get(key) or (block.get("extras") or {}).get(key)


def _with_cache_control(part: Json, block: Json) -> Json:
    cache_control = _extra(block, "cache_control")
    return {**part, "cache_control": cache_control} if cache_control else part
