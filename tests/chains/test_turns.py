"""Turns of a conversation come one after the other, and a model gets as many of them as it can read."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from chains.memory.fitting import fitting
from chains.memory.turns import Turns
from las_langchain import ChatLAS
from las_langchain.service import get_litellm_service
from las_langchain.settings import LASSettings

# Turns


async def test_turns_of_a_conversation_are_one_after_the_other() -> None:
    turns, order = Turns(), list[str]()

    async def take(name: str, thread: str, seconds: float) -> None:
        async with turns.turn(thread):
            order.append(f"{name} begins")
            await asyncio.sleep(seconds)
            order.append(f"{name} ends")

    await asyncio.gather(take("first", "t", 0.1), take("second", "t", 0), take("other", "u", 0.05))

    assert order == ["first begins", "other begins", "other ends", "first ends", "second begins", "second ends"]


async def test_giving_up_does_not_let_the_next_one_in() -> None:
    turns, order = Turns(), list[str]()

    async def take(name: str) -> None:
        async with turns.turn("t"):
            order.append(name)
            await asyncio.sleep(0.05)
            order.append(f"{name} ends")

    first = asyncio.create_task(take("first"))
    impatient = asyncio.create_task(take("impatient"))
    await asyncio.sleep(0.01)
    impatient.cancel()
    third = asyncio.create_task(take("third"))
    await asyncio.wait([first, impatient, third])

    assert order == ["first", "first ends", "third", "third ends"]
    assert impatient.cancelled()


def test_turns_in_several_event_loops() -> None:
    turns, inside, most = Turns(), 0, 0

    async def take() -> None:
        nonlocal inside, most
        async with turns.turn("t"):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.01)
            inside -= 1

    async def take_many() -> None:
        await asyncio.gather(*[take() for _ in range(5)])

    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(asyncio.run, take_many()) for _ in range(4)]:
            done.result()

    assert most == 1


# What fits a model


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> LASSettings:
    """Settings with an embedded model of a small context."""
    monkeypatch.setenv("LAS_LOCAL_CONTEXT", "400")
    return get_litellm_service().settings


async def test_the_newest_turns_are_kept(small: LASSettings) -> None:
    model = ChatLAS()
    turns = [message for n in range(40) for message in (HumanMessage(f"Question {n}?"), AIMessage(f"Answer {n}."))]
    asked = [SystemMessage("Be brief."), *turns, HumanMessage("And now?")]

    kept = await fitting(model, asked, small)

    assert kept[0] == asked[0]
    assert kept[1].type == "human"
    assert kept[1:] == asked[-len(kept) + 1 :]
    assert 200 < model.get_num_tokens_from_messages(kept) <= 300


async def test_a_call_and_its_result_stay_together(small: LASSettings) -> None:
    call = AIMessage("", tool_calls=[{"name": "read", "args": {"file": "x"}, "id": "c"}])
    turn = [HumanMessage("Read it"), call, ToolMessage("word " * 60, tool_call_id="c"), AIMessage("Done.")]
    for extra in range(1, 200, 25):
        asked = [*turn, HumanMessage("more " * extra), AIMessage("Yes."), HumanMessage("Then?")]
        kept = await fitting(ChatLAS(), [HumanMessage("word " * 250), *asked], small)
        results = [message for message in kept if message.type == "tool"]
        assert kept[0].type == "human"
        assert bool(results) == (call in kept)


async def test_what_is_too_long_alone_is_sent_as_it_is(small: LASSettings) -> None:
    asked = [SystemMessage("Be brief."), HumanMessage("Hi"), AIMessage("Hello"), HumanMessage("word " * 1000)]

    assert await fitting(ChatLAS(), asked, small) == [asked[0], asked[-1]]


@pytest.mark.usefixtures("upstream")
async def test_a_model_of_unknown_context_gets_everything(small: LASSettings) -> None:
    asked = [HumanMessage("word " * 1000), AIMessage("Yes"), HumanMessage("Then?")]

    assert await fitting(ChatLAS(model="openai/fake-model"), asked, small) == asked
