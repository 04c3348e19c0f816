"""A lock that a fork cannot break."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable


class ForkAware:
    """Something with a lock: a forked child finds it free, and what it guards whole."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held_for_fork = False
        if hasattr(os, "register_at_fork"):
            known = weakref.ref(self)
            os.register_at_fork(
                before=lambda: _told(known, ForkAware._hold),
                after_in_parent=lambda: _told(known, ForkAware._free),
                after_in_child=lambda: _told(known, ForkAware._free),
            )

    def let_go(self) -> None:
        """Give up what a child must not inherit; called before a fork, with the lock held."""

    def _hold(self) -> None:
        self._lock.acquire()
        self._held_for_fork = True
        self.let_go()

    def _free(self) -> None:
        # What was made by another thread while this one forked is not held.
        if self._held_for_fork:
            self._held_for_fork = False
            self._lock.release()


def _told(known: weakref.ref[ForkAware], what: Callable[[ForkAware], None]) -> None:
    it = known()
    if it is not None:
        what(it)
