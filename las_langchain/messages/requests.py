"""LangChain's messages as OpenAI's dicts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from las_langchain.errors import BadRequestError
from las_langchain.messages.media import MEDIA, OPENAI_WIRE, media_part

Json = dict[str, Any]

# Blocks of OpenAI's other API that say the same as one of this.
_SAME = {"input_text": "text", "output_text": "text", "input_image": "image_url"}

# What of an answer goes back as its content: calls and thoughts have fields of their own, and what a provider did on
# its side (searches, code) is in no other provider's language.
_SAID = frozenset({"text", "output_text", "text-plain", "image_url"})

_SHOWN = frozenset({"image_url", "input_audio", "file"})
"""The parts that OpenAI reads in messages of users, and in no others."""


def to_openai(messages: Sequence[BaseMessage], provider: str = "") -> list[Json]:
    """LangChain's *messages* as OpenAI's.

    Args:
        messages: with content of either version of LangChain's blocks, OpenAI's parts or Anthropic's blocks.
        provider: who is going to read them. Reasoning goes back only to the provider that it came from, and media in
            tool messages become a user's message after them where the provider reads only text there.

    Raises:
        BadRequestError: a message is of a kind that no chat model takes, or a content block is incomplete.
    """
    return with_readable_results([_to_openai(message, provider) for message in messages], provider)


def with_readable_results(messages: list[Json], provider: str) -> list[Json]:
    """OpenAI's *messages*; where *provider* reads only text in tool messages, their media follow as a user's message.

    Args:
        messages: they are left as they are.
        provider: who is going to read them.
    """
    if provider not in OPENAI_WIRE:
        return messages
    result: list[Json] = []
    moved: list[Json] = []
    for message in messages:
        if moved and message.get("role") != "tool":
            result.append({"role": "user", "content": moved})
            moved = []
        sent, media = _split(message) if message.get("role") == "tool" else (message, [])
        moved += media
        result.append(sent)
    return [*result, {"role": "user", "content": moved}] if moved else result


def _to_openai(message: BaseMessage, provider: str) -> Json:
    result: Json = {"role": _role(message)}
    if isinstance(message, AIMessage):
        result |= _assistant(message, provider)
    else:
        result["content"] = _content(message.content, provider)
    if message.name is not None:
        result["name"] = message.name
    if cache_control := message.additional_kwargs.get("cache_control"):
        result["cache_control"] = cache_control
    if isinstance(message, ToolMessage):
        result["tool_call_id"] = message.tool_call_id
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


def _content(content: str | list[str | Json], provider: str) -> str | list[Json]:
    if isinstance(content, str):
        return content
    return [_part({"type": "text", "text": part} if isinstance(part, str) else part, provider) for part in content]


def _part(block: Json, provider: str) -> Json:
    try:
        return _translated(block, provider)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise BadRequestError(f"A content block of type {block.get('type')!r}: {what}", param="messages") from None


def _translated(block: Json, provider: str) -> Json:
    kind = _SAME.get(str(block.get("type")), block.get("type"))
    if kind == "non_standard":
        return dict(block["value"])
    if kind == "text":
        # Version 1 blocks carry ids, indices and annotations that providers refuse.
        cache_control = block.get("cache_control") or (block.get("extras") or {}).get("cache_control")
        return {"type": "text", "text": block["text"], **({"cache_control": cache_control} if cache_control else {})}
    if kind == "document" and provider not in OPENAI_WIRE and _only_anthropics(block):
        return block
    if kind in MEDIA and not isinstance(block.get(str(kind)), dict):
        return media_part(block, provider)
    if kind == "image_url":
        image = block["image_url"]
        cached = {"cache_control": block["cache_control"]} if "cache_control" in block else {}
        return {"type": kind, "image_url": {"url": image} if isinstance(image, str) else image, **cached}
    return block


def _only_anthropics(document: Json) -> bool:
    """Whether a file has no room for what *document* says."""
    return bool({"title", "context", "citations"} & document.keys()) or document["source"].get("type") == "content"


def _split(result: Json) -> tuple[Json, list[Json]]:
    """A tool's *result* without what is no text, and that, with a line that says where it is from."""
    content = result.get("content")
    if not isinstance(content, list):
        return result, []
    media = [part for part in content if isinstance(part, dict) and part.get("type") in _SHOWN]
    if not media:
        return result, []
    texts = [part for part in content if not any(part is one for one in media)] or "The result follows."
    named = {"type": "text", "text": f"Result of the tool call {result.get('tool_call_id')}:"}
    return {**result, "content": texts}, [named, *media]


