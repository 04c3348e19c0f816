"""The ledger, on SQLite and on PostgreSQL: what is written, by whom, and what the sums are."""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from las_langchain.callers import Caller
from las_langchain.errors import APITimeoutError, BadRequestError
from las_langchain.records import CallRecord, Tokens
from las_langchain.settings import load_settings
from las_langchain.usage import GROUPS, Ledger, UsageRow, dollars
from las_langchain.usage.database import Database
from las_langchain.usage.gate import Gate
from las_langchain.usage.rows import row_of
from las_langchain.usage.tables import insert_calls, insert_into_sqlite
from tests import ledger_process
from tests.ledger_process import HOW, ROOT, record, writing

if TYPE_CHECKING:
    from tests.postgres import Postgres

pytest_plugins = ["tests.postgres"]

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    """An empty ledger."""
    with Ledger(database_url) as opened:
        yield opened


def ids(ledger: Ledger, **wanted: Any) -> list[str]:
    """The ids of all calls, the newest first."""
    return [row["id"] for row in ledger.calls(100_000, **wanted)]


# What a row holds


def test_a_row_holds_the_whole_record(ledger: Ledger) -> None:
    written = CallRecord(
        operation="chat",
        asked="fast",
        model="openai/gpt-4o",
        stream=True,
        caller=Caller(key_id="alice", chain="rag", request_id="req-1"),
        started=NOON,
        attempts=3,
        tokens=Tokens(prompt=7, completion=6, cached=5, cache_writes=4, reasoning=3, audio=2),
        tokens_estimated=True,
        cost_usd=0.125,
        first_token_seconds=0.5,
        response_id="chatcmpl-1",
    )
    written.ended("error", APITimeoutError("too slow"))
    ledger.write(written)
    (row,) = ledger.calls()
    assert row == {
        "id": written.id,
        "started": NOON,
        "operation": "chat",
        "asked": "fast",
        "model": "openai/gpt-4o",
        "provider": "openai",
        "stream": True,
        "status": "error",
        "error": "timeout_error",
        "status_code": 408,
        "attempts": 3,
        "cache_hit": False,
        "prompt_tokens": 7,
        "completion_tokens": 6,
        "cached_tokens": 5,
        "cache_write_tokens": 4,
        "reasoning_tokens": 3,
        "audio_tokens": 2,
        "tokens_estimated": True,
        "cost_usd": 0.125,
        "seconds": written.seconds,
        "first_token_seconds": 0.5,
        "key_id": "alice",
        "chain": "rag",
        "request_id": "req-1",
        "response_id": "chatcmpl-1",
    }


def test_what_is_not_known_is_none(ledger: Ledger) -> None:
    ledger.write(record(tokens=None, cost_usd=None, status_code=None))
    (row,) = ledger.calls()
    unknown = {name for name, value in row.items() if value is None}
    tokens = {f"{kind}_tokens" for kind in ("prompt", "completion", "cached", "cache_write", "reasoning", "audio")}
    assert unknown == tokens | {
        *("cost_usd", "status_code", "error", "first_token_seconds"),
        *("key_id", "chain", "request_id", "response_id"),
    }


def test_a_moment_is_kept_in_utc(ledger: Ledger) -> None:
    ledger.write(record(started=datetime(2026, 11, 4, 0, 30, tzinfo=timezone(timedelta(hours=9)))))
    assert ledger.calls()[0]["started"] == datetime(2026, 11, 3, 15, 30, tzinfo=UTC)
    assert ledger.calls()[0]["started"].tzinfo is UTC
    assert [row.group for row in ledger.report("day")] == ["2026-11-03"]


@pytest.mark.parametrize(
    ("fields", "column", "kept"),
    [
        ({"asked": "gpt\0-4o"}, "asked", "gpt-4o"),
        ({"asked": "gpt\ud83d"}, "asked", "gpt?"),
        ({"model": "openai/" + "ü" * 5000}, "model", "openai/" + "ü" * 493),
        ({"key_id": ""}, "key_id", None),
        ({"cost_usd": math.nan}, "cost_usd", None),
        ({"cost_usd": math.inf}, "cost_usd", None),
        ({"tokens": Tokens(prompt=2**63)}, "prompt_tokens", None),
        ({"tokens": Tokens(prompt=2**62)}, "prompt_tokens", 2**62),
        ({"tokens": Tokens(prompt=-1)}, "prompt_tokens", None),
        ({"tokens": Tokens(prompt="many")}, "prompt_tokens", None),  # type: ignore[arg-type]
    ],
)
def test_what_a_database_would_refuse_does_no_harm(
    ledger: Ledger, fields: dict[str, Any], column: str, kept: Any
) -> None:
    odd = record(**fields)
    for future in [ledger.add(item) for item in (record(), odd, record())]:
        future.result(30)
    assert ledger.totals().calls == 3
    row = next(row for row in ledger.calls() if row["id"] == odd.id)
    assert row[column] == kept


