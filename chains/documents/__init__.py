"""Documents: read by ``las ingest``, kept in one SQLite file, found again by meaning and by words.

::

    documents = await DocumentsRetriever().ainvoke("What may I do with the source code?")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chains.documents.ingest import Ingestion
    from chains.documents.retriever import DocumentsRetriever
    from chains.documents.store import DocumentStore

__all__ = ["DocumentStore", "DocumentsRetriever", "Ingestion"]

_HOMES = {"DocumentStore": "store", "DocumentsRetriever": "retriever", "Ingestion": "ingest"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
