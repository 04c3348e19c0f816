"""The ledger's tables, and how rows get into them."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime
from functools import cache
from importlib import import_module
from itertools import chain
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Date,
    DateTime,
    Dialect,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    TypeDecorator,
    inspect,
    select,
)
from sqlalchemy.dialects import sqlite

from las_langchain.errors import ConfigurationError
from las_langchain.usage.rows import Row

VERSION = 1
"""Of these tables; what is written by a later one is left alone."""
SLICE = 500
"""Ids asked for in one query; SQLite takes 999 parameters at least."""
_CREATION = 0x1A5_1ED6E4
"""PostgreSQL's advisory lock under which one process at a time creates the tables."""


class UTCDateTime(TypeDecorator[datetime]):
    """A moment, in UTC on every database: SQLite has no time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """In UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """In UTC."""
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


METADATA = MetaData()

CALLS = Table(
    "calls",
    METADATA,
    Column("id", String, primary_key=True),
    Column("started", UTCDateTime, nullable=False),
    Column("operation", String, nullable=False),
    Column("asked", String, nullable=False),
    Column("model", String, nullable=False),
    Column("provider", String, nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("status", String, nullable=False),
    Column("error", String),
    Column("status_code", Integer),
    Column("attempts", Integer, nullable=False),
    Column("cache_hit", Boolean, nullable=False),
    Column("prompt_tokens", BigInteger),
    Column("completion_tokens", BigInteger),
    Column("cached_tokens", BigInteger),
    Column("cache_write_tokens", BigInteger),
    Column("reasoning_tokens", BigInteger),
    Column("audio_tokens", BigInteger),
    Column("tokens_estimated", Boolean, nullable=False),
    Column("cost_usd", Double),
    Column("seconds", Double, nullable=False),
    Column("first_token_seconds", Double),
    Column("key_id", String),
    Column("chain", String),
    Column("request_id", String),
    Column("response_id", String),
)
Index("calls_started", CALLS.c.started)
Index("calls_key_started", CALLS.c.key_id, CALLS.c.started)
Index("calls_model_started", CALLS.c.model, CALLS.c.started)

SPENDING = Table(
    "spending",
    METADATA,
    Column("day", Date, primary_key=True),
    Column("key_id", String, primary_key=True),  # "": nobody in particular; a key column cannot be NULL.
    Column("cost_usd", Double, nullable=False),
)

SCHEMA_VERSION = Table("schema_version", METADATA, Column("version", Integer, nullable=False))


_INSERT = CALLS.insert()
_TOGETHER = 900 // len(CALLS.columns)
"""Rows of one statement; SQLite takes 999 parameters at least."""
_MARKS = f"({', '.join('?' * len(CALLS.columns))})"
_VALUES = itemgetter(*(column.name for column in CALLS.columns))


def version_of(connection: Connection) -> int | None:
    """The version of the tables that are there; None: there are none.

    Raises:
        ConfigurationError: there are tables of these names that are not the ledger's.
    """
    found = METADATA.tables.keys() & set(inspect(connection).get_table_names())
    if not found:
        return None
    version = connection.scalar(select(SCHEMA_VERSION.c.version)) if found == METADATA.tables.keys() else None
    if version is None:
        names = ", ".join(sorted(found))
        raise ConfigurationError(
            f"LAS_DATABASE_URL: the database has tables of another program ({names}); give the ledger one of its own",
            param="database_url",
        )
    return int(version)


def create_tables(connection: Connection) -> None:
    """Create what is missing, in a transaction that has begun; another process may do the same."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_CREATION})")
    if version_of(connection) is None:
        METADATA.create_all(connection)
        connection.execute(SCHEMA_VERSION.insert().values(version=VERSION))


def insert_calls(connection: Connection, rows: list[Row], again: bool) -> None:
    """Add *rows*, and what they cost to what is spent, in a transaction that has begun.

    Args:
        connection: to the database.
        rows: of :func:`~las_langchain.usage.rows.row_of`.
        again: whether some may be there already, which are left as they are.
    """
    fresh = _unknown(connection, rows) if again else rows
    if not fresh:
        return
    connection.execute(_INSERT, fresh)
    if spent := _spent(fresh):
        connection.execute(_upsert(connection.dialect.name), spent)


def insert_into_sqlite(driver: sqlite3.Connection, rows: list[Row]) -> None:
    """The same, of rows that are not there, in a SQLite file; values are written as SQLAlchemy would."""
    calls, spending = _sqlite()
    values = [_VALUES(row | {"started": _sqlite_moment(row["started"])}) for row in rows]
    for start in range(0, len(values), _TOGETHER):
        together = values[start : start + _TOGETHER]
        # A statement for each row would have this thread wait for the interpreter, and others wait for it, as often.
        statement = f"{calls}{f', {_MARKS}' * (len(together) - 1)}"
        driver.execute(statement, list(chain.from_iterable(together)))
    if spent := _spent(rows):
        driver.executemany(spending, [(row["day"].isoformat(), row["key_id"], row["cost_usd"]) for row in spent])


def _sqlite_moment(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(" ", "microseconds")


@cache
def _sqlite() -> tuple[str, str]:
    """SQLite's statements that insert calls, and that add to what is spent; values are in the order of the columns."""
    by_position = sqlite.dialect(paramstyle="qmark")
    columns = [column.name for column in SPENDING.columns]
    return (
        str(_INSERT.compile(dialect=by_position)),
        str(_upsert("sqlite").compile(dialect=by_position, column_keys=columns)),
    )


def _unknown(connection: Connection, rows: list[Row]) -> list[Row]:
    by_id = {row["id"]: row for row in rows}
    ids = list(by_id)
    for start in range(0, len(ids), SLICE):
        known = select(CALLS.c.id).where(CALLS.c.id.in_(ids[start : start + SLICE]))
        for found in connection.scalars(known):
            del by_id[found]
    return list(by_id.values())


def _spent(rows: Iterable[Row]) -> list[Row]:
    sums: dict[tuple[date, str], float] = defaultdict(float)
    for row in rows:
        if row["cost_usd"]:
            sums[row["started"].date(), row["key_id"] or ""] += row["cost_usd"]
    # In one order in every process, or two that wait for each other's rows would deadlock.
    return [{"day": day, "key_id": key_id, "cost_usd": cost} for (day, key_id), cost in sorted(sums.items())]


@cache
def _upsert(dialect: str) -> Any:
    # Importing PostgreSQL's takes as long as a tenth of SQLAlchemy.
    dialects = import_module(f"sqlalchemy.dialects.{dialect}")
    insert = dialects.insert(SPENDING)
    total = SPENDING.c.cost_usd + insert.excluded.cost_usd
    return insert.on_conflict_do_update(index_elements=["day", "key_id"], set_={"cost_usd": total})
