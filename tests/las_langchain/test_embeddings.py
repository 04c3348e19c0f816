"""LASEmbeddings on the embedded model and on an upstream."""

from __future__ import annotations

import asyncio
import base64
import copy
import functools
import math
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from las_langchain import LASEmbeddings, LiteLLMService, load_settings
from las_langchain.embedding_calls import EmbeddingUsage
from las_langchain.embeddings import init_embeddings
from las_langchain.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ContextWindowExceededError,
    LASError,
    ModelNotFoundError,
    RateLimitError,
)
from las_langchain.transports.background import BACKGROUND
from tests.conftest import UPSTREAM_KEY
from tests.fake_openai import FakeOpenAI, Reply

# What the package itself ignores of litellm's client for OpenAI; pytest undoes that.
SMALL = "openai/text-embedding-3-small"
UNLISTED = "openai/text-embedding-unlisted"
"""A model whose limits are not publicly listed."""
LONG = "word " * 9000
"""More than the 8192 tokens that the upstream reads."""


def numbered(count: int) -> list[str]:
    return [f"text {index}" for index in range(count)]


def sent_sizes(upstream: FakeOpenAI) -> list[int]:
    return [len(received.body["input"]) for received in upstream.requests]


async def test_the_embedded_model_embeds_in_every_form() -> None:
    embeddings = LASEmbeddings()
    vector = embeddings.embed_query("a cat")
    assert len(vector) == 384
    assert embeddings.embed_documents(["a cat", "a dog"])[0] == pytest.approx(vector, abs=1e-3)
    assert (await embeddings.aembed_documents(["a cat", "a dog"]))[0] == pytest.approx(vector, abs=1e-3)
    assert await embeddings.aembed_query("a cat") == pytest.approx(vector, abs=1e-3)
    encoded = LASEmbeddings(encoding_format="base64", dimensions=384, user="me", batch_size=1, max_concurrency=3)
    assert encoded.embed_documents(["a cat", "a dog"])[0] == pytest.approx(vector, abs=1e-3)


async def test_nothing_is_sent_for_no_texts(upstream: FakeOpenAI) -> None:
    for embeddings in (LASEmbeddings(), LASEmbeddings(model=SMALL)):
        assert embeddings.embed_documents([]) == await embeddings.aembed_documents([]) == []
    assert not upstream.requests


async def test_long_lists_are_sent_in_batches_and_come_back_in_order(upstream: FakeOpenAI) -> None:
    embeddings = LASEmbeddings(model=SMALL, batch_size=10, dimensions=4, user="me")
    texts = numbered(25)
    upstream.enqueue(Reply(delay=0.2))
    vectors = embeddings.embed_documents(texts)
    assert sorted(sent_sizes(upstream)) == [5, 10, 10]
    upstream.enqueue(Reply(delay=0.2))
    assert vectors == await embeddings.aembed_documents(texts)
    assert vectors[17] == embeddings.embed_query("text 17") == await embeddings.aembed_query("text 17")
    assert len({tuple(vector) for vector in vectors}) == 25


def test_batches_are_bounded_in_tokens_counted_as_bytes(upstream: FakeOpenAI) -> None:
    texts = ["é" * 10, "b" * 20, "c" * 20, "d" * 50, "e"]
    LASEmbeddings(model=SMALL, max_tokens_per_batch=40, max_concurrency=1).embed_documents(texts)
    assert [received.body["input"] for received in upstream.requests] == [texts[:2], texts[2:3], texts[3:4], texts[4:]]


def test_a_batch_is_by_default_what_the_provider_takes(upstream: FakeOpenAI) -> None:
    LASEmbeddings(model=SMALL, max_concurrency=1).embed_documents(["x"] * 257)
    assert sent_sizes(upstream) == [256, 1]
    upstream.reset()
    LASEmbeddings(model=SMALL, max_concurrency=1).embed_documents(["x" * 100_000] * 4)
    assert sent_sizes(upstream) == [3, 1]
    upstream.reset()
    mistral = {"model": "mistral/text-embedding-unlisted", "api_base": upstream.url, "api_key": "k"}
    LASEmbeddings(**mistral, max_concurrency=1).embed_documents(["x" * 10_000] * 2)
    assert sent_sizes(upstream) == [1, 1]


