"""How a model's name finds its provider, address and key."""

from __future__ import annotations

import sys

import pytest
from hypothesis import HealthCheck, given, settings, strategies
from pydantic import SecretStr

from las_langchain import catalog
from las_langchain.errors import AuthenticationError, ModelNotFoundError
from las_langchain.provider_list import list_providers
from las_langchain.providers import (
    PROVIDERS,
    available_models,
    known_models,
    missing_variable,
    resolve,
    split_name,
)
from las_langchain.settings import load_settings


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("openai/gpt-4o", ("openai", "gpt-4o")),
        ("gpt-4o", ("openai", "gpt-4o")),
        ("openrouter/anthropic/claude-3.5-sonnet", ("openrouter", "anthropic/claude-3.5-sonnet")),
        ("huggingface/meta-llama/Llama-3.2-3B-Instruct", ("huggingface", "meta-llama/Llama-3.2-3B-Instruct")),
        ("mistral/mistral-large-latest", ("mistral", "mistral-large-latest")),
        ("local/smollm2-135m-instruct", ("local", "smollm2-135m-instruct")),
        ("smollm2-135m-instruct", ("local", "smollm2-135m-instruct")),
    ],
)
def test_names_find_their_provider(name: str, expected: tuple[str, str]) -> None:
    assert split_name(name, load_settings()) == expected


def test_a_bare_name_belongs_to_the_default_provider() -> None:
    assert split_name("llama3.2", load_settings(model="ollama/llama3.2")) == ("ollama", "llama3.2")
    assert split_name("llama3.2", load_settings(default_provider="vllm")) == ("vllm", "llama3.2")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/x",
        "openai/",
        "azure/../../x",
        "gemini/x?y",
        "oobabooga/http://evil",
        "openai/a b",
        "openai/é",
        "x" * 300,
        "a/x#y",
    ],
)
def test_names_that_could_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(ModelNotFoundError, match="Not a model name") as error:
        resolve(name, load_settings())
    assert error.value.status_code == 404
    assert len(str(error.value)) < 200


@given(strategies.text(max_size=400))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_resolved_or_refused(name: str) -> None:
    try:
        model = resolve(name, load_settings()).model
    except (AuthenticationError, ModelNotFoundError):
        return
    assert name.endswith(model)


def test_an_unknown_provider_names_the_nearest() -> None:
    with pytest.raises(ModelNotFoundError, match="Unknown provider 'opnai' in model 'opnai/x'; did you mean 'openai'"):
        resolve("opnai/x", load_settings())
    with pytest.raises(ModelNotFoundError, match="`las providers` lists them"):
        resolve("zzzzz/x", load_settings())


def test_a_missing_key_names_its_variable() -> None:
    with pytest.raises(AuthenticationError, match="No key for Anthropic: set ANTHROPIC_API_KEY"):
        resolve("anthropic/claude-3-5-sonnet-20241022", load_settings())


def test_keys_and_addresses_come_from_arguments_settings_and_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "from-variable")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://variable/v1")
    configured = load_settings(providers={"openai": {"api_key": "from-toml", "headers": {"x-team": "a"}}})
    given_key = resolve("openai/gpt-4o", configured, api_key=SecretStr("from-argument"), api_base="http://argument/v1")
    assert (given_key.api_key, given_key.api_base) == (SecretStr("from-argument"), "http://argument/v1")
    from_file = resolve("openai/gpt-4o", configured)
    assert (from_file.api_key, from_file.headers) == (SecretStr("from-toml"), {"x-team": "a"})
    from_variable = resolve("openai/gpt-4o", load_settings())
    assert (from_variable.api_key, from_variable.api_base) == (SecretStr("from-variable"), "http://variable/v1")


def test_providers_without_a_row_use_their_own_key_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISTRAL_API_KEY", "m-key")
    target = resolve("mistral/mistral-large-latest", load_settings())
    assert (target.litellm_model, target.api_key) == ("mistral/mistral-large-latest", SecretStr("m-key"))


def test_keyless_providers_have_an_address() -> None:
    assert resolve("ollama/llama3.2", load_settings()).api_base == "http://localhost:11434"
    target = resolve("vllm/qwen", load_settings())
    assert (target.id, target.litellm_model, target.api_key) == ("vllm/qwen", "hosted_vllm/qwen", None)


def test_targets_do_not_show_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    assert "sk-very-secret" not in repr(resolve("gpt-4o", load_settings()))


def test_every_row_is_complete() -> None:
    for name, row in PROVIDERS.items():
        assert row.example.startswith(f"{name}/")
        assert row.features
        assert row.docs.startswith("https://")
        assert (missing_variable(row, load_settings()) is None) == row.keyless


def test_models_are_listed_for_providers_with_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    assert available_models(load_settings()) == ["local/all-minilm-l6-v2", "local/smollm2-135m-instruct"]
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    listed = available_models(load_settings(model="ollama/llama3.2"))
    assert listed[:2] == ["local/all-minilm-l6-v2", "local/smollm2-135m-instruct"]
    assert {"openai/gpt-4o", "ollama/llama3.2"} <= set(listed)
    assert not any(name.startswith("groq/") for name in listed)


def test_all_listed_models_of_one_provider() -> None:
    listed = known_models("anthropic", load_settings())
    assert listed == sorted(listed)
    assert any(name.startswith("anthropic/claude-") for name in listed)
    assert not any("azure_ai" in name for name in known_models("azure", load_settings()))
    with pytest.raises(ModelNotFoundError, match="did you mean 'anthropic'"):
        known_models("antropic", load_settings())


def test_the_catalog_knows_prices_without_importing_litellm() -> None:
    info = catalog.model_info("openai", "gpt-4o")
    assert info["input_cost_per_token"] > 0
    assert catalog.model_info("openai", "nobody-knows") == {}
    assert catalog.model_info("groq", "gpt-4o") == {}
    assert all(catalog.model_info("groq", name)["litellm_provider"] == "groq" for name in catalog.models_of("groq"))
    assert "sample_spec" not in catalog.model_table()
    assert "ai21" in catalog.litellm_providers()
    assert "las_langchain.transports.litellm" in sys.modules or "litellm" not in sys.modules


def test_what_serves_no_models_is_not_listed() -> None:
    listed = {info.name for info in list_providers(load_settings())}
    assert {"nano-gpt", "parasail", "modelscope", "elevenlabs", "voyage"} <= listed
    assert listed.isdisjoint({"nanogpt", "tavily", "duckduckgo", "text", "pg_vector", "mongodb", "aws_textract"})
    with pytest.raises(ModelNotFoundError, match="Unknown provider 'tavily'"):
        resolve("tavily/search", load_settings())
