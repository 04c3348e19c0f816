"""The LAS REST API: ``/api/v1/litellm/*``."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

import las_langchain
from las_langchain.call_options import chosen_model
from las_langchain.errors import ConfigurationError, LASError
from las_langchain.listing.models import Source
from las_langchain.provider_list import ProviderInfo
from las_langchain.provider_rows import PROVIDERS
from las_langchain.usage import Group, Ledger
from servers.answers import call_headers, chat_response, json_response
from servers.chat_calls import chat_call
from servers.deps import OnThisMachine, Service
from servers.documents import CHAT_ANSWER, CHAT_EVENTS, EMBEDDINGS_ANSWER, NO_TEXT, TOO_HOT, answered, documented
from servers.exchange_calls import Asked, refuse_chains
from servers.las_schemas import (
    ChatRequest,
    ConfigChanges,
    CostRequest,
    EmbeddingsRequest,
    ProbeRequest,
    VisionRequest,
)
from servers.requests import parse, unless_gone
from servers.shown import shown
from servers.sounds import SOUNDS, speech, transcriptions
from servers.stored import change

Json = dict[str, Any]
PREFIX = "/api/v1/litellm"
_MOST_CHANGES = 1_000_000
_TESTED = {"ok": True, "provider": "openai", "model": "openai/gpt-4o", "seconds": 0.41, "error": None}

routes = APIRouter(prefix=PREFIX, tags=["LAS"], default_response_class=Response)


@routes.post(
    "/chat/completions",
    openapi_extra=documented(ChatRequest),
    responses=answered(CHAT_ANSWER, wrong=TOO_HOT, events=CHAT_EVENTS),
)
async def chat_completions(request: Request) -> Response:
    """Answer a chat, whole or with ``stream`` as server-sent events; without a model, the default one answers."""
    asked = await parse(ChatRequest, request)
    body = asked.body()
    call = await chat_call(request, asked.model, body, asked.provider)
    return await chat_response(request, call, body, stream=bool(asked.stream))


@routes.post(
    "/vision",
    openapi_extra=documented(VisionRequest),
    responses=answered(CHAT_ANSWER, wrong=("image_url", "expected data:image/…;base64,…")),
)
async def vision(request: Request, service: Service) -> Response:
    """Answer a question about images, which are URLs or data URIs."""
    asked = await parse(VisionRequest, request)
    fields = asked.model_dump(exclude_none=True, exclude={"images"})
    answer = await unless_gone(request, service.avision_completion(images=asked.images, **fields))
    return json_response(answer.model_dump(exclude_unset=True))


@routes.post(
    "/embeddings",
    openapi_extra=documented(EmbeddingsRequest),
    responses=answered(EMBEDDINGS_ANSWER, wrong=NO_TEXT),
)
async def embeddings(request: Request, service: Service) -> Response:
    """Embed one or many texts; without a model, the default embedding model does."""
    asked = await parse(EmbeddingsRequest, request)
    refuse_chains(asked.model, "embed nothing")
    target = service.target(asked.model, asked.provider, kind="embedding_model")
    call = Asked(service.exchange("embeddings", target, asked.body()))
    return json_response(await unless_gone(request, call.exchange.embed()), call_headers(call))


for _path, _sounds in (("/audio/speech", speech), ("/audio/transcriptions", transcriptions)):
    routes.post(_path, **SOUNDS[_path])(_sounds)


@routes.post(
    "/cost/estimate",
    openapi_extra=documented(CostRequest),
    responses=answered(
        {
            "model": "openai/gpt-4o",
            "input_cost_usd": 0.0025,
            "output_cost_usd": 0.005,
            "total_cost_usd": 0.0075,
            "currency": "USD",
        },
        wrong=("input_tokens", "Input should be greater than or equal to 0"),
    ),
)
async def estimate_cost(request: Request, service: Service) -> Response:
    """Say what a call would cost in US dollars; null where the price is not known."""
    asked = await parse(CostRequest, request)
    return json_response(asdict(service.estimate_cost(**asked.model_dump())))


@routes.get(
    "/models",
    responses=answered(
        {
            "object": "list",
            "data": [{"id": "ollama/llama3.2", "object": "model", "provider": "ollama", "source": "live"}],
            "sources": {"ollama": {"source": "live", "error": None, "seconds": 0.01}},
        }
    ),
)
async def models(
    request: Request, service: Service, provider: Annotated[str | None, Query(examples=["ollama"])] = None
) -> Response:
    """List the models of a provider, or of all that can be called: asked of the provider, else publicly listed."""
    listing = await unless_gone(request, service.alist_models(provider))
    data = [{"object": "model", **asdict(model)} for model in listing.models]
    sources = {name: asdict(source) for name, source in listing.sources.items()}
    return json_response({"object": "list", "data": data, "sources": sources})


@routes.get(
    "/providers",
    responses=answered(
        {
            "providers": [
                {
                    "name": "openai",
                    "title": "OpenAI",
                    "example": "openai/gpt-4o",
                    "features": ["vision", "tools", "embeddings", "speech", "transcription"],
                    "keyless": False,
                    "key_variables": ["OPENAI_API_KEY"],
                    "configured": True,
                    "base_url": None,
                    "docs": "https://docs.litellm.ai/docs/providers/openai",
                }
            ]
        }
    ),
)
async def providers(service: Service) -> Response:
    """List the providers: what they offer, which key they need, and whether it is set."""
    return json_response({"providers": [asdict(row) for row in service.list_providers()]})


@routes.post(
    "/providers/{name}/test",
    openapi_extra=documented(ProbeRequest, required=False),
    responses=answered(_TESTED, wrong=("model", "Input should be a valid string")),
)
async def probe_provider(name: str, request: Request, service: Service) -> Response:
    """Ask a provider for one token, and say whether it answered, how fast, and if not, why."""
    asked = await parse(ProbeRequest, request, optional=True)
    example = PROVIDERS[name].example if name in PROVIDERS else None
    model = chosen_model(asked.model or example, name, service.settings)
    begun, error = time.perf_counter(), None
    try:
        body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        exchange = service.exchange("chat", service.target(model), body, max_retries=0, alone=True)
        await unless_gone(request, exchange.complete())
    except LASError as failure:
        error = failure.to_openai()["error"]
    seconds = round(time.perf_counter() - begun, 3)
    return json_response({"ok": error is None, "provider": name, "model": model, "seconds": seconds, "error": error})


@routes.get(
    "/usage",
    responses=answered(
        {
            "by": "model",
            "rows": [{"group": "openai/gpt-4o", "calls": 12, "prompt_tokens": 900, "cost_usd": 0.0063}],
        },
        wrong=("since", "Input should be a valid date or datetime, input is too short"),
    ),
)
async def usage(
    service: Service,
    by: Group = "model",
    since: Annotated[date | None, Query(examples=["2026-11-01"])] = None,
    until: Annotated[date | None, Query(description="The last day, in UTC")] = None,
    key: Annotated[str | None, Query(description="Only this caller's key, by its id")] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> Response:
    """Sum up the ledger's calls: tokens, costs in US dollars, failures, times."""
    ledger = service.ledger
    if ledger is None:
        raise ConfigurationError("There is no ledger: LAS_ENABLE_COST_TRACKING is off", param="enable_cost_tracking")
    rows = await asyncio.to_thread(ledger.report, by, since=since, until=until, key_id=key, limit=limit)
    return json_response({"by": by, "rows": [asdict(row) for row in rows]})


