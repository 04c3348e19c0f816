"""The documents' store: sources, their passages, and what is needed to find those."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from sqlite3 import Connection
from typing import TYPE_CHECKING, Any

from chains.documents.database import FILE, opened, transaction
from chains.documents.words import any_of
from las_langchain.errors import ConfigurationError

if TYPE_CHECKING:
    from las_langchain.settings import LASSettings

BLOCK = 64
"""Most passages whose vectors are one row."""
_AT_ONCE = 1024
"""Vectors that a search compares at a time: more take memory, and BLAS more threads than are of use."""

BYTES_PER_NUMBER = 4
"""Of a vector, as float32."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a document.

    Attributes:
        text: what it says.
        page: its page, counted from 1, where the document has pages.
        line: its first line, counted from 1, where the document has lines.
    """

    text: str
    page: int | None = None
    line: int | None = None


@dataclass(slots=True)
class Source:
    """A document and where it is.

    Attributes:
        path: of the file, absolute.
        fingerprint: of its content and of how it was read.
        title: of the document, where it has one.
        passages: its parts.
        blocks: their vectors as float32, :data:`BLOCK` passages a block.
    """

    path: str
    fingerprint: str
    title: str | None
    passages: list[Passage]
    blocks: list[bytes] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Known:
    """What is stored of a source: the *fingerprint* and *model* that it was read with, and its number of *passages*."""

    path: str
    fingerprint: str
    model: str
    passages: int


@dataclass(frozen=True, slots=True)
class Found:
    """A passage that was found.

    Attributes:
        passage: the passage.
        source: path of its file.
        title: of its document.
        similarity: the cosine of its vector and the question's.
    """

    passage: Passage
    source: str
    title: str | None
    similarity: float


@dataclass(frozen=True, slots=True)
class Matches:
    """What a search found, each list with the best first.

    Attributes:
        by_meaning: ids of the passages with the nearest vectors.
        by_words: ids of the passages with the best BM25.
        found: the passages of both.
        overlap: the largest share of the words that one passage has, of those in *by_words*.
    """

    by_meaning: list[int]
    by_words: list[int]
    found: dict[int, Found]
    overlap: float


class DocumentStore:
    """The documents in one SQLite file. It holds no connection: any thread may use it, and another process too.

    Args:
        file: the database; created with the first document.

    Raises:
        ConfigurationError: from every method: the file is damaged, locked, or of a later version.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    @classmethod
    def of(cls, settings: LASSettings) -> DocumentStore:
        """That of the data folder."""
        return cls(settings.data_dir / FILE)

    def sources(self) -> list[Known]:
        """All that is known, by path."""
        if not self.file.exists():
            return []
        with opened(self.file) as connection:
            rows = connection.execute("SELECT path, fingerprint, model, passages FROM sources ORDER BY path")
            return [Known(*row) for row in rows]

    def put(self, sources: Sequence[Source], model: str, dimensions: int) -> None:
        """Store *sources* in the place of what is known of their paths: all of them, or none.

        Args:
            sources: with the vectors of all passages.
            model: what made these.
            dimensions: their length.

        Raises:
            ConfigurationError: there are vectors of another length by the same model.
        """
        with opened(self.file) as connection, transaction(connection, writes=True):
            _delete(connection, [source.path for source in sources])
            _check_length(connection, model, dimensions)
            for source in sources:
                _insert(connection, source, model, dimensions)

    def replace_vectors(self, path: str, blocks: Sequence[bytes], model: str, dimensions: int) -> None:
        """Give the passages of *path* other vectors.

        Raises:
            ConfigurationError: as for :meth:`put`.
        """
        with opened(self.file) as connection, transaction(connection, writes=True):
            query = "SELECT id, (SELECT min(id) FROM passages WHERE source = sources.id) FROM sources WHERE path = ?"
            row = connection.execute(query, [path]).fetchone()
            if row is not None:
                connection.execute("DELETE FROM vectors WHERE source = ?", [row[0]])
                connection.execute("UPDATE sources SET model = '', dimensions = 0 WHERE id = ?", [row[0]])
                _check_length(connection, model, dimensions)
                update = "UPDATE sources SET model = ?, dimensions = ? WHERE id = ?"
                connection.execute(update, [model, dimensions, row[0]])
                _insert_vectors(connection, row[0], row[1], blocks)

    def delete(self, paths: Sequence[str]) -> None:
        """Forget the sources of these *paths*: all of them, or none."""
        if paths:
            with opened(self.file) as connection, transaction(connection, writes=True):
                _delete(connection, paths)

    def source(self, path: str) -> tuple[str | None, list[Passage]]:
        """The title and the passages of the source *path*."""
        with opened(self.file) as connection, transaction(connection, writes=False):
            row = connection.execute("SELECT id, title FROM sources WHERE path = ?", [path]).fetchone() or (None, None)
            passages = connection.execute("SELECT text, page, line FROM passages WHERE source = ? ORDER BY id", row[:1])
            return row[1], [Passage(*fields) for fields in passages]

    def check(self, model: str) -> None:
        """Check that there are documents, all with vectors of *model*.

        Raises:
            ConfigurationError: there are none, or they have another's.
        """
        if not self.file.exists():
            raise nothing_ingested()
        with opened(self.file) as connection:
            _check_model(connection, model)

    def search(self, words: Sequence[str], vector: Sequence[float], model: str, most: int) -> Matches:
        """The passages next to a question.

        Args:
            words: of the question, as :func:`~chains.documents.words.words_of` gives them.
            vector: of the question.
            model: what made it.
            most: passages to find by meaning, and as many by words.

        Raises:
            ConfigurationError: as for :meth:`check`, or the vectors are of another length.
        """
        with opened(self.file) as connection, transaction(connection, writes=False):
            _check_model(connection, model)
            _check_length(connection, model, len(vector))
            by_words = _by_words(connection, words, most)
            nearest = _by_meaning(connection, vector, most, by_words)
            by_meaning = sorted(nearest, key=lambda id_: -nearest[id_])[:most]
            found = _found(connection, nearest)
            return Matches(by_meaning, by_words, found, _overlap(connection, words, by_words))


