"""What the agent's tests share: settings with an agent, and what arrived upstream."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_core.runnables import Runnable

from chains.agent import build
from las_langchain.service import LiteLLMService, using
from las_langchain.settings import load_settings
from tests.fake_openai import FakeOpenAI

Json = dict[str, Any]
ODD_SERVER = str(Path(__file__).parents[1] / "odd_mcp_server.py")
SERVER = str(Path(__file__).parents[1] / "mcp_server.py")


def mcp(log: Path | None = None, **fields: Any) -> Json:
    """The settings of the test's MCP server, which writes its calls into *log*."""
    arguments = [SERVER, *(["--log", str(log)] if log else [])]
    return {"command": sys.executable, "args": arguments, **fields}


@contextmanager
def agent(**fields: Any) -> Iterator[Runnable[Any, Any]]:
    """The agent with these settings of ``[agent]``, on the upstream double."""
    settings = load_settings(model="openai/gpt-4o", agent=fields)
    with using(LiteLLMService(settings)):
        yield build(settings)


def asked(*texts: str) -> Json:
    """An input with messages of a person."""
    return {"messages": [("human", text) for text in texts]}


def thread(name: str) -> Any:
    """A config that names a conversation."""
    return {"configurable": {"thread_id": name}}


def sent(upstream: FakeOpenAI) -> list[list[Json]]:
    """The messages of every request, in order."""
    return [request.body["messages"] for request in upstream.requests]


def results(upstream: FakeOpenAI) -> dict[str, str]:
    """What the model was told of its calls in the last request, by call id."""
    return {one["tool_call_id"]: one["content"] for one in sent(upstream)[-1] if one["role"] == "tool"}


def steps(message: Any) -> str:
    """The steps that an answer tells of."""
    return str(message.additional_kwargs.get("reasoning_content") or "")


async def collected(chunks: AsyncGenerator[AIMessageChunk]) -> list[AIMessageChunk]:
    """All chunks of a run."""
    return [chunk async for chunk in chunks]
