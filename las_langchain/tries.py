"""The tries at one request: again after a failure, at an alias's other deployments, then at its fallbacks."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from las_langchain.errors import (
    BadRequestError,
    ContextWindowExceededError,
    LASError,
    ServiceUnavailableError,
    loggable,
)
from las_langchain.fields import COMPLETION_FIELDS
from las_langchain.providers import Overrides, Target, resolve
from las_langchain.records import CallRecord
from las_langchain.transports.choice import Name, choose

if TYPE_CHECKING:
    from las_langchain.setups import Setup
    from las_langchain.transports.litellm.router import NothingLeft

Json = dict[str, Any]
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Request = Json | Callable[[Target], Json]
"""OpenAI's request, or a function that makes it for the model that is about to be asked."""
Find = Callable[[Name], Awaitable[Any]]
"""Finds a transport by its name."""
logger = logging.getLogger(__name__)

FIRST_DELAY = 0.5
"""Seconds before the first retry; doubled for each further one, with jitter."""
LONGEST_DELAY = 30.0
"""Longest wait before a retry, in seconds; a provider that asks for more is not retried."""


class Ask(Protocol[T_co]):
    """Sends one request by one transport."""

    def __call__(self, transport: Any, target: Target, body: Json, /) -> Awaitable[T_co]: ...


