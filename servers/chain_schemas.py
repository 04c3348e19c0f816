"""What the API documentation says of the bodies that chains take."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Json = dict[str, Any]

LISTED = {
    "name": "chat",
    "title": "Chat",
    "description": "A conversation that is remembered.",
    "remembers": True,
    "playground": "/chains/chat/playground/",
    "chat_playground": "/chains/chat/chat/playground/",
    "error": None,
}
_INPUT: Any = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}
_CONFIG: Any = {"configurable": {"thread_id": "paris"}}


class InvokeRequest(BaseModel):
    """One input."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"input": _INPUT, "config": _CONFIG}]})

    input: Any = Field(description="What the chain takes; its input_schema says what that is")
    config: Json = Field(default_factory=dict, description="configurable.thread_id names a conversation to go on with")
    kwargs: Json = Field(default_factory=dict, description="Must be empty")


class BatchRequest(BaseModel):
    """Several inputs."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"inputs": [_INPUT, _INPUT]}]})

    inputs: list[Any] = Field(description="What the chain takes, several times; at most 100")
    config: Json | list[Json] = Field(default_factory=dict, description="For all inputs, or one for each")
    kwargs: Json = Field(default_factory=dict, description="Must be empty")


class _FilteredRequest(InvokeRequest):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"input": _INPUT}]})

    include_names: list[str] | None = Field(None, description="Names of the runs to tell of")
    include_types: list[str] | None = Field(None, description="Types of the runs to tell of, such as chat_model")
    include_tags: list[str] | None = Field(None, description="Tags of the runs to tell of")
    exclude_names: list[str] | None = Field(None, description="Names of the runs not to tell of")
    exclude_types: list[str] | None = Field(None, description="Types of the runs not to tell of")
    exclude_tags: list[str] | None = Field(None, description="Tags of the runs not to tell of")


class LogRequest(_FilteredRequest):
    """One input, and which steps to tell of."""

    diff: Literal[True] | None = Field(None, description="Changes are all that is served")


class EventsRequest(_FilteredRequest):
    """One input, and which events to tell of."""

    version: Literal["v2"] = Field("v2", description="Version of the events")
