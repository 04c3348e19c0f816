"""What can be published: a runnable, and what people and programs must know to use it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from langchain_core.messages import AIMessage, BaseMessage, message_chunk_to_message
from langchain_core.runnables import Runnable
from pydantic import BaseModel

from las_langchain.settings import LASSettings


def answer_message(output: Any) -> AIMessage:
    """A chain's output as the answer of a model: a message as it is, a text as its content, anything else as JSON."""
    if isinstance(output, BaseMessage):
        whole = message_chunk_to_message(output)
        return whole if isinstance(whole, AIMessage) else AIMessage(content=whole.content)
    if isinstance(output, str):
        return AIMessage(content=output)
    return AIMessage(content=orjson.dumps(output, default=_plain, option=orjson.OPT_INDENT_2).decode())


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain, and how it is published.

    Attributes:
        name: letters, digits, ``-`` and ``_``; part of addresses.
        title: for people.
        description: one sentence for people: what goes in and what comes out.
        build: makes the runnable, once, when it is first used; may raise :class:`~las_langchain.errors.LASError`.
        input_type: what the runnable takes; a pydantic class whose fields have descriptions and examples.
        output_type: what ``invoke`` gives.
        from_messages: the input that stands for a chat's messages; None: a chat cannot be put to it.
        to_message: the output as the answer in a chat.
        remembers: whether the config's ``thread_id`` names a conversation that it goes on with.
        takes_tools: whether its model may call the tools of :func:`~chains.client_tools.offered_tools`.
    """

    name: str
    title: str
    description: str
    build: Callable[[LASSettings], Runnable[Any, Any]]
    input_type: Any
    output_type: Any = AIMessage
    from_messages: Callable[[list[BaseMessage]], Any] | None = None
    to_message: Callable[[Any], AIMessage] = answer_message
    remembers: bool = False
    takes_tools: bool = False
