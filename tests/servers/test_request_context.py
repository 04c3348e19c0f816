"""What surrounds every request, on a real server with a small application."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from las_langchain.callers import calling, current_caller
from las_langchain.records import CallRecord
from las_langchain.service import LiteLLMService
from las_langchain.settings import LASSettings
from las_langchain.tracing.observer import Tracing
from servers import errors
from servers.gate import Gate
from servers.metrics import UNMATCHED, Metrics
from servers.request_context import RequestContext
from servers.requests import unless_gone
from tests.servers.test_metrics import value

KEY = "sk-a-key-that-nobody-may-see"
KEY_ID = f"key-{hashlib.sha256(KEY.encode()).hexdigest()[:12]}"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@dataclass
class Running:
    """The server, and what is behind it."""

    url: str
    metrics: Metrics
    spans: InMemorySpanExporter
    released: threading.Event = field(default_factory=threading.Event)
    parts: list[bytes] = field(default_factory=list)

    def get(self, path: str, **headers: str) -> httpx.Response:
        """The answer to a GET."""
        return httpx.get(self.url + path, headers=headers, trust_env=False, timeout=20)

    def counted(self, route: str, status: int, method: str = "GET") -> float | None:
        """How many such requests there were."""
        labels = {"route": route, "status": str(status), "method": method}
        return value(self.metrics, "las_http_requests_total", **labels)


def application(running: Running, tracing: Tracing) -> FastAPI:
    """Routes that stream, break and wait."""
    app = FastAPI()
    errors.install(app)
    app.state.service = LiteLLMService(LASSettings())
    app.add_middleware(Gate, keys=())
    app.add_middleware(RequestContext, metrics=running.metrics, tracing=tracing)
    add_streams(app, running)
    add_bugs(app)

    @app.get("/caller/{name}")
    async def caller(name: str) -> Response:
        found = current_caller()
        headers = {"x-request-id": "the application's", "x-other": "kept"}
        return JSONResponse({"request_id": found.request_id, "key_id": found.key_id}, headers=headers)

    @app.get("/call")
    async def call() -> Response:
        record = CallRecord("chat", "openai/gpt-4o", "openai/gpt-4o")
        tracing.began(record, {})
        record.ended("ok")
        tracing.ended(record, None)
        return Response()

    return app


def add_streams(app: FastAPI, running: Running) -> None:
    """Routes whose answers or requests take their time."""

    async def released() -> None:
        await asyncio.to_thread(running.released.wait, 20)

    @app.get("/stream")
    async def stream() -> Response:
        async def parts() -> AsyncIterator[str]:
            yield f"first of {current_caller().request_id}\n"
            await released()
            yield "second\n"

        return StreamingResponse(parts())

    @app.post("/body")
    async def body(request: Request) -> Response:
        async for part in request.stream():
            running.parts.append(part)
            running.released.set()
        return Response(b"".join(running.parts))

    @app.get("/endless")
    async def endless() -> Response:
        async def parts() -> AsyncIterator[str]:
            while True:
                yield "again\n"
                await asyncio.sleep(0.01)

        return StreamingResponse(parts())

    @app.get("/slow")
    async def slow(request: Request) -> Response:
        running.released.set()
        await unless_gone(request, asyncio.sleep(30))
        return Response("never")


def add_bugs(app: FastAPI) -> None:
    """Routes that break."""

    @app.get("/bug")
    async def bug() -> None:
        raise RuntimeError("a secret detail")

    @app.get("/late-bug")
    async def late_bug() -> Response:
        async def parts() -> AsyncIterator[str]:
            yield "first"
            raise RuntimeError("a secret detail")

        return StreamingResponse(parts())


@pytest.fixture
def running(caplog: pytest.LogCaptureFixture) -> Iterator[Running]:
    """A real server."""
    caplog.set_level(logging.INFO, "las.access")
    spans = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    it = Running("", Metrics(), spans)
    with serving(application(it, Tracing(provider))) as it.url:
        yield it


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """*app* in a thread, on a port of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        until(lambda: server.started)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


