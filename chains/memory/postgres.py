"""Conversations in a PostgreSQL database."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import psycopg
from langgraph.checkpoint.postgres import PostgresSaver
from psycopg import Connection, Cursor
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool
from sqlalchemy import URL

from chains.memory.in_threads import Threads, explained, of_a_later_version, serializer
from las_langchain.errors import ConfigurationError
from las_langchain.usage.engine import POSTGRES, shown

Pool = ConnectionPool[Connection[DictRow]]

CONNECTION_PATIENCE = 10.0
"""Seconds for which a server that is gone, such as one that starts anew, is waited for."""
SETUP_PATIENCE = 60.0
"""Seconds for which another process that sets the tables up is waited for."""
_DELAY = 0.1
_SETTING_UP = 7_526_837_118_530_011
"""Number of the advisory lock that is held meanwhile."""


class PostgresThreads(Threads, PostgresSaver):
    """LangGraph's checkpointer on a pool, which is opened when it is needed and replaces a connection that broke.

    Args:
        url: the database; the tables are created where the connection's search path says.
    """

    def __init__(self, url: URL) -> None:
        Threads.__init__(self)
        PostgresSaver.__init__(self, cast("Pool", None), serde=serializer())
        self._url = url
        self._pool: Pool | None = None

    @contextmanager
    def _cursor(self, *, pipeline: bool = False) -> Iterator[Cursor[DictRow]]:
        with self._lock, explained(shown(self._url), "LAS_DATABASE_URL", psycopg.Error):
            self.conn = self._pool = self._pool or self._opened()
            with super()._cursor(pipeline=pipeline) as cursor:
                yield cursor

    def let_go(self) -> None:
        """Close the connections, which two processes must not share."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def _opened(self) -> Pool:
        arguments = _arguments(self._url)
        # The pool would only say that there is no connection in time, and not why.
        with Connection[DictRow].connect(**arguments) as connection:
            _set_up(connection, shown(self._url))
        return ConnectionPool(
            kwargs=arguments,
            # LangGraph's class uses one at a time.
            min_size=0,
            max_size=1,
            num_workers=1,
            open=True,
            timeout=CONNECTION_PATIENCE,
            check=ConnectionPool.check_connection,
        )


def _arguments(url: URL) -> dict[str, Any]:
    _, named = url.get_dialect()().create_connect_args(url)
    return {**POSTGRES, **named, "autocommit": True, "row_factory": dict_row}


def _set_up(connection: Connection[DictRow], where: str) -> None:
    """Create the tables, or bring them up to date, unless that is done.

    Raises:
        ConfigurationError: they are a later version's, or another process does not get done with them.
    """
    newest, deadline = len(PostgresSaver.MIGRATIONS) - 1, time.monotonic() + SETUP_PATIENCE
    while (version := _version(connection)) < newest:
        # Waiting inside the server would keep another's index from being built, which waits for all statements.
        if _value(connection, f"SELECT pg_try_advisory_lock({_SETTING_UP}) AS found"):
            PostgresSaver(connection).setup()
        elif time.monotonic() > deadline:
            raise ConfigurationError("The conversations cannot be set up: another process is at it", detail=where)
        else:
            time.sleep(_DELAY)
    if version > newest:
        raise of_a_later_version(where)


def _version(connection: Connection[DictRow]) -> int:
    """The number of the last change to the tables; -1: there are none."""
    if not _value(connection, "SELECT to_regclass('checkpoint_migrations')::text AS found"):
        return -1
    return int(_value(connection, "SELECT coalesce(max(v), -1) AS found FROM checkpoint_migrations"))


def _value(connection: Connection[DictRow], query: Any) -> Any:
    row = connection.execute(query).fetchone()
    return row and row["found"]
