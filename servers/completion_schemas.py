"""What clients may send to OpenAI's older endpoint: a prompt to go on with."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, StrictBool, StrictInt, StrictStr

from servers.extra_schemas import Number, SamplingFields
from servers.schemas import MODEL, OPEN, Bias, ModelName, Streamed, Tokens

_Prompts = Annotated[list[StrictStr] | Tokens | list[Tokens], Field(min_length=1, max_length=100_000)]


class _OpenAICompletion(Streamed):
    """The fields of OpenAI's request."""

    model_config = OPEN

    model: ModelName = Field(description=MODEL)
    prompt: StrictStr | _Prompts = Field(description="A text, texts, a text's tokens, or those of several texts")
    suffix: StrictStr | None = Field(None, description="What follows the completion")
    max_tokens: Annotated[StrictInt, Field(ge=0, le=2**31 - 1)] | None = Field(
        None, description="Longest completion, in tokens"
    )
    temperature: Annotated[Number, Field(ge=0, le=2)] | None = Field(None, description="Randomness; 0 is none")
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        None, description="Only the likeliest tokens of this share of probability"
    )
    n: Annotated[StrictInt, Field(ge=1, le=128)] | None = Field(None, description="How many completions a prompt gets")
    best_of: Annotated[StrictInt, Field(ge=1, le=20)] | None = Field(
        None, description="Of how many completions the n best are told"
    )
    echo: StrictBool | None = Field(None, description="Whether the prompt comes before the completion")
    logprobs: Annotated[StrictInt, Field(ge=0, le=20)] | None = Field(
        None, description="How many likely tokens to tell at each place"
    )
    stop: StrictStr | Annotated[list[StrictStr], Field(max_length=16, fail_fast=True)] | None = Field(
        None, description="Texts before which the completion ends"
    )
    presence_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = Field(
        None, description="How much to avoid tokens that are there already"
    )
    frequency_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = Field(
        None, description="How much to avoid tokens, by how often they are there already"
    )
    logit_bias: Bias | None = Field(None, description="Token ids, each with what is added to its logit")
    seed: Annotated[StrictInt, Field(ge=-(2**63), le=2**63 - 1)] | None = Field(
        None, description="The same seed gives, where the provider can, the same completion"
    )
    user: StrictStr | None = Field(None, description="Your name for the end user")


class CompletionRequest(SamplingFields, _OpenAICompletion):
    """A request to ``/v1/completions``, as OpenAI documents it, and fields that other servers are known for."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"model": "local/smollm2-135m-instruct", "prompt": "The capital of France is", "max_tokens": 4}
            ]
        },
    )
