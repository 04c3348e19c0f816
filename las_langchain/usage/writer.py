"""The thread that writes the ledger: whoever has something to write queues it and goes on."""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import NamedTuple

from las_langchain.errors import LASError
from las_langchain.usage.journal import Journal
from las_langchain.usage.rows import Row

logger = logging.getLogger("las_langchain.usage")

LARGEST_BATCH = 1_000
"""Rows in one transaction."""
LONGEST_QUEUE = 20_000
"""Rows that wait for a database that does not answer; further ones go to the log at once."""


GATHERING = 0.25
"""Seconds for which rows are gathered in a journal before they go into the database together."""


class Written(NamedTuple):
    """A row on its way, and who waits for it."""

    row: Row
    future: Future[None]


class Gathering(NamedTuple):
    """A journal, when it is to be written, and who ends it."""

    journal: Journal
    due: float
    end: Callable[[Journal], list[Row]]


class Writer:
    """Hands everything that is queued to *insert*, in one piece, in a daemon thread that starts with the first row.

    Args:
        insert: puts rows into the database, all or none; raises LASError.
    """

    def __init__(self, insert: Callable[[list[Row]], None]) -> None:
        self._insert = insert
        self._queue: queue.SimpleQueue[Written | Gathering | Future[None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._batch: list[Written] = []
        self._gathering: Gathering | None = None
        self._asked: list[Future[None]] = []
        self._stopped = False

    def put(self, row: Row) -> Future[None]:
        """Queue *row*; not thread-safe, and not to be called after :meth:`stop`."""
        item = Written(row, Future())
        # The row is written even if nobody waits for it any more.
        item.future.set_running_or_notify_cancel()
        if self._queue.qsize() >= LONGEST_QUEUE:
            _settle(item, LASError("The ledger's database does not keep up with the calls"))
        elif error := self._started():
            _settle(item, error)
        else:
            self._queue.put(item)
        return item.future

    def take(self, journal: Journal, end: Callable[[Journal], list[Row]]) -> LASError | None:
        """Have the rows of *journal* written in a while; not thread-safe.

        Args:
            journal: of which there is one at a time.
            end: returns its rows, after which it gets no more.

        Returns:
            What prevents it, if something does.
        """
        error = self._started()
        if error is None:
            self._queue.put(Gathering(journal, time.monotonic() + GATHERING, end))
        return error

    def flush(self) -> Future[None]:
        """Have the journal's rows written now; done when they are, or cannot be."""
        asked: Future[None] = Future()
        self._queue.put(asked)
        return asked

    def stop(self, patience: float) -> None:
        """Write what is queued and end the thread.

        Args:
            patience: seconds to wait; what is not written by then goes to the log.
        """
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join(patience)
        late = LASError("The ledger was closed before its database answered")
        for item in self._batch:
            _settle(item, late)
        for item in self._queued():
            _settle(item, late)

    def _started(self) -> LASError | None:
        """Make sure of the thread; what prevents it, if something does."""
        return None if self._thread is not None else self._start()

    def _start(self) -> LASError | None:
        self._thread = threading.Thread(target=self._run, name="las-ledger", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._thread = None
            return LASError("The ledger has no thread to write in", detail=str(error))
        return None

    def _run(self) -> None:
        try:
            while not self._stopped:
                self._wait()
                if self._batch:
                    self._write(self._batch)
                self._write_journal()
        finally:
            if not self._stopped:
                self._start()  # A fault ends this thread, and says so; another goes on.

    def _wait(self) -> None:
        """Take what is queued, as much as fits into one transaction, once there is something or the journal is due."""
        self._batch = []
        left = None if self._gathering is None else max(0.0, self._gathering.due - time.monotonic())
        with contextlib.suppress(queue.Empty):
            self._take(self._queue.get(timeout=left))
            while len(self._batch) < LARGEST_BATCH and not self._stopped:
                self._take(self._queue.get_nowait())

    def _take(self, item: Written | Gathering | Future[None] | None) -> None:
        if item is None:
            self._stopped = True
        elif isinstance(item, Written):
            self._batch.append(item)
        elif isinstance(item, Gathering):
            self._gathering = item
        else:
            self._asked.append(item)

    def _write_journal(self) -> None:
        """Write the rows of the journal, if it is due or somebody wants to read them."""
        gathering, asked = self._gathering, self._asked
        if gathering is not None and (asked or self._stopped or time.monotonic() >= gathering.due):
            self._gathering = None
            self._empty(gathering.journal, gathering.end(gathering.journal))
        self._asked = []
        for one in asked:
            one.set_result(None)

    def _empty(self, journal: Journal, rows: list[Row]) -> None:
        try:
            for start in range(0, len(rows), LARGEST_BATCH):
                self._insert(rows[start : start + LARGEST_BATCH])
        except LASError as error:
            # They go into the database when it can be written again, or is opened the next time.
            logger.error("%d rows wait beside the ledger: %s", len(rows), error)
            journal.leave()
        else:
            journal.remove()

    def _queued(self) -> list[Written]:
        """What is still queued; a journal stays where it is, for whoever opens the ledger next."""
        items: list[Written] = []
        with contextlib.suppress(queue.Empty):
            while True:
                item = self._queue.get_nowait()
                if isinstance(item, Written):
                    items.append(item)
                elif isinstance(item, Future):
                    item.set_result(None)
        return items

    def _write(self, batch: list[Written]) -> None:
        error: LASError | None = LASError("The ledger's writer failed; the log says how")
        try:
            self._insert([item.row for item in batch])
            error = None
        except LASError as caught:
            error = caught
        finally:
            for item in batch:
                _settle(item, error)


def _settle(item: Written, error: LASError | None) -> None:
    """Tell who waits for *item* what became of it; a row that could not be written goes to the log, as JSON."""
    if item.future.done():
        return
    if error is not None:
        logger.error("%s", json.dumps({"not_in_the_ledger": str(error), **item.row}, default=str))
    with contextlib.suppress(InvalidStateError):
        if error is None:
            item.future.set_result(None)
        else:
            item.future.set_exception(error)
