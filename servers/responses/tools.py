"""Tools and the choice among them, as a chat's; and whose a call by name is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from servers.responses.reading import a_list, a_text, an_object, one_of, optional_text, wrong

Json = dict[str, Any]

CHOICES = ("none", "auto", "required")
OFFERED = frozenset(
    "web_search web_search_2025_08_26 web_search_preview web_search_preview_2025_03_11 tool_search".split()
)
"""OpenAI's own tools that coding assistants offer beside their own whatever the server. Where a model does not use
them, the answer is as good as one of a model that chose not to, so they are left out, which the answer says."""
BUILT_IN = (
    *sorted(OFFERED),
    *("apply_patch", "code_interpreter", "computer", "computer_use_preview", "file_search", "image_generation"),
    *("local_shell", "mcp", "programmatic_tool_calling", "shell"),
)
"""OpenAI's own tools, which run at OpenAI."""

_NAME = 64
_COMMON = frozenset({"type", "name", "description", "defer_loading", "allowed_callers"})
_FIELDS = {
    "function": _COMMON | {"parameters", "strict", "output_schema"},
    "custom": _COMMON | {"format"},
    "namespace": frozenset({"type", "name", "description", "tools"}),
}


@dataclass(frozen=True)
class Tool:
    """A client's tool.

    Attributes:
        kind: ``function`` or ``custom``.
        name: as the client knows it.
        namespace: that it is in; None: in none.
        function: as a chat's.
    """

    kind: str
    name: str
    namespace: str | None
    function: Json


@dataclass(frozen=True)
class Tools:
    """The tools of a request.

    Attributes:
        by_name: the client's, by the name under which the model knows them.
        shown: as the response repeats them.
        left_out: types of OpenAI's own tools that the model is not told of.
    """

    by_name: dict[str, Tool]
    shown: list[Json]
    left_out: tuple[str, ...] = ()

    def chat(self) -> list[Json]:
        """As a chat request has them."""
        return [{"type": "function", "function": tool.function} for tool in self.by_name.values()]

    def called(self, name: str) -> Tool:
        """The tool that a model calls *name*; one that it has made up is a function."""
        return self.by_name.get(name) or Tool("function", name, None, {})


def joined(name: str, namespace: str | None) -> str:
    """The name under which a model knows a tool, since chats have no namespaces."""
    if not namespace:
        return name
    return f"{namespace}{name}" if namespace.endswith("_") else f"{namespace}__{name}"


def checked_tools(given: Sequence[Any]) -> Tools:
    """The tools of a request.

    Raises:
        BadRequestError: one is malformed, or OpenAI's own; ``param`` names it.
    """
    by_name: dict[str, Tool] = {}
    shown: list[Json] = []
    offered: list[tuple[str, str]] = []
    for index, tool in enumerate(given):
        where = f"tools[{index}]"
        kind = _kind(tool, where)
        if kind in OFFERED:
            offered.append((kind, where))
            continue
        shown.append(_shown(tool))
        for one in _tools(tool, where):
            name = joined(one.name, one.namespace)
            if name in by_name or len(name) > _NAME:
                what = f"{name} has more than {_NAME} letters" if len(name) > _NAME else f"there are two tools {name}"
                raise wrong(f"{where}.name", what)
            by_name[name] = one
    if offered and not by_name:
        # Who offers nothing else wants just that.
        raise _built_in(*offered[0])
    return Tools(by_name, shown, tuple(dict.fromkeys(kind for kind, _ in offered)))


def _kind(tool: Any, where: str) -> str:
    kind = an_object(tool, where).get("type")
    if isinstance(kind, str) and kind in BUILT_IN and kind not in OFFERED:
        raise _built_in(kind, where)
    return kind if isinstance(kind, str) and kind in OFFERED else one_of(kind, tuple(_FIELDS), f"{where}.type")


def _built_in(kind: str, where: str) -> Exception:
    return wrong(
        f"{where}.type",
        f"{kind} runs at OpenAI only; send a function that does it, or use a chain with tools (chains/agent)",
        "unsupported_value",
    )


def _shown(tool: Json) -> Json:
    defaults: Json = {"function": {"description": None, "parameters": None, "strict": None}}.get(tool["type"], {})
    return {**defaults, **tool}


