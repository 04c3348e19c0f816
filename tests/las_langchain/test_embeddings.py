"""LASEmbeddings on the embedded model and on an upstream."""

from __future__ import annotations

import pytest

from las_langchain import LASEmbeddings
from las_langchain.errors import AuthenticationError
from tests.fake_openai import FakeOpenAI


async def test_the_embedded_model_embeds_in_every_form() -> None:
    embeddings = LASEmbeddings()
    vector = embeddings.embed_query("a cat")
    assert len(vector) == 384
    assert embeddings.embed_documents(["a cat", "a dog"])[0] == pytest.approx(vector, abs=1e-3)
    assert (await embeddings.aembed_documents(["a cat", "a dog"]))[0] == pytest.approx(vector, abs=1e-3)
    assert await embeddings.aembed_query("a cat") == pytest.approx(vector, abs=1e-3)
    assert embeddings.embed_documents([]) == []


async def test_long_lists_are_sent_in_batches_in_order(upstream: FakeOpenAI) -> None:
    embeddings = LASEmbeddings(model="openai/text-embedding-3-small", batch_size=10, dimensions=4, user="me")
    texts = [f"text {index}" for index in range(25)]
    vectors = embeddings.embed_documents(texts)
    assert [len(received.body["input"]) for received in upstream.requests] == [10, 10, 5]
    assert upstream.last.body == {**upstream.last.body, "dimensions": 4, "user": "me"}
    assert vectors == await embeddings.aembed_documents(texts)
    assert vectors[17] == embeddings.embed_query("text 17")


def test_a_missing_key_is_named() -> None:
    with pytest.raises(AuthenticationError, match="set OPENAI_API_KEY"):
        LASEmbeddings(model="text-embedding-3-small").embed_query("x")


def test_unknown_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="dimension"):
        LASEmbeddings(dimension=3)
