"""LangServe's routes for every chain: ``/chains/<name>/invoke`` and so on, with playgrounds.

LangServe's own ``add_routes`` makes 17 routes for each chain at start, which takes seconds. Here is one set of routes
for all chains; the handler behind them is made, and LangServe imported, when a chain is first used.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

import orjson
from fastapi import APIRouter
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from chains.registry import ChainRegistry
from las_langchain.callers import calling
from las_langchain.errors import LASError, ModelNotFoundError
from las_langchain.service import using
from las_langchain.threads import in_thread
from las_langchain.transports.background import ending_together
from servers.answers import json_response
from servers.chain_requests import ChainRequest, chain_request
from servers.chain_schemas import LISTED, BatchRequest, EventsRequest, InvokeRequest, LogRequest
from servers.chain_threads import namespaced
from servers.deps import service_of
from servers.documents import answered, documented
from servers.errors import body_of, log_failure
from servers.event_stream import event_response, pumped
from servers.requests import unless_gone

if TYPE_CHECKING:
    from langchain_core.runnables import Runnable
    from langserve import APIHandler

    from chains.chain import Chain

Json = dict[str, Any]
Page = Literal["default", "chat"]
Part = Literal["input", "output", "config"]
Audience = Literal["program", "page", "chat"]

PREFIX = "/chains"
_METHODS = {"stream_events": "astream_events"}
_SAID = {"output": {"type": "ai", "content": "Paris."}, "metadata": {"run_id": "…", "feedback_tokens": []}}
_EVENTS = 'event: data\r\ndata: {"type": "AIMessageChunk", "content": "Paris."}\r\n\r\nevent: end\r\ndata: \r\n\r\n'
_NO_INPUT = ("input", "Field required")


class Handlers:
    """LangServe's handlers of the chains in *registry*, each made when it is first needed."""

    def __init__(self, registry: ChainRegistry) -> None:
        self.registry = registry
        self._lock = threading.Lock()
        self._made: dict[tuple[str, str], APIHandler] = {}

    def runs(self, name: str, endpoint: str) -> APIHandler:
        """What runs the chain *name*, which is built.

        Raises:
            LASError: there is no such chain, or it cannot be built.
        """
        from servers.published import Running, Shown

        runnable = self.registry.runnable(name)
        # The pages use this one.
        kind = Shown if endpoint == "stream_log" else Running
        return self._handler(name, kind.__name__, lambda chain: _handler(kind(chain, runnable), f"{PREFIX}/{name}"))

    def page(self, name: str, kind: Page) -> APIHandler:
        """What serves a playground of the chain *name*, which need not be built.

        Raises:
            ModelNotFoundError: there is no such chain, or no chat with it.
        """
        from servers.published import PublishedChat, PublishedPage

        page, path = (PublishedChat, f"{PREFIX}/{name}/chat") if kind == "chat" else (PublishedPage, f"{PREFIX}/{name}")
        if kind == "chat" and not is_chat(self.registry.chain(name)):
            raise ModelNotFoundError(f"{name} is no chat: use {PREFIX}/{name}/playground/")
        return self._handler(name, kind, lambda chain: _handler(page(chain), path, kind))

    def _handler(self, name: str, purpose: str, make: Any) -> APIHandler:
        with self._lock:
            if (name, purpose) not in self._made:
                self._made[name, purpose] = make(self.registry.chain(name))
            return self._made[name, purpose]


def is_chat(chain: Chain) -> bool:
    """Whether the chat playground can be used with *chain*."""
    fields = getattr(chain.input_type, "model_fields", {})
    return chain.from_messages is not None and "messages" in fields


def router(registry: ChainRegistry) -> APIRouter:
    """The routes of the chains in *registry*."""
    routes = APIRouter(prefix=PREFIX, tags=["Chains"])
    handlers = Handlers(registry)
    _add_list(routes, registry)
    _add_runs(routes, handlers)
    _add_schemas(routes, handlers)
    _add_pages(routes, handlers)
    return routes


def _add_list(routes: APIRouter, registry: ChainRegistry) -> None:
    @routes.get("", responses=answered({"chains": [LISTED]}))
    async def chains() -> Response:
        """List the chains, and why some of them cannot be used."""
        return json_response({"chains": await listed(registry)})


async def listed(registry: ChainRegistry) -> list[Json]:
    """What there is to know of each chain before it is used."""
    return await in_thread(lambda: [_listed(name, registry) for name in registry.names])


