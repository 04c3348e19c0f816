"""On whose behalf calls are made: the key, chain and request that the ledger, the budgets and the logs name."""

from __future__ import annotations

from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass

from las_langchain.contexts import holding


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is behind a call.

    Attributes:
        key_id: a name for the caller's key, never the key itself; None: nobody in particular.
        chain: the chain that makes the call; None: none.
        request_id: the HTTP request, or whatever else its user wants to find the call by.
    """

    key_id: str | None = None
    chain: str | None = None
    request_id: str | None = None


_NOBODY = Caller()
_CALLER: ContextVar[Caller] = ContextVar("las_caller")


def current_caller() -> Caller:
    """The caller of this task or thread."""
    return _CALLER.get(_NOBODY)


def calling(
    *, key_id: str | None = None, chain: str | None = None, request_id: str | None = None
) -> AbstractContextManager[Caller]:
    """Make the calls inside on behalf of somebody; what is left out stays as it is.

    ::

        with calling(key_id="alice"):
            ChatLAS().invoke("Hello")

    Args:
        key_id: as in :class:`Caller`; budgets and ``las cost --by key`` go by it.
        chain: as in :class:`Caller`.
        request_id: as in :class:`Caller`.
    """
    now = current_caller()
    caller = Caller(
        now.key_id if key_id is None else key_id,
        now.chain if chain is None else chain,
        now.request_id if request_id is None else request_id,
    )
    return holding(_CALLER, caller)
