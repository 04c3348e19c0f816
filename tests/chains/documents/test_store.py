"""The database: what it refuses, who may read it, and searches for anything that people write."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chains.documents import DocumentsRetriever
from chains.documents.ingest import Summary
from chains.documents.retriever import fused
from chains.documents.store import DocumentStore, Found, Matches, Passage, Source, unit_blocks
from chains.documents.words import MOST_WORDS, any_of, words_of
from las_langchain.errors import BadRequestError, ConfigurationError
from las_langchain.service import SHARED
from tests.chains.documents.conftest import MODEL
from tests.fake_openai import FakeOpenAI

Ingest = Callable[..., Summary]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> DocumentStore:
    """A store with three passages, whose vectors are at right angles."""
    made = DocumentStore(tmp_path_factory.mktemp("store") / "documents.sqlite3")
    made.put(
        [source("a", "The quick brown fox"), source("b", 'NEAR and NOT the dog\'s 100% "bone"', "Über Äpfel")], "m", 3
    )
    return made


def source(path: str, *texts: str) -> Source:
    """A source whose passages' vectors are the axes."""
    axes = [[float(i == len(path) + ord(path[0]) + place - 98) for i in range(3)] for place in range(len(texts))]
    return Source(path, "f", None, [Passage(text) for text in texts], unit_blocks(axes))


@given(st.text())
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_can_be_searched_for(small: DocumentStore, text: str) -> None:
    words = words_of(text)
    assert len(words) <= MOST_WORDS
    matches = small.search(words, [1.0, 0.0, 0.0], "m", 10)
    assert len(matches.by_meaning) == 3
    assert 0 <= matches.overlap <= 1


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ('"bone', "NEAR and NOT"),
        ("quick* OR (brown", "The quick"),
        ("NOT dog NEAR/2 x", "NEAR and NOT"),
        ("uber apfel", "Über Äpfel"),
        ("foxes", "The quick"),
        ("words: fox", "The quick"),
        ("'; DROP TABLE passages; -- quick", "The quick"),
    ],
)
def test_operators_quotes_accents_and_endings_are_no_obstacle(small: DocumentStore, text: str, first: str) -> None:
    matches = small.search(words_of(text), [1.0, 1.0, 1.0], "m", 10)
    assert matches.found[matches.by_words[0]].passage.text.startswith(first)


def test_the_nearest_of_many_is_found_wherever_it_is(tmp_path: Path) -> None:
    store = DocumentStore(tmp_path / "documents.sqlite3")
    counts = [1000, 23, 1, 1, 1500]
    for path, count in enumerate(counts):
        vectors = [[float(path), 1.0 + place] for place in range(count)]
        passages = [Passage(f"{path} {place}") for place in range(count)]
        store.put([Source(str(path), "f", None, passages, unit_blocks(vectors))], "m", 2)

    for path in range(1, len(counts)):
        matches = store.search([], [float(path), 1.0], "m", 1)
        assert matches.found[matches.by_meaning[0]].passage.text == f"{path} 0"
    assert len(store.search([], [0.0, 1.0], "m", 5000).by_meaning) == sum(counts)


def test_the_nearest_vectors_come_first_with_their_cosine(small: DocumentStore) -> None:
    matches = small.search([], [0.0, 3.0, 4.0], "m", 2)
    texts = [
        (matches.found[id_].passage.text[:4], round(matches.found[id_].similarity, 3)) for id_ in matches.by_meaning
    ]
    assert texts == [("Über", 0.8), ("NEAR", 0.6)]


def test_words_that_say_nothing_are_left_out() -> None:
    assert words_of("What is the capital of France? The FRANCE!") == ["capital", "france"]
    assert words_of("Who are you?") == ["who", "are", "you"]
    assert words_of("") == words_of("?!*") == words_of("_") == []
    assert any_of(["a", "b"]) == '"a" OR "b"'


def test_ranks_are_fused_and_likeness_decides_between_equals() -> None:
    found = {id_: Found(Passage(str(id_)), "a", None, id_ / 10) for id_ in (1, 2, 3, 4)}
    matches = Matches(by_meaning=[4, 2, 1], by_words=[2, 3], found=found, overlap=0)
    assert [one.passage.text for one in fused(matches)] == ["2", "4", "3", "1"]


# Files


def test_only_its_owner_may_read_it(small: DocumentStore) -> None:
    for file in small.file.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_asking_what_there_is_makes_no_file(tmp_path: Path) -> None:
    store = DocumentStore(tmp_path / "data" / "documents.sqlite3")
    assert store.sources() == []
    with pytest.raises(ConfigurationError, match="las ingest PATH"):
        store.check("m")
    assert not store.file.parent.exists()


