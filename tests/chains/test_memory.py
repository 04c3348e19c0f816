"""Conversations are remembered, from any thread, event loop and process, and what is wrong is said in a line."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from pydantic import BaseModel
from typing_extensions import TypedDict

from chains.memory import FILE, checkpointer
from chains.memory.in_threads import Threads
from chains.memory.sqlite import SQLiteThreads
from chains.memory.turns import remembered_turn
from las_langchain.errors import ConfigurationError
from las_langchain.settings import LASSettings
from tests.ledger_process import ROOT

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

    from tests.postgres import Postgres

pytest_plugins = ["tests.postgres"]

THREAD: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
WRITER = """
import sys
from langgraph.checkpoint.base import empty_checkpoint
from chains.memory import checkpointer
from las_langchain.settings import LASSettings

config = {"configurable": {"thread_id": sys.argv[1], "checkpoint_ns": ""}}
saver = checkpointer(LASSettings())
"""


class State(TypedDict):
    """What the test's graph remembers."""

    messages: Annotated[list[Any], add_messages]
    other: Any


@pytest.fixture
def settings(tmp_path: Path) -> LASSettings:
    """Settings with a data folder that does not exist yet."""
    return LASSettings(data_dir=tmp_path / "new" / "data")


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, settings: LASSettings) -> Iterator[Threads]:
    """A file, then a PostgreSQL schema."""
    if request.param == "postgresql":
        found = at(request.getfixturevalue("postgres").new_schema(), settings)
    else:
        found = checkpointer(settings)
    yield found
    found.close()


def at(url: str, settings: LASSettings) -> Threads:
    """The conversations where ``LAS_DATABASE_URL`` is *url*."""
    return checkpointer(LASSettings(data_dir=settings.data_dir, database_url=url))  # type: ignore[arg-type]


def echoing(memory: Threads) -> CompiledStateGraph[Any, Any, Any, Any]:
    """A graph that says what was said."""
    graph = StateGraph(State)
    graph.add_node("echo", lambda state: {"messages": AIMessage(f"Echo: {state['messages'][-1].content}")})
    graph.add_edge(START, "echo")
    graph.add_edge("echo", END)
    return graph.compile(checkpointer=memory)


def say(text: str) -> Any:
    """The graph's input."""
    return {"messages": [HumanMessage(text)]}


def said(memory: Threads) -> list[str]:
    """What is remembered."""
    found = memory.get_tuple(THREAD)
    return [message.content for message in found.checkpoint["channel_values"]["messages"]] if found else []