@pytest.mark.parametrize("form", ["sync", "async"])
async def test_requests_run_side_by_side_within_the_limit(upstream: FakeOpenAI, form: str) -> None:
    upstream.enqueue(*[Reply(delay=0.3)] * 6)
    embeddings = LASEmbeddings(model=SMALL, batch_size=1, max_concurrency=3)
    began = time.perf_counter()
    if form == "sync":
        task = asyncio.create_task(asyncio.to_thread(embeddings.embed_documents, numbered(6)))
    else:
        task = asyncio.create_task(embeddings.aembed_documents(numbered(6)))
    while not upstream.requests:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.15)
    assert len(upstream.requests) == 3
    assert len(await task) == 6
    assert time.perf_counter() - began >= 0.6


@pytest.mark.parametrize("form", ["sync", "async"])
async def test_the_first_failure_is_raised_and_ends_the_other_requests(upstream: FakeOpenAI, form: str) -> None:
    error = {"message": "No more of these", "type": "invalid_request_error", "param": "input", "code": "odd"}
    upstream.enqueue(Reply(hang=True), Reply(hang=True), Reply(status=400, error=error, delay=0.2))
    embeddings, left = LASEmbeddings(model=SMALL, batch_size=1, max_concurrency=3), upstream.disconnects
    call = (
        embeddings.aembed_documents
        if form == "async"
        else functools.partial(asyncio.to_thread, embeddings.embed_documents)
    )
    with pytest.raises(BadRequestError, match="OpenAI: No more of these") as raised:
        await call(numbered(50))
    assert (raised.value.param, raised.value.code, raised.value.provider) == ("input", "odd", "openai")
    assert len(upstream.requests) == 3
    await until(lambda: upstream.disconnects == left + 2)


async def test_cancelling_cancels_all_requests(upstream: FakeOpenAI) -> None:
    upstream.enqueue(*[Reply(hang=True)] * 3)
    left = upstream.disconnects
    task = asyncio.create_task(LASEmbeddings(model=SMALL, batch_size=1, max_concurrency=3).aembed_documents(["x"] * 50))
    await until(lambda: len(upstream.requests) == 3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: upstream.disconnects == left + 3)
    assert len(upstream.requests) == 3


async def until(met: Callable[[], bool]) -> None:
    for _ in range(500):
        if met():
            return
        await asyncio.sleep(0.02)
    pytest.fail("it did not come to this within ten seconds")


async def test_many_texts_make_few_tasks(upstream: FakeOpenAI) -> None:
    texts, most = numbered(20_000), 0
    task = asyncio.create_task(LASEmbeddings(model=SMALL, batch_size=2048).aembed_documents(texts))
    while not task.done():
        most = max(most, len(asyncio.all_tasks()))
        await asyncio.sleep(0.001)
    assert len(task.result()) == 20_000
    assert most < 30


@pytest.mark.parametrize("value", ["float", "base64"])
async def test_vectors_are_numbers_however_they_travel(upstream: FakeOpenAI, value: Any) -> None:
    expected = LASEmbeddings(model=SMALL).embed_query("x")
    assert upstream.last.body["encoding_format"] == "base64"
    vector = LASEmbeddings(model=SMALL, encoding_format=value).embed_query("x")
    assert upstream.last.body["encoding_format"] == value
    assert vector == pytest.approx(expected, abs=1e-7)
    assert all(type(number) is float for number in vector)
    assert math.hypot(*vector) == pytest.approx(1, abs=1e-6)