def until(fact: Callable[[], object], seconds: float = 10) -> None:
    """Wait for *fact*."""
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.01)


def access_line(caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    """The one line of the log about the one request."""
    until(lambda: any(record.name == "las.access" for record in caplog.records))
    [line] = [record for record in caplog.records if record.name == "las.access"]
    return line


# Ids and headers


def test_a_sane_request_id_is_the_clients(running: Running) -> None:
    answer = running.get("/caller/x", **{"x-request-id": "My.id_1-a"})
    assert answer.headers.get_list("x-request-id") == ["My.id_1-a"]
    assert answer.json()["request_id"] == "My.id_1-a"
    assert answer.headers["x-other"] == "kept"


@pytest.mark.parametrize("given", [None, "", "two words", "a\tb", "x" * 129, "a,b", "é", "<b>", "../.."])
def test_any_other_request_id_is_made_here(running: Running, given: str | None) -> None:
    headers = {} if given is None else {"x-request-id": given.encode()}
    first, second = (
        httpx.get(f"{running.url}/caller/x", headers=headers, trust_env=False, timeout=60) for _ in range(2)
    )  # type: ignore[arg-type]
    assert re.fullmatch(r"req_[0-9a-f]{32}", first.headers["x-request-id"])
    assert first.json()["request_id"] == first.headers["x-request-id"] != second.headers["x-request-id"]


def test_the_time_until_the_answer_begins_is_told(running: Running) -> None:
    with httpx.stream("GET", f"{running.url}/stream", trust_env=False, timeout=20) as response:
        assert 0 <= int(response.headers["openai-processing-ms"]) < 5000
        running.released.set()


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer   {KEY}"},
        {"x-api-key": KEY},
        {"api-key": KEY},
        {"authorization": "Basic dXNlcg==", "api-key": KEY},
        {"authorization": "Bearer", "x-api-key": KEY},
        {"authorization": f"Bearer {KEY}", "x-api-key": "another"},
    ],
)
def test_the_key_has_an_id_that_does_not_tell_it(
    running: Running, caplog: pytest.LogCaptureFixture, headers: dict[str, str]
) -> None:
    assert running.get("/caller/x", **headers).json()["key_id"] == KEY_ID
    assert vars(access_line(caplog))["key_id"] == KEY_ID
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Basic dXNlcg=="}, {"authorization": "Bearer"}, {"x-api-key": ""}]
)
def test_no_key_has_no_id(running: Running, headers: dict[str, str]) -> None:
    assert running.get("/caller/x", **headers).json()["key_id"] is None


def test_requests_do_not_share_their_context(running: Running) -> None:
    with calling(request_id="of the test"):
        running.get("/caller/x", **{"x-api-key": KEY})
        assert running.get("/caller/x").json()["key_id"] is None
        assert current_caller().request_id == "of the test"


# Counting and the log


