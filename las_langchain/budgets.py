"""Budgets: what all calls together, and the calls of each key, may cost in a day, in a month, or ever."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from las_langchain.callers import Caller
from las_langchain.errors import BudgetExceededError, ConfigurationError, LASError, ServiceUnavailableError
from las_langchain.settings import LASSettings
from las_langchain.threads import in_thread
from las_langchain.usage import Ledger, dollars

PATIENCE = 5.0
"""Longest wait of a call for the ledger to say what was spent, in seconds."""


@dataclass(frozen=True, slots=True)
class Period:
    """The time that a budget is for.

    Attributes:
        since: its first day, in UTC.
        until: the day on which the next one begins; None: there is no next one.
    """

    since: date
    until: date | None

    @classmethod
    def of(cls, kind: str, now: datetime) -> Period:
        """The one that *now* is in.

        Args:
            kind: ``day``, ``month`` or ``forever``, as in ``LAS_BUDGET_PERIOD``.
            now: a moment with its time zone.
        """
        today = now.astimezone(UTC).date()
        if kind == "forever":
            return cls(date.min, None)
        if kind == "day":
            return cls(today, today + timedelta(days=1))
        return cls(today.replace(day=1), (today.replace(day=28) + timedelta(days=4)).replace(day=1))

    def seconds_left(self, now: datetime) -> float | None:
        """Seconds from *now* until the next one begins; None: never."""
        return None if self.until is None else (datetime.combine(self.until, time(), UTC) - now).total_seconds()


@dataclass(frozen=True, slots=True)
class _Budget:
    """*amount* US dollars for the calls of *key_id* (None: of everybody), set by *setting*."""

    amount: float
    key_id: str | None
    setting: str

    @property
    def title(self) -> str:
        return "of all calls" if self.key_id is None else f"of the key {self.key_id!r}"


class Budgets:
    """Refuses calls that there is no money for.

    What counts is what the ledger holds: calls that are running are not in it yet, so those that begin together can
    overdraw a budget by what they cost. A call whose price is not known costs nothing here.

    Args:
        settings: ``budget``, ``budget_per_key``, ``budgets`` and ``budget_period``.
        ledger: what was spent; None: it is switched off.

    Raises:
        ConfigurationError: there are budgets and no ledger to hold them against.
    """

    def __init__(self, settings: LASSettings, ledger: Ledger | None) -> None:
        self._settings = settings
        self._ledger = ledger if settings.enable_cost_tracking else None
        set_ = {
            "LAS_BUDGET": settings.budget is not None,
            "LAS_BUDGET_PER_KEY": settings.budget_per_key is not None,
            "[budgets]": bool(settings.budgets),
        }
        if self._ledger is None and any(set_.values()):
            name = next(name for name, given in set_.items() if given)
            raise ConfigurationError(
                f"{name} needs the ledger: set LAS_ENABLE_COST_TRACKING=true, or set no budget",
                param="enable_cost_tracking",
            )

    def check(self, caller: Caller) -> None:
        """Return if a call of *caller* may be made; without a budget that concerns it, nothing is looked up.

        Raises:
            BudgetExceededError: a budget is spent; the message says which, and when it starts anew.
            ServiceUnavailableError: the ledger cannot be read, so nobody knows.
        """
        if self._ledger is None:
            return
        for budget in self._budgets(caller):
            now = datetime.now(UTC)
            period = Period.of(self._settings.budget_period, now)
            spent = _spent(budget, self._ledger, period)
            if spent >= budget.amount:
                raise _refusal(budget, spent, period, now)

    async def acheck(self, caller: Caller) -> None:
        """Async form of :meth:`check`.

        Raises:
            ServiceUnavailableError: also if the ledger's database does not answer in :data:`PATIENCE` seconds.
        """
        if not self._budgets(caller):
            return
        try:
            async with asyncio.timeout(PATIENCE):
                await in_thread(lambda: self.check(caller))
        except TimeoutError:
            raise ServiceUnavailableError(
                "The budgets cannot be checked, since the ledger's database does not answer; the call was not made"
            ) from None

    def _budgets(self, caller: Caller) -> list[_Budget]:
        settings, key_id = self._settings, caller.key_id
        budgets = []
        if key_id and key_id in settings.budgets:
            budgets.append(_Budget(settings.budgets[key_id], key_id, "[budgets] in las.toml"))
        elif key_id and settings.budget_per_key is not None:
            budgets.append(_Budget(settings.budget_per_key, key_id, "LAS_BUDGET_PER_KEY"))
        if settings.budget is not None:
            budgets.append(_Budget(settings.budget, None, "LAS_BUDGET"))
        return budgets


def _spent(budget: _Budget, ledger: Ledger, period: Period) -> float:
    try:
        return ledger.spent(budget.key_id, period.since)
    except LASError as error:
        raise ServiceUnavailableError(
            f"The budget {budget.title} cannot be checked, since the ledger cannot be read; the call was not made",
            detail=str(error),
        ) from error


def _refusal(budget: _Budget, spent: float, period: Period, now: datetime) -> BudgetExceededError:
    anew = "never starts anew" if period.until is None else f"starts anew on {period.until} at 00:00 UTC"
    return BudgetExceededError(
        f"The budget {budget.title} is spent: {dollars(spent)} of {dollars(budget.amount)}. It {anew}; "
        f"{budget.setting} sets it",
        retry_after=period.seconds_left(now),
    )
