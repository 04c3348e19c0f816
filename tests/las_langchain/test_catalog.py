"""What is read out of litellm's files, compared with what litellm itself says."""

from __future__ import annotations

import litellm
from litellm.llms.openai_like.json_loader import JSONProviderRegistry

from las_langchain import catalog


def test_the_providers_are_litellms_own() -> None:
    named = {provider.value for provider in litellm.provider_list}
    assert catalog.litellm_providers() == {*named, *JSONProviderRegistry.list_providers()}


def test_the_callbacks_are_litellms_own() -> None:
    assert set(litellm._known_custom_logger_compatible_callbacks) < catalog.litellm_callbacks()


def test_models_belong_to_a_provider_that_there_is() -> None:
    assert catalog.provider_of("tavily/search") is None
    families = {catalog.provider_of(name) for name in catalog.model_table()} - {None}
    assert families <= catalog.litellm_providers()
    assert {"vertex_ai", "fireworks_ai", "bedrock"} <= families
