"""Budgets: who is refused, when, and what is said."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from las_langchain.budgets import Budgets, Period
from las_langchain.callers import Caller
from las_langchain.errors import BudgetExceededError, ConfigurationError, RateLimitError, ServiceUnavailableError
from las_langchain.settings import load_settings
from las_langchain.usage import Ledger
from tests.ledger_process import record

pytest_plugins = ["tests.postgres"]

ALICE, BOB, NOBODY = Caller(key_id="alice"), Caller(key_id="bob"), Caller()
Build = Callable[..., tuple[Budgets, Ledger]]


@pytest.fixture
def build(database_url: str) -> Iterator[Build]:
    """Budgets with these settings, and their ledger."""
    ledgers = []

    def make(**given: Any) -> tuple[Budgets, Ledger]:
        settings = load_settings(database_url=database_url, **given)
        ledgers.append(Ledger.of(settings))
        return Budgets(settings, ledgers[-1]), ledgers[-1]

    yield make
    for ledger in ledgers:
        ledger.close()


def spend(ledger: Ledger, dollars: float, caller: Caller, ago: timedelta = timedelta()) -> None:
    """A call that cost so much."""
    ledger.write(record(key_id=caller.key_id, cost_usd=dollars, started=datetime.now(UTC) - ago))


def refusal(budgets: Budgets, caller: Caller) -> BudgetExceededError:
    """What *caller* is told."""
    with pytest.raises(BudgetExceededError) as error:
        budgets.check(caller)
    return error.value


def test_all_calls_have_one_budget(build: Build) -> None:
    budgets, ledger = build(budget=5.0)
    budgets.check(NOBODY)
    spend(ledger, 4.99, ALICE)
    budgets.check(BOB)
    spend(ledger, 0.02, NOBODY)
    for caller in (ALICE, BOB, NOBODY):
        assert "The budget of all calls is spent: $5.01 of $5.00." in str(refusal(budgets, caller))


def test_each_key_has_a_budget_of_its_own(build: Build) -> None:
    budgets, ledger = build(budget_per_key=1.0)
    spend(ledger, 1.0, ALICE)
    spend(ledger, 100.0, NOBODY)
    assert "The budget of the key 'alice' is spent: $1.00 of $1.00." in str(refusal(budgets, ALICE))
    for caller in (BOB, NOBODY, Caller(key_id="")):
        budgets.check(caller)


def test_a_named_key_has_the_budget_that_is_named(build: Build) -> None:
    budgets, ledger = build(budget_per_key=1.0, budgets={"alice": 10.0, "bob": 0.5})
    for caller in (ALICE, BOB):
        spend(ledger, 0.75, caller)
    budgets.check(ALICE)
    assert "[budgets] in las.toml sets it" in str(refusal(budgets, BOB))
    spend(ledger, 9.5, ALICE)
    assert "$10.25 of $10.00" in str(refusal(budgets, ALICE))


def test_both_budgets_hold(build: Build) -> None:
    budgets, ledger = build(budget=3.0, budget_per_key=2.0)
    spend(ledger, 2.5, ALICE)
    assert "LAS_BUDGET_PER_KEY sets it" in str(refusal(budgets, ALICE))
    budgets.check(BOB)
    spend(ledger, 0.5, BOB)
    assert "LAS_BUDGET sets it" in str(refusal(budgets, BOB))


def test_a_budget_of_nothing_allows_nothing(build: Build) -> None:
    budgets, _ = build(budgets={"alice": 0.0})
    assert "$0.00 of $0.00" in str(refusal(budgets, ALICE))
    budgets.check(BOB)


@pytest.mark.parametrize(
    ("period", "counted", "longest"),
    [("day", timedelta(hours=25), 1), ("month", timedelta(days=32), 31), ("forever", timedelta(days=9000), None)],
)
def test_a_budget_is_for_a_period(build: Build, period: str, counted: timedelta, longest: int | None) -> None:
    budgets, ledger = build(budget=1.0, budget_period=period)
    spend(ledger, 2.0, ALICE, ago=counted)
    if longest is None:
        error = refusal(budgets, ALICE)
        assert error.retry_after is None
        assert "It never starts anew;" in str(error)
        return
    budgets.check(ALICE)
    spend(ledger, 2.0, ALICE)
    error = refusal(budgets, ALICE)
    assert error.retry_after is not None
    assert 0 < error.retry_after <= longest * 86_400
    anew = datetime.now(UTC) + timedelta(seconds=error.retry_after)
    assert (anew + timedelta(minutes=1)).strftime("It starts anew on %Y-%m-%d at 00:00 UTC") in str(error)


async def test_the_async_form(build: Build) -> None:
    budgets, ledger = build(budget=1.0)
    await budgets.acheck(ALICE)
    await ledger.aadd(record(cost_usd=1.0))
    with pytest.raises(BudgetExceededError):
        await budgets.acheck(ALICE)


def test_a_refusal_is_openais(build: Build) -> None:
    budgets, _ = build(budget=0.0)
    error = refusal(budgets, NOBODY)
    assert isinstance(error, RateLimitError)
    assert (error.status_code, error.type, error.code) == (429, "insufficient_quota", "budget_exceeded")
    assert not error.is_retryable
    assert re.fullmatch(
        r"The budget of all calls is spent: \$0\.00 of \$0\.00\. It starts anew on \d{4}-\d\d-01 at 00:00 UTC; "
        r"LAS_BUDGET sets it",
        error.message,
    )


@pytest.mark.parametrize("given", [{}, {"budget_per_key": 1.0}, {"budgets": {"alice": 1.0}}])
async def test_where_no_budget_concerns_the_caller_nothing_is_opened(tmp_path: Path, given: dict[str, Any]) -> None:
    settings = load_settings(data_dir=tmp_path / "data", **given)
    budgets = Budgets(settings, Ledger.of(settings))
    budgets.check(NOBODY)
    await budgets.acheck(NOBODY)
    if not given:
        await budgets.acheck(ALICE)
    assert not (tmp_path / "data").exists()


def test_without_a_budget_sqlalchemy_is_not_imported() -> None:
    code = """
