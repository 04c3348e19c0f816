"""How long a stream is waited for."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

from las_langchain.providers import Target

Json = dict[str, Any]


class Clock:
    """How long a stream is waited for: for its beginning, and then from each piece of the answer to the next.

    A wait for each read would not do: a server that only sends headers, pings or empty chunks would hold the call for
    ever. It is entered for as long as the stream is read.

    Args:
        target: says how long.
    """

    def __init__(self, target: Target) -> None:
        self._between = target.stream_timeout
        self._time = asyncio.get_running_loop().time
        self._patience = _Patience(self._time() + target.timeout)
        self._stopped = _Stopped(self._patience)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._patience.end()

    def patience(self) -> _Patience:
        """What is waited in, at most until the next piece is due."""
        return self._patience

    def stopped(self) -> _Stopped:
        """Do not count what its reader does meanwhile."""
        return self._stopped

    def heard(self, *chunks: Json) -> None:
        """Begin to wait for the next piece, if one of *chunks* has one."""
        for chunk in chunks:
            for choice in chunk["choices"]:
                if choice.get("finish_reason") or _speaks(choice):
                    self.hear()
                    return

    def hear(self) -> None:
        """Begin to wait for the next piece."""
        self._patience.due = self._time() + self._between


class _Patience:
    """What ``asyncio.timeout_at`` is for one wait, for many, one after the other, with one timer for them all.

    The timer is moved on when it goes off, not with each piece.

    Args:
        due: when a wait is to end, in seconds of the loop's clock.
    """

    def __init__(self, due: float) -> None:
        self.due = due
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self._expired = False

    async def __aenter__(self) -> None:
        self._waiting = task = asyncio.current_task(self._loop)
        if task is None:
            raise RuntimeError("A stream is read in a task")
        self._cancelling = task.cancelling()
        if self._timer is None or self._timer.when() > self.due:
            self._set()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._waiting = self._waiting, None
        if self._expired and task is not None:
            self._expired = False
            # As asyncio does: who else cancelled the task is to see that it is.
            if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
                raise TimeoutError from error

    def end(self) -> None:
        """Let go of the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self) -> None:
        self.end()
        self._timer = self._loop.call_at(self.due, self._goes_off)

    def _goes_off(self) -> None:
        self._timer = None
        if self._waiting is None:
            return
        if self._loop.time() < self.due:
            self._set()
        else:
            self._expired = True
            self._waiting.cancel()


class _Stopped:
    """Puts off the end of *patience* for as long as it is entered."""

    def __init__(self, patience: _Patience) -> None:
        self._patience, self._time = patience, asyncio.get_running_loop().time
        self._since = 0.0

    def __enter__(self) -> None:
        self._since = self._time()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._patience.due += self._time() - self._since


def _speaks(choice: Json) -> bool:
    """Whether a chunk of a chat, or of a completion, has words."""
    delta, text = choice.get("delta"), choice.get("text")
    if delta and isinstance(delta.get("content"), str) and delta["content"]:
        return True
    return not (_is_empty(delta) and _is_empty(text))


def _is_empty(value: Any) -> bool:
    """Whether there is no word in *value*, a delta or a part of one."""
    if isinstance(value, dict):
        return all(_is_empty(item) for name, item in value.items() if name not in ("index", "type"))
    return all(map(_is_empty, value)) if isinstance(value, list) else value in (None, "")
