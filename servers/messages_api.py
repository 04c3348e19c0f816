"""Anthropic's endpoint, which coding assistants speak: ``/v1/messages``."""

from __future__ import annotations

from functools import partial
from typing import Any, TypeVar

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from las_langchain.providers import Target, split_name
from las_langchain.service import LiteLLMService
from las_langchain.threads import in_thread
from servers.answers import call_headers, json_response
from servers.chat_calls import CHAINS, ChatCall, ModelCall, chat_call
from servers.deps import registry_of, service_of
from servers.documents import documented
from servers.event_stream import event_response
from servers.json_bodies import decoded
from servers.messages.answer import message
from servers.messages.counting import countable
from servers.messages.documents import MESSAGE, MESSAGE_EVENTS, answered
from servers.messages.errors import request_headers
from servers.messages.request import chat_body, prompt, tool_names
from servers.messages.schemas import CountTokensRequest, MessagesRequest, PromptFields
from servers.messages.shapes import checked
from servers.messages.stream import encoded, failed
from servers.messages.turns import Reader
from servers.requests import json_body, unless_gone
from servers.routes import Direct

Json = dict[str, Any]
Asked = TypeVar("Asked", bound=PromptFields)


def router(prefix: str) -> APIRouter:
    """The endpoint's routes under *prefix*.

    Args:
        prefix: such as ``/v1``.
    """
    routes = APIRouter(prefix=prefix, tags=["Anthropic"], route_class=Direct)

    @routes.post(
        "/messages", openapi_extra=documented(MessagesRequest), responses=answered(MESSAGE, events=MESSAGE_EVENTS)
    )
    async def messages(request: Request) -> Response:
        """Answer a conversation in Anthropic's form, whole or with ``stream`` as server-sent events."""
        asked = checked(MessagesRequest, decoded(await json_body(request)))
        call, names = await _call(request, service_of(request), asked), tool_names(asked)
        if not asked.stream:
            answer = await unless_gone(request, call.complete())
            return json_response(message(answer, names), _headers(call))
        return await event_response(request, encoded(call.chunks(), names), failed, headers=lambda: _headers(call))

    @routes.post(
        "/messages/count_tokens", openapi_extra=documented(CountTokensRequest), responses=answered({"input_tokens": 14})
    )
    async def count_tokens(request: Request) -> Response:
        """Count the tokens of a request without sending it, by the tokenizer that is there for its model."""
        asked = checked(CountTokensRequest, decoded(await json_body(request)))
        count = await unless_gone(request, in_thread(partial(_count, request, service_of(request), asked)))
        return json_response({"input_tokens": count}, request_headers())

    return routes


async def _call(request: Request, service: LiteLLMService, asked: MessagesRequest) -> ChatCall:
    if asked.model.startswith(CHAINS):
        return await chat_call(request, asked.model, chat_body(asked, Reader()))
    return ModelCall(service, service.target(asked.model), partial(_body, asked))


def _body(asked: MessagesRequest, target: Target) -> Json:
    return chat_body(asked, Reader(target.provider, target.model))


def _headers(call: ChatCall) -> dict[str, str]:
    return {**call_headers(call), **request_headers()}


def _count(request: Request, service: LiteLLMService, asked: CountTokensRequest) -> int:
    """The tokens of a prompt; of one for a chain, those that it would be for the default model."""
    name = asked.model
    if name.startswith(CHAINS):
        registry_of(request).chain(name.removeprefix(CHAINS))
        name = service.settings.model
    reader = Reader(*split_name(name, service.settings))
    return service.count_tokens(f"{reader.provider}/{reader.model}", countable(prompt(asked, reader)))
