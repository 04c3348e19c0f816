"""What the ledger is asked."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, func, or_, select, tuple_

from las_langchain.errors import BadRequestError
from las_langchain.usage.rows import Group, UsageRow, stored_text
from las_langchain.usage.tables import CALLS, SPENDING

_COLUMNS: Mapping[str, ColumnElement[Any]] = {
    "model": CALLS.c.model,
    "provider": CALLS.c.provider,
    "key": CALLS.c.key_id,
    "chain": CALLS.c.chain,
    "status": CALLS.c.status,
}
_SPENT = select(func.sum(SPENDING.c.cost_usd)).where(SPENDING.c.day >= bindparam("since"))
_SPENT_WITH_KEY = _SPENT.where(SPENDING.c.key_id == bindparam("key_id"))


def report(
    connection: Connection, by: Group | None, filters: list[ColumnElement[bool]], limit: int | None
) -> list[UsageRow]:
    """Calls added up by group, the dearest first and days the newest first; *by* None: all of them, in one row."""
    group = _group(connection, by)
    query = _sums(group).where(*filters)
    if group is not None:
        order = [group.desc()] if by == "day" else [func.sum(CALLS.c.cost_usd).desc().nulls_last(), func.count().desc()]
        query = query.group_by(group).order_by(*order, group).limit(limit)
    return [_usage(row) for row in connection.execute(query).mappings()]


def filters(since: date | None, until: date | None, key_id: str | None) -> list[ColumnElement[bool]]:
    """What picks the calls that began from *since* to *until*, made with *key_id*; None picks all."""
    started, conditions = CALLS.c.started, []
    if since is not None:
        conditions.append(started >= (_utc(since) if isinstance(since, datetime) else _at(since, time.min)))
    if until is not None:
        conditions.append(started < _utc(until) if isinstance(until, datetime) else started <= _at(until, time.max))
    if key_id is not None:
        conditions.append(CALLS.c.key_id == stored_text(key_id))
    return conditions


def newest(
    connection: Connection, wanted: list[ColumnElement[bool]], limit: int, before: str | None
) -> list[dict[str, Any]]:
    """Single calls, the newest first.

    Raises:
        BadRequestError: there is no call *before*.
    """
    query = select(CALLS).where(*wanted).order_by(CALLS.c.started.desc(), CALLS.c.id.desc()).limit(limit)
    if before is not None:
        started = connection.scalar(select(CALLS.c.started).where(CALLS.c.id == before))
        if started is None:
            raise BadRequestError("before: no such call; give the id of a call in the ledger", param="before")
        query = query.where(tuple_(CALLS.c.started, CALLS.c.id) < tuple_(started, before))
    return [dict(row) for row in connection.execute(query).mappings()]


def spent(connection: Connection, key_id: str | None, since: date) -> float:
    """What the calls since *since* cost, in US dollars; all of them if *key_id* is None."""
    query = _SPENT if key_id is None else _SPENT_WITH_KEY
    return float(connection.scalar(query, {"since": since, "key_id": stored_text(key_id)}) or 0)


def _group(connection: Connection, by: Group | None) -> ColumnElement[Any] | None:
    if by != "day":
        return _COLUMNS[by] if by else None
    if connection.dialect.name == "postgresql":
        return func.date(func.timezone("UTC", CALLS.c.started))
    return func.date(CALLS.c.started)


def _sums(group: ColumnElement[Any] | None) -> Select[Any]:
    columns = CALLS.c
    # A call that failed before anything was answered has no price either, but nobody asks for it.
    answered = or_(columns.status == "ok", columns.prompt_tokens.is_not(None))
    grouping = [] if group is None else [group.label("group")]
    return select(
        *grouping,
        func.count().label("calls"),
        func.count().filter(columns.status == "error").label("errors"),
        func.count().filter(columns.cache_hit).label("cache_hits"),
        func.sum(columns.prompt_tokens).label("prompt_tokens"),
        func.sum(columns.completion_tokens).label("completion_tokens"),
        func.sum(columns.cost_usd).label("cost_usd"),
        func.count().filter(columns.cost_usd.is_(None), answered).label("unpriced"),
        func.avg(columns.seconds).label("seconds"),
        func.avg(columns.first_token_seconds).label("first_token_seconds"),
    )


def _usage(row: Mapping[Any, Any]) -> UsageRow:
    group = row.get("group")
    # PostgreSQL adds integers up to decimals, and nothing to NULL.
    tokens = {name: int(row[name] or 0) for name in ("prompt_tokens", "completion_tokens")}
    return UsageRow(**{**row, **tokens, "group": None if group is None else str(group)})


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


def _at(day: date, moment: time) -> datetime:
    return datetime.combine(day, moment, UTC)
