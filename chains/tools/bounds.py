"""Arithmetic that stays small: whatever would be too large is refused before it is computed."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any, cast

from las_langchain.errors import BadRequestError

Number = int | float

MOST_BITS = 14_000
"""Of a whole number: about 4,200 digits, which Python still prints."""
MOST_ITEMS = 10_000
"""Of a list, with the items of its items."""


class Refused(BadRequestError):
    """What was written is not allowed, too large, or wrong; the text says which."""


def weight(value: Any) -> int:
    """The items of *value* with those inside it; a list may hold another one many times.

    Raises:
        Refused: there are too many.
    """
    count, open_ = 0, [value]
    while open_:
        items = open_.pop()
        count += len(items)
        if count > MOST_ITEMS:
            raise Refused(f"A list is too long: at most {MOST_ITEMS} items")
        if not isinstance(items, range):
            inside = [*items, *items.values()] if isinstance(items, dict) else items
            open_.extend(item for item in inside if isinstance(item, list | tuple | dict | set | range))
    return count


def joined(op: ast.operator, left: Any, right: Any) -> Any:
    """Two lists as one, or a list several times.

    Raises:
        Refused: it would be too long, or is anything else.
    """
    if isinstance(op, ast.Add) and type(left) is type(right):
        return left + right
    items, times = (left, right) if isinstance(left, list | tuple) else (right, left)
    if isinstance(op, ast.Mult) and isinstance(times, int):
        if len(items) * times > MOST_ITEMS:
            raise Refused(f"A list is too long: at most {MOST_ITEMS} items")
        return items * times
    raise Refused("Lists can be added to each other and repeated, no more")


def number(value: Any) -> Number:
    """*value*, which must be a number.

    Raises:
        Refused: it is none.
    """
    if not isinstance(value, int | float):
        raise Refused(f"Not a number: {shown(value)}")
    return value


def bounded_power(base: Number, exponent: Number) -> Any:
    """*base* to the power of *exponent*.

    Raises:
        Refused: it would be too large; nothing is computed then.
    """
    base, exponent = number(base), number(exponent)
    whole = isinstance(base, int) and isinstance(exponent, int)
    # At least that many bits; a negative power is a fraction, and computed as one.
    if whole and (int(abs(base)).bit_length() - 1) * exponent > MOST_BITS:
        raise Refused("The result is too large")
    return cast("Any", base**exponent)


def bounded_product(left: Number, right: Number) -> Number:
    """The product of two numbers.

    Raises:
        Refused: it would be too large.
    """
    left, right = number(left), number(right)
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() + right.bit_length() > MOST_BITS + 1:
        raise Refused("The result is too large")
    return left * right


OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: bounded_product,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: bounded_power,
}


def shown(value: Any) -> str:
    """*value* as errors show it; never long."""
    # What a list shows of itself may be long.
    return f"{value!r:.60}" if isinstance(value, int | float | str) else f"a {type(value).__name__}"
