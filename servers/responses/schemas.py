"""What clients may send to ``/v1/responses``: typed and capped fields, and no others."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from servers.extra_schemas import Number
from servers.schemas import CHECKED, DEFAULT_MODEL, MODEL, Count, Metadata, ModelName

Json = dict[str, Any]
ID = r"^[A-Za-z0-9_.:-]{1,256}$"
"""What the names of responses and items look like, which are looked up in the database."""
Id = Annotated[StrictStr, Field(pattern=ID)]
Items = Annotated[list[Json], Field(max_length=10_000, fail_fast=True)]


class ContextFields(BaseModel):
    """The fields that say what a model reads."""

    model_config = CHECKED

    input: StrictStr | Items | None = Field(None, description="A text that the user says, or items: messages and calls")
    instructions: StrictStr | None = Field(
        None, description="What the system says first; those of the previous response are not carried over"
    )
    previous_response_id: Id | None = Field(None, description="Goes on after this response, which must be stored")
    tools: Annotated[list[Json], Field(max_length=256, fail_fast=True)] | None = Field(
        None, description="Functions and custom tools that the model may call"
    )
    tool_choice: StrictStr | Json | None = Field(
        None, description="auto, none, required, one of the tools, or allowed_tools"
    )
    parallel_tool_calls: StrictBool | None = Field(None, description="Whether several tools may be called at once")
    text: Json | None = Field(None, description="format: text, json_object or json_schema; verbosity")
    reasoning: Json | None = Field(
        None, description="effort: how long to reason, such as low; summary: thoughts come as a summary"
    )
    truncation: Literal["auto", "disabled"] | None = Field(
        None, description="auto: what is too long for the model loses its oldest items; disabled: it is refused"
    )
    conversation: StrictStr | Json | None = Field(None, description="Not available: use previous_response_id")


class ResponseRequest(ContextFields):
    """A request to ``/v1/responses``, as OpenAI documents it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"model": "local/smollm2-135m-instruct", "input": "What is the capital of France?"},
                {
                    "model": "chains/agent",
                    "instructions": "Answer in one sentence.",
                    "input": [{"role": "user", "content": "What is 17 * 23?"}],
                    "stream": True,
                },
            ]
        }
    )

    model: ModelName = Field(description=MODEL)
    stream: StrictBool | None = Field(None, description="Whether the answer comes as server-sent events")
    stream_options: Json | None = Field(None, description="include_obfuscation: accepted; events are not padded")
    store: StrictBool | None = Field(
        None, description="Whether the response is kept, for 30 days, for others to build on; default: it is"
    )
    include: Annotated[list[StrictStr], Field(max_length=16, fail_fast=True)] | None = Field(
        None, description="What else to tell, such as message.output_text.logprobs"
    )
    max_output_tokens: Count | None = Field(None, description="Longest answer with its reasoning, in tokens")
    max_tool_calls: Count | None = Field(None, description="Most calls of OpenAI's own tools, of which there are none")
    temperature: Annotated[Number, Field(ge=0, le=2)] | None = Field(None, description="Randomness; 0 is none")
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        None, description="Only the likeliest tokens of this share of probability"
    )
    top_logprobs: Annotated[StrictInt, Field(ge=0, le=20)] | None = Field(
        None, description="How many likely tokens to tell at each place"
    )
    metadata: Metadata | None = Field(
        None, description="Labels that are kept with the response; thread_id turns a chain's memory on"
    )
    user: StrictStr | None = Field(None, description="Your name for the end user")
    safety_identifier: StrictStr | None = Field(None, description="The end user, for the provider's abuse checks")
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | None = Field(
        None, description="The provider's service level"
    )
    prompt_cache_key: StrictStr | None = Field(None, description="Requests of one key share the provider's cache")
    prompt_cache_retention: Literal["in_memory", "24h"] | None = Field(
        None, description="Accepted; how long a cache lives is the provider's default"
    )
    prompt_cache_options: Json | None = Field(None, description="Accepted, as prompt_cache_retention")
    client_metadata: Json | None = Field(None, description="What a client says of itself; it goes nowhere")
    background: StrictBool | None = Field(None, description="Not available: true is refused")
    prompt: Json | None = Field(None, description="Not available: use instructions and input")
    moderation: Json | None = Field(None, description="Not available")
    context_management: list[Json] | None = Field(None, description="Not available")


class InputTokensRequest(ContextFields):
    """A request to ``/v1/responses/input_tokens``, as OpenAI documents it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": "local/smollm2-135m-instruct", "input": "How long is this?"}]}
    )

    model: ModelName | None = Field(None, description=DEFAULT_MODEL)
    personality: StrictStr | None = Field(None, description="Accepted; models here have none to choose")
