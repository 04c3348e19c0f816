"""What the embedded engine accepts, checked before it sees it: the engine itself takes almost anything in silence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from las_langchain.errors import BadRequestError
from las_langchain.settings import nearest
from las_langchain.transports.local import schemas

Json = dict[str, Any]

# Given to the engine as they are.
ENGINE_FIELDS = frozenset(
    "temperature top_p top_k min_p typical_p stop seed max_tokens n logprobs top_logprobs logit_bias response_format "
    "presence_penalty frequency_penalty repeat_penalty repeat_last_n mirostat mirostat_tau mirostat_eta "
    "chat_template_kwargs ignore_eos top_n_sigma xtc_probability xtc_threshold dry_multiplier dry_base "
    "dry_allowed_length".split()
)
# Other servers' names for the same thing.
ALIASES = {"max_completion_tokens": "max_tokens", "repetition_penalty": "repeat_penalty"}
# vLLM's field for the schema of an answer.
GUIDED = "guided_json"
# About the caller, not about the answer.
LABELS = frozenset(
    "user metadata store service_tier stream_options safety_identifier prompt_cache_key prompt_cache_options "
    "prompt_cache_retention extra_headers".split()
)
# Handled by the tool router.
TOOL_FIELDS = frozenset("tools tool_choice parallel_tool_calls".split())
# json_object leaves everything open, and small models then never close what they opened: bound the values.
ANY_OBJECT = {
    "type": "object",
    "additionalProperties": {
        "anyOf": [
            {"type": "string", "maxLength": 200},
            {"type": "number"},
            {"type": "boolean"},
            {"type": "array", "items": {"type": "string", "maxLength": 100}, "maxItems": 20},
        ]
    },
}


def engine_body(body: Json, *, native_tools: bool) -> Json:
    """*body* as the engine takes it.

    Args:
        body: a chat request, its messages from :func:`checked_messages`.
        native_tools: whether the model's own template takes tools; else ``tools`` must have been dealt with.

    Raises:
        BadRequestError: a field is unknown or unsupported; ``param`` names it.
    """
    known = ENGINE_FIELDS | ALIASES.keys() | {GUIDED} | (TOOL_FIELDS if native_tools else frozenset())
    result: Json = {"messages": body["messages"]}
    for name, value in {**body, **_extra(body)}.items():
        if value is None or name in LABELS or name in ("messages", "extra_body"):
            continue
        if name not in known:
            raise BadRequestError(
                f"The local model does not know the parameter {name!r}{nearest(name, known)}", param=name
            )
        result[ALIASES.get(name, name)] = value
    if (schema := result.pop(GUIDED, None)) is not None:
        result["response_format"] = _guided(schema)
    if "response_format" in result:
        result["response_format"] = _response_format(result["response_format"])
    if "stop" in result:
        check_stop(result["stop"])
    return result


def _extra(body: Json) -> Json:
    extra = body.get("extra_body") or {}
    if not isinstance(extra, dict) or "messages" in extra:
        raise BadRequestError("extra_body: expected an object with further parameters", param="extra_body")
    return extra


def _response_format(wanted: Any) -> Json:
    """OpenAI's ``response_format`` as llama.cpp takes it."""
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "text":
        return {"type": "text"}
    if kind == "json_object":
        schema = wanted.get("schema", ANY_OBJECT)
    elif kind == "json_schema":
        named = wanted.get("json_schema")
        schema = named.get("schema") if isinstance(named, dict) else None
    else:
        raise _wrong_format("expected an object whose type is text, json_object or json_schema")
    if not isinstance(schema, dict):
        raise _wrong_format("expected a JSON schema, an object, in json_schema.schema")
    if fault := schemas.fault_of(schema):
        raise _wrong_format(f"not a JSON schema: {fault}")
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def _guided(schema: Any) -> Json:
    """vLLM's ``guided_json`` as OpenAI's ``response_format``."""
    if isinstance(schema, str):
        try:
            schema = json.loads(schema)
        except (ValueError, RecursionError):
            schema = None
    if not isinstance(schema, dict):
        raise BadRequestError("guided_json: expected a JSON schema, an object", param=GUIDED)
    return {"type": "json_schema", "json_schema": {"schema": schema}}