def _listed(name: str, registry: ChainRegistry) -> Json:
    try:
        chain = registry.chain(name)
    except LASError as error:
        return {"name": name, "error": registry.failures.get(name, str(error))}
    path = f"{PREFIX}/{name}"
    return {
        "name": name,
        "title": chain.title,
        "description": chain.description,
        "remembers": chain.remembers,
        "playground": f"{path}/playground/",
        "chat_playground": f"{path}/chat/playground/" if is_chat(chain) else None,
        "error": registry.failures.get(name),
    }


def _add_runs(routes: APIRouter, handlers: Handlers) -> None:
    whole = answered(_SAID, wrong=_NO_INPUT)
    several = answered({**_SAID, "output": [_SAID["output"]]}, wrong=("inputs", "Field required"))
    events = answered(_EVENTS, wrong=_NO_INPUT, media_type="text/event-stream")
    for path in ("/{name}", "/{name}/chat"):
        shown = path == "/{name}"

        @routes.post(
            f"{path}/invoke", openapi_extra=documented(InvokeRequest), responses=whole, include_in_schema=shown
        )
        async def invoke(name: str, request: Request) -> Response:
            """Run a chain on one input; the answer is whole."""
            return await _answer(handlers, name, "invoke", request)

        @routes.post(
            f"{path}/batch", openapi_extra=documented(BatchRequest), responses=several, include_in_schema=shown
        )
        async def batch(name: str, request: Request) -> Response:
            """Run a chain on several inputs."""
            return await _answer(handlers, name, "batch", request)

        @routes.post(
            f"{path}/stream",
            openapi_extra=documented(InvokeRequest),
            responses=events,
            response_class=Response,
            include_in_schema=shown,
        )
        async def stream(name: str, request: Request) -> Response:
            """Run a chain; its output comes as server-sent events."""
            return await _events(handlers, name, "stream", request)

        @routes.post(
            f"{path}/stream_log",
            openapi_extra=documented(LogRequest),
            responses=events,
            response_class=Response,
            include_in_schema=shown,
        )
        async def stream_log(name: str, request: Request) -> Response:
            """Run a chain; its output and steps come as changes to one JSON document."""
            return await _events(handlers, name, "stream_log", request)

        @routes.post(
            f"{path}/stream_events",
            openapi_extra=documented(EventsRequest),
            responses=events,
            response_class=Response,
            include_in_schema=shown,
        )
        async def stream_events(name: str, request: Request) -> Response:
            """Run a chain; what happens inside comes as LangChain's events, version 2."""
            return await _events(handlers, name, "stream_events", request)


async def _ready(handlers: Handlers, name: str, endpoint: str, request: Request) -> tuple[ChainRequest, APIHandler]:
    """The request, checked, and what answers it; the chain is built before its first answer."""
    chain = await in_thread(partial(handlers.registry.chain, name))
    asked = await chain_request(request, chain, endpoint)
    return asked, await in_thread(partial(handlers.runs, name, endpoint))


async def _answer(handlers: Handlers, name: str, endpoint: str, request: Request) -> Response:
    asked, handler = await _ready(handlers, name, endpoint, request)
    with _on_behalf(request, name):
        return cast("Response", await unless_gone(request, getattr(handler, endpoint)(asked)))


async def _events(handlers: Handlers, name: str, endpoint: str, request: Request) -> Response:
    asked, handler = await _ready(handlers, name, endpoint, request)
    with _on_behalf(request, name):
        prepared = await getattr(handler, _METHODS.get(endpoint, endpoint))(asked)
        # Not its own way to send them, which belongs to the event loop that used it first.
        events = _encoded(pumped(prepared.body_iterator))
        # Ended cleanly after a failure, the text would look complete to LangServe's pages.
        return await event_response(request, events, partial(_explained, request), cut=True)


async def _encoded(events: AsyncGenerator[Json]) -> AsyncGenerator[bytes]:
    async with aclosing(events):
        async for event in events:
            # What is wrong follows, as an exception that says more.
            if event["event"] != "error":
                yield _event(event["event"], event.get("data", ""))


def _event(name: str, data: str) -> bytes:
    # The names are LangServe's own; data is JSON, which has no line breaks.
    return f"event: {name}\r\ndata: {data}\r\n\r\n".encode()


def _explained(request: Request, error: Exception) -> bytes:
    status = error.status_code if isinstance(error, LASError) else 500
    if isinstance(error, LASError):
        log_failure(request, error)
    data = orjson.dumps({"status_code": status, "message": body_of(error)["error"]["message"]})
    return _event("error", data.decode())


