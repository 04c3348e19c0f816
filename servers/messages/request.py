"""Anthropic's requests as OpenAI's, in the words of the model that is about to be asked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Any

import jsonschema_rs

from las_langchain.catalog import model_info
from las_langchain.messages.media import OPENAI_WIRE
from servers.messages import turns
from servers.messages.blocks import dumped
from servers.messages.names import long_names, short
from servers.messages.schemas import (
    AutoChoice,
    CustomTool,
    MessagesRequest,
    PromptFields,
    ThinkingBudget,
    ThinkingOff,
    ToolChoice,
    TypedTool,
)
from servers.messages.shapes import refused
from servers.messages.turns import Reader

Json = dict[str, Any]

_LONGEST_USER = 64
_TAKE_USERS = frozenset({"anthropic", "openai", "azure", "local"})
_CLIENTS_TOOLS = ("bash_", "text_editor_", "memory_")
"""What the types of those tools begin with that Anthropic defines and the client runs."""
_EFFORTS = ((4_096, "low"), (16_384, "medium"))


def chat_body(asked: MessagesRequest, reader: Reader) -> Json:
    """*asked* as OpenAI's request without ``model`` and ``stream``.

    Args:
        asked: the request.
        reader: the model that is going to read it.

    Raises:
        BadRequestError: it holds what *reader* does not take; ``param`` is its path.
    """
    fields = {
        "max_tokens": _max_tokens(asked.max_tokens, reader),
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "top_k": asked.top_k,
        "stop": asked.stop_sequences or None,
        "user": _user(asked, reader),
        "service_tier": _service_tier(asked, reader),
        "response_format": _response_format(asked),
        **_choice(asked, reader),
        **_thinking(asked, reader),
        **_anthropics_own(asked, reader),
    }
    return {**prompt(asked, reader), **{name: value for name, value in fields.items() if value is not None}}


def prompt(asked: PromptFields, reader: Reader) -> Json:
    """The ``messages`` and ``tools`` of *asked*; failures as for :func:`chat_body`."""
    system = turns.system_message(asked.system, reader)
    tools = [_tool(tool, f"tools.{index}", reader) for index, tool in enumerate(asked.tools or ())]
    return {
        "messages": [*system, *turns.messages(asked.messages, reader, partial(_named, reader=reader))],
        **({"tools": tools} if tools else {}),
    }


def tool_names(asked: PromptFields) -> Mapping[str, str]:
    """The names of the client's tools that were shortened, by what they were shortened to."""
    return long_names(tool.name for tool in asked.tools or ())


def _named(name: str, reader: Reader) -> str:
    return name if reader.is_claude else short(name)


def _max_tokens(wanted: int, reader: Reader) -> int:
    """*wanted*, or what the model can: coding assistants ask for what Claude can, and others refuse that."""
    most = {} if reader.is_claude else model_info(reader.provider, reader.model)
    limit = most.get("max_output_tokens")
    return min(wanted, limit) if isinstance(limit, int) and limit > 0 else wanted


def _user(asked: MessagesRequest, reader: Reader) -> str | None:
    """Who asks; as a digest where it is longer than the provider takes."""
    user = asked.metadata.user_id if asked.metadata else None
    if not user or reader.provider not in _TAKE_USERS:
        return None
    if reader.provider == "anthropic" or len(user) <= _LONGEST_USER:
        return user
    return hashlib.sha256(user.encode()).hexdigest()


def _service_tier(asked: MessagesRequest, reader: Reader) -> str | None:
    # "auto" is what providers do by themselves.
    if asked.service_tier != "standard_only":
        return None
    if reader.provider not in OPENAI_WIRE:
        raise refused("service_tier", f"standard_only cannot be passed on to {reader.provider or 'a chain'}")
    return "default"


def _response_format(asked: MessagesRequest) -> Json | None:
    new = asked.output_config.format if asked.output_config else None
    wanted = new or asked.output_format
    if wanted is None:
        return None
    _check_schema(wanted.schema_, "output_config.format.schema" if new else "output_format.schema")
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": wanted.schema_, "strict": True}}


