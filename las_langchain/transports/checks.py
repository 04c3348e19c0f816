"""The shape of a request, checked before a provider, or a chat template, trips over it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from las_langchain.errors import BadRequestError
from las_langchain.provider_rows import PROVIDERS
from las_langchain.providers import Target
from las_langchain.settings import nearest

ROLES = ("system", "developer", "user", "assistant", "tool", "function")


def check_messages(messages: Any) -> None:
    """Check that *messages* are messages as OpenAI's API defines them.

    Raises:
        BadRequestError: there are none, or a role, a content or a tool call has the wrong shape; ``param`` says which.
    """
    if not isinstance(messages, list) or not messages:
        raise BadRequestError("messages: expected at least one message", param="messages")
    for index, message in enumerate(messages):
        _check(message, f"messages[{index}]")


def _check(message: Any, where: str) -> None:
    if not isinstance(message, dict):
        raise BadRequestError(f"{where}: expected an object with role and content", param=where)
    role, content, calls = message.get("role"), message.get("content"), message.get("tool_calls")
    if role not in ROLES:
        raise _wrong(f"{where}.role", f"expected one of {', '.join(ROLES)}, not {role!r:.100}")
    if isinstance(content, list):
        for index, part in enumerate(content):
            _check_part(part, f"{where}.content[{index}]")
    elif content is not None and not isinstance(content, str):
        raise _wrong(f"{where}.content", "expected text or a list of parts, each with a type")
    if content is None and role != "assistant":
        raise _wrong(f"{where}.content", f"a {role} message needs content")
    if calls is not None and not (isinstance(calls, list) and all(map(_is_call, calls))):
        raise _wrong(f"{where}.tool_calls", "expected a list of calls, each with a function")


def _check_part(part: Any, where: str) -> None:
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        raise _wrong(where, "expected an object with a type")
    kind = part["type"]
    if kind in _PAYLOADS and not _PAYLOADS[kind][0](part.get(kind)):
        raise _wrong(where, f"a part of type {kind} needs {_PAYLOADS[kind][1]}")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _has_texts(value: Any, *names: str) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(name), str) for name in names)


_PAYLOADS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "text": (_is_text, "its text"),
    "refusal": (_is_text, "its refusal, a text"),
    # A bare address is litellm's own form.
    "image_url": (lambda value: _is_text(value) or _has_texts(value, "url"), "image_url, an object with a url"),
    "input_audio": (
        lambda value: _has_texts(value, "data", "format"),
        "input_audio, an object with data and format",
    ),
    "file": (
        lambda value: _has_texts(value, "file_data") or _has_texts(value, "file_id"),
        "file, an object with file_data or file_id",
    ),
}
"""What each of OpenAI's parts carries under the name of its type; providers have further types."""


def _is_call(call: Any) -> bool:
    return isinstance(call, dict) and (call.get("type") == "custom" or isinstance(call.get("function"), dict))


def _wrong(param: str, what: str) -> BadRequestError:
    return BadRequestError(f"{param}: {what}", param=param)


def refuse_unknown(body: dict[str, Any], known: frozenset[str], target: Target) -> None:
    """Check that *body* has no other fields than *known*.

    Raises:
        BadRequestError: it has; the message names the nearest.
    """
    for name in body:
        if name not in known:
            raise BadRequestError(
                f"Unknown parameter {name!r}{nearest(name, known)}; put a provider's own into extra_body",
                param=name,
                provider=target.provider,
            )


def check_completes(target: Target) -> None:
    """Check that *target*'s provider has OpenAI's older endpoint, which goes on with a text.

    Raises:
        BadRequestError: it has not.
    """
    row = PROVIDERS.get(target.provider)
    if row is None or not row.completes:
        raise BadRequestError(f"{target.id} takes no prompt; send it messages, to chat/completions", param="prompt")


def check_sendable(body: dict[str, Any]) -> None:
    """Check that *body* can be sent.

    Raises:
        BadRequestError: a field cannot; ``param`` names it.
    """
    for name, value in body.items():
        try:
            json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise BadRequestError(f"{name}: cannot be sent as JSON: {error}", param=name) from None
