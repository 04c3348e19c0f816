"""OpenAI's messages in the form of the semantic conventions, for users who want their texts in traces.

The conventions want structured values, which OpenTelemetry's spans take only in its newest versions; they allow JSON
in their place, which is what tracing services read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import orjson

Json = dict[str, Any]

LONGEST_TEXT = 16_000
"""Letters of one text that are kept."""
LONGEST = 64_000
"""Letters of all messages that are kept: collectors refuse large requests as a whole, with all spans in them."""

_MODALITIES = {"image_url": "image", "input_audio": "audio", "video_url": "video", "file": "document"}


def input_messages(request: Json) -> str | None:
    """The ``gen_ai.input.messages`` of a chat request, the oldest left out if they are too long; None: it has none."""
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        return None
    kept: list[bytes] = []
    room = LONGEST
    for message in reversed(messages):
        written = orjson.dumps({"role": message.get("role"), "parts": list(_parts(message))})
        room -= len(written)
        if kept and room < 0:
            break
        kept.append(written)
    return _array(reversed(kept))


def output_messages(answer: Json) -> str | None:
    """The ``gen_ai.output.messages`` of a chat's answer; None: it has none."""
    choices = answer.get("choices") or ()
    written = [
        orjson.dumps(
            {
                "role": "assistant",
                "parts": list(_parts(choice.get("message") or {})),
                "finish_reason": _finish_reason(choice.get("finish_reason")),
            }
        )
        for choice in choices
    ]
    return _array(written) if written else None


def _array(items: Iterable[bytes]) -> str:
    return f"[{b','.join(items).decode()}]"


def _finish_reason(reason: str | None) -> str:
    return "tool_call" if reason in ("tool_calls", "function_call") else reason or "error"


def _parts(message: Json) -> Iterator[Json]:
    content = message.get("content")
    if message.get("role") == "tool":
        yield {"type": "tool_call_response", "id": message.get("tool_call_id"), "response": _plain(content)}
        return
    if reasoning := message.get("reasoning_content"):
        yield {"type": "reasoning", "content": _cut(reasoning)}
    if isinstance(content, list):
        yield from map(_part, content)
    elif content:
        yield _text(content)
    if refusal := message.get("refusal"):
        yield {"type": "refusal", "content": _cut(refusal)}
    for call in message.get("tool_calls") or ():
        yield _tool_call(call)


def _part(part: Json) -> Json:
    kind = str(part.get("type"))
    if kind == "text":
        return _text(part.get("text"))
    modality = _MODALITIES.get(kind)
    if modality is None:
        return {"type": kind}
    media = part.get(kind)
    uri = media.get("url") if isinstance(media, dict) else media
    if isinstance(media, dict) and media.get("file_id"):
        return {"type": "file", "modality": modality, "file_id": media["file_id"]}
    if isinstance(uri, str) and not uri.startswith("data:"):
        return {"type": "uri", "modality": modality, "uri": _cut(uri)}
    # The bytes of pictures and sounds would make spans that no collector takes.
    return {"type": "left_out", "modality": modality}


def _tool_call(call: Json) -> Json:
    function = call.get("function") or {}
    arguments = function.get("arguments") or ""
    try:
        arguments = orjson.loads(arguments) if len(arguments) <= LONGEST_TEXT else _cut(arguments)
    except orjson.JSONDecodeError:
        arguments = _cut(arguments)
    return {"type": "tool_call", "id": call.get("id"), "name": function.get("name"), "arguments": arguments}


def _text(text: Any) -> Json:
    return {"type": "text", "content": _cut(text)}


def _plain(content: Any) -> str:
    """The text of a tool's answer, which may come in parts."""
    if isinstance(content, list):
        return _cut("".join(str(part.get("text") or "") for part in content))
    return _cut(content or "")


def _cut(text: Any) -> str:
    text = str(text)
    left_out = len(text) - LONGEST_TEXT
    return f"{text[:LONGEST_TEXT]}… ({left_out} more letters)" if left_out > 0 else text