# Tools


def _tool(tool: CustomTool | TypedTool, where: str, reader: Reader) -> Json:
    if isinstance(tool, TypedTool):
        return _typed(tool, where, reader)
    function: Json = {"name": _named(tool.name, reader)}
    if tool.description is not None:
        function["description"] = tool.description
    function["parameters"] = tool.input_schema.model_dump()
    _check_schema(function["parameters"], f"{where}.input_schema")
    if tool.strict is not None:
        function["strict"] = tool.strict
    own = dumped(tool) if reader.is_claude else {}
    kept = ("cache_control", "eager_input_streaming", "defer_loading", "allowed_callers", "input_examples")
    hints = {name: own[name] for name in kept if own.get(name) is not None}
    return {"type": "function", "function": function, **hints}


def _check_schema(schema: Json, where: str) -> None:
    """Refuse what is no JSON schema, over which litellm, and some providers, trip."""
    try:
        jsonschema_rs.meta.validate(schema)
    except (ValueError, jsonschema_rs.ValidationError) as error:
        raise refused(where, f"not a JSON schema: {str(error).splitlines()[0]:.200}") from None


def _typed(tool: TypedTool, where: str, reader: Reader) -> Json:
    if not tool.type.startswith(_CLIENTS_TOOLS):
        raise refused(f"{where}.type", f"Anthropic's servers run {tool.type!r:.60}, which is not supported here")
    if reader.provider != "anthropic":
        raise refused(f"{where}.type", f"only Anthropic's own models know {tool.type!r:.60}; send an input_schema")
    for name in tool.model_extra or ():
        raise refused(f"{where}.{name:.100}", "Extra inputs are not permitted")
    return dumped(tool)


def _choice(asked: MessagesRequest, reader: Reader) -> Json:
    choice = asked.tool_choice
    if choice is None:
        return {}
    if isinstance(choice, ToolChoice):
        if choice.name not in {tool.name for tool in asked.tools or ()}:
            raise refused("tool_choice.name", f"no tool has the name {choice.name!r:.100}")
        name = _named(choice.name, reader)
        found: Json = {"tool_choice": {"type": "function", "function": {"name": name}}}
    else:
        found = {"tool_choice": {"auto": "auto", "any": "required", "none": "none"}[choice.type]}
    if isinstance(choice, (AutoChoice, ToolChoice)) and choice.disable_parallel_tool_use:
        found["parallel_tool_calls"] = False
    return found


# Thinking


def _thinking(asked: MessagesRequest, reader: Reader) -> Json:
    """How long to think, in the reader's words; what cannot think is not told to."""
    thinking = asked.thinking
    effort: str | None = asked.output_config.effort if asked.output_config else None
    if reader.is_claude:
        wanted = {"thinking": dumped(thinking)} if thinking else {}
        elsewhere = effort and not wanted and reader.provider != "anthropic"
        return {"reasoning_effort": effort} if elsewhere else wanted
    if isinstance(thinking, ThinkingOff) or not model_info(reader.provider, reader.model).get("supports_reasoning"):
        return {}
    if effort is None and isinstance(thinking, ThinkingBudget):
        effort = next((name for most, name in _EFFORTS if thinking.budget_tokens < most), "high")
    # Not all models know more than that.
    return {"reasoning_effort": {"xhigh": "high", "max": "high"}.get(effort, effort)} if effort else {}


def _anthropics_own(asked: MessagesRequest, reader: Reader) -> Json:
    """What only Anthropic's API has, and other models can do without."""
    if reader.provider != "anthropic":
        return {}
    config = dumped(asked.output_config) if asked.output_config else {}
    management = asked.context_management
    own = {
        "output_config": {name: value for name, value in config.items() if name != "format" and value is not None},
        "context_management": dumped(management) if management and management.edits else None,
        "cache_control": asked.cache_control.sent if asked.cache_control else None,
    }
    given = {name: value for name, value in own.items() if value}
    return {"extra_body": given} if given else {}
