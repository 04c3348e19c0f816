"""What a row of the ledger costs, beside an insert and a commit by sqlite3 alone, in one process.

All write the same rows into SQLite files of their own, with the same tables and the same pragmas, by turns; processor
time is that of this process, all its threads included. A single writer waits for every row; concurrent ones, as the
calls of a server are, share a transaction. A writer's rows go through a thread, those of a task are written by its
loop. A reader of a budget is measured with the rows there.

    python benchmarks/ledger.py
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from datetime import date
from functools import partial
from pathlib import Path

from las_langchain.callers import Caller
from las_langchain.records import CallRecord, Tokens
from las_langchain.usage import Ledger

ROUNDS = 5
ROWS = 1_600
WRITERS = 32
READS = 400

Write = Callable[[], None]


def record() -> CallRecord:
    """A call of a key, with everything that a provider says."""
    tokens = Tokens(prompt=1200, completion=300, cached=1000)
    caller = Caller(key_id="alice", request_id="req-0123456789")
    made = CallRecord("chat", "gpt-4o", "openai/gpt-4o", caller=caller, tokens=tokens, cost_usd=0.0123, attempts=1)
    made.ended("ok")
    return made


def one_writer(ledger: Ledger) -> None:
    """Write rows one after the other."""
    for _ in range(ROWS):
        ledger.write(record())


def tasks(ledger: Ledger, writers: int) -> None:
    """Write rows from the tasks of one event loop."""

    async def run() -> None:
        async def write() -> None:
            for _ in range(ROWS // writers):
                await ledger.aadd(record())

        await asyncio.gather(*(write() for _ in range(writers)))

    asyncio.run(run())


def threads(ledger: Ledger) -> None:
    """Write rows from threads."""

    def write() -> None:
        for _ in range(ROWS // WRITERS):
            ledger.write(record())

    running = [threading.Thread(target=write) for _ in range(WRITERS)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def nobody_waits(ledger: Ledger) -> None:
    """Queue rows, and wait for the last."""
    for future in [ledger.add(record()) for _ in range(ROWS)]:
        future.result()


def bare(connection: sqlite3.Connection, row: tuple[object, ...]) -> None:
    """Insert a row, add up what it costs and commit, by sqlite3 alone."""
    insert = f"INSERT INTO calls VALUES ({', '.join('?' * len(row))})"
    spend = (
        "INSERT INTO spending VALUES ('2026-11-03', 'alice', 0.0123) "
        "ON CONFLICT (day, key_id) DO UPDATE SET cost_usd = cost_usd + excluded.cost_usd"
    )
    for _ in range(ROWS):
        made = record()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(insert, (made.id, *row[1:]))
        connection.execute(spend)
        connection.execute("COMMIT")


def twin(file: Path) -> tuple[sqlite3.Connection, tuple[object, ...]]:
    """An empty database like the one in *file*, and a row of that."""
    with closing(sqlite3.connect(file)) as ledger:
        schema = [sql for (sql,) in ledger.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")]
        row = ledger.execute("SELECT * FROM calls LIMIT 1").fetchone()
    connection = sqlite3.connect(file.with_name("bare.sqlite3"), isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    for statement in schema:
        connection.execute(statement)
    return connection, row


def measured(write: Write) -> tuple[float, float]:
    """Rows a second, and microseconds of processor time a row."""
    began, busy = time.perf_counter(), time.process_time()
    write()
    return ROWS / (time.perf_counter() - began), (time.process_time() - busy) / ROWS * 1e6


def measure(contestants: dict[str, Write]) -> dict[str, tuple[float, float]]:
    """The medians of several rounds for each of *contestants*, which take turns."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name, write in contestants.items():
            taken[name].append(measured(write))
    return {
        name: (statistics.median(rate for rate, _ in figures), statistics.median(busy for _, busy in figures))
        for name, figures in taken.items()
    }


def per_read(ledger: Ledger) -> float:
    """Microseconds of processor time to learn what a key has spent."""
    began = time.process_time()
    for _ in range(READS):
        ledger.spent("alice", date.min)
    return (time.process_time() - began) / READS * 1e6


def main() -> int:
    """Print the figures and the ratios to sqlite3's."""
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "usage.sqlite3") as ledger:
        ledger.write(record())
        connection, row = twin(Path(ledger.where))
        with closing(connection):
            contestants: dict[str, Write] = {
                "sqlite3 alone": partial(bare, connection, row),
                "1 writer": partial(one_writer, ledger),
                "1 task": partial(tasks, ledger, 1),
                f"{WRITERS} tasks": partial(tasks, ledger, WRITERS),
                f"{WRITERS} threads": partial(threads, ledger),
                "nobody waits": partial(nobody_waits, ledger),
            }
            figures = measure(contestants)
        rate, busy = figures["sqlite3 alone"]
        print(f"median of {ROUNDS} rounds of {ROWS} rows; in brackets, as a multiple of sqlite3 alone")
        for name, (a_second, a_row) in figures.items():
            print(
                f"{name:14} {a_second:8,.0f} ({a_second / rate:4.2f}) rows a second   "
                f"{a_row:6.1f} ({a_row / busy:4.2f}) µs of processor time a row"
            )
        print(f"{'a budget':14} {per_read(ledger):6.1f} µs of processor time to look up")
    return 0


if __name__ == "__main__":
    sys.exit(main())
