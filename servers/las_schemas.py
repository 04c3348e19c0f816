"""What clients may send to the LAS API: typed and capped fields, and no others."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from servers.extra_schemas import Number
from servers.schemas import (
    CHECKED,
    DEFAULT_MODEL,
    MODEL,
    PROVIDER,
    ChatFields,
    Count,
    EmbeddingFields,
    ModelName,
    ProviderName,
)

Json = dict[str, Any]
Text = Annotated[StrictStr, Field(min_length=1, max_length=1_000_000)]
TokenCount = Annotated[StrictInt, Field(ge=0, le=1_000_000_000_000)]


class _Request(BaseModel):
    model_config = CHECKED


class ChatRequest(ChatFields):
    """A request to ``chat/completions``: OpenAI's, with a default model, and the provider beside its name."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "ollama/llama3.2",
                    "messages": [{"role": "user", "content": "Hello!"}],
                    "stream": False,
                    "temperature": 0.7,
                    "max_tokens": 4096,
                },
                {"messages": [{"role": "user", "content": "Tell me a story"}], "stream": True},
            ]
        }
    )

    model: ModelName | None = Field(None, description=DEFAULT_MODEL)
    provider: ProviderName | None = Field(None, description=PROVIDER)


class VisionRequest(_Request):
    """A question about one or several images."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "prompt": "What's in this image?",
                    "image_url": "https://example.com/image.jpg",
                    "model": "openai/gpt-4o",
                }
            ]
        }
    )

    prompt: Text = Field(description="What to say about them")
    image_url: StrictStr | None = Field(None, description="An http(s) URL, or a data URI")
    images: Annotated[list[StrictStr], Field(max_length=100, fail_fast=True)] = Field([], description="Further ones")
    model: ModelName | None = Field(None, description=DEFAULT_MODEL)
    provider: ProviderName | None = Field(None, description=PROVIDER)
    detail: Literal["auto", "low", "high"] = Field("auto", description="How closely the model looks")
    temperature: Annotated[Number, Field(ge=0, le=2)] | None = Field(None, description="Randomness; 0 is none")
    max_tokens: Count | None = Field(None, description="Longest answer, in tokens")


class EmbeddingsRequest(EmbeddingFields):
    """A request to ``embeddings``: OpenAI's, with a default model, and the provider beside its name."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"input": "Hello world", "model": "text-embedding-3-small", "provider": "openai"}]
        }
    )

    model: ModelName | None = Field(None, description=DEFAULT_MODEL)
    provider: ProviderName | None = Field(None, description=PROVIDER)


class CostRequest(_Request):
    """What a call would cost."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": "openai/gpt-4o", "input_tokens": 1000, "output_tokens": 500}]}
    )

    model: ModelName = Field(description=MODEL)
    provider: ProviderName | None = Field(None, description=PROVIDER)
    input_tokens: TokenCount = Field(description="Tokens of the prompt")
    output_tokens: TokenCount = Field(0, description="Tokens of the answer")
    cached_tokens: TokenCount = Field(0, description="Those of the prompt that the provider has in its cache")


class ProbeRequest(_Request):
    """Which model to test a provider with."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"model": "openai/gpt-4o-mini"}]})

    model: ModelName | None = Field(None, description="Default: the provider's example")


class ConfigChanges(BaseModel):
    """Settings to change, by the names that they have under ``settings`` in the answer of ``GET config``.

    ``default_model``, ``<provider>_api_key`` and ``<provider>_base_url`` are understood too. null unsets what may be
    unset, and takes away an entry of a table. The asterisks of a secret leave it as it is.
    """

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {"default_model": "openai/gpt-4o", "temperature": 0.5},
                {"providers": {"openai": {"api_key": "sk-…", "base_url": "https://api.openai.com/v1"}}},
                {"models": {"fast": {"deployments": ["groq/llama-3.3-70b-versatile", "openai/gpt-4o-mini"]}}},
            ]
        },
    )
