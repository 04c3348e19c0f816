"""JSON as clients send it, read without more work than its size is worth."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
from pydantic_core import from_json

from las_langchain.errors import BadRequestError

Json = dict[str, Any]
_LONGEST_NAME = 100
_SAME_DIGITS = bytes.maketrans(b"123456789E", b"000000000e")
_MANY = b"0" * 309


def decoded(raw: bytes) -> Json:
    """The object that *raw* holds.

    Raises:
        BadRequestError: it is not JSON, no object, or holds a number that is not finite; ``param`` says where.
    """
    with _uncollected():
        try:
            found = from_json(raw)
        except ValueError as error:
            raise BadRequestError(f"The body is not valid JSON: {error}") from None
        if not isinstance(found, dict):
            raise BadRequestError("The body is not a JSON object", code="invalid_value")
        if _may_hold_infinite(raw):
            _check_finite(raw)
    return found


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the garbage collector, which would go through millions of new objects again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _may_hold_infinite(raw: bytes) -> bool:
    """Whether *raw* has what every number that is not finite has; texts may have it too."""
    if b"NaN" in raw or b"Infinity" in raw:
        return True
    digits = raw.translate(_SAME_DIGITS)
    return b"e000" in digits or b"e+000" in digits or _MANY in digits


def _check_finite(raw: bytes) -> None:
    try:
        orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        where = _place(raw.decode()[: error.pos].rstrip("-"))
        message = f"{where}: expected a finite number: NaN, Infinity and numbers beyond 1e308 are not JSON"
        raise BadRequestError(message, param=where, code="invalid_value") from None


def _place(before: str) -> str:
    """The path of the value that follows *before*, such as ``tools[0].function``."""
    where, value = "", from_json(before + "null", allow_partial=True)
    while value:
        if isinstance(value, list):
            where, value = f"{where}[{len(value) - 1}]", value[-1]
        else:
            name = next(reversed(value))
            where, value = f"{where}.{name:.{_LONGEST_NAME}}", value[name]
    return where.removeprefix(".")[:_LONGEST_NAME]
