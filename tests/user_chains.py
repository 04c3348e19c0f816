"""Chains as users write them, published by the tests' server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField, RunnableGenerator, RunnableLambda, RunnablePassthrough
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import StateGraph
from typing_extensions import TypedDict

from las_langchain import ChatLAS

model = ChatLAS()
joke = ChatPromptTemplate.from_template("Tell a joke about {topic}") | model | StrOutputParser()
both = RunnablePassthrough.assign(shout=lambda given: given["topic"].upper())
configurable = model.configurable_fields(api_base=ConfigurableField(id="api_base"))


@tool
def weather(city: str) -> str:
    """Look up the weather in a city."""
    return f"It is sunny in {city}."


clerk = create_agent(model, [weather], checkpointer=InMemorySaver())
"""A raw graph, as it comes from LangChain."""


def whole(text: str) -> AIMessage:
    """A chain that yields a message at once."""
    return AIMessage(content=f"You said {text}", tool_calls=[])


def shout(text: str) -> str:
    """A chain whose output is a text."""
    return text.upper()


async def _fields(inputs: AsyncIterator[Any]) -> AsyncIterator[dict[str, str]]:
    async for given in inputs:
        for letter in str(given):
            yield {"said": letter}
        yield {"length": str(len(given))}


fields = RunnableGenerator(_fields).with_types(input_type=str, output_type=dict)
"""A chain that streams parts of an object."""


async def _broken(text: str) -> str:
    raise KeyError(text)


broken = RunnableLambda(_broken)


async def _slow(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


slow = RunnableLambda(_slow)


class Topic(TypedDict, total=False):
    """A state without messages."""

    topic: str
    joke: str


_builder = StateGraph(Topic)
_builder.add_node("joke", lambda state: {"joke": f"Two {state['topic']} walk into a bar."})
_builder.add_node("laugh", lambda state: {"joke": f"{state['joke']} Ha."})
_builder.set_entry_point("joke")
_builder.add_edge("joke", "laugh")
graph = _builder
"""A graph that nobody compiled."""

no_chain = 7
