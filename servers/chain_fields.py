"""What of a chat request a chain takes beside the messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from chains.chain import Chain
from chains.client_tools import Offered
from chains.schemas import JsonSchema
from las_langchain.asked import FIELDS
from las_langchain.errors import BadRequestError

Json = dict[str, Any]

ANY_OBJECT: Json = {"type": "object"}
"""The schema of ``json_object``."""
_INSTEAD = "use a plain model, such as provider/model"


@dataclass(frozen=True, slots=True)
class ChainFields:
    """The fields of one request.

    Attributes:
        sampling: what the chain's models are asked for, where its author has left that open.
        schema: what the answer must fit; None: it is text.
        offered: the client's tools; None: there are none to be called.
    """

    sampling: Json
    schema: Json | None = None
    offered: Offered | None = None


def chain_fields(body: Json, chain: Chain) -> ChainFields:
    """What *body* asks of *chain*.

    Raises:
        BadRequestError: a chain cannot do what a field asks for; ``param`` names it.
    """
    for name, (is_asked, remedy) in _REFUSED.items():
        if is_asked(body.get(name)):
            raise BadRequestError(f"{name}: not for chains; {remedy}", param=name, code="unsupported_parameter")
    return ChainFields(_sampling(body), _schema(body.get("response_format")), _offered(body, chain))


_REFUSED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "n": (lambda value: value is not None and value != 1, "ask several times"),
    "logprobs": (bool, _INSTEAD),
    "top_logprobs": (bool, _INSTEAD),
    "audio": (bool, "send the text to /v1/audio/speech"),
    "modalities": (lambda value: "audio" in (value or ()), "ask for text, and send it to /v1/audio/speech"),
    "prediction": (bool, _INSTEAD),
    "web_search_options": (lambda value: value is not None, "use chains/agent with its web tool, or a plain model"),
    "functions": (bool, "use tools"),
    "function_call": (lambda value: value not in (None, "none", "auto"), "use tools and tool_choice"),
}
"""Fields that no chain can do anything about, when they ask for something, and what to do instead."""


def _sampling(body: Json) -> Json:
    given = {name: value for name, value in body.items() if name in FIELDS and value is not None}
    if (most := body.get("max_completion_tokens")) is not None:
        given["max_tokens"] = most
    return given


def _schema(wanted: Any) -> Json | None:
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if wanted is None or kind == "text":
        return None
    if kind == "json_object":
        return ANY_OBJECT
    if kind != "json_schema":
        raise _wrong("response_format", "expected an object whose type is text, json_object or json_schema")
    named = wanted.get("json_schema")
    if not isinstance(named, dict) or "schema" not in named:
        raise _wrong("response_format", "expected a JSON schema in json_schema.schema")
    try:
        schema: Json = _schemas().validate_python(named["schema"])
    except ValidationError as error:
        reason = error.errors(include_url=False, include_input=False)[0]["msg"].removeprefix("Value error, ")
        raise _wrong("response_format", reason) from None
    return schema


@cache
def _schemas() -> TypeAdapter[Any]:
    return TypeAdapter(JsonSchema)


def _offered(body: Json, chain: Chain) -> Offered | None:
    tools, choice = body.get("tools") or (), body.get("tool_choice")
    if not tools:
        if choice not in (None, "none", "auto"):
            raise _wrong("tool_choice", "there are no tools to choose from")
        return None
    if not chain.takes_tools:
        raise BadRequestError(
            f"tools: this chain takes no tools; leave them out of requests to chains/{chain.name}, or use chains/agent "
            "or a plain model",
            param="tools",
            code="unsupported_parameter",
        )
    for index, tool in enumerate(tools):
        _check_tool(tool, f"tools[{index}]")
    offered = _chosen(Offered(tuple(tools), choice, body.get("parallel_tool_calls")))
    return None if offered.choice == "none" else offered


def _check_tool(tool: Json, where: str) -> None:
    function = tool.get("function")
    if tool.get("type", "function") != "function" or not isinstance(function, dict):
        raise _wrong(where, "chains take tools of type function only")
    if not isinstance(function.get("name"), str) or not function["name"]:
        raise _wrong(f"{where}.function.name", "expected the name of the function")
    if not isinstance(function.get("parameters") or {}, dict):
        raise _wrong(f"{where}.function.parameters", "expected a JSON schema, an object")


def _chosen(offered: Offered) -> Offered:
    """*offered* with its choice in the words that chat models know."""
    choice = offered.choice
    if choice is None or choice == "auto":
        return Offered(offered.tools, None, offered.parallel)
    if isinstance(choice, str):
        if choice not in ("none", "required"):
            raise _wrong("tool_choice", "expected none, auto, required, or an object that names one of the tools")
        return offered
    if choice.get("type") == "allowed_tools":
        return _allowed(offered, choice.get("allowed_tools"))
    _check_name(choice, offered)
    return offered


def _allowed(offered: Offered, allowed: Any) -> Offered:
    """Some of the tools, of which one may be, or is, to be called."""
    if not isinstance(allowed, dict) or not isinstance(allowed.get("tools"), list):
        raise _wrong("tool_choice", "expected allowed_tools, an object with mode and tools")
    names = [_check_name(tool, offered) for tool in allowed["tools"]]
    tools = tuple(tool for tool in offered.tools if tool["function"]["name"] in names)
    return Offered(tools, "required" if allowed.get("mode") == "required" else None, offered.parallel)


def _check_name(choice: Any, offered: Offered) -> str:
    function = choice.get("function") if isinstance(choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str) or name not in offered.names:
        raise _wrong("tool_choice", f"there is no tool {name!r:.100} among tools")
    return name


def _wrong(param: str, what: str) -> BadRequestError:
    return BadRequestError(f"{param}: {what}", param=param, code="invalid_value")
