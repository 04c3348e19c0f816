"""Rows on their way into a SQLite file, safe in a file beside it until a thread has put them there, many at once.

A row by itself costs SQLite seven pages, each written twice; here it costs one write. Both survive the end of the
process, whatever ends it, since what is written is the operating system's to keep.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import orjson

from las_langchain.usage.rows import Row

try:
    import fcntl
except ImportError:  # Windows has no such locks, so rows go straight into the database there.
    fcntl = None  # type: ignore[assignment]

MOST_ROWS = 10_000
"""Rows of one file; where the database takes no more for so long, they wait for it as they come."""


class Journal:
    """One such file, which is this process's for as long as it has it open.

    Args:
        database: the SQLite file that it stands beside.

    Attributes:
        rows: what is in it.

    Raises:
        OSError: there can be none.
    """

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}-rows-{os.getpid()}-{uuid.uuid4().hex[:12]}")
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._size = 0
        self.rows: list[Row] = []
        try:
            _lock(self._file)
            if os.fstat(self._file).st_nlink == 0:
                # Somebody has found it before it was locked, and taken it for one that was left behind.
                raise BlockingIOError(f"{self._path} is gone")
        except OSError:
            os.close(self._file)
            raise

    def add(self, row: Row) -> bool:
        """Add *row*, and tell whether it is safe."""
        line = orjson.dumps(row) + b"\n"
        with suppress(OSError):
            if len(self.rows) < MOST_ROWS and os.write(self._file, line) == len(line):
                self._size += len(line)
                self.rows.append(row)
                return True
        with suppress(OSError):
            # Half a row, where the disk is full.
            os.ftruncate(self._file, self._size)
        return False

    def remove(self) -> None:
        """Remove the file, whose rows are elsewhere now."""
        with suppress(OSError):
            self._path.unlink()
        self.leave()

    def leave(self) -> None:
        """Leave the file to whoever opens the ledger next."""
        with suppress(OSError):
            os.close(self._file)


def is_possible() -> bool:
    """Whether files can be locked here."""
    return fcntl is not None


@contextmanager
def left_behind(database: Path) -> Iterator[list[Row]]:
    """The rows beside *database* of processes that are no more; their files are removed if the block does not raise."""
    found = list(_orphans(database))
    try:
        yield [row for _, _, rows in found for row in rows]
        for path, _, _ in found:
            with suppress(OSError):
                path.unlink()
    finally:
        for _, file, _ in found:
            os.close(file)


def _orphans(database: Path) -> Iterator[tuple[Path, int, list[Row]]]:
    if fcntl is None:
        return
    for path in sorted(database.parent.glob(f"{database.name}-rows-*")):
        try:
            file = os.open(path, os.O_RDONLY)
        except OSError:
            continue
        try:
            _lock(file)
            rows = list(_rows(path.read_bytes()))
        except OSError:
            # It is another process's, or this one's own.
            os.close(file)
            continue
        yield path, file, rows


def _rows(written: bytes) -> Iterator[Row]:
    for line in written.split(b"\n")[:-1]:
        with suppress(ValueError, KeyError, TypeError):
            row = orjson.loads(line)
            row["started"] = datetime.fromisoformat(row["started"])
            yield row


def _lock(file: int) -> None:
    """Lock *file* for as long as it is open, or until the process ends.

    Raises:
        OSError: somebody else has.
    """
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
