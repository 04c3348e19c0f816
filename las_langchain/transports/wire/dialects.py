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
# Those that read texts alone, or take each part for a message, and what to put between the parts.
_JOIN = {"deepseek": "", "ollama": "\n"}
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
    if target.provider == "ollama" and body.get("max_completion_tokens") is not None:
        changes |= {"max_completion_tokens": None, "max_tokens": body["max_completion_tokens"]}
    elif is_openais and body.get("max_tokens") is not None and _REASONING.match(target.model):
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
    if target.provider in _JOIN and isinstance(content, list) and all(part["type"] == "text" for part in content):
        message = {**message, "content": _JOIN[target.provider].join(part["text"] for part in content)}
    if target.provider == "ollama" and "reasoning_content" in message:
        message = {**message, "reasoning": message["reasoning_content"]}
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
    names = _TRANSLATED.get(target.provider)
    if names is None:
        return None
    extra = body.get("extra_body") or {}
    for name in names:
        if body.get(name) is not None or (name in OLLAMA_FIELDS and name in extra):
            return name
    return _of_ollama(body) if target.provider == "ollama" else None


def _of_ollama(body: Json) -> str | None:
    if body.get("temperature") is None:
        # There it would be 1, and not the model's own.
        return "temperature (where none is given)"
    for message in body["messages"]:
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else ():
            image = part.get("image_url") if isinstance(part, dict) else None
            address = image.get("url") if isinstance(image, dict) else image
            if isinstance(address, str) and not address.startswith("data:"):
                return "image_url"
    return None


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
