"""Work in threads that nothing waits for longer than it wants to."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    """What *work* returns, in a thread of its own with this task's context.

    For work that may wait for ever, for other such work, or for this package's synchronous methods: a pool could run
    out of threads, and would hold up the end of the process.
    """
    loop, context = asyncio.get_running_loop(), contextvars.copy_context()
    done: asyncio.Future[Callable[[], T]] = loop.create_future()

    def run() -> None:
        outcome = _outcome(lambda: context.run(work))
        # Nobody waits any more if the loop is closed.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, done, outcome)

    threading.Thread(target=run, name="las-work", daemon=True).start()
    return (await done)()


def _outcome(work: Callable[[], T]) -> Callable[[], T]:
    """A function that returns, or raises, what *work* does now."""
    try:
        value = work()
    except BaseException as error:
        failure = error

        def fail() -> T:
            raise failure

        return fail
    return lambda: value


def _settle(done: asyncio.Future[T], outcome: T) -> None:
    if not done.done():
        done.set_result(outcome)