def test_a_record_is_written_as_it_was_when_it_was_added(ledger: Ledger) -> None:
    changing = record(model="openai/gpt-4o")
    future = ledger.add(changing)
    changing.model = "openai/other"
    future.result(30)
    assert ledger.calls()[0]["model"] == "openai/gpt-4o"


def test_a_record_counts_once(ledger: Ledger) -> None:
    twice = record(key_id="alice")
    ledger.write(twice)
    ledger.write(twice)
    futures = [ledger.add(item) for item in (twice, record(key_id="alice"), twice, record(key_id="alice"))]
    for future in futures:
        future.result(30)
    assert ledger.totals().calls == 3
    assert ledger.spent("alice", date.min) == 0.75


# Who writes


async def test_many_tasks(ledger: Ledger) -> None:
    await asyncio.gather(*(ledger.aadd(record()) for _ in range(500)))
    assert (await asyncio.to_thread(ledger.totals)).calls == 500


async def test_cancelling_does_not_undo(ledger: Ledger) -> None:
    waiting = asyncio.create_task(ledger.aadd(record()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await ledger.aadd(record())
    assert (await asyncio.to_thread(ledger.totals)).calls == 2


def test_fifty_threads(ledger: Ledger) -> None:
    def run() -> None:
        for _ in range(20):
            ledger.write(record(key_id="alice"))
        ledger.report("model")

    threads = [threading.Thread(target=run) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert ledger.totals().calls == 1000
    assert ledger.spent("alice", date.min) == 250


def test_what_is_queued_together_is_committed_together(postgres: Postgres) -> None:
    url = postgres.new_schema()
    with Ledger(url) as ledger:
        ledger.check()
        for future in [ledger.add(record()) for _ in range(2000)]:
            future.result(30)
    ((rows, transactions),) = postgres.execute("SELECT count(*), count(DISTINCT xmin::text) FROM calls", url)
    assert rows == 2000
    assert transactions < 200


@pytest.mark.parametrize("how", HOW)
def test_two_processes(database_url: str, how: str) -> None:
    with writing(database_url, "count", "1000", how) as one, writing(database_url, "count", "1000", how) as other:
        outputs = [process.communicate(timeout=120) for process in (one, other)]
    assert (one.returncode, other.returncode) == (0, 0), outputs
    acknowledged = {line for out, _ in outputs for line in out.split()}
    with Ledger(database_url) as ledger:
        assert set(ids(ledger)) == acknowledged
        assert len(acknowledged) == ledger.totals().calls == 2000
        assert ledger.spent(None, date.min) == 500


def test_a_second_ledger_of_a_file_takes_nothing_from_the_first(tmp_path: Path) -> None:
    file = tmp_path / "usage.sqlite3"
    code = f"""
import os, signal, subprocess, sys
from las_langchain.usage import Ledger
from tests.ledger_process import record
from pathlib import Path
file = Path({str(file)!r})
one, two = Ledger(file), Ledger(f"sqlite:///{{file}}")
one.write(record())
two.totals()
subprocess.run([sys.executable, "-c", f"from las_langchain.usage import Ledger; Ledger('sqlite:///{{file}}').totals()"])
for _ in range(50):
    one.write(record())
os.kill(os.getpid(), signal.SIGKILL)
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, capture_output=True, check=False)
    assert result.returncode == -signal.SIGKILL, result.stderr
    with Ledger(file) as ledger:
        assert ledger.totals().calls == 51


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("lines", [1, 50, 333])
def test_a_killed_process_loses_nothing_that_was_acknowledged(database_url: str, lines: int, how: str) -> None:
    with writing(database_url, "forever", how) as process:
        assert process.stdout is not None
        read = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        read += process.stdout.readlines()
    assert process.returncode == -signal.SIGKILL
    acknowledged = {line.strip() for line in read}
    assert len(acknowledged) >= lines
    with Ledger(database_url) as ledger:
        assert acknowledged <= set(ids(ledger))
        assert ledger.spent(None, date.min) == ledger.totals().cost_usd == 0.25 * ledger.totals().calls


@pytest.mark.parametrize("how", HOW)
def test_forking_while_threads_write(database_url: str, how: str) -> None:
    with writing(database_url, "fork", how) as process:
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    acknowledged = output.split()
    with Ledger(database_url) as ledger:
        assert sorted(ids(ledger)) == sorted(acknowledged)
        children = ledger.totals(key_id="child")
        assert children.calls == ledger_process.CHILDREN * ledger_process.ROWS
        assert ledger.totals().calls > children.calls + 1
        assert ledger.spent(None, date.min) == ledger.totals().cost_usd


def test_the_end_of_a_process_waits_for_what_is_queued(database_url: str) -> None:
    code = (
        "from tests.ledger_process import record; from las_langchain.usage import Ledger; import sys;"
        "ledger = Ledger(sys.argv[1]); [ledger.add(record()) for _ in range(300)]"
    )
    subprocess.run([sys.executable, "-c", code, database_url], check=True, cwd=ROOT, timeout=60)
    with Ledger(database_url) as ledger:
        assert ledger.totals().calls == 300


def test_a_closed_ledger_opens_again(ledger: Ledger) -> None:
    future = ledger.add(record())
    ledger.close()
    assert future.done()
    ledger.close()
    ledger.write(record())
    assert ledger.totals().calls == 2


# Where it is


def test_there_is_one_ledger_a_database(tmp_path: Path) -> None:
    here, there = (load_settings(data_dir=tmp_path / name) for name in ("here", "there"))
    elsewhere = load_settings(data_dir=tmp_path, database_url="postgresql://host/name")
    assert Ledger.of(here) is Ledger.of(load_settings(data_dir=Path("here")))
    assert len({Ledger.of(settings) for settings in (here, there, elsewhere)}) == 3
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_private_and_its_folder_is_created(tmp_path: Path) -> None:
    ledger = Ledger.of(load_settings(data_dir=tmp_path / "a folder" / "of 100% ?odd #names"))
    ledger.write(record())
    files = list((tmp_path / "a folder" / "of 100% ?odd #names").iterdir())
    assert {file.name for file in files} == {"usage.sqlite3", "usage.sqlite3-wal", "usage.sqlite3-shm"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert ledger.where == str(tmp_path / "a folder" / "of 100% ?odd #names" / "usage.sqlite3")
    ledger.close()
    assert [file.name for file in files if file.exists()] == ["usage.sqlite3"]


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_every_scheme_of_postgresql(postgres: Postgres, scheme: str) -> None:
    url = postgres.new_schema().replace("postgresql", scheme, 1)
    with Ledger.of(load_settings(database_url=url)) as ledger:
        ledger.write(record())
        assert ledger.totals().calls == 1
        assert ledger.where.startswith("postgresql://las:***@/postgres")


def test_sqlalchemy_waits_for_the_first_row() -> None:
    code = (
        "import sys; from las_langchain.usage import Ledger; from las_langchain.settings import load_settings;"
        "Ledger.of(load_settings()); print('sqlalchemy' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"


# Sums


def test_an_empty_ledger(ledger: Ledger) -> None:
    assert all(ledger.report(by) == [] for by in GROUPS)
    assert ledger.totals() == UsageRow(None, 0, 0, 0, 0, 0, None, 0, None, None)
    assert ledger.calls() == []
    assert ledger.spent(None, date.min) == ledger.spent("alice", date.min) == 0


def test_groups(ledger: Ledger) -> None:
    for fields in (
        {"model": "openai/a", "key_id": "alice", "chain": "rag", "cost_usd": 0.5, "started": NOON},
        {"model": "openai/b", "key_id": "alice", "cost_usd": 2.0, "started": NOON - timedelta(days=1)},
        {"model": "groq/a", "status": "error", "tokens": None, "cost_usd": None, "started": NOON},
        {"model": "groq/a", "cost_usd": None, "started": NOON, "cache_hit": True, "first_token_seconds": 0.5},
    ):
        ledger.write(record(**fields))
    groups = {by: [(row.group, row.calls) for row in ledger.report(by)] for by in GROUPS}
    assert groups == {
        "model": [("openai/b", 1), ("openai/a", 1), ("groq/a", 2)],
        "provider": [("openai", 2), ("groq", 2)],
        "day": [("2026-11-03", 3), ("2026-11-02", 1)],
        "key": [("alice", 2), (None, 2)],
        "chain": [(None, 3), ("rag", 1)],
        "status": [("ok", 3), ("error", 1)],
    }
    assert ledger.report("model")[2] == UsageRow(
        group="groq/a",
        calls=2,
        errors=1,
        cache_hits=1,
        prompt_tokens=10,
        completion_tokens=5,
        cost_usd=None,
        unpriced=1,
        seconds=1.5,
        first_token_seconds=0.5,
    )


def test_the_dearest_groups_only(ledger: Ledger) -> None:
    for cost, model in enumerate(("x/a", "x/b", "x/c")):
        ledger.write(record(model=model, cost_usd=float(cost)))
    assert [row.group for row in ledger.report("model", limit=2)] == ["x/c", "x/b"]


@pytest.mark.parametrize(
    ("since", "until", "hours"),
    [
        (None, None, [0, 12, 23, 24, 36]),
        (date(2026, 11, 3), None, [0, 12, 23, 24, 36]),
        (date(2026, 11, 4), None, [24, 36]),
        (None, date(2026, 11, 3), [0, 12, 23]),
        (date(2026, 11, 3), date(2026, 11, 3), [0, 12, 23]),
        (date.min, date.max, [0, 12, 23, 24, 36]),
        (NOON, None, [12, 23, 24, 36]),
        (None, NOON, [0]),
        (NOON.astimezone(timezone(timedelta(hours=-8))), datetime(2026, 11, 4, tzinfo=UTC), [12, 23]),
    ],
)
def test_a_span_of_time(ledger: Ledger, since: date | None, until: date | None, hours: list[int]) -> None:
    midnight = datetime(2026, 11, 3, tzinfo=UTC)
    for hour in (0, 12, 23, 24, 36):
        ledger.add(record(started=midnight + timedelta(hours=hour), response_id=str(hour)))
    ledger.write(record(started=midnight + timedelta(days=900_000)) if until is None and since is None else record())
    found = [row["response_id"] for row in ledger.calls(since=since, until=until) if row["response_id"]]
    assert found == [str(hour) for hour in reversed(hours)]
    if since is not None and until is not None and until != date.max:
        assert ledger.totals(since=since, until=until).calls == len(hours)


def test_pages_of_calls(ledger: Ledger) -> None:
    # Some begin in the same microsecond.
    for number in range(10):
        ledger.add(record(key_id="alice", started=NOON + timedelta(seconds=number // 3)))
    ledger.write(record(key_id="bob"))
    everything = ids(ledger, key_id="alice")
    pages, before = [], None
    while page := ledger.calls(4, before=before, key_id="alice"):
        pages.append([row["id"] for row in page])
        before = pages[-1][-1]
    assert [len(page) for page in pages] == [4, 4, 2]
    assert [call for page in pages for call in page] == everything
    with pytest.raises(BadRequestError, match="no such call"):
        ledger.calls(before="unknown")


def test_spending_is_by_day_and_key(ledger: Ledger) -> None:
    for key_id, cost, days in (
        (None, 1.0, 0),
        ("alice", 2.0, 0),
        ("alice", 4.0, 1),
        ("bob", 8.0, 31),
        ("bob", None, 0),
    ):
        ledger.write(record(key_id=key_id, cost_usd=cost, started=NOON - timedelta(days=days)))
    today = NOON.date()
    assert [ledger.spent(None, today - timedelta(days=days)) for days in (-1, 0, 1, 31)] == [0, 3, 7, 15]
    assert [ledger.spent("alice", today - timedelta(days=days)) for days in (-1, 0, 1)] == [0, 2, 6]
    assert ledger.spent("bob", today) == ledger.spent("carol", date.min) == 0


def test_an_unknown_group_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequestError, match=r"^by: expected one of model, .*, not 'modle'; did you mean 'model'\?$"):
        Ledger(tmp_path / "usage.sqlite3").report("modle")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


COUNTS = st.integers(0, 10**9)
TOKENS = st.none() | st.builds(Tokens, prompt=COUNTS, completion=COUNTS)
RECORDS = st.builds(
    record,
    key_id=st.sampled_from([None, "alice", "bob"]),
    chain=st.sampled_from([None, "rag"]),
    model=st.sampled_from(["openai/gpt-4o", "groq/llama", "local/smollm2"]),
    status=st.sampled_from(["ok", "error", "cancelled"]),
    started=st.datetimes(datetime(2026, 11, 1), datetime(2026, 11, 4), timezones=st.just(UTC)),
    cache_hit=st.booleans(),
    tokens=TOKENS,
    cost_usd=st.none() | st.floats(0, 1e6),
    seconds=st.floats(0, 1e3),
    first_token_seconds=st.none() | st.floats(0, 1e3),
)
KEYS: dict[str, Callable[[CallRecord], str | None]] = {
    "model": lambda record: record.model,
    "provider": lambda record: record.provider,
    "day": lambda record: record.started.date().isoformat(),
    "key": lambda record: record.caller.key_id,
    "chain": lambda record: record.caller.chain,
    "status": lambda record: record.status,
}


def added_up(group: str | None, records: list[CallRecord]) -> dict[str, Any]:
    """What a report should say of *records*."""
    counted = [record.tokens for record in records if record.tokens]
    prices = [record.cost_usd for record in records if record.cost_usd is not None]
    first = [record.first_token_seconds for record in records if record.first_token_seconds is not None]
    unpriced = [r for r in records if r.cost_usd is None and (r.status == "ok" or r.tokens)]
    return {
        "group": group,
        "calls": len(records),
        "errors": sum(record.status == "error" for record in records),
        "cache_hits": sum(record.cache_hit for record in records),
        "prompt_tokens": sum(tokens.prompt for tokens in counted),
        "completion_tokens": sum(tokens.completion for tokens in counted),
        "cost_usd": about(math.fsum(prices)) if prices else None,
        "unpriced": len(unpriced),
        "seconds": about(math.fsum(record.seconds for record in records) / len(records)) if records else None,
        "first_token_seconds": about(math.fsum(first) / len(first)) if first else None,
    }


def about(number: float) -> Any:
    return pytest.approx(number, rel=1e-9, abs=1e-12)


def values(row: UsageRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in UsageRow.__dataclass_fields__}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=st.lists(RECORDS, max_size=40), day=st.dates(date(2026, 10, 31), date(2026, 11, 5)))
def test_sums_are_pythons_sums(database_url: str, records: list[CallRecord], day: date) -> None:
    with Ledger(database_url) as ledger:
        known = ledger.totals().calls
        # Every example has a key of its own, since all share one database.
        mine = [record_of(item, f"{known}-{item.caller.key_id}") for item in records]
        for future in [ledger.add(item) for item in mine]:
            future.result(30)
        for key_id in {item.caller.key_id for item in mine}:
            of_key = [item for item in mine if item.caller.key_id == key_id]
            later = [item for item in of_key if item.started.date() >= day]
            assert values(ledger.totals(key_id=key_id)) == added_up(None, of_key)
            assert values(ledger.totals(key_id=key_id, since=day)) == added_up(None, later)
            assert ledger.spent(key_id, day) == about(math.fsum(item.cost_usd or 0 for item in later))
            for by in GROUPS:
                rows = {row.group: values(row) for row in ledger.report(by, key_id=key_id)}
                assert rows == {
                    group: added_up(group, list(members))
                    for group, members in groupby(sorted(of_key, key=lambda r: KEYS[by](r) or ""), KEYS[by])
                }
        assert ledger.totals().calls == known + len(mine)


def record_of(item: CallRecord, key_id: str) -> CallRecord:
    """*item* with another key."""
    item.caller = Caller(key_id=key_id, chain=item.caller.chain)
    return item


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "$0.00"),
        (0.05, "$0.05"),
        (0.0512, "$0.051200"),
        (0.000002, "$0.000002"),
        (1.239, "$1.24"),
        (12345.6, "$12,345.60"),
    ],
)
def test_dollars(amount: float, text: str) -> None:
    assert dollars(amount) == text


def test_the_log_says_nothing_of_what_went_well(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="las_langchain"):
        ledger.write(record())
        ledger.report("model")
    assert [entry.name for entry in caplog.records if entry.name.startswith("las_langchain.usage")] == []


def test_sqlites_driver_writes_what_sqlalchemy_does(tmp_path: Path) -> None:
    rows = [row_of(record()), row_of(record(started=NOON, cost_usd=None, tokens=None))]
    quick = Database(tmp_path / "driver", Gate())
    quick.write(lambda *_: pytest.fail("not by the driver"), sqlite=lambda driver: insert_into_sqlite(driver, rows))
    plain = Database(tmp_path / "sqlalchemy", Gate())
    plain.write(lambda connection, again: insert_calls(connection, rows, again))
    found = []
    for database in (quick, plain):
        database.close()
        with closing(sqlite3.connect(database.where)) as connection:
            found.append([connection.execute(f"SELECT * FROM {table}").fetchall() for table in ("calls", "spending")])
    assert found[0] == found[1]
    assert [len(table) for table in found[0]] == [2, 1]
