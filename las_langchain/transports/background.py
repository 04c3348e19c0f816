"""An event loop in a thread, so that synchronous calls are the asynchronous ones: same deadlines, same cancelling."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import functools
import os
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from concurrent.futures import Future
from contextlib import aclosing
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

T = TypeVar("T")
S = TypeVar("S")
P = ParamSpec("P")

ENDING_PATIENCE = 10.0
"""Seconds that the end of the process waits for calls to be cancelled; one in the middle of an import takes some."""

CLOSING_PATIENCE = 2.0
"""Seconds that a call which is given up is waited for."""


class Background:
    """A loop in a daemon thread, started with the first call, never shared across a fork."""

    def __init__(self) -> None:
        self._last: list[Callable[[], Coroutine[Any, Any, object]]] = []
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset)

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """Wait for *call*; an interruption of the wait cancels it.

        Raises:
            RuntimeError: this is the loop's own thread, which would wait for itself.
        """
        job = self._begun(call)
        try:
            return job.outcome.result()
        finally:
            job.stop()

    def iterate(self, items: AsyncGenerator[T]) -> Generator[T]:
        """Yield *items* as they come; closing the generator closes *items*, and waits a little until they are closed.

        Raises:
            RuntimeError: as for :meth:`run`.
        """
        received: queue.SimpleQueue[T | _End] = queue.SimpleQueue()
        job = self._begun(_pump(items, received))
        try:
            job.outcome.add_done_callback(lambda _: received.put(_END))
            while not isinstance(item := received.get(), _End):
                yield item
            job.outcome.result()
        finally:
            job.stop()

    @property
    def is_here(self) -> bool:
        """Whether this is the loop's own thread, which must not wait for the loop."""
        return self._running is not None and self._running[1] is threading.current_thread()

    def call(self, function: Callable[..., object], *arguments: Any) -> None:
        """Have *function* called in the loop's thread, in the caller's context, without waiting for it.

        Raises:
            RuntimeError: the process is at its end, and the loop closed.
        """
        loop, _ = self._running_loop()
        loop.call_soon_threadsafe(function, *arguments)

    def at_end(self, last: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """At the end of the process, wait for *last* a while before what still runs is cancelled."""
        self._last.append(last)

    def _begun(self, call: Coroutine[Any, Any, T]) -> _Job[T]:
        loop, thread = self._running_loop()
        if self.is_here:
            call.close()
            raise RuntimeError("A synchronous call inside an asynchronous callback: use its async form there")
        return _Job(call, loop, thread)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._running: tuple[asyncio.AbstractEventLoop, threading.Thread] | None = None

    def _running_loop(self) -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
        with self._lock:
            if self._running is None:
                begun: queue.SimpleQueue[asyncio.AbstractEventLoop] = queue.SimpleQueue()
                thread = threading.Thread(target=asyncio.run, args=[_wait(begun)], name="las", daemon=True)
                thread.start()
                self._running = (begun.get(), thread)
                # The last one registered is the first called: what calls write when they are cancelled, into the ledger
                # and the traces, must still be written.
                atexit.unregister(self._stop)
                atexit.register(self._stop)
            return self._running

    def _stop(self) -> None:
        if self._running is not None and self._running[1].is_alive():
            loop, thread = self._running
            for last in self._last:
                with contextlib.suppress(TimeoutError):
                    self.run(asyncio.wait_for(last(), ENDING_PATIENCE))
            # What asyncio.run does when its coroutine ends: cancel all calls and close the loop.
            loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
            thread.join(ENDING_PATIENCE)


BACKGROUND = Background()
"""The loop of this process; its connections are shared by all synchronous calls."""


def synchronous(method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]]) -> Callable[Concatenate[S, P], T]:
    """The sync form of an async method whose name begins with an ``a`` more."""

    @functools.wraps(method)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return BACKGROUND.run(method(self, *args, **kwargs))

    call.__name__ = method.__name__.removeprefix("a")
    call.__qualname__ = method.__qualname__.replace(f".{method.__name__}", f".{call.__name__}")
    return call


class _Job(Generic[T]):
    """A coroutine on the loop of another thread.

    Args:
        call: the coroutine, which begins at once.
        loop: where it runs.
        thread: that of *loop*.

    Attributes:
        outcome: what becomes of it, to be waited for by any other thread.
    """

    def __init__(self, call: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
        self.outcome: Future[T] = Future()
        self._loop, self._thread = loop, thread
        loop.call_soon_threadsafe(self._begin, call)

    def stop(self) -> None:
        """Cancel it, if it is not over, and wait until it is: by then its connection is closed and its row queued."""
        # After a fork the thread is the parent's alone.
        if self.outcome.done() or not self._thread.is_alive():
            return
        # RuntimeError: the loop has just ended.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(lambda: self._task.cancel())
            # The garbage collector closes generators in any thread, also in the loop's.
            if threading.current_thread() is not self._thread:
                concurrent.futures.wait([self.outcome], CLOSING_PATIENCE)

    def _begin(self, call: Coroutine[Any, Any, T]) -> None:
        self._task = self._loop.create_task(call)
        self._task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self.outcome.set_exception(concurrent.futures.CancelledError())
        elif error := task.exception():
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(task.result())


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
