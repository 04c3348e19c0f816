"""Where responses are kept, for 30 days after they were last built on."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from las_langchain.callers import current_caller
from las_langchain.errors import BadRequestError
from las_langchain.settings import LASSettings
from las_langchain.threads import in_thread
from las_langchain.usage.gate import Gate

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from las_langchain.usage.database import Database

Json = dict[str, Any]
T = TypeVar("T")

FILE = "responses.sqlite3"
"""Name of the database in the data folder."""
LIFE = 30 * 24 * 3600
"""Seconds that a response is kept after it was last built on."""
MOST_ITEMS = 10_000
"""Items that a response and those before it may have."""
_PRUNING = 3600
"""Seconds between two searches for what has outlived its time."""
_FORK_PATIENCE = 5.0


class ResponseStore:
    """The responses of one database, for any number of threads, event loops and processes.

    Nothing is opened before it is used, and nothing of it is shared across a fork. What :meth:`keep` has returned from
    survives the end of this process, whatever ends it. Everything is the caller's: what others have kept is not there.

    Args:
        address: as for :func:`~las_langchain.usage.engine.url_of`.
        clock: seconds since 1970.
        most_items: items that a response and those before it may have.
    """

    _gate: Gate
    _opening: threading.Lock
    _opened: Database | None
    _pruned: int

    def __init__(
        self, address: str | Path, *, clock: Callable[[], float] = time.time, most_items: int = MOST_ITEMS
    ) -> None:
        self._address, self._clock, self._most_items = address, clock, most_items
        self._reset()

    @classmethod
    def of(cls, settings: LASSettings) -> ResponseStore:
        """The store that *settings* name: one a database and process.

        It is in ``database_url``, else in ``responses.sqlite3`` in ``data_dir``.
        """
        url = settings.database_url
        address = url.get_secret_value() if url else settings.data_dir.absolute() / FILE
        with _LOCK:
            if address not in _STORES:
                _STORES[address] = cls(address)
            return _STORES[address]

    async def keep(self, response: Json, items: Sequence[Json]) -> None:
        """Keep *response* with the *items* of its own input.

        Raises:
            ConfigurationError: the database cannot be written.
        """
        await in_thread(partial(self._keep, _key(), response, items))

    async def response(self, response_id: str) -> Json:
        """A response.

        Raises:
            BadRequestError: it is not there.
            ConfigurationError: the database cannot be read, as for all that follows.
        """
        return await self._read(partial(_response, _key(), response_id, self._now()))

    async def history(self, response_id: str) -> list[Json]:
        """The items of a response and of all that it builds on, from the oldest to the newest.

        Raises:
            BadRequestError: it, or one before it, is not there; or there are too many.
        """
        return await self._read(partial(_history, _key(), response_id, self._now(), self._most_items))

    async def input_items(self, response_id: str) -> list[Json]:
        """What a response was the answer to, from the oldest to the newest; failures as for :meth:`history`."""
        return await self._read(partial(_input_items, _key(), response_id, self._now(), self._most_items))

    async def items(self, item_ids: Sequence[str]) -> dict[str, Json]:
        """Those of the items of *item_ids* that are there."""
        return await self._read(partial(_items, _key(), item_ids, self._now())) if item_ids else {}

    async def delete(self, response_id: str) -> None:
        """Delete a response; what builds on it cannot be gone on with.

        Raises:
            BadRequestError: it is not there.
        """
        await self.response(response_id)
        await in_thread(partial(self._delete, _key(), response_id))

    def close(self) -> None:
        """Close the database; the next use opens it again."""
        if self._opened is not None:
            self._opened.close()

    async def _read(self, work: Callable[[Connection], T]) -> T:
        return await in_thread(lambda: self._database().read(work))

    def _keep(self, key_id: str, response: Json, items: Sequence[Json]) -> None:
        from servers.responses import tables

        now = self._now()
        prunes = now >= self._pruned + _PRUNING

        def work(connection: Connection, again: bool) -> None:
            if again and tables.found(connection, key_id, response["id"], now):
                return
            tables.insert(connection, key_id, response, items, now + LIFE)
            if prunes:
                tables.prune(connection, now)

        self._database().write(work)
        if prunes:
            self._pruned = now

    def _now(self) -> int:
        return int(self._clock())

    def _delete(self, key_id: str, response_id: str) -> None:
        from servers.responses import tables

        self._database().write(lambda connection, again: tables.remove(connection, key_id, response_id))

    def _database(self) -> Database:
        # A child forked in the middle of an import could never finish it.
        with self._gate.inside(), self._opening:
            if self._opened is None:
                from las_langchain.usage.database import Database
                from servers.responses.tables import prepare

                self._opened = Database(self._address, self._gate, prepare, "The store of responses")
            return self._opened

    def _reset(self) -> None:
        """Begin anew, as a process that has just been forked must."""
        self._gate = Gate()
        self._opening = threading.Lock()
        self._opened = None
        self._pruned = 0

    def _pause(self) -> None:
        """Close every connection and open none until :meth:`_resume`: a child must not share them."""
        self._gate.shut(_FORK_PATIENCE)
        self.close()

    def _resume(self) -> None:
        self._gate.open()


_STORES: dict[str | Path, ResponseStore] = {}
_LOCK = threading.Lock()


@atexit.register
def _close() -> None:
    for store in list(_STORES.values()):
        store.close()


def _before_fork() -> None:
    _LOCK.acquire()
    for store in _STORES.values():
        store._pause()


def _after_fork() -> None:
    for store in _STORES.values():
        store._resume()
    _LOCK.release()


def _after_fork_in_child() -> None:
    for store in _STORES.values():
        store._reset()
    _LOCK.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)


def _key() -> str:
    return current_caller().key_id or ""


def _response(key_id: str, response_id: str, now: int, connection: Connection) -> Json:
    from servers.responses import tables

    if (response := tables.found(connection, key_id, response_id, now)) is None:
        message = f"Response with id {response_id!r:.100} not found: it was not stored, is deleted, or is too old"
        raise BadRequestError(message, param="response_id", code="response_not_found", status_code=404)
    return response


def _history(key_id: str, response_id: str, now: int, most: int, connection: Connection) -> list[Json]:
    from servers.responses import tables

    walked = tables.lineage(connection, key_id, response_id, now)
    missing = walked[-1][1] if walked else response_id
    if missing is not None:
        where = "Previous response" if not walked else f"{response_id!r:.100} builds on one that is gone: the response"
        message = f"{where} with id {missing!r:.100} not found: it was not stored, is deleted, or is too old"
        raise BadRequestError(message, param="previous_response_id", code="previous_response_not_found")
    items = tables.items_of(connection, [one for one, _ in reversed(walked)])
    if len(items) > most:
        message = f"previous_response_id: the conversation has more than {most} items; begin a new one"
        raise BadRequestError(message, param="previous_response_id", code="invalid_value")
    return items


def _input_items(key_id: str, response_id: str, now: int, most: int, connection: Connection) -> list[Json]:
    response = _response(key_id, response_id, now, connection)
    output = {item["id"] for item in response["output"]}
    return [item for item in _history(key_id, response_id, now, most, connection) if item["id"] not in output]


def _items(key_id: str, item_ids: Sequence[str], now: int, connection: Connection) -> dict[str, Json]:
    from servers.responses import tables

    return tables.items_named(connection, key_id, item_ids, now)
