"""What clients may send: typed and capped fields, and no others.

Where a call goes and with which credentials is the server's alone, so there is no field for an address, a key or a
header here, and unknown fields are refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr

Number = StrictFloat | StrictInt
ModelName = Annotated[StrictStr, Field(min_length=1, max_length=256)]
Json = dict[str, Any]


class ChatFields(BaseModel):
    """The fields of OpenAI's chat request but ``model``."""

    model_config = ConfigDict(extra="forbid", str_max_length=20_000_000)

    messages: Annotated[list[Json], Field(min_length=1, max_length=10_000)]
    stream: StrictBool | None = None
    stream_options: Json | None = None
    temperature: Annotated[Number, Field(ge=0, le=2)] | None = None
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    n: Annotated[StrictInt, Field(ge=1, le=128)] | None = None
    stop: StrictStr | Annotated[list[StrictStr], Field(max_length=16)] | None = None
    max_tokens: Annotated[StrictInt, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[StrictInt, Field(ge=1)] | None = None
    presence_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = None
    logit_bias: dict[str, Number] | None = None
    logprobs: StrictBool | None = None
    top_logprobs: Annotated[StrictInt, Field(ge=0, le=20)] | None = None
    seed: StrictInt | None = None
    response_format: Json | None = None
    tools: Annotated[list[Json], Field(max_length=128)] | None = None
    tool_choice: StrictStr | Json | None = None
    parallel_tool_calls: StrictBool | None = None
    functions: Annotated[list[Json], Field(max_length=128)] | None = None
    function_call: StrictStr | Json | None = None
    reasoning_effort: StrictStr | None = None
    verbosity: StrictStr | None = None
    modalities: list[StrictStr] | None = None
    audio: Json | None = None
    prediction: Json | None = None
    web_search_options: Json | None = None
    service_tier: StrictStr | None = None
    store: StrictBool | None = None
    metadata: dict[str, StrictStr] | None = None
    user: StrictStr | None = None
    safety_identifier: StrictStr | None = None
    prompt_cache_key: StrictStr | None = None

    def body(self) -> Json:
        """The fields of OpenAI's request that the client sent, without ``model`` and ``stream``."""
        return self.model_dump(exclude_unset=True, exclude={"model", "provider", "stream"})


class ChatCompletionRequest(ChatFields):
    """A request to ``/v1/chat/completions``, as OpenAI documents it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "local/smollm2-135m-instruct",
                    "messages": [{"role": "user", "content": "What is the capital of France?"}],
                }
            ]
        }
    )

    model: ModelName


class EmbeddingFields(BaseModel):
    """The fields of OpenAI's embeddings request but ``model``."""

    model_config = ConfigDict(extra="forbid", str_max_length=20_000_000)

    input: StrictStr | Annotated[list[StrictStr | StrictInt | list[StrictInt]], Field(min_length=1, max_length=100_000)]
    dimensions: Annotated[StrictInt, Field(ge=1)] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: StrictStr | None = None

    def body(self) -> Json:
        """The fields of OpenAI's request that the client sent, without ``model``."""
        return self.model_dump(exclude_unset=True, exclude={"model", "provider"})


class EmbeddingRequest(EmbeddingFields):
    """A request to ``/v1/embeddings``, as OpenAI documents it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": "local/all-minilm-l6-v2", "input": ["a cat", "a dog"]}]}
    )

    model: ModelName
