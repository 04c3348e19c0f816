"""The shapes of Anthropic's Messages API: which fields a request may hold, and the refusal of any other.

Anthropic words its refusals as pydantic does, path first, so pydantic writes them here too.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from tests.fake_server import JSON

_ANY_TOOL_RESULT = Literal[
    "web_search_tool_result",
    "web_fetch_tool_result",
    "code_execution_tool_result",
    "bash_code_execution_tool_result",
    "text_editor_code_execution_tool_result",
    "tool_search_tool_result",
]
_SERVER_TOOL = re.compile(
    r"(web_search|web_fetch|code_execution|bash|text_editor|memory|computer|tool_search_tool_(bm25|regex)|advisor)_\d{8}"
    r"|mcp_toolset"
)
_IMAGE_SIGNS = {
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/webp": (b"RIFF",),
}


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class CacheControl(_Shape):
    """A point up to which the prompt is cached."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] = "5m"


class _Cacheable(_Shape):
    cache_control: CacheControl | None = None


def _text_or(items: Any) -> Any:
    """A string or a list of these, whose errors name the branch that the value took."""
    kinds = Annotated[str, Tag("str")] | Annotated[list[items], Tag("list")]
    return Annotated[kinds, Discriminator(lambda value: "list" if isinstance(value, list) else "str")]


def _decoded(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        raise PydanticCustomError("base64", "Invalid base64 data") from None


def _https(url: str) -> str:
    if not url.startswith("https://"):
        raise PydanticCustomError("url", "Only HTTPS URLs are supported.")
    return url


_Id = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_-]+$")]
_Url = Annotated[str, AfterValidator(_https)]


class UrlSource(_Shape):
    """A file that Anthropic fetches."""

    type: Literal["url"]
    url: _Url


class FileSource(_Shape):
    """A file that was uploaded before."""

    type: Literal["file"]
    file_id: str


class ImageData(_Shape):
    """An image in the request."""

    type: Literal["base64"]
    media_type: Literal["image/jpeg", "image/png", "image/gif", "image/webp"]
    data: str

    @field_validator("data")
    @classmethod
    def _is_that_image(cls, data: str, info: ValidationInfo) -> str:
        """Refuse what is no image, or one of another type than the source says."""
        content = _decoded(data)
        found = next((kind for kind, signs in _IMAGE_SIGNS.items() if content.startswith(signs)), None)
        if found is None:
            raise PydanticCustomError("image", "Could not process image")
        if found != info.data.get("media_type", found):
            problem = "Image does not match the provided media type {kind}"
            raise PydanticCustomError("image", problem, {"kind": info.data["media_type"]})
        return data


class PdfData(_Shape):
    """A PDF in the request."""

    type: Literal["base64"]
    media_type: Literal["application/pdf"]
    data: str

    @field_validator("data")
    @classmethod
    def _is_a_pdf(cls, data: str) -> str:
        if not _decoded(data).startswith(b"%PDF-"):
            raise PydanticCustomError("pdf", "The PDF specified was not valid.")
        return data


class PlainText(_Shape):
    """A document of mere text."""

    type: Literal["text"]
    media_type: Literal["text/plain"]
    data: str


class Text(_Cacheable):
    """A text block."""

    type: Literal["text"]
    text: str
    citations: list[JSON] | None = None


class Image(_Cacheable):
    """An image block."""

    type: Literal["image"]
    source: Annotated[ImageData | UrlSource | FileSource, Field(discriminator="type")]


class OwnContent(_Shape):
    """A document made of blocks."""

    type: Literal["content"]
    content: _text_or(Annotated[Text | Image, Field(discriminator="type")])


class Citations(_Shape):
    """Whether the model cites a document."""

    enabled: bool = False


class Document(_Cacheable):
    """A document block."""

    type: Literal["document"]
    source: Annotated[PdfData | PlainText | UrlSource | FileSource | OwnContent, Field(discriminator="type")]
    title: Annotated[str, StringConstraints(min_length=1, max_length=500)] | None = None
    context: Annotated[str, StringConstraints(min_length=1)] | None = None
    citations: Citations | None = None


class SearchResult(_Cacheable):
    """Something a search found, to be cited."""

    type: Literal["search_result"]
    source: str
    title: str
    content: list[Text]
    citations: Citations | None = None


class ToolReference(_Cacheable):
    """The name of a tool that a search found."""

    type: Literal["tool_reference"]
    tool_name: str


class Thinking(_Shape):
    """What the model thought, signed by the server."""

    type: Literal["thinking"]
    thinking: str
    signature: str


class RedactedThinking(_Shape):
    """What the model thought, encrypted by the server."""

    type: Literal["redacted_thinking"]
    data: str


class ToolUse(_Cacheable):
    """The model's call of a tool, the client's or the server's."""

    type: Literal["tool_use", "server_tool_use"]
    id: _Id
    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    input: JSON
    caller: JSON | None = None


