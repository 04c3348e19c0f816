"""The items of a request's input: checked, and in the form in which they are kept and listed."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from las_langchain.errors import BadRequestError
from servers.responses.ids import item_id
from servers.responses.parts import OF_MODELS, OF_PEOPLE, OF_TOOLS, checked_content
from servers.responses.reading import a_list, a_text, an_object, one_of, optional_text, wrong
from servers.responses.schemas import ID

Json = dict[str, Any]

ROLES = ("user", "assistant", "system", "developer")
_NAME = 256
_STATUSES = ("in_progress", "completed", "incomplete")
_CALL = frozenset({"id", "type", "status", "call_id", "caller", "created_by", "namespace", "name"})
_FIELDS: dict[str, frozenset[str]] = {
    "message": frozenset({"id", "type", "role", "content", "status", "phase"}),
    "function_call": _CALL | {"arguments", "parsed_arguments"},
    "function_call_output": _CALL | {"output"},
    "custom_tool_call": _CALL | {"input"},
    "custom_tool_call_output": _CALL | {"output"},
    "reasoning": frozenset({"id", "type", "status", "summary", "content", "encrypted_content"}),
    "item_reference": frozenset({"id", "type"}),
}
_SEALED = "las1."
"""What the texts of reasoning begin with where a client keeps them for us unread."""


def checked_items(given: str | Sequence[Any]) -> list[Json]:
    """The items of a request's ``input``; references are left as they are.

    Args:
        given: a text that the user says, or items.

    Raises:
        BadRequestError: one is malformed, or of a kind that only OpenAI's own tools know; ``param`` names it.
    """
    if isinstance(given, str):
        return [_message({"role": "user", "content": given}, "input")]
    return [_checked(item, f"input[{index}]") for index, item in enumerate(given)]


def _checked(given: Any, where: str) -> Json:
    item = an_object(given, where)
    kind = item.get("type") or ("message" if "role" in item else "item_reference" if set(item) == {"id"} else None)
    if kind is None:
        place = f"{where}.type"
        raise BadRequestError(f"Missing required parameter: {place}", param=place, code="missing_required_parameter")
    kind = one_of(kind, tuple(_CHECKS), f"{where}.type")
    an_object(item, where, _FIELDS[kind])
    if item.get("id") is not None and not re.fullmatch(ID, a_text(item, "id", where)):
        raise wrong(f"{where}.id", "expected at most 256 letters, digits and any of _ . : -")
    if item.get("status") is not None:
        one_of(item["status"], _STATUSES, f"{where}.status")
    return _CHECKS[kind](item, where)


def _head(item: Json, kind: str) -> Json:
    """What every item has."""
    return {"id": item.get("id") or item_id(kind), "type": kind, "status": item.get("status") or "completed"}


def _message(item: Json, where: str) -> Json:
    role = one_of(item.get("role"), ROLES, f"{where}.role")
    parts = checked_content(item, "content", OF_MODELS if role == "assistant" else OF_PEOPLE, where)
    return {**_head(item, "message"), "role": role, "content": parts}


def _function_call(item: Json, where: str) -> Json:
    return {**_call(item, "function_call", where), "arguments": a_text(item, "arguments", where)}


def _custom_call(item: Json, where: str) -> Json:
    return {**_call(item, "custom_tool_call", where), "input": a_text(item, "input", where)}


def _call(item: Json, kind: str, where: str) -> Json:
    call_id = a_text(item, "call_id", where, most=_NAME, empty=False)
    name = a_text(item, "name", where, most=_NAME, empty=False)
    namespace = optional_text(item, "namespace", where, most=_NAME)
    head = {**_head(item, kind), "call_id": call_id, "name": name}
    return {**head, "namespace": namespace} if namespace else head


def _function_output(item: Json, where: str) -> Json:
    return _output(item, "function_call_output", where)


def _custom_output(item: Json, where: str) -> Json:
    return _output(item, "custom_tool_call_output", where)


def _output(item: Json, kind: str, where: str) -> Json:
    call_id = a_text(item, "call_id", where, most=_NAME, empty=False)
    # A tool may have nothing to say.
    empty = item.get("output") == []
    output = "" if empty else item.get("output")
    if not isinstance(output, str):
        output = checked_content(item, "output", OF_TOOLS, where)
    return {**_head(item, kind), "call_id": call_id, "output": output}


def _reasoning(item: Json, where: str) -> Json:
    summary = _thoughts(item, "summary", ("summary_text",), where)
    content = _thoughts(item, "content", ("reasoning_text", "text"), where)
    sealed = optional_text(item, "encrypted_content", where)
    if not content and sealed and (text := unsealed(sealed)):
        content = [{"type": "reasoning_text", "text": text}]
    return {**_head(item, "reasoning"), "summary": summary, "content": content}


def _thoughts(item: Json, name: str, kinds: Sequence[str], where: str) -> list[Json]:
    parts = []
    for index, part in enumerate(a_list(item, name, where)):
        place = f"{where}.{name}[{index}]"
        one_of(an_object(part, place, ("type", "text")).get("type"), kinds, f"{place}.type")
        parts.append({"type": kinds[0], "text": a_text(part, "text", place)})
    return parts


def _reference(item: Json, where: str) -> Json:
    return {"type": "item_reference", "id": a_text(item, "id", where, most=_NAME, empty=False)}


_CHECKS: dict[str, Callable[[Json, str], Json]] = {
    "message": _message,
    "function_call": _function_call,
    "function_call_output": _function_output,
    "custom_tool_call": _custom_call,
    "custom_tool_call_output": _custom_output,
    "reasoning": _reasoning,
    "item_reference": _reference,
}


def referenced(items: Sequence[Json]) -> list[str]:
    """The names of the items that *items* refer to."""
    return [item["id"] for item in items if item["type"] == "item_reference"]


def resolved(items: Sequence[Json], known: Mapping[str, Json]) -> list[Json]:
    """*items* with the *known* ones, by their names, in the place of references.

    Raises:
        BadRequestError: one is not known.
    """
    result = []
    for index, item in enumerate(items):
        if item["type"] == "item_reference" and item["id"] not in known:
            where = f"input[{index}].id"
            message = f"{where}: there is no stored item {item['id']!r}; send the item itself"
            raise BadRequestError(message, param=where, code="item_not_found", status_code=404)
        result.append(known[item["id"]] if item["type"] == "item_reference" else item)
    return result


def sealed(text: str) -> str:
    """*text* as clients keep it that ask for ``reasoning.encrypted_content``: they send that back, and not the text."""
    return _SEALED + base64.urlsafe_b64encode(text.encode(errors="surrogatepass")).decode()


def unsealed(content: str) -> str | None:
    """The text in *content*; None: it is somebody else's, which nobody here can read."""
    if not content.startswith(_SEALED):
        return None
    try:
        return base64.b64decode(content.removeprefix(_SEALED), b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        return None
