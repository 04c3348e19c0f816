"""Reading a request's body and noticing that its client has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive

from las_langchain.errors import APITimeoutError, BadRequestError
from las_langchain.settings import nearest
from servers.deps import service_of
from servers.json_bodies import decoded

Model = TypeVar("Model", bound=BaseModel)
T = TypeVar("T")

PATIENCE = 30.0
"""Seconds that a client may take between two pieces of a body."""
_MOST_UNKNOWN = 100
"""Fields that a request may have beside those of its schema, where this allows any."""


class PayloadTooLargeError(BadRequestError):
    """The request's body is larger than the server reads."""

    status_code = 413


class UnsupportedMediaTypeError(BadRequestError):
    """The request's body is not declared as what the server reads."""

    status_code = 415


async def parse(schema: type[Model], request: Request, *, optional: bool = False, most: int | None = None) -> Model:
    """The body of *request* as *schema*.

    Args:
        schema: the fields that there are.
        request: its body is not read yet.
        optional: whether a request without a body is one without fields.
        most: bytes that the body may have; default: ``LAS_MAX_BODY_MB``.

    Raises:
        UnsupportedMediaTypeError: it is not declared as JSON, as a web page's cross-site request would be.
        PayloadTooLargeError: it is too large.
        BadRequestError: it is not JSON, or a field is wrong; ``param`` names it.
    """
    kind = media_type(request)
    if kind != "application/json" and not optional:
        raise _not_json(kind)
    raw = await read(request, most)
    if optional and not raw:
        return schema()
    if kind != "application/json":
        raise _not_json(kind)
    return validated(schema, decoded(raw))


async def json_body(request: Request) -> bytes:
    """The body of *request*, which must be JSON; not parsed.

    Raises:
        UnsupportedMediaTypeError: it is not declared as JSON, as a web page's cross-site request would be.
        PayloadTooLargeError: it is too large.
    """
    kind = media_type(request)
    if kind != "application/json":
        raise _not_json(kind)
    return await read(request)


def media_type(request: Request) -> str:
    """What *request* declares its body to be, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _not_json(kind: str) -> UnsupportedMediaTypeError:
    return UnsupportedMediaTypeError(f"Send the body as application/json, not {kind or 'without a type'!r:.100}")


async def read(request: Request, most: int | None = None) -> bytes:
    """The body of *request*.

    Args:
        request: its body is not read yet.
        most: bytes that it may have; default: ``LAS_MAX_BODY_MB``.

    Raises:
        UnsupportedMediaTypeError: it is compressed.
        PayloadTooLargeError: it has more.
        APITimeoutError: it comes too slowly, or not at all.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        # A few bytes can stand for gigabytes.
        raise UnsupportedMediaTypeError(f"Send the body as it is, without the Content-Encoding {encoding!r:.100}")
    allowed = int(service_of(request).settings.max_body_mb * 1e6)
    limit = allowed if most is None else min(most, allowed)
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_large(limit, allowed)
    total = service_of(request).settings.total_timeout
    try:
        async with asyncio.timeout(min(total, PATIENCE)) as silence:
            return await _whole(request, limit, allowed, silence, asyncio.get_running_loop().time() + total)
    except TimeoutError:
        raise APITimeoutError(
            f"The body was not there in time: at most {PATIENCE:g} s between two pieces, and {total:g} s "
            "(LAS_TOTAL_TIMEOUT) for all of them"
        ) from None


async def _whole(request: Request, limit: int, allowed: int, silence: asyncio.Timeout, deadline: float) -> bytes:
    """All pieces of the body of *request*, each of which moves the end of *silence*, up to *deadline*."""
    raw = bytearray()
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        raw += message.get("body", b"")
        if len(raw) > limit:
            raise _too_large(limit, allowed)
        if not message.get("more_body", False):
            return bytes(raw)
        silence.reschedule(min(deadline, asyncio.get_running_loop().time() + PATIENCE))


def _too_large(limit: int, allowed: int) -> PayloadTooLargeError:
    hint = "; LAS_MAX_BODY_MB sets that" if limit == allowed else ""
    return PayloadTooLargeError(f"The body is larger than {limit / 1e6:g} MB{hint}")


def validated(schema: type[Model], fields: dict[str, Any]) -> Model:
    """The fields of a request as *schema*.

    Raises:
        BadRequestError: one is unknown or wrong; ``param`` names it.
    """
    # Before the fields are looked at: there may be a million, or one whose name has a million letters.
    most, known = 0 if schema.model_config.get("extra") == "forbid" else _MOST_UNKNOWN, schema.model_fields
    unknown = list(islice((name for name in fields if name not in known), most + 1))
    if len(unknown) > most:
        raise _unknown(unknown[0], schema)
    try:
        return schema.model_validate(fields)
    except ValidationError as error:
        raise _bad_request(error) from None


def _unknown(name: str, schema: type[BaseModel]) -> BadRequestError:
    hint = nearest(name, schema.model_fields)
    message = f"Unrecognized request argument supplied: {name:.100}{hint}"
    return BadRequestError(message, param=name[:100], code="unknown_parameter")


def _bad_request(error: ValidationError) -> BadRequestError:
    """What pydantic found wrong with a body, as OpenAI says it; ``param`` names the field."""
    found = error.errors(include_url=False, include_input=False)
    # Of a union's alternatives the last is the widest.
    first = [item for item in found if item["loc"][:1] == found[0]["loc"][:1]][-1]
    field = str(first["loc"][0])
    if first["type"] == "missing":
        return BadRequestError(f"Missing required parameter: {field}", param=field, code="missing_required_parameter")
    return BadRequestError(f"{field}: {first['msg']}", param=field, code="invalid_value")


async def unless_gone(request: Request, call: Coroutine[Any, Any, T]) -> T:
    """Await *call*, but cancel it as soon as the client of *request* has left, or when it takes too long.

    Raises:
        ClientDisconnect: the client has left.
        APITimeoutError: it took longer than ``LAS_TOTAL_TIMEOUT``.
    """
    limit = service_of(request).settings.total_timeout
    watch = asyncio.create_task(gone(request.receive))
    try:
        async with asyncio.timeout(limit) as patience:
            watch.add_done_callback(partial(_end, patience))
            result = await call
    except Exception:
        # What a call that is cancelled fails of is not what ended it.
        if not patience.expired():
            raise
    finally:
        watch.cancel()
    if patience.expired():
        raise ClientDisconnect if watch.done() else too_long(limit)
    return result


def _end(patience: asyncio.Timeout, _: object) -> None:
    # It may be over, too.
    with suppress(RuntimeError):
        patience.reschedule(0)


def too_long(limit: float) -> APITimeoutError:
    """What to tell of an answer that is not there after *limit* seconds."""
    return APITimeoutError(f"The answer took longer than {limit:g} s; LAS_TOTAL_TIMEOUT sets that")


async def gone(receive: Receive) -> None:
    """Wait until the client has left.

    Args:
        receive: of a request whose body has been read.
    """
    while (await receive())["type"] != "http.disconnect":
        pass
