"""LangChain's retriever over the documents that were ingested."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import Field

from chains.documents.words import words_of
from las_langchain.embeddings import LASEmbeddings
from las_langchain.errors import BadRequestError
from las_langchain.service import get_litellm_service
from las_langchain.threads import in_thread

if TYPE_CHECKING:
    from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun

    from chains.documents.store import DocumentStore, Found, Matches

LONGEST_QUERY = 2000
"""Letters of a question that are searched for."""
RELEVANT_SIMILARITY = 0.25
"""Cosine of two texts from which on one may be about the other."""
RELEVANT_OVERLAP = 0.6
"""Share of a question's words in one passage from which on that may be about it, whatever the vectors say."""
_RANK_CONSTANT = 60
"""Of reciprocal rank fusion: how little the first places count more than those after them."""


class DocumentsRetriever(BaseRetriever):
    """Passages of the documents that ``las ingest`` has read: by meaning and by words, the two ranks fused.

    Each has ``source`` (a path), ``score`` (its likeness to the question by meaning, at most 1), and where it has them
    ``title``, ``page`` and ``line``, as metadata. Where nothing has anything to do with the question there are none.

    Raises:
        BadRequestError: the question is empty.
        ConfigurationError: no documents were ingested, or with another embedding model.
        LASError: the question cannot be embedded.
    """

    k: int | None = Field(None, ge=1, le=100, description="Most passages; None: what las.toml says, else 5")

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        search = _Search(query, self.k)
        search.check()
        return search.documents(search.embeddings.embed_query(search.query))

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun
    ) -> list[Document]:
        search = _Search(query, self.k)
        await in_thread(search.check)
        vector = await search.embeddings.aembed_query(search.query)
        return await in_thread(lambda: search.documents(vector))


class _Search:
    """One question, by the settings of now."""

    def __init__(self, query: str, most: int | None) -> None:
        from chains.documents.store import DocumentStore

        self.query = query.encode(errors="replace").decode().strip()[:LONGEST_QUERY]
        if not self.query:
            raise BadRequestError("query: expected words to search the documents for", param="query")
        settings = get_litellm_service().settings
        self._most = most or settings.documents.top_k
        self._model = settings.embedding_model
        self._store: DocumentStore = DocumentStore.of(settings)
        self.embeddings = LASEmbeddings(model=self._model)

    def check(self) -> None:
        """Say that there is nothing to search before the question is embedded for a price."""
        self._store.check(self._model)

    def documents(self, vector: list[float]) -> list[Document]:
        """The passages next to the question, whose vector this is."""
        matches = self._store.search(words_of(self.query), vector, self._model, max(4 * self._most, 20))
        return [_document(found) for found in fused(matches)[: self._most]] if is_relevant(matches) else []


def fused(matches: Matches) -> list[Found]:
    """What was found by meaning and by words in one order, by reciprocal rank fusion."""
    scores = dict.fromkeys(matches.found, 0.0)
    for ranking in (matches.by_meaning, matches.by_words):
        for rank, id_ in enumerate(ranking, 1):
            scores[id_] += 1 / (_RANK_CONSTANT + rank)
    order = sorted(scores, key=lambda id_: (-scores[id_], -matches.found[id_].similarity))
    return [matches.found[id_] for id_ in order]


def is_relevant(matches: Matches) -> bool:
    """Whether anything that was found may have to do with the question."""
    nearest = max((found.similarity for found in matches.found.values()), default=-1.0)
    return nearest >= RELEVANT_SIMILARITY or matches.overlap >= RELEVANT_OVERLAP


def _document(found: Found) -> Document:
    known = {"title": found.title, "page": found.passage.page, "line": found.passage.line}
    metadata = {name: value for name, value in known.items() if value is not None}
    return Document(
        page_content=found.passage.text,
        metadata={"source": found.source, **metadata, "score": round(found.similarity, 4)},
    )
