"""The shape of a chat request, checked before a provider, or a chat template, trips over it."""

from __future__ import annotations

from typing import Any

from las_langchain.errors import BadRequestError

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
        raise _wrong(f"{where}.role", f"expected one of {', '.join(ROLES)}, not {role!r}")
    if not _is_content(content):
        raise _wrong(f"{where}.content", "expected text or a list of parts, each with a type")
    if content is None and role != "assistant":
        raise _wrong(f"{where}.content", f"a {role} message needs content")
    if calls is not None and not (isinstance(calls, list) and all(map(_is_call, calls))):
        raise _wrong(f"{where}.tool_calls", "expected a list of calls, each with a function")


def _is_content(content: Any) -> bool:
    if isinstance(content, list):
        return all(isinstance(part, dict) and isinstance(part.get("type"), str) for part in content)
    return content is None or isinstance(content, str)


def _is_call(call: Any) -> bool:
    return isinstance(call, dict) and (call.get("type") == "custom" or isinstance(call.get("function"), dict))


def _wrong(param: str, what: str) -> BadRequestError:
    return BadRequestError(f"{param}: {what}", param=param)
