"""A collector of traces for tests: a real HTTP server on 127.0.0.1 that takes OTLP in protobuf."""

from __future__ import annotations

import gzip
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.fake_server import JSON, Delivery, Exchange, FakeServer, Received, Refusal


class FakeCollector(FakeServer[Delivery]):
    """The server; spans arrive in :attr:`spans`."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(port)
        self.connections: list[Any] = []
        """Where each export came from, in order of arrival."""

    @property
    def exports(self) -> list[ExportTraceServiceRequest]:
        """What was sent, in order of arrival."""
        return [ExportTraceServiceRequest.FromString(_unpacked(request)) for request in list(self.requests)]

    @property
    def spans(self) -> list[Span]:
        """Every span that has arrived."""
        resources = [resource for export in self.exports for resource in export.resource_spans]
        return [span for resource in resources for scope in resource.scope_spans for span in scope.spans]

    @property
    def resource(self) -> dict[str, Any]:
        """Who the newest spans are from."""
        return values_of(self.exports[-1].resource_spans[0].resource.attributes)

    def wait(self, count: int, seconds: float = 10) -> list[Span]:
        """Wait until *count* spans have arrived."""
        deadline = time.monotonic() + seconds
        while len(self.spans) < count:
            assert time.monotonic() < deadline, f"{len(self.spans)} of {count} spans after {seconds} s"
            time.sleep(0.02)
        return self.spans

    def route(self, request: Received) -> Callable[[Exchange, Delivery], Awaitable[None]]:
        """Take traces, and nothing else."""
        if (request.method, request.path) != ("POST", "/v1/traces"):
            raise Refusal(404, {"message": f"No such path: {request.path}"})
        return self._take

    def default_reply(self) -> Delivery:
        """Everything is taken."""
        return Delivery()

    def stamps(self, exchange: Exchange) -> Mapping[str, str]:
        """No headers of its own."""
        return {}

    def scripted_error(self, reply: Delivery) -> JSON:
        """A refusal."""
        return {"message": "scripted"}

    def error_body(self, error: JSON, exchange: Exchange) -> JSON:
        """The error itself."""
        return error

    async def _take(self, exchange: Exchange, reply: Delivery) -> None:
        self.connections.append(exchange._client)
        taken = ExportTraceServiceResponse().SerializeToString()
        await exchange.respond(200, {"content-type": "application/x-protobuf", **reply.headers}, taken)


def attributes_of(span: Span) -> dict[str, Any]:
    """The attributes of *span* as plain values."""
    return values_of(span.attributes)


def values_of(pairs: Any) -> dict[str, Any]:
    """OTLP's names and values as a dict."""
    return {pair.key: _plain(pair.value) for pair in pairs}


def _plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(item) for item in value.array_value.values]
    return getattr(value, kind)


def _unpacked(request: Received) -> bytes:
    assert isinstance(request.body, bytes), "protobuf, not JSON"
    return gzip.decompress(request.body) if request.headers.get("content-encoding") == "gzip" else request.body
