"""The list of models, asked of real servers on this machine."""

from __future__ import annotations

import asyncio
import gzip
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import orjson
import pytest

from las_langchain.catalog import models_of
from las_langchain.errors import ModelNotFoundError
from las_langchain.listing import ListedModel, Listing, ModelsLister, Source, list_models, list_models_sync
from las_langchain.listing.rows import LIVE
from las_langchain.listing.sharing import Shared
from las_langchain.provider_rows import PROVIDERS
from las_langchain.settings import LASSettings, load_settings
from tests import fake_anthropic, fake_gemini, fake_ollama, fake_openai
from tests.fake_server import Delivery, Exchange, FakeServer, Received

KEY = "sk-very-secret-0123456789"
CLOSED = "http://127.0.0.1:9"


class Upstream(FakeServer[Delivery]):
    """Answers every request with what is scripted, and without a script with two of OpenAI's models."""

    def route(self, request: Received) -> Callable[[Exchange, Delivery], Awaitable[None]]:
        body = {"object": "list", "data": [{"id": "gpt-4o"}, {"id": "brand-new"}]}
        return lambda exchange, reply: self.send_body(exchange, reply, body)

    def default_reply(self) -> Delivery:
        return Delivery()

    def stamps(self, exchange: Exchange) -> Mapping[str, str]:
        return {}

    def scripted_error(self, reply: Delivery) -> dict[str, Any]:
        return {"message": f"refused: {KEY}"}

    def error_body(self, error: dict[str, Any], exchange: Exchange) -> dict[str, Any]:
        return {"error": error}


@pytest.fixture
def server() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


def openai_at(address: str, **entry: Any) -> LASSettings:
    """Settings with nothing but OpenAI at *address*."""
    nobody = {"ollama": {"base_url": CLOSED}, "vllm": {"base_url": f"{CLOSED}/v1"}}
    return load_settings(providers={**nobody, "openai": {"api_key": KEY, "base_url": address, **entry}})


def ids_of(listing: Listing) -> list[str]:
    return [model.id for model in listing.models]


def body_of(*names: str) -> bytes:
    return orjson.dumps({"data": [{"id": name} for name in names]})


# What is listed


def test_models_are_listed_live_with_what_is_known_of_them(server: Upstream) -> None:
    listing = list_models_sync(openai_at(server.url), "openai")
    seconds = listing.sources["openai"].seconds
    assert listing.sources == {"openai": Source("live", None, seconds)}
    assert 0 < seconds < 3
    new, known = listing.models
    assert new == ListedModel("openai/brand-new", "openai", "live")
    assert (known.id, known.mode, known.context_tokens, known.max_output_tokens) == (
        "openai/gpt-4o", "chat", 128_000, 16_384,
    )  # fmt: skip
    assert (known.input_usd_per_million, known.output_usd_per_million) == (2.5, 10.0)
    assert {"vision", "tools"} <= set(known.features)
    assert "reasoning" not in known.features


async def test_every_provider_that_can_be_called_is_asked(server: Upstream) -> None:
    settings = openai_at(server.url)
    listing = await list_models(settings)
    assert ids_of(listing) == [
        "local/all-minilm-l6-v2", "local/smollm2-135m-instruct", "openai/brand-new", "openai/gpt-4o",
    ]  # fmt: skip
    sources = {name: (source.source, source.error) for name, source in listing.sources.items()}
    assert sources == {
        "local": ("embedded", None),
        "openai": ("live", None),
        "ollama": (None, f"Ollama at {CLOSED} cannot be reached; OLLAMA_BASE_URL sets its address"),
        "vllm": (None, f"vLLM at {CLOSED}/v1 cannot be reached; VLLM_BASE_URL sets its address"),
    }


async def test_aliases_are_models_too(server: Upstream) -> None:
    own = {"model": "openai/brand-new", "options": {"input_cost_per_token": 2e-6}}
    models = {
        "fast": {"deployments": ["openai/gpt-4o", "groq/x"]},
        "here": {"deployments": ["local/smollm2-135m-instruct"]},
        "openai/brand-new": {"deployments": [own]},
        "openai/*": {"deployments": ["openai/*"]},
    }
    settings = openai_at(server.url)
    settings = load_settings(providers=settings.providers, models=models)
    listing = await list_models(settings)
    assert ids_of(listing) == [
        "here", "local/all-minilm-l6-v2", "local/smollm2-135m-instruct", "fast", "openai/brand-new", "openai/gpt-4o",
    ]  # fmt: skip
    found = {model.id: model for model in listing.models}
    assert found["fast"] == replace(found["openai/gpt-4o"], id="fast", source="alias")
    assert (found["here"].provider, found["here"].source) == ("local", "alias")
    assert (found["openai/brand-new"].source, found["openai/brand-new"].input_usd_per_million) == ("alias", 2)
    assert "fast" not in ids_of(await list_models(settings, "openai"))


