"""Every error as OpenAI's error body, or as Anthropic's where its clients ask."""

from __future__ import annotations

import logging
import math
from http import HTTPStatus

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from las_langchain.errors import BadRequestError, LASError, loggable
from servers.deps import service_of
from servers.messages.errors import error_body, is_anthropics, request_headers, status_of

logger = logging.getLogger(__name__)

CLIENT_CLOSED_REQUEST = 499
"""Nobody reads this status; it is what nginx writes to its log for a client that has left."""


def install(app: FastAPI) -> None:
    """Make *app* answer every failure in the shape that the clients of its path expect."""
    app.add_exception_handler(LASError, _las_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _wrong_parameter)
    app.add_exception_handler(ClientDisconnect, _client_gone)
    app.add_exception_handler(Exception, _bug)


def body_of(error: Exception) -> dict[str, dict[str, str | None]]:
    """OpenAI's body for *error*; what is not a :class:`LASError` is a bug, whose text stays in the log."""
    return known(error).to_openai()


def known(error: Exception) -> LASError:
    """*error*, or one that tells clients nothing of what is a bug; that is logged."""
    if isinstance(error, LASError):
        return error
    logger.error("Unhandled error", exc_info=error)
    return LASError("The server had an internal error; its log says which")


def error_response(path: str, error: LASError) -> Response:
    """The answer to a request to *path* that has failed, in the form that the clients of that path expect."""
    headers = {"retry-after": str(math.ceil(error.retry_after))} if error.retry_after is not None else {}
    if is_anthropics(path):
        return JSONResponse(error_body(error), status_of(error), {**headers, **request_headers()})
    return JSONResponse(error.to_openai(), error.status_code, headers)


def log_failure(request: Request, error: LASError) -> None:
    """Log what the answer to *request* has failed of."""
    why = loggable(error, log_prompts=service_of(request).settings.log_prompts)
    logger.warning("%s %s: %s", request.method, request.url.path, why)


async def _las_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, LASError)  # noqa: S101 - how starlette registers handlers
    if error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log_failure(request, error)
    return error_response(request.scope["path"], error)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - how starlette registers handlers
    path = request.scope["path"]
    text = {404: f"No such path: {path:.100}", 405: f"{path:.100} does not take {request.method:.100}"}
    code = {404: "unknown_url", 405: "method_not_supported"}.get(error.status_code)
    refused = BadRequestError(text.get(error.status_code, str(error.detail)), code=code, status_code=error.status_code)
    answer = error_response(path, refused)
    answer.headers.update(error.headers or {})
    return answer


async def _wrong_parameter(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - how starlette registers handlers
    first = error.errors()[0]
    name = str(first["loc"][-1]) if first["loc"] else "input"
    code = "missing_required_parameter" if first["type"] == "missing" else "invalid_value"
    refused = BadRequestError(f"{name}: {first['msg'].removeprefix('Value error, ')}", param=name, code=code)
    return error_response(request.scope["path"], refused)


async def _client_gone(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED_REQUEST)


async def _bug(request: Request, error: Exception) -> Response:
    return error_response(request.scope["path"], known(error))
