"""The content blocks of Anthropic's requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import ConfigDict, Field

from servers.messages.shapes import Shape, TextOr

Json = dict[str, Any]
Item = TypeVar("Item")
_Id = Annotated[str, Field(min_length=1, max_length=10_000)]


class CacheControl(Shape):
    """A point up to which the prompt is to be cached."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None
    # Who shares it; of a beta of Anthropic's, and not passed on.
    scope: str | None = None

    @property
    def sent(self) -> Json:
        """What of it is passed on."""
        return {"type": self.type, **({"ttl": self.ttl} if self.ttl else {})}


class Block(Shape):
    """A content block."""

    cache_control: CacheControl | None = None

    @property
    def cached(self) -> Json:
        """Its cache point, as a field of the block that it is translated to."""
        return {} if self.cache_control is None else {"cache_control": self.cache_control.sent}


class Text(Block):
    """Words."""

    type: Literal["text"]
    text: str
    citations: list[Json] | None = None


class Base64Image(Shape):
    """A picture in the request."""

    type: Literal["base64"]
    media_type: Literal["image/jpeg", "image/png", "image/gif", "image/webp"]
    data: Annotated[str, Field(min_length=1)]


class Base64Pdf(Shape):
    """A PDF in the request."""

    type: Literal["base64"]
    media_type: Literal["application/pdf"]
    data: Annotated[str, Field(min_length=1)]


class Url(Shape):
    """A file that the provider fetches."""

    type: Literal["url"]
    url: Annotated[str, Field(pattern=r"^https?://", max_length=20_000)]


class PlainText(Shape):
    """A document of words."""

    type: Literal["text"]
    media_type: Literal["text/plain"]
    data: str


class Image(Block):
    """A picture."""

    type: Literal["image"]
    source: Annotated[Base64Image | Url, Field(discriminator="type")]
    transformations: Any = None


class Blocks(Shape):
    """A document of words and pictures."""

    type: Literal["content"]
    content: TextOr[Annotated[Text | Image, Field(discriminator="type")]]


class Citations(Shape):
    """Whether the model is to say where it has something from."""

    enabled: bool | None = None


class Document(Block):
    """A PDF or a text."""

    type: Literal["document"]
    source: Annotated[Base64Pdf | Url | PlainText | Blocks, Field(discriminator="type")]
    title: str | None = None
    context: str | None = None
    citations: Citations | None = None


class SearchResult(Block):
    """What a search has found."""

    type: Literal["search_result"]
    source: str
    title: str
    content: Annotated[list[Text], Field(max_length=10_000, fail_fast=True)]
    citations: Citations | None = None


class Thinking(Shape):
    """What a model thought; without a signature, what a chain did or another provider's model thought."""

    type: Literal["thinking"]
    thinking: str
    signature: str = ""


class RedactedThinking(Shape):
    """What a model thought, encrypted."""

    type: Literal["redacted_thinking"]
    data: str


class ToolUse(Block):
    """A model's call of a tool."""

    type: Literal["tool_use"]
    id: _Id
    name: Annotated[str, Field(min_length=1, max_length=256)]
    input: Json
    caller: Json | None = None
    toolset_name: str | None = None


class ToolReference(Block):
    """A tool that a search has found."""

    type: Literal["tool_reference"]
    tool_name: str


class ToolResult(Block):
    """What a tool answered."""

    type: Literal["tool_result"]
    tool_use_id: _Id
    content: TextOr[Annotated[Text | Image | Document | SearchResult | ToolReference, Field(discriminator="type")]] = ""
    is_error: bool | None = None
    toolset_name: str | None = None


class ServerBlock(Shape):
    """What Anthropic's servers did, such as a search of the web; only they read it."""

    model_config = ConfigDict(extra="allow")

    type: Literal[
        "server_tool_use", "web_search_tool_result", "web_fetch_tool_result", "code_execution_tool_result",
        "bash_code_execution_tool_result", "text_editor_code_execution_tool_result", "tool_search_tool_result",
    ]  # fmt: skip


AnyBlock = Annotated[
    Text | Image | Document | SearchResult | Thinking | RedactedThinking | ToolUse | ToolResult | ServerBlock,
    Field(discriminator="type"),
]


class Message(Shape):
    """One turn of the conversation."""

    role: Literal["user", "assistant", "system"]
    content: TextOr[AnyBlock]


def blocks_of(content: str | list[Item]) -> Sequence[Item | Text]:
    """*content* as blocks; an empty text is none."""
    if not isinstance(content, str):
        return content
    return [Text(type="text", text=content)] if content else []


def dumped(shape: Shape) -> Json:
    """*shape* as the client sent it, as far as it is passed on."""
    sent = shape.model_dump(exclude_unset=True)
    cache_control = getattr(shape, "cache_control", None)
    return {**sent, "cache_control": cache_control.sent} if isinstance(cache_control, CacheControl) else sent
