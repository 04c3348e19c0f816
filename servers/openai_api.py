"""The OpenAI-compatible endpoint: ``/v1/*``."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from las_langchain.errors import ModelNotFoundError
from las_langchain.providers import available_models
from servers.answers import chat_response, json_response
from servers.chat_calls import chat_call
from servers.completion_schemas import CompletionRequest
from servers.deps import Service
from servers.documents import (
    CHAT_ANSWER,
    CHAT_EVENTS,
    EMBEDDINGS_ANSWER,
    NO_TEXT,
    TEXT_ANSWER,
    TEXT_EVENTS,
    TOO_HOT,
    answered,
    documented,
)
from servers.requests import parse, unless_gone
from servers.schemas import ChatCompletionRequest, EmbeddingRequest
from servers.text_calls import text_call

Json = dict[str, Any]
_MODEL = {"id": "openai/gpt-4o", "object": "model", "created": 1764000000, "owned_by": "openai"}


def router(prefix: str) -> APIRouter:
    """The endpoint's routes under *prefix*.

    Args:
        prefix: such as ``/v1``.
    """
    routes = APIRouter(prefix=prefix, tags=["OpenAI"])
    started = int(time.time())

    @routes.post(
        "/chat/completions",
        openapi_extra=documented(ChatCompletionRequest),
        responses=answered(CHAT_ANSWER, wrong=TOO_HOT, events=CHAT_EVENTS),
    )
    async def chat_completions(request: Request) -> Response:
        """Answer a chat, whole or with ``stream`` as server-sent events."""
        asked = await parse(ChatCompletionRequest, request)
        body = asked.body()
        call = await chat_call(request, asked.model, body)
        return await chat_response(request, call, body, stream=bool(asked.stream))

    @routes.post(
        "/completions",
        openapi_extra=documented(CompletionRequest),
        responses=answered(TEXT_ANSWER, wrong=TOO_HOT, events=TEXT_EVENTS),
    )
    async def completions(request: Request) -> Response:
        """Go on with a text, or with several; models that only chat take each as a message."""
        asked = await parse(CompletionRequest, request)
        body = asked.body()
        call = await text_call(request, asked.model, body)
        return await chat_response(request, call, body, stream=bool(asked.stream))

    @routes.post(
        "/embeddings", openapi_extra=documented(EmbeddingRequest), responses=answered(EMBEDDINGS_ANSWER, wrong=NO_TEXT)
    )
    async def embeddings(request: Request, service: Service) -> Response:
        """Embed one or many texts."""
        asked = await parse(EmbeddingRequest, request)
        target = service.target(asked.model)
        return json_response(await unless_gone(request, service.aembed(target, asked.body())))

    @routes.get("/models", responses=answered({"object": "list", "data": [_MODEL]}))
    async def models(service: Service) -> Response:
        """List the models that can be called with the keys that the server has."""
        listed = [_model(name, started) for name in available_models(service.settings)]
        return json_response({"object": "list", "data": listed})

    @routes.get("/models/{name:path}", responses=answered(_MODEL))
    async def model(name: str, service: Service) -> Response:
        """Describe one model."""
        if name not in available_models(service.settings):
            raise ModelNotFoundError(f"The model {name!r} is not available here; GET /v1/models lists those that are")
        return json_response(_model(name, started))

    return routes


def _model(name: str, created: int) -> Json:
    return {"id": name, "object": "model", "created": created, "owned_by": name.partition("/")[0]}
