"""The ledger in trouble: locks, lost folders, full disks, dead servers. What was acknowledged is never lost."""

from __future__ import annotations

import asyncio
import json
import logging
import queue
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from las_langchain.errors import ConfigurationError, LASError
from las_langchain.settings import load_settings
from las_langchain.usage import Ledger
from las_langchain.usage.writer import LONGEST_QUEUE, Writer
from tests.ledger_process import ROOT, record, writing

if TYPE_CHECKING:
    from tests.postgres import Postgres

pytest_plugins = ["tests.postgres"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a SQLite ledger may be."""
    return tmp_path / "ledger" / "usage.sqlite3"


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """A lock of another program on *file*."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("COMMIT")


def logged(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """The rows that went to the log."""
    entries = [entry for entry in caplog.records if entry.name == "las_langchain.usage"]
    assert {entry.levelno for entry in entries} <= {logging.ERROR}
    return [json.loads(entry.getMessage()) for entry in entries]


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run *code* in a process of its own."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)


# Locks


def test_a_lock_of_another_program_is_waited_for(file: Path) -> None:
    with Ledger(file) as ledger, locked_for(file, ledger, 2.0):
        # Safe beside the file at once, and in it when the lock is gone.
        assert asyncio.run(_ticks_while_writing(ledger)) < 30
        assert beside(file)
        assert ledger.totals().calls == 101
        assert not beside(file)


def beside(file: Path) -> list[Path]:
    """The files of rows on their way into the ledger at *file*."""
    return list(file.parent.glob(f"{file.name}-rows-*"))


def test_a_lock_on_postgresqls_table_is_waited_for(postgres: Postgres) -> None:
    import psycopg

    url = postgres.new_schema()
    with Ledger(url) as ledger, psycopg.connect(url) as other:
        ledger.write(record())
        other.execute("LOCK TABLE calls IN ACCESS EXCLUSIVE MODE")
        timer = threading.Timer(2.0, other.commit)
        timer.start()
        assert asyncio.run(_ticks_while_writing(ledger)) > 30
        timer.join()
        assert ledger.totals().calls == 101


@contextmanager
def locked_for(file: Path, ledger: Ledger, seconds: float) -> Iterator[None]:
    """A lock of another program on an open ledger, for so many seconds."""
    ledger.write(record())
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(seconds, other.execute, ["COMMIT"])
        timer.start()
        yield
        timer.join()


async def _ticks_while_writing(ledger: Ledger) -> int:
    """How often the event loop comes round, every 10 milliseconds at most, until a hundred rows are written."""
    ticks, writing = 0, asyncio.gather(*(ledger.aadd(record()) for _ in range(100)))
    while not writing.done():
        await asyncio.sleep(0.01)
        ticks += 1
    await writing
    return ticks


@pytest.mark.slow
def test_a_lock_is_waited_for_longer_than_sqlite_does(file: Path) -> None:
    with Ledger(file) as ledger, locked_for(file, ledger, 11.5):
        began = time.monotonic()
        ledger.write(record())
        assert time.monotonic() - began > 11
    with Ledger(file) as ledger:
        assert ledger.totals().calls == 2


def test_a_lock_on_an_empty_file_is_waited_for(file: Path) -> None:
    file.parent.mkdir()
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other, Ledger(file) as ledger:
        other.execute("BEGIN EXCLUSIVE")
        timer = threading.Timer(1.0, other.execute, ["COMMIT"])
        timer.start()
        ledger.write(record())
        timer.join()
        assert ledger.totals().calls == 1


def test_many_processes_create_one_ledger(database_url: str) -> None:
    with ExitStack() as stack:
        processes = [stack.enter_context(writing(database_url, "count", "5")) for _ in range(4)]
        assert [process.communicate(timeout=90)[1] for process in processes] == [""] * 4
    with Ledger(database_url) as ledger:
        assert ledger.totals().calls == 20


@pytest.mark.slow
def test_closing_does_not_wait_for_ever(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger(file)
    ledger.write(record())
    with locked(file):
        first = ledger.add(record())
        time.sleep(0.2)
        futures = [first, *(ledger.add(record()) for _ in range(1500))]
        began = time.monotonic()
        ledger.close()
        assert time.monotonic() - began < 8
        assert all(isinstance(future.exception(0), LASError) for future in futures)
    assert len(logged(caplog)) == 1501
    # What was under way when the ledger was closed may still get in; what was queued does not.
    with Ledger(file) as again:
        again.write(record())
        assert again.totals().calls in (2, 3)


def test_a_queue_that_is_too_long_goes_to_the_log(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Ledger(file) as ledger:
        ledger.write(record())
        with locked(file):
            first = ledger.add(record())
            time.sleep(0.2)
            futures = [ledger.add(record()) for _ in range(LONGEST_QUEUE)]
            surplus = record()
            refused = ledger.add(surplus)
            assert "does not keep up" in str(refused.exception(0))
            assert not first.done()
        for future in futures:
            future.result(60)
        assert ledger.totals().calls == LONGEST_QUEUE + 2
    assert [row["id"] for row in logged(caplog)] == [surplus.id]


# Files and folders


def test_a_folder_that_may_not_be_written_to() -> None:
    code = """
import os, pathlib, sys
from las_langchain.errors import ConfigurationError
from las_langchain.usage import Ledger
from tests.ledger_process import HOW, ROOT, record, writing

warm = Ledger(pathlib.Path(sys.argv[1], "usage.sqlite3"))
warm.write(record())
warm.close()
if os.geteuid() == 0:  # Root may write anywhere.
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
ledger = Ledger(pathlib.Path(sys.argv[1], "readonly", "usage.sqlite3"))
for use in (lambda: ledger.write(record()), ledger.check, ledger.totals):
    try:
        use()
    except ConfigurationError as error:
        print(error)
"""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "readonly").mkdir(0o555)
        result = run(code, folder)
        assert list(Path(folder, "readonly").iterdir()) == []
    expected = (
        "The ledger cannot be used; check its file, its folder (LAS_DATA_DIR) and the disk "
        f"({folder}/readonly/usage.sqlite3: [Errno 13] Permission denied: '{folder}/readonly/usage.sqlite3')"
    )
    assert result.stdout.splitlines() == [expected] * 3
    # Coverage, where it is measured, says in a second line that it may not write either.
    line = json.loads(result.stderr.splitlines()[0])
    assert (line["not_in_the_ledger"], line["model"], line["cost_usd"]) == (expected, "openai/gpt-4o", 0.25)


def test_a_file_that_is_no_database_is_left_alone(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    file.parent.mkdir()
    file.write_text("These are my notes.\n" * 500)
    with Ledger(file) as ledger:
        for use in (lambda: ledger.write(record()), ledger.check, lambda: ledger.spent(None, date.min)):
            with pytest.raises(ConfigurationError, match="file is not a database") as error:
                use()
            assert str(file) not in error.value.message
            assert "\n" not in str(error.value)
    assert file.read_text() == "These are my notes.\n" * 500
    assert len(logged(caplog)) == 1


def test_a_damaged_file(file: Path) -> None:
    with Ledger(file) as ledger:
        for future in [ledger.add(record()) for _ in range(500)]:
            future.result(30)
    with file.open("r+b") as damaged:
        damaged.seek(8192)
        damaged.write(b"\xff" * 65536)
    with Ledger(file) as ledger:
        with pytest.raises(ConfigurationError, match="malformed"):
            ledger.write(record())
        with pytest.raises(ConfigurationError, match="malformed"):
            ledger.report("model")


def test_a_full_disk(file: Path) -> None:
    with writing(f"sqlite:///{file}", "limit", "write") as process:
        output, errors = process.communicate(timeout=60)
    first, second, refusal, third, last = output.splitlines()
    assert refusal.startswith("refused: The ledger cannot be used; check its file, its folder (LAS_DATA_DIR) and the")
    lost = json.loads(errors)
    with Ledger(file) as ledger:
        assert [row["id"] for row in ledger.calls()] == [last, third, second, first]
        assert lost["id"] not in output
        assert ledger.spent(None, date.min) == 1.0


def test_a_folder_that_is_deleted_under_way(file: Path) -> None:
    with Ledger(file) as ledger:
        ledger.write(record())
        shutil.rmtree(file.parent)
        ledger.write(record())
        assert ledger.totals().calls == 1
        file.unlink()
        assert ledger.totals().calls == 0
        ledger.write(record())
    with Ledger(file) as ledger:
        assert ledger.totals().calls == 1


def test_rows_go_in_again_once_the_folder_is_back(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Ledger(file) as ledger:
        ledger.write(record())
        file.parent.rename(file.parent.with_name("moved"))
        file.parent.write_text("in the way")
        lost = record(key_id="alice")
        with pytest.raises(ConfigurationError, match=r"File exists|Not a directory"):
            ledger.write(lost)
        file.parent.unlink()
        file.parent.with_name("moved").rename(file.parent)
        ledger.write(record())
        assert ledger.totals().calls == 2
    (row,) = logged(caplog)
    assert (row["id"], row["key_id"], row["cost_usd"], row["prompt_tokens"]) == (lost.id, "alice", 0.25, 10)
    assert row["started"].startswith(lost.started.isoformat(" ")[:19])


# PostgreSQL


def test_a_server_that_is_down(postgres: Postgres, caplog: pytest.LogCaptureFixture) -> None:
    with Ledger(postgres.new_schema()) as ledger:
        ledger.write(record())
        postgres.stop()
        try:
            began = time.monotonic()
            futures = [ledger.add(record()) for _ in range(50)]
            errors = [str(future.exception(30)) for future in futures]
            with pytest.raises(ConfigurationError):
                ledger.totals()
            assert time.monotonic() - began < 15
        finally:
            postgres.start()
        ledger.write(record())
        assert ledger.totals().calls == 2
    assert all(error.startswith("The ledger cannot be used; check LAS_DATABASE_URL (") for error in errors)
    assert all("s3cret" not in error for error in errors)
    assert len(logged(caplog)) == 50


def test_a_server_that_starts_anew_is_not_noticed(postgres: Postgres) -> None:
    with Ledger(postgres.new_schema()) as ledger:
        ledger.write(record())
        postgres.stop()
        postgres.start()
        ledger.write(record())
        postgres.stop()
        postgres.start()
        assert ledger.totals().calls == 2


def test_connections_that_the_server_ends(postgres: Postgres) -> None:
    with Ledger(postgres.new_schema()) as ledger:
        for number in range(1, 6):
            ledger.write(record())
            ended = postgres.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'las-langchain'"
            )
            assert ended
            assert ledger.totals().calls == number


def test_no_driver_for_postgresql() -> None:
    code = """
import sys
sys.modules["psycopg"] = None  # As where it is not installed.
from las_langchain.usage import Ledger
Ledger("postgresql://host/name").check()
"""
    errors = run(code).stderr
    assert 'PostgreSQL needs its driver: pip install "las-langchain[postgres]"' in errors.splitlines()[-1]


# Settings and versions


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://las:s3cret@host/name", "not this mysql://…"),
        ("nonsense", "cannot be read"),
        ("s3cret", "cannot be read"),
        ("postgresql://las:s3@cret@host/name", "%40 for @"),
        ("postgresql://las:s3cret@host:port/name", "cannot be read"),
        ("sqlite://", "sqlite:///path"),
        ("sqlite:///:memory:", "sqlite:///path"),
        ("sqlite:///usage.sqlite3?mode=ro", "without options"),
    ],
)
def test_an_address_that_cannot_be_used(url: str, message: str) -> None:
    ledger = Ledger.of(load_settings(database_url=url))
    for use in (ledger.check, lambda: ledger.write(record()), lambda: ledger.where):
        with pytest.raises(ConfigurationError, match=r"^LAS_DATABASE_URL: ") as error:
            use()
        assert message in str(error.value)
        assert "cret" not in str(error.value)


@pytest.mark.parametrize("query", ["", "?nonsense=s3cret&password=s3cret"])
def test_a_password_is_in_no_error(query: str, caplog: pytest.LogCaptureFixture) -> None:
    with Ledger(f"postgresql://las:s3cret@127.0.0.1:1/name{query}") as ledger:
        with pytest.raises(ConfigurationError) as error:
            ledger.write(record())
        assert "s3cret" not in f"{error.value}{error.value!r}{error.value.to_openai()}{caplog.text}{ledger.where}"


def test_a_later_versions_ledger_is_left_alone(database_url: str) -> None:
    with Ledger(database_url) as ledger:
        ledger.write(record())
    _execute(database_url, "UPDATE schema_version SET version = 2")
    with Ledger(database_url) as ledger:
        for use in (ledger.check, lambda: ledger.write(record())):
            with pytest.raises(
                ConfigurationError, match=r"later version \(2; this one knows 1\): upgrade las-langchain"
            ):
                use()
    _execute(database_url, "UPDATE schema_version SET version = 1")
    with Ledger(database_url) as ledger:
        assert ledger.totals().calls == 1


@pytest.mark.parametrize("table", ["calls", "schema_version"])
def test_tables_of_another_program_are_left_alone(database_url: str, table: str) -> None:
    if database_url.startswith("sqlite"):
        Path(database_url.removeprefix("sqlite:///")).parent.mkdir()
    _execute(database_url, f"CREATE TABLE {table} (version INTEGER)")
    with Ledger(database_url) as ledger, pytest.raises(ConfigurationError, match=rf"another program \({table}\)"):
        ledger.write(record())


def _execute(url: str, statement: str) -> None:
    import psycopg

    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file, file:
            file.execute(statement)
    else:
        with psycopg.connect(url) as connection:
            connection.execute(statement)


# The writer


def test_a_fault_of_the_writer_leaves_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    written: list[str] = []
    faults: queue.SimpleQueue[Any] = queue.SimpleQueue()
    monkeypatch.setattr(threading, "excepthook", lambda fault: faults.put(fault.exc_type))

    def insert(rows: list[dict[str, Any]]) -> None:
        if rows[0]["id"] == "bad":
            raise ZeroDivisionError("a fault")
        written.extend(row["id"] for row in rows)

    writer = Writer(insert)
    bad = writer.put({"id": "bad"})
    assert isinstance(bad.exception(10), LASError)
    writer.put({"id": "good"}).result(10)
    writer.stop(10)
    assert faults.get(timeout=10) is ZeroDivisionError
    assert written == ["good"]
    assert [row["id"] for row in logged(caplog)] == ["bad"]
