"""Requests as no client library would send them, and their answers."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson


@dataclass(frozen=True)
class Answer:
    """What came back on a connection.

    Attributes:
        status: HTTP's; 0: the connection was closed without an answer.
        headers: by their names in lower case.
        body: without the framing of chunks.
        closed: whether the server closed the connection.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    closed: bool

    @property
    def error(self) -> dict[str, Any]:
        """OpenAI's error; empty if there is none."""
        try:
            found = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return {}
        error = found.get("error") if isinstance(found, dict) else None
        return error if isinstance(error, dict) else {}

    @property
    def verdict(self) -> tuple[int, str | None, str | None, str | None]:
        """The status, and the error's type, code and param."""
        error = self.error
        return self.status, error.get("type"), error.get("code"), error.get("param")


def request(method: str, path: str, *headers: str, body: bytes = b"", version: str = "HTTP/1.1") -> bytes:
    """A request; of the headers only the length of a body is added, and ``Host`` where none is given."""
    lines = list(headers)
    if version == "HTTP/1.1" and not any(line.lower().startswith("host:") for line in lines):
        lines.insert(0, "Host: localhost")
    if body and not any(line.lower().startswith(("content-length:", "transfer-encoding:")) for line in lines):
        lines.append(f"Content-Length: {len(body)}")
    head = "".join(f"{line}\r\n" for line in lines)
    return f"{method} {path} {version}\r\n{head}\r\n".encode() + body


def ask(url: str, data: bytes, *, timeout: float = 20, half_close: bool = False) -> Answer:
    """Send bytes to the server at *url*, and read one answer."""
    place = urlsplit(url)
    with socket.create_connection((str(place.hostname), int(place.port or 80)), timeout=timeout) as connection:
        try:
            connection.sendall(data)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        except ConnectionError:
            # It was refused before all was sent; the answer is there.
            pass
        return _read(connection)


def _read(connection: socket.socket) -> Answer:
    raw = _until(connection, b"", b"\r\n\r\n")
    while raw.startswith(b"HTTP/1.1 100"):
        raw = _until(connection, raw.partition(b"\r\n\r\n")[2], b"\r\n\r\n")
    head, _, rest = raw.partition(b"\r\n\r\n")
    if not head:
        return Answer(0, {}, b"", closed=True)
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        rest = _until(connection, rest, b"\r\n0\r\n\r\n")
        body = _unchunked(rest)
    else:
        length = int(headers.get("content-length", 0))
        while len(rest) < length and (more := _receive(connection)):
            rest += more
        body = rest[:length]
    closed = headers.get("connection") == "close" and _receive(connection) == b""
    return Answer(int(first.split()[1]), headers, body, closed)


def _until(connection: socket.socket, raw: bytes, end: bytes) -> bytes:
    while end not in raw and raw != end[2:] and (more := _receive(connection)):
        raw += more
    return raw


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65_536)
    except ConnectionError:
        return b""


def _unchunked(raw: bytes) -> bytes:
    body = b""
    while raw:
        size, _, raw = raw.partition(b"\r\n")
        length = int(size or b"0", 16)
        if length == 0:
            break
        body, raw = body + raw[:length], raw[length + 2 :]
    return body
