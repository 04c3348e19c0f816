"""From a path to an open database of documents with its tables in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from las_langchain.errors import ConfigurationError
from las_langchain.usage.engine import BUSY_SECONDS, create_file

FILE = "documents.sqlite3"
"""The file in the data folder."""
VERSION = 1
"""Of these tables; what is written by a later one is left alone."""

# A source's vectors are in blocks of consecutive passages, so that a search reads few rows. They are not in an
# extension's table: many builds of Python can load no extension of SQLite.
_TABLES = (
    "CREATE TABLE schema (version INTEGER NOT NULL)",
    "CREATE TABLE sources (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, fingerprint TEXT NOT NULL, title TEXT, "
    "model TEXT NOT NULL, dimensions INTEGER NOT NULL, passages INTEGER NOT NULL)",
    "CREATE INDEX sources_by_model ON sources (model, dimensions)",
    "CREATE TABLE passages (id INTEGER PRIMARY KEY, source INTEGER NOT NULL REFERENCES sources (id), "
    "text TEXT NOT NULL, page INTEGER, line INTEGER)",
    "CREATE INDEX passages_by_source ON passages (source)",
    "CREATE TABLE vectors (first INTEGER PRIMARY KEY, source INTEGER NOT NULL REFERENCES sources (id), "
    "block BLOB NOT NULL)",
    "CREATE INDEX vectors_by_source ON vectors (source)",
    # Its texts are those of the other table, which the triggers keep it at.
    "CREATE VIRTUAL TABLE words USING fts5 (text, content='passages', content_rowid='id', "
    "tokenize='porter unicode61 remove_diacritics 2')",
    "CREATE TRIGGER words_in AFTER INSERT ON passages BEGIN "
    "INSERT INTO words (rowid, text) VALUES (new.id, new.text); END",
    "CREATE TRIGGER words_out AFTER DELETE ON passages BEGIN "
    "INSERT INTO words (words, rowid, text) VALUES ('delete', old.id, old.text); END",
)


@contextmanager
def opened(file: Path) -> Iterator[sqlite3.Connection]:
    """A connection to the database in *file*, which is created where there is none; for one thread.

    Raises:
        ConfigurationError: the file cannot be created, or SQLite refuses it: no database, locked, or the disk is full.
    """
    try:
        create_file(file)
    except OSError as error:
        raise ConfigurationError(f"The documents cannot be stored: {error.strerror}", detail=str(file)) from None
    try:
        with closing(sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            _prepare(connection, file)
            yield connection
    except sqlite3.Error as error:
        raise ConfigurationError(_explained(error), detail=str(file)) from None


@contextmanager
def transaction(connection: sqlite3.Connection, *, writes: bool) -> Iterator[None]:
    """All that is done inside, or nothing; who reads sees one state of the database.

    Args:
        connection: of :func:`opened`.
        writes: whether anything is changed; then others' changes wait, and are waited for.
    """
    connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def _prepare(connection: sqlite3.Connection, file: Path) -> None:
    if _version(connection) is None:
        with transaction(connection, writes=True):
            # Another process may have been faster.
            if _version(connection) is None:
                for statement in _TABLES:
                    connection.execute(statement)
                connection.execute("INSERT INTO schema VALUES (?)", [VERSION])
    version = _version(connection)
    if version != VERSION:
        raise ConfigurationError(
            f"The documents are of a later version ({version}; this one knows {VERSION}): upgrade las-langchain, or "
            "set LAS_DATA_DIR to another folder",
            detail=str(file),
        )


def _version(connection: sqlite3.Connection) -> int | None:
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema'").fetchone() is None:
        return None
    row = connection.execute("SELECT version FROM schema").fetchone()
    return row[0] if row else 0


def _explained(error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", None)
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return "The documents' database is damaged: delete the file and run las ingest again"
    if code == sqlite3.SQLITE_BUSY:
        return "The documents' database is locked by another process: try again when its las ingest is done"
    if "fts5" in str(error):
        return "This Python's SQLite has no full-text search (FTS5): use another build of Python"
    return f"The documents' database fails: {error}"
