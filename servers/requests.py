"""Reading a request's body and noticing that its client has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from las_langchain.errors import BadRequestError
from las_langchain.settings import nearest

Model = TypeVar("Model", bound=BaseModel)
T = TypeVar("T")


class PayloadTooLargeError(BadRequestError):
    """The request's body is larger than the server reads."""

    status_code = 413


class UnsupportedMediaTypeError(BadRequestError):
    """The request's body is not declared as JSON."""

    status_code = 415


async def parse(schema: type[Model], request: Request, max_bytes: int, *, empty: bytes | None = None) -> Model:
    """The body of *request* as *schema*; *empty*, if given, in the place of none.

    Raises:
        UnsupportedMediaTypeError: it is not declared as JSON, as a web page's cross-site request would be.
        PayloadTooLargeError: it has more than *max_bytes* bytes.
        BadRequestError: it is not JSON, or a field is wrong; ``param`` names it.
    """
    if empty is not None and request.headers.get("content-length", "0") == "0" and not await read(request, max_bytes):
        return schema.model_validate_json(empty)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise UnsupportedMediaTypeError(f"Send the body as application/json, not {kind or 'without a type'!r}")
    raw = await read(request, max_bytes)
    try:
        return schema.model_validate_json(raw)
    except ValidationError as error:
        raise bad_request(error, schema) from None


async def read(request: Request, max_bytes: int) -> bytes:
    """The body of *request*.

    Raises:
        PayloadTooLargeError: it has more than *max_bytes* bytes.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise _too_large(max_bytes)
    raw = bytearray()
    async for part in request.stream():
        raw += part
        if len(raw) > max_bytes:
            raise _too_large(max_bytes)
    return bytes(raw)


def _too_large(max_bytes: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(f"The body is larger than {max_bytes / 1e6:g} MB; LAS_MAX_BODY_MB sets that")


def bad_request(error: ValidationError, schema: type[BaseModel]) -> BadRequestError:
    """What pydantic found wrong with a body, as OpenAI says it; ``param`` names the field."""
    found = error.errors(include_url=False, include_input=False)
    # Of a union's alternatives the last is the widest.
    first = [item for item in found if item["loc"][:1] == found[0]["loc"][:1]][-1]
    if first["type"] == "json_invalid":
        return BadRequestError(f"The body is not valid JSON: {first['msg'].removeprefix('Invalid JSON: ')}")
    field = str(first["loc"][0]) if first["loc"] else None
    if first["type"] == "extra_forbidden":
        message = f"Unrecognized request argument supplied: {field}{nearest(str(field), schema.model_fields)}"
        return BadRequestError(message, param=field, code="unknown_parameter")
    if first["type"] == "missing":
        return BadRequestError(f"Missing required parameter: {field}", param=field, code="missing_required_parameter")
    where = field or "The body"
    return BadRequestError(f"{where}: {first['msg']}", param=field, code="invalid_value")


async def unless_gone(request: Request, call: Coroutine[Any, Any, T]) -> T:
    """Await *call*, but cancel it as soon as the client of *request* has left.

    Raises:
        ClientDisconnect: the client has left.
    """
    work = asyncio.create_task(call)
    watch = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        raise ClientDisconnect
    finally:
        watch.cancel()
        if not work.done():
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
