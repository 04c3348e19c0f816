"""Answers in a SQLite file, which any number of processes share."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from las_langchain.forks import ForkAware

PATIENCE = 1.0
"""Longest wait for another process that writes, in seconds."""
PAUSE = 3.0
"""Seconds for which nothing is written to a file that another process holds, so that not every call waits for it."""

_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS answers (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, expires REAL NOT NULL, value BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS answers_by_expiry ON answers (expires);
CREATE TABLE IF NOT EXISTS size AS SELECT 0 AS bytes;
CREATE TRIGGER IF NOT EXISTS answer_added AFTER INSERT ON answers
    BEGIN UPDATE size SET bytes = bytes + length(new.value); END;
CREATE TRIGGER IF NOT EXISTS answer_deleted AFTER DELETE ON answers
    BEGIN UPDATE size SET bytes = bytes - length(old.value); END;
COMMIT;
"""
_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class DiskStore(ForkAware):
    """A file that only its owner can read; the oldest entries make room for new ones. A broken file is replaced.

    Args:
        path: the file; it is made with the first entry.
        ttl: how long an entry is kept, in seconds.
        max_bytes: size of all entries together; the file itself is a little larger.
    """

    failures: ClassVar[tuple[type[Exception], ...]] = (sqlite3.Error, OSError)

    def __init__(self, path: Path, ttl: float, max_bytes: int) -> None:
        super().__init__()
        self.place = str(path)
        self._path, self._ttl, self._max_bytes = path, ttl, max_bytes
        self._connection: sqlite3.Connection | None = None
        self._left_alone_until = 0.0

    async def read(self, key: str) -> bytes | None:
        """What is kept under *key* and has not expired."""
        return await asyncio.to_thread(self._read, key)

    async def write(self, key: str, data: bytes) -> None:
        """Keep *data*, unless it alone is larger than all entries together may be."""
        if len(data) <= self._max_bytes:
            await asyncio.to_thread(self._write, key, data)

    def let_go(self) -> None:
        """Close the file: SQLite's connections do not outlive a fork."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def __del__(self) -> None:
        self.let_go()

    def _read(self, key: str) -> bytes | None:
        with self._connected() as connection:
            found = connection.execute("SELECT value FROM answers WHERE key = ? AND expires > ?", (key, time.time()))
            row = found.fetchone()
        return row[0] if row else None

    def _write(self, key: str, data: bytes) -> None:
        now = time.time()
        with self._connected() as connection, connection:
            if time.monotonic() < self._left_alone_until:
                return
            connection.execute("BEGIN IMMEDIATE")
            # Not REPLACE, which runs no trigger for what it deletes.
            connection.execute("DELETE FROM answers WHERE key = ? OR expires <= ?", (key, now))
            row = (key, now + self._ttl, data)
            connection.execute("INSERT INTO answers (key, expires, value) VALUES (?, ?, ?)", row)
            _shrink(connection, self._max_bytes)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = _connect(self._path)
                yield self._connection
            except sqlite3.Error as error:
                if _is_broken(error):
                    self._discard()
                elif _is_held(error):
                    self._left_alone_until = time.monotonic() + PAUSE
                raise

    def _discard(self) -> None:
        self.let_go()
        # The file itself last: whoever makes a new one must not find the log of this one.
        for suffix in ("-wal", "-shm", ""):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Only where there is none: closing another descriptor of an open file would release SQLite's locks on it.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        _use_log(connection)
        connection.executescript(_SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _use_log(connection: sqlite3.Connection) -> None:
    """Write ahead, so that readers and a writer do not wait for each other."""
    connection.execute("PRAGMA synchronous = NORMAL")
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # SQLite itself does not wait here where two processes make the file at once.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        else:
            return
        time.sleep(0.01)


def _shrink(connection: sqlite3.Connection, max_bytes: int) -> None:
    """Delete the oldest entries until the rest fits."""
    excess = connection.execute("SELECT bytes FROM size").fetchone()[0] - max_bytes
    if excess <= 0:
        return
    for number, size in connection.execute("SELECT id, length(value) FROM answers ORDER BY id"):
        excess -= size
        if excess <= 0:
            connection.execute("DELETE FROM answers WHERE id <= ?", (number,))
            return


def _is_held(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def _is_broken(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _BROKEN
