"""The ledger's database: opened when it is first used, asked again where that helps, its failures explained."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sqlalchemy import URL, Connection, Engine, PoolProxiedConnection
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from las_langchain.errors import ConfigurationError
from las_langchain.usage.engine import BEGIN, Identity, begin, file_of, identity_of, open_engine, shown, url_of
from las_langchain.usage.gate import Gate

T = TypeVar("T")

LOCK_PATIENCE = 30.0
"""Seconds for which a database that others have locked is asked again."""
WRITING_PATIENCE = 2.0
"""Seconds for which a server that is gone, such as one that starts anew, is asked again to write."""
READING_PATIENCE = 0.1
"""The same for reading, where somebody waits who would rather know."""
FIRST_DELAY, LONGEST_DELAY = 0.02, 0.5
"""Seconds between two tries; doubled from the one to the other."""

_LOCKED = {"55P03", "40001", "40P01"}
"""PostgreSQL's lock_not_available, serialization_failure and deadlock_detected."""
_GONE = {"57P01", "57P02", "57P03"}
"""PostgreSQL's admin_shutdown, crash_shutdown and cannot_connect_now."""


class Database:
    """A database, for any number of threads of one process.

    Args:
        address: as for :func:`~las_langchain.usage.engine.url_of`.
        gate: passed by whoever has a connection, so that there is none where it is shut.
        prepare: as for :func:`~las_langchain.usage.engine.open_engine`.
        name: what is in it, for people.

    Raises:
        ConfigurationError: as :func:`~las_langchain.usage.engine.url_of`.
    """

    def __init__(
        self,
        address: str | Path,
        gate: Gate,
        prepare: Callable[[Engine], None] | None = None,
        name: str = "The ledger",
    ) -> None:
        self._prepare, self._name = prepare, name
        self._url: URL = url_of(address)
        self._file = file_of(self._url)
        self.where = shown(self._url)
        self._gate = gate
        self._opening = threading.Lock()
        self._engine: Engine | None = None
        self._kept: list[PoolProxiedConnection] = []
        self._identity: Identity | None = None

    def read(self, work: Callable[[Connection], T]) -> T:
        """What *work* makes of a connection.

        Raises:
            ConfigurationError: the database cannot be used; ``detail`` says where it is and why.
        """

        def once(_: bool) -> T:
            with self._connection() as connection:
                return work(connection)

        return self._repeated(once, READING_PATIENCE)

    def write(
        self, work: Callable[[Connection, bool], None], sqlite: Callable[[sqlite3.Connection], None] | None = None
    ) -> None:
        """Do *work* in one transaction.

        Args:
            work: takes the connection, and whether an earlier try may have been committed all the same.
            sqlite: does the same in a SQLite file, where SQLAlchemy takes longer than SQLite; the first try is its.

        Raises:
            ConfigurationError: as :meth:`read`.
        """

        def once(again: bool) -> None:
            if sqlite is not None and self._file is not None and not again:
                with self._driver() as driver:
                    driver.execute(BEGIN)
                    sqlite(driver)
                    driver.execute("COMMIT")
                return
            with self._connection() as connection:
                begin(connection)
                work(connection, again)
                connection.commit()

        self._repeated(once, WRITING_PATIENCE)

    def close(self) -> None:
        """Close the connections that nobody uses; the next use opens the database anew."""
        while self._kept:
            self._kept.pop().close()
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose()

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with self._gate.inside(), self._opened().connect() as connection:
            yield connection

    @contextmanager
    def _driver(self) -> Iterator[sqlite3.Connection]:
        """A connection to a SQLite file, without SQLAlchemy's part in it; what a failure leaves undone is undone.

        It is kept for the next one: taking it out of the pool, and back, costs a third of what SQLite does with it.
        """
        with self._gate.inside():
            engine = self._opened()
            try:
                pooled = self._kept.pop()
            except IndexError:
                pooled = engine.raw_connection()
            kept = False
            try:
                driver = pooled.driver_connection
                assert isinstance(driver, sqlite3.Connection)  # noqa: S101 - of the engine of a file
                yield driver
                kept = engine is self._engine
            finally:
                if kept:
                    self._kept.append(pooled)
                else:
                    pooled.close()

    def _opened(self) -> Engine:
        with self._opening:
            if self._engine is not None and self._identity != identity_of(self._file):
                self.close()  # What is written to a file that was deleted or replaced would be gone.
            if self._engine is None:
                self._engine = open_engine(self._url, self._prepare)
                self._identity = identity_of(self._file)
            return self._engine

    def _repeated(self, attempt: Callable[[bool], T], patience: float) -> T:
        began, delay, again = time.monotonic(), FIRST_DELAY, False
        while True:
            try:
                return attempt(again)
            except (DBAPIError, sqlite3.Error) as error:
                known_already = isinstance(error, (IntegrityError, sqlite3.IntegrityError)) and not again
                if not known_already and time.monotonic() - began >= _patience(error, patience):
                    raise self._failure(getattr(error, "orig", None) or error) from error
            except (SQLAlchemyError, OSError) as error:
                raise self._failure(error) from error
            time.sleep(delay)
            delay, again = min(delay * 2, LONGEST_DELAY), True

    def _failure(self, error: BaseException) -> ConfigurationError:
        reason = " ".join(str(error).split())
        for secret in (self._url.password, self._url.query.get("password"), self._url.query.get("sslpassword")):
            reason = reason.replace(str(secret), "***") if secret else reason
        remedy = "LAS_DATABASE_URL" if self._file is None else "its file, its folder (LAS_DATA_DIR) and the disk"
        return ConfigurationError(f"{self._name} cannot be used; check {remedy}", detail=f"{self.where}: {reason}")


def _patience(error: DBAPIError | sqlite3.Error, for_server: float) -> float:
    """Seconds for which it is worth trying again after *error*; *for_server* if the server is gone, 0 if it stays."""
    origin = error if isinstance(error, sqlite3.Error) else error.orig
    if isinstance(origin, sqlite3.Error):
        code = getattr(origin, "sqlite_errorcode", None)
        locked = code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        return LOCK_PATIENCE if locked else 0.0
    state, lost = getattr(origin, "sqlstate", None), getattr(error, "connection_invalidated", False)
    if state in _LOCKED:
        return LOCK_PATIENCE
    return for_server if state is None or state in _GONE or lost else 0.0
