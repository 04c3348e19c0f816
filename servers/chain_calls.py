"""A chain as a model: a chat request put to it, its output as the answer."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk
from starlette.requests import Request

from chains.inputs import ChatInput, checked
from chains.registry import ChainRegistry
from las_langchain.callers import calling
from las_langchain.errors import BadRequestError
from las_langchain.service import using
from servers.deps import service_of
from servers.event_stream import pumped

Json = dict[str, Any]


class ChainCall:
    """A :class:`~servers.chat_calls.ChatCall` to a chain.

    Args:
        request: says on whose behalf.
        registry: has the chain.
        name: the chain's.
        body: OpenAI's request without ``model`` and ``stream``.

    Raises:
        LASError: there is no such chain, it cannot be built, or it takes no chat.
    """

    def __init__(self, request: Request, registry: ChainRegistry, name: str, body: Json) -> None:
        self._chain = registry.chain(name)
        if self._chain.from_messages is None:
            raise BadRequestError(f"model: {name} takes no chat; use /chains/{name}/invoke", param="model")
        self._runnable = registry.runnable(name)
        self._service = service_of(request)
        self._input = self._chain.from_messages([*checked(ChatInput, {"messages": body["messages"]}).messages])
        self._head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": self.model}

    @property
    def model(self) -> str:
        """See :class:`~servers.chat_calls.ChatCall`."""
        return f"chains/{self._chain.name}"

    @property
    def cost(self) -> float | None:
        """See :class:`~servers.chat_calls.ChatCall`."""
        return None

    @property
    def headers(self) -> Mapping[str, str]:
        """See :class:`~servers.chat_calls.ChatCall`."""
        return {}

    async def complete(self) -> Json:
        """See :class:`~servers.chat_calls.ChatCall`."""
        content = ""
        async with aclosing(self.chunks()) as chunks:
            async for chunk in chunks:
                for choice in chunk["choices"]:
                    content += choice["delta"].get("content") or ""
        message = {"role": "assistant", "content": content, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        return {**self._head, "object": "chat.completion", "choices": [choice]}

    async def chunks(self) -> AsyncGenerator[Json]:
        """See :class:`~servers.chat_calls.ChatCall`."""
        async with aclosing(pumped(self._deltas())) as deltas:
            yield self._chunk({"role": "assistant", "content": ""})
            async for delta in deltas:
                yield self._chunk(delta)
            yield self._chunk({}, "stop")

    def _chunk(self, delta: Json, finish_reason: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}

    async def _deltas(self) -> AsyncGenerator[Json]:
        with using(self._service), calling(chain=self._chain.name):
            async for part in self._runnable.astream(self._input):
                if isinstance(part, (AIMessage, AIMessageChunk)):
                    thought = part.additional_kwargs.get("reasoning_content")
                    if thought:
                        yield {"reasoning_content": thought}
                    if part.text:
                        yield {"content": str(part.text)}
                else:
                    text = part if isinstance(part, str) else str(self._chain.to_message(part).content)
                    yield {"content": text}
