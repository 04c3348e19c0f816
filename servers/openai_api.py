"""The OpenAI-compatible endpoint: ``/v1/*``."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from las_langchain.threads import in_thread
from servers.answers import call_headers, chat_response, json_response
from servers.chat_calls import chat_call
from servers.completion_schemas import CompletionRequest
from servers.deps import registry_of, service_of
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
from servers.exchange_calls import Asked, refuse_chains
from servers.messages.models import anthropic_model, anthropic_models
from servers.model_list import listed_model, listed_models
from servers.requests import parse, unless_gone
from servers.routes import Direct
from servers.schemas import ChatCompletionRequest, EmbeddingRequest
from servers.sounds import SOUNDS, speech, transcriptions
from servers.text_calls import text_call

Json = dict[str, Any]
_MODEL = {"id": "openai/gpt-4o", "object": "model", "created": 1764000000, "owned_by": "openai"}
_CHAIN = {
    "id": "chains/chat",
    "object": "model",
    "created": 1764000000,
    "owned_by": "chains",
    "name": "Chat",
    "description": "A conversation that is remembered.",
}


def router(prefix: str) -> APIRouter:
    """The endpoint's routes under *prefix*.

    Args:
        prefix: such as ``/v1``.
    """
    routes = APIRouter(prefix=prefix, tags=["OpenAI"], route_class=Direct)

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
    async def embeddings(request: Request) -> Response:
        """Embed one or many texts."""
        service = service_of(request)
        asked = await parse(EmbeddingRequest, request)
        refuse_chains(asked.model, "embed nothing")
        call = Asked(service.exchange("embeddings", service.target(asked.model), asked.body()))
        answer = await unless_gone(request, call.exchange.embed())
        return json_response(answer, call_headers(call))

    @routes.get("/models", responses=answered({"object": "list", "data": [_MODEL, _CHAIN]}))
    async def models(request: Request) -> Response:
        """List the models that can be called with the keys that the server has, their aliases, and the chains.

        Clients of Anthropic's, which send anthropic-version, get their own form of it.
        """
        listed = await in_thread(partial(listed_models, service_of(request), registry_of(request)))
        if "anthropic-version" in request.headers:
            return json_response(anthropic_models(listed))
        return json_response({"object": "list", "data": listed})

    @routes.get("/models/{name:path}", responses=answered(_MODEL))
    async def model(name: str, request: Request) -> Response:
        """Describe one model, alias or chain."""
        found = await in_thread(partial(listed_model, name, service_of(request), registry_of(request)))
        return json_response(anthropic_model(found) if "anthropic-version" in request.headers else found)

    for path, endpoint in (("/audio/speech", speech), ("/audio/transcriptions", transcriptions)):
        routes.post(path, **SOUNDS[path])(endpoint)
    return routes
