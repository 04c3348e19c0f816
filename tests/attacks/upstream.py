"""An upstream that fails as its requests ask it to, and a port that nobody may ever reach.

A message ``fault NAME`` makes :class:`FaultyUpstream` do what ``tests/attacks/faults.py`` has under that name, byte by
byte; everything else is answered as ``tests/fake_openai.py`` does. So calls may go on side by side, and none depends on
what was scripted before.
"""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from tests.fake_openai import FakeOpenAI, Handler, Reply
from tests.fake_openai_schema import message_text
from tests.fake_server import ClientGone, Exchange, Received

_ASKED = re.compile(r"fault ([a-z0-9-]+)")


class Wire:
    """What a fault has of its connection.

    Attributes:
        request: what was asked.
    """

    def __init__(self, exchange: Exchange, request: Received, upstream: FaultyUpstream) -> None:
        self.request, self.upstream = request, upstream
        self._exchange, self._server, self._client = exchange, exchange._server, exchange._client

    async def write(self, data: bytes) -> None:
        """Send exactly these bytes.

        Raises:
            ClientGone: nobody reads them.
        """
        self._transport.write(data)
        await self._exchange.pause(0)

    async def pause(self, seconds: float) -> None:
        """Wait; failures as for :meth:`write`."""
        await self._exchange.pause(seconds)

    async def forever(self) -> None:
        """Stay silent until the client leaves."""
        await self._exchange.forever()

    def close(self) -> None:
        """Close the connection behind what was written."""
        self._transport.close()

    @property
    def _transport(self) -> asyncio.Transport:
        for connection in self._server.server_state.connections:
            if connection.transport.get_extra_info("peername") == tuple(self._client):
                transport: asyncio.Transport = connection.transport
                return transport
        raise ClientGone


Fault = Callable[[Wire], Any]


class FaultyUpstream(FakeOpenAI):
    """The server.

    Args:
        faults: by name.
        canary: where redirects lead to.

    Attributes:
        closed: when the connections of the fault of that name ended, in seconds of the monotonic clock.
    """

    def __init__(self, faults: Mapping[str, Fault], canary: str = "") -> None:
        super().__init__()
        self._faults, self.canary = faults, canary
        self.closed: dict[str, list[float]] = {}

    def route(self, request: Received) -> Handler:
        """Check a request; gives what answers it."""
        name = fault_of(request.body)
        if name is None:
            return super().route(request)

        async def fail(exchange: Exchange, reply: Reply) -> None:
            wire = Wire(exchange, request, self)
            try:
                await self._faults[name](wire)
                wire.close()
                await wire.forever()
            finally:
                self.closed.setdefault(name, []).append(time.monotonic())

        return fail

    def asked(self, name: str, stream: bool | None = None) -> list[Received]:
        """The requests for the fault of that name: for whole answers, for streams, or both."""
        found = [request for request in self.requests if fault_of(request.body) == name]
        return [one for one in found if stream is None or bool(one.body.get("stream")) is stream]


def fault_of(body: Any) -> str | None:
    """The name of the fault that a chat request asks for."""
    messages = body.get("messages") if isinstance(body, dict) else None
    for message in reversed(messages or ()):
        if message.get("role") == "user" and (found := _ASKED.search(message_text(message))):
            return found[1]
    return None


class Canary:
    """A port that nobody may reach; use it in a with statement.

    Attributes:
        address: such as ``127.0.0.1:4711``.
        visitors: what connections to it said first.
    """

    def __init__(self) -> None:
        self.visitors: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._watch, daemon=True, name="canary").start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._listener.close()

    def _watch(self) -> None:
        while True:
            try:
                visitor, _ = self._listener.accept()
            except OSError:
                return
            with visitor:
                visitor.settimeout(1)
                try:
                    self.visitors.append(visitor.recv(1000))
                except OSError as error:
                    self.visitors.append(repr(error).encode())
