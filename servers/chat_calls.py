"""One chat request to whoever answers it: a provider's model, the one in this process, or a chain."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any, Protocol

from starlette.requests import Request

from las_langchain.exchanges import Exchange
from las_langchain.providers import Target
from las_langchain.records import CallRecord, Operation
from las_langchain.service import LiteLLMService
from las_langchain.threads import in_thread
from las_langchain.transports import Event, chunks_of
from las_langchain.tries import Request as ModelRequest
from servers.client_fields import for_chain, for_model
from servers.deps import registry_of, service_of

Json = dict[str, Any]

_ENGINES = "timings"
"""What the engine of the embedded models measures, which no answer of OpenAI's has."""
CHAINS = "chains/"
"""What the names of chains begin with where they are models."""


class Told(Protocol):
    """What the headers of an answer tell of the call behind it."""

    @property
    def model(self) -> str:
        """The id of the model that answers; of several that are tried, the last."""
        ...

    @property
    def cost(self) -> float | None:
        """What the answer cost in US dollars; None: it is not there yet, or its price is not known."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """What further headers tell of it, once the first chunk is there."""
        ...


class ChatCall(Told, Protocol):
    """One chat request, not sent yet; it is sent once, in one of the two ways."""

    async def complete(self) -> Json:
        """The answer as a ``chat.completion``; cancelling it cancels the call.

        Raises:
            LASError: whatever went wrong.
        """
        ...

    def chunks(self) -> AsyncGenerator[Json]:
        """The answer as ``chat.completion.chunk`` objects; failures as for :meth:`complete`.

        The last one has no choices, and tells the usage with its ``cost``, where these are known; no other does.
        Closing the generator ends the call.
        """
        ...


async def chat_call(request: Request, model: str | None, body: Json, provider: str | None = None) -> ChatCall:
    """A chat request to *model*.

    Args:
        request: says on whose behalf, and by its headers which conversation a chain goes on with.
        model: its id, its bare name, an alias, or ``chains/<name>``; None: the default model.
        body: OpenAI's request without ``model`` and ``stream``, and fields beside it that the settings may allow.
        provider: the provider, if *model* does not name it.

    Raises:
        LASError: no such model or chain, no key for it, or a field that it does not take.
    """
    service = service_of(request)
    if provider is None and model is not None and model.startswith(CHAINS):
        # Importing LangChain, and building a chain, take a while.
        return await in_thread(partial(_chain_call, request, model, for_chain(body)))
    target = service.target(model, provider)
    return ModelCall(service, target, for_model(_readable(body, target.provider), target, service.settings))


def _readable(body: Json, provider: str) -> Json:
    """*body* with results of tools that *provider* reads: OpenAI's users may send pictures and documents in them."""
    if not any(one.get("role") == "tool" and isinstance(one.get("content"), list) for one in body["messages"]):
        return body
    # It imports LangChain's messages.
    from las_langchain.messages.requests import with_readable_results

    return {**body, "messages": with_readable_results(body["messages"], provider)}


def _chain_call(request: Request, model: str, body: Json) -> ChatCall:
    from servers.chain_calls import ChainCall

    return ChainCall(request, registry_of(request), model.removeprefix(CHAINS), body)


class ModelCall:
    """A :class:`ChatCall` to a provider's model, or to the one in this process.

    Args:
        service: what sends it.
        target: whom to ask.
        body: OpenAI's request, or a function that makes it for the model that is about to be asked.
        operation: what is asked for; of a ``text_completion`` the answer and the chunks are such.
    """

    def __init__(
        self, service: LiteLLMService, target: Target, body: ModelRequest, operation: Operation = "chat"
    ) -> None:
        self._service, self._target, self._body, self._operation = service, target, body, operation
        self._exchange: Exchange | None = None

    @property
    def model(self) -> str:
        """See :class:`ChatCall`."""
        return (self._target if self._exchange is None else self._exchange.target).id

    @property
    def cost(self) -> float | None:
        """See :class:`ChatCall`."""
        return None if self._exchange is None else self._exchange.record.cost_usd

    @property
    def headers(self) -> Mapping[str, str]:
        """See :class:`ChatCall`: by which transport the model was asked."""
        return {} if self._exchange is None else transport_header(self._exchange.record)

    async def complete(self) -> Json:
        """See :class:`ChatCall`."""
        self._exchange = self._service.exchange(self._operation, self._target, self._body)
        return _without(await self._exchange.complete(), _ENGINES)

    def chunks(self) -> AsyncGenerator[Json]:
        """See :class:`ChatCall`."""
        return chunks_of(self.events())

    async def events(self) -> AsyncGenerator[list[Event]]:
        """The same, together what has come together, and each chunk beside what the provider wrote."""
        self._exchange = self._service.exchange(self._operation, self._target, _telling_usage(self._body), stream=True)
        usage: Json | None = None
        last: Json = {}
        async with aclosing(self._exchange.events()) as pieces:
            async for piece in pieces:
                last = piece[-1].chunk
                usage = next((told for event in piece if (told := event.chunk.pop("usage", None))), usage)
                if told := [event for event in piece if event.chunk["choices"]]:
                    yield told
        if usage is not None:
            cost = {} if self.cost is None else {"cost": self.cost}
            yield [Event({**_without(last, _ENGINES), "choices": [], "usage": {**usage, **cost}})]


def transport_header(record: CallRecord) -> dict[str, str]:
    """The header that tells by which transport a model was asked, and why; empty: none was asked."""
    # The reason may name an option of las.toml, which can be any text; a header cannot.
    shown = "".join(letter if " " <= letter <= "~" else "?" for letter in record.transport or "")
    return {"x-las-transport": shown} if shown else {}


def _without(answer: Json, name: str) -> Json:
    return {key: value for key, value in answer.items() if key != name}


def _telling_usage(body: ModelRequest) -> ModelRequest:
    """*body*, asking for the usage, which the ledger needs whether or not the client wants to be told."""
    if callable(body):
        return lambda target: _with_usage(body(target))
    return _with_usage(body)


def _with_usage(body: Json) -> Json:
    return {**body, "stream_options": {**(body.get("stream_options") or {}), "include_usage": True}}
