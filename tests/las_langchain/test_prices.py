"""Prices, compared with litellm's own calculation."""

from __future__ import annotations

from typing import Any

import litellm
import pytest

from las_langchain.prices import cost_of

MODELS = [
    "openai/gpt-4o",
    "openai/gpt-audio",
    "openai/o3-mini",
    "openai/text-embedding-3-small",
    "anthropic/claude-sonnet-4-5",
    "gemini/gemini-2.5-pro",
    "groq/openai/gpt-oss-20b",
    "deepseek/deepseek-chat",
    "mistral/mistral-large-latest",
]
USAGES: list[dict[str, Any]] = [
    {"prompt_tokens": 1000, "completion_tokens": 500},
    {
        "prompt_tokens": 1000,
        "completion_tokens": 500,
        "prompt_tokens_details": {"cached_tokens": 300, "audio_tokens": 0, "cache_creation_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 100, "audio_tokens": 0},
    },
    {"prompt_tokens": 250_000, "completion_tokens": 500},
]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("usage", USAGES)
def test_the_price_is_litellms(model: str, usage: dict[str, Any]) -> None:
    whole = {**usage, "total_tokens": usage["prompt_tokens"] + usage["completion_tokens"]}
    response = litellm.ModelResponse(model=model, usage=litellm.Usage(**whole))
    assert cost_of(model, whole) == pytest.approx(litellm.completion_cost(completion_response=response, model=model))


def test_caches_and_audio_have_their_own_prices() -> None:
    details = {"cached_tokens": 100, "cache_creation_tokens": 200}
    usage = {"prompt_tokens": 1000, "completion_tokens": 0, "prompt_tokens_details": details}
    assert cost_of("anthropic/claude-sonnet-4-5", usage) == pytest.approx(700 * 3e-6 + 100 * 3e-7 + 200 * 3.75e-6)
    heard = {"prompt_tokens": 10, "completion_tokens": 0, "prompt_tokens_details": {"audio_tokens": 10}}
    plain = {"prompt_tokens": 10, "completion_tokens": 0}
    assert (cost_of("openai/gpt-audio", heard) or 0) > (cost_of("openai/gpt-audio", plain) or 0)


@pytest.mark.parametrize("model", ["gemini/gemini-2.5-flash-image", "gemini/gemini-3-pro-image-preview"])
def test_pictures_have_their_own_prices(model: str) -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 1300,
        "total_tokens": 1310,
        "completion_tokens_details": {"text_tokens": 10, "image_tokens": 1290},
    }
    response = litellm.ModelResponse(model=model, usage=litellm.Usage(**usage))
    expected = litellm.completion_cost(completion_response=response, model=model)
    assert expected > 0.03
    assert cost_of(model, usage) == pytest.approx(expected)


def test_an_hour_in_the_cache_costs_more() -> None:
    details = {"cache_creation_tokens": 200, "cache_creation_token_details": {"ephemeral_1h_input_tokens": 200}}
    usage = {"prompt_tokens": 200, "completion_tokens": 0, "prompt_tokens_details": details}
    assert cost_of("anthropic/claude-sonnet-4-5", usage) == pytest.approx(200 * 6e-6)


def test_the_service_tier_counts() -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 1000}
    flex, priority = cost_of("openai/gpt-5", usage, "flex"), cost_of("openai/gpt-5", usage, "priority")
    assert flex is not None
    assert priority is not None
    assert flex < (cost_of("openai/gpt-5", usage) or 0) < priority


def test_what_is_not_known_is_none() -> None:
    assert cost_of("openai/no-such-model", USAGES[0]) is None
    assert cost_of("openai/gpt-4o", None) is None
    assert cost_of("openai/gpt-4o", {}) is None
    assert cost_of("local/smollm2-135m-instruct", USAGES[0]) == 0
