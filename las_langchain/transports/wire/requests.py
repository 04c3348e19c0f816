"""OpenAI's requests as bytes, put right for the providers that take them a little differently."""

from __future__ import annotations

import json
import math
from typing import Any

import orjson

from las_langchain.errors import BadRequestError
from las_langchain.fields import CHAT_FIELDS, COMPLETION_FIELDS, EMBEDDING_FIELDS
from las_langchain.providers import Target
from las_langchain.texts import prompts_of
from las_langchain.transports.checks import check_completes, check_messages, check_sendable, refuse_unknown
from las_langchain.transports.wire.dialects import put_right

Json = dict[str, Any]


def chat_request(target: Target, body: Json, *, stream: bool = False) -> bytes:
    """A chat request as it is sent.

    Raises:
        BadRequestError: a field is unknown, a message malformed, or something that JSON does not know.
    """
    refuse_unknown(body, CHAT_FIELDS, target)
    check_messages(body.get("messages"))
    fields = _given(target, put_right(target, body))
    if stream:
        fields["stream"] = True
    return _sent(fields, body)


def text_request(target: Target, body: Json, *, stream: bool = False) -> bytes:
    """A request to go on with a text, as it is sent; failures as above."""
    check_completes(target)
    refuse_unknown(body, COMPLETION_FIELDS, target)
    prompts_of(body.get("prompt"))
    fields = _given(target, body)
    if stream:
        fields["stream"] = True
    return _sent(fields, body)


def embedding_request(target: Target, body: Json) -> bytes:
    """An embeddings request as it is sent; failures as above."""
    refuse_unknown(body, EMBEDDING_FIELDS, target)
    given = body.get("input")
    if target.provider == "ollama" and isinstance(given, list) and given and not isinstance(given[0], str):
        raise BadRequestError(f"input: {target.id} takes texts, not tokens", param="input")
    return _sent(_given(target, body), body)


def _given(target: Target, body: Json) -> Json:
    """What *body* says, its ``extra_body`` last."""
    fields: Json = {"model": target.model}
    for name, value in body.items():
        if value is not None and name not in ("extra_body", "extra_headers"):
            fields[name] = value
    return {**fields, **extra} if (extra := body.get("extra_body")) else fields


def _sent(fields: Json, body: Json) -> bytes:
    try:
        sent = orjson.dumps(fields)
    except TypeError:
        # Half of a letter, say; but also a number that is merely long.
        check_sendable(body)
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    if any(isinstance(value, float) and not math.isfinite(value) for value in fields.values()):
        check_sendable(body)
    return sent
