"""Errors in Anthropic's shape."""

from __future__ import annotations

import re
from typing import Any

from las_langchain.callers import current_caller
from las_langchain.errors import LASError

Json = dict[str, Any]

_PATH = re.compile(r"(/api/v1/litellm)?/v1/messages(/.*)?")
# What Anthropic answers with where OpenAI has another status.
_STATUSES = {408: 504, 503: 529}
_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def is_anthropics(path: str) -> bool:
    """Whether the clients of *path* expect Anthropic's errors."""
    return _PATH.fullmatch(path) is not None


def status_of(error: LASError) -> int:
    """The HTTP status that Anthropic answers with for *error*."""
    return _STATUSES.get(error.status_code, error.status_code)


def error_body(error: LASError) -> Json:
    """Anthropic's body for *error*; the message names the field, for which there is no other place."""
    status = status_of(error)
    kind = _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    named = error.param is None or error.param in error.message
    message = error.message if named else f"{error.param}: {error.message}"
    return {
        "type": "error",
        "error": {"type": kind, "message": message},
        "request_id": current_caller().request_id,
    }


def request_headers() -> dict[str, str]:
    """The headers by which Anthropic's clients name a request."""
    request_id = current_caller().request_id
    return {} if request_id is None else {"request-id": request_id}
