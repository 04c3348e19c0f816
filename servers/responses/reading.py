"""Reading nested objects of a request, so that each complaint names its place, such as ``input[2].content[0].text``."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from las_langchain.errors import BadRequestError
from las_langchain.settings import nearest

Json = dict[str, Any]
_LONGEST_NAME = 100


def wrong(where: str, what: str, code: str = "invalid_value") -> BadRequestError:
    """The error that says *what* is wrong at *where*."""
    return BadRequestError(f"{where}: {what}", param=where, code=code)


def an_object(value: Any, where: str, known: Collection[str] | None = None) -> Json:
    """*value* as an object.

    Args:
        value: what is there.
        where: its place.
        known: the only names it may have; others may be there as null, which clients write for what they left out.

    Raises:
        BadRequestError: it is none, or has further names.
    """
    if not isinstance(value, dict):
        raise wrong(where, "expected an object", "invalid_type")
    for name in value if known is not None else ():
        if name not in (known or ()) and value[name] is not None:
            place = f"{where}.{name:.{_LONGEST_NAME}}"
            raise wrong(place, f"unknown parameter{nearest(name, known or ())}", "unknown_parameter")
    return value


def a_list(holder: Json, name: str, where: str, *, most: int = 10_000) -> list[Any]:
    """The list *name* of *holder*; empty where there is none.

    Raises:
        BadRequestError: it is none, or has more than *most* items.
    """
    value = holder.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise wrong(f"{where}.{name}", "expected a list", "invalid_type")
    if len(value) > most:
        raise wrong(f"{where}.{name}", f"expected at most {most} items")
    return value


def a_text(holder: Json, name: str, where: str, *, most: int | None = None, empty: bool = True) -> str:
    """The text *name* of *holder*, which must be there.

    Args:
        holder: an object.
        name: of its field.
        where: the place of *holder*.
        most: letters that it may have.
        empty: whether it may have none.

    Raises:
        BadRequestError: it is missing, none, too long or empty.
    """
    value, place = holder.get(name), f"{where}.{name}"
    if value is None:
        raise BadRequestError(f"Missing required parameter: {place}", param=place, code="missing_required_parameter")
    if not isinstance(value, str):
        raise wrong(place, "expected a text", "invalid_type")
    if most is not None and len(value) > most:
        raise wrong(place, f"expected at most {most} letters")
    if not value and not empty:
        raise wrong(place, "expected a text that is not empty")
    return value


def optional_text(holder: Json, name: str, where: str, *, most: int | None = None) -> str | None:
    """The text *name* of *holder*, if there is one; failures as for :func:`a_text`."""
    return None if holder.get(name) is None else a_text(holder, name, where, most=most)


def one_of(value: Any, allowed: Collection[str], where: str) -> str:
    """*value*, which must be one of *allowed*.

    Raises:
        BadRequestError: it is not.
    """
    if not isinstance(value, str) or value not in allowed:
        shown = f"{value!r:.100}" if isinstance(value, str) else f"a {type(value).__name__}"
        raise wrong(where, f"expected one of {', '.join(allowed)}, not {shown}")
    return value
