"""Conversations in a SQLite file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import cast

from langgraph.checkpoint.sqlite import SqliteSaver

from chains.memory.in_threads import Threads, explained, of_a_later_version, serializer
from las_langchain.usage.engine import BUSY_SECONDS, create_file

VERSION = 1
"""Of the tables; ``PRAGMA user_version`` has it."""
_DELAY = 0.05
"""Seconds between two tries to set up a file that another process sets up."""

_PRUNE = """
DELETE FROM {table} WHERE thread_id = ? AND checkpoint_id < (
    SELECT max(newest.checkpoint_id) FROM checkpoints AS newest
    WHERE newest.thread_id = {table}.thread_id AND newest.checkpoint_ns = {table}.checkpoint_ns
)
"""


class SQLiteThreads(Threads, SqliteSaver):
    """LangGraph's checkpointer on one connection, which is opened when it is needed.

    Written means committed: it survives the end of this process. SQLite is told to sync the disk at its checkpoints
    only, so a power failure may take the last turns.

    Args:
        file: the database; it and its folder are created.
    """

    def __init__(self, file: Path) -> None:
        Threads.__init__(self)
        SqliteSaver.__init__(self, cast("sqlite3.Connection", None), serde=serializer())
        self._file = file
        self._identity: tuple[int, int] | None = None

    @contextmanager
    def cursor(self, transaction: bool = True) -> Iterator[sqlite3.Cursor]:
        """A cursor, in a transaction that is rolled back where it fails."""
        remedy = "its file, its folder (LAS_DATA_DIR) and the disk"
        with self._lock, explained(str(self._file), remedy, sqlite3.Error):
            self._open()
            with self.conn, closing(self.conn.cursor()) as cursor:
                yield cursor

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Delete the checkpoints of threads that nothing goes on from; each holds the whole conversation.

        Graphs with LangGraph's ``DeltaChannel``, which spreads a value over several checkpoints, must not be pruned.

        Args:
            thread_ids: the threads.
            strategy: ``keep_latest``, or ``delete`` for all of them.
        """
        if strategy == "delete":
            for thread in thread_ids:
                self.delete_thread(thread)
            return
        with self.cursor() as cursor:
            for table in ("checkpoints", "writes"):
                cursor.executemany(_PRUNE.format(table=table), [(thread,) for thread in thread_ids])

    def let_go(self) -> None:
        """Close the connection.

        What SQLite remembers of its locks is copied into a child, the locks are not.
        """
        connection, self.conn = cast("sqlite3.Connection | None", self.conn), cast("sqlite3.Connection", None)
        if connection is not None:
            connection.close()

    def _open(self) -> None:
        if self._identity != _identity(self._file):
            self.let_go()  # What is written to a file that was deleted or replaced would be gone.
        if cast("sqlite3.Connection | None", self.conn) is not None:
            return
        create_file(self._file)
        self.conn = sqlite3.connect(self._file, timeout=BUSY_SECONDS, check_same_thread=False)
        try:
            self._prepare()
        except BaseException:
            self.let_go()
            raise
        self._identity = _identity(self._file)

    def _prepare(self) -> None:
        """Set the tables up; others may do that at the same time, for which SQLite itself does not always wait."""
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                return self._prepare_once()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                self.conn.rollback()
            time.sleep(_DELAY)

    def _prepare_once(self) -> None:
        (version,) = self.conn.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise of_a_later_version(str(self._file))
        self.conn.execute("PRAGMA synchronous=NORMAL")
        self.is_setup = False
        self.setup()
        if version < VERSION:
            self.conn.execute(f"PRAGMA user_version={VERSION}")
            self.conn.commit()


def _identity(file: Path) -> tuple[int, int] | None:
    """What tells *file* from another of the same name; None: there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino)
