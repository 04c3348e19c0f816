"""A chain as a model: a chat request put to it, its output as the answer."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from itertools import takewhile
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, SystemMessage
from starlette.requests import Request

from chains.chain import Chain
from chains.inputs import last_text
from chains.registry import ChainRegistry
from las_langchain.errors import BadRequestError
from las_langchain.messages import from_openai
from servers.chain_chunks import STATUS, Whole
from servers.chain_fields import chain_fields
from servers.chain_runs import ChainRun, Put
from servers.chain_threads import asked_thread, namespaced, thread_headers
from servers.deps import service_of
from servers.event_stream import pumped

Json = dict[str, Any]


class ChainCall:
    """A :class:`~servers.chat_calls.ChatCall` to a chain.

    Args:
        request: says on whose behalf, and which conversation is gone on with.
        registry: has the chain.
        name: the chain's.
        body: OpenAI's request without ``model`` and ``stream``.

    Raises:
        LASError: there is no such chain, it cannot be built, it takes no chat, or not what *body* asks for.
    """

    def __init__(self, request: Request, registry: ChainRegistry, name: str, body: Json) -> None:
        chain = registry.chain(name)
        self._service = service_of(request)
        self._thread = asked_thread(request, body) if chain.remembers else None
        put = _put(chain, body, self._thread)
        self._run = ChainRun(self._service, chain, registry.runnable(name), put)
        self._cost: float | None = None
        self._head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": f"chains/{name}"}

    @property
    def model(self) -> str:
        """See :class:`~servers.chat_calls.ChatCall`."""
        return str(self._head["model"])

    @property
    def cost(self) -> float | None:
        """See :class:`~servers.chat_calls.ChatCall`."""
        return self._cost

    @property
    def headers(self) -> Mapping[str, str]:
        """See :class:`~servers.chat_calls.ChatCall`."""
        return thread_headers(self._thread)

    async def complete(self) -> Json:
        """See :class:`~servers.chat_calls.ChatCall`."""
        whole = Whole()
        async with aclosing(self._deltas()) as deltas:
            async for delta in deltas:
                whole.add(delta)
        choice = {
            "index": 0,
            "message": whole.message(),
            "logprobs": None,
            "finish_reason": self._run.finish_reason,
        }
        return {**self._head, "object": "chat.completion", "choices": [choice], "usage": self._usage()}

    async def chunks(self) -> AsyncGenerator[Json]:
        """See :class:`~servers.chat_calls.ChatCall`."""
        begun, step = False, None
        async with aclosing(self._deltas()) as deltas:
            async for delta in deltas:
                if not begun:
                    begun = True
                    yield self._chunk({"role": "assistant", "content": ""})
                if STATUS in delta:
                    step = delta[STATUS]
                    yield self._event(step, done=False)
                elif delta:
                    yield self._chunk(delta)
        if not begun:
            yield self._chunk({"role": "assistant", "content": ""})
        if step is not None:
            yield self._event(step, done=True)
        yield self._chunk({}, self._run.finish_reason)
        yield {**self._chunk({}), "choices": [], "usage": self._usage()}

    def _deltas(self) -> AsyncGenerator[Json]:
        return pumped(self._run.deltas(self._service.settings.chain_steps))

    def _usage(self) -> Json:
        self._cost = self._run.usage.cost
        return self._run.usage.to_openai()

    def _chunk(self, delta: Json, finish_reason: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}

    def _event(self, step: str, *, done: bool) -> Json:
        """A step as Open WebUI shows them."""
        event = {"type": "status", "data": {"description": step, "done": done}}
        return {**self._head, "object": "chat.completion.chunk", "choices": [], "event": event}


def _put(chain: Chain, body: Json, thread: str | None) -> Put:
    if chain.from_messages is None:
        raise BadRequestError(
            f"model: chains/{chain.name} takes no chat; use POST /chains/{chain.name}/invoke, whose input is described "
            f"at /chains/{chain.name}/input_schema",
            param="model",
        )
    fields = chain_fields(body, chain)
    messages = from_openai(body["messages"])
    if thread is None:
        return Put(chain.from_messages(messages), (), last_text(messages), fields, None)
    earlier, new = _parted(messages)
    return Put(chain.from_messages(new), earlier, last_text(new), fields, namespaced(thread))


def _parted(messages: Sequence[BaseMessage]) -> tuple[list[BaseMessage], list[BaseMessage]]:
    """What a memory of the conversation has already, and what is new, since clients send all of it each time.

    Raises:
        BadRequestError: nothing is.
    """
    first = next((place for place in range(len(messages), 0, -1) if isinstance(messages[place - 1], AIMessage)), 0)
    system = list(takewhile(lambda message: isinstance(message, SystemMessage), messages[:first]))
    if first == len(messages):
        raise BadRequestError("messages: nothing follows the last answer", param="messages", code="invalid_value")
    return list(messages[len(system) : first]), [*system, *messages[first:]]
