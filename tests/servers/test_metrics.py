"""What Prometheus reads."""

from __future__ import annotations

import asyncio
import threading

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from las_langchain.errors import APIError, RateLimitError
from las_langchain.records import CallRecord, Tokens
from servers.metrics import MOST_MODELS, MOST_NAMES, OTHER, UNMATCHED, Metrics, route_of

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(metrics: Metrics) -> Samples:
    """Every sample, by its name and labels."""
    text = metrics.exposition(None)[0].decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """One sample; None if there is none."""
    return read(metrics).get((name, tuple(sorted(labels.items()))))


def labels_of(metrics: Metrics, name: str, label: str) -> set[str]:
    """The values of a label."""
    return found_in(read(metrics), name, label)


def found_in(samples: Samples, name: str, label: str) -> set[str]:
    """The values of a label in *samples*."""
    return {dict(labels)[label] for found, labels in samples if found == name}


def count(metrics: Metrics, record: CallRecord, error: BaseException | None = None, status: str = "ok") -> None:
    """Begin and end *record*."""
    metrics.began(record, {})
    record.ended(status, error)  # type: ignore[arg-type]
    metrics.ended(record, None)


def chat(model: str = "openai/gpt-4o", **values: object) -> CallRecord:
    """A chat that has just begun."""
    record = CallRecord("chat", model, model)
    for name, given in values.items():
        setattr(record, name, given)
    return record


def test_a_call_is_counted_with_its_tokens_cost_and_seconds() -> None:
    metrics = Metrics()
    used = Tokens(prompt=10, completion=5, cached=4, reasoning=2)
    count(metrics, chat(tokens=used, cost_usd=0.25, first_token_seconds=0.3))
    count(metrics, chat(tokens=used, cost_usd=0.5))
    labels = {"operation": "chat", "model": "openai/gpt-4o", "provider": "openai", "status": "ok", "error": ""}
    assert value(metrics, "las_calls_total", **labels) == 2
    kinds = {kind: value(metrics, "las_tokens_total", model="openai/gpt-4o", kind=kind) for kind in used.__slots__}
    assert kinds == {
        "prompt": 20,
        "completion": 10,
        "cached": 8,
        "cache_writes": None,
        "reasoning": 4,
        "audio": None,
    }
    assert value(metrics, "las_cost_usd_total", model="openai/gpt-4o") == 0.75
    assert value(metrics, "las_unpriced_calls_total", model="openai/gpt-4o") is None
    assert value(metrics, "las_call_seconds_count", model="openai/gpt-4o", operation="chat") == 2
    assert value(metrics, "las_first_token_seconds_bucket", model="openai/gpt-4o", le="0.25") == 0
    assert value(metrics, "las_first_token_seconds_bucket", model="openai/gpt-4o", le="0.5") == 1


def test_calls_in_flight_are_those_that_have_begun_and_not_ended() -> None:
    metrics, records = Metrics(), [chat() for _ in range(3)]
    for record in records:
        metrics.began(record, {})
    assert value(metrics, "las_calls_in_flight", operation="chat") == 3
    for record in records:
        record.ended("cancelled", asyncio.CancelledError())
        metrics.ended(record, None)
    assert value(metrics, "las_calls_in_flight", operation="chat") == 0


def test_a_cached_answer_counts_no_tokens_cost_or_seconds() -> None:
    metrics = Metrics()
    count(metrics, chat(cache_hit=True, tokens=Tokens(prompt=10, completion=5), cost_usd=0.0))
    assert value(metrics, "las_cache_hits_total", model="openai/gpt-4o") == 1
    names = {name for name, _ in read(metrics)}
    assert names.isdisjoint({"las_tokens_total", "las_cost_usd_total", "las_call_seconds_count"})


def test_calls_without_a_price_are_counted_as_such() -> None:
    metrics = Metrics()
    count(metrics, chat("openai/new"))
    count(metrics, chat("openai/new", tokens=Tokens(prompt=1)), asyncio.CancelledError(), "cancelled")
    count(metrics, chat("openai/new"), asyncio.CancelledError(), "cancelled")
    count(metrics, chat("openai/new"), APIError("down"), "error")
    assert value(metrics, "las_unpriced_calls_total", model="openai/new") == 2


def test_failures_are_counted_by_their_code() -> None:
    metrics = Metrics()
    count(metrics, chat())
    count(metrics, chat(), RateLimitError("later"), "error")
    count(metrics, chat(), APIError("bad", code="x" * 65), "error")
    count(metrics, chat(), APIError("bad", code="two\nlines"), "error")
    count(metrics, chat(), asyncio.CancelledError(), "cancelled")
    known = {"operation": "chat", "model": "openai/gpt-4o", "provider": "openai"}
    assert value(metrics, "las_calls_total", **known, status="error", error="rate_limit_exceeded") == 1
    assert value(metrics, "las_calls_total", **known, status="error", error=OTHER) == 2
    assert value(metrics, "las_calls_total", **known, status="cancelled", error="") == 1
    assert value(metrics, "las_call_seconds_count", model="openai/gpt-4o", operation="chat") == 1


def test_a_model_has_a_label_only_once_it_has_answered() -> None:
    metrics = Metrics()
    count(metrics, chat("openai/made-up-by-a-client"), APIError("no such model"), "error")
    assert labels_of(metrics, "las_calls_total", "model") == {OTHER}
    count(metrics, chat("openai/gpt-4o"))
    count(metrics, chat("openai/gpt-4o"), APIError("down"), "error")
    assert labels_of(metrics, "las_calls_total", "model") == {OTHER, "openai/gpt-4o"}


