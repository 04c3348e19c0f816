"""Context variables that hold for the length of a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def holding(variable: ContextVar[T], value: T) -> Iterator[T]:
    """Have *variable* hold *value* for what runs inside; gives *value*."""
    token = variable.set(value)
    try:
        yield value
    finally:
        variable.reset(token)
