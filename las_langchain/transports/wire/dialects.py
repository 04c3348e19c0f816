"""What providers that speak OpenAI's format take a little differently."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from las_langchain.fields import OLLAMA_FIELDS
from las_langchain.providers import Target

Json = dict[str, Any]

# Where a request's metadata is known.
_OPENAIS = frozenset({"openai", "azure"})
# Those that read texts alone, or take each part for a message, and what to put between the parts.
_JOIN = {"deepseek": "", "ollama": "\n"}
# The models that refuse max_tokens; Azure's have whatever names their owners gave them.
_REASONING = {
    "openai": re.compile(r"(.*/)?(o\d|.*gpt-(5(?!-chat)|6))"),
    "azure": re.compile(r"(.*[-_/])?o[134](?![a-z0-9])|.*gpt-[56]"),
}
# Those that do not know, or refuse, the thoughts of Anthropic's models.
_WITHOUT_BLOCKS = frozenset({"vllm", "huggingface", "together_ai"})
# What of OpenRouter's is to be marked for its cache.
_MARKED = re.compile(r"claude|gemini|minimax|glm|z-ai")


def put_right(target: Target, body: Json) -> Json:
    """A chat request in the words of *target*.

    Args:
        target: who is asked.
        body: OpenAI's request.
    """
    marks = _knows_marks(target)
    changes: Json = {"messages": [_message(message, target, marks=marks) for message in body["messages"]]}
    if target.provider not in _OPENAIS:
        changes["metadata"] = None
    if tools := body.get("tools"):
        if not marks:
            changes["tools"] = [_unmarked(tool) for tool in tools]
    elif target.provider != "openai" and not body.get("functions") and body.get("tool_choice") is not None:
        changes["tool_choice"] = None
    changes |= _limits(target, body)
    if extra := _extra(target, body.get("extra_body") or {}):
        changes["extra_body"] = extra
    return {**body, **changes}


def _limits(target: Target, body: Json) -> Json:
    """What changes of the limit of the answer."""
    if target.provider == "ollama" and body.get("max_completion_tokens") is not None:
        return {"max_completion_tokens": None, "max_tokens": body["max_completion_tokens"]}
    names = _REASONING.get(target.provider)
    if names is not None and body.get("max_tokens") is not None and names.match(target.model):
        return {"max_tokens": None, "max_completion_tokens": body["max_tokens"]}
    return {}


def _knows_marks(target: Target) -> bool:
    """Whether Anthropic's ``cache_control`` may be sent, which others refuse as a field that they do not know."""
    if target.provider == "openai":
        # Another server at the address may lead to Anthropic.
        return not is_openais(target.api_base)
    return target.provider == "azure" or (target.provider == "openrouter" and bool(_MARKED.search(target.model)))


def is_openais(address: str | None) -> bool:
    """Whether OpenAI itself is at *address*; None is its own."""
    host = urlsplit(address).hostname if address else "openai.com"
    return host is not None and (host == "openai.com" or host.endswith(".openai.com"))


def _message(message: Json, target: Target, *, marks: bool) -> Json:
    if None in message.values():
        # Some servers refuse what is there and null.
        message = {name: value for name, value in message.items() if value is not None}
    if message["role"] == "developer" and not _knows_developers(target):
        message = {**message, "role": "system"}
    if "thinking_blocks" in message and target.provider in _WITHOUT_BLOCKS:
        message = {name: value for name, value in message.items() if name != "thinking_blocks"}
    if not marks:
        message = _unmarked(message)
    if isinstance(message.get("content"), list):
        message = {**message, "content": _content(message["content"], target, marks=marks)}
    if target.provider == "ollama" and "reasoning_content" in message:
        message = {**message, "reasoning": message["reasoning_content"]}
    return message


def _knows_developers(target: Target) -> bool:
    # The versions of Azure's API, and the models there, that do not know them refuse them.
    return target.provider == "openai" or (target.provider == "azure" and bool(_REASONING["azure"].match(target.model)))


def _content(parts: list[Json], target: Target, *, marks: bool) -> list[Json] | str:
    if target.provider in _JOIN and all(part["type"] == "text" for part in parts):
        return _JOIN[target.provider].join(part["text"] for part in parts)
    return [_part(part if marks else _unmarked(part)) for part in parts]


def _part(part: Json) -> Json:
    """*part* in OpenAI's form: litellm's users give a picture's address alone, a media type, or no file's name."""
    kind = part["type"]
    if kind not in ("image_url", "file"):
        return part
    given = part.get(kind)
    if isinstance(given, str):
        return {**part, kind: {"url": given}}
    if not isinstance(given, dict):
        return part
    named = {"filename": "my_file.pdf"} if "file_data" in given and "filename" not in given else {}
    return {**part, kind: {**named, **{name: value for name, value in given.items() if name != "format"}}}


def _unmarked(value: Json) -> Json:
    if "cache_control" not in value:
        return value
    return {name: one for name, one in value.items() if name != "cache_control"}


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
    return _of_ollama(body) if target.provider == "ollama" and "messages" in body else None


def _of_ollama(body: Json) -> str | None:
    for name in ("temperature", "top_p"):
        if body.get(name) is None:
            # There it would be 1, and not the model's own.
            return f"{name} (where none is given)"
    for message in body["messages"]:
        content = message.get("content") if isinstance(message, dict) else None
        if any(isinstance(part, dict) and part.get("type") != "text" for part in _listed(content)):
            # It takes each part for a message, and pictures in no other form than one.
            return "a message with pictures"
    return None


def _listed(content: Any) -> list[Any]:
    return content if isinstance(content, list) else []


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
