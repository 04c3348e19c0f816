"""What Prometheus reads at ``/metrics``: calls, tokens, costs and requests."""

from __future__ import annotations

import re
import threading
from functools import cache
from itertools import islice
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from starlette.types import Scope

from las_langchain.records import CallRecord

Json = dict[str, Any]

OTHER = "other"
"""Stands for every value that does not get a time series of its own."""
UNMATCHED = "unmatched"
"""The route of requests that no route took."""
MOST_MODELS = 500
MOST_NAMES = 200
"""Distinct values of any other label that is not a closed set."""
BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 8, 13, 20, 30, 45, 60, 90, 120)
"""In seconds: from a cached token to the longest answers."""
_DEEPEST = 16
"""Parts of a path that an application is looked for under; a client's path may have thousands."""
_METHODS = frozenset("GET HEAD POST PUT PATCH DELETE OPTIONS".split())
_NAME = re.compile(r"[A-Za-z0-9._:-]{1,64}")


class Metrics:
    """An observer that counts, in a registry of its own, so that several applications fit into one process.

    What clients send never makes a label: models get one when they have answered, and routes are templates.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._models = _Values(MOST_MODELS)
        self._providers, self._errors, self._routes = (_Values(MOST_NAMES) for _ in range(3))
        self._calls = self._counter("las_calls", "Calls", "operation", "model", "provider", "status", "error")
        self._tokens = self._counter(
            "las_tokens", "Tokens; cached and cache_writes are part of prompt, reasoning of completion", "model", "kind"
        )
        self._cost = self._counter("las_cost_usd", "What calls cost, in US dollars", "model")
        self._unpriced = self._counter("las_unpriced_calls", "Calls whose price is not known", "model")
        self._cache_hits = self._counter("las_cache_hits", "Calls answered out of the cache", "model")
        self._seconds = self._histogram("las_call_seconds", "Seconds of calls that a model answered", "operation")
        self._first_token = self._histogram("las_first_token_seconds", "Seconds to the first chunk of streams")
        self._in_flight = Gauge("las_calls_in_flight", "Calls that run now", ["operation"], registry=self.registry)
        self._requests = self._counter("las_http_requests", "HTTP requests", "route", "method", "status")
        # Their number is bounded, since the values of all labels are.
        self._series = cache(lambda metric, *labels: metric.labels(*labels))
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    def began(self, record: CallRecord, request: Json) -> None:
        """Count *record* as running."""
        self._series(self._in_flight, record.operation).inc()

    def ended(self, record: CallRecord, answer: Json | None) -> None:
        """Count what became of *record*."""
        self._series(self._in_flight, record.operation).dec()
        if record.status == "ok":
            self._models.admit(record.model)
        model = self._models.label(record.model)
        error = self._errors.named(record.error or OTHER) if record.status == "error" else ""
        self._series(
            self._calls, record.operation, model, self._providers.named(record.provider), record.status, error
        ).inc()
        if record.cache_hit:
            # Its tokens were used, and its seconds spent, by the call that filled the cache.
            self._series(self._cache_hits, model).inc()
        else:
            self._count_use(record, model)
            self._time(record, model)

    def http_request(self, route: str, method: str, status: int) -> None:
        """Count an HTTP request.

        Args:
            route: from :func:`route_of`.
            method: the client's.
            status: HTTP's; 499 for a client that left before the end.
        """
        method = method if method in _METHODS else OTHER
        self._routes.admit(route)
        self._series(self._requests, self._routes.label(route), method, str(status)).inc()

    def exposition(self, accept: str | None) -> tuple[bytes, str]:
        """All metrics as text, and its content type.

        Args:
            accept: the request's ``Accept`` header; OpenMetrics is sent where it is asked for.
        """
        try:
            encode, content_type = choose_encoder(accept or "")
        except (TypeError, ValueError):
            # A version that is no number.
            encode, content_type = choose_encoder("")
        return encode(self.registry), content_type

    def _count_use(self, record: CallRecord, model: str) -> None:
        tokens = record.tokens
        if tokens is not None:
            for kind in ("prompt", "completion", "cached", "cache_writes", "reasoning", "audio"):
                count = getattr(tokens, kind)
                # A counter refuses what is less than nothing, which a provider may well say.
                if isinstance(count, int) and count > 0:
                    self._series(self._tokens, model, kind).inc(count)
        if record.cost_usd is not None:
            self._series(self._cost, model).inc(max(0.0, record.cost_usd))
        elif record.status == "ok" or tokens is not None:
            self._series(self._unpriced, model).inc()

    def _time(self, record: CallRecord, model: str) -> None:
        if record.status == "ok":
            self._series(self._seconds, model, record.operation).observe(record.seconds)
        if record.first_token_seconds is not None:
            self._series(self._first_token, model).observe(record.first_token_seconds)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(name, text, ["model", *labels], registry=self.registry, buckets=BUCKETS)


def route_of(scope: Scope) -> str:
    """The template of the route that took a request, such as ``/v1/models/{name:path}``, free of a client's text.

    Args:
        scope: of the request, when the application is done with it.
    """
    if "endpoint" not in scope:
        return UNMATCHED
    path, params = scope["path"], scope.get("path_params") or {}
    template, expression = (getattr(scope.get("route"), name, None) for name in ("path", "path_regex"))
    if isinstance(template, str) and expression is not None:
        # The route may not know what it is mounted under, or included with. Where all parameters are its own, the rest
        # of the path is one of the application's own texts.
        begins = (index for index, letter in enumerate(path) if letter == "/")
        for begin in islice(begins, _DEEPEST):
            found = expression.match(path[begin:])
            if found and found.groupdict() == {name: str(value) for name, value in params.items()}:
                return str(path[:begin] + template)
        return OTHER
    root = scope.get("root_path", "")
    if root != scope.get("app_root_path", root):
        return f"{root}/{{path}}" if not params else OTHER
    return OTHER if params else str(path)


class _Values:
    """The values of a label that get a time series of their own, up to a number of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def admit(self, value: str) -> None:
        """Give *value* a time series, if there is room for one more."""
        if value not in self._known:
            with self._lock:
                if len(self._known) < self._most:
                    self._known.add(value)

    def label(self, value: str) -> str:
        """*value* if it has been admitted."""
        return value if value in self._known else OTHER

    def named(self, value: str) -> str:
        """*value*, admitted by being used, if it looks like a name."""
        if _NAME.fullmatch(value):
            self.admit(value)
        return self.label(value)
