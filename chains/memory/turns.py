"""One turn of a conversation after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager

from las_langchain.forks import ForkAware


class Turns(ForkAware):
    """Lets runs of the same conversation wait for each other, in whatever event loops of this process they are.

    Two that ran at the same time would both go on from where it was, and one of them would be forgotten.
    """

    def __init__(self) -> None:
        super().__init__()
        self._newest: dict[str, Future[None]] = {}

    def let_go(self) -> None:
        """Forget what runs, which a child would wait for in vain."""
        self._newest.clear()

    @asynccontextmanager
    async def turn(self, thread: str) -> AsyncIterator[None]:
        """Wait until the turns of *thread* that began earlier are over, then be its turn; not to be nested."""
        mine: Future[None] = Future()
        mine.set_running_or_notify_cancel()  # From now on, giving up the wait for it does not cancel it.
        mine.add_done_callback(lambda _: self._forget(thread, mine))
        with self._lock:
            before = self._newest.get(thread)
            self._newest[thread] = mine
        try:
            if before is not None:
                await asyncio.wrap_future(before)
            yield
        finally:
            # Whoever gave up waiting does not let the next one in before its time.
            if before is None or before.done():
                mine.set_result(None)
            else:
                before.add_done_callback(lambda _: mine.set_result(None))

    def _forget(self, thread: str, turn: Future[None]) -> None:
        with self._lock:
            if self._newest.get(thread) is turn:
                del self._newest[thread]
