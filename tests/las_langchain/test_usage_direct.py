"""Rows that an event loop writes into a SQLite file itself, and those that it leaves to the thread since they wait."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path

import pytest

from las_langchain.usage import Ledger
from las_langchain.usage.direct import LONGEST_LOG, MOST_ROWS
from las_langchain.usage.gate import Gate
from las_langchain.usage.rows import row_of
from las_langchain.usage.store import Store
from tests.ledger_process import record

PAGE = 4096


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a SQLite ledger may be, in a folder that SQLite's addresses must quote."""
    return tmp_path / "100% ?odd #names" / "usage.sqlite3"


@pytest.fixture
def ledger(file: Path) -> Iterator[Ledger]:
    """A ledger with one row, and so one that is open."""
    with Ledger(file) as opened:
        opened.write(record())
        yield opened


@pytest.fixture
def gate() -> Gate:
    """An open gate."""
    return Gate()


@pytest.fixture
def store(file: Path, gate: Gate) -> Iterator[Store]:
    """The database of such a ledger."""
    opened = Store(file, gate)
    opened.insert([row_of(record())])
    yield opened
    opened.close()


@contextmanager
def connected(file: Path) -> Iterator[sqlite3.Connection]:
    """Another program's connection."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        yield other


def calls(file: Path) -> int:
    """How many rows another program finds."""
    with connected(file) as other:
        (number,) = other.execute("SELECT count(*) FROM calls").fetchone()
    return int(number)


def added(store: Store, rows: int = 1) -> bool:
    """Whether so many new rows are committed at once."""
    return store.insert_at_once([row_of(record()) for _ in range(rows)])


# Written by the loop


async def test_what_comes_in_one_turn_is_committed_in_the_next(ledger: Ledger, file: Path) -> None:
    tasks = [asyncio.create_task(ledger.aadd(record())) for _ in range(5)]
    await asyncio.sleep(0)
    assert calls(file) == 1
    await asyncio.sleep(0)
    assert calls(file) == 6
    await asyncio.gather(*tasks)
    assert ledger.spent(None, date.min) == 1.5


async def test_a_record_counts_once(ledger: Ledger) -> None:
    twice = record()
    await ledger.aadd(twice)
    await asyncio.gather(*(ledger.aadd(item) for item in (record(), twice, record())))
    assert ledger.totals().calls == 4
    assert ledger.spent(None, date.min) == 1.0


def test_loops_in_two_threads(ledger: Ledger) -> None:
    async def run() -> None:
        for _ in range(100):
            await asyncio.gather(*(ledger.aadd(record()) for _ in range(3)))

    threads = [threading.Thread(target=asyncio.run, args=[run()]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.totals().calls == 601
    assert ledger.spent(None, date.min) == 601 * 0.25


async def test_the_log_does_not_grow_for_ever(ledger: Ledger, file: Path) -> None:
    for _ in range(1500):
        await ledger.aadd(record())
    assert Path(f"{file}-wal").stat().st_size < 2 * LONGEST_LOG * PAGE
    assert calls(file) == 1501


async def test_a_reader_does_not_hold_up_the_loop(ledger: Ledger, file: Path) -> None:
    with connected(file) as other:
        other.execute("BEGIN")
        assert other.execute("SELECT count(*) FROM calls").fetchone() == (1,)
        for _ in range(500):
            await ledger.aadd(record())
        assert other.execute("SELECT count(*) FROM calls").fetchone() == (1,)
        other.execute("COMMIT")
    grown = Path(f"{file}-wal").stat().st_size
    for _ in range(1000):
        await ledger.aadd(record())
    assert Path(f"{file}-wal").stat().st_size <= grown + LONGEST_LOG * PAGE
    assert calls(file) == 1501


# Rows of tasks that end, loops that end, ledgers that are closed


async def test_a_ledger_that_is_closed_in_the_same_turn(ledger: Ledger, file: Path) -> None:
    waiting = asyncio.create_task(ledger.aadd(record()))
    await asyncio.sleep(0)
    ledger.close()
    assert calls(file) == 2
    await waiting
    await ledger.aadd(record())
    assert calls(file) == 3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:coroutine")
def test_a_loop_that_ends_before_its_next_turn(ledger: Ledger, file: Path) -> None:
    loop = asyncio.new_event_loop()
    waiting = ledger.aadd(record())
    # Its first step, with nothing of the loop after it.
    loop.call_soon(asyncio.events._set_running_loop, loop)
    asyncio.events._set_running_loop(loop)
    try:
        waiting.send(None)
    finally:
        asyncio.events._set_running_loop(None)
    loop.close()
    ledger.close()
    assert calls(file) == 2
    waiting.close()


async def test_patience(ledger: Ledger, file: Path) -> None:
    with connected(file) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            await ledger.aadd(record(), patience=0.1)
        assert time.monotonic() - began < 1
        cancelled = asyncio.create_task(ledger.aadd(record(), patience=5))
        await asyncio.sleep(0.05)
        cancelled.cancel()
        other.execute("COMMIT")
    await ledger.aadd(record(), patience=30)
    assert calls(file) == 4


# What the loop leaves to the thread


def test_nothing_is_opened_for_the_loop_before_the_first_row(file: Path, gate: Gate) -> None:
    store = Store(file, gate)
    assert not added(store)
    assert not file.exists()


def test_many_rows_are_left_to_the_thread(store: Store, file: Path) -> None:
    assert not added(store, MOST_ROWS + 1)
    assert added(store, MOST_ROWS)
    assert calls(file) == 1 + MOST_ROWS


def test_a_lock_is_not_waited_for(store: Store, file: Path) -> None:
    with connected(file) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        assert not added(store)
        assert time.monotonic() - began < 1
        other.execute("COMMIT")
    assert added(store)
    assert calls(file) == 2


def test_a_fork_is_not_waited_for(store: Store, gate: Gate, file: Path) -> None:
    gate.shut(0)
    assert not added(store)
    gate.open()
    assert added(store)
    assert calls(file) == 2


def test_what_fails_is_undone(store: Store, file: Path) -> None:
    twice = row_of(record())
    assert not store.insert_at_once([row_of(record()), twice, twice])
    assert calls(file) == 1
    assert not added(store)
    store.insert([row_of(record())])
    assert added(store)
    assert calls(file) == 3


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_gone_is_not_written_to(store: Store, file: Path, replaced: bool) -> None:
    other = Store(file.with_name("other.sqlite3"), Gate())
    other.insert([row_of(record())])
    other.close()
    shutil.move(file, file.with_name("moved.sqlite3"))
    if replaced:
        shutil.move(other.where, file)
    assert not added(store)
    assert file.exists() == replaced
    store.insert([row_of(record())])
    assert added(store)
    assert calls(file) == 2 + replaced


def test_a_file_without_a_log_is_left_to_the_thread(store: Store, file: Path) -> None:
    store.close()
    with connected(file) as other:
        assert other.execute("PRAGMA journal_mode=DELETE").fetchone() == ("delete",)
        assert not added(store)
    store.insert([row_of(record())])
    assert added(store)
    assert calls(file) == 3


def test_a_checkpoint_is_left_to_the_thread(store: Store, file: Path) -> None:
    while added(store):
        assert Path(f"{file}-wal").stat().st_size < 1.5 * LONGEST_LOG * PAGE
    assert Path(f"{file}-wal").stat().st_size > 0.5 * LONGEST_LOG * PAGE
    size = file.stat().st_size
    store.insert([row_of(record())])
    assert file.stat().st_size > size
    assert added(store)


def test_a_loop_that_is_held_up_writes_no_more_for_a_while(store: Store) -> None:
    interval, running = sys.getswitchinterval(), [True]

    def compute() -> None:
        while running:
            pass

    sys.setswitchinterval(0.2)  # So long does another thread keep the interpreter, once it has it.
    thread = threading.Thread(target=compute)
    thread.start()
    try:
        assert any(_rests(store) for _ in range(2000))
    finally:
        running.clear()
        thread.join()
        sys.setswitchinterval(interval)
    assert _rests(store)


def _rests(store: Store) -> bool:
    """Whether the loop is to write nothing, though a thread has just done what was due."""
    if added(store):
        return False
    store.insert([row_of(record())])
    return not added(store)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
async def test_a_child_of_a_loop_begins_anew(ledger: Ledger, file: Path) -> None:
    await ledger.aadd(record())
    child = os.fork()
    if not child:
        code = 1
        try:
            asyncio.events._set_running_loop(None)
            asyncio.run(ledger.aadd(record()))
            asyncio.run(ledger.aadd(record()))
            ledger.close()
            code = 0
        finally:
            os._exit(code)
    await ledger.aadd(record())
    await ledger.aadd(record())
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert calls(file) == 6
