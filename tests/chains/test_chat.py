"""The ``chat`` chain: what the model is asked, what is remembered, and what a failure leaves."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage
from langchain_core.runnables import Runnable

from chains.agent import CHAIN as AGENT
from chains.chain import Chain
from chains.chat import CHAIN, SYSTEM
from chains.memory import FILE, checkpointer
from las_langchain.errors import APIError, AuthenticationError, BadRequestError, ContextWindowExceededError
from las_langchain.service import get_litellm_service
from las_langchain.settings import LASSettings, load_settings
from tests import warm
from tests.fake_openai import FakeOpenAI, Reply
from tests.ledger_process import ROOT

Chat = Runnable[Any, Any]
Json = dict[str, Any]

THREAD: Any = {"configurable": {"thread_id": "t"}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
PROGRAM = """
import sys
from chains.chat import CHAIN
from las_langchain.settings import load_settings

chat = CHAIN.build(load_settings())
for text in sys.argv[1:]:
    for chunk in chat.stream({"messages": [("human", text)]}, {"configurable": {"thread_id": "t"}}):
        print(chunk.text, end="", flush=True)
    print(flush=True)
"""


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A data folder of the test's own, and OpenAI's model."""
    monkeypatch.setenv("LAS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("LAS_MODEL", "openai/gpt-4o")
    monkeypatch.setenv("LAS_MAX_RETRIES", "0")
    return tmp_path


@pytest.fixture
def chat() -> Chat:
    """The chain."""
    return CHAIN.build(load_settings())


def asked(upstream: FakeOpenAI) -> list[tuple[str, Any]]:
    """The messages of the last request."""
    return [(message["role"], message["content"]) for message in upstream.last.body["messages"]]


def human(text: str) -> Json:
    """The chain's input."""
    return {"messages": [{"role": "user", "content": text}]}


def remembered() -> list[tuple[str, Any]]:
    """The thread as it is stored."""
    found = checkpointer(load_settings()).get_tuple(THREAD)
    messages = found.checkpoint["channel_values"].get("messages", []) if found else []
    return [(message.type, message.content) for message in messages]


def test_a_conversation_is_stored_once(upstream: FakeOpenAI, chat: Chat, folder: Path) -> None:
    for turn in range(4):
        chat.invoke(human(f"turn {turn}"), THREAD)
    with closing(sqlite3.connect(folder / FILE)) as database:
        counts = [
            database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("checkpoints", "writes")
        ]
    assert counts[0] == 1
    assert counts[1] <= 2
    assert len(remembered()) == 8


# Without a thread


async def test_the_messages_are_the_conversation(upstream: FakeOpenAI, chat: Chat, folder: Path) -> None:
    turns = [("user", "Hi"), ("assistant", "Hello"), ("user", "Repeat: yes")]

    answer = await chat.ainvoke({"messages": [{"role": role, "content": text} for role, text in turns]})

    assert isinstance(answer, AIMessage)
    assert answer.content == "yes"
    assert answer.usage_metadata is not None
    assert asked(upstream) == [("system", SYSTEM), *turns]
    assert not (folder / FILE).exists()


def test_the_answer_is_streamed_to_synchronous_code_too(upstream: FakeOpenAI, chat: Chat) -> None:
    upstream.enqueue(Reply(chunks=["One", " two"], chunk_delay=0.02))

    chunks = list(chat.stream(human("Count"), THREAD))

    assert all(isinstance(chunk, AIMessageChunk) for chunk in chunks)
    assert [chunk.text for chunk in chunks if chunk.text] == ["One", " two"]


async def test_the_callers_system_message_replaces_the_chains(upstream: FakeOpenAI, chat: Chat) -> None:
    await chat.ainvoke({"messages": [SystemMessage("Be a pirate"), HumanMessage("Hi")]})

    assert asked(upstream) == [("system", "Be a pirate"), ("user", "Hi")]


async def test_images_pass_through(upstream: FakeOpenAI, chat: Chat) -> None:
    content = [{"type": "text", "text": "What is it?"}, IMAGE]

    await chat.ainvoke({"messages": [{"role": "user", "content": content}]}, THREAD)
    await chat.ainvoke(human("Sure?"), THREAD)

    assert asked(upstream)[1] == ("user", content)


async def test_the_model_is_that_of_the_settings_of_now(upstream: FakeOpenAI, chat: Chat) -> None:
    get_litellm_service().update_config(model="openai/gpt-4o-mini")

    await chat.ainvoke(human("Hi"))

    assert upstream.last.body["model"] == "gpt-4o-mini"


@pytest.mark.parametrize(
    "given",
    [{"messages": []}, {}, "Hi", {"messages": [{"role": "king", "content": "Hi"}]}, {**human("Hi"), "model": "x"}],
    ids=["no message", "nothing", "a text", "an unknown role", "another field"],
)
def test_input_that_is_none(upstream: FakeOpenAI, chat: Chat, given: Any) -> None:
    with pytest.raises(BadRequestError) as caught:
        chat.invoke(given, THREAD)

    assert caught.value.param
    assert upstream.requests == []
    assert remembered() == []


# With a thread


async def test_a_thread_goes_on(upstream: FakeOpenAI, chat: Chat) -> None:
    other: Any = {"configurable": {"thread_id": "u"}}

    await chat.ainvoke(human("I am Ada"), THREAD)
    await chat.ainvoke(human("I am Bob"), other)
    await chat.ainvoke(human("Who am I?"), THREAD)

    turns = [("user", "I am Ada"), ("assistant", "Echo: I am Ada"), ("user", "Who am I?")]
    assert asked(upstream) == [("system", SYSTEM), *turns]
    # Built anew, as in another process.
    await CHAIN.build(load_settings()).ainvoke(human("And now?"), THREAD)
    assert asked(upstream)[1:-2] == turns
    assert ("system", SYSTEM) not in remembered()


def test_a_thread_goes_on_in_synchronous_code(upstream: FakeOpenAI, chat: Chat) -> None:
    chat.invoke(human("One"), THREAD)
    asyncio.run(chat.ainvoke(human("Two"), THREAD))
    chat.invoke(human("Three"), THREAD)

    assert [text for role, text in asked(upstream) if role == "user"] == ["One", "Two", "Three"]


async def test_a_system_message_replaces_the_one_before(upstream: FakeOpenAI, chat: Chat) -> None:
    await chat.ainvoke({"messages": [SystemMessage("Be a pirate"), HumanMessage("One")]}, THREAD)
    await chat.ainvoke(human("Two"), THREAD)
    assert asked(upstream)[0] == ("system", "Be a pirate")

    await chat.ainvoke({"messages": [SystemMessage("Be a poet"), HumanMessage("Three")]}, THREAD)

    roles = [role for role, _ in asked(upstream)]
    assert asked(upstream)[0] == ("system", "Be a poet")
    assert roles == ["system", "user", "assistant", "user", "assistant", "user"]


async def test_the_same_words_after_an_answer_are_another_turn(upstream: FakeOpenAI, chat: Chat) -> None:
    await chat.ainvoke(human("Yes"), THREAD)
    await chat.ainvoke(human("Yes"), THREAD)

    assert remembered() == [("human", "Yes"), ("ai", "Echo: Yes")] * 2


@pytest.mark.parametrize("reply", [Reply(status=500), Reply(content="One two", cut_after=2)], ids=["500", "cut"])
async def test_a_failed_answer_leaves_the_turn(upstream: FakeOpenAI, chat: Chat, reply: Reply) -> None:
    upstream.enqueue(reply)
    with pytest.raises(APIError):
        await chat.ainvoke(human("One"), THREAD)
    assert remembered() == [("human", "One")]

    await chat.ainvoke(human("Two"), THREAD)

    assert asked(upstream)[1:] == [("user", "One"), ("user", "Two")]
    assert remembered() == [("human", "One"), ("human", "Two"), ("ai", "Echo: Two")]


async def test_a_failed_turn_that_is_repeated_is_not_said_twice(upstream: FakeOpenAI, chat: Chat) -> None:
    given = {"messages": [SystemMessage("Be brief"), HumanMessage("One"), HumanMessage("more")]}
    await chat.ainvoke(human("Zero"), THREAD)
    for _ in range(2):
        upstream.enqueue(Reply(status=500))
        with pytest.raises(APIError):
            await chat.ainvoke(given, THREAD)

    await chat.ainvoke(given, THREAD)

    turns = [("human", "Zero"), ("ai", "Echo: Zero"), ("human", "One"), ("human", "more"), ("ai", "Echo: more")]
    assert remembered() == [("system", "Be brief"), *turns]


@pytest.mark.parametrize("status", [400, 413])
async def test_what_the_model_refuses_is_not_remembered(upstream: FakeOpenAI, chat: Chat, status: int) -> None:
    await chat.ainvoke(human("One"), THREAD)
    before = remembered()
    upstream.enqueue(Reply(status=status))

    with pytest.raises(BadRequestError):
        await chat.ainvoke({"messages": [HumanMessage([IMAGE])]}, THREAD)

    assert remembered() == before
    await chat.ainvoke(human("Two"), THREAD)
    assert asked(upstream)[1:] == [("user", "One"), ("assistant", "Echo: One"), ("user", "Two")]


async def test_a_missing_key_leaves_the_thread_as_a_failure_does(
    upstream: FakeOpenAI, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.enqueue(Reply(status=401))
    with pytest.raises(AuthenticationError):
        await chat.ainvoke(human("One"), THREAD)

    await chat.ainvoke(human("One"), THREAD)

    assert remembered() == [("human", "One"), ("ai", "Echo: One")]


async def test_a_run_that_is_cancelled_leaves_the_turn(upstream: FakeOpenAI, chat: Chat) -> None:
    upstream.enqueue(Reply(hang=True))
    run = asyncio.create_task(chat.ainvoke(human("One"), THREAD))
    while not upstream.requests:
        await asyncio.sleep(0.01)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run

    await chat.ainvoke(human("Two"), THREAD)

    assert asked(upstream)[1:] == [("user", "One"), ("user", "Two")]


async def test_a_reader_that_stops_frees_the_thread(upstream: FakeOpenAI, chat: Chat) -> None:
    upstream.enqueue(Reply(content="One two three four", chunk_delay=0.05))
    stream: Any = chat.astream(human("Count"), THREAD)
    async for chunk in stream:
        if chunk.text:
            break
    await stream.aclose()

    await asyncio.wait_for(chat.ainvoke(human("Two"), THREAD), 10)

    assert [kind for kind, _ in remembered()] == ["human", "human", "ai"]


async def test_two_runs_at_the_same_time_are_one_after_the_other(upstream: FakeOpenAI, chat: Chat) -> None:
    upstream.enqueue(Reply(content="First", delay=0.2), Reply(content="Second"))

    answers = await asyncio.gather(chat.ainvoke(human("One"), THREAD), chat.ainvoke(human("Two"), THREAD))

    assert {answer.content for answer in answers} == {"First", "Second"}
    assert [text for kind, text in remembered() if kind == "ai"] == ["First", "Second"]
    assert len(remembered()) == 4


@pytest.mark.parametrize("chain", [CHAIN, AGENT], ids=lambda chain: chain.name)
async def test_two_chains_with_one_memory_are_one_after_the_other(
    upstream: FakeOpenAI, chat: Chat, chain: Chain
) -> None:
    another = chain.build(load_settings())
    upstream.enqueue(Reply(content="First", delay=0.2), Reply(content="Second"))

    await asyncio.gather(chat.ainvoke(human("One"), THREAD), another.ainvoke(human("Two"), THREAD))

    assert [text for kind, text in remembered() if kind == "ai"] == ["First", "Second"]


async def test_two_processes_at_the_same_time_both_answer(upstream: FakeOpenAI, chat: Chat, folder: Path) -> None:
    """Two addresses of one place know as little of each other as two processes do."""
    (folder / "same").symlink_to(folder)
    another = CHAIN.build(load_settings(data_dir=folder / "same"))
    upstream.enqueue(Reply(content="First", delay=0.2), Reply(content="Second", delay=0.2))

    answers = await asyncio.gather(chat.ainvoke(human("One"), THREAD), another.ainvoke(human("Two"), THREAD))

    assert {answer.content for answer in answers} == {"First", "Second"}
    # Which of the turns stay depends on which of them was stored before the other began.
    assert remembered()[-1][1] in {"First", "Second"}
    await chat.ainvoke(human("Three"), THREAD)
    assert remembered()[-2:] == [("human", "Three"), ("ai", "Echo: Three")]


async def test_the_turn_is_stored_before_the_model_is_asked(upstream: FakeOpenAI, chat: Chat, folder: Path) -> None:
    await chat.ainvoke(human("Zero"), THREAD)
    upstream.reset()

    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        run = asyncio.create_task(chat.ainvoke(human("One"), THREAD))
        await asyncio.sleep(0.3)
        assert upstream.requests == []
        other.execute("COMMIT")

    assert (await run).content == "Echo: One"


# Long conversations


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch, folder: Path, data_dir: Path) -> LASSettings:
    """The embedded model, with a small context."""
    (folder / "models").symlink_to(data_dir / "models")
    monkeypatch.delenv("LAS_MODEL")
    monkeypatch.setenv("LAS_LOCAL_CONTEXT", "256")
    monkeypatch.setenv("LAS_MAX_TOKENS", "2")
    return load_settings()


async def test_a_long_conversation_is_cut_for_the_model_and_kept(embedded: LASSettings) -> None:
    chat = CHAIN.build(embedded)
    await chat.ainvoke(human("word " * 110), THREAD)
    answer = await chat.ainvoke(human("more " * 110), THREAD)

    assert 110 < answer.usage_metadata["input_tokens"] < 220
    assert [kind for kind, _ in remembered()] == ["human", "ai", "human", "ai"]


async def test_a_message_that_is_too_long_by_itself(embedded: LASSettings) -> None:
    chat = CHAIN.build(embedded)
    with pytest.raises(ContextWindowExceededError):
        await chat.ainvoke(human("word " * 500), THREAD)

    assert (await chat.ainvoke(human("Hi"), THREAD)).content
    assert [kind for kind, _ in remembered()] == ["human", "ai"]


# Processes


@pytest.mark.usefixtures("warm_python")
def test_kill_loses_nothing_that_was_said(upstream: FakeOpenAI, chat: Chat) -> None:
    upstream.enqueue(Reply(content="Yes"), Reply(content="I am in the middle of it", chunk_delay=0.3))
    command = warm.command("-c", PROGRAM, "One", "Two")
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "Yes\n"
        assert process.stdout.read(1) == "I"
        os.kill(warm.pid(process), signal.SIGKILL)

    chat.invoke(human("Three"), THREAD)

    assert asked(upstream)[1:] == [("user", "One"), ("assistant", "Yes"), ("user", "Two"), ("user", "Three")]
    assert remembered()[-1] == ("ai", "Echo: Three")


@pytest.mark.usefixtures("upstream")
def test_a_place_that_cannot_be_used(chat: Chat, folder: Path) -> None:
    (folder / FILE).write_bytes(b"no database" * 500)

    with pytest.raises(ValueError, match="The conversations cannot be read or written") as caught:
        chat.invoke(human("Hi"), THREAD)

    assert "\n" not in str(caught.value)
    # Who wants nothing remembered does not mind.
    assert chat.invoke(human("Hi")).content == "Echo: Hi"


def test_it_is_imported_without_what_takes_long() -> None:
    names = {"langgraph", "langchain", "litellm"}
    code = f"import sys, chains.chat, chains.compare; print(sorted({names} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
