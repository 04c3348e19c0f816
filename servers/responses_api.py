"""OpenAI's newer endpoint: ``/v1/responses``."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from las_langchain.errors import BadRequestError
from servers.answers import json_response
from servers.deps import Service
from servers.documents import answered, documented
from servers.requests import parse
from servers.responses.examples import EVENTS, INPUT_ITEMS, RESPONSE
from servers.responses.responding import input_tokens, page_of, respond
from servers.responses.schemas import ID, InputTokensRequest, ResponseRequest
from servers.responses.store import ResponseStore
from servers.routes import Direct

_HOT = ("temperature", "Input should be less than or equal to 2")
_NO_REASON = ("reasoning", "Input should be a valid dictionary")


def router(prefix: str) -> APIRouter:
    """The endpoint's routes under *prefix*.

    Args:
        prefix: such as ``/v1``.
    """
    routes = APIRouter(prefix=prefix, tags=["OpenAI"], route_class=Direct)
    _add_making(routes)
    _add_keeping(routes)
    return routes


def _add_making(routes: APIRouter) -> None:
    @routes.post(
        "/responses",
        openapi_extra=documented(ResponseRequest),
        responses=answered(RESPONSE, wrong=_HOT, events=EVENTS),
    )
    async def responses(request: Request) -> Response:
        """Answer in OpenAI's newer form, whole or with ``stream`` as server-sent events, and keep the answer."""
        return await respond(request, await parse(ResponseRequest, request))

    @routes.post(
        "/responses/input_tokens",
        openapi_extra=documented(InputTokensRequest),
        responses=answered({"object": "response.input_tokens", "input_tokens": 9}, wrong=_NO_REASON),
    )
    async def count(request: Request) -> Response:
        """Count the tokens that a model would read."""
        tokens = await input_tokens(request, await parse(InputTokensRequest, request))
        return json_response({"object": "response.input_tokens", "input_tokens": tokens})


def _add_keeping(routes: APIRouter) -> None:
    @routes.get("/responses/{response_id}", responses=answered(RESPONSE, wrong=("stream", "not available here")))
    async def response(
        response_id: str,
        service: Service,
        stream: Annotated[bool, Query(description="Not available here: what is kept is given whole")] = False,
    ) -> Response:
        """Give a response that is kept."""
        if stream:
            raise BadRequestError("stream: what is kept is given whole; leave it out", param="stream")
        return json_response(await ResponseStore.of(service.settings).response(_checked(response_id)))

    @routes.delete(
        "/responses/{response_id}",
        responses=answered({"id": "resp_1", "object": "response", "deleted": True}),
    )
    async def delete(response_id: str, service: Service) -> Response:
        """Delete a response that is kept; what builds on it cannot be gone on with."""
        await ResponseStore.of(service.settings).delete(_checked(response_id))
        return json_response({"id": response_id, "object": "response", "deleted": True})

    @routes.get("/responses/{response_id}/input_items", responses=answered(INPUT_ITEMS, wrong=("limit", "too large")))
    async def input_items(
        response_id: str,
        service: Service,
        after: Annotated[str | None, Query(description="Id of the last item of the page before")] = None,
        limit: Annotated[int, Query(ge=1, le=100, description="Most items")] = 20,
        order: Annotated[Literal["asc", "desc"], Query(description="desc: the newest first")] = "desc",
    ) -> Response:
        """List what a response was the answer to, with all that went before it."""
        items = await ResponseStore.of(service.settings).input_items(_checked(response_id))
        return json_response(page_of(items, after=after, limit=limit, order=order))

    # It is there for those who try, and not documented.
    @routes.post("/responses/{response_id}/cancel", include_in_schema=False)
    async def cancel(response_id: str, service: Service) -> Response:
        """Refuse to cancel a response: none is made in the background, so what is kept is whole."""
        await ResponseStore.of(service.settings).response(_checked(response_id))
        raise BadRequestError(
            "Cannot cancel a synchronous response: it is whole; close the connection of one that is being made",
            param="response_id",
        )


def _checked(response_id: str) -> str:
    """*response_id*, which no response may have.

    Raises:
        BadRequestError: none can.
    """
    if not re.fullmatch(ID, response_id):
        message = f"Response with id {response_id!r:.100} not found"
        raise BadRequestError(message, param="response_id", code="response_not_found", status_code=404)
    return response_id
