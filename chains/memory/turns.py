"""One turn of a conversation after the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from las_langchain.errors import LASError
from las_langchain.forks import ForkAware

if TYPE_CHECKING:
    from chains.memory.in_threads import Threads

logger = logging.getLogger(__name__)


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


@asynccontextmanager
async def remembered_turn(threads: Threads, thread: str | None) -> AsyncIterator[None]:
    """A run of a conversation, alone in it; afterwards all but its last checkpoint are deleted.

    Each checkpoint holds the whole conversation, and nothing goes on from any but the last.

    Args:
        threads: what the graph remembers by; all graphs that do take turns.
        thread: the conversation; None: the run belongs to none.
    """
    if thread is None:
        yield
        return
    async with threads.turns.turn(thread):
        yield
        try:
            await threads.aprune([thread])
        except LASError as error:
            # The answer is there, and the next turn prunes for this one; another process may just be at it.
            logger.warning("Old checkpoints of a conversation are still there: %s", error)
