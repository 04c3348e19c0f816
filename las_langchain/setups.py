"""What the service makes of one state of its settings; a call keeps the one that it began with."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from las_langchain.budgets import Budgets
from las_langchain.caches import Cache, open_cache
from las_langchain.errors import ConfigurationError, LASError
from las_langchain.providers import Overrides, Target, check_configured, resolve
from las_langchain.records import CallRecord
from las_langchain.settings import LASSettings
from las_langchain.usage import Ledger

if TYPE_CHECKING:
    from las_langchain.transports.litellm.router import Router

logger = logging.getLogger(__name__)

LEDGER_PATIENCE = 5.0
"""Longest wait of an answer for its row in the ledger, in seconds; the row is written all the same."""

MOST_TARGETS = 1024
"""Targets that a setup keeps; who makes a key for each call has as many as there are calls."""

_OF_THE_CACHE = ("enable_caching", "cache_type", "cache_ttl", "cache_max_mb", "redis_url", "data_dir")
_OF_THE_ROUTER = ("models", "routing", "model", "default_provider")


class Setup:
    """The settings, and what is built of them.

    Args:
        settings: checked here.
        before: the setup that this one replaces, whose cache and router go on where their settings are the same.

    Raises:
        ConfigurationError: the settings are wrong; the message names the variable or entry.
    """

    def __init__(self, settings: LASSettings, before: Setup | None = None) -> None:
        if not isinstance(settings, LASSettings):
            raise ConfigurationError(f"Settings are an LASSettings (or LiteLLMConfig), not {type(settings).__name__}")
        check_configured(settings)
        self.settings = settings
        self.cache: Cache | None = (
            before.cache if before and _same(settings, before.settings, _OF_THE_CACHE) else open_cache(settings)
        )
        self.ledger = Ledger.of(settings) if settings.enable_cost_tracking else None
        self.budgets = Budgets(settings, self.ledger)
        # It knows which deployments are cooling down.
        same_router = before is not None and _same(settings, before.settings, _OF_THE_ROUTER)
        self._router: Router | None = before._router if before and same_router else None
        self._lock = threading.Lock()
        self._targets: dict[tuple[Any, ...], Target] = {}

    def target(self, name: str, overrides: Overrides) -> Target:
        """Where calls to a model go; arguments and failures as for :func:`~las_langchain.providers.resolve`."""
        if overrides.get("headers"):
            return self._target(name, overrides)
        asked = (name, *overrides.items())
        target = self._targets.get(asked)
        if target is None:
            target = self._target(name, overrides)
            if len(self._targets) >= MOST_TARGETS:
                self._targets.clear()
            self._targets[asked] = target
        return target

    def _target(self, name: str, overrides: Overrides) -> Target:
        return replace(resolve(name, self.settings, **overrides), setup=self)

    @property
    def has_router(self) -> bool:
        """Whether :attr:`router` is at hand."""
        return self._router is not None

    @property
    def router(self) -> Router:
        """Chooses among the deployments of aliases; importing it takes seconds."""
        with self._lock:
            if self._router is None:
                from las_langchain.transports.litellm.router import Router

                self._router = Router(self.settings)
            return self._router

    async def store(self, record: CallRecord, *, waits: bool = True) -> None:
        """Put *record* into the ledger, and wait until it is safe there, but no longer than a few seconds.

        What the ledger could not take is in its log; an answer is not held back for it.
        """
        if self.ledger is None:
            return
        if not waits:
            self.ledger.add(record)
            return
        try:
            await self.ledger.aadd(record, patience=LEDGER_PATIENCE)
        except LASError:
            logger.debug("The ledger has logged a row that it could not take", exc_info=True)
        except TimeoutError:
            logger.warning("The ledger is slow: an answer went out before its row was safe")


def _same(one: LASSettings, other: LASSettings, names: tuple[str, ...]) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in names)
