"""OpenAI's answers as LangChain's results."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, cast

from langchain_core.messages import AIMessage, InvalidToolCall, ToolCall
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult

from las_langchain.messages.blocks import MOVED, content_blocks, register
from las_langchain.prices import cost_of, is_counted
from las_langchain.providers import Target

Json = dict[str, Any]


def chat_result(
    response: Json, target: Target, output_version: str | None = None, cost: float | None = None
) -> ChatResult:
    """A ``chat.completion`` as LangChain's result, one generation a choice.

    Args:
        response: what the transport returned.
        target: who was asked.
        output_version: ``v1`` for content in standard blocks; anything else for text.
        cost: what it cost in US dollars; None: it is found out here.
    """
    register(target.provider)
    usage = usage_metadata(response.get("usage"))
    metadata = {
        **response_metadata(response, target),
        "cost": answer_cost(response, target) if cost is None else cost,
    }
    generations = []
    for choice in response["choices"]:
        info = choice_metadata(choice)
        message = _ai_message(choice["message"], {**metadata, **info}, usage, response)
        if output_version == "v1":
            message = _version_1(message)
        generations.append(ChatGeneration(message=message, generation_info=info))
    return ChatResult(generations=generations, llm_output={"token_usage": response.get("usage") or {}, **metadata})


def _version_1(message: AIMessage) -> AIMessage:
    kept = {key: value for key, value in message.additional_kwargs.items() if key not in MOVED}
    metadata = {**message.response_metadata, "output_version": "v1"}
    blocks = content_blocks(message)
    return message.model_copy(update={"content": blocks, "additional_kwargs": kept, "response_metadata": metadata})


def _ai_message(message: Json, metadata: Json, usage: UsageMetadata | None, response: Json) -> AIMessage:
    valid, invalid = sorted_calls(message.get("tool_calls") or ())
    return AIMessage(
        content=message.get("content") or "",
        additional_kwargs={**kept_fields(response), **kept_fields(message)},
        tool_calls=valid,
        invalid_tool_calls=invalid,
        response_metadata=metadata,
        usage_metadata=usage,
    )


def sorted_calls(calls: Iterable[Json]) -> tuple[list[ToolCall], list[InvalidToolCall]]:
    """OpenAI's tool calls as LangChain's: those whose arguments are an object, and the others."""
    valid: list[ToolCall] = []
    invalid: list[InvalidToolCall] = []
    for call in calls:
        _sort_call(call, valid, invalid)
    return valid, invalid


def _sort_call(call: Json, valid: list[ToolCall], invalid: list[InvalidToolCall]) -> None:
    custom = call.get("custom") or {}
    if custom.get("name"):
        # As LangChain has it of OpenAI's other API.
        arguments = {"__arg1": custom.get("input")}
        valid.append(ToolCall(name=custom["name"], args=arguments, id=call.get("id"), type="tool_call"))
        return
    function = call.get("function") or {}
    name, text = function.get("name"), function.get("arguments")
    try:
        arguments = json.loads(text or "{}")
        if not isinstance(arguments, dict) or not name:
            raise ValueError("the arguments are not an object" if name else "the call names no tool")
        valid.append(ToolCall(name=name, args=arguments, id=call.get("id"), type="tool_call"))
    except (ValueError, RecursionError) as error:
        invalid.append(
            InvalidToolCall(name=name, args=text, id=call.get("id"), error=str(error), type="invalid_tool_call")
        )


def usage_metadata(usage: Json | None) -> UsageMetadata | None:
    """OpenAI's ``usage`` as LangChain's; None where there is none."""
    if not usage or not is_counted(usage):
        return None
    prompt, completion = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    result = UsageMetadata(
        input_tokens=prompt, output_tokens=completion, total_tokens=usage.get("total_tokens") or prompt + completion
    )
    read, written = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    cache_creation = read.get("cache_creation_tokens") or usage.get("cache_creation_input_tokens")
    inputs = {
        "audio": read.get("audio_tokens"),
        "cache_read": read.get("cached_tokens"),
        "cache_creation": cache_creation,
    }
    outputs = {"audio": written.get("audio_tokens"), "reasoning": written.get("reasoning_tokens")}
    if known := {key: value for key, value in inputs.items() if value is not None}:
        result["input_token_details"] = cast("InputTokenDetails", known)
    if known := {key: value for key, value in outputs.items() if value is not None}:
        result["output_token_details"] = cast("OutputTokenDetails", known)
    return result


def kept_fields(message: Json) -> Json:
    """What a message or delta holds beside its text and tool calls, for ``additional_kwargs``."""
    return {key: message[key] for key in MOVED if message.get(key)}


def answer_cost(response: Json, target: Target) -> float | None:
    """What an answer cost in US dollars: nothing out of the cache; None where the price is not known."""
    if response.get("cache_hit"):
        return 0.0
    return cost_of(target.id, response.get("usage"), response.get("service_tier"), target.prices)


def response_metadata(response: Json, target: Target) -> Json:
    """What an answer says of itself."""
    keys = ("id", "created", "system_fingerprint", "service_tier", "cache_hit")
    known = {key: response[key] for key in keys if response.get(key)}
    return {"model_name": response.get("model") or target.model, "model_provider": target.provider, **known}


def choice_metadata(choice: Json) -> Json:
    """What a choice says of itself."""
    return {key: choice[key] for key in ("finish_reason", "logprobs") if choice.get(key)}
