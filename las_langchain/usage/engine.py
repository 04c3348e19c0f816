"""From an address to an open database with the ledger's tables in it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from las_langchain.errors import ConfigurationError
from las_langchain.usage.tables import VERSION, create_tables, version_of

Identity = tuple[int, int]
"""A file's device and number."""
BEGIN = "BEGIN IMMEDIATE"
"""What begins a transaction that writes to SQLite."""
BUSY_SECONDS = 10
"""How long a statement waits for another's lock."""
POSTGRES: dict[str, Any] = {
    "application_name": "las-langchain",
    "connect_timeout": 10,
    # A server that vanished is noticed within half a minute, not within TCP's quarter of an hour.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    # A pooler in between may give every transaction another server connection, which knows nothing prepared.
    "prepare_threshold": None,
}
"""Arguments of every connection to PostgreSQL whose address does not say otherwise."""


def url_of(address: str | Path) -> URL:
    """*address* with the driver that is used for it.

    Args:
        address: a SQLite file's path, ``sqlite:///path``, ``postgresql://…`` or ``postgres://…``.

    Raises:
        ConfigurationError: it is none of these; the message names ``LAS_DATABASE_URL`` and no password.
    """
    if isinstance(address, Path):
        return URL.create("sqlite+pysqlite", database=str(address))
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        raise _unreadable() from None
    backend = url.drivername.partition("+")[0]
    if "@" in (url.host or ""):
        raise _unreadable()
    if backend in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    if backend == "sqlite" and url.database and not url.database.startswith((":memory:", "file:")) and not url.query:
        return url.set(drivername="sqlite+pysqlite")
    raise ConfigurationError(
        f"LAS_DATABASE_URL: expected postgresql://user:password@host/name, or sqlite:///path without options, "
        f"not this {backend}://…",
        param="database_url",
    )


def shown(url: URL) -> str:
    """*url* as people may see it: a file's path, or the address without password and options."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.set(drivername="postgresql", query={}).render_as_string(hide_password=True)


def file_of(url: URL) -> Path | None:
    """The file of a SQLite database."""
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def identity_of(file: Path | None) -> Identity | None:
    """What tells *file* from another of the same name; None: there is none."""
    if file is None:
        return None
    try:
        found = os.stat(file)  # noqa: PTH116 - in a third of the time
    except OSError:
        return None
    return (found.st_dev, found.st_ino)


def open_engine(url: URL, prepare: Callable[[Engine], None] | None = None) -> Engine:
    """The database at *url*, with its tables; a file and its folder are created.

    Args:
        url: where it is.
        prepare: creates the tables where there are none; None: they are the ledger's.

    Raises:
        ConfigurationError: PostgreSQL's driver is missing, or the tables are a later version's or another program's.
        OSError: the file cannot be created.
        SQLAlchemyError: the database cannot be opened.
    """
    file = file_of(url)
    engine = _postgres(url) if file is None else _sqlite(url, file)
    try:
        (prepare or _prepare)(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def begin(connection: Connection) -> None:
    """Begin a transaction that writes.

    On SQLite it takes the lock now, where it can wait for it: what has read before cannot.
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(BEGIN)
    else:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{BUSY_SECONDS}s'")


def create_file(file: Path) -> None:
    """Create *file* and its folder where there is none, for nobody but this user to read.

    Raises:
        OSError: it cannot be created.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    # SQLite gives its other files the mode of this one. Only where there is none: closing another descriptor of an open
    # file would release SQLite's locks on it, and another process would take its log away.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _unreadable() -> ConfigurationError:
    return ConfigurationError(
        "LAS_DATABASE_URL: cannot be read; write postgresql://user:password@host:5432/name, and in the password "
        "%40 for @, %3A for :, %2F for /, %3F for ?",
        param="database_url",
    )


def _sqlite(url: URL, file: Path) -> Engine:
    create_file(file)
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _set_up_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # Transactions begin where begin() says.
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
    except sqlite3.Error:
        connection.close()  # The pool forgets it, the error's traceback does not.
        raise


def _postgres(url: URL) -> Engine:
    given = {name: value for name, value in POSTGRES.items() if name not in url.query}
    try:
        return create_engine(url, connect_args=given, pool_pre_ping=True)
    except ImportError:
        raise ConfigurationError(
            'LAS_DATABASE_URL: PostgreSQL needs its driver: pip install "las-langchain[postgres]"', param="database_url"
        ) from None


def _prepare(engine: Engine) -> None:
    with engine.connect() as connection:
        version = version_of(connection)
    if version is None:
        with engine.connect() as connection:
            begin(connection)
            create_tables(connection)
            connection.commit()
    elif version > VERSION:
        raise ConfigurationError(
            f"The ledger is of a later version ({version}; this one knows {VERSION}): upgrade las-langchain, or set "
            "LAS_DATABASE_URL or LAS_DATA_DIR to another place",
            param="database_url",
            detail=shown(engine.url),
        )
