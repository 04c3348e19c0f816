"""A runnable made of one generator, in all four forms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import RunnableConfig
from pydantic import BaseModel, Field

from chains.inputs import ChatInput, checked, last_text
from chains.streamed import Streamed, thread_of
from las_langchain.errors import BadRequestError


class Count(BaseModel):
    """How far to count."""

    to: int = Field(ge=0, le=1000)


class Counter:
    """Counts, and knows whether its generators were closed."""

    def __init__(self) -> None:
        self.open = 0
        self.threads: list[str | None] = []

    async def __call__(self, given: Count, config: RunnableConfig) -> AsyncGenerator[AIMessageChunk]:
        self.open += 1
        self.threads.append(thread_of(config))
        try:
            for number in range(given.to):
                await asyncio.sleep(0)
                yield AIMessageChunk(content=f"{number} ")
        finally:
            self.open -= 1


@pytest.fixture
def counter() -> Counter:
    return Counter()


@pytest.fixture
def runnable(counter: Counter) -> Streamed:
    return Streamed(counter, name="count", input_type=Count, remembers=True)


async def test_all_four_forms_agree(runnable: Streamed) -> None:
    whole = runnable.invoke({"to": 3})
    assert type(whole) is AIMessage
    assert whole.content == (await runnable.ainvoke(Count(to=3))).content == "0 1 2 "
    assert [chunk.content for chunk in runnable.stream({"to": 3})] == ["0 ", "1 ", "2 "]
    assert [chunk.content async for chunk in runnable.astream({"to": 3})] == ["0 ", "1 ", "2 "]
    assert [answer.content for answer in await runnable.abatch([{"to": 1}, {"to": 2}])] == ["0 ", "0 1 "]


async def test_it_is_closed_with_its_consumer(runnable: Streamed, counter: Counter) -> None:
    stream = runnable.astream({"to": 100})
    await anext(stream)  # type: ignore[call-overload]
    assert counter.open == 1
    await stream.aclose()  # type: ignore[attr-defined]
    assert counter.open == 0
    pieces = runnable.stream({"to": 100})
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert counter.open == 0


async def test_it_is_told_the_thread(runnable: Streamed, counter: Counter) -> None:
    for configurable in ({"thread_id": "a"}, {"thread_id": ""}, {}):
        runnable.invoke({"to": 1}, {"configurable": configurable})
        await runnable.ainvoke({"to": 1}, {"configurable": configurable})
    assert counter.threads == ["a", "a", None, None, None, None]


@pytest.mark.parametrize("given", [{"to": -1}, {}, None, 7, {"to": "x"}, []])
async def test_wrong_input_is_a_bad_request(runnable: Streamed, given: Any) -> None:
    for call in (runnable.invoke, lambda given: list(runnable.stream(given))):
        with pytest.raises(BadRequestError):
            call(given)
    with pytest.raises(BadRequestError):
        await runnable.ainvoke(given)


def test_its_types(runnable: Streamed) -> None:
    assert runnable.get_input_schema() is Count
    assert runnable.OutputType is AIMessage
    assert [spec.id for spec in runnable.config_specs] == ["thread_id"]
    assert Streamed(Counter(), name="count", input_type=Count).config_specs == []


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": "hi"},
        {"type": "human", "content": "hi"},
        ("user", "hi"),
        "hi",
        {"role": "developer", "content": "hi"},
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
    ],
)
def test_messages_in_every_form(message: Any) -> None:
    assert last_text(checked(ChatInput, {"messages": [message]}).messages) == "hi"


@pytest.mark.parametrize(
    "messages",
    [None, [], "hi", 7, [None], [7], [{}], [{"role": "user"}, 7], [{"role": "x", "content": "y"}], [["a", "b", "c"]]],
)
def test_what_are_no_messages(messages: Any) -> None:
    with pytest.raises(BadRequestError) as caught:
        checked(ChatInput, {"messages": messages})
    assert caught.value.param.startswith("messages")
    assert "\n" not in str(caught.value)
    assert "docs.langchain" not in str(caught.value)
