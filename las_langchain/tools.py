"""Tools in every form that users have them, as OpenAI's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import or_
from types import UnionType
from typing import Annotated, Any, Literal, NotRequired, Required, Union, get_args, get_origin

import typing_extensions
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from las_langchain.errors import BadRequestError
from las_langchain.strict import strict_schema

Json = dict[str, Any]
ToolLike = Json | type | Callable[..., Any] | BaseTool

_OF_A_FUNCTION = frozenset({"name", "description", "parameters", "strict", "input_schema", "type", "function"})


def openai_tool(tool: ToolLike, strict: bool | None = None) -> Json:
    """*tool* as OpenAI's dict.

    What a provider wants beside the function itself, such as Anthropic's ``cache_control``, stays at the top: it is
    read from ``BaseTool.extras`` and from dicts. A tool that the provider runs itself (a dict with another ``type``
    than ``function``) is passed on as it is.

    Args:
        tool: a function, a pydantic class, a TypedDict, a LangChain tool, or a dict of OpenAI's, Anthropic's or JSON
            schema's kind.
        strict: whether arguments must match the schema exactly, which OpenAI then guarantees.
    """
    if isinstance(tool, dict) and tool.get("type", "function") not in ("function", "custom", "object"):
        return tool
    converted = typed_dict_tool(tool) if typing_extensions.is_typeddict(tool) else dict(convert_to_openai_tool(tool))
    if isinstance(tool, dict) and ("input_schema" in tool or "function" in tool):
        converted |= {key: value for key, value in tool.items() if key not in _OF_A_FUNCTION}
    converted |= (getattr(tool, "extras", None) or {}) if isinstance(tool, BaseTool) else {}
    if strict is not None and "function" in converted:
        converted["function"] = _with_strict(converted["function"], strict)
    return converted


def typed_dict_tool(schema: Any) -> Json:
    """A TypedDict as OpenAI's tool; langchain-core's own conversion fails on ``NotRequired`` and its like."""
    return dict(convert_to_openai_tool(_without_qualifiers(schema)))


def _without_qualifiers(schema: Any) -> Any:
    """*schema* with what may be left out said as langchain-core reads it: ``Annotated[type, default, description]``."""
    hints = typing_extensions.get_type_hints(schema, include_extras=True)
    # Where annotations are kept as text, __optional_keys__ knows of `total` only.
    plain: Any = {name: _plain(hint, optional=name in schema.__optional_keys__) for name, hint in hints.items()}
    make: Any = typing_extensions.TypedDict
    result = make(schema.__name__, plain)
    result.__doc__ = schema.__doc__
    return result


def _plain(hint: Any, *, optional: bool = False) -> Any:
    notes: tuple[Any, ...] = ()
    while (origin := get_origin(hint)) in (Annotated, *_QUALIFIERS):
        hint, *more = get_args(hint)
        notes += tuple(more)
        optional = origin in _OPTIONAL or (optional and origin not in _REQUIRED)
    described = notes[1:] if notes and (notes[0] is ... or notes[0] is None) else notes
    hint = _inside(hint)
    if optional:
        return Annotated[(hint, None, *described)]
    return Annotated[(hint, *notes)] if notes else hint


def _inside(hint: Any) -> Any:
    if typing_extensions.is_typeddict(hint):
        return _without_qualifiers(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if not arguments or origin is Literal:
        return hint
    inner = tuple(_plain(argument) for argument in arguments)
    return reduce(or_, inner) if origin in (Union, UnionType) else origin[inner]


_OPTIONAL = (NotRequired, typing_extensions.NotRequired)
_REQUIRED = (Required, typing_extensions.Required)
_QUALIFIERS = (*_OPTIONAL, *_REQUIRED, typing_extensions.ReadOnly)


def _with_strict(function: Json, strict: bool) -> Json:
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    # A function is called with what the model said, where null would not be taken for a default.
    sent = strict_schema(parameters, null_for_defaults=False) if strict else parameters
    return {**function, "parameters": sent, "strict": strict}


def openai_tool_choice(choice: str | bool | Json, tools: Sequence[Json]) -> str | Json | None:
    """OpenAI's ``tool_choice`` for *choice*.

    Args:
        choice: ``auto``, ``none``, ``any``, ``required`` or True, a tool's name, or OpenAI's or Anthropic's dict. False
            leaves it to the provider.
        tools: OpenAI's tools.

    Raises:
        BadRequestError: *choice* names none of *tools*.
    """
    if choice is False:
        return None
    if isinstance(choice, dict):
        return _from_dict(choice, tools)
    if choice is True or choice in ("any", "required"):
        return "required"
    if choice in ("auto", "none"):
        return choice
    names = [tool.get("function", tool).get("name") for tool in tools]
    if choice not in names:
        raise BadRequestError(f"tool_choice names {choice!r}, which is not among the tools", param="tool_choice")
    return {"type": "function", "function": {"name": choice}}


def _from_dict(choice: Json, tools: Sequence[Json]) -> str | Json | None:
    """Anthropic's ``{"type": "tool", "name": …}``, ``{"type": "any"}`` and the like; OpenAI's stay."""
    if choice.get("type") == "tool":
        return openai_tool_choice(str(choice.get("name")), tools)
    return openai_tool_choice(choice["type"], tools) if choice.keys() == {"type"} else choice
