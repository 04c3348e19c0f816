"""The usage that providers tell, in OpenAI's words."""

from __future__ import annotations

from typing import Any

from las_langchain.prices import is_counted

Json = dict[str, Any]

_COUNTS = frozenset({"prompt_tokens", "completion_tokens", "total_tokens"})
_TABLES = frozenset({"prompt_tokens_details", "completion_tokens_details"})
# Where others than OpenAI tell some of the tokens.
_DETAILS = (
    ("prompt_tokens_details", "cached_tokens", "prompt_cache_hit_tokens"),
    ("completion_tokens_details", "reasoning_tokens", "reasoning_tokens"),
)
_WRITTEN = ("cache_creation_tokens", "cache_write_tokens")


def usage_of(answer: Json) -> Json | None:
    """The usage that an answer or a chunk tells, wherever it does; None: it does not."""
    told = answer.get("usage")
    if not told and isinstance(groqs := answer.get("x_groq"), dict):
        told = groqs.get("usage")
    usage = counts(told)
    if not is_counted(usage):
        return None
    for table, name, theirs in _DETAILS:
        if usage.get(theirs) and not (usage.get(table) or {}).get(name):
            usage[table] = {**(usage.get(table) or {}), name: usage[theirs]}
    if read := usage.get("prompt_tokens_details"):
        _name_twice(read)
    return usage


def counts(told: Any) -> Json:
    """What *told* counts, and what else it says; what is no number where one belongs says nothing."""
    if not isinstance(told, dict):
        return {}
    usage = {name: value for name, value in told.items() if name not in _TABLES and value is not None}
    for name in _COUNTS & usage.keys():
        if not _is_number(usage[name]):
            del usage[name]
    for name in _TABLES & told.keys():
        if isinstance(table := told[name], dict):
            usage[name] = {key: value for key, value in table.items() if _is_number(value) or isinstance(value, dict)}
    return usage


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _name_twice(read: Json) -> None:
    """Give the tokens written to a cache both of their names, by which one or the other is looked for."""
    written = next((read[name] for name in _WRITTEN if read.get(name)), None)
    if written is not None:
        read.update(dict.fromkeys(_WRITTEN, written))
