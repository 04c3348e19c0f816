"""What conversations are remembered in: a SQLite file, or the PostgreSQL server that has the ledger.

A conversation is a thread, named by the ``thread_id`` of a run's config. A thread is of this installation, not of a
chain or a caller: whoever knows its name goes on with it.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from las_langchain.errors import ConfigurationError
from las_langchain.forks import ForkAware
from las_langchain.settings import LASSettings

if TYPE_CHECKING:
    from sqlalchemy import URL

    from chains.memory.in_threads import Threads

FILE = "threads.sqlite3"
"""Name of the file in the data folder."""


def checkpointer(settings: LASSettings) -> Threads:
    """What a LangGraph graph remembers conversations by: one a place and process, for any threads and event loops.

    Nothing is opened before it is first used, and nothing of it is shared across a fork. Any number of processes may
    use one place. What a run has written is there whatever ends the process.

    Args:
        settings: the conversations are in the PostgreSQL server that ``database_url`` names, else in
            ``threads.sqlite3`` in ``data_dir``, also where ``database_url`` is another SQLite file.

    Raises:
        ConfigurationError: the address is none, or PostgreSQL's packages are missing. Its methods raise it too, where
            the place cannot be used; ``detail`` says where it is and why.
    """
    url = _postgres_url(settings)
    if url is not None:
        return _PLACES.at(url.render_as_string(hide_password=False), lambda: _on_postgres(url))
    file = settings.data_dir.absolute() / FILE
    return _PLACES.at(file, lambda: _on_sqlite(file))


def _postgres_url(settings: LASSettings) -> URL | None:
    if settings.database_url is None:
        return None
    from las_langchain.usage.engine import file_of, url_of

    url = url_of(settings.database_url.get_secret_value())
    return url if file_of(url) is None else None


def _on_sqlite(file: Path) -> Threads:
    from chains.memory.sqlite import SQLiteThreads

    return SQLiteThreads(file)


def _on_postgres(url: URL) -> Threads:
    try:
        from chains.memory.postgres import PostgresThreads
    except ImportError:
        raise ConfigurationError(
            "LAS_DATABASE_URL: conversations on PostgreSQL need packages: pip install 'las-langchain[postgres]'",
            param="database_url",
        ) from None
    return PostgresThreads(url)


class _Places(ForkAware):
    """The places of this process, each opened once."""

    def __init__(self) -> None:
        super().__init__()
        self._by_address: dict[str | Path, Threads] = {}
        atexit.register(self._close)

    def at(self, address: str | Path, make: Callable[[], Threads]) -> Threads:
        """The one at *address*, made if there is none."""
        with self._lock:
            if address not in self._by_address:
                self._by_address[address] = make()
            return self._by_address[address]

    def _close(self) -> None:
        for place in list(self._by_address.values()):
            place.close()


_PLACES = _Places()