async def test_base64_is_asked_only_of_openai_and_read_from_everybody(upstream: FakeOpenAI) -> None:
    other = LASEmbeddings(model="together_ai/text-embedding-unlisted", api_base=upstream.url, api_key="k")
    expected = await other.aembed_query("x")
    assert "encoding_format" not in upstream.last.body
    packed = base64.b64encode(b"\x00\x00\x80\x3f\x00\x00\x00\xc0").decode()
    upstream.enqueue(Reply(raw=_answer([packed])))
    assert await other.aembed_query("x") == [1.0, -2.0]
    assert expected == pytest.approx(LASEmbeddings(model=SMALL).embed_query("x"), abs=1e-7)


async def test_a_server_that_knows_floats_only_is_asked_for_them(upstream: FakeOpenAI) -> None:
    expected = LASEmbeddings(model=SMALL).embed_query("x")
    error = {"message": "encoding_format only supports [float]", "type": "x", "param": None, "code": "invalid"}
    upstream.enqueue(Reply(status=400, error=error))
    assert LASEmbeddings(model=SMALL).embed_query("x") == pytest.approx(expected, abs=1e-7)
    assert "encoding_format" not in upstream.last.body
    upstream.enqueue(Reply(status=400, error=error))
    with pytest.raises(BadRequestError, match="only supports"):
        LASEmbeddings(model=SMALL, encoding_format="base64").embed_query("x")


@pytest.mark.parametrize("vector", ["not base64!", "AAAA", "", []])
def test_a_malformed_vector_is_the_providers_fault(upstream: FakeOpenAI, vector: Any) -> None:
    upstream.enqueue(Reply(raw=_answer([vector])))
    with pytest.raises(APIError, match="The provider sent an"):
        LASEmbeddings(model=SMALL, max_retries=0).embed_query("x")


@pytest.mark.parametrize(
    ("vectors", "problem"),
    [([], "has no embeddings"), *((n * [[1.0]], f"answered 2 texts with {n} embeddings") for n in (1, 3))],
)
def test_a_missing_vector_is_noticed(upstream: FakeOpenAI, vectors: list[list[float]], problem: str) -> None:
    upstream.enqueue(Reply(raw=_answer(vectors)))
    with pytest.raises(APIError, match=problem):
        LASEmbeddings(model=SMALL, max_retries=0).embed_documents(["a", "b"])


