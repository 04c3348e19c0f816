"""Answers in the memory of this process."""

from __future__ import annotations

from typing import ClassVar

from cachetools import TTLCache

from las_langchain.forks import ForkAware


class MemoryStore(ForkAware):
    """The entries used last, as many as there is room for; a forked child goes on with a copy.

    Args:
        ttl: how long an entry is kept, in seconds.
        max_bytes: size of all entries together.
    """

    place = "memory"
    failures: ClassVar[tuple[type[Exception], ...]] = ()

    def __init__(self, ttl: float, max_bytes: int) -> None:
        super().__init__()
        self._max_bytes = max_bytes
        self._entries: TTLCache[str, bytes] = TTLCache(max_bytes, ttl, getsizeof=len)

    async def read(self, key: str) -> bytes | None:
        """What is kept under *key* and has not expired."""
        with self._lock:
            return self._entries.get(key)

    async def write(self, key: str, data: bytes) -> None:
        """Keep *data*, unless it alone is larger than all entries together may be."""
        if len(data) <= self._max_bytes:
            with self._lock:
                self._entries[key] = data