def _tools(tool: Json, where: str, namespace: str | None = None) -> list[Tool]:
    """The tool *tool*, or those in it."""
    kind = tool["type"]
    an_object(tool, where, _FIELDS[kind])
    name = a_text(tool, "name", where, most=_NAME, empty=False)
    if kind != "namespace":
        function = {"name": joined(name, namespace), **_CHECKS[kind](tool, where)}
        return [Tool(kind, name, namespace, function)]
    found: list[Tool] = []
    for index, inner in enumerate(a_list(tool, "tools", where, most=256)):
        place = f"{where}.tools[{index}]"
        one_of(an_object(inner, place).get("type"), ("function", "custom"), f"{place}.type")
        found += _tools(inner, place, name)
    return found


def _function(tool: Json, where: str) -> Json:
    described = _description(tool, where)
    if tool.get("parameters") is not None:
        described["parameters"] = an_object(tool["parameters"], f"{where}.parameters")
    if tool.get("strict") is not None:
        if not isinstance(tool["strict"], bool):
            raise wrong(f"{where}.strict", "expected true or false", "invalid_type")
        described["strict"] = tool["strict"]
    return described


def _custom(tool: Json, where: str) -> Json:
    """A tool that takes a text: a function with one, whose grammar the model is told of."""
    form = an_object(tool.get("format") or {"type": "text"}, f"{where}.format", ("type", "syntax", "definition"))
    about = "The whole input of the tool."
    if one_of(form.get("type"), ("text", "grammar"), f"{where}.format.type") == "grammar":
        syntax = one_of(form.get("syntax"), ("lark", "regex"), f"{where}.format.syntax")
        about = f"The whole input of the tool, which follows this {syntax} grammar:\n"
        about += a_text(form, "definition", f"{where}.format")
    parameters = {
        "type": "object",
        "properties": {"input": {"type": "string", "description": about}},
        "required": ["input"],
        "additionalProperties": False,
    }
    return {**_description(tool, where), "parameters": parameters}


_CHECKS: dict[str, Callable[[Json, str], Json]] = {"function": _function, "custom": _custom}


def _description(tool: Json, where: str) -> Json:
    text = optional_text(tool, "description", where)
    return {"description": text} if text else {}


def choice_fields(choice: str | Json | None, tools: Tools) -> Json:
    """The fields of a chat request that say which tools there are, and which of them the model is to call.

    Raises:
        BadRequestError: the choice is none, or of a tool that there is not.
    """
    where = "tool_choice"
    listed = tools.chat()
    if choice is None or isinstance(choice, str):
        mode = one_of(choice or "auto", CHOICES, where)
        if mode == "required" and not listed:
            raise wrong(where, "there are no tools to call")
    else:
        kind = one_of(choice.get("type"), ("function", "custom", "allowed_tools"), f"{where}.type")
        if kind != "allowed_tools":
            name = _chosen(an_object(choice, where, ("type", "name", "namespace")), tools, where)
            return {"tools": listed, "tool_choice": {"type": "function", "function": {"name": name}}}
        an_object(choice, where, ("type", "mode", "tools"))
        mode = one_of(choice.get("mode"), ("auto", "required"), f"{where}.mode")
        # Only OpenAI's chats know a choice of several.
        names = _allowed(choice, tools)
        listed = [tool for tool in listed if tool["function"]["name"] in names]
        if mode == "required" and not listed:
            raise wrong(f"{where}.tools", "there are no tools to call")
    if not listed:
        return {}
    return {"tools": listed, **({"tool_choice": mode} if mode != "auto" else {})}


def _allowed(choice: Json, tools: Tools) -> set[str]:
    names = set()
    for index, one in enumerate(a_list(choice, "tools", "tool_choice", most=256)):
        place = f"tool_choice.tools[{index}]"
        if an_object(one, place).get("type") in tools.left_out:
            continue
        one_of(one.get("type"), ("function", "custom"), f"{place}.type")
        names.add(_chosen(one, tools, place))
    return names


def _chosen(choice: Json, tools: Tools, where: str) -> str:
    name = a_text(choice, "name", where, most=_NAME)
    full = joined(name, optional_text(choice, "namespace", where))
    if full not in tools.by_name:
        raise wrong(f"{where}.name", f"there is no tool {name!r} in tools")
    return full