def _assistant(message: AIMessage, provider: str) -> Json:
    blocks = [block for block in message.content if isinstance(block, dict)]
    result: Json = {"content": _answer_content(message, provider)}
    if refusal := _refusal(message, blocks):
        result |= {"refusal": refusal} if provider in OPENAI_WIRE else {"content": result["content"] or refusal}
    if (spoken := _spoken(message, blocks)) and not result["content"]:
        named = provider in OPENAI_WIRE and spoken.get("id")
        result |= {"audio": {"id": spoken["id"]}} if named else {"content": spoken.get("transcript") or ""}
    if message.response_metadata.get("model_provider") in (None, provider):
        result |= _reasoning(message, blocks)
    calls = [_call(call["id"], call["name"], _json(call["args"])) for call in message.tool_calls]
    calls += [_call(call["id"], call["name"], call["args"]) for call in message.invalid_tool_calls]
    if calls:
        result["tool_calls"] = calls
    if not result["content"]:
        result["content"] = None if calls or {"refusal", "audio"} & result.keys() else ""
    return result


def _answer_content(message: AIMessage, provider: str) -> str | list[Json]:
    if isinstance(message.content, str):
        return message.content
    # OpenAI's own models take no images back as an assistant's words; of what was said aloud, see _spoken.
    kept = _SAID - {"image_url"} if provider in OPENAI_WIRE else _SAID | (MEDIA - {"audio"})
    parts = [part for part in message.content if isinstance(part, str) or _kind(part) in kept]
    return _content(parts, provider)


def _spoken(message: AIMessage, blocks: Sequence[Json]) -> Json:
    """The id and the transcript of what was said aloud."""
    in_blocks = (block.get("extras") or {} for block in blocks if block.get("type") == "audio")
    return message.additional_kwargs.get("audio") or next(iter(in_blocks), {})


def _kind(block: Json) -> str | None:
    return (block["value"] if block.get("type") == "non_standard" else block).get("type")


def _refusal(message: AIMessage, blocks: Sequence[Json]) -> str | None:
    said = [block.get("value", block).get("refusal") for block in blocks if _kind(block) == "refusal"]
    return message.additional_kwargs.get("refusal") or "".join(filter(None, said)) or None


def _reasoning(message: AIMessage, blocks: Sequence[Json]) -> Json:
    """What a model thought, as litellm wants it back: text, and Anthropic's signed blocks."""
    kept = message.additional_kwargs
    thoughts = kept.get("thinking_blocks") or [block for one in blocks if (block := _thinking(one))]
    text = kept.get("reasoning_content") or "".join(block.get("thinking", "") for block in thoughts)
    text = text or "".join(block.get("reasoning", "") for block in blocks if block.get("type") == "reasoning")
    signed = [block for block in thoughts if block.get("signature") or block["type"] == "redacted_thinking"]
    return {
        **({"reasoning_content": text} if text else {}),
        **({"thinking_blocks": signed} if signed else {}),
    }


def _thinking(block: Json) -> Json | None:
    if _kind(block) == "redacted_thinking":
        return dict(block.get("value", block))
    if block.get("type") == "thinking":
        return {key: block[key] for key in ("type", "thinking", "signature") if key in block}
    signature = block.get("signature") or (block.get("extras") or {}).get("signature")
    if block.get("type") == "reasoning" and signature:
        return {"type": "thinking", "thinking": block.get("reasoning", ""), "signature": signature}
    return None


def _json(arguments: Json) -> str:
    try:
        return json.dumps(arguments, ensure_ascii=False)
    except TypeError as error:
        raise BadRequestError(f"The arguments of a tool call are not JSON: {error}", param="messages") from None


def countable(messages: Sequence[Json]) -> list[Json]:
    """OpenAI's *messages* with only what litellm can count the tokens of."""
    return [
        {**message, "content": [part for part in message["content"] if part["type"] in ("text", "image_url")]}
        if isinstance(message.get("content"), list)
        else message
        for message in messages
    ]


def _call(identifier: str | None, name: str | None, arguments: str | None) -> Json:
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments or ""}}