@routes.get(
    "/config",
    dependencies=[OnThisMachine],
    responses=answered({"settings": {"model": "openai/gpt-4o", "temperature": 0.7}, "fixed": {"port": "…"}}),
)
async def config(service: Service) -> Response:
    """Show the settings, with asterisks for secrets, and say which cannot be changed here, and why."""
    return json_response(shown(service.settings))


@routes.patch(
    "/config",
    dependencies=[OnThisMachine],
    openapi_extra=documented(ConfigChanges),
    responses=answered(
        {"settings": {"model": "openai/gpt-4o", "temperature": 0.5}, "fixed": {"port": "…"}},
        wrong=("temperature", "Input should be a valid number"),
    ),
)
async def change_config(request: Request, service: Service) -> Response:
    """Change settings: all or, if one is wrong, none. They hold for calls from now on, and after a restart."""
    changes = await parse(ConfigChanges, request, most=_MOST_CHANGES)
    # Checking it may import litellm, and keeping it waits for the disk.
    return json_response(await asyncio.to_thread(change, service, changes.model_extra or {}))


@routes.get(
    "/health",
    responses=answered(
        {
            "status": "ok",
            "version": las_langchain.__version__,
            "ledger": "ok",
            "providers": {"ollama": {"status": "unreachable", "detail": "Ollama does not answer"}},
        }
    ),
)
async def health(request: Request, service: Service) -> Response:
    """Say how the server is, and each provider: ok, not configured, configured but not asked, or unreachable."""
    listing = await unless_gone(request, service.alist_models())
    rows = {row.name: row for row in service.list_providers() if row.name in PROVIDERS}
    found = {name: _status(row, listing.sources.get(name)) for name, row in rows.items()}
    ledger = await asyncio.to_thread(_ledger_status, service.ledger)
    status = "ok" if ledger in ("ok", "off") else "degraded"
    return json_response({"status": status, "version": las_langchain.__version__, "ledger": ledger, "providers": found})


def _ledger_status(ledger: Ledger | None) -> str:
    if ledger is None:
        return "off"
    try:
        ledger.check()
    except LASError as error:
        return error.message
    return "ok"


def _status(row: ProviderInfo, source: Source | None) -> Json:
    if source is not None and source.source == "live":
        return {"status": "ok", "detail": None}
    if row.name == "local":
        return {"status": "ok", "detail": "in this process"}
    if not row.configured:
        return {"status": "not configured", "detail": f"set {row.key_variables[0]}"}
    if source is not None and source.error:
        return {"status": "unreachable", "detail": source.error}
    return {"status": "configured", "detail": "it has no list of models to be asked for"}
