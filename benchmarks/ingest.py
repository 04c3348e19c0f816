"""How fast documents are read by ``las ingest``, and how long a question to many of them takes.

The documents are the beginnings of the installed packages' descriptions, embedded by the model in this process. The
many passages of the questions have vectors made by chance, since embedding them would take minutes.

    python benchmarks/ingest.py
"""

from __future__ import annotations

import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path

import numpy

from chains.documents import DocumentsRetriever, DocumentStore, Ingestion
from chains.documents.store import BLOCK, Passage, Source, unit_blocks
from chains.documents.words import words_of
from las_langchain.service import LiteLLMService, using
from las_langchain.settings import EMBEDDED_EMBEDDINGS, LASSettings, load_settings

DOCUMENTS = 40
LONGEST = 700
"""Letters of a document."""
PASSAGES = 20_000
DIMENSIONS = 384
QUESTIONS = ("How do I parse dates?", "Which library talks to SQLite without blocking?", "What checks types?")
ROUNDS = 5
BAR_SEARCH = 250
"""Milliseconds in which a search among the many passages should be done."""


def write_documents(folder: Path) -> int:
    """Write the documents; gives their bytes."""
    texts = sorted({str(package.metadata.get_payload() or "")[:LONGEST] for package in distributions()}, key=len)
    for number, text in enumerate(texts[-DOCUMENTS:]):
        (folder / f"{number}.md").write_text(text)
    return sum(file.stat().st_size for file in folder.iterdir())


def fill(store: DocumentStore) -> float:
    """Put the many passages into *store*; gives the seconds that took."""
    words = [word for package in distributions() for word in str(package.metadata.get_payload() or "")[:2000].split()]
    chance, vectors = random.Random(0), numpy.random.default_rng(0)
    began = time.perf_counter()
    for start in range(0, PASSAGES, BLOCK):
        passages = [Passage(" ".join(chance.choices(words, k=120))) for _ in range(BLOCK)]
        blocks = unit_blocks(vectors.standard_normal((BLOCK, DIMENSIONS)).tolist())
        store.put([Source(f"/many/{start}", "", None, passages, blocks)], EMBEDDED_EMBEDDINGS, DIMENSIONS)
    return time.perf_counter() - began


def milliseconds(work: Callable[[str], object]) -> float:
    """The median time that *work* takes for a question."""
    taken = []
    for question in QUESTIONS * ROUNDS:
        began = time.perf_counter()
        work(question)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1e3


def peak() -> float:
    """The most memory that this process has had, in megabytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1e6 if sys.platform == "darwin" else 1024)


def measure_reading(settings: LASSettings, folder: Path, size: int) -> None:
    """Print how fast the documents are read, and read again."""
    before = peak()
    began = time.perf_counter()
    summary = Ingestion(settings).run([folder])
    taken = time.perf_counter() - began
    passages = sum(source.passages for source in DocumentStore.of(settings).sources())
    print(
        f"read {summary.added} documents: {taken:.1f} s, {summary.added / taken:.1f} documents/s, "
        f"{passages / taken:.1f} passages/s, {size / taken / 1e6:.3f} MB/s; memory {before:.0f} -> {peak():.0f} MB"
    )
    began = time.perf_counter()
    assert Ingestion(settings).run([folder]).unchanged == summary.added
    print(f"again, unchanged: {(time.perf_counter() - began) * 1e3:.0f} ms")


def measure_questions(settings: LASSettings) -> float:
    """Print how long questions take; gives the time of a search alone."""
    store, retriever = DocumentStore.of(settings), DocumentsRetriever()
    vector = numpy.random.default_rng(1).standard_normal(DIMENSIONS).tolist()
    few = milliseconds(retriever.invoke)
    taken = fill(store)
    print(f"stored {PASSAGES} passages that were embedded before: {PASSAGES / taken:.0f} passages/s")
    search = milliseconds(lambda question: store.search(words_of(question), vector, EMBEDDED_EMBEDDINGS, 20))
    whole = milliseconds(retriever.invoke)
    megabytes = sum(file.stat().st_size for file in store.file.parent.glob(f"{store.file.name}*")) / 1e6
    print(f"a question to the documents: {few:.0f} ms; to {PASSAGES} passages more: {whole:.0f} ms")
    print(f"a search without the embedding: {search:.0f} ms (bar: {BAR_SEARCH})")
    print(f"{megabytes:.0f} MB on disk, memory {peak():.0f} MB")
    return search


def main() -> int:
    """Print the figures; return 1 if one misses its bar."""
    installed = LASSettings().data_dir / "models"
    with tempfile.TemporaryDirectory() as name:
        folder, data = Path(name, "documents"), Path(name, "data")
        folder.mkdir()
        data.mkdir()
        (data / "models").symlink_to(installed)
        settings = load_settings(data_dir=data, embedding_model=EMBEDDED_EMBEDDINGS, enable_cost_tracking=False)
        with using(LiteLLMService(settings)):
            measure_reading(settings, folder, write_documents(folder))
            return int(measure_questions(settings) > BAR_SEARCH)


if __name__ == "__main__":
    sys.exit(main())