def _answer(vectors: list[Any]) -> bytes:
    import orjson

    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    return orjson.dumps(
        {"object": "list", "model": "m", "data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}}
    )


# What each field does to a request; None: it says how the work is done, and has a test of its own.
SENT: dict[str, tuple[Any, Callable[[Any], Any], Any] | None] = {
    "model": ("openai/text-embedding-other", lambda request: request.body["model"], "text-embedding-other"),
    "dimensions": (5, lambda request: request.body["dimensions"], 5),
    "encoding_format": ("float", lambda request: request.body["encoding_format"], "float"),
    "user": ("me", lambda request: request.body["user"], "me"),
    "api_key": ("sk-own", lambda request: request.headers["authorization"], "Bearer sk-own"),
    "organization": ("org-1", lambda request: request.headers["openai-organization"], "org-1"),
    "extra_headers": ({"x-team": "red"}, lambda request: request.headers["x-team"], "red"),
    "extra_body": ({"dimensions": 6}, lambda request: request.body["dimensions"], 6),
    "api_base": None,
    "batch_size": None,
    "max_tokens_per_batch": None,
    "max_concurrency": None,
    "timeout": None,
    "max_retries": None,
    "show_progress": None,
    "on_usage": None,
    "service": None,
}


@pytest.mark.parametrize("name", list(LASEmbeddings.model_fields))
def test_every_field_that_is_to_be_sent_arrives(upstream: FakeOpenAI, name: str) -> None:
    if (row := SENT[name]) is None:
        return
    value, found, expected = row
    LASEmbeddings(**{"model": UNLISTED, name: value}).embed_query("x")
    assert found(upstream.last) == expected


def test_all_fields_arrive_together_and_nothing_else_does(upstream: FakeOpenAI) -> None:
    fields = {name: row[0] for name, row in SENT.items() if row and name not in ("model", "extra_body")}
    LASEmbeddings(model=SMALL, **fields, extra_body={"user": "you"}).embed_query("x")
    assert upstream.last.path == "/v1/embeddings"
    sent = {"model": "text-embedding-3-small", "input": ["x"], "dimensions": 5, "encoding_format": "float"}
    assert upstream.last.body == {**sent, "user": "you"}


def test_the_address_is_the_given_one(upstream: FakeOpenAI) -> None:
    with FakeOpenAI() as other:
        LASEmbeddings(model=SMALL, api_base=other.url).embed_query("x")
        LASEmbeddings(model=SMALL, base_url=other.url).embed_query("x")
        assert len(other.requests) == 2
    assert not upstream.requests


@pytest.mark.parametrize("provider", ["mistral", "fireworks_ai"])
@pytest.mark.parametrize("field", [{"extra_headers": {"x-team": "red"}}, {"organization": "o"}, {"user": "me"}])
def test_what_a_provider_is_not_sent_is_refused_by_name(
    upstream: FakeOpenAI, provider: str, field: dict[str, Any]
) -> None:
    embeddings = LASEmbeddings(model=f"{provider}/text-embedding-x", api_base=upstream.url, api_key="k", **field)
    with pytest.raises(BadRequestError, match=r"user|headers"):
        embeddings.embed_query("x")
    assert not upstream.requests


@pytest.mark.parametrize("field", ["api_key", "api_base", "organization", "extra_headers", "extra_body"])
def test_the_embedded_model_refuses_what_it_has_no_use_for(field: str) -> None:
    with pytest.raises(BadRequestError, match=field) as error:
        LASEmbeddings(**{field: {"x": "y"} if field.startswith("extra") else "x"}).embed_query("x")
    assert error.value.param == field


def test_timeouts_are_for_one_request(upstream: FakeOpenAI) -> None:
    upstream.enqueue(*[Reply(delay=0.4)] * 3)
    embeddings = LASEmbeddings(model=SMALL, timeout=1, batch_size=1, max_concurrency=1)
    assert len(embeddings.embed_documents(numbered(3))) == 3
    upstream.enqueue(Reply(hang=True))
    began = time.perf_counter()
    with pytest.raises(APITimeoutError):
        LASEmbeddings(model=SMALL, request_timeout=0.5, max_retries=0).embed_query("x")
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("provider", ["openai", "mistral", "together_ai", "hosted_vllm", "fireworks_ai"])
def test_retries_are_as_many_as_asked_for(upstream: FakeOpenAI, provider: str) -> None:
    upstream.enqueue(*[Reply(status=500)] * 2)
    embeddings = LASEmbeddings(model=f"{provider}/text-embedding-x", api_base=upstream.url, api_key="k", max_retries=0)
    with pytest.raises(APIError):
        embeddings.embed_query("x")
    assert len(upstream.requests) == 1
    embeddings.max_retries = 1
    assert len(embeddings.embed_query("x")) == 8
    assert len(upstream.requests) == 3


async def _async_key() -> str:
    await asyncio.sleep(0)
    return "sk-async"


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("sk-text", "sk-text"),
        (SecretStr("sk-secret"), "sk-secret"),
        (lambda: "sk-called", "sk-called"),
        (_async_key, "sk-async"),
        (None, UPSTREAM_KEY),
    ],
)
async def test_keys_are_texts_or_functions(upstream: FakeOpenAI, key: Any, expected: str) -> None:
    embeddings = LASEmbeddings(model=SMALL, api_key=key)
    embeddings.embed_query("x")
    await embeddings.aembed_query("x")
    assert [request.headers["authorization"] for request in upstream.requests] == [f"Bearer {expected}"] * 2


