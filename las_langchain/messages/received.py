"""OpenAI's dicts, as clients send them, as LangChain's messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from pydantic import ValidationError

from las_langchain.errors import BadRequestError
from las_langchain.messages.answers import sorted_calls
from las_langchain.transports.checks import check_messages

Json = dict[str, Any]

_KEPT = ("refusal", "reasoning_content", "thinking_blocks", "audio")
"""What of an answer's fields LangChain has no names for."""


def from_openai(messages: Sequence[Json]) -> list[BaseMessage]:
    """OpenAI's *messages* as LangChain's.

    Parts of a content stay as they are, since LangChain knows them; arguments of a tool call that are no JSON object
    make it one of ``invalid_tool_calls``. The older ``function_call``, and the message that answers it, become a tool
    call and its result.

    Raises:
        BadRequestError: one has the wrong shape; ``param`` says which.
    """
    check_messages(messages)
    received: list[BaseMessage] = []
    functions: dict[str, str] = {}
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        try:
            received.append(_received(message, where, functions))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise _wrong(".".join([where, *map(str, first["loc"])]), first["msg"]) from None
    return received


def _received(message: Json, where: str, functions: dict[str, str]) -> BaseMessage:
    content, name = message.get("content") or "", message.get("name")
    if name is not None and not isinstance(name, str):
        raise _wrong(f"{where}.name", "expected a text")
    match message["role"]:
        case "user":
            return HumanMessage(content, name=name)
        case "assistant":
            return _assistant(message, where, functions)
        case "tool":
            if not isinstance(message.get("tool_call_id"), str):
                raise _wrong(f"{where}.tool_call_id", "expected the id of the call that this is the result of")
            return ToolMessage(content, tool_call_id=message["tool_call_id"], name=name)
        case "function":
            return _result(content, name, where, functions)
    kept = {"__openai_role__": "developer"} if message["role"] == "developer" else {}
    return SystemMessage(content, name=name, additional_kwargs=kept)


def _assistant(message: Json, where: str, functions: dict[str, str]) -> AIMessage:
    calls = list(message.get("tool_calls") or ())
    function = message.get("function_call")
    if function is not None:
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise _wrong(f"{where}.function_call", "expected an object with name and arguments")
        functions[function["name"]] = identifier = f"call_{where.removeprefix('messages')[1:-1]}"
        calls.append({"id": identifier, "type": "function", "function": function})
    for place, call in enumerate(calls):
        _check_call(call, f"{where}.tool_calls[{place}]")
    valid, invalid = sorted_calls(calls)
    return AIMessage(
        message.get("content") or "",
        name=message.get("name"),
        tool_calls=valid,
        invalid_tool_calls=invalid,
        additional_kwargs={name: message[name] for name in _KEPT if message.get(name)},
    )


def _check_call(call: Json, where: str) -> None:
    said = call.get("custom" if call.get("type") == "custom" else "function")
    text = "input" if call.get("type") == "custom" else "arguments"
    if not isinstance(call.get("id"), str):
        raise _wrong(f"{where}.id", "expected a text")
    if not isinstance(said, dict) or not isinstance(said.get("name"), str) or not isinstance(said.get(text), str):
        raise _wrong(where, f"expected a name, and {text} as a text")


def _result(content: Any, name: str | None, where: str, functions: dict[str, str]) -> BaseMessage:
    if name is None:
        raise _wrong(f"{where}.name", "expected the name of the function that this is the result of")
    identifier = functions.pop(name, None)
    if identifier is None:
        return FunctionMessage(content=content, name=name)
    return ToolMessage(content, tool_call_id=identifier, name=name)


def _wrong(param: str, what: str) -> BadRequestError:
    return BadRequestError(f"{param}: {what}", param=param, code="invalid_value")