async def test_embedded_models_are_described_as_they_are_set_up() -> None:
    listing = await list_models(load_settings(local_context=4096, local_max_tokens=512), "local")
    embeddings, chat = listing.models
    assert (embeddings.id, embeddings.mode, embeddings.features) == ("local/all-minilm-l6-v2", "embedding", ())
    assert (chat.mode, chat.context_tokens, chat.max_output_tokens, chat.features) == ("chat", 4096, 512, ("tools",))
    assert chat.input_usd_per_million == chat.output_usd_per_million == 0.0


async def test_providers_are_asked_side_by_side() -> None:
    with Upstream() as one, Upstream() as two, Upstream() as three:
        for upstream in (one, two, three):
            upstream.enqueue(Delivery(raw=body_of("m"), delay=0.8))
        settings = openai_at(one.url).model_copy()
        entries = {name: {"api_key": KEY, "base_url": up.url} for name, up in (("groq", two), ("deepseek", three))}
        settings = load_settings(providers={**settings.providers, **entries})
        async with asyncio.timeout(2):
            listing = await list_models(settings)
    assert {"openai/m", "groq/m", "deepseek/m"} <= set(ids_of(listing))


@pytest.mark.parametrize(
    ("fake", "provider", "key", "model"),
    [
        (fake_openai.FakeOpenAI, "openai", KEY, "openai/gpt-4o"),
        (fake_anthropic.FakeAnthropic, "anthropic", KEY, None),
        (fake_gemini.FakeGemini, "gemini", fake_gemini.KEY, "gemini/gemini-2.5-flash"),
        (fake_ollama.FakeOllama, "ollama", KEY, "ollama/qwen3:latest"),
    ],
)
async def test_the_doubles_of_the_providers_are_understood(
    fake: Any, provider: str, key: str, model: str | None
) -> None:
    with fake() as upstream:
        settings = load_settings(providers={provider: {"api_key": key, "base_url": upstream.url}})
        listing = await list_models(settings, provider)
    assert (listing.sources[provider].source, listing.sources[provider].error) == ("live", None)
    assert model is None or model in ids_of(listing)
    assert all(name.startswith(f"{provider}/") for name in ids_of(listing))
    assert len(listing.models) >= 2


BEARER = {"authorization": f"Bearer {KEY}"}


@pytest.mark.parametrize(
    ("provider", "given", "path", "headers"),
    [
        ("openai", "/v1", "/v1/models", BEARER),
        ("openai", "/v1/", "/v1/models", BEARER),
        ("groq", "/openai/v1", "/openai/v1/models", BEARER),
        ("openrouter", "/api/v1/chat/completions", "/api/v1/models", BEARER),
        ("together_ai", "/v1", "/v1/models", BEARER),
        ("deepseek", "/beta", "/models", BEARER),
        ("deepseek", "", "/models", BEARER),
        ("huggingface", "", "/v1/models", BEARER),
        ("huggingface", "/v1", "/v1/models", BEARER),
        ("vllm", "/v1", "/v1/models", BEARER),
        ("ollama", "", "/api/tags", BEARER),
        ("ollama", "/api/chat", "/api/tags", BEARER),
        ("anthropic", "", "/v1/models", {"x-api-key": KEY, "anthropic-version": "2023-06-01"}),
        ("anthropic", "/v1/messages", "/v1/models", {"x-api-key": KEY, "anthropic-version": "2023-06-01"}),
        ("gemini", "", "/v1beta/models", {"x-goog-api-key": KEY}),
        ("gemini", "/v1beta", "/v1beta/models", {"x-goog-api-key": KEY}),
    ],
)
async def test_every_provider_is_asked_in_its_own_way(
    server: Upstream, provider: str, given: str, path: str, headers: dict[str, str]
) -> None:
    entry = {"api_key": KEY, "base_url": server.url + given, "headers": {"X-Tenant": "one"}}
    await list_models(load_settings(providers={provider: entry}), provider)
    assert (server.last.method, server.last.path) == ("GET", path)
    assert headers.items() <= server.last.headers.items()
    assert (server.last.headers["x-tenant"], server.last.headers["accept-encoding"]) == ("one", "identity")
    assert server.last.query == LIVE[provider].query
    assert KEY not in "".join(server.last.query.values())