def test_a_key_is_asked_for_before_every_request(upstream: FakeOpenAI) -> None:
    keys = iter(["sk-first", "sk-second"])
    LASEmbeddings(model=SMALL, api_key=lambda: next(keys), batch_size=1, max_concurrency=1).embed_documents(["a", "b"])
    assert [request.headers["authorization"][7:] for request in upstream.requests] == ["sk-first", "sk-second"]


async def test_a_key_that_cannot_be_had_is_named(upstream: FakeOpenAI) -> None:
    def fails() -> str:
        raise OSError("the vault is shut")

    embeddings = LASEmbeddings(model=SMALL, api_key=fails)
    for call in (lambda: asyncio.to_thread(embeddings.embed_query, "x"), lambda: embeddings.aembed_query("x")):
        with pytest.raises(AuthenticationError, match=r"^api_key: the function failed: OSError: the vault is shut$"):
            await call()
    assert not upstream.requests


def test_a_missing_key_is_named() -> None:
    with pytest.raises(AuthenticationError, match="set OPENAI_API_KEY"):
        LASEmbeddings(model="text-embedding-3-small").embed_query("x")


def test_usage_and_cost_of_each_request_are_told_in_the_callers_thread(upstream: FakeOpenAI) -> None:
    seen: list[tuple[EmbeddingUsage, threading.Thread]] = []
    embeddings = LASEmbeddings(
        model=SMALL, batch_size=2, on_usage=lambda usage: seen.append((usage, threading.current_thread()))
    )
    embeddings.embed_documents(["one two three", "four", "five"])
    assert {thread for _, thread in seen} == {threading.current_thread()}
    usages = sorted((usage for usage, _ in seen), key=lambda usage: usage.prompt_tokens)
    assert [(usage.model, usage.prompt_tokens, usage.total_tokens) for usage in usages] == [
        (SMALL, 1, 1),
        (SMALL, 4, 4),
    ]
    assert [usage.cost for usage in usages] == pytest.approx([0.02e-6, 0.08e-6])
    with pytest.raises(AttributeError):
        usages[0].cost = 0  # type: ignore[misc]


async def test_cost_is_none_where_no_price_is_known(upstream: FakeOpenAI) -> None:
    seen: list[EmbeddingUsage] = []
    await LASEmbeddings(model=UNLISTED, on_usage=seen.append).aembed_query("one two")
    assert seen == [EmbeddingUsage(UNLISTED, 2, 2, None)]
    await LASEmbeddings(on_usage=seen.append).aembed_query("one two")
    assert (seen[1].model, seen[1].cost) == ("local/all-minilm-l6-v2", 0)
    assert seen[1].prompt_tokens > 0


def test_a_failing_callback_ends_the_work(upstream: FakeOpenAI) -> None:
    def over_budget(usage: EmbeddingUsage) -> None:
        raise RuntimeError("over budget")

    with pytest.raises(RuntimeError, match="over budget"):
        LASEmbeddings(model=SMALL, batch_size=1, max_concurrency=1, on_usage=over_budget).embed_documents(["x"] * 500)
    assert len(upstream.requests) < 500


async def test_a_progress_bar_counts_texts(upstream: FakeOpenAI, capsys: pytest.CaptureFixture[str]) -> None:
    embeddings = LASEmbeddings(model=SMALL, batch_size=10, show_progress_bar=True)
    embeddings.embed_documents(numbered(25))
    assert "25/25" in capsys.readouterr().err
    await embeddings.aembed_documents(numbered(25))
    assert "25/25" in capsys.readouterr().err
    embeddings.embed_query("x")
    LASEmbeddings(model=SMALL).embed_documents(["x"])
    assert "1/1" not in capsys.readouterr().err


