"""The tables of ``las.toml`` about chains: the documents that they search, and the agent."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from las_langchain.deployments import Address, Headers, Seconds

AgentTool = Literal["calculator", "clock", "documents", "web", "python_math"]


def _check_suffix(value: str) -> str:
    if not re.fullmatch(r"\.[A-Za-z0-9_.-]{1,20}", value):
        raise ValueError("expected the end of a file's name, such as .docx")
    return value.lower()


def _check_reference(value: str) -> str:
    if not is_reference(value):
        raise ValueError("expected module:name, such as my_package.chains:support")
    return value


def is_reference(value: str) -> bool:
    """Whether *value* has the form ``module:attribute``."""
    return bool(re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", value))


def _check_chain_name(value: str) -> str:
    if not is_chain_name(value):
        raise ValueError("a chain's name has up to 64 letters, digits, - and _")
    return value


def is_chain_name(value: str) -> bool:
    """Whether *value* can name a chain, in addresses too."""
    return bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", value))


Reference = Annotated[str, AfterValidator(_check_reference)]
ChainName = Annotated[str, AfterValidator(_check_chain_name)]
Suffix = Annotated[str, AfterValidator(_check_suffix)]


class DocumentSettings(BaseModel):
    """``[documents]`` in ``las.toml``: how ``las ingest`` reads files, and how many passages an answer rests on."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    loaders: dict[Suffix, str] = Field(
        default_factory=dict,
        description="Loaders of langchain-community by the end of the file's name, such as Docx2txtLoader for .docx; "
        "module:Class names any other",
    )
    chunk_size: int = Field(1000, ge=100, le=100_000, description="Longest passage, in characters")
    chunk_overlap: int = Field(150, ge=0, description="What a passage repeats of the one before, in characters")
    top_k: int = Field(5, ge=1, le=100, description="Passages that an answer rests on")

    @model_validator(mode="after")
    def _check_overlap(self) -> Self:
        if self.chunk_overlap >= self.chunk_size:
            raise ValueError("chunk_overlap must be smaller than chunk_size")
        return self


class MCPServer(BaseModel):
    """One entry of ``[agent.mcp]``: a program that speaks MCP on its standard streams, or an address."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: str | None = Field(None, description="Program to start")
    args: list[str] = Field(default_factory=list, description="Its arguments")
    env: dict[str, SecretStr] = Field(
        default_factory=dict,
        description="Its further environment variables; ${NAME} in one stands for one of this process's",
    )
    cwd: Path | None = Field(None, description="Its working folder")
    url: Address | None = Field(None, description="Address of a server that runs already")
    transport: Literal["streamable_http", "sse"] = Field("streamable_http", description="What the address speaks")
    headers: Headers = Field(default_factory=dict, repr=False, description="Headers sent to the address")

    @model_validator(mode="after")
    def _check_one_way(self) -> Self:
        if (self.command is None) == (self.url is None):
            raise ValueError("give either command or url")
        return self


class AgentSettings(BaseModel):
    """``[agent]`` in ``las.toml``: what the agent may use, and for how long."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    tools: list[AgentTool] = Field(["calculator", "clock", "documents", "web"], description="The built-in tools it has")
    approve: list[str] = Field(
        default_factory=list, description="Tools that a person must approve each call of, those of MCP servers too"
    )
    max_steps: int = Field(12, ge=1, le=1000, description="Model calls of one run")
    tool_timeout: Seconds = Field(30, description="Longest run of a tool, in seconds")
    mcp: dict[str, MCPServer] = Field(default_factory=dict, description="MCP servers whose tools it has too")