def test_labels_are_bounded() -> None:
    metrics = Metrics()
    threads = [
        threading.Thread(target=lambda part=part: [count(metrics, chat(f"p{n}/m{n}")) for n in range(part, 700, 4)])
        for part in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(300):
        count(metrics, chat(), APIError("bad", code=f"code_{number}"), "error")
        metrics.http_request(f"/route/{number}", f"METHOD{number}", 200)
    # Thousands of samples, which take a second to read.
    samples = read(metrics)
    assert len(found_in(samples, "las_calls_total", "model")) == MOST_MODELS + 1
    assert len(found_in(samples, "las_calls_total", "provider")) == MOST_NAMES + 1
    assert len(found_in(samples, "las_calls_total", "error")) == MOST_NAMES + 2
    assert len(found_in(samples, "las_http_requests_total", "route")) == MOST_NAMES + 1
    assert found_in(samples, "las_http_requests_total", "method") == {OTHER}
    total = sum(number for (name, _), number in samples.items() if name == "las_calls_total")
    assert total == 1000


def test_what_a_provider_says_amiss_does_no_harm() -> None:
    metrics = Metrics()
    count(metrics, chat(tokens=Tokens(prompt=-5, completion="7"), cost_usd=-1.0))  # type: ignore[arg-type]
    assert value(metrics, "las_cost_usd_total", model="openai/gpt-4o") == 0
    assert value(metrics, "las_tokens_total", model="openai/gpt-4o", kind="prompt") is None


def test_two_applications_count_apart() -> None:
    one, other = Metrics(), Metrics()
    count(one, chat())
    assert labels_of(one, "las_calls_total", "model") == {"openai/gpt-4o"}
    assert labels_of(other, "las_calls_total", "model") == set()


def test_the_process_and_the_platform_are_told() -> None:
    names = {name for name, _ in read(Metrics())}
    assert {"process_cpu_seconds_total", "process_resident_memory_bytes", "python_info"} <= names


@pytest.mark.parametrize("accept", [None, "", "*/*", "text/html", "text/plain;version=0.0.4;q=0.5"])
def test_plain_text_is_what_prometheus_reads_by_default(accept: str | None) -> None:
    metrics = Metrics()
    count(metrics, chat())
    text, content_type = metrics.exposition(accept)
    assert content_type.startswith("text/plain; version=0.0.4")
    assert b"las_calls_total{" in text
    assert not text.endswith(b"# EOF\n")


def test_openmetrics_is_sent_where_it_is_asked_for() -> None:
    metrics = Metrics()
    count(metrics, chat('openai/"quoted"\\', cost_usd=0.25))
    text, content_type = metrics.exposition("application/openmetrics-text;version=1.0.0;q=0.8,text/plain;q=0.3")
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith(b"# EOF\n")
    families = {family.name: family for family in openmetrics_families(text.decode())}
    assert families["las_cost_usd"].samples[0].labels == {"model": 'openai/"quoted"\\'}


def test_a_version_that_is_no_number_is_answered_as_if_nothing_was_asked_for() -> None:
    _, content_type = Metrics().exposition("application/openmetrics-text; version=abc")
    assert content_type == Metrics().exposition(None)[1]


# Routes


class Watched:
    """Notes the route of every request."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.routes: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)
        self.routes.append(route_of(scope))


def watched() -> Watched:
    """An application with every kind of route."""
    app, router, inner, mounted = FastAPI(), APIRouter(prefix="/v1"), APIRouter(prefix="/in"), FastAPI()

    @router.get("/models/{name:path}")
    async def model(name: str) -> str:
        return name

    @inner.get("/x/{number}")
    async def number(number: int) -> int:
        return number

    @mounted.get("/z/{name}")
    async def named(name: str) -> str:
        return name

    def plain(request: object) -> PlainTextResponse:
        return PlainTextResponse("plain")

    router.include_router(inner)
    app.include_router(router)
    app.include_router(router, prefix="/api")
    app.mount("/mounted", mounted)
    app.router.routes.append(Mount("/files", app=PlainTextResponse("file")))
    app.router.routes.append(Route("/literal", plain))
    app.router.routes.append(Route("/plain/{name}", plain))
    return Watched(app)


@pytest.fixture(scope="module")
def application() -> Watched:
    return watched()


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v1/models/gpt-4o", "/v1/models/{name:path}"),
        ("/v1/models/v1/models/x", "/v1/models/{name:path}"),
        ("/api/v1/models/gpt-4o", "/api/v1/models/{name:path}"),
        ("/v1/in/x/3", "/v1/in/x/{number}"),
        ("/api/v1/in/x/3", "/api/v1/in/x/{number}"),
        ("/v1/in/x/no-number", "/v1/in/x/{number}"),
        ("/mounted/z/secret", "/mounted/z/{name}"),
        ("/mounted/nothing/secret", "/mounted/{path}"),
        ("/files/secret.txt", "/files/{path}"),
        ("/literal", "/literal"),
        ("/docs", "/docs"),
        ("/plain/secret", OTHER),
        ("/secret", UNMATCHED),
        ("/v1/secret", UNMATCHED),
        ("/v1/models/" + "/" * 2000, "/v1/models/{name:path}"),
    ],
)
async def test_a_route_is_its_template(application: Watched, path: str, route: str) -> None:
    transport = httpx.ASGITransport(application)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        await client.get(path)
    assert application.routes[-1] == route


async def test_a_method_that_a_route_does_not_take_is_still_its(application: Watched) -> None:
    transport = httpx.ASGITransport(application)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert (await client.post("/v1/in/x/3")).status_code == 405
    assert application.routes[-1] == "/v1/in/x/{number}"
