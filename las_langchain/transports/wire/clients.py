"""The connections of this process: for each event loop one client, which keeps them for the next request."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
from collections.abc import AsyncGenerator, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple
from weakref import WeakSet

import aiohttp
from yarl import URL

from las_langchain.transports.wire.proxies import are_named, proxy_for, said_of_proxy
from las_langchain.transports.wire.trust import trusted

IDLE = 30.0
"""Seconds that a connection is kept for the next request; servers close theirs after 60 or more."""
_BUFFER = 2**17
"""Bytes of an answer that are read ahead."""
_TRIES = 3
"""Connections that are tried where kept ones turn out to be closed; some servers close what sends them too much."""
_AT_ONCE = 1.0
"""Seconds in which it shows that a kept connection was closed already. A server that breaks off later may have begun to
answer, and is not to do so twice, and be paid twice, without anybody having asked for it."""


class _Kept(NamedTuple):
    """A client, whether there were proxies when it was made, and what closes it."""

    client: aiohttp.ClientSession
    through_proxies: bool
    closing: AsyncGenerator[None]


async def post(address: URL, body: bytes, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
    """Send *body*, and wait for the head of the answer, whatever its status.

    Servers close connections that were not used for a while, perhaps at the moment when one is used again. What was
    sent on such a connection is sent once more on the next one.

    Raises:
        LASError: the environment names a proxy or authorities that cannot be used.
        aiohttp.ClientError: there is no answer.
    """
    client, through_proxies = await CLIENTS.here()
    proxy = proxy_for(address) if through_proxies else None
    with said_of_proxy(proxy, address):
        clock = asyncio.get_running_loop().time
        tries = 0
        while True:
            tries, begun = tries + 1, clock()
            try:
                return await client.post(
                    address,
                    data=body,
                    headers=headers,
                    proxy=proxy,
                    ssl=trusted() if address.scheme == "https" else True,
                    # A redirected request would take the prompt along, and perhaps the key.
                    allow_redirects=False,
                )
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientConnectionResetError):
                if tries == _TRIES or not _USED_BEFORE.get() or clock() - begun > _AT_ONCE:
                    raise


class Clients:
    """The clients of all event loops; a loop's is closed when the loop ends.

    Nothing of a client is any one service's: neither keys nor cookies.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: dict[asyncio.AbstractEventLoop, _Kept] = {}
        self._inherited: list[dict[asyncio.AbstractEventLoop, _Kept]] = []
        atexit.register(self._end)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin_anew)

    async def here(self) -> tuple[aiohttp.ClientSession, bool]:
        """The client of the running loop, and whether the environment named a proxy when that was made."""
        kept = self._clients.get(asyncio.get_running_loop()) or await self._made()
        return kept.client, kept.through_proxies

    async def _made(self) -> _Kept:
        loop = asyncio.get_running_loop()
        client = _client()
        # Loops that end in order close the generators that were begun on them; this one closes the client.
        closing = self._closing(loop, client)
        with self._lock:
            ended = [self._clients.pop(one) for one in list(self._clients) if one.is_closed()]
            made = self._clients[loop] = _Kept(client, are_named(), closing)
        for kept in ended:
            _abandon(kept)
        await anext(closing)
        return made

    async def _closing(self, loop: asyncio.AbstractEventLoop, client: aiohttp.ClientSession) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            with self._lock:
                self._clients.pop(loop, None)
            if not client.closed:
                await client.close()

    def _begin_anew(self) -> None:
        """Have nothing of the parent's; its connections and loops stay as they are, for it goes on with them."""
        self._lock = threading.Lock()
        self._inherited.append(self._clients)
        self._clients = {}
        for kept in self._inherited[-1].values():
            _abandon(kept)

    def _end(self) -> None:
        """Leave to the operating system what its loop did not close."""
        with self._lock:
            idle = [self._clients.pop(loop) for loop in list(self._clients) if not loop.is_running()]
        for kept in idle:
            _abandon(kept)


CLIENTS = Clients()
"""Those of this process."""


def _abandon(kept: _Kept) -> None:
    """Let go of a client without its loop, which would be told of what it left open."""
    kept.client.detach()
    # It ends at once, since nothing is left to close; RuntimeError: another thread was about to end it.
    with contextlib.suppress(StopIteration, RuntimeError):
        kept.closing.aclose().__await__().__next__()


_USED_BEFORE: ContextVar[bool] = ContextVar("las_used_before", default=False)
"""Whether the connection of the last request had served another one before."""


class _Connector(aiohttp.TCPConnector):
    """Keeps connections, and tells the new ones from the others."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._used: WeakSet[Any] = WeakSet()

    async def connect(self, *arguments: Any, **named: Any) -> Any:
        """A connection for a request, whose caller finds in ``_USED_BEFORE`` what kind it is."""
        _USED_BEFORE.set(False)
        connection = await super().connect(*arguments, **named)
        _USED_BEFORE.set(connection.protocol in self._used)
        self._used.add(connection.protocol)
        return connection

    def __del__(self, *_: Any) -> None:
        """Close nothing: the connections may be the parent's, or their loop closed."""


def _client() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=_Connector(limit=0, keepalive_timeout=IDLE, ttl_dns_cache=60),
        cookie_jar=aiohttp.DummyCookieJar(),
        # The transport waits by itself, and not for each read.
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        read_bufsize=_BUFFER,
    )
