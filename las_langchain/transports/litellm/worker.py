"""Where litellm's callbacks run: on this package's loop, which outlives the loops that calls are made on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any

from litellm.litellm_core_utils import logging_worker

from las_langchain.transports.background import BACKGROUND

Told = Callable[..., Coroutine[Any, Any, None]]
# What litellm calls after a stream, and the part of it for synchronous callbacks, which it leaves to a thread.
_AFTER_STREAMS = {"dispatch_success_handlers": "success_handler", "dispatch_failure_handlers": "failure_handler"}


class Worker(logging_worker.LoggingWorker):
    """litellm's, with its queue and its limits, but always on the same loop.

    litellm's own moves to the loop of each call, and what it was told is lost with the loop before.
    """

    def ensure_initialized_and_enqueue(self, async_coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run *async_coroutine* when its turn comes, in the caller's context."""
        try:
            BACKGROUND.call(super().ensure_initialized_and_enqueue, async_coroutine)
        except RuntimeError:
            # The process is at its end.
            async_coroutine.close()

    async def flush(self) -> None:
        """Wait until everything that was enqueued has run."""
        flushing = super().flush()
        if self._bound_loop in (None, asyncio.get_running_loop()):
            await flushing
        else:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(flushing, self._bound_loop))

    def _flush_on_exit(self) -> None:
        """Nothing: the loop is flushed before it ends."""


def install_worker() -> None:
    """Put one in the place of litellm's, in this process and in each that is forked from it."""
    logging_worker.GLOBAL_LOGGING_WORKER = Worker()


def hand_over(logging: Any) -> None:
    """Have the worker tell of a stream's end too, which litellm does in a task of the stream's loop.

    Args:
        logging: litellm's, of one call.
    """
    for name, synchronous in _AFTER_STREAMS.items():
        setattr(logging, name, _by_worker(getattr(logging, name), getattr(logging, synchronous)))


def _by_worker(told: Told, synchronous: Callable[..., None]) -> Told:
    async def tell(*arguments: Any, prefer_async_handlers: bool = True, **named: Any) -> None:
        try:
            await told(*arguments, prefer_async_handlers=prefer_async_handlers, **named)
        except RuntimeError:
            # At the end of the process there are no new threads.
            synchronous(*arguments, **named)

    async def enqueue(*arguments: Any, **named: Any) -> None:
        logging_worker.GLOBAL_LOGGING_WORKER.ensure_initialized_and_enqueue(tell(*arguments, **named))

    return enqueue


BACKGROUND.at_end(lambda: logging_worker.GLOBAL_LOGGING_WORKER.flush())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=install_worker)
