"""The list of models: providers', embedded ones, aliases and chains, for OpenAI's and for Anthropic's clients."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import openai
import pytest
from openai import OpenAI

from las_langchain.service import LiteLLMService
from las_langchain.settings import load_settings
from tests.conftest import Server

EMBEDDED = ["local/all-minilm-l6-v2", "local/smollm2-135m-instruct"]


@pytest.fixture
def client(chain_server: Server) -> OpenAI:
    return OpenAI(base_url=f"{chain_server.url}/v1", api_key="any", max_retries=0)


def test_models_and_chains_are_listed(client: OpenAI) -> None:
    models = {model.id: model for model in client.models.list()}
    assert {*EMBEDDED, "openai/gpt-4o", "chains/chat", "chains/joke"} <= models.keys()
    assert "chains/no_chain" not in models
    assert "chains/missing" not in models
    chat = models["chains/chat"]
    assert (chat.owned_by, chat.object) == ("chains", "model")
    assert chat.name == "Chat"  # type: ignore[attr-defined]
    assert chat.description  # type: ignore[attr-defined]
    assert models["openai/gpt-4o"].owned_by == "openai"
    assert len({model.created for model in models.values()}) == 1


@pytest.mark.parametrize(
    ("asked", "found"),
    [("chains/chat", "chains/chat"), (EMBEDDED[1], EMBEDDED[1]), ("gpt-4o", "openai/gpt-4o")],
)
@pytest.mark.parametrize("escaped", [False, True])
def test_each_is_described(chain_server: Server, asked: str, found: str, escaped: bool) -> None:
    path = asked.replace("/", "%2F") if escaped else asked
    answer = httpx.get(f"{chain_server.url}/v1/models/{path}", trust_env=False, timeout=60)
    assert (answer.status_code, answer.json()["id"]) == (200, found)


@pytest.mark.parametrize("name", ["chains/nothing", "openai/nothing", "nobody/x", "local/../../x", "x" * 1000])
def test_what_is_not_there(client: OpenAI, name: str) -> None:
    with pytest.raises(openai.NotFoundError, match="GET /v1/models lists") as error:
        client.models.retrieve(name)
    assert (error.value.code, error.value.param) == ("model_not_found", "model")


def test_clients_of_anthropics_get_their_form(chain_server: Server) -> None:
    headers = {"anthropic-version": "2023-06-01"}
    listed = httpx.get(f"{chain_server.url}/v1/models", headers=headers, trust_env=False, timeout=60).json()
    assert {"data", "has_more", "first_id", "last_id"} == listed.keys()
    assert {"type", "id", "display_name", "created_at"} <= listed["data"][0].keys()
    one = httpx.get(f"{chain_server.url}/v1/models/chains/chat", headers=headers, trust_env=False, timeout=60).json()
    assert (one["type"], one["id"], one["display_name"]) == ("model", "chains/chat", "Chat")


def test_aliases_are_listed_and_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    from chains.registry import ChainRegistry
    from servers.model_list import listed_model, listed_models

    Path("las.toml").write_text('[models.fast]\ndeployments = ["local/smollm2-135m-instruct"]\n')
    service = LiteLLMService(load_settings())
    registry = ChainRegistry(service, ())
    assert "fast" in [model["id"] for model in listed_models(service, registry)]
    begin = time.perf_counter()
    for _ in range(20):
        assert listed_model("fast", service, registry)["id"] == "fast"
    assert (time.perf_counter() - begin) / 20 < 0.05
