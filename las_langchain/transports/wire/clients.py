"""The connections of this process: for each event loop one client, which keeps them for the next request."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from collections.abc import AsyncGenerator
from functools import lru_cache
from urllib import request

import aiohttp
import certifi
from yarl import URL

IDLE = 30.0
"""Seconds that a connection is kept for the next request; servers close theirs after 60 or more."""
_BUFFER = 2**17
"""Bytes of an answer that are read ahead."""
_OF_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_OF_AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


class Clients:
    """The clients of all event loops; a loop's is closed when the loop ends.

    Nothing of a client is any one service's: neither keys nor cookies.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: dict[asyncio.AbstractEventLoop, tuple[aiohttp.ClientSession, AsyncGenerator[None]]] = {}

    async def here(self) -> aiohttp.ClientSession:
        """The client of the running loop."""
        kept = self._clients.get(asyncio.get_running_loop())
        return kept[0] if kept is not None else await self._made()

    async def _made(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        client = _client()
        # Loops that end in order close the generators that were begun on them; this one closes the client.
        closing = self._closing(loop, client)
        with self._lock:
            for ended in [one for one in self._clients if one.is_closed()]:
                del self._clients[ended]
            self._clients[loop] = (client, closing)
        await anext(closing)
        return client

    async def _closing(self, loop: asyncio.AbstractEventLoop, client: aiohttp.ClientSession) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            with self._lock:
                self._clients.pop(loop, None)
            await client.close()


CLIENTS = Clients()
"""Those of this process."""


def _client() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE, ttl_dns_cache=60),
        cookie_jar=aiohttp.DummyCookieJar(),
        # The transport waits by itself, and not for each read.
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        read_bufsize=_BUFFER,
    )


def proxy_for(address: URL) -> URL | None:
    """The proxy that the environment names for *address*."""
    values = tuple(os.environ.get(name) or os.environ.get(name.upper()) for name in _OF_PROXIES)
    return _proxy(address.scheme, address.host or "", values) if any(values) else None


@lru_cache(maxsize=256)
def _proxy(scheme: str, host: str, values: tuple[str | None, ...]) -> URL | None:
    proxies = request.getproxies_environment()
    named = proxies.get(scheme) or proxies.get("all")
    return None if named is None or _is_bypassed(host, proxies) else URL(named)


def _is_bypassed(host: str, proxies: dict[str, str]) -> bool:
    # Python documents only the function that also asks the system.
    return bool(request.proxy_bypass_environment(host, proxies))  # type: ignore[attr-defined]


def trusted() -> ssl.SSLContext:
    """Whom to trust: the authorities that the environment names, else those that browsers know."""
    return _trusted(*(os.environ.get(name) or None for name in _OF_AUTHORITIES))


@lru_cache(maxsize=8)
def _trusted(file: str | None, folder: str | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=file if file or folder else certifi.where(), capath=folder)