@pytest.mark.slow
@pytest.mark.parametrize("provider", ["groq", "together_ai", "deepseek"])
def test_the_addresses_are_those_that_litellm_calls(provider: str) -> None:
    import litellm

    theirs = litellm.get_llm_provider(f"{provider}/model", api_key=KEY)[3]
    assert theirs is not None
    assert theirs.removesuffix("/beta") == LIVE[provider].base_url


def test_every_live_provider_has_an_address() -> None:
    for provider, live in LIVE.items():
        assert (live.base_url or PROVIDERS[provider].base_url or "").startswith("http")


async def test_a_server_without_a_key_is_sent_none(server: Upstream) -> None:
    await list_models(load_settings(providers={"vllm": {"base_url": server.url}}), "vllm")
    assert "authorization" not in server.last.headers


async def test_a_bare_list_is_understood(server: Upstream) -> None:
    server.enqueue(Delivery(raw=orjson.dumps([{"id": "Qwen/Qwen3-8B", "type": "chat"}, {"id": 7}, "odd", None])))
    settings = load_settings(providers={"together_ai": {"api_key": KEY, "base_url": server.url}})
    assert ids_of(await list_models(settings, "together_ai")) == ["together_ai/Qwen/Qwen3-8B"]


async def test_pages_follow_each_other(server: Upstream) -> None:
    server.enqueue(
        Delivery(raw=orjson.dumps({"data": [{"id": "a"}, {"id": "b"}], "has_more": True, "last_id": "b"})),
        Delivery(raw=orjson.dumps({"data": [{"id": "c"}], "has_more": False, "last_id": "c"})),
        Delivery(raw=orjson.dumps({"models": [{"name": "models/x"}], "nextPageToken": "to/2?&="})),
        Delivery(raw=orjson.dumps({"models": [{"name": "models/y"}]})),
    )
    entry = {"api_key": KEY, "base_url": server.url}
    settings = load_settings(providers={"anthropic": entry, "gemini": entry})
    assert ids_of(await list_models(settings, "anthropic")) == ["anthropic/a", "anthropic/b", "anthropic/c"]
    assert ids_of(await list_models(settings, "gemini")) == ["gemini/x", "gemini/y"]
    queries = [request.query for request in server.requests]
    assert queries[1] == {"limit": "1000", "after_id": "b"}
    assert queries[3] == {"pageSize": "1000", "pageToken": "to/2?&="}


async def test_names_that_no_call_can_carry_are_left_out(server: Upstream) -> None:
    unsafe = ["../../x", "a//b", "/etc", "a b", "x?y", "x#y", "é", "", "x" * 300, "http://evil", "a\nb", "../"]
    server.enqueue(Delivery(raw=body_of(*unsafe, "ft:gpt-4o:org::id", "org/model@1.0_x-y", "safe", "safe")))
    listing = await list_models(openai_at(server.url), "openai")
    assert ids_of(listing) == ["openai/ft:gpt-4o:org::id", "openai/org/model@1.0_x-y", "openai/safe"]


async def test_an_alias_changes_nothing(server: Upstream) -> None:
    settings = load_settings(
        providers={"openai": {"api_key": KEY, "base_url": server.url}},
        models={"openai/*": {"deployments": ["groq/*"]}, "openai/gpt-4o": {"deployments": ["ollama/x"]}},
    )
    assert ids_of(await list_models(settings, "openai")) == ["openai/brand-new", "openai/gpt-4o"]


# What goes wrong

