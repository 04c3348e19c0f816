"""Answers in OpenAI's forms: JSON, and server-sent events."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from las_langchain.providers import Target
from las_langchain.service import LiteLLMService
from servers.errors import body_of
from servers.requests import unless_gone

Json = dict[str, Any]
DONE = b"data: [DONE]\n\n"
STREAM_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


def json_response(data: Any) -> Response:
    """*data* as JSON."""
    return Response(orjson.dumps(data), media_type="application/json")


async def chat_response(
    request: Request, service: LiteLLMService, target: Target, body: Json, *, stream: bool
) -> Response:
    """The answer to a chat request, whole or as server-sent events; the call ends when the client leaves.

    Raises:
        LASError: the call failed before its first chunk.
        ClientDisconnect: the client left before it.
    """
    if not stream:
        return json_response(await unless_gone(request, service.acomplete(target, body)))
    chunks = service.astream(target, _counted(body))
    # The first chunk decides whether this is an answer or an error with a status of its own.
    first = await unless_gone(request, _first(chunks))
    return StreamingResponse(_events(first, chunks), media_type="text/event-stream", headers=STREAM_HEADERS)


def _counted(body: Json) -> Json:
    """*body* without the wish not to be told the usage, which the ledger would not be told either."""
    given = body.get("stream_options") or {}
    options = {name: value for name, value in given.items() if name != "include_usage" or value}
    rest = {name: value for name, value in body.items() if name != "stream_options"}
    return {**rest, "stream_options": options} if options else rest


async def _first(chunks: AsyncGenerator[Json]) -> Json:
    return await anext(chunks)


async def _events(first: Json, rest: AsyncGenerator[Json]) -> AsyncGenerator[bytes]:
    async with aclosing(rest):
        try:
            yield _event(first)
            async for chunk in rest:
                yield _event(chunk)
        except Exception as error:
            # The status is sent already: say so in the stream.
            yield _event(body_of(error))
        yield DONE


def _event(data: Any) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"
