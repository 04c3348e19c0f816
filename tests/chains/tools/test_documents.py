"""The search in documents, as a tool."""

from __future__ import annotations

from pathlib import Path

import pytest

from chains.tools.documents import tool
from las_langchain.errors import ConfigurationError

pytest.importorskip("chains.documents")


async def test_without_documents_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAS_DATA_DIR", str(tmp_path))

    with pytest.raises(ConfigurationError):
        await tool().ainvoke({"query": "the warranty"})
