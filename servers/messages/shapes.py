"""How Anthropic's requests are checked, and how what is wrong with one is said: the path of the field first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from las_langchain.errors import BadRequestError
from las_langchain.settings import nearest

Json = dict[str, Any]
Model = TypeVar("Model", bound=BaseModel)
Item = TypeVar("Item")

_MOST_FIELDS = 64
_MARK = "§"
"""Begins the tags of alternatives that are no part of a field's path."""


class Shape(BaseModel):
    """An object of a request: its fields and no others."""

    model_config = ConfigDict(extra="forbid", strict=True, str_max_length=20_000_000, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _is_small(cls, value: Any) -> Any:
        """Refuse an object with many entries before they are looked at."""
        if isinstance(value, dict) and len(value) > _MOST_FIELDS:
            raise PydanticCustomError("too_long", "Object should have at most {most} entries", {"most": _MOST_FIELDS})
        return value


def _form(value: Any) -> str:
    return "§list" if isinstance(value, list) else "§text"


TextOr = Annotated[
    Annotated[str, Tag("§text")]
    | Annotated[Annotated[list[Item], Field(max_length=10_000, fail_fast=True)], Tag("§list")],
    Discriminator(_form),
]
"""A text, or a list of items."""


def checked(shape: type[Model], fields: Json) -> Model:
    """The fields of a request as *shape*.

    Raises:
        BadRequestError: one is unknown or wrong; the message and ``param`` name it, as ``messages.1.content.0.text``.
    """
    try:
        return shape.model_validate(fields)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
    # An unknown name is often a known one misspelt, which is then missing too.
    first = next((item for item in found if item["type"] == "extra_forbidden"), found[0])
    path, message = _path(first["loc"], fields), first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = f"Extra inputs are not permitted{nearest(path[0], shape.model_fields) if len(path) == 1 else ''}"
    elif first["type"] == "union_tag_not_found":
        path, message = [*path, "type"], "Field required"
    elif first["type"] == "none_required" or "at most 0 items" in message:
        message = "Not supported here: leave it out"
    raise refused(".".join(path) or "body", message)


def _path(location: Sequence[str | int], value: Any) -> list[str]:
    """The path that leads to what is wrong in *value*, without the alternatives that pydantic names on its way."""
    path: list[str] = []
    is_new = True
    for part in location:
        if isinstance(part, str) and (part.startswith(_MARK) or (is_new and _is_tag(part, value))):
            is_new = part.startswith(_MARK) and is_new
            continue
        path.append(str(part)[:100])
        value = _inside(value, part)
        is_new = True
    return path


def _is_tag(part: str, value: Any) -> bool:
    return isinstance(value, dict) and value.get("type") == part


def _inside(value: Any, part: str | int) -> Any:
    if isinstance(value, dict):
        return value.get(part)
    return value[part] if isinstance(value, list) and isinstance(part, int) and part < len(value) else None


def refused(where: str, why: str) -> BadRequestError:
    """What is wrong with the field at the path *where*."""
    return BadRequestError(f"{where}: {why}"[:500], param=where[:200], code="invalid_value")
