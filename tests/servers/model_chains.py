"""Chains that the tests use as models."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableGenerator, RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel

from chains.chain import Chain
from chains.inputs import last_text
from chains.tools.clients import ClientTools
from las_langchain import ChatLAS, LASEmbeddings

NAMES = (
    "lcel", "bare", "warm", "prompted", "threaded", "deep", "foreign", "busy", "asking", "answer_object", "parts",
    "whole_message", "failing", "late", "bound", "embedding", "silent", "no_chat", "unbuilt", "odd_calls",
)  # fmt: skip

prompt = ChatPromptTemplate.from_template("Tell a joke about {topic}")
bare = ChatLAS()
lcel = prompt | ChatLAS() | StrOutputParser()
warm = prompt | ChatLAS(temperature=0.25, max_tokens=7) | StrOutputParser()
prompted = ChatPromptTemplate.from_messages([("placeholder", "{messages}")]) | ChatLAS()


async def _deep(text: str) -> str:
    first = await lcel.ainvoke({"topic": text})
    second = await asyncio.to_thread(lambda: ChatLAS().invoke(first).text)
    return f"{first} {second}"


deep = RunnableLambda(_deep)
"""Calls of which the output says nothing, one of them in a thread."""


def threaded(text: str) -> str:
    """A synchronous chain."""
    return str(ChatLAS().invoke(text).text)


def foreign(text: str) -> str:
    """A chain with another package's model."""
    from langchain_openai import ChatOpenAI

    address, key = os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_API_KEY"]
    model = ChatOpenAI(model="gpt-4o", base_url=address, api_key=key, max_retries=0)
    return str(model.invoke(text).text)


@tool
async def wait(seconds: float) -> str:
    """Wait for some seconds."""
    await asyncio.sleep(seconds)
    return "waited"


@tool
async def think_about(text: str) -> str:
    """Ask the model about something."""
    return str((await ChatLAS().ainvoke(text, {"tags": ["nostream"]})).text)


busy = create_agent(ChatLAS(), [wait, think_about], checkpointer=InMemorySaver())
asking = create_agent(ChatLAS(), [wait], middleware=[ClientTools()], checkpointer=InMemorySaver())
"""An agent of a user that takes clients' tools."""


class City(BaseModel):
    """An answer that is an object."""

    name: str
    people: int


def answer_object(text: str) -> City:
    """A chain whose output is a pydantic object."""
    return City(name=text, people=2)


async def _parts(inputs: AsyncIterator[Any]) -> AsyncIterator[dict[str, str]]:
    async for given in inputs:
        yield {"said": str(given)}
        yield {"said": "!", "more": "yes"}


parts = RunnableGenerator(_parts).with_types(input_type=str, output_type=dict)
"""A chain that streams parts of an object."""


def whole_message(text: str) -> AIMessage:
    """A chain that yields a message at once."""
    return AIMessage(
        content=f"You said {text}",
        additional_kwargs={"reasoning_content": "What was said?"},
        response_metadata={"finish_reason": "length"},
    )


def failing(text: str) -> str:
    """A chain that fails at once."""
    raise KeyError("/srv/secret/place")


async def _late(inputs: AsyncIterator[Any]) -> AsyncIterator[str]:
    async for _ in inputs:
        yield "So far "
        yield "so good"
        raise RuntimeError("/srv/secret/place")


late = RunnableGenerator(_late).with_types(input_type=str, output_type=str)
"""A chain that fails in the middle."""

bound = ChatLAS().bind_tools([wait])
"""A model with tools of its author's, which nobody carries out."""


def embedding(text: str) -> str:
    """A chain that embeds and asks no chat model."""
    LASEmbeddings(model="openai/text-embedding-3-small").embed_query(text)
    return "embedded"


async def _silent(inputs: AsyncIterator[Any]) -> AsyncIterator[str]:
    async for _ in inputs:
        return
        yield ""


silent = RunnableGenerator(_silent).with_types(input_type=str, output_type=str)


def no_chat(pair: list[int]) -> int:
    """A chain that a chat cannot be put to."""
    return sum(pair)


def _unbuilt(settings: Any) -> Any:
    raise FileNotFoundError("/srv/secret/place")


unbuilt = Chain("unbuilt", "Unbuilt", "Cannot be built.", _unbuilt, str, from_messages=last_text)


async def _odd_calls(inputs: AsyncIterator[Any]) -> AsyncIterator[AIMessageChunk]:
    async for _ in inputs:
        for piece in ('{"a"', ": 1}"):
            call = {"name": "own" if piece[0] == "{" else None, "args": piece, "id": "c1", "index": 0}
            yield AIMessageChunk(content="", tool_call_chunks=[call])
        yield AIMessageChunk(content="Done.")


odd_calls = RunnableGenerator(_odd_calls).with_types(input_type=str)