def test_a_later_versions_store_is_left_alone(tmp_path: Path) -> None:
    store = DocumentStore(tmp_path / "documents.sqlite3")
    store.put([source("a", "x")], "m", 3)
    with closing(sqlite3.connect(store.file)) as connection, connection:
        connection.execute("UPDATE schema SET version = 2")
    with pytest.raises(ConfigurationError, match=r"later version \(2; this one knows 1\): upgrade las-langchain"):
        store.sources()


def test_a_damaged_store_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "documents.sqlite3").write_bytes(b"no database" * 1000)
    with pytest.raises(ConfigurationError, match="damaged: delete the file and run las ingest again"):
        DocumentStore(tmp_path / "documents.sqlite3").sources()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be stored: File exists"):
        DocumentStore(tmp_path / "file" / "documents.sqlite3").put([source("a", "x")], "m", 3)


def test_all_of_a_batch_is_stored_or_nothing(tmp_path: Path) -> None:
    store = DocumentStore(tmp_path / "documents.sqlite3")
    broken = source("b", "y")
    broken.passages = [Passage("fine"), Passage(None)]  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError):
        store.put([source("a", "x"), broken], "m", 3)
    assert store.sources() == []


def test_others_read_and_write_meanwhile(tmp_path: Path) -> None:
    store = DocumentStore(tmp_path / "documents.sqlite3")
    store.put([source("a", "x0")], "m", 3)
    done, seen = threading.Event(), set[int]()

    def read() -> None:
        while not done.is_set():
            matches = store.search(["x"], [1.0, 0.0, 0.0], "m", 50)
            assert len(matches.found) == len(matches.by_meaning)
            seen.add(len(matches.found))

    def write(name: str) -> None:
        for number in range(20):
            store.put([source(name, *[f"x{number}"] * 3)], "m", 3)

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        list(pool.map(write, ["a", "b"]))
        done.set()
        for reader in readers:
            reader.result()
    assert seen <= {1, 3, 4, 6}


# The retriever


def test_without_documents_it_says_what_to_do(embedder: FakeOpenAI) -> None:
    with pytest.raises(ConfigurationError, match=r"no documents to search: read some with las ingest PATH"):
        DocumentsRetriever().invoke("cats")
    with pytest.raises(ConfigurationError, match=r"las ingest PATH"):
        asyncio.run(DocumentsRetriever().ainvoke("cats"))


@pytest.mark.parametrize("query", ["", " \n"])
def test_an_empty_question_is_refused(ingest: Ingest, folder: Path, query: str) -> None:
    ingest(folder)
    with pytest.raises(BadRequestError, match="expected words"):
        DocumentsRetriever().invoke(query)


def test_it_finds_passages_and_says_where_they_are(ingest: Ingest, folder: Path) -> None:
    ingest(folder)

    found = DocumentsRetriever(k=1).invoke("How long do cats sleep?")

    assert found == asyncio.run(DocumentsRetriever(k=1).ainvoke("How long do cats sleep?"))
    (document,) = found
    assert document.page_content == "# Cats\n\nCats sleep sixteen hours a day."
    score = document.metadata.pop("score")
    assert -1 <= score <= 1
    assert document.metadata == {"source": str(folder / "cats.md"), "title": "Cats", "line": 1}


def test_as_many_are_found_as_the_settings_say(
    ingest: Ingest, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "las.toml").write_text("[documents]\ntop_k = 2\n")
    for number in range(8):
        (folder / f"{number}.txt").write_text(f"Cats sleep {number} times.")
    ingest(folder)
    assert len(DocumentsRetriever().invoke("cats sleep")) == 2
    assert len(DocumentsRetriever(k=7).invoke("cats sleep")) == 7


def test_questions_of_any_letters_are_searched_for(ingest: Ingest, folder: Path) -> None:
    ingest(folder)
    for query in ("cats \ud800 sleep", "cats\0sleep", "cats " * 5000):
        assert DocumentsRetriever().invoke(query)


def test_another_embedding_model_is_said_before_the_question_is_embedded(
    ingest: Ingest, folder: Path, embedder: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(folder)
    monkeypatch.setenv("LAS_EMBEDDING_MODEL", "openai/gpt-4o")
    SHARED.forget()
    embedder.reset()
    with pytest.raises(ConfigurationError, match=f"with the embedding model {MODEL}.*run las ingest again"):
        DocumentsRetriever().invoke("cats")
    assert not embedder.requests