MALFORMED = "OpenAI cannot be asked: its address, its key, a header or the proxy is malformed"
TABLE = [f"openai/{name}" for name in models_of("openai")]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Delivery(status=500), "answered with HTTP status 500"),
        (Delivery(status=401), "answered with HTTP status 401; check OPENAI_API_KEY"),
        (Delivery(status=400), "answered with HTTP status 400; check OPENAI_API_KEY"),
        (Delivery(status=204, raw=b""), "answered with HTTP status 204"),
        (Delivery(raw=b"<html>Sign in</html>", raw_type="text/html"), "answered something else than a list of models"),
        (Delivery(raw=b""), "answered something else than a list of models"),
        (Delivery(raw=b'{"data": {"id": "x"}}'), "answered something else than a list of models"),
        (Delivery(raw=b'"text"'), "answered something else than a list of models"),
        (Delivery(raw=b"[" * 100_000), "answered something else than a list of models"),
        (Delivery(raw=body_of("x") + b" " * 5_000_000), "answered more than 5 MB"),
        (
            Delivery(raw=gzip.compress(b" " * 50_000_000), headers={"content-encoding": "gzip"}),
            "answered something else than a list of models",
        ),
        (Delivery(raw=body_of("x"), cut_after=1), "broke off the connection"),
        (Delivery(hang=True), "did not answer within 0.5 s"),
        (Delivery(raw=body_of("x"), cut_after=1, hang=True), "did not answer within 0.5 s"),
        (Delivery(status=302, raw=b"", headers={"location": "http://localhost:1/"}), "redirects to another host"),
        (Delivery(status=302, raw=b"", headers={"location": "//evil.example/models"}), "redirects to another host"),
        (Delivery(status=302, raw=b"", headers={"location": "http://x:y/"}), "broke off the connection"),
        (Delivery(status=304, raw=b""), "answered with HTTP status 304"),
    ],
)
async def test_a_provider_that_fails_is_replaced_by_the_table(server: Upstream, reply: Delivery, reason: str) -> None:
    server.enqueue(reply)
    listing = await ModelsLister(time_limit=0.5).list_models(openai_at(server.url), "openai")
    source = listing.sources["openai"]
    assert source.error is not None
    assert source.error.startswith(f"OpenAI at {server.url} {reason}")
    assert (source.source, "\n" in source.error, KEY in source.error) == ("litellm", False, False)
    assert source.seconds < 2
    assert ids_of(listing) == TABLE
    assert {model.source for model in listing.models} == {"litellm"}
    assert len(server.requests) == 1


async def test_a_redirect_on_the_same_host_is_followed_but_not_for_ever(server: Upstream) -> None:
    moved = Delivery(status=308, raw=b"", headers={"location": "/elsewhere/models"})
    server.enqueue(moved, moved)
    assert "openai/gpt-4o" in ids_of(await list_models(openai_at(server.url), "openai"))
    assert [request.path for request in server.requests] == ["/models", "/elsewhere/models", "/elsewhere/models"]
    assert server.last.headers["authorization"] == f"Bearer {KEY}"
    server.enqueue(*[moved] * 9)
    listing = await list_models(openai_at(server.url), "openai")
    assert listing.sources["openai"].error == f"OpenAI at {server.url} redirects without an end"


async def test_pages_without_an_end_are_not_read(server: Upstream) -> None:
    server.enqueue(*[Delivery(raw=b'{"data": [], "has_more": true, "last_id": "x"}')] * 99)
    settings = load_settings(providers={"anthropic": {"api_key": KEY, "base_url": server.url}})
    listing = await list_models(settings, "anthropic")
    assert listing.sources["anthropic"].error == f"Anthropic at {server.url} answered more than 50 pages"
    assert listing.sources["anthropic"].source == "litellm"


