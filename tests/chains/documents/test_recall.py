"""What is found in hundreds of real documents with the embedded model, and that questions off topic find nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chains.documents.ingest import Ingestion
from chains.documents.retriever import DocumentsRetriever, fused, is_relevant
from chains.documents.store import DocumentStore, Found, Matches
from chains.documents.words import words_of
from las_langchain import LASEmbeddings
from las_langchain.service import LiteLLMService, using
from las_langchain.settings import EMBEDDED_EMBEDDINGS, load_settings
from tests.chains.documents.corpus import OFF_TOPIC, QUESTIONS, write_corpus

pytestmark = pytest.mark.slow

TOP = 5
CANDIDATES = 20


@pytest.fixture(scope="module")
def library(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> LiteLLMService:
    """A service whose data folder holds the documents."""
    folder, corpus = tmp_path_factory.mktemp("library"), tmp_path_factory.mktemp("corpus")
    (folder / "models").symlink_to(data_dir / "models")
    count = write_corpus(corpus)
    assert count > 200
    # One thread, which does not wait for one that another test keeps from running.
    service = LiteLLMService(load_settings(data_dir=folder, embedding_model=EMBEDDED_EMBEDDINGS, local_batch_threads=1))
    with using(service):
        assert Ingestion(service.settings).run([corpus]).added == count
    return service


@pytest.fixture
def retriever(library: LiteLLMService) -> Iterator[DocumentsRetriever]:
    """The retriever of those documents."""
    with using(library):
        yield DocumentsRetriever(k=TOP)


def found_by(questions: list[str], service: LiteLLMService) -> list[Matches]:
    """What is found for each question."""
    with using(service):
        vectors = LASEmbeddings(model=EMBEDDED_EMBEDDINGS).embed_documents(questions)
    store = DocumentStore.of(service.settings)
    asked = zip(questions, vectors, strict=True)
    return [store.search(words_of(question), vector, EMBEDDED_EMBEDDINGS, CANDIDATES) for question, vector in asked]


def recall(rankings: list[list[Found]]) -> float:
    """The share of questions whose document is among the first."""
    answers = zip(rankings, QUESTIONS.values(), strict=True)
    hits = [name in {Path(one.source).stem for one in ranking[:TOP]} for ranking, name in answers]
    return sum(hits) / len(hits)


def test_the_right_document_is_among_the_first_five(library: LiteLLMService) -> None:
    matches = found_by(list(QUESTIONS), library)

    ways = {
        "meaning": [[one.found[id_] for id_ in one.by_meaning] for one in matches],
        "words": [[one.found[id_] for id_ in one.by_words] for one in matches],
        "both": [fused(one) for one in matches],
    }
    figures = {way: recall(rankings) for way, rankings in ways.items()}

    print("recall@5 of 20 questions: " + ", ".join(f"{way} {figure:.2f}" for way, figure in figures.items()))
    assert figures["both"] >= 0.9
    assert figures["both"] >= max(figures["meaning"], figures["words"])
    assert all(is_relevant(one) for one in matches)


def test_the_retriever_finds_the_same(retriever: DocumentsRetriever) -> None:
    question, name = next(iter(QUESTIONS.items()))
    documents = retriever.invoke(question)
    assert len(documents) == TOP
    assert f"{name}.md" in {Path(document.metadata["source"]).name for document in documents}
    assert all(document.metadata["title"] == Path(document.metadata["source"]).stem for document in documents)


def test_questions_about_other_things_find_nothing(library: LiteLLMService, retriever: DocumentsRetriever) -> None:
    nearest = {
        question: max(found.similarity for found in matches.found.values())
        for question, matches in zip(OFF_TOPIC, found_by(list(OFF_TOPIC), library), strict=True)
    }
    print(f"off topic, the nearest passage: {max(nearest.values()):.2f}")
    assert [question for question in OFF_TOPIC if retriever.invoke(question)] == []
