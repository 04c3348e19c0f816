"""Answers in OpenAI's forms: JSON, and server-sent events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from las_langchain.transports import Event, one_by_one
from servers.chat_calls import ChatCall, ModelCall, Told
from servers.errors import body_of
from servers.event_stream import event_response
from servers.json_texts import json_text
from servers.requests import unless_gone

Json = dict[str, Any]
DONE = b"data: [DONE]\n\n"
# What is written into every chunk when the usage was asked for, which it always is.
_NO_USAGE = b',"usage":null'


def json_response(data: Any, headers: Mapping[str, str] | None = None) -> Response:
    """*data* as JSON."""
    return Response(json_text(data), media_type="application/json", headers=headers)


async def chat_response(request: Request, call: ChatCall, body: Json, *, stream: bool) -> Response:
    """The answer to a chat request, whole or as server-sent events; the call ends when the client leaves.

    Args:
        request: its body has been read.
        call: the request, not sent yet.
        body: what the client sent.
        stream: whether it wants events.

    Raises:
        LASError: the call failed before its first chunk.
        ClientDisconnect: the client left before it.
    """
    if not stream:
        answer = await unless_gone(request, call.complete())
        return json_response(answer, call_headers(call))
    tells_usage = bool((body.get("stream_options") or {}).get("include_usage"))
    pieces = call.events() if isinstance(call, ModelCall) else one_by_one(call.chunks())
    events = _events(pieces, tells_usage=tells_usage)
    return await event_response(request, events, failed, headers=lambda: call_headers(call))


def call_headers(call: Told) -> dict[str, str]:
    """What the headers of an answer tell of its call."""
    cost = {} if call.cost is None else {"x-las-cost": f"{call.cost:.10g}"}
    return {"x-las-model": call.model, **cost, **call.headers}


async def _events(pieces: AsyncGenerator[list[Event]], *, tells_usage: bool) -> AsyncGenerator[bytes]:
    async with aclosing(pieces):
        async for piece in pieces:
            if written := b"".join([_written(said, tells_usage=tells_usage) for said in piece]):
                yield written
    yield DONE


def _written(said: Event, *, tells_usage: bool) -> bytes:
    """A chunk as a server-sent event, as the provider wrote it where it could; empty: the client is not told it."""
    chunk, raw = said
    if raw is not None:
        # No text of the model's can hold this: a quotation mark in one has a backslash before it.
        return b"data: " + (raw if tells_usage else raw.replace(_NO_USAGE, b"")) + b"\n\n"
    if chunk["choices"] or tells_usage or "event" in chunk:
        return event(_shaped(chunk, tells_usage=tells_usage))
    return b""


def _shaped(chunk: Json, *, tells_usage: bool) -> Json:
    """*chunk* with the keys that OpenAI's always have."""
    choices = [{"logprobs": None, "finish_reason": None, **_begun(choice)} for choice in chunk["choices"]]
    return {**({"usage": None} if tells_usage else {}), **chunk, "choices": choices}


def _begun(choice: Json) -> Json:
    """*choice*, which says with the role whether the answer is a refusal."""
    delta = choice.get("delta", {})
    return {**choice, "delta": {"refusal": None, **delta}} if "role" in delta else choice


def event(data: Any) -> bytes:
    """*data* as a server-sent event."""
    return b"data: " + json_text(data) + b"\n\n"


def failed(error: Exception) -> bytes:
    """The events that end a stream whose status is sent already."""
    return event(body_of(error)) + DONE
