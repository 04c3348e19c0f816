"""Tools in every form that users have them, as OpenAI's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, Required, Union, get_args, get_origin

import typing_extensions
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from las_langchain.errors import BadRequestError
from las_langchain.strict import strict_schema

if TYPE_CHECKING:
    from jsonschema_rs import Draft202012Validator as Validator

Json = dict[str, Any]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def _no_arguments() -> Json:
    return {"type": "object", "properties": {}}


@dataclass(frozen=True)
class ToolDefinition:
    """A tool that a model may call.

    Attributes:
        name: 1 to 64 letters, digits, underscores and dashes.
        description: what it does and when to call it, for the model.
        parameters: the JSON schema of its arguments, an object.

    Raises:
        BadRequestError: a field is wrong; ``param`` names it.
    """

    name: str
    description: str = ""
    parameters: Json = field(default_factory=_no_arguments)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise BadRequestError(
                f"name: a tool's is 1 to 64 letters, digits, underscores and dashes, not {self.name!r:.80}",
                param="name",
            )
        if not isinstance(self.description, str):
            raise BadRequestError(f"description: expected text for the tool {self.name!r}", param="description")
        if fault := parameters_fault(self.parameters):
            raise BadRequestError(f"parameters of the tool {self.name!r}: {fault}", param="parameters")

    def to_openai(self) -> Json:
        """The tool as OpenAI's dict."""
        function = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": {key: value for key, value in function.items() if value != ""}}


ToolLike = ToolDefinition | Json | type | Callable[..., Any] | BaseTool

_OF_A_FUNCTION = frozenset({"name", "description", "parameters", "strict", "input_schema", "type", "function"})


def parameters_fault(parameters: Any) -> str | None:
    """What keeps *parameters* from being the JSON schema of a tool's arguments; None if nothing does."""
    if not isinstance(parameters, dict) or parameters.get("type") != "object":
        return "expected a JSON schema whose type is object"
    try:
        arguments_validator(parameters)
    except ValueError as error:
        return f"not a JSON schema: {str(error).splitlines()[0]}"
    return None


def arguments_validator(parameters: Json) -> Validator:
    """Checks a call's arguments against the schema *parameters*.

    Patterns run in linear time and references are never fetched, since schemas may come from clients.

    Raises:
        ValueError: *parameters* are no JSON schema.
    """
    import jsonschema_rs

    linear = jsonschema_rs.RegexOptions()
    return jsonschema_rs.Draft202012Validator(parameters, pattern_options=linear, offline=True)


def openai_tool(tool: ToolLike, strict: bool | None = None) -> Json:
    """*tool* as OpenAI's dict.

    What a provider wants beside the function itself, such as Anthropic's ``cache_control``, stays at the top: it is
    read from ``BaseTool.extras`` and from dicts. A tool that the provider runs itself (a dict with another ``type``
    than ``function``) is passed on as it is.

    Args:
        tool: a function, a pydantic class, a TypedDict, a LangChain tool, a :class:`ToolDefinition`, or a dict of
            OpenAI's, Anthropic's or JSON schema's kind.
        strict: whether arguments must match the schema exactly, which OpenAI then guarantees.
    """
    if isinstance(tool, ToolDefinition):
        tool = tool.to_openai()
    if isinstance(tool, dict):
        kind = tool.get("type", "function")
        if kind not in ("function", "custom", "object") or isinstance(tool.get("custom"), dict):
            return tool
        if "type" in tool and kind == "function" and "function" not in tool:
            # OpenAI's other API has no function inside the tool.
            tool = {key: value for key, value in tool.items() if key != "type"}
    converted = typed_dict_tool(tool) if typing_extensions.is_typeddict(tool) else dict(convert_to_openai_tool(tool))
    if isinstance(tool, dict) and ("input_schema" in tool or "function" in tool):
        converted |= {key: value for key, value in tool.items() if key not in _OF_A_FUNCTION}
    converted |= (getattr(tool, "extras", None) or {}) if isinstance(tool, BaseTool) else {}
    if strict is not None and "function" in converted:
        converted["function"] = _with_strict(converted["function"], strict)
    return converted


def converted_tools(tools: Iterable[ToolLike]) -> list[Json]:
    """*tools* as OpenAI's dicts.

    Raises:
        BadRequestError: one is no tool; ``param`` is its place in the list.
    """
    return [_converted(tool, f"tools[{index}]") for index, tool in enumerate(listed_tools(tools))]


def listed_tools(tools: Iterable[ToolLike]) -> list[ToolLike]:
    """*tools* as a list.

    Raises:
        BadRequestError: they are no list or the like.
    """
    if isinstance(tools, (str, Mapping)) or not isinstance(tools, Iterable):
        raise BadRequestError(f"tools: expected a list of tools, not {type(tools).__name__}", param="tools")
    return list(tools)


def _converted(tool: ToolLike, where: str) -> Json:
    try:
        converted = openai_tool(tool)
    except BadRequestError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadRequestError(f"{where}: not a tool: {str(error).splitlines()[0]:.200}", param=where) from None
    function = converted.get("function")
    if converted.get("type") == "function" and not (
        isinstance(function, dict) and isinstance(function.get("name"), str)
    ):
        raise BadRequestError(f"{where}: not a tool: a function needs its name", param=where)
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
