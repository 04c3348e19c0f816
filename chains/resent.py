"""What a client says was said before in a conversation, for a memory that has nothing of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage, SystemMessage
from langchain_core.runnables import RunnableConfig

from las_langchain.contexts import holding

if TYPE_CHECKING:
    from langgraph.pregel import Pregel

_EARLIER: ContextVar[tuple[BaseMessage, ...]] = ContextVar("las_earlier_messages", default=())


@contextmanager
def resending(messages: Sequence[BaseMessage]) -> Iterator[None]:
    """Have the graphs that run inside begin with *messages* where they remember none."""
    with holding(_EARLIER, tuple(messages)):
        yield


async def with_earlier(graph: Pregel[Any, Any, Any, Any], messages: Sequence[Any], config: RunnableConfig) -> list[Any]:
    """*messages*, after those before them if *graph* remembers none of the conversation of *config*.

    Args:
        graph: one with a checkpointer.
        messages: what is new.
        config: of the run.
    """
    earlier = _EARLIER.get()
    if not earlier or (await graph.aget_state(config)).values.get("messages"):
        return list(messages)
    system = list(takewhile(lambda message: isinstance(message, SystemMessage), messages))
    return [*system, *earlier, *messages[len(system) :]]