def run(code: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start *code* in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcome(process: subprocess.Popen[str]) -> str:
    """What it printed, once it is over."""
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return output.strip()


# Both places


def test_any_loop_thread_and_synchronous_code(place: Threads) -> None:
    graph = echoing(place)

    graph.invoke(say("sync"), THREAD)
    asyncio.run(graph.ainvoke(say("one loop"), THREAD))
    asyncio.run(graph.ainvoke(say("another loop"), THREAD))
    threading.Thread(target=graph.invoke, args=(say("thread"), THREAD)).start()

    expected = ["sync", "one loop", "another loop", "thread"]
    wait_for(lambda: said(place) == [text for one in expected for text in (one, f"Echo: {one}")])


def test_many_conversations_at_the_same_time(place: Threads) -> None:
    graph = echoing(place)

    async def talk(number: int) -> list[str]:
        config: Any = {"configurable": {"thread_id": str(number)}}
        for text in ("a", "b"):
            await graph.ainvoke(say(f"{text}{number}"), config)
        return [message.content for message in (await graph.aget_state(config)).values["messages"]]

    async def talks(numbers: range) -> list[list[str]]:
        return await asyncio.gather(*map(talk, numbers))

    with ThreadPoolExecutor() as pool:
        halves = pool.map(lambda numbers: asyncio.run(talks(numbers)), [range(8), range(8, 16)])

    for number, texts in enumerate(text for half in halves for text in half):
        assert texts == [f"a{number}", f"Echo: a{number}", f"b{number}", f"Echo: b{number}"]


async def test_the_other_methods_of_a_checkpointer(place: Threads) -> None:
    graph = echoing(place)
    await graph.ainvoke(say("hello"), THREAD)

    steps = [found async for found in place.alist(THREAD)]
    assert [found.metadata["step"] for found in steps] == [1, 0, -1]
    assert [found.metadata["step"] async for found in place.alist(THREAD, limit=1)] == [1]
    # A reader that takes its time keeps nobody waiting.
    listed = place.list(THREAD)
    next(listed)
    assert len(said(place)) == 2
    history = await place.aget_delta_channel_history(config=THREAD, channels=["messages"])
    assert "messages" in history

    await place.adelete_thread("t")
    assert said(place) == []


async def test_pruned_it_goes_on_from_the_last_checkpoint(place: Threads) -> None:
    graph, other = echoing(place), {"configurable": {"thread_id": "other", "checkpoint_ns": ""}}
    for config in (THREAD, other):
        await graph.ainvoke(say("one"), config)
        await graph.ainvoke(say("two"), config)
    await place.aprune(["t", "unknown"])
    assert len(list(place.list(THREAD))) == 1
    assert len(list(place.list(other))) > 1
    await graph.ainvoke(say("three"), THREAD)
    assert said(place) == ["one", "Echo: one", "two", "Echo: two", "three", "Echo: three"]
    place.prune(["t"], strategy="delete")
    assert said(place) == []


async def test_what_cannot_be_pruned_is_left_for_the_next_turn(
    place: Threads, caplog: pytest.LogCaptureFixture
) -> None:
    graph = echoing(place)
    async with remembered_turn(place, "t"):
        await graph.ainvoke(say("one"), THREAD)
        refuse_deletions(place)

    assert said(place) == ["one", "Echo: one"]
    assert [entry.levelname for entry in caplog.records] == ["WARNING"]


def refuse_deletions(memory: Threads) -> None:
    """Let no checkpoint be deleted, as where the disk is full or another process prunes the same conversation."""
    with memory.cursor() if isinstance(memory, SQLiteThreads) else memory._cursor() as cursor:  # type: ignore[attr-defined]
        if isinstance(memory, SQLiteThreads):
            cursor.execute("CREATE TRIGGER held BEFORE DELETE ON checkpoints BEGIN SELECT RAISE(FAIL, 'held'); END")
            return
        cursor.execute("CREATE FUNCTION held() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''held''; END'")
        cursor.execute("CREATE TRIGGER held BEFORE DELETE ON checkpoints EXECUTE FUNCTION held()")


def test_messages_and_plain_data_are_restored_as_they_were(place: Threads, caplog: pytest.LogCaptureFixture) -> None:
    messages = [
        SystemMessage("Be brief", id="1"),
        HumanMessage([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}], id="2"),
        AIMessage("", tool_calls=[{"name": "f", "args": {"x": 1}, "id": "c"}], response_metadata={"cost": 0.1}, id="3"),
        ToolMessage("naïve \ud83d\ude00 \x00", tool_call_id="c", id="4"),
    ]
    graph = echoing(place)

    graph.update_state(THREAD, {"messages": messages, "other": {"list": [1, 2.5, None, True], "bytes": b"\0"}})

    values = graph.get_state(THREAD).values
    assert values["messages"][:3] == messages[:3]
    assert values["messages"][3].tool_call_id == "c"
    assert values["other"] == {"list": [1, 2.5, None, True], "bytes": b"\0"}
    assert [entry for entry in caplog.records if entry.levelno >= logging.WARNING] == []


class Ghost(BaseModel):
    """Must not come back to life."""

    name: str


def test_nothing_else_comes_back_to_life(place: Threads) -> None:
    graph = echoing(place)

    graph.update_state(THREAD, {"other": Ghost(name="Canterville")})

    assert graph.get_state(THREAD).values["other"] == {"name": "Canterville"}


def test_others_that_set_it_up_at_the_same_time(place: Threads) -> None:
    """Connections of their own know as little of each other as processes do."""
    others: list[Threads] = [type(place)(getattr(place, "_url", None) or place._file) for _ in range(8)]  # type: ignore[call-arg, attr-defined]
    begin = threading.Barrier(len(others))

    def write(other: Threads) -> None:
        begin.wait()
        other.put(THREAD, empty_checkpoint(), {}, {})
        other.close()

    with ThreadPoolExecutor(len(others)) as pool:
        list(pool.map(write, others))

    assert len(list(place.list(THREAD))) == len(others)


