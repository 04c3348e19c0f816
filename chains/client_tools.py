"""The tools of whoever asks a chain: its model may call them, and the asker carries them out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from las_langchain.contexts import holding
from las_langchain.errors import BadRequestError

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Offered:
    """What a client offers.

    Attributes:
        tools: OpenAI's objects, each a function.
        choice: OpenAI's ``tool_choice``; None: the model decides.
        parallel: OpenAI's ``parallel_tool_calls``.
    """

    tools: tuple[Json, ...]
    choice: str | Json | None = None
    parallel: bool | None = None

    @property
    def names(self) -> frozenset[str]:
        """The names of the tools."""
        return frozenset(tool["function"]["name"] for tool in self.tools)

    @property
    def settings(self) -> Json:
        """What else a model is told that calls them."""
        return {} if self.parallel is None else {"parallel_tool_calls": self.parallel}

    def choice_among(self, *, first: bool) -> str | Json | None:
        """What a call of the model must choose: a certain tool only once, any tool until it is one of these.

        Args:
            first: whether it is the first call of the run.
        """
        return self.choice if first or self.choice == "required" else None

    def check(self, own: Iterable[str]) -> None:
        """Check that no tool has the name of one of the chain's *own*.

        Raises:
            BadRequestError: one has.
        """
        for name in sorted(self.names.intersection(own)):
            raise BadRequestError(
                f"tools: this chain has a tool {name!r} of its own; give yours another name, or leave it out",
                param="tools",
                code="invalid_value",
            )


_OFFERED: ContextVar[Offered | None] = ContextVar("las_client_tools", default=None)


def offered_tools() -> Offered | None:
    """What is offered to this run; None: nothing."""
    return _OFFERED.get()


@contextmanager
def offering(offered: Offered | None) -> Iterator[None]:
    """Offer tools to what runs inside."""
    with holding(_OFFERED, offered):
        yield
