"""What an event loop writes to a SQLite file with, itself, where that takes less than waking up a thread."""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress
from pathlib import Path

from las_langchain.usage.engine import BEGIN, Identity, identity_of
from las_langchain.usage.gate import Gate
from las_langchain.usage.rows import Row
from las_langchain.usage.tables import insert_into_sqlite

MOST_ROWS = 64
"""Rows that a loop writes at once: a thousand would hold it up."""
LONGEST_LOG = 900
"""Pages of SQLite's log after which it is copied into the file; SQLite does so at 1,000, at the end of any commit."""
PAGES_A_TRANSACTION, PAGES_A_ROW = 5, 2
"""Pages that go into the log, nearly: only a checkpoint is told how many there are."""
SLOW = 0.005
"""Seconds that writes must not take in the mean: the disk is slow, or other threads keep the interpreter."""
LATELY = 20
"""Writes of which it is the mean, nearly: single ones wait for the processor, as all does that the loop does."""
REST = 10.0
"""Seconds for which nothing is written here after that."""


class Direct:
    """A connection that waits for nothing: no lock, no disk, no fork. What it cannot write, a thread must.

    A thread opens it, after a row of its own, and makes its checkpoints: a loop would wait for the disk. Who uses it
    has taken it out, so that loops in several threads do not meet there.

    Args:
        file: the database.
        gate: passed by whoever has a connection, so that there is none where it is shut.
    """

    def __init__(self, file: Path, gate: Gate) -> None:
        self._file, self._gate = file, gate
        self._kept: list[tuple[sqlite3.Connection, Identity | None]] = []
        self._closings = 0
        self._pages = 0
        self._mean = self._rests_until = 0.0

    def insert(self, rows: list[Row]) -> bool:
        """Add *rows*, all or none, and tell whether they are committed; for an event loop."""
        began = time.monotonic()
        if len(rows) > MOST_ROWS or self._pages >= LONGEST_LOG or began < self._rests_until:
            return False
        if not self._gate.enter():
            return False
        try:
            return self._inserted(rows)
        finally:
            self._gate.leave()
            self._took(began, time.monotonic())

    def checkpoint(self) -> None:
        """Copy the log into the file if it is long, as far as nobody reads it; for a thread.

        Rows must follow at once: where the log begins anew, SQLite syncs the disk.
        """
        if self._pages < LONGEST_LOG:
            return
        with self._gate.inside(), suppress(IndexError, sqlite3.Error):
            connection, identity = self._kept.pop()
            closings = self._closings
            try:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                self._pages = 0
            finally:
                self._put_back(connection, identity, closings)

    def follow(self, rows: int) -> None:
        """Make sure of a connection to the file where a thread has just written so many rows; for that thread."""
        self._pages += PAGES_A_TRANSACTION + PAGES_A_ROW * rows
        if self._kept:
            return
        with self._gate.inside(), suppress(sqlite3.Error, OSError):
            closings, identity = self._closings, identity_of(self._file)
            # It must not create a file that is gone.
            address = f"{self._file.absolute().as_uri()}?mode=rw"
            connection = sqlite3.connect(address, uri=True, timeout=0, isolation_level=None, check_same_thread=False)
            usable = False
            try:
                (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
                connection.execute("PRAGMA synchronous=NORMAL")
                connection.execute("PRAGMA wal_autocheckpoint=0")
                usable = mode == "wal"  # Without the log, every commit would wait for the disk.
            finally:
                self._put_back(connection, identity, closings if usable else -1)

    def close(self) -> None:
        """Close the connection, or have it closed by who uses it."""
        self._closings += 1
        self._pages = 0
        with suppress(IndexError):
            while True:
                self._kept.pop()[0].close()

    def _took(self, began: float, ended: float) -> None:
        self._mean += (ended - began - self._mean) / LATELY
        if self._mean > SLOW:
            self._mean, self._rests_until = 0.0, ended + REST

    def _inserted(self, rows: list[Row]) -> bool:
        try:
            connection, identity = self._kept.pop()
        except IndexError:
            return False
        closings, intact, written = self._closings, False, False
        try:
            # What is written to a file that was deleted or replaced would be gone.
            if identity == identity_of(self._file):
                connection.execute(BEGIN)
                insert_into_sqlite(connection, rows)
                connection.execute("COMMIT")
                intact = written = True
                self._pages += PAGES_A_TRANSACTION + PAGES_A_ROW * len(rows)
        except sqlite3.Error as error:
            busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
            intact = busy and not connection.in_transaction
        finally:
            # Closing it undoes what a failure, or an interrupt, leaves behind; a thread opens another.
            self._put_back(connection, identity, closings if intact else -1)
        return written

    def _put_back(self, connection: sqlite3.Connection, identity: Identity | None, closings: int) -> None:
        """Keep *connection* for the next one, if it was taken after so many *closings* as there are now."""
        if closings == self._closings:
            self._kept.append((connection, identity))
        else:
            connection.close()
