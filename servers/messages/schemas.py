"""What clients may send to Anthropic's endpoint: its documented fields, typed and capped."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, WithJsonSchema

from servers.messages.blocks import CacheControl, Message, Text
from servers.messages.shapes import Shape, TextOr
from servers.schemas import MODEL

Json = dict[str, Any]
_Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
_OBJECT: Json = {"type": "object"}
_OBJECTS: Json = {"type": "array", "items": _OBJECT}
_TEXT_OR_OBJECTS: Json = {"anyOf": [{"type": "string"}, _OBJECTS]}


class InputSchema(Shape):
    """The JSON schema of a tool's input."""

    model_config = ConfigDict(extra="allow")

    type: Literal["object"]


class CustomTool(Shape):
    """A tool of the client."""

    type: Literal["custom"] | None = None
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,128}$")]
    input_schema: InputSchema
    description: str | None = None
    cache_control: CacheControl | None = None
    strict: bool | None = None
    eager_input_streaming: bool | None = None
    defer_loading: bool | None = None
    allowed_callers: list[str] | None = None
    input_examples: list[Json] | None = None


class TypedTool(Shape):
    """A tool that Anthropic defines."""

    model_config = ConfigDict(extra="allow")

    type: Annotated[str, Field(max_length=100)]
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,128}$")]
    cache_control: CacheControl | None = None
    max_characters: int | None = None


class AutoChoice(Shape):
    """A tool or none, as the model sees fit, or one of them in any case."""

    type: Literal["auto", "any"]
    disable_parallel_tool_use: bool | None = None


class ToolChoice(Shape):
    """This tool."""

    type: Literal["tool"]
    name: str
    disable_parallel_tool_use: bool | None = None


class NoChoice(Shape):
    """No tool."""

    type: Literal["none"]


class ThinkingBudget(Shape):
    """Thinking of at most so many tokens."""

    type: Literal["enabled"]
    budget_tokens: Annotated[int, Field(ge=1024, le=2**31 - 1)]
    display: Literal["summarized", "omitted"] | None = None


class ThinkingAdaptive(Shape):
    """Thinking as the model sees fit."""

    type: Literal["adaptive"]
    display: Literal["summarized", "omitted"] | None = None


class ThinkingOff(Shape):
    """No thinking."""

    type: Literal["disabled"]


class OutputFormat(Shape):
    """The JSON schema of the answer."""

    type: Literal["json_schema"]
    schema_: Annotated[Json, Field(alias="schema")]


class OutputConfig(Shape):
    """The form of the answer, and the effort that goes into it."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: OutputFormat | None = None
    task_budget: Json | None = None


class Edit(Shape):
    """What is to be forgotten, and when."""

    model_config = ConfigDict(extra="allow")

    type: str


class ContextManagement(Shape):
    """What the model is to forget of a long conversation."""

    edits: Annotated[list[Edit], Field(max_length=100, fail_fast=True)] | None = None


class Metadata(Shape):
    """Who asks."""

    user_id: Annotated[str, Field(max_length=2048)] | None = None


def _is_typed(tool: Any) -> str:
    return "§typed" if isinstance(tool, dict) and tool.get("type") not in (None, "custom") else "§custom"


Tool = Annotated[Annotated[CustomTool, Tag("§custom")] | Annotated[TypedTool, Tag("§typed")], Discriminator(_is_typed)]
Choice = Annotated[AutoChoice | ToolChoice | NoChoice, Field(discriminator="type")]
ThinkingConfig = Annotated[ThinkingBudget | ThinkingAdaptive | ThinkingOff, Field(discriminator="type")]


class PromptFields(Shape):
    """The fields that make the prompt."""

    model: Annotated[str, Field(min_length=1, max_length=256)] = Field(description=MODEL)
    messages: Annotated[
        list[Message], Field(min_length=1, max_length=10_000, fail_fast=True), WithJsonSchema(_OBJECTS)
    ] = Field(description="The conversation: objects with role and content")
    system: Annotated[TextOr[Text], WithJsonSchema(_TEXT_OR_OBJECTS)] = Field(
        "", description="Instructions: a text, or text blocks"
    )
    tools: Annotated[list[Tool], Field(max_length=10_000, fail_fast=True), WithJsonSchema(_OBJECTS)] | None = Field(
        None, description="Tools that the model may call, each with name and input_schema"
    )
    tool_choice: Annotated[Choice, WithJsonSchema(_OBJECT)] | None = Field(
        None, description="auto, any, none, or one of the tools"
    )
    thinking: Annotated[ThinkingConfig, WithJsonSchema(_OBJECT)] | None = Field(
        None, description="Whether and how long the model is to think first, where it can"
    )
    output_config: Annotated[OutputConfig, WithJsonSchema(_OBJECT)] | None = Field(
        None, description="effort: low to max; format: the JSON schema of the answer"
    )
    output_format: Annotated[OutputFormat, WithJsonSchema(_OBJECT)] | None = Field(
        None, description="The older place of output_config.format"
    )
    cache_control: Annotated[CacheControl, WithJsonSchema(_OBJECT)] | None = Field(
        None, description="Caches the prompt up to its last block; for Anthropic's models"
    )
    context_management: Annotated[ContextManagement, WithJsonSchema(_OBJECT)] | None = Field(
        None, description="What Anthropic's models are to forget of a long conversation; others forget nothing"
    )
    mcp_servers: Annotated[list[Json], Field(max_length=0)] | None = Field(
        None, description="Not supported: give the tools of MCP servers to chains, or in tools"
    )
    speed: Literal["standard"] | None = Field(None, description="standard")


class CountTokensRequest(PromptFields):
    """A request to ``/v1/messages/count_tokens``, as Anthropic documents it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"model": "local/smollm2-135m-instruct", "messages": [{"role": "user", "content": "Hello, Claude"}]}
            ]
        }
    )


class MessagesRequest(PromptFields):
    """A request to ``/v1/messages``, as Anthropic documents it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "local/smollm2-135m-instruct",
                    "max_tokens": 256,
                    "messages": [{"role": "user", "content": "What is the capital of France?"}],
                }
            ]
        }
    )

    max_tokens: _Count = Field(description="Longest answer with its thoughts, in tokens")
    stream: bool | None = Field(None, description="Whether the answer comes as server-sent events")
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(None, description="Randomness; 0 is none")
    top_p: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="Only the likeliest tokens of this share of probability"
    )
    top_k: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = Field(
        None, description="Only so many of the likeliest tokens, where the provider can"
    )
    stop_sequences: Annotated[list[str], Field(max_length=8192, fail_fast=True)] | None = Field(
        None, description="Texts before which the answer ends"
    )
    metadata: Annotated[Metadata, WithJsonSchema(_OBJECT)] | None = Field(
        None, description="user_id: your name for the end user"
    )
    service_tier: Literal["auto", "standard_only"] | None = Field(None, description="auto, or standard_only")
    container: None = Field(None, description="Not supported")
    inference_geo: None = Field(None, description="Not supported: the provider's settings say where it computes")
    diagnostics: Json | None = Field(None, description="Accepted, and without effect")
