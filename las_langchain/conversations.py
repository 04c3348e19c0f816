"""A conversation as callers give it, and as a provider reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from pydantic import BaseModel

from las_langchain.errors import BadRequestError
from las_langchain.providers import Target

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

Json = dict[str, Any]
# LangChain's messages are imported with the first conversation: a server that only hands on what it gets has none.
Message: TypeAlias = "Json | BaseMessage"
Messages: TypeAlias = "str | Iterable[Json | BaseMessage | BaseModel]"
"""A text that the user says, or messages: OpenAI's dicts, LangChain's, or those that the ``openai`` package returns."""


def messages_of(given: Messages | None) -> list[Message]:
    """*given* as a list of OpenAI's dicts and LangChain's messages.

    Raises:
        BadRequestError: it holds nothing, or is no conversation; what a message holds is checked when it is sent.
    """
    if isinstance(given, str) and given:
        return [{"role": "user", "content": given}]
    if not given:
        raise BadRequestError("messages: expected at least one message", param="messages")
    if isinstance(given, (bytes, dict, BaseModel)) or not isinstance(given, Iterable):
        raise BadRequestError(f"messages: expected a list of messages, not {type(given).__name__}", param="messages")
    messages = [_message(message, index) for index, message in enumerate(given)]
    if not messages:
        raise BadRequestError("messages: expected at least one message", param="messages")
    return messages


def _message(given: Any, index: int) -> Message:
    from langchain_core.messages import BaseMessage

    if isinstance(given, (dict, BaseMessage)):
        return given
    if isinstance(given, BaseModel):
        return given.model_dump(exclude_none=True, exclude_unset=True, warnings=False)
    where = f"messages[{index}]"
    raise BadRequestError(f"{where}: expected a message with role and content, not {given!r:.60}", param=where)


def as_openai(messages: Sequence[Message], provider: str) -> list[Json]:
    """*messages* as OpenAI's dicts, in the words of *provider*.

    Raises:
        BadRequestError: a message is of a kind that no chat model takes, or a content block is incomplete.
    """
    from langchain_core.messages import BaseMessage

    from las_langchain.messages import to_openai

    result: list[Json] = []
    for is_langchains, group in groupby(messages, lambda message: isinstance(message, BaseMessage)):
        if is_langchains:
            result += to_openai([cast("BaseMessage", message) for message in group], provider)
        else:
            result += [dict(cast("Json", message)) for message in group]
    return result


def chat_request(messages: Sequence[Message], fields: Json, first: Target) -> Callable[[Target], Json]:
    """A function that makes OpenAI's chat request for the model that is about to be asked.

    Args:
        messages: which must not change before there is an answer.
        fields: the request's other fields; those that are None are left out.
        first: the model that *fields* were meant for. Others may be its fallbacks.
    """
    own = request_for(fields, first)
    return lambda target: {**own(target), "messages": as_openai(messages, target.provider)}


def request_for(fields: Json, first: Target) -> Callable[[Target], Json]:
    """A function that gives the fields of a request to the model that is about to be asked; arguments as above."""
    kept = {name: value for name, value in fields.items() if value is not None}
    neutral = {name: value for name, value in kept.items() if name != "extra_body"}
    return lambda target: kept if target.provider == first.provider else neutral
