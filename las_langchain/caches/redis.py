"""Answers in Redis, which any number of machines share."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import AsyncGenerator
from typing import Any, ClassVar

from pydantic import SecretStr
from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from las_langchain.errors import ConfigurationError

CONNECT_TIMEOUT = 1.0
"""Longest wait for a connection, in seconds."""
ANSWER_TIMEOUT = 1.0
"""Longest wait for an answer, in seconds."""
PAUSE = 3.0
"""Seconds for which a Redis that cannot be reached is left alone, so that not every call waits for it."""
CONNECTIONS = 8
"""Most connections of one event loop."""


class RedisStore:
    """One Redis; it bounds its size itself (``maxmemory``). Every event loop has its own connections to it.

    Args:
        url: its address, as ``redis://user:password@host:6379/0``, ``rediss://…`` or ``unix://…``.
        ttl: how long an entry is kept, in seconds.

    Raises:
        ConfigurationError: *url* is no such address.
    """

    # uvloop says RuntimeError of a connection that is just being closed.
    failures: ClassVar[tuple[type[Exception], ...]] = (exceptions.RedisError, OSError, ValueError, RuntimeError)

    def __init__(self, url: SecretStr, ttl: float) -> None:
        self._url, self._ttl_ms = url, max(1, round(ttl * 1000))
        self._clients: dict[asyncio.AbstractEventLoop, tuple[Any, AsyncGenerator[Any]]] = {}
        # Without their generators the clients are closed, each by its loop.
        weakref.finalize(self, self._clients.clear).atexit = False
        self._left_alone_until = 0.0
        self.place = f"Redis at {_address(url)}"

    async def read(self, key: str) -> bytes | None:
        """What is kept under *key* and has not expired."""
        data: bytes | None = await self._ask("GET", key)
        return data

    async def write(self, key: str, data: bytes) -> None:
        """Keep *data*."""
        await self._ask("SET", key, data, "PX", self._ttl_ms)

    async def _ask(self, *command: Any) -> Any:
        if time.monotonic() < self._left_alone_until:
            return None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT + ANSWER_TIMEOUT):
                client = await self._client()
                return await client.execute_command(*command)
        except exceptions.ResponseError:
            raise
        except self.failures:
            self._left_alone_until = time.monotonic() + PAUSE
            raise

    async def _client(self) -> Any:
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            for ended in [other for other in list(self._clients) if other.is_closed()]:
                self._clients.pop(ended, None)
            opened = _open(self._url)
            self._clients[loop] = (await anext(opened), opened)
        return self._clients[loop][0]


async def _open(url: SecretStr) -> AsyncGenerator[Any]:
    """Yield a client. A loop that ends closes its generators, and so this one, which closes its client."""
    client = Redis.from_pool(_pool(url))
    try:
        yield client
    finally:
        await client.aclose()


def _pool(url: SecretStr) -> Any:
    return BlockingConnectionPool.from_url(
        url.get_secret_value(),
        max_connections=CONNECTIONS,
        timeout=ANSWER_TIMEOUT,
        socket_connect_timeout=CONNECT_TIMEOUT,
        socket_timeout=ANSWER_TIMEOUT,
        # Once more at once, since a connection may have ended while it was not used.
        retry=Retry(NoBackoff(), 1, supported_errors=(exceptions.ConnectionError,)),
    )


def _address(url: SecretStr) -> str:
    """Where *url* leads, without the password."""
    try:
        # This connects to nothing, but finds what is wrong with the address's arguments.
        connection = _pool(url).make_connection()
    except (ValueError, TypeError, exceptions.RedisError):
        # Their texts may hold a part of the password.
        raise ConfigurationError(
            "LAS_REDIS_URL is not the address of a Redis; expected redis://user:password@host:6379/0",
            param="redis_url",
        ) from None
    parts = dict(connection.repr_pieces())
    return str(parts["path"]) if "path" in parts else f"{parts['host']}:{parts['port']}"
