"""The chat call that answers a request for a response."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from starlette.requests import Request

from las_langchain.errors import ContextWindowExceededError
from las_langchain.providers import Target
from servers.chat_calls import CHAINS, ChatCall, ModelCall, chat_call
from servers.deps import service_of

Json = dict[str, Any]

_FORGETFUL = frozenset({"openai", "azure", "groq"})
"""Providers whose chats refuse a message that tells what was thought."""


async def call_of(request: Request, model: str, body: Json) -> ChatCall:
    """The call to *model*, or to a chain; arguments and errors are those of :func:`~servers.chat_calls.chat_call`."""
    if model.startswith(CHAINS) or not any("reasoning_content" in message for message in body["messages"]):
        return await chat_call(request, model, body)
    service = service_of(request)

    def body_for(target: Target) -> Json:
        return _without_thoughts(body) if target.provider in _FORGETFUL else body

    return ModelCall(service, service.target(model), body_for)


def _without_thoughts(body: Json) -> Json:
    messages = [
        {name: value for name, value in message.items() if name != "reasoning_content"} for message in body["messages"]
    ]
    return {**body, "messages": messages}


class TruncatedCall:
    """A :class:`~servers.chat_calls.ChatCall` that leaves out the oldest turns until the rest fits into the model.

    Args:
        make: makes the call to the same model with another body.
        call: the first one, with *body*.
        body: the chat request.
    """

    def __init__(self, make: Callable[[Json], Awaitable[ChatCall]], call: ChatCall, body: Json) -> None:
        self._make, self._call, self._body = make, call, body

    @property
    def model(self) -> str:
        """See :class:`~servers.chat_calls.ChatCall`."""
        return self._call.model

    @property
    def cost(self) -> float | None:
        """See :class:`~servers.chat_calls.ChatCall`."""
        return self._call.cost

    @property
    def headers(self) -> Mapping[str, str]:
        """See :class:`~servers.chat_calls.ChatCall`."""
        return self._call.headers

    async def complete(self) -> Json:
        """See :class:`~servers.chat_calls.ChatCall`."""
        while True:
            try:
                return await self._call.complete()
            except ContextWindowExceededError:
                if not await self._shorten():
                    raise

    async def chunks(self) -> AsyncGenerator[Json]:
        """See :class:`~servers.chat_calls.ChatCall`."""
        begun = False
        while True:
            try:
                async with aclosing(self._call.chunks()) as chunks:
                    async for chunk in chunks:
                        begun = True
                        yield chunk
            except ContextWindowExceededError:
                if begun or not await self._shorten():
                    raise
            else:
                return

    async def _shorten(self) -> bool:
        """Whether there was something left to leave out."""
        messages = without_oldest(self._body["messages"])
        if messages is None:
            return False
        self._body = {**self._body, "messages": messages}
        self._call = await self._make(self._body)
        return True


def without_oldest(messages: Sequence[Json]) -> list[Json] | None:
    """*messages* without the older half of their turns, each of which begins with a user's message.

    What the system says stays. None: there is but one turn left.
    """
    begins = [index for index, message in enumerate(messages) if message["role"] == "user"]
    if len(begins) < 2:
        return None
    cut = begins[(len(begins) + 1) // 2]
    kept = [message for message in messages[:cut] if message["role"] in ("system", "developer")]
    return [*kept, *messages[cut:]]
