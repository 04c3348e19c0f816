"""The thread that writes the ledger: whoever has something to write queues it and goes on."""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import NamedTuple

from las_langchain.errors import LASError
from las_langchain.usage.rows import Row

logger = logging.getLogger("las_langchain.usage")

LARGEST_BATCH = 1_000
"""Rows in one transaction."""
LONGEST_QUEUE = 20_000
"""Rows that wait for a database that does not answer; further ones go to the log at once."""


class Written(NamedTuple):
    """A row on its way, and who waits for it."""

    row: Row
    future: Future[None]


class Writer:
    """Hands everything that is queued to *insert*, in one piece, in a daemon thread that starts with the first row.

    Args:
        insert: puts rows into the database, all or none; raises LASError.
    """

    def __init__(self, insert: Callable[[list[Row]], None]) -> None:
        self._insert = insert
        self._queue: queue.SimpleQueue[Written | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._batch: list[Written] = []
        self._writing = False
        self._stopped = False

    @property
    def busy(self) -> bool:
        """Whether there are rows that are not written yet."""
        return self._writing or not self._queue.empty()

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
        while items := self._queued():
            for item in items:
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
                first = self._queue.get()
                self._writing = True
                self._stopped = first is None
                self._batch = ([first] if first else []) + self._queued()
                if self._batch:
                    self._write(self._batch)
                    self._batch = []
                self._writing = False
        finally:
            self._writing = False
            if not self._stopped:
                self._start()  # A fault ends this thread, and says so; another goes on.

    def _queued(self) -> list[Written]:
        """What is in the queue now, as much as fits into one transaction."""
        items: list[Written] = []
        while len(items) < LARGEST_BATCH and not self._stopped:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                break
            if item is None:
                self._stopped = True
            else:
                items.append(item)
        return items

    def _write(self, batch: list[Written]) -> None:
        error: LASError | None = LASError("The ledger's writer failed; the log says how")
        try:
            self._insert([item.row for item in batch])
            error = None
        except LASError as caught:
            error = caught
        finally:
            self._writing = False  # Before anybody is told, who may have another row.
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
