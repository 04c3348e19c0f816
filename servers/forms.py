"""Forms with a file."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, TypeVar

from pydantic import BaseModel
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from las_langchain.errors import BadRequestError
from servers.requests import UnsupportedMediaTypeError, media_type, read, validated

Model = TypeVar("Model", bound=BaseModel)
File = tuple[str, bytes, str]
"""Name, bytes and media type."""


async def read_form(schema: type[Model], request: Request) -> tuple[Model, File]:
    """The fields of a form as *schema*, and its ``file``.

    Raises:
        UnsupportedMediaTypeError: the body is no form.
        PayloadTooLargeError: it is larger than ``LAS_MAX_BODY_MB``.
        BadRequestError: a field is wrong, or there is no file; ``param`` names it.
    """
    kind = media_type(request)
    if kind != "multipart/form-data":
        raise UnsupportedMediaTypeError(f"Send the body as multipart/form-data, not {kind or 'without a type'!r:.100}")
    form = await _parsed(request, await read(request))
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise BadRequestError("Missing required parameter: file", param="file", code="missing_required_parameter")
    content = await file.read()
    if not content:
        raise BadRequestError("file: it is empty", param="file", code="invalid_value")
    return validated(schema, _fields(form)), (
        file.filename or "audio",
        content,
        file.content_type or "application/octet-stream",
    )


def _fields(form: FormData) -> dict[str, Any]:
    """The fields beside the file: ``name[]`` is an item of a list, ``name[key]`` of an object."""
    fields: dict[str, Any] = {}
    for written, value in form.multi_items():
        name, _, key = written.partition("[")
        if written == "file":
            continue
        if key == "]":
            held = fields.setdefault(name, [])
            if isinstance(held, list):
                held.append(value)
        elif key.endswith("]"):
            held = fields.setdefault(name, {})
            if isinstance(held, dict):
                held[key[:-1]] = value
        else:
            fields[written] = value
    return fields


async def _parsed(request: Request, raw: bytes) -> FormData:
    async def body() -> AsyncGenerator[bytes]:
        yield raw

    parser = MultiPartParser(request.headers, body(), max_files=1, max_fields=50, max_part_size=len(raw))
    try:
        return await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise BadRequestError(f"The body is not a valid form: {error}") from None
