"""Calls inside an engine: how many at a time, how long they may take, and how they are stopped."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from las_langchain.errors import APIConnectionError, APITimeoutError, LASError

Chunk = dict[str, Any]
Emit = Callable[[Chunk | LASError | None], object]


class Clock:
    """The patience of one call's caller.

    Args:
        first: seconds until the first piece of the answer.
        between: seconds between two pieces; None if all of it must come within *first*.
    """

    def __init__(self, first: float, between: float | None = None) -> None:
        self._due = time.monotonic() + first
        self._between = between

    def heard(self) -> None:
        """Begin to wait for the next piece."""
        if self._between is not None:
            self._due = time.monotonic() + self._between

    def left(self) -> float:
        """Seconds left to wait.

        Raises:
            APITimeoutError: there are none.
        """
        left = self._due - time.monotonic()
        if left <= 0:
            raise timed_out()
        return left


def timed_out() -> APITimeoutError:
    """What a caller gets whose patience has ended."""
    return APITimeoutError(
        "The local model did not answer in time: ask for less, or raise LAS_TIMEOUT or LAS_STREAM_TIMEOUT",
        provider="local",
    )


class Slots:
    """Admission to an engine: so many calls at a time, first come first served, none after :meth:`close`.

    The engine queues calls too, but what waits there can neither be stopped nor survive the end of the process.

    Args:
        total: calls inside at the same time.
    """

    def __init__(self, total: int) -> None:
        self.total = self._free = total
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()
        self._closed = False

    @contextmanager
    def held(
        self, width: int = 1, *, patience: float | None = None, gone: Callable[[], bool] = lambda: False
    ) -> Iterator[bool]:
        """Wait for *width* slots and hold them; False if *gone* came true first.

        Args:
            width: how many.
            patience: seconds to wait; None for ever.
            gone: whether nobody waits any more; read after :meth:`wake`.

        Raises:
            APITimeoutError: *patience* has ended.
            APIConnectionError: the engine is closed.
        """
        entered = self._enter(width, patience, gone)
        try:
            yield entered
        finally:
            if entered:
                self._give_back(width)

    def wake(self) -> None:
        """Make those that wait look again whether somebody still waits for them."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Admit nobody any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait_until_empty(self, patience: float) -> bool:
        """Whether all have left within *patience* seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._free == self.total, patience)

    def _enter(self, width: int, patience: float | None, gone: Callable[[], bool]) -> bool:
        place = object()
        with self._changed:
            self._waiting.append(place)

            def ready() -> bool:
                return self._closed or gone() or (self._waiting[0] is place and self._free >= width)

            try:
                in_time = self._changed.wait_for(ready, patience)
                if self._closed:
                    raise closed()
                if gone():
                    return False
                if not in_time:
                    raise timed_out()
                self._free -= width
                return True
            finally:
                self._waiting.remove(place)
                self._changed.notify_all()

    def _give_back(self, width: int) -> None:
        with self._changed:
            self._free += width
            self._changed.notify_all()


def closed() -> APIConnectionError:
    """What a call gets that comes too late."""
    return APIConnectionError("The local model has stopped: this process is ending", provider="local")


class Run(threading.Thread):
    """One call inside the engine, in a thread of its own.

    Args:
        call: the engine's function for it; takes a request and a function that is given each chunk, and stops when
            that returns True.
        body: the request.
        slots: where to wait for admission.
        emit: gets the chunks, or the error that ends them, and then None.
        failure: makes an error of an error chunk or of an exception of the engine's.
    """

    def __init__(
        self,
        call: Callable[[Chunk, Callable[[Chunk], bool]], object],
        body: Chunk,
        slots: Slots,
        emit: Emit,
        failure: Callable[[Chunk | Exception], LASError],
    ) -> None:
        super().__init__(name="las-local", daemon=True)
        self._call = call
        # Progress of a long prompt comes as chunks too, which is where a call that has no token yet can be stopped.
        self._body = {**body, "stream": True, "stream_options": {"include_usage": True}, "return_progress": True}
        self._slots = slots
        self._emit = emit
        self._failure = failure
        self._cancelled = False

    def cancel(self) -> None:
        """Stop at the next chunk, or before the call has begun."""
        self._cancelled = True
        self._slots.wake()

    def run(self) -> None:
        """Wait for a slot and call the engine."""
        try:
            with self._slots.held(self._body.get("n") or 1, gone=lambda: self._cancelled) as admitted:
                if admitted:
                    self._call(self._body, self._on_chunk)
        except LASError as error:
            self._deliver(error)
        except Exception as error:  # The engine's binding raises whatever it meets, TypeError for a huge integer.
            self._deliver(self._failure(error))
        self._deliver(None)

    def _on_chunk(self, chunk: Chunk | None) -> bool:
        """Called by the engine; True stops it. It swallows exceptions, so none may leave."""
        if not chunk:
            # There is nothing yet of the first of several answers.
            return self._cancelled
        if "error" in chunk:
            self._deliver(self._failure(chunk["error"]))
        elif "prompt_progress" not in chunk:
            self._deliver(chunk)
        return self._cancelled

    def _deliver(self, item: Chunk | LASError | None) -> None:
        try:
            self._emit(item)
        except RuntimeError:  # The consumer's event loop is closed: nobody listens any more.
            self._cancelled = True
