"""What surrounds every HTTP request: its id, its trace, its line in the log, its count."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from las_langchain.callers import calling
from las_langchain.errors import masked
from servers.errors import CLIENT_CLOSED_REQUEST, error_response, known
from servers.metrics import UNMATCHED, Metrics, route_of
from servers.origins import headers_of

if TYPE_CHECKING:
    from las_langchain.tracing.observer import Tracing

access_log = logging.getLogger("las.access")

_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_LONGEST_PATH = 200


class RequestContext:
    """ASGI middleware, to be the outermost; bodies and streams pass through it untouched.

    Args:
        app: the application.
        metrics: counts the requests.
        tracing: continues the traces of clients; None: there is no tracing.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, tracing: Tracing | None = None) -> None:
        self._app, self._metrics, self._tracing = app, metrics, tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = headers_of(scope)
        exchange = _Exchange(scope, receive, send, headers)
        with calling(request_id=exchange.request_id), self._traced(headers):
            try:
                await self._app(scope, exchange.receive, exchange.send)
            except Exception as error:
                if exchange.status is not None or exchange.left:
                    raise
                # Starlette's own answer to a bug is made outside of all middleware, and would have no request id.
                answer = error_response(scope["path"], known(error))
                await answer(scope, exchange.receive, exchange.send)
            finally:
                self._tell(exchange)

    def _traced(self, headers: Mapping[str, str]) -> AbstractContextManager[None]:
        return self._tracing.continued(headers) if self._tracing else nullcontext()

    def _tell(self, exchange: _Exchange) -> None:
        route, method = route_of(exchange.scope), exchange.scope["method"]
        status, seconds = exchange.outcome, exchange.seconds
        self._metrics.http_request(route, method, status)
        if not access_log.isEnabledFor(logging.INFO):
            return
        # Whoever sends requests to a wrong address wants to see which.
        shown = masked(exchange.scope["path"][:_LONGEST_PATH]) if route == UNMATCHED else route
        told = {
            "method": method,
            "route": shown,
            "status": status,
            "seconds": round(seconds, 3),
            "request_id": exchange.request_id,
            "key_id": exchange.scope.get("state", {}).get("key_id"),
        }
        # Where in this file it was made need not be found out anew each time.
        line = ("%s %s %d %.3f s", (method, shown, status, seconds), None)
        access_log.handle(access_log.makeRecord(access_log.name, logging.INFO, __file__, 0, *line, "_tell", told))


class _Exchange:
    """One request and what becomes of it.

    Attributes:
        scope: the request's.
        request_id: the client's, or one made up here.
        status: HTTP's, once the answer has begun.
        left: whether the client was gone before the end of the answer.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, headers: Mapping[str, str]) -> None:
        self.scope, self.request_id = scope, _request_id(headers)
        self.status: int | None = None
        self.left = False
        self._receive, self._send = receive, send
        self._complete = False
        self._unread = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """The time since the request came in."""
        return time.perf_counter() - self._began

    @property
    def outcome(self) -> int:
        """The status to be counted: 499 if the client left, 500 if the server broke its answer off."""
        if self.left:
            return CLIENT_CLOSED_REQUEST
        return self.status if self.status is not None and self._complete else HTTPStatus.INTERNAL_SERVER_ERROR

    async def receive(self) -> Message:
        """The server's next message."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._unread = message.get("more_body", False)
        if message["type"] == "http.disconnect" and not self._complete:
            self.left = True
        return message

    async def send(self, message: Message) -> None:
        """Hand the application's next message on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": self._headers(message.get("headers", ()))}
        elif message["type"] == "http.response.body":
            self._complete = not message.get("more_body", False)
        try:
            await self._send(message)
        except OSError:
            self.left = True
            raise

    def _headers(self, given: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """*given*, and those of every answer."""
        own = {
            b"x-request-id": self.request_id.encode("latin-1"),
            b"openai-processing-ms": b"%d" % round(self.seconds * 1000),
        }
        if self._unread:
            # Else the rest of the body is read before the next request, and it may have no end.
            own[b"connection"] = b"close"
        return [header for header in given if header[0].lower() not in own] + list(own.items())


def _request_id(headers: Mapping[str, str]) -> str:
    given = headers.get("x-request-id", "")
    return given if _SANE_ID.fullmatch(given) else f"req_{os.urandom(16).hex()}"