def test_a_progress_bar_without_tqdm_is_a_configuration_error() -> None:
    code = """if True:
        import sys
        sys.modules["tqdm"] = None
        from las_langchain import LASEmbeddings
        LASEmbeddings(show_progress=True).embed_documents(["x"])
    """
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.stderr.splitlines()[-1].endswith("ConfigurationError: show_progress needs tqdm: pip install tqdm")


@pytest.mark.parametrize("model", [SMALL, "local/all-minilm-l6-v2"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a text that is not empty; leave it out"),
        (None, "expected a text, not NoneType"),
        (7, "expected a text, not int"),
        ("half \udc00", "U+DC00 at position 5 is half a character; decode the text anew"),
    ],
)
async def test_what_is_no_text_is_refused_by_its_index_before_anything_is_sent(
    upstream: FakeOpenAI, model: str, text: Any, message: str
) -> None:
    embeddings = LASEmbeddings(model=model, batch_size=1)
    for call, name in (
        (lambda: embeddings.aembed_documents(["a", "b", "c", text]), "texts[3]"),
        (lambda: asyncio.to_thread(embeddings.embed_documents, ["a", "b", "c", text]), "texts[3]"),
        (lambda: embeddings.aembed_query(text), "text"),
        (lambda: asyncio.to_thread(embeddings.embed_query, text), "text"),
    ):
        with pytest.raises(BadRequestError) as error:
            await call()
        assert (str(error.value), error.value.param) == (f"{name}: {message}", name)
    assert not upstream.requests


@pytest.mark.parametrize("texts", ["one text", b"bytes", None, 7])
def test_one_text_is_no_list_of_texts(texts: Any) -> None:
    with pytest.raises(BadRequestError, match=f"texts: expected a list of texts, not {type(texts).__name__}"):
        LASEmbeddings().embed_documents(texts)


def test_a_text_that_is_certainly_too_long_is_refused_before_anything_is_sent(upstream: FakeOpenAI) -> None:
    with pytest.raises(ContextWindowExceededError) as error:
        LASEmbeddings(model=SMALL).embed_documents(["a", "b", LONG])
    assert str(error.value) == f"texts[2] is too long: it has at least 9000 tokens, {SMALL} reads 8191"
    assert (error.value.param, error.value.provider) == ("texts[2]", "openai")
    assert not upstream.requests


def test_a_text_that_may_fit_is_sent(upstream: FakeOpenAI) -> None:
    assert LASEmbeddings(model=SMALL).embed_documents(["word " * 8192, "x" * 100_000])
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("place", [0, 37, 63])
async def test_the_text_that_the_provider_finds_too_long_is_found(upstream: FakeOpenAI, place: int) -> None:
    texts = numbered(64)
    texts[place] = LONG
    with pytest.raises(ContextWindowExceededError) as error:
        await LASEmbeddings(model=UNLISTED).aembed_documents(texts)
    assert str(error.value).startswith(
        f"texts[{place}] is too long: OpenAI: This model's maximum context length is 8192"
    )
    assert error.value.param == f"texts[{place}]"
    assert len(upstream.requests) <= 1 + 2 * 6
    with pytest.raises(ContextWindowExceededError, match=r"^text is too long"):
        await LASEmbeddings(model=UNLISTED).aembed_query(LONG)


def test_a_batch_that_is_too_large_altogether_is_halved(upstream: FakeOpenAI) -> None:
    expected = LASEmbeddings(model=SMALL).embed_documents(numbered(5))
    error = {"message": "Requested 312436 tokens, max 300000 tokens per request", "code": "max_tokens_per_request"}
    upstream.enqueue(Reply(status=400, error={**error, "type": "max_tokens_per_request", "param": None}))
    assert LASEmbeddings(model=SMALL).embed_documents(numbered(5)) == expected
    assert sent_sizes(upstream)[1:] == [5, 2, 3]


