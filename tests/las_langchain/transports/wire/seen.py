"""What a caller sees of a case, and where two callers see something else."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from copy import deepcopy
from functools import reduce
from operator import add
from typing import Any, Literal

import httpx
from langchain_core.messages import AIMessage

from las_langchain import ChatLAS
from las_langchain.errors import LASError
from las_langchain.service import LiteLLMService
from tests.fake_server import FakeServer
from tests.las_langchain.transports.wire.cases import Case

Json = dict[str, Any]
Transport = Literal["wire", "litellm"]

PATHS = {"chat": "/chat/completions", "embeddings": "/embeddings", "text_completion": "/completions"}

MESSAGE = (
    "id", "content", "tool_calls", "invalid_tool_calls", "additional_kwargs", "usage_metadata", "response_metadata"
)  # fmt: skip
ERROR = ("status_code", "type", "code", "param", "retry_after", "is_retryable", "provider")
HEADERS = ("authorization", "api-key", "content-type", "openai-organization", "http-referer", "x-title", "x-team")
# What one of the two makes up, or counts anew: ids, and the time.
_MADE_UP = re.compile(r"(chatcmpl-|cmpl-|call_|lc_run-+|run-+)?[0-9a-f-]{16,}|call_\d{8,}")
_SINCE = 1_600_000_000


async def in_python(case: Case, way: str, transport: Transport, service: LiteLLMService | None = None) -> Json:
    """What a user of the package sees: of ``ChatLAS``, or, where that has no such thing, of the service."""
    given = {"timeout": 10, "stream_timeout": 10, **case.own}
    service = service or LiteLLMService()
    # litellm takes things out of what it is given.
    case = deepcopy(case)
    said: list[Any] = []
    try:
        if case.operation != "chat" or case.plain:
            async for piece in _served(case, way, transport, service):
                said.append(piece)
            return {"said": said}
        model = ChatLAS(model=case.model, transport=transport, max_retries=0, service=service, **given)
        if way == "whole":
            return {"message": _message(await model.ainvoke(case.messages, **case.fields))}
        async for chunk in model.astream(case.messages, **case.fields):
            said.append(chunk)
    except LASError as error:
        return {"chunks": [one if isinstance(one, dict) else _message(one) for one in said], "error": _error(error)}
    return {"message": _message(reduce(add, said)), "chunks": [_message(chunk) for chunk in said]}


async def _served(case: Case, way: str, transport: Transport, service: LiteLLMService) -> AsyncIterator[Json]:
    target = service.target(case.model, transport=transport)
    stream = way == "stream"
    body = {"messages": case.messages, **case.fields} if case.operation == "chat" else case.fields
    exchange = service.exchange(case.operation, target, body, stream=stream, max_retries=0)
    if stream:
        async with aclosing(exchange.chunks()) as chunks:
            async for chunk in chunks:
                yield chunk
    else:
        yield await (exchange.embed() if case.operation == "embeddings" else exchange.complete())


def by_http(case: Case, way: str, transport: Transport, client: httpx.Client) -> Json:
    """What a client of the server sees."""
    body = {"model": case.model, **({"messages": case.messages} if case.operation == "chat" else {}), **case.fields}
    if way == "stream":
        body = {"stream_options": {"include_usage": True}, **body, "stream": True}
    answer = client.post(PATHS[case.operation], json=body)
    assert answer.headers.get("x-las-transport", transport).startswith(transport)
    told = ("content-type", "x-las-model", "x-las-cost", "retry-after")
    headers = {name: answer.headers[name] for name in told if name in answer.headers}
    if not answer.headers["content-type"].startswith("text/event-stream"):
        return {"status": answer.status_code, "headers": headers, "body": answer.json()}
    *lines, last, rest = [event.removeprefix("data: ") for event in answer.text.split("\n\n")]
    assert (last, rest) == ("[DONE]", "")
    return {"status": answer.status_code, "headers": headers, "events": [json.loads(line) for line in lines]}


def by_upstream(upstream: FakeServer[Any], transport: Transport) -> list[Json]:
    """What the provider gets."""
    for request in upstream.requests:
        assert ("las-langchain" in request.headers["user-agent"]) == (transport == "wire")
    return [
        {
            "path": request.raw_path,
            "query": request.query,
            "headers": {name: request.headers[name] for name in HEADERS if name in request.headers},
            "body": request.body,
        }
        for request in upstream.requests
    ]


def _message(message: AIMessage) -> Json:
    return {name: getattr(message, name) for name in MESSAGE} | {"answers": message.additional_kwargs.get("candidates")}


def _error(error: LASError) -> Json:
    kind = next(cls.__name__ for cls in type(error).__mro__ if cls.__module__ == "las_langchain.errors")
    said = {name: getattr(error, name) for name in ERROR}
    if said["retry_after"] is not None:
        # The seconds to a date go by.
        said["retry_after"] = round(said["retry_after"] / 60, 1) if said["retry_after"] > 60 else said["retry_after"]
    return {"class": kind, "text": str(error), **said}


def normalised(value: Any) -> Any:
    """*value* without what is merely null or empty, which clients read as if it were not there, and without what is
    made up anew for each answer."""
    if isinstance(value, dict):
        kept = {name: normalised(one) for name, one in value.items()}
        return {name: one for name, one in kept.items() if one not in (None, [], {}) and one != ""}
    if isinstance(value, list):
        return [normalised(one) for one in value]
    if isinstance(value, str) and _MADE_UP.fullmatch(value):
        return "made up"
    return "now" if isinstance(value, int) and value > _SINCE else value


def differing(one: Any, other: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two normalised values are not the same, with both."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in sorted({*one, *other}):
            yield from differing(one.get(name), other.get(name), f"{path}.{name}" if path else name)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for place, (first, second) in enumerate(zip(one, other, strict=True)):
            yield from differing(first, second, f"{path}[{place}]")
    elif one != other:
        yield path, one, other
