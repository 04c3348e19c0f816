"""Answers as JSON in a store whose failures cost nothing but the answers that it would have had."""

from __future__ import annotations

import logging
import time
from typing import Any, ClassVar, Protocol

import orjson

from las_langchain.caches.disk import DiskStore
from las_langchain.caches.memory import MemoryStore
from las_langchain.errors import ConfigurationError, masked
from las_langchain.settings import LASSettings

logger = logging.getLogger(__name__)

PREFIX = "las:cache:1:"
"""What every stored key begins with; its number changes with the form of what is stored."""
SILENCE = 60.0
"""Seconds from one warning about a cache to the next."""


class Store(Protocol):
    """Where bytes are kept.

    Attributes:
        place: its name for people, without secrets.
        failures: what its methods may raise.
    """

    place: str
    failures: ClassVar[tuple[type[Exception], ...]]

    async def read(self, key: str) -> bytes | None:
        """What is kept under *key* and has not expired."""
        ...

    async def write(self, key: str, data: bytes) -> None:
        """Keep *data*, if there is room for it."""
        ...


def open_cache(settings: LASSettings) -> Cache | None:
    """The cache that *settings* describe; None if caching is off. It connects to nothing yet.

    Raises:
        ConfigurationError: the address of Redis, or the package for it, is missing; the message says how to get it.
    """
    return Cache(_store(settings)) if settings.enable_caching else None


def _store(settings: LASSettings) -> Store:
    if settings.cache_type == "redis":
        return _redis_store(settings)
    max_bytes = int(settings.cache_max_mb * 1e6)
    if settings.cache_type == "disk":
        return DiskStore(settings.data_dir / "cache.sqlite3", settings.cache_ttl, max_bytes)
    return MemoryStore(settings.cache_ttl, max_bytes)


def _redis_store(settings: LASSettings) -> Store:
    if settings.redis_url is None:
        raise ConfigurationError(
            "LAS_CACHE_TYPE=redis needs an address: set LAS_REDIS_URL, such as redis://localhost:6379/0",
            param="redis_url",
        )
    try:
        from las_langchain.caches.redis import RedisStore
    except ModuleNotFoundError:
        raise ConfigurationError(
            'LAS_CACHE_TYPE=redis needs a package that is missing: pip install "las-langchain[redis]"',
            param="cache_type",
        ) from None
    return RedisStore(settings.redis_url, settings.cache_ttl)


class Cache:
    """Keeps JSON values for a while; for any number of threads, event loops and processes.

    Args:
        store: where the values are kept.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._failures: tuple[type[Exception], ...] = (*store.failures, orjson.JSONDecodeError, orjson.JSONEncodeError)
        self._silent_until = 0.0

    async def get(self, key: str) -> Any | None:
        """The value, as a copy of its own; None if there is none, or the cache does not work."""
        try:
            data = await self._store.read(PREFIX + key)
            return None if data is None else orjson.loads(data)
        except self._failures as error:
            self._complain(error)
            return None

    async def set(self, key: str, value: Any) -> None:
        """Keep *value*, if the cache works and has room for it."""
        try:
            await self._store.write(PREFIX + key, orjson.dumps(value))
        except self._failures as error:
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        now = time.monotonic()
        if now < self._silent_until:
            return
        self._silent_until = now + SILENCE
        reason = masked(" ".join(f"{type(error).__name__}: {error}".split()))
        logger.warning("The cache in %s does not work, so calls go on without it: %s", self._store.place, reason)