def test_the_embedded_model_reads_the_beginning_of_a_long_text(caplog: pytest.LogCaptureFixture) -> None:
    beginning, whole = LASEmbeddings().embed_documents(["cat " * 510, "cat " * 510 + "dog " * 3000])
    assert whole == pytest.approx(beginning, abs=2e-3)
    assert "was cut to its first 512" in caplog.text


def test_other_errors_are_as_they_are(upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(status=429))
    with pytest.raises(RateLimitError, match="OpenAI: Rate limit reached"):
        LASEmbeddings(model=SMALL, max_retries=0).embed_query("x")
    with pytest.raises(AuthenticationError, match="refused the key"):
        LASEmbeddings(model=SMALL, api_key="sk-wrong").embed_query("x")
    with pytest.raises(
        APIConnectionError, match=r"OpenAI at http://127\.0\.0\.1:9/v1 cannot be reached; OPENAI_BASE_URL"
    ):
        LASEmbeddings(model=SMALL, api_base="http://127.0.0.1:9/v1", max_retries=0).embed_query("x")
    for provider, title in (("vllm", "vLLM"), ("ollama", "Ollama")):
        with pytest.raises(APIConnectionError, match=f"{title} does not answer at http://127.0.0.1:9/v1: start it"):
            LASEmbeddings(model=f"{provider}/x", api_base="http://127.0.0.1:9/v1", max_retries=0).embed_query("x")
    with pytest.raises(ModelNotFoundError, match="did you mean 'openai'"):
        LASEmbeddings(model="opnai/text-embedding-3-small").embed_query("x")


def test_a_synchronous_call_on_the_background_loop_is_refused() -> None:
    async def inside() -> None:
        with pytest.raises(RuntimeError, match="use its async form"):
            LASEmbeddings().embed_query("x")

    BACKGROUND.run(inside())


async def test_one_object_serves_threads_and_loops(upstream: FakeOpenAI) -> None:
    embeddings = LASEmbeddings(model=SMALL, batch_size=2)
    expected = embeddings.embed_documents(numbered(9))
    threads = [asyncio.to_thread(embeddings.embed_documents, numbered(9)) for _ in range(8)]
    assert await asyncio.gather(*threads) == [expected] * 8
    for _ in range(2):
        assert await embeddings.aembed_documents(numbered(9)) == expected
        assert await asyncio.to_thread(asyncio.run, embeddings.aembed_documents(numbered(9))) == expected


