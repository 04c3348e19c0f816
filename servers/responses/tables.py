"""The tables in which responses are kept, and what they are asked. Importing this imports SQLAlchemy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    delete,
    literal,
    select,
    update,
)

from las_langchain.usage.engine import begin
from servers.json_texts import json_text

Json = dict[str, Any]

METADATA = MetaData()
RESPONSES = Table(
    "las_responses",
    METADATA,
    Column("id", String, primary_key=True),
    Column("key_id", String, nullable=False),  # "": nobody in particular.
    Column("previous_id", String),
    Column("expires", BigInteger, nullable=False),  # Seconds since 1970.
    Column("response", Text, nullable=False),
)
Index("las_responses_expires", RESPONSES.c.expires)
ITEMS = Table(
    "las_response_items",
    METADATA,
    Column("response_id", String, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("item_id", String, nullable=False),
    Column("item", Text, nullable=False),
)
"""A response's own input, and after it its output."""
Index("las_response_items_item", ITEMS.c.item_id)

SLICE = 500
"""Ids asked for in one query; SQLite takes 999 parameters at least."""
_CREATION = 0x1A5_4E590


def prepare(engine: Engine) -> None:
    """Create the tables where there are none; another process may do the same."""
    with engine.connect() as connection:
        begin(connection)
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_CREATION})")
        METADATA.create_all(connection)
        connection.commit()


def insert(connection: Connection, key_id: str, response: Json, items: Sequence[Json], expires: int) -> None:
    """Add *response*, and let those that it builds on live as long."""
    row = {"id": response["id"], "key_id": key_id, "previous_id": response["previous_response_id"]}
    connection.execute(RESPONSES.insert().values(**row, expires=expires, response=_written(response)))
    rows = [
        {"response_id": response["id"], "position": place, "item_id": item["id"], "item": _written(item)}
        for place, item in enumerate([*items, *response["output"]])
    ]
    if rows:
        connection.execute(ITEMS.insert(), rows)
    for ids in _slices([one for one, _ in lineage(connection, key_id, row["previous_id"], 0)]):
        connection.execute(update(RESPONSES).where(RESPONSES.c.id.in_(ids)).values(expires=expires))


def found(connection: Connection, key_id: str, response_id: str, now: int) -> Json | None:
    """A response; None: it is not there, or somebody else's."""
    written = connection.scalar(select(RESPONSES.c.response).where(*_alive(key_id, now), RESPONSES.c.id == response_id))
    return None if written is None else dict(orjson.loads(written))


def lineage(connection: Connection, key_id: str, response_id: str | None, now: int) -> list[tuple[str, str | None]]:
    """A response and those that it builds on, from the newest to the oldest, each with the id of the one before."""
    columns = (RESPONSES.c.id, RESPONSES.c.previous_id)
    first = select(*columns, literal(0).label("depth")).where(*_alive(key_id, now), RESPONSES.c.id == response_id)
    walk = first.cte("walk", recursive=True)
    before = select(*columns, walk.c.depth + 1).where(*_alive(key_id, now), RESPONSES.c.id == walk.c.previous_id)
    walk = walk.union_all(before)
    rows = connection.execute(select(walk.c.id, walk.c.previous_id).order_by(walk.c.depth))
    return [(row.id, row.previous_id) for row in rows]


def items_of(connection: Connection, response_ids: Sequence[str]) -> list[Json]:
    """The items of responses, in their order."""
    by_response: dict[str, list[Json]] = {one: [] for one in response_ids}
    for ids in _slices(response_ids):
        wanted = select(ITEMS.c.response_id, ITEMS.c.item).where(ITEMS.c.response_id.in_(ids))
        for row in connection.execute(wanted.order_by(ITEMS.c.response_id, ITEMS.c.position)):
            by_response[row.response_id].append(orjson.loads(row.item))
    return [item for one in response_ids for item in by_response[one]]


def items_named(connection: Connection, key_id: str, item_ids: Sequence[str], now: int) -> dict[str, Json]:
    """Items by their ids, those of this key only."""
    known: dict[str, Json] = {}
    for ids in _slices(item_ids):
        joined = ITEMS.join(RESPONSES, ITEMS.c.response_id == RESPONSES.c.id)
        wanted = select(ITEMS.c.item_id, ITEMS.c.item).select_from(joined)
        for row in connection.execute(wanted.where(*_alive(key_id, now), ITEMS.c.item_id.in_(ids))):
            known[row.item_id] = orjson.loads(row.item)
    return known


def remove(connection: Connection, key_id: str, response_id: str) -> None:
    """Delete a response with its items, if it is there and this key's."""
    mine = select(RESPONSES.c.id).where(RESPONSES.c.id == response_id, RESPONSES.c.key_id == key_id)
    connection.execute(delete(ITEMS).where(ITEMS.c.response_id.in_(mine)))
    connection.execute(delete(RESPONSES).where(RESPONSES.c.id == response_id, RESPONSES.c.key_id == key_id))


def prune(connection: Connection, now: int) -> None:
    """Delete what has outlived its time."""
    old = select(RESPONSES.c.id).where(RESPONSES.c.expires <= now)
    connection.execute(delete(ITEMS).where(ITEMS.c.response_id.in_(old)))
    connection.execute(delete(RESPONSES).where(RESPONSES.c.expires <= now))


def _alive(key_id: str, now: int) -> tuple[Any, Any]:
    return RESPONSES.c.key_id == key_id, RESPONSES.c.expires > now


def _written(value: Json) -> str:
    return json_text(value).decode()


def _slices(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[start : start + SLICE] for start in range(0, len(ids), SLICE)]
