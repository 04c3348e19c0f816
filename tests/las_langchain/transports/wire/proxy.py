"""A proxy on this machine, which passes on what it is asked to, and notes it."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import urlsplit

from tests.las_langchain.transports.wire.listening import Listening


class Proxy(Listening):
    """The proxy; use it in a with statement.

    Args:
        status: what it says to who wants a tunnel; 200: it opens one.

    Attributes:
        heads: the heads of what it was asked, in small letters.
    """

    def __init__(self, status: int = 200) -> None:
        super().__init__()
        self.heads: list[str] = []
        self._status = status

    @property
    def address(self) -> str:
        """Where it listens, as variables name it."""
        return f"127.0.0.1:{self.port}"

    async def _started(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head.decode().lower())
            method, where, _ = head.decode().split(" ", 2)
            if self._status != 200:
                writer.write(b"HTTP/1.1 %d No\r\ncontent-length: 0\r\n\r\n" % self._status)
            elif method == "CONNECT":
                host, _, port = where.rpartition(":")
                await self._pass_on(reader, writer, host, int(port), b"", b"HTTP/1.1 200 Connected\r\n\r\n")
            else:
                parts = urlsplit(where)
                await self._pass_on(reader, writer, parts.hostname or "", parts.port or 80, head, b"")
        writer.close()

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        host: str,
        port: int,
        first: bytes,
        connected: bytes,
    ) -> None:
        there, back = await asyncio.open_connection(host, port)
        try:
            writer.write(connected)
            back.write(first)
            await asyncio.wait(
                [asyncio.create_task(_copy(reader, back)), asyncio.create_task(_copy(there, writer))],
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            back.close()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.CancelledError):
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()