def nothing_ingested() -> ConfigurationError:
    """What to say where there are no documents."""
    return ConfigurationError("There are no documents to search: read some with las ingest PATH", param="documents")


def unit_blocks(vectors: Iterable[Sequence[float]]) -> list[bytes]:
    """*vectors* of length 1, as :class:`Source` holds them."""
    numpy = _numpy()
    matrix = _units(numpy.array(list(vectors), dtype=numpy.float32))
    return [matrix[start : start + BLOCK].tobytes() for start in range(0, len(matrix), BLOCK)]


def _numpy() -> Any:
    try:
        import numpy
    except ModuleNotFoundError:
        raise ConfigurationError("Searching documents needs numpy: pip install numpy") from None
    return numpy


def _units(matrix: Any) -> Any:
    numpy = _numpy()
    lengths = numpy.linalg.norm(matrix, axis=1, keepdims=True)
    return numpy.divide(matrix, lengths, out=numpy.zeros_like(matrix), where=lengths > 0)


def _delete(connection: Connection, paths: Sequence[str]) -> None:
    for path in paths:
        row = connection.execute("SELECT id FROM sources WHERE path = ?", [path]).fetchone()
        if row is not None:
            for statement in (
                "DELETE FROM passages WHERE source = ?",
                "DELETE FROM vectors WHERE source = ?",
                "DELETE FROM sources WHERE id = ?",
            ):
                connection.execute(statement, row)


def _insert(connection: Connection, source: Source, model: str, dimensions: int) -> None:
    columns = "path, fingerprint, title, model, dimensions, passages"
    fields = (source.path, source.fingerprint, source.title, model, dimensions, len(source.passages))
    id_ = connection.execute(f"INSERT INTO sources ({columns}) VALUES (?, ?, ?, ?, ?, ?)", fields).lastrowid  # noqa: S608
    first = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM passages").fetchone()[0]
    connection.executemany(
        "INSERT INTO passages (id, source, text, page, line) VALUES (?, ?, ?, ?, ?)",
        ((first + i, id_, one.text, one.page, one.line) for i, one in enumerate(source.passages)),
    )
    _insert_vectors(connection, id_, first, source.blocks)


def _insert_vectors(connection: Connection, source: int | None, first: int, blocks: Sequence[bytes]) -> None:
    connection.executemany(
        "INSERT INTO vectors (first, source, block) VALUES (?, ?, ?)",
        ((first + BLOCK * i, source, block) for i, block in enumerate(blocks)),
    )


