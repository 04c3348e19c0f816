"""Providers by name, over a real socket."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from las_langchain.chat_models import ChatLAS
from las_langchain.errors import BadRequestError, ConfigurationError, LASError, ModelNotFoundError
from las_langchain.provider_factory import LiteLLMProvider, ProviderFactory
from las_langchain.provider_rows import PROVIDERS
from las_langchain.service import LiteLLMService, get_litellm_service
from las_langchain.settings import EMBEDDED_CHAT, load_settings
from tests.fake_openai import FakeOpenAI, Reply
from tests.las_langchain.test_tools import weather

GPT = "openai/gpt-4o"
HELLO = [{"role": "user", "content": "hello there"}]


@pytest.fixture(autouse=True)
def _registry() -> Iterator[None]:
    """The registry as it was."""
    before = dict(ProviderFactory._factories)
    yield
    ProviderFactory._factories.clear()
    ProviderFactory._factories.update(before)


def test_litellm_makes_any_model(upstream: FakeOpenAI) -> None:
    provider = ProviderFactory.create(provider_name="litellm", model=GPT, temperature=0.25)
    assert isinstance(provider, LiteLLMProvider)
    assert repr(provider) == "LiteLLMProvider('openai/gpt-4o')"
    assert provider.chat_completion(HELLO).choices[0].message.content == "Echo: hello there"
    assert upstream.last.body["temperature"] == 0.25
    provider.chat_completion(HELLO, temperature=0.5)
    assert upstream.last.body["temperature"] == 0.5


def test_it_streams(upstream: FakeOpenAI) -> None:
    provider = ProviderFactory.create("litellm", GPT)
    for stream in (
        provider.chat_completion(HELLO, stream=True),
        provider.stream(HELLO),
        provider.stream("hello there"),
    ):
        assert "".join(chunk.choices[0].delta.content for chunk in stream) == "Echo: hello there"


async def test_it_is_async(upstream: FakeOpenAI) -> None:
    provider = ProviderFactory.create("openai", "gpt-4o", max_tokens=1)
    assert (await provider.achat_completion(HELLO)).choices[0].message.content == "Echo:"
    for stream in (await provider.achat_completion(HELLO, stream=True), await provider.astream(HELLO)):
        assert "".join([chunk.choices[0].delta.content async for chunk in stream]) == "Echo:"


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_every_provider_is_known_by_its_name(name: str) -> None:
    assert ProviderFactory.create(name, model="some-model").model == f"{name}/some-model"
    assert name in ProviderFactory.names()


def test_so_are_litellms_others() -> None:
    assert ProviderFactory.create("mistral", model="mistral-small").model == "mistral/mistral-small"
    assert ProviderFactory.create("openai", model="openai/gpt-4o").model == GPT


def test_without_a_model_it_is_the_settings_one() -> None:
    assert ProviderFactory.create("litellm").model == EMBEDDED_CHAT
    assert ProviderFactory.create("local").model == EMBEDDED_CHAT


def test_it_may_have_a_service_of_its_own(upstream: FakeOpenAI) -> None:
    own = LiteLLMService(load_settings(model=GPT))
    provider = ProviderFactory.create("litellm", service=own)
    assert (provider.model, provider.service) == (GPT, own)
    assert ProviderFactory.create("litellm").service is get_litellm_service()


def test_langchains_model_has_its_options(upstream: FakeOpenAI) -> None:
    options: Any = {"temperature": 0.25, "max_completion_tokens": 2, "store": True, "timeout": 9, "seed": None}
    provider = ProviderFactory.create("litellm", GPT, tools=[weather], metadata={"a": "b"}, **options)
    llm = provider.get_langchain_llm(top_p=0.5)
    assert isinstance(llm, ChatLAS)
    assert (llm.model, llm.timeout, llm.service) == (GPT, 9, provider.service)
    assert llm.invoke("hello there").content == "Echo: hello"
    body = upstream.last.body
    assert (body["temperature"], body["top_p"], body["max_tokens"], body["store"]) == (0.25, 0.5, 2, True)
    assert (body["tools"][0]["function"]["name"], body["metadata"]) == ("weather", {"a": "b"})
    changed = provider.get_langchain_llm(temperature=0.75, model_kwargs={"store": False})
    assert (changed.temperature, changed.model_kwargs["store"]) == (0.75, False)


def test_langchains_embeddings_are_of_an_embedding_model(upstream: FakeOpenAI) -> None:
    provider = ProviderFactory.create("litellm", GPT)
    assert len(provider.get_langchain_embeddings().embed_query("hello")) == 384
    embeddings = provider.get_langchain_embeddings("openai/text-embedding-3-small", dimensions=4)
    assert len(embeddings.embed_query("hello")) == 4


def test_others_may_be_registered() -> None:
    ProviderFactory.register("mine", lambda model, **options: (model, options))
    assert ProviderFactory.create("mine", model="m", key=1) == ("m", {"key": 1})
    assert ProviderFactory.create("mine") == (None, {})
    assert "mine" in ProviderFactory.names()


def test_a_name_is_taken_once_unless_it_is_to_be_replaced() -> None:
    def first(model: str | None) -> str:
        return "first"

    ProviderFactory.register("mine", first)
    ProviderFactory.register("mine", first)
    with pytest.raises(ConfigurationError, match="'mine' is taken: register it with replace=True"):
        ProviderFactory.register("mine", lambda model: "second")
    assert ProviderFactory.create("mine") == "first"
    ProviderFactory.register("mine", lambda model: "second", replace=True)
    assert ProviderFactory.create("mine") == "second"


@pytest.mark.parametrize("name", ["litellm", "openai", "mistral"])
def test_built_in_names_are_taken(name: str) -> None:
    with pytest.raises(ConfigurationError, match="taken"):
        ProviderFactory.register(name, lambda model: "mine")
    ProviderFactory.register(name, lambda model: "mine", replace=True)
    assert ProviderFactory.create(name) == "mine"


def test_of_several_threads_one_takes_a_name() -> None:
    together, taken = threading.Barrier(8), []

    def register(number: int) -> None:
        together.wait(10)
        try:
            ProviderFactory.register("mine", lambda model: number)
            taken.append(number)
        except ConfigurationError:
            return

    threads = [threading.Thread(target=register, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert taken == [ProviderFactory.create("mine")]


@pytest.mark.parametrize(
    ("arguments", "kind", "reason"),
    [
        ({"provider_name": "opnai", "model": "gpt-4o"}, ModelNotFoundError, "did you mean 'openai'?"),
        ({"provider_name": "nobody"}, ModelNotFoundError, "known are anthropic, azure, bedrock"),
        ({"provider_name": ""}, ModelNotFoundError, "''"),
        ({"provider_name": None}, ModelNotFoundError, "None"),
        ({"provider_name": ["openai"]}, ModelNotFoundError, "openai"),
        ({"provider_name": "openai"}, BadRequestError, "model: name one of openai"),
        ({"provider_name": "litellm", "model": 3}, BadRequestError, "model"),
        ({"provider_name": "litellm", "temprature": 1}, BadRequestError, "did you mean 'temperature'?"),
        ({"provider_name": "litellm", "timeout": -1}, BadRequestError, "timeout"),
    ],
)
def test_what_cannot_be_made_is_named(arguments: Any, kind: type[LASError], reason: str) -> None:
    with pytest.raises(kind) as caught:
        ProviderFactory.create(**arguments)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "factory"), [("", dict), (None, dict), (3, dict), ("mine", None), ("mine", "dict")])
def test_what_cannot_be_registered_is_named(name: Any, factory: Any) -> None:
    with pytest.raises(ConfigurationError, match="expected a"):
        ProviderFactory.register(name, factory)
    assert "mine" not in ProviderFactory.names()


def test_what_the_model_does_not_take_is_told_by_the_call(upstream: FakeOpenAI) -> None:
    provider = ProviderFactory.create("litellm", GPT)
    upstream.enqueue(Reply(status=400))
    with pytest.raises(BadRequestError):
        provider.chat_completion(HELLO)
    for wrong in ({"messages": []}, {"messages": HELLO, "temprature": 1}):
        with pytest.raises(BadRequestError):
            provider.chat_completion(**wrong)
    with pytest.raises(ValidationError, match="temprature"):
        provider.get_langchain_llm(temprature=1)
    with pytest.raises(ValidationError, match="dimension"):
        provider.get_langchain_embeddings(dimension=1)
    assert len(upstream.requests) == 1