def test_a_request_is_counted_and_logged_by_its_route(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    answer = running.get("/caller/secret?token=secret", **{"x-request-id": "abc", "x-api-key": KEY})
    line = access_line(caplog)
    assert re.fullmatch(r"GET /caller/\{name\} 200 \d+\.\d{3} s", line.getMessage())
    told = {name: vars(line)[name] for name in ("method", "route", "status", "request_id", "key_id")}
    assert told == {
        "method": "GET",
        "route": "/caller/{name}",
        "status": 200,
        "request_id": answer.headers["x-request-id"],
        "key_id": KEY_ID,
    }
    assert 0 <= vars(line)["seconds"] < 10
    assert running.counted("/caller/{name}", 200) == 1


def test_a_wrong_address_is_logged_and_not_counted_by_its_path(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    assert running.get(f"/v1/v1/{KEY}/" + "x" * 500).status_code == 404
    shown = vars(access_line(caplog))["route"]
    assert shown.startswith("/v1/v1/***/xxx")
    assert len(shown) <= 200
    assert running.counted(UNMATCHED, 404) == 1


class Listening(logging.Handler):
    """Notes on whose behalf lines are written."""

    def __init__(self) -> None:
        super().__init__()
        self.request_ids: list[str | None] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.request_ids.append(current_caller().request_id)


def test_a_line_is_logged_inside_of_the_requests_context(running: Running) -> None:
    listening = Listening()
    logging.getLogger("las.access").addHandler(listening)
    try:
        running.get("/caller/x", **{"x-request-id": "abc"})
        until(lambda: listening.request_ids)
    finally:
        logging.getLogger("las.access").removeHandler(listening)
    assert listening.request_ids == ["abc"]


# Streams, bodies and clients that leave


def test_a_stream_is_not_held_back(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    with httpx.stream(
        "GET", f"{running.url}/stream", headers={"x-request-id": "abc"}, trust_env=False, timeout=20
    ) as response:
        lines = response.iter_lines()
        assert next(lines) == "first of abc"
        assert not running.released.is_set()
        assert not caplog.records
        running.released.set()
        assert next(lines) == "second"
    assert vars(access_line(caplog))["status"] == 200


def test_a_body_is_not_held_back(running: Running) -> None:
    def parts() -> Iterator[bytes]:
        yield b"first "
        assert running.released.wait(20), "the application has not got the first part"
        yield b"second"

    answer = httpx.post(f"{running.url}/body", content=parts(), trust_env=False, timeout=20)
    assert answer.text == "first second"
    assert running.parts[0] == b"first "


def test_a_client_that_leaves_a_stream_is_a_499(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    with httpx.stream("GET", f"{running.url}/endless", trust_env=False, timeout=20) as response:
        assert next(response.iter_lines()) == "again"
    assert vars(access_line(caplog))["status"] == 499
    assert running.counted("/endless", 499) == 1


def test_a_client_that_leaves_before_its_answer_is_a_499(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_connection(httpx.URL(running.url).netloc.decode().split(":")) as client:  # type: ignore[arg-type]
        client.sendall(b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert running.released.wait(20)
    assert vars(access_line(caplog))["status"] == 499
    assert running.counted("/slow", 499) == 1


def test_a_client_that_leaves_after_its_answer_is_nobody_special(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    running.get("/caller/x", connection="close")
    assert vars(access_line(caplog))["status"] == 200
    time.sleep(0.1)
    assert running.counted("/caller/{name}", 499) is None


# Bugs


def test_a_bug_has_a_request_id_too(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    answer = running.get("/bug", **{"x-request-id": "abc"})
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] == "abc"
    assert answer.json()["error"]["message"] == "The server had an internal error; its log says which"
    assert running.counted("/bug", 500) == 1
    told = [record for record in caplog.records if record.exc_info]
    assert [record.getMessage() for record in told] == ["Unhandled error"]


def test_a_bug_in_mid_stream_breaks_it_off_and_is_a_500(running: Running) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        running.get("/late-bug")
    until(lambda: running.counted("/late-bug", 500))
    assert running.counted("/late-bug", 200) is None


# Traces


def test_a_clients_trace_goes_on_in_the_calls(running: Running) -> None:
    running.get("/call", traceparent=TRACEPARENT)
    running.get("/call")
    first, second = running.spans.get_finished_spans()
    assert first.parent is not None
    assert f"{first.parent.trace_id:032x}-{first.parent.span_id:016x}" in TRACEPARENT
    assert second.parent is None


async def test_what_is_not_http_passes_through() -> None:
    seen: list[str] = []

    async def app(scope: object, receive: object, send: object) -> None:
        seen.append(scope["type"])  # type: ignore[index]

    middleware = RequestContext(app, metrics=Metrics())
    for kind in ("lifespan", "websocket"):
        await middleware({"type": kind}, None, None)  # type: ignore[arg-type]
    assert seen == ["lifespan", "websocket"]