class ToolResult(_Cacheable):
    """What a tool of the client answered."""

    type: Literal["tool_result"]
    tool_use_id: _Id
    content: _text_or(
        Annotated[Text | Image | Document | SearchResult | ToolReference, Field(discriminator="type")]
    ) = ""
    is_error: bool = False


class ServerToolResult(_Cacheable):
    """What a tool of the server answered."""

    type: _ANY_TOOL_RESULT
    tool_use_id: _Id
    content: Any
    caller: JSON | None = None


class ContainerUpload(_Cacheable):
    """A file for the container of the code execution tool."""

    type: Literal["container_upload"]
    file_id: str


Block = Annotated[
    Text
    | Image
    | Document
    | SearchResult
    | Thinking
    | RedactedThinking
    | ToolUse
    | ToolResult
    | ServerToolResult
    | ContainerUpload,
    Field(discriminator="type"),
]


class Message(_Shape):
    """One turn."""

    role: Literal["user", "assistant", "system"]
    content: _text_or(Block)


class InputSchema(BaseModel):
    """The JSON schema of a tool's input."""

    model_config = ConfigDict(extra="allow", strict=True)
    type: Literal["object"]
    properties: dict[Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")], Any] | None = None
    required: list[str] | None = None


class CustomTool(_Cacheable):
    """A tool of the client."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_-]{1,128}$")]
    input_schema: InputSchema
    type: Literal["custom"] | None = None
    description: str = ""
    strict: bool | None = None
    eager_input_streaming: bool | None = None
    defer_loading: bool | None = None
    allowed_callers: list[str] | None = None
    input_examples: list[JSON] | None = None


class ServerTool(BaseModel):
    """A tool that Anthropic runs or defines."""

    model_config = ConfigDict(extra="allow", strict=True)
    type: str
    name: str = "mcp_toolset"


def _tool_kind(tool: Any) -> str:
    """The tag of a tool: an unknown type is its own."""
    kind = tool.get("type") if isinstance(tool, dict) else None
    return "custom" if kind is None else "server" if _SERVER_TOOL.fullmatch(str(kind)) else str(kind)


Tool = Annotated[Annotated[CustomTool, Tag("custom")] | Annotated[ServerTool, Tag("server")], Discriminator(_tool_kind)]


class _Parallel(_Shape):
    disable_parallel_tool_use: bool = False


class AutoChoice(_Parallel):
    """Any tool or none."""

    type: Literal["auto"]


class AnyChoice(_Parallel):
    """Any tool."""

    type: Literal["any"]


class ToolChoice(_Parallel):
    """This tool."""

    type: Literal["tool"]
    name: str


class NoChoice(_Shape):
    """No tool."""

    type: Literal["none"]


class ThinkingBudget(_Shape):
    """Thinking with a budget."""

    type: Literal["enabled"]
    budget_tokens: Annotated[int, Field(ge=1024)]
    display: Literal["summarized", "omitted"] | None = None


class ThinkingAdaptive(_Shape):
    """Thinking as the model sees fit."""

    type: Literal["adaptive"]
    display: Literal["summarized", "omitted"] | None = None
    block_binding: JSON | None = None


class ThinkingOff(_Shape):
    """No thinking."""

    type: Literal["disabled"]


class OutputFormat(_Shape):
    """The JSON schema of the answer."""

    type: Literal["json_schema"]
    schema_: Annotated[JSON, Field(alias="schema")]


class OutputConfig(_Shape):
    """The form of the answer, and the effort that goes into it."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: OutputFormat | None = None


class Metadata(_Shape):
    """Who asks."""

    user_id: Annotated[str, StringConstraints(max_length=512)] | None = None


class Request(_Shape):
    """The body of a request for a message."""

    model: str
    messages: list[Message]
    max_tokens: Annotated[int, Field(ge=0)]
    system: _text_or(Text) = ""
    stream: bool = False
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    stop_sequences: list[str] | None = None
    tools: list[Tool] | None = None
    tool_choice: Annotated[AutoChoice | AnyChoice | ToolChoice | NoChoice, Field(discriminator="type")] | None = None
    thinking: Annotated[ThinkingBudget | ThinkingAdaptive | ThinkingOff, Field(discriminator="type")] | None = None
    output_config: OutputConfig | None = None
    metadata: Metadata | None = None
    cache_control: CacheControl | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    container: Any = None
    inference_geo: str | None = None


_ShapeT = TypeVar("_ShapeT", bound=BaseModel)


def problem_of(shape: type[_ShapeT], value: Any) -> str | None:
    """The first way in which a value breaks a shape, in Anthropic's words."""
    try:
        shape.model_validate(value)
    except ValidationError as error:
        return _worded(error.errors(include_url=False)[0])
    return None


def _worded(error: ErrorDetails) -> str:
    # The branch that a string or a list takes is no part of Anthropic's paths.
    path = [str(part) for part in error["loc"] if part not in ("str", "list", "server", "[key]")]
    message = error["msg"].replace("_tool_kind()", "'type'")
    if error["type"] == "union_tag_not_found":
        path, message = [*path, "type"], "Field required"
    return f"{'.'.join(path)}: {message}"
