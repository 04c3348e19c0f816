"""A web server for tests: pages that are what a test says, and a list of who asked for what."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Handler = Callable[[BaseHTTPRequestHandler], None]


class Pages:
    """The server; use it in a with statement.

    Args:
        host: address that it listens on.

    Attributes:
        requests: the path and the headers of every request.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.requests: list[tuple[str, dict[str, str]]] = []
        self._pages: dict[str, tuple[int, dict[str, str], bytes] | Handler] = {}
        pages = self

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                pages._answer(self)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer((host, 0), Answers)
        self._server.daemon_threads = True
        self.host, self.port = host, self._server.server_address[1]

    @property
    def url(self) -> str:
        """The root address."""
        return f"http://{self.host}:{self.port}"

    def page(
        self, path: str, body: bytes | str, kind: str = "text/html; charset=utf-8", status: int = 200, **headers: str
    ) -> str:
        """Publish a page; returns its address."""
        content = body.encode() if isinstance(body, str) else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._pages[path] = (status, {**({"content-type": kind} if kind else {}), **named}, content)
        return self.url + path

    def redirect(self, path: str, target: str, status: int = 302) -> str:
        """Publish a redirect; returns its address."""
        return self.page(path, "", status=status, location=target)

    def handler(self, path: str, handler: Handler) -> str:
        """Publish what a function answers; returns its address."""
        self._pages[path] = handler
        return self.url + path

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        self.requests.append((request.path, {name.lower(): value for name, value in request.headers.items()}))
        found = self._pages.get(request.path, (404, {}, b"nothing"))
        with contextlib.suppress(ConnectionError):
            if callable(found):
                found(request)
                return
            status, headers, content = found
            request.send_response(status)
            for name, value in {"content-length": str(len(content)), **headers}.items():
                request.send_header(name, value)
            request.end_headers()
            request.wfile.write(content)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=[0.05], daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()
