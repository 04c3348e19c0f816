"""Chat completions as Anthropic's messages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic_core import from_json

from las_langchain.errors import APIError

Json = dict[str, Any]

_REASONS = {
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
_CITATIONS = re.compile(r"\w+_location")


def message(response: Json, names: Mapping[str, str]) -> Json:
    """A ``chat.completion`` as a message.

    Args:
        response: the answer; of several choices the first counts.
        names: the names of tools that were shortened, by what they were shortened to.

    Raises:
        APIError: the arguments of a call are no JSON.
    """
    choice = response["choices"][0]
    blocks = list(_content(choice["message"], response, names))
    refused = bool(choice["message"].get("refusal"))
    called = any(block["type"] == "tool_use" for block in blocks)
    return {
        **head(response),
        "content": blocks,
        **end(choice.get("finish_reason"), called=called, refused=refused),
        "usage": usage_of(response.get("usage"), response.get("service_tier")),
    }


def head(response: Json) -> Json:
    """How a message begins, by the answer, or by its first chunk."""
    said = str(response.get("id") or "").removeprefix("chatcmpl-")
    return {
        "id": f"msg_{re.sub(r'[^A-Za-z0-9_-]', '', said) or '0'}",
        "type": "message",
        "role": "assistant",
        "model": response.get("model") or "",
    }


def end(finish_reason: str | None, *, called: bool, refused: bool) -> Json:
    """Why a message ends.

    Args:
        finish_reason: OpenAI's; with a forced tool it is no more than ``stop``.
        called: whether tools are called.
        refused: whether the model refuses.
    """
    reason = _REASONS.get(finish_reason or "", "end_turn")
    if reason == "end_turn":
        reason = "tool_use" if called else "refusal" if refused else reason
    return {"stop_reason": reason, "stop_sequence": None}


def usage_of(usage: Json | None, service_tier: Any = None) -> Json:
    """OpenAI's ``usage`` as Anthropic's, which counts what the cache had apart from the rest."""
    usage = usage or {}
    details, written = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    read = details.get("cached_tokens") or 0
    created = details.get("cache_creation_tokens") or usage.get("cache_creation_input_tokens") or 0
    by_time = details.get("cache_creation_token_details") or {}
    thought = written.get("reasoning_tokens")
    tier = {"default": "standard", "standard": "standard", "priority": "priority"}.get(str(service_tier))
    return {
        "input_tokens": max(0, (usage.get("prompt_tokens") or 0) - read - created),
        "cache_creation_input_tokens": created,
        "cache_read_input_tokens": read,
        "output_tokens": usage.get("completion_tokens") or 0,
        **({"cache_creation": by_time} if by_time.keys() == _TIMES else {}),
        **({"output_tokens_details": {"thinking_tokens": thought}} if thought else {}),
        **({"service_tier": tier} if tier else {}),
    }


_TIMES = frozenset({"ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"})


def citations(cited: Iterable[Any]) -> list[Json]:
    """Those of *cited* that are Anthropic's."""
    return [
        {name: value for name, value in one.items() if name != "supported_text"}
        for one in cited
        if isinstance(one, dict) and _CITATIONS.fullmatch(str(one.get("type")))
    ]


def call_id(given: str | None, response_id: Any, index: int) -> str:
    """The id of a call: the provider's, or one made up of the answer's."""
    return given or f"toolu_{re.sub(r'[^A-Za-z0-9_-]', '', str(response_id or ''))}_{index}"


def _content(said: Json, response: Json, names: Mapping[str, str]) -> Iterator[Json]:
    yield from _thoughts(said)
    if text := said.get("content") or said.get("refusal"):
        cited = citations(said.get("citations") or ())
        yield {"type": "text", "text": text, **({"citations": cited} if cited else {})}
    for index, call in enumerate(said.get("tool_calls") or ()):
        function = call.get("function") or {}
        name = function.get("name") or ""
        yield {
            "type": "tool_use",
            "id": call_id(call.get("id"), response.get("id"), index),
            "name": names.get(name, name),
            "input": _arguments(name, function.get("arguments")),
        }


def _thoughts(said: Json) -> Iterator[Json]:
    blocks = said.get("thinking_blocks") or ()
    for block in blocks:
        if block.get("type") == "redacted_thinking":
            yield {"type": "redacted_thinking", "data": block.get("data") or ""}
        else:
            yield thinking(block.get("thinking") or "", block.get("signature") or "")
    if not blocks and said.get("reasoning_content"):
        yield thinking(said["reasoning_content"])


def thinking(text: str, signature: str = "") -> Json:
    """A block of thoughts; only Anthropic's are signed."""
    return {"type": "thinking", "thinking": text, "signature": signature}


def _arguments(name: str, text: Any) -> Json:
    """The arguments of a call; of those that were cut off, what there is, as Anthropic does it."""
    try:
        found = from_json(text or "{}", allow_partial=True)
    except (ValueError, TypeError):
        found = None
    if not isinstance(found, dict):
        raise APIError(f"The model called {name:.100} with arguments that are no JSON object")
    return found