import asyncio, sys
from las_langchain.budgets import Budgets
from las_langchain.callers import Caller
from las_langchain.settings import load_settings
from las_langchain.usage import Ledger

settings = load_settings()
budgets = Budgets(settings, Ledger.of(settings))
budgets.check(Caller("alice"))
asyncio.run(budgets.acheck(Caller("alice")))
print("sqlalchemy" in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"


async def test_a_ledger_that_cannot_be_read_refuses(tmp_path: Path) -> None:
    (tmp_path / "usage.sqlite3").write_text("These are my notes.\n" * 100)
    settings = load_settings(data_dir=tmp_path, budget_per_key=1.0)
    budgets = Budgets(settings, Ledger.of(settings))
    with pytest.raises(ServiceUnavailableError) as error:
        await budgets.acheck(ALICE)
    assert error.value.message == (
        "The budget of the key 'alice' cannot be checked, since the ledger cannot be read; the call was not made"
    )
    assert "file is not a database" in str(error.value)
    await budgets.acheck(NOBODY)


async def test_a_ledger_that_does_not_answer_refuses_soon(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, budget=1.0)
    ledger = Ledger.of(settings)
    budgets = Budgets(settings, ledger)
    spend(ledger, 0.5, ALICE)
    ledger.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "usage.sqlite3", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("UPDATE calls SET seconds = 1")
        began = time.monotonic()
        with pytest.raises(ServiceUnavailableError, match="does not answer; the call was not made"):
            await budgets.acheck(ALICE)
        assert time.monotonic() - began < 20
        other.execute("ROLLBACK")


@pytest.mark.parametrize("key_id", ["k" * 501, "a\0b", "half \ud800"])
def test_an_odd_key_has_a_budget_too(build: Build, key_id: str) -> None:
    budgets, ledger = build(budget_per_key=1.0)
    spend(ledger, 1.0, Caller(key_id=key_id))
    assert refusal(budgets, Caller(key_id=key_id)).code == "budget_exceeded"
    assert ledger.totals(key_id=key_id).calls == len(ledger.calls(key_id=key_id)) == 1


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"budget": 1.0}, "LAS_BUDGET"),
        ({"budget_per_key": 0.0}, "LAS_BUDGET_PER_KEY"),
        ({"budgets": {"alice": 1.0}}, r"\[budgets\]"),
    ],
)
def test_a_budget_needs_the_ledger(given: dict[str, Any], name: str) -> None:
    settings = load_settings(enable_cost_tracking=False, **given)
    for ledger in (None, Ledger.of(settings)):
        with pytest.raises(ConfigurationError, match=f"^{name} needs the ledger: set LAS_ENABLE_COST_TRACKING=true"):
            Budgets(settings, ledger)
    with pytest.raises(ConfigurationError):
        Budgets(load_settings(**given), None)


async def test_no_ledger_and_no_budget() -> None:
    budgets = Budgets(load_settings(enable_cost_tracking=False), None)
    budgets.check(ALICE)
    await budgets.acheck(ALICE)


@pytest.mark.parametrize(
    ("kind", "now", "since", "until"),
    [
        ("day", datetime(2026, 12, 31, 23, 59, tzinfo=UTC), date(2026, 12, 31), date(2027, 1, 1)),
        ("day", datetime(2027, 1, 1, 8, tzinfo=timezone(timedelta(hours=9))), date(2026, 12, 31), date(2027, 1, 1)),
        ("month", datetime(2026, 12, 31, tzinfo=UTC), date(2026, 12, 1), date(2027, 1, 1)),
        ("month", datetime(2028, 2, 29, tzinfo=UTC), date(2028, 2, 1), date(2028, 3, 1)),
        ("month", datetime(2026, 1, 30, tzinfo=UTC), date(2026, 1, 1), date(2026, 2, 1)),
        ("forever", datetime(2026, 1, 30, tzinfo=UTC), date.min, None),
    ],
)
def test_periods(kind: str, now: datetime, since: date, until: date | None) -> None:
    assert Period.of(kind, now) == Period(since, until)


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)), st.sampled_from(["day", "month"])
)
def test_a_moment_is_in_its_period_and_the_next_begins_where_it_ends(now: datetime, kind: str) -> None:
    period = Period.of(kind, now)
    left = period.seconds_left(now)
    assert period.until is not None
    assert left is not None
    assert period.since <= now.date() < period.until
    assert 0 < left <= 31 * 86_400
    assert Period.of(kind, now + timedelta(seconds=left)).since == period.until