class Tries:
    """The tries at one request.

    Args:
        setup: the settings, and the router of their aliases.
        target: whom to ask first.
        request: what to ask.
        record: counts the tries, and names the model that was asked last.
        find: finds a transport by its name.
        max_retries: further tries at a model after a retryable failure; None: the settings'.
        alone: whether no fallback is to be asked.

    Attributes:
        target: the model that was asked last, or is to be asked first.
    """

    def __init__(
        self,
        setup: Setup,
        target: Target,
        request: Request,
        record: CallRecord,
        find: Find,
        max_retries: int | None = None,
        *,
        alone: bool = False,
    ) -> None:
        self.target = target
        self._alone = alone
        self._setup, self._request, self._record, self._find = setup, request, record, find
        self._max_retries = setup.settings.max_retries if max_retries is None else max_retries
        self._made: tuple[Target, Json] | None = None
        self._failed: set[str] = set()
        self._begun: float | None = None

    @property
    def body(self) -> Json:
        """The request as :attr:`target` gets it."""
        if self._made is None or self._made[0] is not self.target:
            self._made = (self.target, self._make())
        return self._made[1]

    def _make(self) -> Json:
        body = self._request(self.target) if callable(self._request) else self._request
        if self._record.operation not in ("chat", "text_completion") or not self.target.defaults:
            return body
        defaults = dict(self.target.defaults)
        if self._record.operation == "text_completion":
            defaults = {name: value for name, value in defaults.items() if name in COMPLETION_FIELDS}
        if body.get("max_completion_tokens") is not None:
            defaults.pop("max_tokens", None)
        return {**defaults, **{name: value for name, value in body.items() if value is not None}}

    async def run(self, ask: Ask[T]) -> T:
        """What *ask* returns in the first try that does not fail.

        Raises:
            LASError: the last failure, when nothing is left to try; but of a fallback that does not take the request at
                all, such as a field of it, the failure before.
        """
        name, others = self._record.asked, None
        told: LASError | None = None
        while True:
            try:
                if others is not None:
                    self._turn_to(name)
                return await self._at_one_model(ask)
            except LASError as error:
                others = self._fallbacks(error) if others is None else others
                refused = told is not None and _is_wrong(error)
                told = error if told is None or not refused else told
                why = loggable(error, log_prompts=self._setup.settings.log_prompts)
                if refused:
                    logger.warning("The fallback %s does not take the request: %s", name, why)
                if not others or (is_final(error) and not refused):
                    raise told from None
                logger.warning("%s failed, asking %s: %s", name, others[0], why)
                name = others.pop(0)

    def end(self, error: BaseException | None) -> None:
        """Tell the router what became of the last try, which may have failed in the middle of its stream."""
        begun, self._begun = self._begun, None
        if begun is None or self.target.deployment is None:
            return
        if error is None:
            self._setup.router.succeeded(self.target, self._record, time.perf_counter() - begun)
        elif isinstance(error, LASError):
            self._setup.router.failed(self.target, error)
        else:
            self._setup.router.left(self.target)

    async def _at_one_model(self, ask: Ask[T]) -> T:
        failures = 0
        await self._begin_with_a_deployment()
        while True:
            try:
                return await self._try(ask)
            except LASError as error:
                self.end(error)
                if not await self._is_to_try_again(error, failures):
                    raise
            failures += 1

    async def _try(self, ask: Ask[T]) -> T:
        target, record, body = self.target, self._record, self.body
        choice = choose(target, record.operation, body)
        record.model, record.api_base, record.transport = target.id, target.api_base, str(choice)
        record.attempts += 1
        return await ask(await self._find(choice.transport), target, body)

    @property
    def _has_choice(self) -> bool:
        """Whether the model is an alias of several deployments, among which litellm's Router chooses."""
        entry = self._setup.settings.models.get(self.target.alias or "")
        return entry is not None and len(entry.deployments) > 1

    async def _begin_with_a_deployment(self) -> None:
        if not self._has_choice:
            return
        left = await self._turn()
        if left is not None:
            name = self.target.asked or self.target.alias
            raise ServiceUnavailableError(
                f"Every deployment of {name!r} has failed lately and is left alone for a while",
                retry_after=left.seconds,
            )

    async def _turn(self, excluded: Iterable[str] = ()) -> NothingLeft | None:
        """Turn to the deployment that the router picks; else return why there is none."""
        chosen = await self._pick(excluded)
        if not isinstance(chosen, Target):
            return chosen
        self.target = chosen
        # Before anything is waited for, so that the next choice knows of it.
        self._setup.router.began(chosen)
        self._begun = time.perf_counter()
        return None

    async def _pick(self, excluded: Iterable[str] = ()) -> Target | NothingLeft:
        setup, target = self._setup, self.target
        # Importing the router takes seconds, which no other call on this event loop should have to wait for.
        router = setup.router if setup.has_router else await asyncio.to_thread(lambda: setup.router)
        name, overrides = str(target.asked or target.alias), cast("Overrides", dict(target.overrides))
        return await router.pick(setup.settings, name, overrides, self.body.get("messages"), excluded)

    async def _is_to_try_again(self, error: LASError, failures: int) -> bool:
        """Whether there is to be another try at this model; after the wait before it, and with where it goes."""
        if failures >= self._max_retries or is_final(error):
            return False
        if self._has_choice:
            self._failed.add(str(self.target.deployment))
            # Another deployment has other keys, limits and troubles.
            if await self._turn(self._failed) is None:
                return True
        delay = retry_delay(error, failures)
        if delay is None or not await self._is_there_after(delay):
            return False
        await asyncio.sleep(delay)
        return not self._has_choice or await self._turn() is None

    async def _is_there_after(self, seconds: float) -> bool:
        """Whether a deployment will take a call then."""
        left = await self._pick() if self._has_choice else None
        return left is None or isinstance(left, Target) or (left.seconds is not None and left.seconds <= seconds)

    def _fallbacks(self, error: LASError) -> list[str]:
        settings = self._setup.settings
        entry = settings.models.get(self.target.alias or "")
        # Those of all models are chat models; and vectors of different models do not mix.
        default = settings.routing.default_fallbacks if self._record.operation == "chat" else []
        if self._alone or entry is None:
            return [] if self._alone else list(default)
        if isinstance(error, ContextWindowExceededError) and entry.context_window_fallbacks:
            return list(entry.context_window_fallbacks)
        return list(entry.fallbacks or default)

    def _turn_to(self, name: str) -> None:
        waits = {key: value for key, value in self.target.overrides.items() if key in ("timeout", "stream_timeout")}
        self.target = resolve(name, self._setup.settings, **cast("Overrides", waits))
        self._failed = set()


def is_final(error: LASError) -> bool:
    """Whether no other model would take the request either, since it is itself wrong."""
    return error.code == "budget_exceeded" or _is_wrong(error)


def _is_wrong(error: LASError) -> bool:
    wrong = isinstance(error, BadRequestError) and error.status_code == 400
    return wrong and not isinstance(error, ContextWindowExceededError)


def retry_delay(error: LASError, attempt: int) -> float | None:
    """Seconds to wait before the next try, or None if *error* is final.

    Args:
        error: what the last try raised. Its ``retry_after`` is honoured up to 30 seconds; beyond that it is final.
        attempt: how many tries were retried before.
    """
    # What the model in this process could not do now, it will not do a moment later.
    if not error.is_retryable or error.provider == "local":
        return None
    if error.retry_after is not None:
        return error.retry_after if error.retry_after <= LONGEST_DELAY else None
    return min(FIRST_DELAY * 2.0**attempt, LONGEST_DELAY) * (1 - random.random() / 2)  # noqa: S311 - jitter, not a secret
