"""What of a graph's run is told, and how: on graphs of LangGraph's own, with the upstream double as their model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import reduce
from operator import add
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from chains.graphs import answer_chunks
from las_langchain import ChatLAS
from tests.fake_openai import FakeOpenAI, Reply, ToolCall

QUESTION = {"messages": [("human", "How is the weather?")]}
THREAD: Any = {"configurable": {"thread_id": "one"}}


def get_weather(city: str) -> str:
    """Get the weather of a city."""
    return f"{city}: sunny, 21 degrees"


def graph_of(*nodes: Callable[[MessagesState], Any]) -> Any:
    """A graph that runs *nodes* one after another."""
    graph = StateGraph(MessagesState)
    names = [node.__name__ for node in nodes]
    for name, node in zip(names, nodes, strict=True):
        graph.add_node(name, node)
    for before, after in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(before, after)
    return graph.compile(checkpointer=InMemorySaver())


async def said(graph: Any, given: Any = QUESTION, config: Any = THREAD) -> list[AIMessageChunk]:
    """All that is told of a run."""
    return [chunk async for chunk in answer_chunks(graph, given, config)]


def whole(chunks: Sequence[AIMessageChunk]) -> AIMessageChunk:
    """The sum of chunks, as clients make it."""
    return reduce(add, chunks)


def agent(*replies: Reply, upstream: FakeOpenAI) -> Any:
    upstream.enqueue(*replies)
    return create_agent(ChatLAS(model="openai/gpt-4o"), [get_weather])


CALL = [ToolCall("get_weather", {"city": "Paris"}), ToolCall("get_weather", {"city": "Rome"})]


async def test_turns_of_a_model_are_paragraphs_and_steps_are_reasoning(upstream: FakeOpenAI) -> None:
    graph = agent(
        Reply(content="I look.", tool_calls=CALL, reasoning="Weather?"),
        Reply(chunks=["It", " is", " sunny."]),
        upstream=upstream,
    )

    chunks = await said(graph, config={})

    answer = whole(chunks)
    assert answer.text == "I look.\n\nIt is sunny."
    assert [chunk.text for chunk in chunks if chunk.text][-3:] == ["\n\nIt", " is", " sunny."]
    lines = answer.additional_kwargs["reasoning_content"]
    assert "Weather?" in lines
    assert "get_weather(city='Paris')\nget_weather(city='Rome')\n" in lines
    assert "get_weather: Rome: sunny, 21 degrees\n" in lines
    assert not any(chunk.tool_call_chunks or chunk.tool_calls for chunk in chunks)


async def test_the_usage_is_that_of_all_calls(upstream: FakeOpenAI) -> None:
    usages = [{"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}, {"prompt_tokens": 30}]
    replies = [Reply(tool_calls=CALL, usage=usages[0]), Reply(content="Sunny", usage=usages[1])]

    answer = whole(await said(agent(*replies, upstream=upstream), config={}))

    assert answer.usage_metadata is not None
    assert answer.usage_metadata["input_tokens"] == 40
    assert answer.usage_metadata["output_tokens"] == 3


async def test_a_name_is_no_sum_of_names(upstream: FakeOpenAI) -> None:
    chunks = await said(agent(Reply(tool_calls=CALL), Reply(content="Sunny"), upstream=upstream), config={})

    answer = whole(chunks)
    assert answer.response_metadata["model_name"] == "gpt-4o-2024-08-06"
    assert answer.response_metadata["finish_reason"] == "stop"
    assert chunks[-1].chunk_position == "last"


async def test_nodes_may_return_whole_messages() -> None:
    def first(state: MessagesState) -> Any:
        return {"messages": [AIMessage("One."), ToolMessage("4" * 900, tool_call_id="1", name="count")]}

    def second(state: MessagesState) -> Any:
        return {"messages": AIMessage([{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": "Two."}])}

    def third(state: MessagesState) -> Any:
        return None

    answer = whole(await said(graph_of(first, second, third)))

    assert answer.text == "One.\n\nTwo."
    assert answer.additional_kwargs["reasoning_content"] == f"count: {'4' * 300}\nHm."


@pytest.mark.parametrize("answer", [("ai", "Sunny."), {"role": "assistant", "content": "Sunny."}])
async def test_nodes_may_return_messages_in_other_forms(answer: Any) -> None:
    def one(state: MessagesState) -> Any:
        return {"messages": [("human", "Not told."), answer]}

    def other(state: MessagesState) -> Any:
        return {"messages": answer}

    assert whole(await said(graph_of(one, other))).text == "Sunny.\n\nSunny."


async def test_what_waits_for_a_person_is_told_and_goes_on() -> None:
    def ask(state: MessagesState) -> Any:
        return {"messages": [AIMessage(f"You said {interrupt('Which city?')}.")]}

    graph = graph_of(ask)
    question = whole(await said(graph))
    answer = whole(await said(graph, Command(resume="Paris")))

    assert (question.text, question.additional_kwargs["interrupts"]) == ("Which city?", ["Which city?"])
    assert answer.text == "You said Paris."
    assert "interrupts" not in answer.additional_kwargs


async def test_an_earlier_run_is_not_told_again(upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(content="First."), Reply(content="Second."))
    graph = create_agent(ChatLAS(model="openai/gpt-4o"), checkpointer=InMemorySaver())

    assert [whole(await said(graph)).text for _ in range(2)] == ["First.", "Second."]


@pytest.mark.parametrize("limit", [{}, {"recursion_limit": 25}], ids=["unset", "langchains"])
async def test_langchains_limit_of_steps_is_not_the_graphs(limit: Any) -> None:
    nodes = [_named(f"node{index}") for index in range(40)]
    graph = graph_of(*nodes).with_config({"recursion_limit": 60})

    assert whole(await said(graph, config={**THREAD, **limit})).text == "node39"


def _named(name: str) -> Callable[[MessagesState], Any]:
    def node(state: MessagesState) -> Any:
        return {"messages": [AIMessage(name)]} if name == "node39" else None

    node.__name__ = name
    return node


async def test_what_nobody_reads_on_is_ended() -> None:
    ended, begun = [], asyncio.Event()

    async def slow(state: MessagesState) -> Any:
        try:
            begun.set()
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    def first(state: MessagesState) -> Any:
        return {"messages": [AIMessage("One.")]}

    chunks: AsyncGenerator[AIMessageChunk] = answer_chunks(graph_of(first, slow), QUESTION, THREAD)
    assert (await anext(chunks)).text == "One."
    reading = asyncio.ensure_future(anext(chunks))
    await begun.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await chunks.aclose()

    assert ended == [True]
