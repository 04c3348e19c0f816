"""The OpenAI-compatible endpoint: ``/v1/*``."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from las_langchain.errors import ModelNotFoundError
from las_langchain.providers import available_models
from las_langchain.service import LiteLLMService
from servers.errors import body_of
from servers.requests import parse, unless_gone
from servers.schemas import ChatCompletionRequest, EmbeddingRequest

Json = dict[str, Any]
DONE = b"data: [DONE]\n\n"
STREAM_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


def router(service: LiteLLMService, prefix: str) -> APIRouter:
    """The endpoint's routes under *prefix*.

    Args:
        service: answers the calls.
        prefix: such as ``/v1``.
    """
    routes = APIRouter(prefix=prefix, tags=["OpenAI"])
    max_bytes = int(service.settings.max_body_mb * 1e6)
    started = int(time.time())

    @routes.post("/chat/completions", openapi_extra=_documented(ChatCompletionRequest))
    async def chat_completions(request: Request) -> Response:
        """Answer a chat, whole or with ``stream`` as server-sent events."""
        asked = await parse(ChatCompletionRequest, request, max_bytes)
        target = service.target(asked.model)
        if not asked.stream:
            return _json(await unless_gone(request, service.acomplete(target, asked.body())))
        chunks = service.astream(target, asked.body())
        # The first chunk decides whether this is an answer or an error with a status of its own.
        first = await unless_gone(request, _first(chunks))
        wants_usage = bool((asked.stream_options or {}).get("include_usage"))
        events = _events(first, chunks, wants_usage=wants_usage)
        return StreamingResponse(events, media_type="text/event-stream", headers=STREAM_HEADERS)

    @routes.post("/embeddings", openapi_extra=_documented(EmbeddingRequest))
    async def embeddings(request: Request) -> Response:
        """Embed one or many texts."""
        asked = await parse(EmbeddingRequest, request, max_bytes)
        target = service.target(asked.model)
        return _json(await unless_gone(request, service.aembed(target, asked.body())))

    @routes.get("/models")
    async def models() -> Response:
        """List the models that can be called with the keys that the server has."""
        listed = [_model(name, started) for name in available_models(service.settings)]
        return _json({"object": "list", "data": listed})

    @routes.get("/models/{name:path}")
    async def model(name: str) -> Response:
        """Describe one model."""
        if name not in available_models(service.settings):
            raise ModelNotFoundError(f"The model {name!r} is not available here; GET /v1/models lists those that are")
        return _json(_model(name, started))

    return routes


async def _first(chunks: AsyncGenerator[Json]) -> Json:
    return await anext(chunks)


async def _events(first: Json, rest: AsyncGenerator[Json], *, wants_usage: bool) -> AsyncGenerator[bytes]:
    async with aclosing(rest):
        try:
            yield _event(first)
            async for chunk in rest:
                if chunk["choices"] or wants_usage:
                    yield _event(chunk)
        except Exception as error:
            # The status is sent already: say so in the stream.
            yield _event(body_of(error))
        yield DONE


def _event(data: Any) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"


def _json(data: Any) -> Response:
    return Response(orjson.dumps(data), media_type="application/json")


def _model(name: str, created: int) -> Json:
    return {"id": name, "object": "model", "created": created, "owned_by": name.partition("/")[0]}


def _documented(schema: type[ChatCompletionRequest | EmbeddingRequest]) -> Json:
    """The body's schema for the API documentation; the body itself is parsed in one pass, without FastAPI."""
    content = {"application/json": {"schema": schema.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}
