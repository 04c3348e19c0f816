"""A task that waits for its row."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from las_langchain.usage.rows import Row


@dataclass(frozen=True, slots=True)
class Waiting:
    """A row of a task, and what it waits for.

    Attributes:
        row: to be written.
        done: of the task's event loop.
        patience: seconds that the task waits; None: for as long as it takes.
    """

    row: Row
    done: asyncio.Future[None]
    patience: float | None

    def tell(self, error: BaseException | None) -> None:
        """The row is written, or why not; on the event loop."""
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)

    def limit(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let the task wait for no longer than its patience; on its *loop*."""
        if self.patience is not None:
            timer = loop.call_later(self.patience, self.tell, TimeoutError())
            self.done.add_done_callback(lambda _: timer.cancel())
