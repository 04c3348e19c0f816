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
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from concurrent.futures import Future
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast

from las_langchain.errors import APIConnectionError

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
        job = self._job(call)
        try:
            job.begin()
            return job.outcome.result()
        finally:
            job.stop()

    def iterate(self, items: AsyncGenerator[T]) -> Generator[T]:
        """Yield *items* as they come.

        Closing the generator closes *items*, and waits a little until they are closed. Any thread may do it, also
        while another one waits for the next item, which sees the end then.

        Raises:
            RuntimeError: as for :meth:`run`.
        """
        return _Items(lambda received: self._job(_pump(items, received)))

    @property
    def is_here(self) -> bool:
        """Whether this is the loop's own thread, which must not wait for the loop."""
        return self._running is not None and self._running.thread is threading.current_thread()

    def call(self, function: Callable[..., object], *arguments: Any) -> None:
        """Have *function* called in the loop's thread, in the caller's context, without waiting for it.

        Raises:
            RuntimeError: the process is at its end, and the loop closed.
        """
        self._started().loop.call_soon_threadsafe(function, *arguments)

    def at_end(self, last: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """At the end of the process, wait for *last* a while before what still runs is cancelled."""
        self._last.append(last)

    def _job(self, call: Coroutine[Any, Any, T]) -> _Job[T]:
        running = self._started()
        if self.is_here:
            call.close()
            raise RuntimeError("A synchronous call inside an asynchronous callback: use its async form there")
        return _Job(call, running)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._running: _Running | None = None

    def _started(self) -> _Running:
        with self._lock:
            if self._running is None or not self._running.thread.is_alive():
                self._running = _Running()
                # The last one registered is the first called: what calls write when they are cancelled, into the ledger
                # and the traces, must still be written.
                atexit.unregister(self._stop)
                atexit.register(self._stop)
            return self._running

    def _stop(self) -> None:
        if self._running is not None and self._running.thread.is_alive():
            for last in self._last:
                with contextlib.suppress(TimeoutError, APIConnectionError):
                    self.run(asyncio.wait_for(last(), ENDING_PATIENCE))
            self._running.stop()


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


class _Running:
    """A loop and its thread.

    Attributes:
        loop: the loop, which runs until it is stopped.
        thread: its daemon thread.
        jobs: what runs on it, so that nobody waits for what will never end.
    """

    def __init__(self) -> None:
        self.jobs: set[_Job[Any]] = set()
        begun: queue.SimpleQueue[asyncio.AbstractEventLoop] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._run, args=[begun], name="las", daemon=True)
        self.thread.start()
        self.loop = begun.get()

    def stop(self) -> None:
        """Cancel all calls, end the loop, and wait for that a while."""
        with contextlib.suppress(RuntimeError):
            # What asyncio.run does when its coroutine ends.
            self.loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(self.loop)])
        self.thread.join(ENDING_PATIENCE)

    def _run(self, begun: queue.SimpleQueue[asyncio.AbstractEventLoop]) -> None:
        try:
            asyncio.run(_wait(begun))
        finally:
            for job in list(self.jobs):
                job.give_up()