def test_a_forked_child_has_a_connection_of_its_own(place: Threads, settings: LASSettings) -> None:
    code = f"""{WRITER}
import os
saver.put(config, empty_checkpoint(), {{}}, {{}})
open_files = "/proc/self/fd"
child = os.fork()
if not child:
    assert not [name for name in os.listdir(open_files) if {FILE!r} in os.path.realpath(f"{{open_files}}/{{name}}")]
for _ in range(20):
    saver.put(config, empty_checkpoint(), {{}}, {{}})
if child:
    assert os.waitpid(child, 0)[1] == 0
    print(len(list(saver.list(config))))
else:
    saver.close()
    os._exit(0)
"""
    environment = {"LAS_DATA_DIR": str(settings.data_dir)}
    if url := getattr(place, "_url", None):
        environment["LAS_DATABASE_URL"] = url.set(drivername="postgresql").render_as_string(hide_password=False)

    assert outcome(run(code, "t", **environment)) == "41"


def test_one_a_place(settings: LASSettings, tmp_path: Path) -> None:
    others = LASSettings(data_dir=tmp_path / "other")

    with ThreadPoolExecutor() as pool:
        found = set(pool.map(lambda _: checkpointer(settings), range(8)))

    assert len(found) == 1
    assert checkpointer(others) not in found


# SQLite


def test_the_file_is_nobody_elses(settings: LASSettings) -> None:
    echoing(checkpointer(settings)).invoke(say("secret"), THREAD)

    files = sorted(settings.data_dir.glob(f"{FILE}*"))
    assert files[0].name == FILE
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_ledger_in_another_sqlite_file_is_the_ledgers_alone(settings: LASSettings, tmp_path: Path) -> None:
    assert at(f"sqlite:///{tmp_path / 'ledger.sqlite3'}", settings) is checkpointer(settings)


def test_a_file_that_is_deleted_meanwhile_is_made_anew(settings: LASSettings) -> None:
    memory = checkpointer(settings)
    graph = echoing(memory)
    graph.invoke(say("before"), THREAD)
    for file in settings.data_dir.glob(f"{FILE}*"):
        file.unlink()

    graph.invoke(say("after"), THREAD)
    memory.close()

    assert said(memory) == ["after", "Echo: after"]


