"""The tool ``documents``: passages of what ``las ingest`` has read."""

from __future__ import annotations

from typing import Annotated

from langchain_core.documents import Document
from langchain_core.tools import BaseTool, StructuredTool

DESCRIPTION = (
    "Search the user's own documents, files, notes, manuals, reports and contracts for passages about a subject."
)


async def _search(query: Annotated[str, "What to look for, in a few words"]) -> str:
    from chains.documents import DocumentsRetriever

    found = await DocumentsRetriever().ainvoke(query)
    return "\n\n".join(map(_passage, found)) or "Nothing in the documents is about that."


def _passage(document: Document) -> str:
    page = document.metadata.get("page")
    where = f"{document.metadata.get('source', 'unknown')}{f', page {page}' if page is not None else ''}"
    return f"[{where}]\n{document.page_content}"


def tool() -> BaseTool:
    """The tool."""
    return StructuredTool.from_function(coroutine=_search, name="documents", description=DESCRIPTION)
