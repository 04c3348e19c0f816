"""Which run of a chain a call of a model belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from las_langchain.contexts import holding
from las_langchain.records import CallRecord

Json = dict[str, Any]


class Run(Protocol):
    """What is told of the calls that are made in a run."""

    def add(self, record: CallRecord) -> None:
        """Add a call that has ended."""
        ...


class ChainWatch:
    """An observer that tells each run of the calls that are made in it."""

    def __init__(self) -> None:
        self._running: dict[str, Run] = {}

    def began(self, record: CallRecord, request: Json) -> None:
        """See :class:`~las_langchain.records.Observer`."""
        if (run := _RUN.get()) is not None:
            self._running[record.id] = run

    def ended(self, record: CallRecord, answer: Json | None) -> None:
        """See :class:`~las_langchain.records.Observer`."""
        # It may end in another context than it began in.
        if (run := self._running.pop(record.id, None)) is not None:
            run.add(record)


_RUN: ContextVar[Run | None] = ContextVar("las_run", default=None)


@contextmanager
def telling(run: Run) -> Iterator[None]:
    """Tell *run* of the calls that are made inside by way of a service with a :class:`ChainWatch`."""
    with holding(_RUN, run):
        yield
