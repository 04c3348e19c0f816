"""Rows on their way into a SQLite file: safe beside it, whatever ends the process, and in it once each."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import date
from pathlib import Path

import pytest

from las_langchain.usage import Ledger
from las_langchain.usage.journal import Journal, left_behind
from las_langchain.usage.rows import row_of
from tests.ledger_process import ROOT, record

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "usage.sqlite3"


@pytest.fixture
def ledger(file: Path) -> Iterator[Ledger]:
    """A ledger that has been written to, as it must be before rows are kept beside it."""
    with Ledger(file) as opened:
        opened.write(record())
        yield opened


def beside(file: Path) -> list[Path]:
    return list(file.parent.glob(f"{file.name}-rows-*"))


def stored(file: Path) -> int:
    """The rows that are in the file itself."""
    with closing(sqlite3.connect(file)) as database:
        return int(database.execute("SELECT count(*) FROM calls").fetchone()[0])


async def add(ledger: Ledger, count: int = 1) -> None:
    await asyncio.gather(*(ledger.aadd(record()) for _ in range(count)))


def test_rows_are_beside_the_file_and_soon_in_it(ledger: Ledger, file: Path) -> None:
    asyncio.run(add(ledger, 5))
    assert (stored(file), len(beside(file))) == (1, 1)
    for _ in range(100):
        if stored(file) == 6:
            break
        time.sleep(0.05)
    assert stored(file) == 6
    time.sleep(0.1)
    assert beside(file) == []


def test_who_reads_finds_all(ledger: Ledger) -> None:
    for count in range(1, 4):
        asyncio.run(add(ledger))
        assert ledger.totals().calls == len(ledger.calls()) == ledger.report("model")[0].calls == count + 1
        assert ledger.spent(None, date.min) == (count + 1) * 0.25


def test_closing_puts_all_into_the_file(file: Path) -> None:
    with Ledger(file) as ledger:
        ledger.write(record())
        asyncio.run(add(ledger, 3))
    assert (stored(file), beside(file)) == (4, [])
    with ledger:
        asyncio.run(add(ledger, 3))
    assert (stored(file), beside(file)) == (7, [])


def test_the_first_row_waits_for_the_file(file: Path) -> None:
    with Ledger(file) as ledger:
        asyncio.run(add(ledger))
        assert (stored(file), beside(file)) == (1, [])


def test_many_threads_and_loops(ledger: Ledger, file: Path) -> None:
    def work() -> None:
        for _ in range(20):
            asyncio.run(add(ledger, 5))
            ledger.totals()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.totals().calls == 401
    assert ledger.spent(None, date.min) == 401 * 0.25
    assert stored(file) == 401


def orphan(file: Path, rows: list[dict[str, object]], cut: int = 0) -> None:
    """What a process leaves that is killed."""
    journal = Journal(file)
    for row in rows:
        assert journal.add(row)
    (path,) = [path for path in beside(file) if path.read_bytes().count(b"\n") == len(rows)]
    journal.leave()
    if cut:
        path.write_bytes(path.read_bytes()[:-cut])


@pytest.mark.parametrize("reads", [True, False])
def test_what_a_killed_process_left_is_taken_once(file: Path, reads: bool) -> None:
    rows = [row_of(record(key_id="key-a")) for _ in range(3)]
    with Ledger(file) as ledger:
        ledger.write(record())
    orphan(file, rows)
    # Its database had one of them when it was killed.
    with closing(sqlite3.connect(file)) as database:
        columns = [name for name in rows[0] if name != "started"]
        values = [rows[0][name] for name in columns]
        names, marks = ", ".join(["started", *columns]), ", ".join("?" * (len(columns) + 1))
        database.execute(f"INSERT INTO calls ({names}) VALUES ({marks})", ["2026-11-03 00:00:00.000000", *values])
        database.commit()
    with Ledger(file) as ledger:
        if not reads:
            ledger.write(record())
        assert ledger.totals().calls == 5 - reads
        # What that one cost was added with it; of the others it is now.
        assert ledger.spent("key-a", date.min) == 0.5
    assert beside(file) == []


def test_a_row_that_was_cut_and_garbage_are_passed_over(file: Path) -> None:
    with Ledger(file) as ledger:
        ledger.write(record())
    orphan(file, [row_of(record()), row_of(record())], cut=10)
    file.with_name(f"{file.name}-rows-1-garbage").write_bytes(b"\xff\n{}\n[]\nnull\n")
    with Ledger(file) as ledger:
        assert ledger.totals().calls == 2
    assert beside(file) == []


def test_those_of_a_living_process_are_left_alone(file: Path) -> None:
    with Ledger(file) as ledger:
        ledger.write(record())
    journal = Journal(file)
    assert journal.add(row_of(record()))
    with Ledger(file) as ledger:
        assert ledger.totals().calls == 1
    assert len(beside(file)) == 1
    journal.leave()
    with Ledger(file) as ledger:
        assert ledger.totals().calls == 2


def test_they_stay_where_the_database_does_not_take_them(file: Path) -> None:
    with Ledger(file) as ledger:
        ledger.write(record())
    orphan(file, [row_of(record())])
    with suppress(RuntimeError), left_behind(file) as rows:
        assert len(rows) == 1
        raise RuntimeError("The database does not take them")
    assert len(beside(file)) == 1


def test_a_database_that_fails_meanwhile(ledger: Ledger, file: Path, caplog: pytest.LogCaptureFixture) -> None:
    asyncio.run(add(ledger, 2))
    with closing(sqlite3.connect(file)) as database:
        database.execute("ALTER TABLE calls RENAME TO away")
        database.commit()
    for _ in range(100):
        if caplog.records:
            break
        time.sleep(0.05)
    assert [entry.levelno for entry in caplog.records] == [logging.ERROR]
    assert "2 rows wait beside the ledger" in caplog.text
    assert len(beside(file)) == 1
    with closing(sqlite3.connect(file)) as database:
        database.execute("ALTER TABLE away RENAME TO calls")
        database.commit()
    asyncio.run(add(ledger))
    assert ledger.totals().calls == 4
    assert beside(file) == []


def test_a_fork_leaves_them_to_the_parent(ledger: Ledger, file: Path) -> None:
    asyncio.run(add(ledger, 2))
    child = os.fork()
    if not child:
        try:
            ledger.write(record())
            asyncio.run(add(ledger, 2))
            ledger.close()
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    asyncio.run(add(ledger))
    assert ledger.totals().calls == 7
    assert ledger.spent(None, date.min) == 7 * 0.25
    assert beside(file) == []


def test_no_room_beside_the_file(ledger: Ledger, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        assert ledger._journal is None
        with pytest.raises(OSError, match="open files"):
            Journal(file)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    file.parent.chmod(0o500)
    try:
        asyncio.run(add(ledger))
    finally:
        file.parent.chmod(0o700)
    assert ledger.totals().calls == 2


def test_acknowledged_rows_survive_the_end_of_the_process(file: Path) -> None:
    script = f"""
import asyncio, os, pathlib
from las_langchain.usage import Ledger
from tests.ledger_process import record
ledger = Ledger(pathlib.Path({str(file)!r}))
async def work():
    for _ in range(40):
        await ledger.aadd(record())
asyncio.run(work())
os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 9
    with Ledger(file) as ledger:
        assert ledger.totals().calls == 40
    assert beside(file) == []
