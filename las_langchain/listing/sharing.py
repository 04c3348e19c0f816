"""Answers that any number of threads and event loops ask for together, and that are kept for a while."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from las_langchain.forks import ForkAware

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Request(Generic[T]):
    """A request under way; its answer is a tuple of one, or None if its event loop ended first."""

    answer: concurrent.futures.Future[tuple[T] | None]
    task: asyncio.Task[T]


class Shared(ForkAware, Generic[T]):
    """At most one request a key is under way at a time, and all who ask meanwhile wait for it.

    It goes on when the one who asked first leaves; another takes over when that one's event loop ends.

    Args:
        keep: how long an answer is kept, in seconds.
        patience: longest wait for a request, in seconds: its event loop may stand still.
        clock: seconds that go on.
    """

    def __init__(self, keep: Callable[[T], float], patience: float, clock: Callable[[], float]) -> None:
        super().__init__()
        self._keep, self._patience, self._clock = keep, patience, clock
        self._answers: dict[Hashable, tuple[float, T]] = {}
        self._requests: dict[Hashable, _Request[T]] = {}

    async def get(self, key: Hashable, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The answer under *key*: a kept one, or what *ask* returns; what that raises, all who wait get."""
        # A forked child does not wait for its parent's requests, which end elsewhere.
        own = (os.getpid(), key)
        while True:
            with self._lock:
                until, kept = self._answers.get(own, (0.0, None))
                if kept is not None and self._clock() < until:
                    return kept
                request = self._requests.get(own) or self._begin(own, ask)
            answer = await self._waited(request)
            if answer is not None:
                return answer[0]
            with self._lock:
                self._forget(own, request)

    def _begin(self, own: Hashable, ask: Callable[[], Coroutine[Any, Any, T]]) -> _Request[T]:
        future: concurrent.futures.Future[tuple[T] | None] = concurrent.futures.Future()
        # From now on nobody who waits for it can cancel it.
        future.set_running_or_notify_cancel()
        request = self._requests[own] = _Request(future, asyncio.create_task(ask()))
        request.task.add_done_callback(lambda _: self._end(own, request))
        return request

    async def _waited(self, request: _Request[T]) -> tuple[T] | None:
        try:
            async with asyncio.timeout(self._patience):
                return await asyncio.wrap_future(request.answer)
        except TimeoutError:
            return None

    def _end(self, own: Hashable, request: _Request[T]) -> None:
        task = request.task
        failure = None if task.cancelled() else task.exception()
        answer = None if task.cancelled() or failure else (task.result(),)
        with self._lock:
            self._forget(own, request)
            if answer is not None:
                now = self._clock()
                self._answers = {known: kept for known, kept in self._answers.items() if now < kept[0]}
                self._answers[own] = (now + self._keep(answer[0]), answer[0])
        if failure is not None:
            request.answer.set_exception(failure)
        else:
            request.answer.set_result(answer)

    def _forget(self, own: Hashable, request: _Request[T]) -> None:
        if self._requests.get(own) is request:
            del self._requests[own]