async def test_the_size_of_all_pages_is_bounded(server: Upstream) -> None:
    page = orjson.dumps({"data": [], "has_more": True, "last_id": "x", "padding": "x" * 2_000_000})
    server.enqueue(*[Delivery(raw=page)] * 9)
    settings = load_settings(providers={"anthropic": {"api_key": KEY, "base_url": server.url}})
    listing = await list_models(settings, "anthropic")
    assert listing.sources["anthropic"].error == f"Anthropic at {server.url} answered more than 5 MB"


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (CLOSED, f"OpenAI at {CLOSED} cannot be reached; OPENAI_BASE_URL sets its address"),
        (f"http://me:{KEY}@127.0.0.1:9/v1/?key={KEY}", "OpenAI at http://127.0.0.1:9/v1 cannot be reached"),
        (f"localhost:8000/{KEY}", MALFORMED),
        (f"/{KEY}", MALFORMED),
        (f"http://{KEY}:{KEY}", MALFORMED),
        ("http://127.0.0.1:99999", MALFORMED),
        ("file:///etc/passwd", MALFORMED),
    ],
)
async def test_what_cannot_be_asked_is_said_without_secrets(
    address: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    listing = await list_models(load_settings(openai_api_key=KEY), "openai")
    error = listing.sources["openai"].error
    assert error is not None
    assert (error.startswith(reason), KEY in error) == (True, False)
    assert ids_of(listing) == TABLE


async def test_an_address_keeps_its_query(server: Upstream) -> None:
    await list_models(openai_at(f"{server.url}/v1/?tenant=one"), "openai")
    assert (server.last.path, server.last.query) == ("/v1/models", {"tenant": "one"})


async def test_a_key_that_cannot_be_sent_is_said_without_it(server: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in (f"{KEY}\r\ny: 1", f"{KEY}€"):
        monkeypatch.setenv("OPENAI_API_KEY", key)
        listing = await list_models(openai_at(server.url, api_key=None), "openai")
        assert listing.sources["openai"].error == MALFORMED
    assert server.requests == []


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("SSL_CERT_FILE", "/no/such/file", "The certificates to trust cannot be read: "),
        ("HTTP_PROXY", "gopher://127.0.0.1:9", MALFORMED),
        ("HTTP_PROXY", "http://127.0.0.1:9", "OpenAI at http://127.0.0.1:"),
        ("ALL_PROXY", "socks5://127.0.0.1:9", "OpenAI "),
    ],
)
async def test_a_wrong_environment_fails_no_list(
    server: Upstream, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(variable, value)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    listing = await list_models(openai_at(server.url))
    error = listing.sources["openai"].error
    assert error is not None
    assert error.startswith(reason)
    assert ids_of(listing)[2:] == TABLE
    assert server.requests == []


async def test_a_missing_key_is_named_and_nobody_is_asked(server: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    listing = await list_models(load_settings(), "openai")
    assert listing.sources == {
        "openai": Source("litellm", "No key for OpenAI: set OPENAI_API_KEY in the environment or in .env")
    }
    assert ids_of(listing) == TABLE
    assert server.requests == []


@pytest.mark.parametrize("provider", ["azure", "bedrock", "mistral"])
async def test_other_providers_have_the_table(provider: str) -> None:
    settings = load_settings(providers={provider: {"api_key": KEY}})
    listing = await list_models(settings, provider)
    assert listing.sources == {provider: Source("litellm")}
    assert len(listing.models) > 10
    assert not [model.id for model in listing.models if "*" in model.id]


async def test_a_keyless_provider_that_is_down_has_the_table_when_it_is_asked_for() -> None:
    listing = await list_models(openai_at(CLOSED), "ollama")
    assert listing.sources["ollama"].source == "litellm"
    assert ids_of(listing) == [f"ollama/{name}" for name in models_of("ollama")]


async def test_an_unknown_provider_is_refused() -> None:
    with pytest.raises(ModelNotFoundError, match="Unknown provider 'opnai'; did you mean 'openai'"):
        await list_models(load_settings(), "opnai")


# What is remembered


class Clock:
    """Time that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_answers_are_remembered_for_a_minute_and_failures_for_ten_seconds(server: Upstream) -> None:
    clock = Clock()
    lister, settings = ModelsLister(clock=clock), openai_at(server.url)
    server.enqueue(Delivery(status=500), Delivery(raw=body_of("one")), Delivery(raw=body_of("two")))
    for seconds, expected in ((0, None), (9.9, None), (0.2, "one"), (59.7, "one"), (0.4, "two"), (59, "two")):
        clock.now += seconds
        listing = await lister.list_models(settings, "openai")
        assert ids_of(listing) == (TABLE if expected is None else [f"openai/{expected}"])
        assert (listing.sources["openai"].error is None) == (expected is not None)
    assert len(server.requests) == 3


async def test_another_key_address_or_header_is_another_question(server: Upstream) -> None:
    lister = ModelsLister()
    for _ in range(2):
        await lister.list_models(openai_at(server.url), "openai")
        await lister.list_models(openai_at(server.url, api_key="sk-other"), "openai")
        await lister.list_models(openai_at(f"{server.url}/other"), "openai")
        await lister.list_models(openai_at(server.url, headers={"openai-organization": "one"}), "openai")
    assert len(server.requests) == 4


async def test_who_asks_meanwhile_waits_for_the_same_answer(server: Upstream) -> None:
    server.enqueue(Delivery(raw=body_of("one"), delay=0.3))
    lister, settings = ModelsLister(), openai_at(server.url)
    listings = await asyncio.gather(*[lister.list_models(settings, "openai") for _ in range(50)])
    assert all(ids_of(listing) == ["openai/one"] for listing in listings)
    assert len(server.requests) == 1


def test_threads_and_their_loops_wait_for_the_same_answer(server: Upstream) -> None:
    server.enqueue(Delivery(raw=body_of("one"), delay=0.5))
    lister, settings = ModelsLister(), openai_at(server.url)
    found: list[list[str]] = []
    ready = threading.Barrier(8)

    async def ask() -> list[str]:
        ready.wait(10)
        return ids_of(await lister.list_models(settings, "openai"))

    threads = [threading.Thread(target=lambda: found.append(asyncio.run(ask()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert found == [["openai/one"]] * 8
    assert len(server.requests) == 1


async def test_who_leaves_does_not_take_the_answer_along(server: Upstream) -> None:
    server.enqueue(Delivery(raw=body_of("one"), delay=0.4))
    lister, settings = ModelsLister(), openai_at(server.url)
    first = asyncio.create_task(lister.list_models(settings, "openai"))
    await asyncio.sleep(0.1)
    others = [asyncio.create_task(lister.list_models(settings, "openai")) for _ in range(3)]
    await asyncio.sleep(0.1)
    for leaving in (first, others.pop()):
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
    assert [ids_of(await other) for other in others] == [["openai/one"]] * 2
    assert len(server.requests) == 1
    assert server.disconnects == 0


def test_when_the_loop_of_the_one_who_asks_ends_another_asks_again(server: Upstream) -> None:
    server.enqueue(Delivery(hang=True), Delivery(raw=body_of("one")))
    lister, settings = ModelsLister(), openai_at(server.url)
    begun, waiting = threading.Event(), threading.Event()

    async def first() -> None:
        asking = asyncio.create_task(lister.list_models(settings, "openai"))
        while not server.requests:
            await asyncio.sleep(0.01)
        begun.set()
        await asyncio.to_thread(waiting.wait, 10)
        await asyncio.sleep(0.2)
        assert not asking.done()

    async def second() -> list[str]:
        asking = asyncio.create_task(lister.list_models(settings, "openai"))
        await asyncio.sleep(0.05)
        waiting.set()
        async with asyncio.timeout(2):
            return ids_of(await asking)

    thread = threading.Thread(target=lambda: asyncio.run(first()))
    thread.start()
    assert begun.wait(10)
    try:
        assert asyncio.run(second()) == ["openai/one"]
    finally:
        thread.join(20)
    assert len(server.requests) == 2


FORKING = """
import asyncio, os, signal, sys, threading, time
from las_langchain.listing import ModelsLister
from las_langchain.settings import load_settings

lister, settings = ModelsLister(), load_settings()

def ask():
    return [model.id for model in asyncio.run(lister.list_models(settings, "openai")).models]

# The server answers the parent's request late, and while it is under way the parent forks.
asking = threading.Thread(target=ask)
asking.start()
time.sleep(0.7)
child = os.fork()
if child == 0:
    signal.alarm(20)
    began = time.monotonic()
    os._exit(0 if ask() == ["openai/two"] and time.monotonic() - began < 1 else 1)
status = os.waitpid(child, 0)[1]
asking.join()
print(status, ask())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_asks_for_itself(server: Upstream) -> None:
    server.enqueue(Delivery(raw=body_of("one"), delay=2), Delivery(raw=body_of("two")))
    variables = {**os.environ, "OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": server.url}
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 ['openai/one']\n", "")


# Sharing, apart from HTTP


async def test_a_failure_reaches_all_who_wait_and_is_not_kept() -> None:
    shared: Shared[str] = Shared(lambda _: 60, 5, Clock())
    asked = 0

    async def fails() -> str:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.05)
        raise OSError("no answer")

    found = await asyncio.gather(*[shared.get("key", fails) for _ in range(5)], return_exceptions=True)
    assert [str(failure) for failure in found] == ["no answer"] * 5
    assert asked == 1
    with pytest.raises(OSError, match="no answer"):
        await shared.get("key", fails)
    assert asked == 2


def test_a_loop_that_stands_still_is_not_waited_for_long() -> None:
    shared: Shared[str] = Shared(lambda _: 60, 0.3, Clock())
    begun, done = threading.Event(), threading.Event()

    async def answer() -> str:
        return "answer"

    async def stands_still() -> None:
        asking = asyncio.create_task(shared.get("key", never))
        await asyncio.sleep(0.05)
        begun.set()
        done.wait(10)
        asking.cancel()

    async def never() -> str:
        await asyncio.sleep(60)
        return "never"

    thread = threading.Thread(target=lambda: asyncio.run(stands_still()))
    thread.start()
    assert begun.wait(10)
    try:
        assert asyncio.run(shared.get("key", answer)) == "answer"
    finally:
        done.set()
        thread.join(10)
    assert asyncio.run(shared.get("key", never)) == "answer"
