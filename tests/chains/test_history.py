"""What of a conversation a model reads."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from chains.history import fitting, instructions, readable, turns
from las_langchain import ChatLAS


def letters(messages: Sequence[BaseMessage]) -> int:
    return sum(len(str(one.text)) + 1 for one in messages)


def called(*ids: str) -> AIMessage:
    return AIMessage("", tool_calls=[{"type": "tool_call", "id": one, "name": "f", "args": {}} for one in ids])


def result(of: str, text: str = "4") -> ToolMessage:
    return ToolMessage(text, tool_call_id=of)


def shown(messages: Sequence[AnyMessage]) -> list[str]:
    return [f"{one.type}:{one.text}" for one in messages]


def test_a_call_stays_with_its_results_and_a_lost_one_gets_one() -> None:
    parts = turns([HumanMessage("q"), called("a", "b"), result("b"), HumanMessage("r"), result("stray")])

    assert [shown(part) for part in parts] == [
        ["human:q"],
        ["ai:", "tool:This call was given up before it had a result.", "tool:4"],
        ["human:r"],
    ]


def test_ids_that_are_used_again_are_of_the_newest_call() -> None:
    again = [called("a"), result("a", "1"), called("a", "a"), result("a", "2"), result("a", "3"), called("a")]

    assert [shown(part) for part in turns(again)] == [
        ["ai:", "tool:1"],
        ["ai:", "tool:2", "tool:3"],
        ["ai:", "tool:This call was given up before it had a result."],
    ]


def test_instructions_are_taken_once() -> None:
    messages: list[AnyMessage] = [SystemMessage("a"), HumanMessage("q"), SystemMessage("b"), SystemMessage("a")]

    assert instructions(messages) == "a\n\nb"
    assert [shown(part) for part in turns(messages)] == [["human:q"]]


def test_the_newest_messages_are_kept() -> None:
    parts = turns(
        [HumanMessage("1" * 50), AIMessage("2" * 50), HumanMessage("3" * 50), AIMessage("4"), HumanMessage("5")]
    )

    assert shown(fitting(parts, 60, letters)) == [f"human:{'3' * 50}", "ai:4", "human:5"]
    assert shown(fitting(parts, 20, letters)) == ["human:5"]


def test_the_question_is_kept_while_its_tools_are_called() -> None:
    steps = [message for index in range(9) for message in (called(f"{index}"), result(f"{index}", "x" * 20))]

    kept = fitting(turns([HumanMessage("question"), *steps]), 60, letters)

    assert kept[0].text == "question"
    assert kept[-1] == steps[-1]
    assert len(kept) == 5


def test_results_that_alone_are_too_long_are_cut() -> None:
    parts = turns([HumanMessage("question"), called("a", "b"), result("a", "x" * 5_000), result("b", "y" * 5_000)])

    kept = fitting(parts, 1_000, letters)

    assert letters(kept) <= 1_000
    assert [one.type for one in kept] == ["human", "ai", "tool", "tool"]
    assert all("[Cut here" in str(one.text) for one in kept[2:])


MESSAGES = st.lists(
    st.one_of(
        st.text(max_size=30).map(HumanMessage),
        st.text(max_size=30).map(AIMessage),
        st.lists(st.sampled_from("abcdef"), min_size=1, max_size=3, unique=True).map(lambda ids: called(*ids)),
        st.sampled_from("abcdef").map(result),
    ),
    max_size=12,
)


@given(MESSAGES, st.integers(1, 200))
def test_no_call_is_ever_without_its_result(messages: list[AnyMessage], most: int) -> None:
    kept = fitting(turns(messages), most, letters)

    open_: list[str] = []
    for message in kept:
        if isinstance(message, ToolMessage):
            assert open_.pop(0) == message.tool_call_id
        else:
            assert open_ == []
            open_ = [str(call["id"]) for call in message.tool_calls] if isinstance(message, AIMessage) else []
    assert open_ == []
    people = [one for one in messages if isinstance(one, HumanMessage)]
    if people:
        assert people[-1] in kept


async def prompt(model: ChatLAS, asked: list[AnyMessage]) -> list[AnyMessage]:
    """What the model is sent of *asked*."""
    system: list[AnyMessage] = [message for message in asked if isinstance(message, SystemMessage)]
    return [*system, *await readable(model, system, asked)]


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """An embedded model of a small context."""
    monkeypatch.setenv("LAS_LOCAL_CONTEXT", "400")


@pytest.mark.usefixtures("_small")
async def test_the_newest_turns_are_kept() -> None:
    model = ChatLAS()
    turns = [message for n in range(40) for message in (HumanMessage(f"Question {n}?"), AIMessage(f"Answer {n}."))]
    asked = [SystemMessage("Be brief."), *turns, HumanMessage("And now?")]

    kept = await prompt(model, asked)

    assert kept[0] == asked[0]
    assert kept[1].type == "human"
    assert kept[1:] == asked[-len(kept) + 1 :]
    assert 200 < model.get_num_tokens_from_messages(kept) <= 300


@pytest.mark.usefixtures("_small")
async def test_a_very_long_conversation_is_not_counted_whole() -> None:
    asked = [message for n in range(4_000) for message in (HumanMessage(f"Question {n}?"), AIMessage(f"Answer {n}."))]
    model = ChatLAS()
    await readable(model, [], asked[:9])

    began = time.monotonic()
    kept = await readable(model, [], asked)

    assert time.monotonic() - began < 2
    assert kept == asked[-len(kept) :]


@pytest.mark.usefixtures("_small")
async def test_a_call_and_its_result_stay_together() -> None:
    call = AIMessage("", tool_calls=[{"name": "read", "args": {"file": "x"}, "id": "c"}])
    turn = [HumanMessage("Read it"), call, ToolMessage("word " * 60, tool_call_id="c"), AIMessage("Done.")]
    for extra in range(1, 200, 25):
        asked = [*turn, HumanMessage("more " * extra), AIMessage("Yes."), HumanMessage("Then?")]
        kept = await prompt(ChatLAS(), [HumanMessage("word " * 250), *asked])
        results = [message for message in kept if message.type == "tool"]
        assert kept[0].type == "human"
        assert bool(results) == (call in kept)


@pytest.mark.usefixtures("_small")
async def test_what_is_too_long_alone_is_sent_as_it_is() -> None:
    asked = [SystemMessage("Be brief."), HumanMessage("Hi"), AIMessage("Hello"), HumanMessage("word " * 1000)]

    assert await prompt(ChatLAS(), asked) == [asked[0], asked[-1]]


@pytest.mark.usefixtures("upstream", "_small")
async def test_a_model_of_unknown_context_gets_everything() -> None:
    asked = [HumanMessage("word " * 1000), AIMessage("Yes"), HumanMessage("Then?")]

    assert await prompt(ChatLAS(model="openai/fake-model"), asked) == asked
