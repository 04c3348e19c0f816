"""The HTTP server: everything it publishes, in one application."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

import las_langchain
from chains.registry import ChainRegistry
from las_langchain.service import LiteLLMService
from las_langchain.settings import LASSettings
from servers import errors, langserve_api, las_api, messages_api, openai_api, responses_api
from servers.chain_watch import ChainWatch
from servers.documents import answered
from servers.gate import Gate
from servers.metrics import Metrics
from servers.request_context import RequestContext
from servers.routes import Direct, add_routes
from servers.web import index_page

OPENAI_PREFIXES = ("/v1", "/api/v1/litellm/v1")
_UP = {"status": "ok", "version": las_langchain.__version__, "model": "openai/gpt-4o", "failed_chains": {}}
_COUNTED = 'las_calls_total{operation="chat",model="openai/gpt-4o",provider="openai",status="ok",error=""} 12.0'


def create_app(settings: LASSettings | None = None, chains: Iterable[str] = ()) -> FastAPI:
    """Build the application.

    Args:
        settings: read from the environment if left out.
        chains: what to publish beside the built-in chains and those of the settings, each as ``module:runnable``.

    Raises:
        ConfigurationError: the settings are wrong, or one of *chains* is no reference.
    """
    service = LiteLLMService(settings)
    registry = ChainRegistry(service, chains)
    app = FastAPIOffline(
        title="las-langchain",
        version=las_langchain.__version__,
        description="Any model in, any client out.",
        redoc_url=None,
    )
    app.state.service, app.state.chains = service, registry
    metrics = Metrics()
    service.observe(metrics)
    service.observe(ChainWatch())
    app.add_middleware(Gate, keys=service.settings.api_keys)
    app.add_middleware(RequestContext, metrics=metrics, tracing=service.tracing)
    errors.install(app)
    for prefix in OPENAI_PREFIXES:
        for api in (openai_api, responses_api, messages_api):
            add_routes(app, api.router(prefix), documented=prefix == OPENAI_PREFIXES[0])
    add_routes(app, las_api.routes)
    add_routes(app, langserve_api.router(registry))

    # Containers and balancers ask with HEAD whether it lives.
    @app.head("/health", include_in_schema=False)
    @app.get("/health", tags=["Server"], responses=answered(_UP))
    async def health(request: Request) -> dict[str, Any]:
        """Say that the server runs; to those with a key also with which model, and which chains cannot be used."""
        status = "degraded" if registry.failures else "ok"
        if not request.state.admitted:
            return {"status": status}
        return {**_UP, "status": status, "model": service.settings.model, "failed_chains": dict(registry.failures)}

    @app.get(
        "/metrics", tags=["Server"], response_class=Response, responses=answered(_COUNTED, media_type="text/plain")
    )
    async def prometheus(request: Request) -> Response:
        """Say what Prometheus counts: calls, tokens, costs, times, requests."""
        content, media_type = metrics.exposition(request.headers.get("accept"))
        return Response(content, media_type=media_type)

    # Coding assistants ask with HEAD whether anybody is there.
    @app.head("/", include_in_schema=False)
    @app.get("/", include_in_schema=False)
    async def index() -> HTMLResponse:
        return HTMLResponse(index_page(service.settings, await langserve_api.listed(registry)))

    # They are tried one after the other, and these are asked for the most.
    app.router.routes.sort(key=lambda route: not isinstance(route, Direct))
    return app


def __getattr__(name: str) -> Any:
    """``servers.app:app`` for uvicorn, built when it is asked for and not when this module is imported."""
    if name == "app":
        app = globals()["app"] = create_app()
        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
