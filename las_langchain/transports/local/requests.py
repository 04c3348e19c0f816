"""What the embedded engine accepts, checked before it sees it: the engine itself takes almost anything in silence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from las_langchain.errors import BadRequestError
from las_langchain.settings import nearest

Json = dict[str, Any]

# Given to the engine as they are.
ENGINE_FIELDS = frozenset(
    "temperature top_p top_k min_p typical_p stop seed max_tokens n logprobs top_logprobs logit_bias response_format "
    "presence_penalty frequency_penalty repeat_penalty repeat_last_n mirostat mirostat_tau mirostat_eta "
    "chat_template_kwargs ignore_eos xtc_probability xtc_threshold dry_multiplier dry_base".split()
)
# Other servers' names for the same thing.
ALIASES = {"max_completion_tokens": "max_tokens", "repetition_penalty": "repeat_penalty"}
# About the caller, not about the answer.
LABELS = frozenset("user metadata store service_tier stream_options safety_identifier prompt_cache_key".split())
# Handled by the tool router.
TOOL_FIELDS = frozenset("tools tool_choice parallel_tool_calls".split())
ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
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


def engine_body(body: Json, *, sees: bool, native_tools: bool) -> Json:
    """*body* as the engine takes it.

    Args:
        body: a chat request.
        sees: whether the model takes images.
        native_tools: whether the model's own template takes tools; else ``tools`` must have been dealt with.

    Raises:
        BadRequestError: a field is unknown or unsupported, or a message is malformed; ``param`` names it.
    """
    known = ENGINE_FIELDS | ALIASES.keys() | (TOOL_FIELDS if native_tools else frozenset())
    result: Json = {"messages": checked_messages(body.get("messages"), sees=sees)}
    for name, value in body.items():
        if value is None or name in LABELS or name == "messages":
            continue
        if name not in known:
            raise BadRequestError(
                f"The local model does not know the parameter {name!r}{nearest(name, known)}", param=name
            )
        result[ALIASES.get(name, name)] = value
    wanted = result.get("response_format", {})
    if not isinstance(wanted, dict):
        raise BadRequestError("response_format: expected an object with a type", param="response_format")
    if wanted.get("type") == "json_object":
        result["response_format"] = {"type": "json_schema", "json_schema": {"name": "object", "schema": ANY_OBJECT}}
    return result


def refuse_with_tools(body: Json) -> None:
    """Refuse what a tool call of the local model cannot give.

    Raises:
        BadRequestError: several answers or log probabilities are asked for.
    """
    for name, several in (("n", (body.get("n") or 1) != 1), ("logprobs", bool(body.get("logprobs")))):
        if several:
            raise BadRequestError(f"{name}: the local model cannot combine it with tools", param=name)


def checked_messages(messages: Any, *, sees: bool) -> list[Json]:
    """*messages* in the shape that chat templates expect.

    Raises:
        BadRequestError: there are none, or one has an unknown role or content; ``param`` says which.
    """
    if not isinstance(messages, list) or not messages:
        raise BadRequestError("messages: expected at least one message", param="messages")
    return [_checked(message, f"messages[{index}]", sees) for index, message in enumerate(messages)]


def _checked(message: Any, where: str, sees: bool) -> Json:
    role = message.get("role") if isinstance(message, dict) else None
    if not isinstance(role, str) or role not in ROLES:
        known = ", ".join(sorted(ROLES))
        raise BadRequestError(f"{where}.role: expected one of {known}, not {role!r}", param=f"{where}.role")
    content = _content(message.get("content"), where, sees)
    if content is None and not (role == "assistant" and message.get("tool_calls")):
        raise BadRequestError(f"{where}.content: a {role} message needs content", param=f"{where}.content")
    if role == "tool" and isinstance(content, list):
        raise BadRequestError(f"{where}.content: the local model takes tool results as text", param=f"{where}.content")
    _check_calls(message.get("tool_calls"), where)
    kept = {key: message[key] for key in ("tool_calls", "tool_call_id", "name") if message.get(key) is not None}
    return {"role": "system" if role == "developer" else role, "content": content or "", **kept}


def _check_calls(calls: Any, where: str) -> None:
    shaped = calls is None or (
        isinstance(calls, list)
        and all(isinstance(call, dict) and isinstance(call.get("function"), dict) for call in calls)
    )
    if not shaped:
        message = f"{where}.tool_calls: expected a list of calls, each with a function"
        raise BadRequestError(message, param=f"{where}.tool_calls")


def _content(content: Any, where: str, sees: bool) -> str | list[Json] | None:
    if content is None or isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise BadRequestError(f"{where}.content: expected text or a list of parts", param=f"{where}.content")
    parts = [_part(part, f"{where}.content[{index}]", sees) for index, part in enumerate(content)]
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _part(part: Any, where: str, sees: bool) -> Json:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
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
