"""A data folder of its own, and embeddings that cost no time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from chains.documents.ingest import Ingestion, Summary
from chains.documents.store import DocumentStore
from las_langchain.settings import LASSettings, load_settings
from tests.fake_openai import FakeOpenAI

MODEL = "openai/text-embedding-3-small"


@pytest.fixture
def embedder(upstream: FakeOpenAI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeOpenAI:
    """The upstream double as the embedding model, whose requests count, and an empty data folder."""
    monkeypatch.setenv("LAS_EMBEDDING_MODEL", MODEL)
    monkeypatch.setenv("LAS_DATA_DIR", str(tmp_path / "data"))
    return upstream


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two documents."""
    made = tmp_path / "docs"
    made.mkdir()
    (made / "cats.md").write_text("# Cats\n\nCats sleep sixteen hours a day.\n")
    (made / "dogs.txt").write_text("Dogs like to run.\n")
    return made


@pytest.fixture
def ingest(embedder: FakeOpenAI) -> Callable[..., Summary]:
    """Ingests paths by the settings of now, with changes."""

    def run(*paths: Path, settings: LASSettings | None = None) -> Summary:
        return Ingestion(settings or load_settings()).run(paths)

    return run


@pytest.fixture
def store(embedder: FakeOpenAI) -> DocumentStore:
    """The store of that data folder."""
    return DocumentStore.of(load_settings())