def test_another_programs_lock_is_waited_for(settings: LASSettings) -> None:
    memory = checkpointer(settings)
    graph = echoing(memory)
    graph.invoke(say("one"), THREAD)

    with closing(sqlite3.connect(settings.data_dir / FILE, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        threading.Timer(0.4, other.execute, ["COMMIT"]).start()
        began = time.monotonic()
        graph.invoke(say("two"), THREAD)
        assert time.monotonic() - began > 0.3

    assert said(memory)[2:] == ["two", "Echo: two"]


def test_a_file_that_is_being_set_up_is_waited_for(settings: LASSettings) -> None:
    settings.data_dir.mkdir(parents=True)

    with closing(sqlite3.connect(settings.data_dir / FILE, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        threading.Timer(0.4, other.execute, ["COMMIT"]).start()
        began = time.monotonic()
        assert said(checkpointer(settings)) == []
        assert time.monotonic() - began > 0.3


async def test_a_write_that_is_cancelled_is_whole(settings: LASSettings) -> None:
    memory = checkpointer(settings)
    await memory.aget_tuple(THREAD)

    with closing(sqlite3.connect(settings.data_dir / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        write = asyncio.create_task(memory.aput(THREAD, empty_checkpoint(), {"step": 7}, {}))
        await asyncio.sleep(0.1)
        write.cancel()
        with pytest.raises(asyncio.CancelledError):
            await write
        other.execute("COMMIT")

    found = None
    while found is None:
        found = await memory.aget_tuple(THREAD)
    assert found.metadata["step"] == 7


def test_a_write_that_fails_leaves_nothing(settings: LASSettings) -> None:
    memory = checkpointer(settings)
    config = memory.put(THREAD, empty_checkpoint(), {}, {})

    with closing(sqlite3.connect(settings.data_dir / FILE)) as other:
        other.execute(
            "CREATE TRIGGER full BEFORE INSERT ON writes WHEN NEW.idx = 1 BEGIN SELECT RAISE(FAIL, 'disk full'); END"
        )
    with pytest.raises(ConfigurationError, match="disk full"):
        memory.put_writes(config, [("a", 1), ("b", 2)], "task")

    found = memory.get_tuple(THREAD)
    assert found is not None
    assert found.pending_writes == []


def _garbage(file: Path) -> None:
    file.parent.mkdir(parents=True)
    file.write_bytes(b"no database" * 500)


def _folder(file: Path) -> None:
    file.mkdir(parents=True)


def _no_folder(file: Path) -> None:
    file.parent.parent.mkdir(parents=True)
    file.parent.touch()


def _of_another_program(file: Path) -> None:
    file.parent.mkdir(parents=True)
    with closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE checkpoints (cheese TEXT)")


def _later(file: Path) -> None:
    file.parent.mkdir(parents=True)
    with closing(sqlite3.connect(file)) as other:
        other.execute("PRAGMA user_version=2")


@pytest.mark.parametrize(
    ("damage", "message", "reason"),
    [
        (_garbage, "LAS_DATA_DIR", "not a database"),
        (_folder, "LAS_DATA_DIR", "unable to open"),
        (_no_folder, "LAS_DATA_DIR", "exists"),
        (_of_another_program, "LAS_DATA_DIR", "no column"),
        (_later, "later version", ""),
    ],
    ids=["garbage", "a folder", "no folder", "another program's", "a later version's"],
)
def test_a_file_that_cannot_be_used(
    settings: LASSettings, damage: Callable[[Path], None], message: str, reason: str
) -> None:
    file = settings.data_dir / FILE
    damage(file)

    for _ in range(2):
        with pytest.raises(ConfigurationError) as caught:
            checkpointer(settings).put(THREAD, empty_checkpoint(), {}, {})

        error = caught.value
        assert message in error.message
        assert str(file.parent) not in error.message
        assert str(file.parent) in str(error.detail)
        assert reason in str(error.detail)
        assert "\n" not in str(error)


def test_it_is_used_as_soon_as_it_can_be(settings: LASSettings) -> None:
    file = settings.data_dir / FILE
    _garbage(file)
    memory = checkpointer(settings)
    with pytest.raises(ConfigurationError):
        memory.get_tuple(THREAD)

    file.unlink()

    assert said(memory) == []


def test_a_damaged_checkpoint(settings: LASSettings) -> None:
    memory = checkpointer(settings)
    echoing(memory).invoke(say("hello"), THREAD)
    with closing(sqlite3.connect(settings.data_dir / FILE)) as other, other:
        other.execute("UPDATE checkpoints SET checkpoint = x'c1'")

    with pytest.raises(ConfigurationError, match="cannot be read"):
        memory.get_tuple(THREAD)


# PostgreSQL


def test_a_server_that_starts_anew_is_not_noticed(postgres: Postgres, settings: LASSettings) -> None:
    memory = at(postgres.new_schema(), settings)
    graph = echoing(memory)
    graph.invoke(say("before"), THREAD)
    postgres.stop()
    postgres.start()

    graph.invoke(say("after"), THREAD)

    assert said(memory)[2:] == ["after", "Echo: after"]
    memory.close()


def test_a_server_that_is_not_there(postgres: Postgres, settings: LASSettings) -> None:
    address = postgres.url().replace("las:", "las:s3cret").replace("/las-pg-", "/las-nowhere-")

    with pytest.raises(ConfigurationError) as caught:
        at(address, settings).get_tuple(THREAD)

    assert "LAS_DATABASE_URL" in caught.value.message
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tables_of_a_later_version(postgres: Postgres, settings: LASSettings) -> None:
    url = postgres.new_schema()
    memory = at(url, settings)
    memory.get_tuple(THREAD)
    memory.close()
    postgres.execute("INSERT INTO checkpoint_migrations VALUES (99)", url)

    with pytest.raises(ConfigurationError, match="later version"):
        memory.get_tuple(THREAD)


@pytest.mark.parametrize("package", ["psycopg_pool", "langgraph.checkpoint.postgres"])
def test_postgresql_without_its_packages(package: str) -> None:
    code = f"""
import sys
sys.modules[{package!r}] = None  # As where it is not installed.
from chains.memory import checkpointer
from las_langchain.errors import ConfigurationError
from las_langchain.settings import LASSettings
try:
    checkpointer(LASSettings(database_url="postgresql://host/name"))
except ConfigurationError as error:
    print(error)
"""
    assert "pip install 'las-langchain[postgres]'" in outcome(run(code))


def test_an_address_that_is_none(settings: LASSettings) -> None:
    with pytest.raises(ConfigurationError, match="LAS_DATABASE_URL"):
        at("mysql://host/name", settings)


def wait_for(true: Callable[[], bool]) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
