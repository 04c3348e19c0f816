"""LangChain's messages and OpenAI's dicts, translated both ways by pure functions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    InvalidToolCall,
    SystemMessage,
    ToolCall,
    ToolMessage,
    convert_to_openai_data_block,
    is_data_content_block,
)
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from las_langchain.errors import BadRequestError

Json = dict[str, Any]

# What an assistant's turn carries beside its text and tool calls, and gets back with the next request.
REPLAYED = ("reasoning_content", "thinking_blocks")
# Content blocks that only an answer has; they do not go back as content.
ANSWER_BLOCKS = frozenset({"reasoning", "thinking", "tool_call", "tool_use", "tool_call_chunk", "invalid_tool_call"})


def to_openai(messages: Sequence[BaseMessage]) -> list[Json]:
    """LangChain's *messages* as OpenAI's.

    Raises:
        BadRequestError: a message is of a kind that no chat model takes.
    """
    return [_to_openai(message) for message in messages]


def _to_openai(message: BaseMessage) -> Json:
    result: Json = {"role": _role(message), "content": _content(message.content)}
    if message.name is not None:
        result["name"] = message.name
    if isinstance(message, ToolMessage):
        result["tool_call_id"] = message.tool_call_id
    if isinstance(message, AIMessage):
        result.update(_assistant(message))
    return result


def _role(message: BaseMessage) -> str:
    match message:
        case HumanMessage():
            return "user"
        case AIMessage():
            return "assistant"
        case SystemMessage():
            return str(message.additional_kwargs.get("__openai_role__", "system"))
        case ToolMessage():
            return "tool"
        case FunctionMessage():
            return "function"
        case ChatMessage():
            return message.role
    raise BadRequestError(f"A {type(message).__name__} cannot be sent to a chat model", param="messages")


def _content(content: str | list[str | Json]) -> str | list[Json]:
    if isinstance(content, str):
        return content
    parts = [{"type": "text", "text": part} if isinstance(part, str) else part for part in content]
    return [_part(part) for part in parts if part.get("type") not in ANSWER_BLOCKS]


def _part(part: Json) -> Json:
    if part.get("type") == "text":
        # Version 1 blocks carry ids and indices that providers refuse.
        return {key: part[key] for key in ("type", "text", "cache_control") if key in part}
    if is_data_content_block(part):
        converted = convert_to_openai_data_block(part)
        return {**converted, "cache_control": part["cache_control"]} if "cache_control" in part else converted
    return part


def _assistant(message: AIMessage) -> Json:
    extra: Json = {key: message.additional_kwargs[key] for key in REPLAYED if message.additional_kwargs.get(key)}
    calls = [
        _call(call["id"], call["name"], json.dumps(call["args"], ensure_ascii=False)) for call in message.tool_calls
    ]
    calls += [_call(call["id"], call["name"], call["args"]) for call in message.invalid_tool_calls]
    if calls:
        extra["tool_calls"] = calls
    if not message.content:
        extra["content"] = None if calls else ""
    return extra


def _call(identifier: str | None, name: str | None, arguments: str | None) -> Json:
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments or ""}}


def chat_result(response: Json, provider: str) -> ChatResult:
    """A ``chat.completion`` as LangChain's result, one generation a choice."""
    usage = usage_metadata(response.get("usage"))
    metadata = _metadata(response, provider)
    generations = []
    for choice in response["choices"]:
        own = {**metadata, **_choice_metadata(choice)}
        message = _ai_message(choice["message"], own, usage, response.get("id"))
        generations.append(ChatGeneration(message=message, generation_info=_choice_metadata(choice)))
    return ChatResult(generations=generations, llm_output={"token_usage": response.get("usage") or {}, **metadata})


def _ai_message(message: Json, metadata: Json, usage: UsageMetadata | None, identifier: str | None) -> AIMessage:
    valid: list[ToolCall] = []
    invalid: list[InvalidToolCall] = []
    for call in message.get("tool_calls") or ():
        _sort_call(call, valid, invalid)
    return AIMessage(
        content=message.get("content") or "",
        additional_kwargs=_additional(message),
        tool_calls=valid,
        invalid_tool_calls=invalid,
        response_metadata=metadata,
        usage_metadata=usage,
        id=identifier,
    )


def _sort_call(call: Json, valid: list[ToolCall], invalid: list[InvalidToolCall]) -> None:
    function = call["function"]
    try:
        arguments = json.loads(function.get("arguments") or "{}")
        if not isinstance(arguments, dict):
            raise ValueError("the arguments are not an object")
        valid.append(ToolCall(name=function["name"], args=arguments, id=call.get("id"), type="tool_call"))
    except ValueError as error:
        invalid.append(
            InvalidToolCall(
                name=function["name"],
                args=function.get("arguments"),
                id=call.get("id"),
                error=str(error),
                type="invalid_tool_call",
            )
        )


def generation_chunk(chunk: Json, provider: str) -> ChatGenerationChunk:
    """A ``chat.completion.chunk`` as LangChain's."""
    usage = usage_metadata(chunk.get("usage"))
    if not chunk["choices"]:
        message = AIMessageChunk(content="", usage_metadata=usage, id=chunk.get("id"))
        return ChatGenerationChunk(message=message)
    choice = chunk["choices"][0]
    delta, info = choice["delta"], _choice_metadata(choice)
    if info.get("finish_reason"):
        info |= _metadata(chunk, provider)
    message = AIMessageChunk(
        content=delta.get("content") or "",
        additional_kwargs=_additional(delta),
        tool_call_chunks=[
            tool_call_chunk(
                name=call.get("function", {}).get("name"),
                args=call.get("function", {}).get("arguments"),
                id=call.get("id"),
                index=call["index"],
            )
            for call in delta.get("tool_calls") or ()
        ],
        # Said once, since merging chunks joins equal texts.
        response_metadata={"model_provider": provider} if "role" in delta else {},
        usage_metadata=usage,
        id=chunk.get("id"),
    )
    return ChatGenerationChunk(message=message, generation_info=info or None)


def usage_metadata(usage: Json | None) -> UsageMetadata | None:
    """OpenAI's ``usage`` as LangChain's; None where there is none."""
    if not usage:
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


def _additional(message: Json) -> Json:
    keys = (*REPLAYED, "refusal", "annotations", "audio", "images")
    return {key: message[key] for key in keys if message.get(key)}


def _metadata(response: Json, provider: str) -> Json:
    keys = ("id", "system_fingerprint", "service_tier")
    known = {key: response[key] for key in keys if response.get(key)}
    return {"model_name": response.get("model"), "model_provider": provider, **known}


def _choice_metadata(choice: Json) -> Json:
    return {key: choice[key] for key in ("finish_reason", "logprobs") if choice.get(key)}
