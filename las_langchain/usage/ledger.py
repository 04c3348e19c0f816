"""The ledger as others use it."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import weakref
from concurrent.futures import Future
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Self

from las_langchain.errors import BadRequestError
from las_langchain.records import CallRecord
from las_langchain.settings import LASSettings, nearest
from las_langchain.usage.gate import Gate
from las_langchain.usage.journal import Journal
from las_langchain.usage.rows import GROUPS, Group, Row, UsageRow, row_of
from las_langchain.usage.writer import Writer

if TYPE_CHECKING:
    from las_langchain.usage.store import Store

FILE = "usage.sqlite3"
"""Name of the ledger in the data folder."""
CLOSING_PATIENCE = 5.0
"""Seconds that :meth:`Ledger.close`, and the end of the process, wait for what is queued."""


FORK_PATIENCE = 5.0
"""Seconds that a fork waits for running statements to end."""


class Ledger:
    """What every call used and cost; no prompts, no answers, no keys.

    Any number of threads, event loops and processes may use one database. Nothing is opened before the first row is
    written or read, and nothing of it is shared across a fork. Reading waits for the database: on an event loop, use
    ``asyncio.to_thread(ledger.report, "model")``.

    Written means that it survives the end of this process, whatever ends it: it is committed, or, on its way into a
    SQLite file, for a quarter of a second in a file beside that, from which the next one who opens the ledger takes it.
    Reading here finds all that is written here. SQLite is told to sync the disk at its checkpoints only, so a power
    failure may take the last rows.

    Args:
        address: ``postgresql://…``, ``sqlite:///path``, or a SQLite file's path.
    """

    def __init__(self, address: str | Path) -> None:
        self._address = address
        self._gate = Gate()
        self._lock = threading.Lock()
        self._opening = threading.Lock()
        self._writer: Writer | None = None
        self._opened: Store | None = None
        self._journal: Journal | None = None
        _LEDGERS.watch(self)

    @classmethod
    def of(cls, settings: LASSettings) -> Ledger:
        """The ledger that *settings* name: one a database and process.

        It is that of ``database_url``, else ``usage.sqlite3`` in ``data_dir``.
        """
        url = settings.database_url
        return _LEDGERS.at(url.get_secret_value() if url else settings.data_dir.absolute() / FILE)

    @property
    def where(self) -> str:
        """The file, or the address without its password.

        Raises:
            ConfigurationError: the address is none.
        """
        return self._store().where

    def check(self) -> None:
        """Open the database now, to learn at the start what would else be learnt from the first call.

        Raises:
            ConfigurationError: it cannot be opened; the message names the setting and the fix.
        """
        self._store().read(lambda connection: None)

    def add(self, record: CallRecord) -> Future[None]:
        """Queue *record* to be written, as it is now; it returns at once and raises nothing.

        A record that is in the ledger already is left as it is.

        Returns:
            Done when the row is committed. Where it could not be written, the future raises a LASError, and the row is
            in the log, as JSON at level ERROR.
        """
        row = row_of(record)
        with self._lock:
            return self._put(row)

    async def aadd(self, record: CallRecord, *, patience: float | None = None) -> None:
        """Write *record*, as it is now, without holding up the event loop; cancelling it does not undo it.

        Args:
            record: of the call.
            patience: seconds to wait for it; None: for as long as it takes.

        Raises:
            LASError: as the future of :meth:`add`.
            TimeoutError: it is not written yet, and will be.
        """
        row = row_of(record)
        with self._lock:
            if self._is_in_journal(row):
                return
            written = self._put(row)
        async with asyncio.timeout(patience):
            await asyncio.shield(asyncio.wrap_future(written))

    def write(self, record: CallRecord) -> None:
        """Write *record*.

        Raises:
            LASError: as the future of :meth:`add`.
        """
        self.add(record).result()

    def report(
        self,
        by: Group,
        *,
        since: date | None = None,
        until: date | None = None,
        key_id: str | None = None,
        limit: int | None = None,
    ) -> list[UsageRow]:
        """Calls added up by group, the dearest first; days the newest first.

        Args:
            by: ``model``, ``provider``, ``day`` (in UTC), ``key``, ``chain`` or ``status``.
            since: the first day in UTC, or a moment.
            until: the last day in UTC, or the moment before which calls began.
            key_id: only calls made with this key.
            limit: most groups; None: all.

        Raises:
            BadRequestError: *by* is no group.
            ConfigurationError: the ledger cannot be read.
        """
        if by not in GROUPS:
            message = f"by: expected one of {', '.join(GROUPS)}, not {by!r}{nearest(str(by), GROUPS)}"
            raise BadRequestError(message, param="by")
        return self._read().report(by, since, until, key_id, limit)

    def totals(self, *, since: date | None = None, until: date | None = None, key_id: str | None = None) -> UsageRow:
        """All calls added up; arguments and errors as for :meth:`report`."""
        return self._read().report(None, since, until, key_id, None)[0]

    def calls(
        self,
        limit: int = 50,
        *,
        before: str | None = None,
        since: date | None = None,
        until: date | None = None,
        key_id: str | None = None,
    ) -> list[Row]:
        """Single calls, the newest first, by column; ``started`` is in UTC, None is what is not known.

        Args:
            limit: most calls.
            before: id of the last call of the page before; only what began before that call is returned.
            since: as for :meth:`report`.
            until: as for :meth:`report`.
            key_id: as for :meth:`report`.

        Raises:
            BadRequestError: there is no call *before*.
            ConfigurationError: the ledger cannot be read.
        """
        return self._read().newest(limit, before, since, until, key_id)

    def spent(self, key_id: str | None, since: date) -> float:
        """What calls cost, in US dollars, as far as their price is known.

        Args:
            key_id: of the key that they were made with; None: all calls, with a key and without.
            since: the first day, in UTC.

        Raises:
            ConfigurationError: the ledger cannot be read.
        """
        return self._read().spent(key_id, since)

    def close(self) -> None:
        """Write what is queued, for five seconds at most, and close the database; the next use opens it again."""
        with self._lock:
            writer, self._writer = self._writer, None
            self._journal = None
        if writer is not None:
            writer.stop(CLOSING_PATIENCE)
        if self._opened is not None:
            self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _is_in_journal(self, row: Row) -> bool:
        """Whether *row* could be written beside the database, for the thread to put it there; with the lock."""
        if self._opened is None or (beside := self._opened.beside) is None:
            return False
        if self._journal is None:
            try:
                journal = Journal(beside)
            except OSError:
                return False
            if self._thread().take(journal, self._end_of):
                journal.remove()
                return False
            self._journal = journal
        return self._journal.add(row)

    def _end_of(self, journal: Journal) -> list[Row]:
        """The rows of *journal*, which gets no more of them."""
        with self._lock:
            if self._journal is journal:
                self._journal = None
            return journal.rows

    def _read(self) -> Store:
        """The database, with all in it that is written here."""
        with self._lock:
            gathers = self._opened is not None and self._opened.beside is not None
            flushed = self._writer.flush() if self._writer is not None and gathers else None
        if flushed is not None:
            with suppress(TimeoutError):
                flushed.result(CLOSING_PATIENCE)
        return self._store()

    def _thread(self) -> Writer:
        if self._writer is None:
            self._writer = Writer(self._insert)
        return self._writer

    def _put(self, row: Row) -> Future[None]:
        """Queue *row* for the thread; to be called with the lock."""
        return self._thread().put(row)

    def _insert(self, rows: list[Row]) -> None:
        self._store().insert(rows)

    def _store(self) -> Store:
        # A child forked in the middle of an import could never finish it.
        with self._gate.inside(), self._opening:
            if self._opened is None:
                from las_langchain.usage.store import Store

                self._opened = Store(self._address, self._gate)
            return self._opened

    def _reset(self) -> None:
        """Begin anew, as a process that has just been forked must: with no thread, no lock, no connection."""
        self._gate = Gate()
        self._lock = threading.Lock()
        self._opening = threading.Lock()
        self._writer = self._opened = None
        if self._journal is not None:
            # The parent's, which has it open too.
            self._journal.leave()
            self._journal = None

    def _pause(self) -> None:
        """Close every connection and open none until :meth:`_resume`, for the time of a fork.

        What SQLite remembers of its locks is copied into a child, the locks are not: a child of a process with an open
        file would write to it without any. PostgreSQL's connections would be shared by two processes.
        """
        self._gate.shut(FORK_PATIENCE)
        if self._opened is not None:
            self._opened.close()

    def _resume(self) -> None:
        self._gate.open()


class _Ledgers:
    """The ledgers of this process: closed at its end, and kept apart from its children's."""

    def __init__(self) -> None:
        self._all: weakref.WeakSet[Ledger] = weakref.WeakSet()
        self._by_address: dict[str | Path, Ledger] = {}
        self._lock = threading.Lock()
        self._forking = threading.local()
        atexit.register(self._close)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._before_fork, after_in_parent=self._after_fork, after_in_child=self._after_fork_in_child
            )

    def watch(self, ledger: Ledger) -> None:
        """Remember *ledger* for as long as it lives."""
        self._all.add(ledger)

    def at(self, address: str | Path) -> Ledger:
        """The ledger at *address*."""
        with self._lock:
            if address not in self._by_address:
                self._by_address[address] = Ledger(address)
            return self._by_address[address]

    def _close(self) -> None:
        for ledger in list(self._all):
            ledger.close()

    def _before_fork(self) -> None:
        self._forking.paused = list(self._all)
        for ledger in self._forking.paused:
            ledger._pause()

    def _after_fork(self) -> None:
        for ledger in self._forking.paused:
            ledger._resume()

    def _after_fork_in_child(self) -> None:
        self._lock = threading.Lock()
        for ledger in self._forking.paused:
            ledger._reset()


_LEDGERS = _Ledgers()
