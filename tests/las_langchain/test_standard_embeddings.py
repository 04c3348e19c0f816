"""LangChain's standard suites for embeddings, on an upstream and on the embedded model."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from las_langchain import LASEmbeddings

# What the package itself ignores of litellm's client for OpenAI; pytest undoes that.
SMALL = "openai/text-embedding-3-small"


@pytest.mark.usefixtures("upstream")
class TestUpstreamUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[LASEmbeddings]:
        return LASEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": SMALL}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"LAS_EMBEDDING_MODEL": SMALL, "OPENAI_API_KEY": "sk-x"}, {}, {"model": SMALL}


@pytest.mark.usefixtures("upstream")
class TestUpstream(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[LASEmbeddings]:
        return LASEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": SMALL}


class TestEmbeddedUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[LASEmbeddings]:
        return LASEmbeddings

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"LAS_MODEL": "openai/gpt-4o"}, {}, {"model": "local/all-minilm-l6-v2"}


class TestEmbedded(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[LASEmbeddings]:
        return LASEmbeddings
