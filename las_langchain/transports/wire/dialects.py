"""What providers that speak OpenAI's format take a little differently."""

from __future__ import annotations

import re
from typing import Any

from las_langchain.fields import OLLAMA_FIELDS
from las_langchain.providers import Target

Json = dict[str, Any]

# Where a request's metadata, and the role of developers, are known.
_OPENAIS = frozenset({"openai", "azure"})
# The models that refuse max_tokens.
_REASONING = re.compile(r"(.*/)?(o\d|.*gpt-(5(?!-chat)|6))")


def put_right(target: Target, body: Json) -> Json:
    """A chat request in the words of *target*.

    Args:
        target: who is asked.
        body: OpenAI's request.
    """
    is_openais = target.provider in _OPENAIS
    changes: Json = {"messages": [_message(message, target) for message in body["messages"]]}
    if not is_openais:
        changes["metadata"] = None
    elif body.get("max_tokens") is not None and _REASONING.match(target.model):
        changes |= {"max_tokens": None, "max_completion_tokens": body["max_tokens"]}
    if extra := _extra(target, body.get("extra_body") or {}):
        changes["extra_body"] = extra
    return {**body, **changes}


def _message(message: Json, target: Target) -> Json:
    if None in message.values():
        # Some servers refuse what is there and null.
        message = {name: value for name, value in message.items() if value is not None}
    if message["role"] == "developer" and target.provider not in _OPENAIS:
        message = {**message, "role": "system"}
    content = message.get("content")
    if target.provider == "deepseek" and isinstance(content, list) and all(part["type"] == "text" for part in content):
        # It reads texts alone.
        message = {**message, "content": "".join(part["text"] for part in content)}
    return message


def _extra(target: Target, extra: Json) -> Json:
    if target.provider == "openrouter":
        # Else it does not say what an answer cost.
        return {"usage": {"include": True}, **extra}
    if target.provider in ("vllm", "huggingface") and "repeat_penalty" in extra:
        named = {name: value for name, value in extra.items() if name != "repeat_penalty"}
        return {"repetition_penalty": extra["repeat_penalty"], **named}
    return extra


def needs_translation(target: Target, body: Json) -> str | None:
    """The field of *body* that *target* knows only in other words, which litellm has; None: there is none.

    Args:
        target: who is asked.
        body: OpenAI's chat request.
    """
    names = _TRANSLATED.get(target.provider, frozenset())
    extra = body.get("extra_body") or {}
    found = (name for name in names if body.get(name) is not None or (name in OLLAMA_FIELDS and name in extra))
    return next(found, None) if names else None


_TRANSLATED = {
    "openai": frozenset({"thinking"}),
    "azure": frozenset({"thinking"}),
    "ollama": OLLAMA_FIELDS.union(("thinking", "n", "logit_bias")),
    "vllm": frozenset({"thinking"}),
    "huggingface": frozenset({"thinking"}),
    "groq": frozenset({"thinking", "response_format", "web_search_options"}),
    "together_ai": frozenset({"thinking", "reasoning_effort"}),
    "deepseek": frozenset({"thinking", "reasoning_effort"}),
}
