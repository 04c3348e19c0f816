"""What ``las ingest`` does: read what is new or has changed, embed it, store it, and forget what is gone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from chains.documents.files import absolute, files_below, is_below, roots_of
from chains.documents.reading import SkippedError, content_of, digest_of, document_of, loader_of
from chains.documents.splitting import Splitter
from chains.documents.store import BLOCK, BYTES_PER_NUMBER, DocumentStore, Known, Passage, Source, unit_blocks
from las_langchain.embeddings import LASEmbeddings
from las_langchain.errors import BadRequestError, ContextWindowExceededError
from las_langchain.settings import LASSettings

_READING = 2
"""Changes when files are read or divided in another way than before, so that all are read again."""


@dataclass(slots=True)
class Summary:
    """What an ingestion did, in files.

    Attributes:
        added: files that were not known.
        changed: files with another content than before, or read in another way.
        unchanged: files that were left alone.
        deleted: files that are gone.
        embedded_again: files elsewhere whose vectors were another model's.
        skipped: why files were not read, by their paths.
    """

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    deleted: int = 0
    embedded_again: int = 0
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def read(self) -> int:
        """Files that are stored as they are now."""
        return self.added + self.changed + self.unchanged


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an ingestion is.

    Attributes:
        done: files that are done with.
        files: files altogether.
        passages: passages that were embedded.
        path: of the last file.
    """

    done: int
    files: int
    passages: int
    path: str


