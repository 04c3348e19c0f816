"""An event loop in a thread, so that synchronous calls are the asynchronous ones: same deadlines, same cancelling."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import os
import queue
import threading
from collections.abc import AsyncGenerator, Coroutine, Generator
from contextlib import aclosing
from typing import Any, TypeVar

T = TypeVar("T")

ENDING_PATIENCE = 10.0
"""Seconds that the end of the process waits for calls to be cancelled; one in the middle of an import takes some."""


class Background:
    """A loop in a daemon thread, started with the first call, never shared across a fork."""

    def __init__(self) -> None:
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset)

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """Wait for *call*; an interruption of the wait cancels it.

        Raises:
            RuntimeError: this is the loop's own thread, which would wait for itself.
        """
        future = self._submitted(call)
        try:
            return future.result()
        finally:
            future.cancel()

    def iterate(self, items: AsyncGenerator[T]) -> Generator[T]:
        """Yield *items* as they come; closing the generator closes *items*."""
        received: queue.SimpleQueue[T | _End] = queue.SimpleQueue()
        future = self._submitted(_pump(items, received))
        try:
            future.add_done_callback(lambda _: received.put(_END))
            while not isinstance(item := received.get(), _End):
                yield item
            future.result()
        finally:
            future.cancel()

    def _submitted(self, call: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        loop = self._running_loop()
        if threading.current_thread() is self._thread:
            call.close()
            raise RuntimeError("A synchronous call inside an asynchronous callback: use its async form there")
        return asyncio.run_coroutine_threadsafe(call, loop)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                begun: queue.SimpleQueue[asyncio.AbstractEventLoop] = queue.SimpleQueue()
                self._thread = threading.Thread(target=asyncio.run, args=[_wait(begun)], name="las", daemon=True)
                self._thread.start()
                self._loop = begun.get()
                # The last one registered is the first called: what calls write when they are cancelled, into the ledger
                # and the traces, must still be written.
                atexit.unregister(self._stop)
                atexit.register(self._stop)
            return self._loop

    def _stop(self) -> None:
        loop, thread = self._loop, self._thread
        if loop is not None and thread is not None and thread.is_alive():
            # What asyncio.run does when its coroutine ends: cancel all calls and close the loop.
            loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
            thread.join(ENDING_PATIENCE)


BACKGROUND = Background()
"""The loop of this process; its connections are shared by all synchronous calls."""


class _End:
    """Marks the end of the items."""


_END = _End()


async def _pump(items: AsyncGenerator[T], received: queue.SimpleQueue[T | _End]) -> None:
    async with aclosing(items):
        async for item in items:
            received.put(item)


async def _wait(begun: queue.SimpleQueue[asyncio.AbstractEventLoop]) -> None:
    """Keep the loop running until it is cancelled."""
    begun.put(asyncio.get_running_loop())
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return
