"""The server's end of a connection, which does not wait for ever for clients that neither send nor read."""

from __future__ import annotations

import asyncio
import sys
from http import HTTPStatus
from typing import Any

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from las_langchain.errors import BadRequestError

_UPGRADE = frozenset({b"upgrade", b"http2-settings"})
"""The headers of requests that would rather go on in another protocol."""


class Connection(HttpToolsProtocol):
    """uvicorn's own, with bounds for what no application sees.

    Attributes:
        head_seconds: how long the head of a request may take to come in.
        head_bytes: how long it may be, and likewise whatever else is sent between the pieces of a body.
        unread_seconds: how long a client may read nothing of an answer.
        last_seconds: how long it is listened to after a refusal, so that it can read that.
    """

    head_seconds = 30.0
    head_bytes = 65_536
    unread_seconds = 120.0
    last_seconds = 1.0

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._unused = self._unread = 0
        self._parsed = self._unparsed = b""
        self._in_body = self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._begin("head", self.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what was waited for."""
        for name in list(self._timers):
            self._end(name)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read a part of a request."""
        if self._refused:
            return
        self._unused += len(data)
        self._unparsed = data
        while self._unparsed:
            self._parsed, self._unparsed = self._unparsed, b""
            super().data_received(self._parsed)
        if self._unused > self.head_bytes:
            self._refuse_head()
        elif self._unused and not self._in_body:
            # Also for what begins no request, such as an empty line.
            self._await_head()

    def on_message_begin(self) -> None:
        """Wait for the rest of a head."""
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        """Answer the request."""
        self._end("head")
        self._unused, self._in_body = 0, True
        # What is written between them counts too.
        if sum(len(name) + len(value) + 4 for name, value in self.headers) > self.head_bytes:
            self._refuse_head()
            raise ValueError("Nothing of it is to be parsed")
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._unused = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of a body."""
        self._unused, self._in_body = 0, False
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """Take a request that would rather go on in another protocol, such as HTTP/2, for one that would not.

        Java's client asks for that with every request, and the parser passes over the bodies of such.
        """
        upgrade = sys.exc_info()[1]
        assert isinstance(upgrade, httptools.HttpParserUpgrade)  # noqa: S101 - how uvicorn calls this
        kept = [header for header in self.headers if header[0] not in _UPGRADE]
        head = b"".join(name + b": " + value + b"\r\n" for name, value in kept)
        first = f"{self.scope['method']} ".encode() + self.url + f" HTTP/{self.scope['http_version']}\r\n".encode()
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._unparsed = first + head + b"\r\n" + self._parsed[upgrade.args[0] :]

    def _should_upgrade(self) -> bool:
        # The parser asks for it with CONNECT too.
        return any(name == b"upgrade" for name, _ in self.headers)

    def pause_writing(self) -> None:
        """Wait until the client reads on."""
        super().pause_writing()
        self._unread = self.transport.get_write_buffer_size()
        self._begin("unread", self.unread_seconds)

    def resume_writing(self) -> None:
        """Go on."""
        self._end("unread")
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(HTTPStatus.BAD_REQUEST, msg)

    def _await_head(self) -> None:
        if "head" not in self._timers:
            self._begin("head", self.head_seconds)

    def _begin(self, name: str, seconds: float) -> None:
        self._timers[name] = self.loop.call_later(seconds, self._give_up, name)

    def _end(self, name: str) -> None:
        if timer := self._timers.pop(name, None):
            timer.cancel()

    def _give_up(self, name: str) -> None:
        self._timers.pop(name, None)
        if name == "unread" and (unread := self.transport.get_write_buffer_size()) < self._unread:
            # However slowly, it reads.
            self._unread = unread
            self._begin(name, self.unread_seconds)
        elif name == "last" or (name == "head" and not self._unused):
            self.transport.close()
        elif name == "head" and self._answers:
            # Some clients end a body with an empty line; it is no reason to break off the answer.
            self._begin(name, self.head_seconds)
        elif name == "head":
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, f"it was not there within {self.head_seconds:g} s")
        else:
            # A close would wait for what is not read to be read.
            self.transport.abort()

    @property
    def _answers(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse_head(self) -> None:
        self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"it has more than {self.head_bytes} bytes of headers")

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        """Answer in the application's place, and listen no more."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        if self._answers:
            if self.cycle.response_started:
                self.transport.abort()
                return
            # What the application says from now on is not sent.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        error = BadRequestError(f"The request cannot be read: {reason}", status_code=status)
        content = orjson.dumps(error.to_openai())
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(content)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + content)
        # Closed wholly, a client that is still sending would find its connection broken before it has read why.
        self.transport.write_eof()
        self._begin("last", self.last_seconds)
