"""Documents: read by ``las ingest``, kept in one SQLite file, found again by meaning and by words.

::

    documents = await DocumentsRetriever().ainvoke("What may I do with the source code?")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from las_langchain.lazy import imported_on_use

if TYPE_CHECKING:
    from chains.documents.ingest import Ingestion
    from chains.documents.retriever import DocumentsRetriever
    from chains.documents.store import DocumentStore

__all__ = ["DocumentStore", "DocumentsRetriever", "Ingestion"]

_HOMES = {"DocumentStore": "store", "DocumentsRetriever": "retriever", "Ingestion": "ingest"}
__getattr__ = imported_on_use(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
