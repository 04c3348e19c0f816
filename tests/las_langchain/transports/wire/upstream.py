"""A provider of a few bytes, whose connections can be counted, closed and spoiled."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.las_langchain.transports.wire.listening import Listening

JSON = dict[str, Any]
PONG: JSON = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "pong"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}


def chunk(content: str, finish: str | None = None) -> bytes:
    """An event of a stream."""
    choice = {"index": 0, "delta": {"role": "assistant", "content": content}, "finish_reason": finish}
    said = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(said).encode() + b"\n\n"


STREAM = chunk("po") + chunk("ng", "stop") + b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Answer:
    """What a request is answered with.

    Attributes:
        body: its bytes; None: none, and the connection is closed.
        headers: beside the usual ones.
        status: HTTP's.
        then: what becomes of the connection: it is kept, closed at once or late, or nothing more is ever sent.
        chunked: whether the body is sent without its length, and its end only where the connection is kept.
    """

    body: bytes | None = json.dumps(PONG).encode()
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    then: str = "keep"
    chunked: bool = False

    def head(self) -> bytes:
        """The lines before the body."""
        size = {"transfer-encoding": "chunked"} if self.chunked else {"content-length": str(len(self.body or b""))}
        headers = {"content-type": "application/json", **size, **self.headers}
        lines = [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([f"HTTP/1.1 {self.status} Said", *lines]).encode() + b"\r\n\r\n"

    def content(self) -> bytes:
        """The body as it is sent."""
        body = self.body or b""
        if not self.chunked:
            return body
        return b"%x\r\n%b\r\n" % (len(body), body) + (b"0\r\n\r\n" if self.then == "keep" else b"")


NOTHING = Answer(None)


class Upstream(Listening):
    """The provider; use it in a with statement.

    Args:
        context: how its TLS is done; None: it does none.
        host: where it listens.

    Attributes:
        connections: how many there were.
        open: how many there are.
        requests: the heads of the requests, in small letters.
        answers: what the next requests are answered with, beside the usual: a pong, or a stream of one.
    """

    def __init__(self, context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        super().__init__()
        self.connections = self.open = 0
        self.requests: list[str] = []
        self.answers: deque[Answer] = deque()
        self._context, self._host = context, host
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """Its base URL."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http{'s' if self._context else ''}://{host}:{self.port}/v1"

    def close_connections(self) -> None:
        """Close all that there are, as a server does with idle ones."""
        self._run(self._closed_all())

    async def _closed_all(self) -> None:
        for writer in list(self._writers):
            writer.close()

    async def _started(self) -> asyncio.Server:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        return await asyncio.start_server(self._serve, self._host, 0, family=family, ssl=self._context, backlog=1024)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while await self._answer(reader, writer):
                    pass
        except asyncio.CancelledError:
            pass
        finally:
            self.open -= 1
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        size = next((line for line in head.splitlines() if line.startswith("content-length:")), ": 0")
        body = json.loads(await reader.readexactly(int(size.partition(":")[2])))
        self.requests.append(head)
        usual = Answer(STREAM, {"content-type": "text/event-stream"}, chunked=True) if body.get("stream") else Answer()
        answer = self.answers.popleft() if self.answers else usual
        if answer.body is None and answer.then == "keep":
            return False
        if answer.body is not None:
            writer.write(answer.head() + answer.content())
        await writer.drain()
        if answer.then == "close late":
            await asyncio.sleep(1.2)
        if answer.then == "silence":
            # Until the client leaves.
            await reader.read()
        return answer.then == "keep"