def _wrong_format(what: str) -> BadRequestError:
    return BadRequestError(f"response_format: {what}", param="response_format")


def check_stop(stop: Any) -> None:
    """Check that *stop* is what the engine takes.

    Raises:
        BadRequestError: it is not.
    """
    texts = [stop] if isinstance(stop, str) else stop
    if not isinstance(texts, list) or not all(isinstance(text, str) and text for text in texts):
        raise BadRequestError("stop: expected a text or a list of texts, none of them empty", param="stop")


def refuse_with_tools(body: Json) -> None:
    """Refuse what a tool call of the local model cannot give.

    Raises:
        BadRequestError: several answers or log probabilities are asked for.
    """
    for name, several in (("n", (body.get("n") or 1) != 1), ("logprobs", bool(body.get("logprobs")))):
        if several:
            raise BadRequestError(f"{name}: the local model cannot combine it with tools", param=name)


def checked_messages(messages: list[Json], *, sees: bool) -> list[Json]:
    """*messages*, which have OpenAI's shape, as chat templates expect them.

    Raises:
        BadRequestError: one holds what the model does not take; ``param`` says which.
    """
    return [_checked(message, f"messages[{index}]", sees) for index, message in enumerate(messages)]


def _checked(message: Json, where: str, sees: bool) -> Json:
    role = message["role"]
    if role == "function":
        raise BadRequestError(f"{where}.role: the local model takes tool messages instead", param=f"{where}.role")
    content = _content(message.get("content"), where, sees)
    if not content and (role == "user" or (role == "assistant" and content is None and not message.get("tool_calls"))):
        raise BadRequestError(f"{where}.content: the {role} message is empty", param=f"{where}.content")
    if role == "tool" and isinstance(content, list):
        raise BadRequestError(f"{where}.content: the local model takes tool results as text", param=f"{where}.content")
    kept = {key: message[key] for key in ("tool_calls", "tool_call_id", "name") if message.get(key) is not None}
    return {"role": "system" if role == "developer" else role, "content": content or "", **kept}


def _content(content: str | list[Json] | None, where: str, sees: bool) -> str | list[Json] | None:
    if not isinstance(content, list):
        return content
    parts = [_part(part, f"{where}.content[{index}]", sees) for index, part in enumerate(content)]
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _part(part: Json, where: str, sees: bool) -> Json:
    kind = part["type"]
    if kind == "text" and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    if kind == "text":
        raise BadRequestError(f"{where}.text: expected a text", param=f"{where}.text")
    if kind != "image_url":
        raise BadRequestError(f"{where}: the local model takes text, not {kind!r}", param=where)
    if not sees:
        raise BadRequestError(
            f"{where}: the local model takes no images; set LAS_LOCAL_MODEL and LAS_LOCAL_MMPROJ to a model that does",
            param=where,
        )
    url = part.get("image_url", {}).get("url") if isinstance(part.get("image_url"), dict) else None
    # The engine would fetch any address, and read any file, that a client names.
    if not isinstance(url, str) or not url.startswith("data:image/"):
        raise BadRequestError(f"{where}.image_url.url: send the image itself, as a data:image/… URL", param=where)
    return {"type": "image_url", "image_url": {"url": url}}


def texts(value: Any) -> list[str] | list[list[int]]:
    """The ``input`` of an embeddings request as a list of texts or of token lists.

    Raises:
        BadRequestError: it is empty or something else.
    """
    items = [value] if isinstance(value, str) or _tokens(value) else value
    if not isinstance(items, Sequence) or not items:
        raise BadRequestError("input: expected a text or a list of texts", param="input")
    for index, item in enumerate(items):
        if not (isinstance(item, str) and item) and not _tokens(item):
            raise BadRequestError(f"input[{index}]: expected a text that is not empty", param=f"input[{index}]")
    return list(items)


def _tokens(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(token) is int and token >= 0 for token in value)
