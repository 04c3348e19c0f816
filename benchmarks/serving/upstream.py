"""An upstream that speaks OpenAI's chat completions over HTTP as cheaply as Python can.

    python -m benchmarks.serving.upstream [--port 8001] [--pace 2]

prints its address, such as http://127.0.0.1:8001/v1, and answers until it is ended. The key is ``sk-upstream``. The
text of a request says what it wants (:func:`benchmarks.serving.answers.prompt`): ``200 words one by one, number
00000007`` as a stream comes as one event each ``--pace`` milliseconds, ``at once`` as fast as the socket takes it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from functools import partial

import httptools
import orjson
import uvloop

from benchmarks.serving import answers

KEY = "sk-upstream"
PACE = 2.0
"""Milliseconds between the events of a stream that come one by one."""
_HEADERS = (
    b"date: Thu, 26 Nov 2026 12:00:00 GMT\r\nconnection: keep-alive\r\nopenai-organization: benchmark\r\n"
    b"openai-processing-ms: 214\r\nopenai-version: 2020-10-01\r\nx-ratelimit-limit-requests: 10000\r\n"
    b"x-ratelimit-limit-tokens: 200000\r\nx-ratelimit-remaining-requests: 9999\r\n"
    b"x-ratelimit-remaining-tokens: 199950\r\nx-request-id: req_5e3c1f0e9d8c4b7aa6f2\r\nserver: cloudflare\r\n"
)
_STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n"
    + _HEADERS
    + b"\r\n"
)
_ERROR = b'{"error":{"message":"%s","type":"invalid_request_error","param":null,"code":null}}'
_MODELS = b'{"object":"list","data":[{"id":"gpt-4o-mini","object":"model","created":1721172741,"owned_by":"system"}]}'


class Connection(asyncio.Protocol):
    """One client, which sends a request when it has the answer to the one before.

    Args:
        pace: seconds between the events that come one by one.
    """

    def __init__(self, pace: float) -> None:
        self._pace = pace
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._timer: asyncio.Handle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keep the way back."""
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Say no more."""
        if self._timer:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Read a part of a request."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._path, self._key, self._body = b"", b"", b""

    def on_url(self, url: bytes) -> None:
        """Take the path."""
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take the key."""
        if name.lower() == b"authorization":
            self._key = value

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Answer."""
        if self._path == b"/v1/models":
            self._whole(b"200 OK", _MODELS)
        elif self._path != b"/v1/chat/completions":
            self._whole(b"404 Not Found", _ERROR % b"Unknown path")
        elif self._key != b"Bearer " + KEY.encode():
            self._whole(b"401 Unauthorized", _ERROR % b"Incorrect API key provided")
        else:
            self._answer()

    def _answer(self) -> None:
        try:
            request = orjson.loads(self._body)
        except ValueError:
            self._whole(b"400 Bad Request", _ERROR % b"The body is not JSON")
            return
        words, at_once, number = answers.asked(self._body)
        if not request.get("stream"):
            self._whole(b"200 OK", answers.completion(number, words))
            return
        with_usage = bool((request.get("stream_options") or {}).get("include_usage"))
        parts = [
            b"%x\r\n%b\r\n" % (len(event), event) for event in answers.events(number, words, with_usage=with_usage)
        ]
        if at_once:
            self._transport.write(_STREAM + b"".join(parts) + b"0\r\n\r\n")
        else:
            parts[-1] += b"0\r\n\r\n"
            parts.reverse()
            self._transport.write(_STREAM)
            self._next(parts)

    def _next(self, parts: list[bytes]) -> None:
        """Send the last of *parts*, and the others in time."""
        self._transport.write(parts.pop())
        if parts:
            self._timer = self._loop.call_later(self._pace, self._next, parts)

    def _whole(self, status: bytes, content: bytes) -> None:
        length = b"content-type: application/json\r\ncontent-length: %d\r\n" % len(content)
        self._transport.write(b"HTTP/1.1 " + status + b"\r\n" + length + _HEADERS + b"\r\n" + content)


async def serve(port: int, pace: float) -> None:
    """Answer on *port*, with *pace* milliseconds between events that come one by one."""
    server = await asyncio.get_running_loop().create_server(
        partial(Connection, pace / 1e3), "127.0.0.1", port, backlog=1024
    )
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


def main() -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser(description="A cheap upstream that speaks OpenAI's chat completions.")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--pace", type=float, default=PACE, help="milliseconds between events that come one by one")
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve(options.port, options.pace))


if __name__ == "__main__":
    main()
