"""From a request for a response to the answer over HTTP."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from las_langchain.errors import BadRequestError, LASError
from las_langchain.threads import in_thread
from servers.answers import call_headers, json_response
from servers.chain_threads import asked_thread
from servers.chat_calls import CHAINS, ChatCall
from servers.deps import registry_of, service_of
from servers.event_stream import event_response
from servers.requests import unless_gone
from servers.responses.answers import response_shell, with_answer
from servers.responses.calls import TruncatedCall, call_of
from servers.responses.items import checked_items, referenced, resolved
from servers.responses.requests import Reading, chat_body, reading_of, with_our_fields
from servers.responses.schemas import ContextFields, InputTokensRequest, ResponseRequest
from servers.responses.store import ResponseStore
from servers.responses.streams import ResponseEvents, encoded

if TYPE_CHECKING:
    from chains.chain import Chain

Json = dict[str, Any]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Turn:
    """A request that is ready to be answered.

    Attributes:
        read: the request.
        items: its own input.
        shell: the response as it begins.
        call: what answers it.
        store: where it is kept; None: it is not.
    """

    read: Reading
    items: list[Json]
    shell: Json
    call: ChatCall
    store: ResponseStore | None

    def headers(self) -> dict[str, str]:
        """Those of the answer."""
        left_out = ", ".join(self.read.tools.left_out)
        return {**call_headers(self.call), **({"x-las-tools-left-out": left_out} if left_out else {})}

    async def keep(self, response: Json) -> Json:
        """*response*, kept if it is to be.

        An answer that cannot be kept is given all the same, and says so: it is paid for.
        """
        if self.store is None:
            return response
        try:
            await self.store.keep(response, self.items)
        except LASError as error:
            logger.error("%s is given, but not kept: %s", response["id"], error)
            return {**response, "store": False}
        return response


async def respond(request: Request, asked: ResponseRequest) -> Response:
    """The answer to *asked*, whole or as server-sent events; the call ends when the client leaves.

    Args:
        request: its body has been read.
        asked: what it holds.

    Raises:
        LASError: a field is wrong, or the call failed before it began to answer.
        ClientDisconnect: the client left before.
    """
    turn = await _turn(request, asked)
    if not asked.stream:
        response = await unless_gone(request, _whole(turn))
        kept = {"x-las-stored": "false"} if turn.store is not None and not response["store"] else {}
        return json_response(response, {**turn.headers(), **kept})
    events = ResponseEvents(turn.shell, turn.read)
    return await event_response(
        request, _events(turn, events), lambda error: encoded(events.failed(error)), headers=turn.headers
    )


async def _turn(request: Request, asked: ResponseRequest) -> Turn:
    read = reading_of(asked)
    store = ResponseStore.of(service_of(request).settings)
    continues = await _continues(request, asked)
    own, history = await _read_items(store, asked)
    body = chat_body(read, [*history, *own], for_chain=asked.model.startswith(CHAINS), continues=continues)
    shell = response_shell(read, asked)
    _check_writable(shell, own)
    call = await _call(request, asked, body)
    return Turn(read, own, shell, call, store if asked.store is not False else None)


def _check_writable(shell: Json, items: Sequence[Json]) -> None:
    """Refuse what the response could not repeat, or the store not keep, before it costs anything."""
    try:
        orjson.dumps([shell, items])
    except TypeError as error:
        message = f"A number in tools, text or input is too large, or something is nested too deeply: {error}"
        raise BadRequestError(message, code="invalid_value") from None


async def _call(request: Request, asked: ResponseRequest, body: Json) -> ChatCall:
    try:
        call = await call_of(request, asked.model, body)
    except LASError as error:
        raise with_our_fields(error) from None
    return TruncatedCall(partial(call_of, request, asked.model), call, body) if asked.truncation == "auto" else call


async def _continues(request: Request, asked: ResponseRequest) -> bool:
    """Whether a chain's memory has what went before.

    Together with a history that is refused: the chain would read everything twice.
    """
    if not asked.model.startswith(CHAINS) or asked_thread(request, {"metadata": asked.metadata}) is None:
        return False
    chain = await _chain(request, asked.model)
    if chain.remembers and asked.previous_response_id is not None:
        raise BadRequestError(
            "previous_response_id: the thread has the history already; send one of the two",
            param="previous_response_id",
            code="invalid_value",
        )
    return chain.remembers


async def _chain(request: Request, model: str) -> Chain:
    # Importing one takes a while.
    return await in_thread(partial(registry_of(request).chain, model.removeprefix(CHAINS)))


async def _read_items(store: ResponseStore, asked: ContextFields) -> tuple[list[Json], list[Json]]:
    """The request's own items, and those that it goes on from."""
    own = checked_items(asked.input or [])
    own = resolved(own, await store.items(referenced(own)))
    previous = asked.previous_response_id
    return own, await store.history(previous) if previous is not None else []


async def _whole(turn: Turn) -> Json:
    try:
        answer = await turn.call.complete()
    except LASError as error:
        raise with_our_fields(error) from None
    response = with_answer(turn.shell, turn.read, answer)
    if response["usage"] is not None and turn.call.cost is not None:
        response["usage"].setdefault("cost", turn.call.cost)
    return await turn.keep(response)


async def _events(turn: Turn, events: ResponseEvents) -> AsyncGenerator[bytes]:
    try:
        async with aclosing(turn.call.chunks()) as chunks:
            async for chunk in chunks:
                if told := encoded(events.of(chunk)):
                    yield told
    except LASError as error:
        raise with_our_fields(error) from None
    yield encoded(events.end())
    # Kept before the client is told that it is whole, since it may go on from it at once.
    yield encoded(events.last(await turn.keep(events.response)))


async def input_tokens(request: Request, asked: InputTokensRequest) -> int:
    """How many tokens the model would read; those of a chain are counted as its model's alone.

    Raises:
        LASError: a field is wrong.
    """
    read = reading_of(asked)
    service = service_of(request)
    if asked.model is not None and asked.model.startswith(CHAINS):
        await _chain(request, asked.model)
    own, history = await _read_items(ResponseStore.of(service.settings), asked)
    body = chat_body(read, [*history, *own])
    model = None if asked.model is None or asked.model.startswith(CHAINS) else asked.model
    try:
        # Importing what counts, and counting, take a while.
        return await in_thread(partial(service.count_tokens, model, body))
    except LASError as error:
        raise with_our_fields(error) from None


def page_of(items: Sequence[Json], *, after: str | None, limit: int, order: str) -> Json:
    """A page of *items* as lists are answered.

    Args:
        items: from the oldest to the newest.
        after: id of the last item of the page before.
        limit: most items.
        order: ``asc``, or ``desc`` for the newest first.

    Raises:
        BadRequestError: there is no item *after*.
    """
    ordered = [*items] if order == "asc" else [*reversed(items)]
    if after is not None:
        places = [index for index, item in enumerate(ordered) if item["id"] == after]
        if not places:
            raise BadRequestError(f"after: there is no item {after!r:.100} in it", param="after", code="invalid_value")
        ordered = ordered[places[0] + 1 :]
    page = ordered[:limit]
    ends = {"first_id": page[0]["id"] if page else None, "last_id": page[-1]["id"] if page else None}
    return {"object": "list", "data": page, **ends, "has_more": len(ordered) > limit}