class _Job(Generic[T]):
    """A coroutine on the loop of another thread.

    Args:
        call: the coroutine.
        running: where it is to run.

    Attributes:
        outcome: what becomes of it, to be waited for by any other thread.
    """

    def __init__(self, call: Coroutine[Any, Any, T], running: _Running) -> None:
        self.outcome: Future[T] = Future()
        self._call, self._running = call, running
        self._task: asyncio.Task[T | None] | None = None
        self._interruption: BaseException | None = None
        self._why = "this process is ending"

    def begin(self) -> None:
        """Let it begin; where this is interrupted, :meth:`stop` has to be called."""
        together = _TOGETHER.get()
        if together is not None:
            self._why = "the run that it is part of, or this process, is ending"
            if not together.takes(self):
                self.give_up()
                return
        jobs = self._running.jobs
        jobs.add(self)
        self.outcome.add_done_callback(lambda _: jobs.discard(self))
        try:
            self._running.loop.call_soon_threadsafe(self._begin)
        except RuntimeError:
            self.give_up()

    def give_up(self) -> None:
        """Say that it will never end, since it has not begun, or the loop has ended before it."""
        self._call.close()
        if not self.outcome.done():
            # Nobody but the end of the process gives up what somebody waits for.
            self.outcome.set_exception(APIConnectionError(f"The call was given up: {self._why}"))

    def stop(self) -> None:
        """Cancel it, if it is not over, and wait until it is: by then its connection is closed and its row queued."""
        # After a fork the thread is the parent's alone.
        if self.outcome.done() or not self._running.thread.is_alive():
            return
        # RuntimeError: the loop has just ended.
        with contextlib.suppress(RuntimeError):
            self._running.loop.call_soon_threadsafe(self._cancel)
            # The garbage collector closes generators in any thread, also in the loop's.
            if threading.current_thread() is not self._running.thread:
                concurrent.futures.wait([self.outcome], CLOSING_PATIENCE)

    def cancel(self) -> None:
        """Cancel it, if it is not over; whoever waits for it sees it given up."""
        if not self.outcome.done():
            with contextlib.suppress(RuntimeError):
                self._running.loop.call_soon_threadsafe(self._cancel)

    def _begin(self) -> None:
        if not self.outcome.done():
            self._task = self._running.loop.create_task(self._guarded())
            self._task.add_done_callback(self._end)

    async def _guarded(self) -> T | None:
        try:
            return await self._call
        except (KeyboardInterrupt, SystemExit) as error:
            # Passing through the loop, it would end it, and with it everybody's calls.
            self._interruption = error
            return None

    def _cancel(self) -> None:
        if self._task is None:
            self.give_up()
        else:
            self._task.cancel()

    def _end(self, task: asyncio.Task[T | None]) -> None:
        if task.cancelled():
            self.give_up()
        elif error := self._interruption or task.exception():
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(cast("T", task.result()))


class _Together:
    """The jobs of one run, in whatever threads they are waited for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: set[_Job[Any]] | None = set()

    def takes(self, job: _Job[Any]) -> bool:
        """Note *job*, unless the run is over."""
        with self._lock:
            if self._jobs is None:
                return False
            self._jobs.add(job)
        job.outcome.add_done_callback(lambda _: self._forget(job))
        return True

    def end(self) -> None:
        """Cancel what is left, and what may follow."""
        with self._lock:
            jobs, self._jobs = self._jobs or (), None
        for job in jobs:
            job.cancel()

    def _forget(self, job: _Job[Any]) -> None:
        with self._lock:
            if self._jobs is not None:
                self._jobs.discard(job)


_TOGETHER: ContextVar[_Together | None] = ContextVar("las_together", default=None)


@contextlib.contextmanager
def ending_together() -> Iterator[None]:
    """Cancel, when the block ends, the synchronous calls that were begun inside and are still waited for.

    A thread cannot be cancelled; what it waits for can.
    """
    together = _Together()
    token = _TOGETHER.set(together)
    try:
        yield
    finally:
        _TOGETHER.reset(token)
        together.end()


class _End:
    """Marks the end of the items."""


_END = _End()
Received = queue.SimpleQueue[T | _End]


class _Items(Generator[T, None, None]):
    """What a job puts into a queue, as a generator that any thread may close.

    Args:
        make: makes the job, when the first item is wanted.
    """

    def __init__(self, make: Callable[[Received[T]], _Job[None]]) -> None:
        self._make = make
        self._received: Received[T] = queue.SimpleQueue()
        self._job: _Job[None] | None = None
        self._closed = False
        self._lock = threading.Lock()

    def send(self, value: None, /) -> T:
        job, received = self._running_job(), self._received
        try:
            item = received.get()
        except BaseException:
            self.close()
            raise
        if not isinstance(item, _End):
            return item
        # Others may wait for it too.
        received.put(item)
        closed, self._closed = self._closed, True
        if not closed:
            job.outcome.result()
        raise StopIteration

    def _running_job(self) -> _Job[None]:
        with self._lock:
            if self._closed:
                raise StopIteration
            if self._job is None:
                received = self._received
                self._job = self._make(received)
                # Whoever no longer wants the items is not to be kept by the job.
                self._job.outcome.add_done_callback(lambda _: received.put(_END))
                self._job.begin()
            return self._job

    def throw(self, *error: Any) -> T:
        self.close()
        return super().throw(*error)

    def close(self) -> None:
        with self._lock:
            self._closed = True
        if self._job is not None:
            self._job.stop()

    def __del__(self) -> None:
        self.close()


async def _pump(items: AsyncGenerator[T], received: Received[T]) -> None:
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