@contextmanager
def _on_behalf(request: Request, name: str) -> Iterator[None]:
    with using(service_of(request)), calling(chain=name), ending_together():
        yield


def _add_schemas(routes: APIRouter, handlers: Handlers) -> None:
    async def schema(name: str, of: Part, audience: Audience = "program") -> Response:
        return json_response(await in_thread(partial(_schema, handlers.registry, name, of, audience)))

    @routes.get("/{name}/input_schema", responses=answered({"title": "ChatInput", "type": "object"}))
    async def input_schema(name: str) -> Response:
        """Say what a chain takes, as a JSON schema."""
        return await schema(name, "input")

    @routes.get("/{name}/output_schema", responses=answered({"title": "AIMessage", "type": "object"}))
    async def output_schema(name: str) -> Response:
        """Say what a chain gives, as a JSON schema."""
        return await schema(name, "output")

    @routes.get("/{name}/config_schema", responses=answered({"title": "chat_config", "type": "object"}))
    async def config_schema(name: str) -> Response:
        """Say what can be configured of a chain, as a JSON schema."""
        return await schema(name, "config")

    # The pages ask for these where something is configured, which changes nothing in them.
    @routes.get("/{name}/c/{config}/{part}_schema", include_in_schema=False)
    async def page_schema(name: str, part: Part) -> Response:
        return await schema(name, part, "page")

    @routes.get("/{name}/chat/c/{config}/{part}_schema", include_in_schema=False)
    async def chat_schema(name: str, part: Part) -> Response:
        return await schema(name, part, "chat")


def _schema(registry: ChainRegistry, name: str, of: Part, audience: Audience) -> Json:
    from servers.published import Published, PublishedChat, PublishedPage

    kind = {"program": Published, "page": PublishedPage, "chat": PublishedChat}[audience]
    published = kind(registry.chain(name))
    if of == "config":
        return published.config_schema(include=["configurable"]).model_json_schema()
    return (published.get_input_schema() if of == "input" else published.get_output_schema()).model_json_schema()


def _add_pages(routes: APIRouter, handlers: Handlers) -> None:
    # A shared link has the configuration in it, which the page reads itself.
    @routes.get("/{name}/playground/{file_path:path}", include_in_schema=False)
    @routes.get("/{name}/c/{config}/playground/{file_path:path}", include_in_schema=False)
    async def playground(name: str, file_path: str, request: Request) -> Response:
        return await _page(handlers, name, "default", file_path, request)

    @routes.get("/{name}/chat/playground/{file_path:path}", include_in_schema=False)
    async def chat_playground(name: str, file_path: str, request: Request) -> Response:
        return await _page(handlers, name, "chat", file_path, request)

    @routes.get("/{name}", include_in_schema=False)
    async def chain(name: str) -> Response:
        await in_thread(partial(handlers.registry.chain, name))
        return RedirectResponse(f"{PREFIX}/{name}/playground/")


async def _page(handlers: Handlers, name: str, kind: Page, file_path: str, request: Request) -> Response:
    handler = await in_thread(partial(handlers.page, name, kind))
    try:
        return cast("Response", await handler.playground(file_path, request))
    except (OSError, ValueError):
        # A folder, or what can be no file's name.
        raise HTTPException(404) from None


def _handler(runnable: Runnable[Any, Any], path: str, kind: Page = "default") -> APIHandler:
    # LangServe calls this for its pages.
    warnings.filterwarnings("ignore", message="astream_log is deprecated")
    from langserve import APIHandler
    from langserve.serialization import WellKnownLCSerializer

    class Serializer(WellKnownLCSerializer):
        """LangServe's JSON, also of what graphs have in their events."""

        def dumps(self, obj: Any) -> bytes:
            """*obj* as JSON."""
            return orjson.dumps(obj, default=_plain, option=orjson.OPT_NON_STR_KEYS)

    return APIHandler(
        runnable,
        path=path,
        per_req_config_modifier=_namespaced,
        playground_type=kind,
        astream_events_version="v2",
        serializer=Serializer(),
    )


def _namespaced(config: Json, request: Request) -> Json:
    """*config*, its thread told apart from those of other keys."""
    configurable = config.get("configurable") or {}
    if not configurable.get("thread_id"):
        return {name: value for name, value in config.items() if name != "configurable"}
    return {**config, "configurable": {"thread_id": namespaced(configurable["thread_id"])}}


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump()
    return list(value) if isinstance(value, (set, frozenset, tuple)) else str(value)
