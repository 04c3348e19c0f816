"""What of a prompt a tokenizer can count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson

Json = dict[str, Any]


def countable(body: Json) -> Json:
    """The ``messages`` of a chat request, with the tools among them as the text that models are shown.

    What only the provider can count, such as a PDF, is left out.
    """
    messages = [_message(message) for message in body["messages"]]
    if body.get("tools"):
        messages.append({"role": "system", "content": orjson.dumps(body["tools"]).decode()})
    return {"messages": messages}


def _message(message: Json) -> Json:
    content = message["content"]
    return {**message, "content": list(_parts(content))} if isinstance(content, list) else message


def _parts(parts: Sequence[Json]) -> Iterator[Json]:
    for part in parts:
        source = part.get("source") or {}
        if part["type"] in ("text", "image_url"):
            yield part
        elif part["type"] == "document" and source.get("type") == "text":
            yield {"type": "text", "text": source["data"]}
        elif part["type"] == "document" and source.get("type") == "content":
            inner = source["content"]
            yield from ({"type": "text", "text": inner},) if isinstance(inner, str) else _parts(inner)