class Ingestion:
    """One run over some paths. A run that is interrupted leaves what was stored before, and the next one goes on.

    Args:
        settings: the data folder, the embedding model and ``[documents]``.
        told: called after each file.
        skipped: called with the path of each file that is not read, and why.

    Raises:
        ConfigurationError: a loader of ``[documents]`` is none.
    """

    def __init__(
        self,
        settings: LASSettings,
        *,
        told: Callable[[Progress], None] = lambda progress: None,
        skipped: Callable[[str, str], None] = lambda path, reason: None,
    ) -> None:
        self._documents, self._model = settings.documents, settings.embedding_model
        self._loaders = _loader_classes(self._documents.loaders)
        self._store = DocumentStore.of(settings)
        self._embeddings = LASEmbeddings(model=self._model)
        self._told, self._told_skipped = told, skipped
        self.summary = Summary()
        self._progress = Progress(0, 0, 0, "")
        self._waiting: list[Source] = []
        self._known: dict[str, Known] = {}

    def run(self, paths: Sequence[str | Path]) -> Summary:
        """Read *paths*, and the folders among them with everything below.

        Raises:
            BadRequestError: a path does not exist; nothing was done.
            ConfigurationError: the store cannot be used.
            LASError: the texts cannot be embedded; what was stored until then stays.
        """
        roots = roots_of(paths)
        self._known = {known.path: known for known in self._store.sources()}
        kept: set[str] = set()
        total = sum(1 for root in roots for _ in files_below(root, lambda path, reason: None))
        self._progress = Progress(0, total, 0, "")
        for path in _each_once(roots, lambda path, reason: self._keep(path, reason, kept)):
            self._read(path, kept)
        self._store_waiting()
        self._forget_vanished(roots, kept)
        self._embed_again()
        return self.summary

    def _keep(self, path: str, reason: str, kept: set[str]) -> None:
        """Skip what cannot be looked at, and keep what is known of it: it may be as it was."""
        self._skip(path, reason)
        kept.update(known for known in self._known if is_below(known, path))

    def _skip(self, path: str, reason: str) -> None:
        self.summary.skipped[path] = reason
        self._told_skipped(path, reason)

    def _read(self, path: str, kept: set[str]) -> None:
        try:
            source = self._source(path)
            kept.add(path)
            if source is None:
                self.summary.unchanged += 1
            else:
                self._add(source)
        except FileNotFoundError:
            self._skip(path, "gone, or a link to nothing")
        except OSError as error:
            self._keep(path, error.strerror or str(error), kept)
        except SkippedError as error:
            self._skip(path, str(error))
        done = self._progress.done + 1
        self._progress = Progress(done, max(done, self._progress.files), self._progress.passages, path)
        self._told(self._progress)

    def _source(self, path: str) -> Source | None:
        """The file *path*, read and divided; None: it is stored as it is.

        Raises:
            OSError: it cannot be looked at.
            SkippedError: it cannot be read.
        """
        content, name = content_of(path), loader_of(path, self._documents.loaders)
        how = (digest_of(content), name, self._documents.chunk_size, self._documents.chunk_overlap, _READING)
        fingerprint = hashlib.sha256(repr(how).encode()).hexdigest()
        known = self._known.get(path)
        if known is not None and (known.fingerprint, known.model) == (fingerprint, self._model):
            return None
        document = document_of(path, content, None if name is None else self._loaders[name])
        splitter = Splitter(path, self._documents.chunk_size, self._documents.chunk_overlap)
        passages = [passage for text in document.texts for passage in splitter.passages(text)]
        return Source(path, fingerprint, document.title, passages)

    def _add(self, source: Source) -> None:
        self._waiting.append(source)
        if sum(len(one.passages) for one in self._waiting) >= BLOCK:
            self._store_waiting()

    def _store_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            self._embed(waiting)
        except ContextWindowExceededError as error:
            if len(waiting) > 1:
                for source in waiting:
                    self._waiting = [source]
                    self._store_waiting()
            else:
                self._store.delete([waiting[0].path])
                self._skip(waiting[0].path, f"a passage is too long for {self._model}: {error.message}")
            return
        for source in waiting:
            if source.path in self._known:
                self.summary.changed += 1
            else:
                self.summary.added += 1

    def _embed(self, sources: Sequence[Source]) -> None:
        """Embed *sources*, and store them together."""
        if not sources:
            return
        texts = (_embedded_text(source.title, passage) for source in sources for passage in source.passages)
        blocks, dimensions = self._vectors(texts, sum(len(source.passages) for source in sources))
        vectors, size = b"".join(blocks), dimensions * BYTES_PER_NUMBER
        for source in sources:
            own, vectors = vectors[: size * len(source.passages)], vectors[size * len(source.passages) :]
            source.blocks = [own[start : start + size * BLOCK] for start in range(0, len(own), size * BLOCK)]
        self._store.put(sources, self._model, dimensions)

    def _vectors(self, texts: Iterable[str], count: int) -> tuple[list[bytes], int]:
        """The vectors of *count* texts in blocks, and their length."""
        blocks: list[bytes] = []
        rest, dimensions = iter(texts), 0
        for start in range(0, count, BLOCK):
            vectors = self._embeddings.embed_documents(list(islice(rest, BLOCK)))
            dimensions = len(vectors[0])
            blocks += unit_blocks(vectors)
            now = self._progress
            embedded = now.passages + min(BLOCK, count - start)
            self._progress = Progress(now.done, now.files, embedded, now.path)
            self._told(self._progress)
        return blocks, dimensions

    def _forget_vanished(self, roots: Sequence[Path], kept: set[str]) -> None:
        gone = [path for path in self._known if path not in kept and any(is_below(path, str(root)) for root in roots)]
        self._store.delete(gone)
        # What is there and cannot be read any more has been named already.
        self.summary.deleted = sum(path not in self.summary.skipped for path in gone)

    def _embed_again(self) -> None:
        """Give the documents elsewhere vectors of the model of now: two models' do not go together."""
        for known in self._store.sources():
            if known.model != self._model:
                title, passages = self._store.source(known.path)
                texts = (_embedded_text(title, passage) for passage in passages)
                blocks, dimensions = self._vectors(texts, len(passages))
                self._store.replace_vectors(known.path, blocks, self._model, dimensions)
                self.summary.embedded_again += 1


def remove(paths: Sequence[str | Path], settings: LASSettings) -> int:
    """Forget the documents at and below *paths*, which need not exist any more.

    Returns:
        How many these were.

    Raises:
        BadRequestError: there are none at one of them; nothing was done.
        ConfigurationError: the store cannot be used.
    """
    store = DocumentStore.of(settings)
    known, found = [source.path for source in store.sources()], set[str]()
    for path in paths:
        below = {one for one in known if is_below(one, str(absolute(path)))}
        if not below:
            raise BadRequestError(f"{path}: no documents of it are stored; las ingest --list shows them", param="paths")
        found |= below
    store.delete(sorted(found))
    return len(found)


def _embedded_text(title: str | None, passage: Passage) -> str:
    """What a passage's vector is of: a passage alone often does not say what it is about."""
    return passage.text if not title or title in passage.text else f"{title}\n{passage.text}"


def _each_once(roots: Sequence[Path], unreadable: Callable[[str, str], None]) -> Iterator[str]:
    met: set[str] = set()
    for root in roots:
        for path in files_below(root, unreadable):
            if path not in met:
                met.add(path)
                yield path


def _loader_classes(loaders: dict[str, str]) -> dict[str, type]:
    if not loaders:
        return {}
    from chains.documents.community import loader_class

    return {name: loader_class(suffix, name) for suffix, name in loaders.items()}
