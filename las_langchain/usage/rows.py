"""What goes into the ledger and what comes out of it, as plain values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Literal, get_args

from las_langchain.records import CallRecord

Row = dict[str, Any]
Group = Literal["model", "provider", "day", "key", "chain", "status"]

GROUPS: tuple[Group, ...] = get_args(Group)
"""What calls can be added up by."""

_LARGEST_COUNT = 2**63 - 1
_LONGEST_TEXT = 500
_TOKENS = {
    "prompt_tokens": "prompt",
    "completion_tokens": "completion",
    "cached_tokens": "cached",
    "cache_write_tokens": "cache_writes",
    "reasoning_tokens": "reasoning",
    "audio_tokens": "audio",
}
"""Columns, and the attributes of ``Tokens`` that they hold."""


@dataclass(frozen=True, slots=True)
class UsageRow:
    """Calls, added up.

    Attributes:
        group: what they have in common, such as the model's id or the day as ``2026-11-03``; None: no key, no chain, or
            all calls.
        calls: how many.
        errors: of *calls*, those that failed.
        cache_hits: of *calls*, those answered out of the cache.
        prompt_tokens: tokens read, where known.
        completion_tokens: tokens written, where known.
        cost_usd: US dollars, of the calls whose price is known; None: no call's is.
        unpriced: of *calls*, those that were answered, in part at least, at a price that is not known.
        seconds: mean duration of a call; None: no calls.
        first_token_seconds: mean time to the first chunk of a stream; None: no streams.
    """

    group: str | None
    calls: int
    errors: int
    cache_hits: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    unpriced: int
    seconds: float | None
    first_token_seconds: float | None


def row_of(record: CallRecord) -> Row:
    """*record* as a row of the table ``calls``, with nothing in it that a database refuses."""
    caller = record.caller
    return {
        "id": stored_text(record.id),
        "started": record.started.astimezone(UTC),
        "operation": stored_text(record.operation),
        "asked": stored_text(record.asked),
        "model": stored_text(record.model),
        "provider": stored_text(record.provider),
        "stream": bool(record.stream),
        "status": stored_text(record.status),
        "error": stored_text(record.error),
        "status_code": _count(record.status_code),
        "attempts": _count(record.attempts) or 0,
        "cache_hit": bool(record.cache_hit),
        **{column: _count(getattr(record.tokens, name, None)) for column, name in _TOKENS.items()},
        "tokens_estimated": bool(record.tokens_estimated),
        "cost_usd": _number(record.cost_usd),
        "seconds": _number(record.seconds) or 0.0,
        "first_token_seconds": _number(record.first_token_seconds),
        "key_id": stored_text(caller.key_id) or None,
        "chain": stored_text(caller.chain) or None,
        "request_id": stored_text(caller.request_id) or None,
        "response_id": stored_text(record.response_id) or None,
    }


def dollars(amount: float) -> str:
    """*amount* of US dollars for people: cents, and millionths where there are no whole cents."""
    return f"${amount:,.2f}" if amount >= 1 or round(amount, 6) == round(amount, 2) else f"${amount:.6f}"


def stored_text(value: str | None) -> str | None:
    """*value* as every database takes it: no zeros, no halves of characters, short enough for an index."""
    if value is None or (type(value) is str and len(value) <= _LONGEST_TEXT and value.isascii() and "\0" not in value):
        return value
    text = str(value)[:_LONGEST_TEXT].replace("\0", "")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _count(value: int | None) -> int | None:
    """*value*, or None if it is no count: a provider may say anything."""
    return value if isinstance(value, int) and 0 <= value <= _LARGEST_COUNT else None


def _number(value: float | None) -> float | None:
    """*value*, or None if it is no number: one NaN would make every sum NaN, and no budget would ever be spent."""
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None
