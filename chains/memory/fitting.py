"""As much of a conversation as a model can read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, trim_messages

from las_langchain.threads import in_thread

if TYPE_CHECKING:
    from las_langchain import ChatLAS
    from las_langchain.settings import LASSettings

_MARKUP = 16
"""Tokens that a model's template adds to a message at most."""
_LARGEST_SHARE = 4
"""An answer gets this fraction of the context at most."""


async def fitting(model: ChatLAS, messages: Sequence[BaseMessage], settings: LASSettings) -> list[BaseMessage]:
    """The newest of *messages* that leave room for an answer, beginning with a person's; system messages are kept.

    Tokens are counted only where the conversation may be too long. What a person said last is there even if it is too
    long by itself: the model says so then. A model of unknown context gets everything.

    Args:
        model: which is to read them.
        messages: the conversation.
        settings: say how long an answer may be.
    """
    profile = model.profile or {}
    context = profile.get("max_input_tokens")
    if not context:
        return list(messages)
    answer = settings.max_tokens or profile.get("max_output_tokens") or settings.local_max_tokens
    budget = context - min(answer, context // _LARGEST_SHARE)
    if sum(map(_most_tokens, messages)) <= budget:
        return list(messages)
    return await in_thread(lambda: _trimmed(model, messages, budget))


def _trimmed(model: ChatLAS, messages: Sequence[BaseMessage], budget: int) -> list[BaseMessage]:
    count = model.get_num_tokens_from_messages
    system: list[BaseMessage] = [message for message in messages if isinstance(message, SystemMessage)]
    said = [message for message in messages if not isinstance(message, SystemMessage)]
    room = budget - (count(system) if system else 0)
    kept = trim_messages(said, max_tokens=max(room, 0), token_counter=count, strategy="last", start_on="human")
    return [*system, *(kept or _newest(said))]


def _newest(said: list[BaseMessage]) -> list[BaseMessage]:
    """What is said since a person's last message, with that."""
    places = [place for place, message in enumerate(said) if isinstance(message, HumanMessage)]
    return said[places[-1] :] if places else said


def _most_tokens(message: BaseMessage) -> float:
    """No fewer tokens than *message* has: each is a byte at least. Infinite for what is no text."""
    blocks = [] if isinstance(message.content, str) else message.content
    if any(isinstance(block, dict) and block.get("type") != "text" for block in blocks):
        return math.inf
    calls = str(message.tool_calls) if isinstance(message, AIMessage) else ""
    return len(f"{message.text}{calls}".encode(errors="replace")) + _MARKUP