def _check_model(connection: Connection, model: str) -> None:
    known = [row[0] for row in connection.execute("SELECT DISTINCT model FROM sources")]
    if not known:
        raise nothing_ingested()
    other = next((name for name in known if name != model), None)
    if other is not None:
        raise ConfigurationError(
            f"The documents were read with the embedding model {other}, and LAS_EMBEDDING_MODEL is {model} now: run "
            f"las ingest again with the paths of your documents, or set it back",
            param="embedding_model",
        )


def _check_length(connection: Connection, model: str, dimensions: int) -> None:
    query = "SELECT dimensions FROM sources WHERE model = ? AND dimensions != ? LIMIT 1"
    row = connection.execute(query, [model, dimensions]).fetchone()
    if row is not None:
        raise ConfigurationError(
            f"{model} gives vectors of {dimensions} numbers now, and the documents have {row[0]}: remove them with "
            "las ingest --remove PATH and read them again",
            param="embedding_model",
        )


def _by_words(connection: Connection, words: Sequence[str], most: int) -> list[int]:
    if not words:
        return []
    query = "SELECT rowid FROM words WHERE words MATCH ? ORDER BY bm25(words) LIMIT ?"
    return [row[0] for row in connection.execute(query, [any_of(list(words)), most])]


def _by_meaning(connection: Connection, vector: Sequence[float], most: int, others: Sequence[int]) -> dict[int, float]:
    """The similarity of the *most* nearest passages, and of *others*, by their ids."""
    numpy = _numpy()
    wanted = _units(numpy.array([vector], dtype=numpy.float32))[0]
    best = numpy.empty(0, dtype=numpy.int64), numpy.empty(0, dtype=numpy.float32)
    similar: dict[int, float] = {}
    for ids, matrix in _matrices(connection, len(vector)):
        scores = matrix @ wanted
        places = numpy.flatnonzero(numpy.isin(ids, numpy.array(others, dtype=numpy.int64)))
        similar.update(zip(ids[places].tolist(), scores[places].tolist(), strict=True))
        ids, scores = numpy.concatenate([best[0], ids]), numpy.concatenate([best[1], scores])
        # Stable, so that of equals the first wins, however they are divided into blocks.
        order = numpy.argsort(-scores, kind="stable")[:most]
        best = ids[order], scores[order]
    return {**similar, **dict(zip(best[0].tolist(), best[1].tolist(), strict=True))}


def _matrices(connection: Connection, dimensions: int) -> Iterator[tuple[Any, Any]]:
    """The vectors with their ids, some at a time."""
    rows: list[tuple[int, bytes]] = []
    size = 0
    for first, block in connection.execute("SELECT first, block FROM vectors ORDER BY first"):
        rows.append((first, block))
        size += len(block) // (BYTES_PER_NUMBER * dimensions)
        if size >= _AT_ONCE:
            yield _joined(rows, dimensions)
            rows, size = [], 0
    if rows:
        yield _joined(rows, dimensions)


def _joined(rows: Sequence[tuple[int, bytes]], dimensions: int) -> tuple[Any, Any]:
    numpy = _numpy()
    matrix = numpy.frombuffer(b"".join(block for _, block in rows), dtype=numpy.float32).reshape(-1, dimensions)
    sizes = (len(block) // (BYTES_PER_NUMBER * dimensions) for _, block in rows)
    ids = [numpy.arange(first, first + size) for (first, _), size in zip(rows, sizes, strict=True)]
    return numpy.concatenate(ids), matrix


def _found(connection: Connection, similar: dict[int, float]) -> dict[int, Found]:
    query = (
        "SELECT text, page, line, path, title FROM passages JOIN sources ON sources.id = passages.source "
        "WHERE passages.id = ?"
    )
    found = {}
    for id_, similarity in similar.items():
        text, page, line, path, title = connection.execute(query, [id_]).fetchone()
        found[id_] = Found(Passage(text, page, line), path, title, similarity)
    return found


def _overlap(connection: Connection, words: Sequence[str], ids: Sequence[int]) -> float:
    """The largest share of *words* that one of these passages has."""
    counts = dict.fromkeys(ids, 0)
    for word in words:
        for id_ in ids:
            query = "SELECT 1 FROM words WHERE words MATCH ? AND rowid = ?"
            if connection.execute(query, [any_of([word]), id_]).fetchone():
                counts[id_] += 1
    return max(counts.values(), default=0) / (len(words) or 1)
