"""A gate in front of the database, shut while the process forks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """Lets any number of threads in, until it is shut; then they wait in front of it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._shut = 0

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Be inside; not to be nested, since the second time would wait for the first."""
        with self._changed:
            self._changed.wait_for(lambda: not self._shut)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def shut(self, patience: float) -> None:
        """Let nobody in any more, and wait until all are out, *patience* seconds at most."""
        with self._changed:
            self._shut += 1
            self._changed.wait_for(lambda: not self._inside, patience)

    def open(self) -> None:
        """Undo one :meth:`shut`."""
        with self._changed:
            self._shut -= 1
            self._changed.notify_all()
