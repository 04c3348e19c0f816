"""What clients send to a chain, checked before LangServe sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from las_langchain.errors import BadRequestError
from las_langchain.settings import nearest
from servers.chain_threads import checked_thread
from servers.json_bodies import decoded
from servers.requests import json_body

if TYPE_CHECKING:
    from chains.chain import Chain

Json = dict[str, Any]

MOST_INPUTS = 100
"""Inputs of one batch."""
_FILTERS = tuple(f"{verb}_{what}" for verb in ("include", "exclude") for what in ("names", "types", "tags"))
_FIELDS = {
    "invoke": ("input", "config", "kwargs"),
    "batch": ("inputs", "config", "kwargs"),
    "stream": ("input", "config", "kwargs"),
    "stream_log": ("input", "config", "kwargs", "diff", *_FILTERS),
    "stream_events": ("input", "config", "kwargs", "version", *_FILTERS),
}


class ChainRequest(Request):
    """A request whose JSON is read and checked."""

    def __init__(self, request: Request, payload: Json) -> None:
        super().__init__(request.scope, request.receive)
        self._payload = payload

    async def json(self) -> Json:
        """The body."""
        return self._payload


async def chain_request(request: Request, chain: Chain, endpoint: str) -> ChainRequest:
    """*request* to an *endpoint* of *chain*, its body read.

    Raises:
        BadRequestError: it is no JSON, has unknown fields, asks for what clients may not, or is too much at once.
    """
    payload = decoded(await json_body(request))
    for name in payload:
        if name not in _FIELDS[endpoint]:
            hint = nearest(name, _FIELDS[endpoint])
            message = f"Unrecognized request argument supplied: {name:.100}{hint}"
            raise BadRequestError(message, param=name[:100], code="unknown_parameter")
    if payload.get("kwargs"):
        raise BadRequestError("kwargs: bind them to the chain where it is made; clients cannot", param="kwargs")
    if payload.get("version", "v2") != "v2":
        raise BadRequestError("version: only v2 of the events is served", param="version")
    field = "inputs" if endpoint == "batch" else "input"
    if field not in payload:
        raise BadRequestError(f"Missing required parameter: {field}", param=field, code="missing_required_parameter")
    _check_inputs(payload, endpoint)
    return ChainRequest(request, {**payload, "config": _config(payload, chain), "kwargs": {}})


def _check_inputs(payload: Json, endpoint: str) -> None:
    if endpoint != "batch":
        return
    inputs, config = payload["inputs"], payload.get("config")
    if not isinstance(inputs, list):
        raise BadRequestError("inputs: expected a list", param="inputs")
    if len(inputs) > MOST_INPUTS:
        raise BadRequestError(f"inputs: at most {MOST_INPUTS} a batch; send several batches", param="inputs")
    if isinstance(config, list) and len(config) != len(inputs):
        raise BadRequestError("config: expected one, or as many as there are inputs", param="config")


def _config(payload: Json, chain: Chain) -> Json | list[Json]:
    """The configs of the payload with what clients may configure.

    LangChain's clients send more, such as tags, which is about their own side of the run.
    """
    config = payload.get("config") or {}
    if isinstance(config, list):
        return [_configurable(item, chain) for item in config]
    return _configurable(config, chain)


def _configurable(config: Any, chain: Chain) -> Json:
    given = config.get("configurable") if isinstance(config, dict) else None
    if not isinstance(config, dict) or not isinstance(given, dict | None):
        raise BadRequestError(
            "config: expected an object, such as {'configurable': {'thread_id': '…'}}", param="config"
        )
    known = ("thread_id",) if chain.remembers else ()
    for name, value in (given or {}).items():
        if name not in known and value is not None:
            hint = nearest(name, known) or f"; {chain.name} takes {' and '.join(known) or 'none'}"
            raise BadRequestError(f"config.configurable: there is no {name!r:.100}{hint}", param=name[:100])
    thread = checked_thread((given or {}).get("thread_id"))
    return {} if thread is None else {"configurable": {"thread_id": thread}}