def test_the_aliases_of_other_classes_are_known() -> None:
    embeddings = LASEmbeddings(chunk_size=3, request_timeout=4, base_url="http://127.0.0.1:9", show_progress_bar=True)
    assert (embeddings.batch_size, embeddings.timeout) == (3, 4)
    assert (embeddings.api_base, embeddings.show_progress) == ("http://127.0.0.1:9", True)
    assert embeddings == LASEmbeddings(batch_size=3, timeout=4, api_base="http://127.0.0.1:9", show_progress=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dimension": 3}, "LASEmbeddings has no argument 'dimension'; did you mean 'dimensions'?"),
        ({"openai_api_key": "sk-secret"}, "LASEmbeddings has no argument 'openai_api_key'; did you mean 'api_key'?"),
        ({"chunksize": 3}, "LASEmbeddings has no argument 'chunksize'; did you mean 'chunk_size'?"),
        ({"model_kwargs": {}}, "LASEmbeddings has no argument 'model_kwargs'"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 2049}, "batch_size"),
        ({"batch_size": 1, "chunk_size": 2}, "chunk_size"),
        ({"max_concurrency": 0}, "max_concurrency"),
        ({"timeout": 0}, "timeout"),
        ({"max_retries": -1}, "max_retries"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
    ],
)
def test_wrong_arguments_are_refused_without_telling_secrets(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        LASEmbeddings(**{"api_key": "sk-secret", **arguments})
    assert message in str(error.value)
    assert "sk-secret" not in str(error.value)


def get_key(key: str = "sk-very-secret") -> str:
    return key


@pytest.mark.parametrize("key", ["sk-very-secret", functools.partial(get_key, "sk-very-secret"), get_key])
def test_it_is_copied_pickled_and_shown_without_secrets(upstream: FakeOpenAI, key: Any) -> None:
    service = LiteLLMService(load_settings(timeout=7))
    embeddings = LASEmbeddings(
        model=SMALL, api_key=key, extra_headers={"x": "sk-very-secret"}, batch_size=3, service=service, on_usage=print
    )
    expected = embeddings.embed_query("x")
    for other in (copy.deepcopy(embeddings), pickle.loads(pickle.dumps(embeddings)), embeddings.model_copy()):
        assert (other.batch_size, other.on_usage) == (3, print)
        assert other.embed_query("x") == expected
        assert upstream.last.headers["authorization"] == "Bearer sk-very-secret"
    assert "sk-very-secret" not in f"{embeddings!r} {embeddings}"
    assert not {"service", "on_usage"} & {*embeddings.model_dump(), *embeddings.model_dump(mode="json")}
    assert "batch_size" in LASEmbeddings.model_json_schema()["properties"]


def test_its_service_is_the_given_one(upstream: FakeOpenAI) -> None:
    service = LiteLLMService(load_settings(embedding_model=UNLISTED))
    embeddings = LASEmbeddings(service=service)
    assert embeddings.model == UNLISTED
    embeddings.embed_query("x")
    assert upstream.last.body["model"] == "text-embedding-unlisted"
    assert LASEmbeddings(model=None, service=service).embed_query("x")
    assert upstream.last.body["model"] == "text-embedding-unlisted"


def test_wrong_settings_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAS_PORT", "many")
    with pytest.raises(LASError, match="LAS_PORT"):
        LASEmbeddings()


@pytest.mark.parametrize(
    ("arguments", "model"),
    [
        ({"model": SMALL}, SMALL),
        ({"model": "openai:text-embedding-3-small"}, SMALL),
        ({"model": "text-embedding-3-small", "provider": "openai"}, SMALL),
        ({"model": SMALL, "provider": "openai"}, SMALL),
        ({"model": SMALL, "provider": "openrouter"}, f"openrouter/{SMALL}"),
        ({"model": "text-embedding-3-small"}, "text-embedding-3-small"),
        ({"model": "voyage/voyage-3"}, "voyage/voyage-3"),
        ({"model": "ollama:nomic-embed-text:v1.5"}, "ollama/nomic-embed-text:v1.5"),
        ({"model": "ollama/nomic-embed-text:v1.5"}, "ollama/nomic-embed-text:v1.5"),
        ({"model": "amazon.titan-embed-text-v2:0", "provider": "bedrock"}, "bedrock/amazon.titan-embed-text-v2:0"),
    ],
)
def test_init_embeddings_takes_a_name(arguments: dict[str, Any], model: str) -> None:
    embeddings = init_embeddings(**arguments, batch_size=7)
    assert (embeddings.model, embeddings.batch_size) == (model, 7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": ""}, "name a model"),
        ({"model": "", "provider": "openai"}, "name a model"),
        ({"model": "openai:"}, "name a model"),
        ({"model": "x", "provider": "mistralai"}, "did you mean 'mistral'"),
        ({"model": "opnai/text-embedding-3-small"}, "did you mean 'openai'"),
        ({"model": "../x", "provider": "openai"}, "Not a model name"),
    ],
)
def test_init_embeddings_names_what_is_wrong(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelNotFoundError, match=message):
        init_embeddings(**arguments)
    with pytest.raises(ValueError, match="did you mean 'dimensions'"):
        init_embeddings(SMALL, dimension=3)


def test_init_embeddings_embeds(upstream: FakeOpenAI) -> None:
    assert len(init_embeddings(SMALL, dimensions=4).embed_query("x")) == 4
