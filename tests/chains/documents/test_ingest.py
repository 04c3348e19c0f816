"""What is read again, replaced and forgotten, and what an interruption leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chains.documents.ingest import Ingestion, Summary, remove
from chains.documents.store import BLOCK, DocumentStore
from las_langchain import LASEmbeddings
from las_langchain.errors import BadRequestError, ConfigurationError, LASError
from las_langchain.service import SHARED
from las_langchain.settings import load_settings
from tests import warm
from tests.chains.documents.conftest import MODEL
from tests.chains.documents.files import pdf_of
from tests.fake_openai import FakeOpenAI, Reply

Ingest = Callable[..., Summary]


def names(store: DocumentStore) -> list[str]:
    """The names of the files that are stored."""
    return [Path(source.path).name for source in store.sources()]


def texts(embedder: FakeOpenAI) -> list[str]:
    """What was embedded, in order."""
    return [text for request in embedder.requests for text in request.body["input"]]


def test_what_is_read_is_stored_with_titles_pages_and_lines(
    ingest: Ingest, store: DocumentStore, folder: Path, embedder: FakeOpenAI
) -> None:
    (folder / "report.pdf").write_bytes(pdf_of(["One", "Two"], "Report"))

    assert ingest(folder) == Summary(added=3)

    assert names(store) == ["cats.md", "dogs.txt", "report.pdf"]
    title, (cats,) = store.source(str(folder / "cats.md"))
    assert (title, cats.text, cats.line, cats.page) == ("Cats", "# Cats\n\nCats sleep sixteen hours a day.", 1, None)
    title, pages = store.source(str(folder / "report.pdf"))
    assert (title, [(page.text, page.page) for page in pages]) == ("Report", [("One", 1), ("Two", 2)])
    # One request for all; a page by itself does not say what it is about.
    assert texts(embedder) == [cats.text, "Dogs like to run.", "Report\nOne", "Report\nTwo"]
    assert len(embedder.requests) == 1


def test_a_name_that_is_not_utf_8_is_skipped(ingest: Ingest, store: DocumentStore, folder: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.txt")).write_text("Coffee.")
    except OSError:
        pytest.skip("this file system knows no such names")

    summary = ingest(folder)

    assert (summary.added, list(summary.skipped.values())) == (2, ["its name is not UTF-8: rename it"])
    assert names(store) == ["cats.md", "dogs.txt"]


def test_a_second_time_nothing_is_embedded(ingest: Ingest, folder: Path, embedder: FakeOpenAI) -> None:
    ingest(folder)
    embedder.reset()
    os.utime(folder / "dogs.txt", (1, 1))

    assert ingest(folder, folder / "cats.md") == Summary(unchanged=2)
    assert not embedder.requests


def test_a_changed_file_replaces_its_passages(
    ingest: Ingest, store: DocumentStore, folder: Path, embedder: FakeOpenAI
) -> None:
    (folder / "dogs.txt").write_text("\n\n".join(f"Dog number {number}. {'x' * 900}" for number in range(5)))
    ingest(folder)
    embedder.reset()
    (folder / "dogs.txt").write_text("Dogs like to swim.")

    assert ingest(folder) == Summary(changed=1, unchanged=1)

    assert texts(embedder) == ["Dogs like to swim."]
    assert [source.passages for source in store.sources()] == [1, 1]
    found = store.search(
        ["dog"], LASEmbeddings(model=MODEL).embed_query("Dogs like to swim."), MODEL, 10
    ).found.values()
    assert sorted(one.passage.text for one in found)[1:] == ["Dogs like to swim."]


def test_what_vanished_is_forgotten_below_the_given_paths_alone(
    ingest: Ingest, store: DocumentStore, folder: Path, tmp_path: Path
) -> None:
    other, near = tmp_path / "other", tmp_path / "docs-old"
    for place in (other, near):
        place.mkdir()
        (place / "birds.txt").write_text("Birds fly.")
    ingest(folder, other, near)
    for file in (folder / "dogs.txt", other / "birds.txt", near / "birds.txt"):
        file.unlink()

    assert ingest(folder) == Summary(unchanged=1, deleted=1)
    assert names(store) == ["birds.txt", "cats.md", "birds.txt"]
    assert ingest(other) == Summary(deleted=1)


def test_what_cannot_be_read_any_more_is_forgotten_and_named(
    ingest: Ingest, store: DocumentStore, folder: Path
) -> None:
    ingest(folder)
    (folder / "dogs.txt").write_bytes(b"\0\1\2")

    assert ingest(folder) == Summary(unchanged=1, skipped={str(folder / "dogs.txt"): "binary"})
    assert names(store) == ["cats.md"]


def test_what_cannot_be_looked_at_is_kept(ingest: Ingest, store: DocumentStore, folder: Path) -> None:
    ingest(folder)
    (folder / "dogs.txt").unlink()
    (folder / "dogs.txt").symlink_to("dogs.txt")

    assert list(ingest(folder).skipped) == [str(folder / "dogs.txt")]
    assert names(store) == ["cats.md", "dogs.txt"]


@pytest.mark.parametrize("changes", [{"chunk_size": 500}, {"chunk_overlap": 10}])
def test_files_are_read_again_when_they_would_be_divided_otherwise(
    ingest: Ingest, folder: Path, embedder: FakeOpenAI, changes: dict[str, int]
) -> None:
    ingest(folder)
    assert ingest(folder, settings=load_settings(documents=changes)) == Summary(changed=2)


def test_only_files_of_a_new_loader_are_read_again(ingest: Ingest, store: DocumentStore, folder: Path) -> None:
    ingest(folder)
    settings = load_settings(documents={"loaders": {".txt": "tests.chains.documents.test_reading:Loader"}})

    assert ingest(folder, settings=settings) == Summary(changed=1, unchanged=1)
    assert [passage.page for passage in store.source(str(folder / "dogs.txt"))[1]] == [1, 2]


def test_a_loader_of_langchain_community_is_used(ingest: Ingest, store: DocumentStore, folder: Path) -> None:
    (folder / "talk.srt").write_bytes(b"1\n00:00:01,000 --> 00:00:02,000\nHello\n")
    settings = load_settings(documents={"loaders": {".srt": "TextLoader", ".md": "CSVLoader"}})

    summary = ingest(folder, settings=settings)

    assert summary.added == 3
    assert "Hello" in store.source(str(folder / "talk.srt"))[1][0].text


@pytest.mark.parametrize(
    ("loader", "said"),
    [
        ("TextLoadr", "has no 'TextLoadr'; did you mean 'TextLoader'?"),
        ("no_such_module:Loader", "no_such_module:Loader cannot be imported: ModuleNotFoundError"),
        ("pathlib:Path", "is no document loader"),
        ("pathlib:Pat", "pathlib has no 'Pat'"),
    ],
)
def test_a_loader_that_there_is_not_is_said_before_anything_is_read(
    embedder: FakeOpenAI, folder: Path, loader: str, said: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Ingestion(load_settings(documents={"loaders": {".docx": loader}}))
    assert str(caught.value).startswith("documents.loaders..docx: ")
    assert said in str(caught.value)


def test_another_model_embeds_all_again_also_what_is_elsewhere(
    ingest: Ingest, store: DocumentStore, folder: Path, tmp_path: Path, embedder: FakeOpenAI, monkeypatch: Any
) -> None:
    other = tmp_path / "birds.txt"
    other.write_text("Birds fly.")
    ingest(folder, other)
    other.unlink()
    embedder.reset()
    monkeypatch.setenv("LAS_EMBEDDING_MODEL", "openai/gpt-4o")
    SHARED.forget()
    with pytest.raises(ConfigurationError, match="read with the embedding model openai/text-embedding-3-small"):
        store.check("openai/gpt-4o")

    assert ingest(folder) == Summary(changed=2, embedded_again=1)

    store.check("openai/gpt-4o")
    assert texts(embedder)[-1] == "Birds fly."
    assert {source.model for source in store.sources()} == {"openai/gpt-4o"}
    found = store.search(["birds"], [1.0] * 8, "openai/gpt-4o", 10)
    assert sorted(one.passage.text for one in found.found.values())[0] == "# Cats\n\nCats sleep sixteen hours a day."
    assert len(found.by_meaning) == 3


def test_vectors_of_another_length_are_refused(ingest: Ingest, store: DocumentStore, folder: Path) -> None:
    ingest(folder)
    with pytest.raises(ConfigurationError, match="gives vectors of 3 numbers now, and the documents have 8"):
        store.search(["cats"], [1.0, 0.0, 0.0], MODEL, 5)


def test_a_failure_of_the_model_keeps_what_was_stored(
    ingest: Ingest, store: DocumentStore, folder: Path, embedder: FakeOpenAI
) -> None:
    for number in range(2 * BLOCK):
        (folder / f"{number:04}.txt").write_text(f"Note {number}")
    embedder.enqueue(Reply(), Reply(status=401))

    with pytest.raises(LASError):
        ingest(folder)

    assert len(store.sources()) == BLOCK
    embedder.reset()
    assert ingest(folder) == Summary(added=BLOCK + 2, unchanged=BLOCK)


def test_a_file_with_a_passage_that_is_too_long_for_the_model_is_skipped_alone(
    ingest: Ingest, store: DocumentStore, folder: Path
) -> None:
    (folder / "long.txt").write_text("word " * 15_000)
    settings = load_settings(documents={"chunk_size": 100_000})

    summary = ingest(folder, settings=settings)

    assert summary.added == 2
    ((path, reason),) = summary.skipped.items()
    assert path.endswith("long.txt")
    assert reason.startswith(f"a passage is too long for {MODEL}")
    assert names(store) == ["cats.md", "dogs.txt"]


def test_a_path_that_does_not_exist_ends_it_before_it_begins(
    ingest: Ingest, store: DocumentStore, folder: Path
) -> None:
    with pytest.raises(BadRequestError, match="missing: no such file or folder"):
        ingest(folder, folder / "missing")
    assert not store.sources()


def test_documents_are_removed_by_file_or_folder(ingest: Ingest, store: DocumentStore, folder: Path) -> None:
    (folder / "more").mkdir()
    for number in range(3):
        (folder / f"more/{number}.txt").write_text(f"Number {number}")
    ingest(folder)
    (folder / "dogs.txt").unlink()

    assert remove([folder / "dogs.txt", folder / "more"], load_settings()) == 4
    assert names(store) == ["cats.md"]
    with pytest.raises(BadRequestError, match="no documents of it are stored"):
        remove([folder / "cats.md", folder / "more"], load_settings())
    assert names(store) == ["cats.md"]


# Interruptions


@pytest.fixture
def notes(tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Many small files, and a data folder of its own with the embedded models."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "models").symlink_to(data_dir / "models")
    monkeypatch.setenv("LAS_DATA_DIR", str(own))
    monkeypatch.setenv("LAS_LOCAL_BATCH_THREADS", "1")
    folder = tmp_path / "notes"
    folder.mkdir()
    for number in range(4 * BLOCK):
        (folder / f"{number:04}.txt").write_text(f"Note {number}")
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("warm_python")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)], ids=["kill", "ctrl-c"])
def test_an_interruption_keeps_what_is_stored_and_the_next_run_goes_on(notes: Path, number: int, code: int) -> None:
    store, total = DocumentStore.of(load_settings()), 4 * BLOCK
    command = warm.command("-m", "servers", "ingest", str(notes))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (store.file.exists() and store.sources()):
            time.sleep(0.02)
        os.kill(warm.pid(process), number)
        said = process.communicate(timeout=30)
    assert (process.returncode, said) == (code, ("", ""))

    stored = store.sources()
    assert 0 < len(stored) < total
    assert all(len(store.source(source.path)[1]) == source.passages == 1 for source in stored)
    found = store.search(["note"], [1.0] * 384, load_settings().embedding_model, total)
    assert len(found.by_meaning) == len(stored)

    summary = Ingestion(load_settings()).run([notes])

    assert (summary.unchanged, summary.added) == (len(stored), total - len(stored))
