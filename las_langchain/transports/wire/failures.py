"""What providers answer when they do not answer, and what becomes of the connection, as this package's errors."""

from __future__ import annotations

import contextlib
import re
import ssl
import struct
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

import aiohttp
import orjson

from las_langchain import errors
from las_langchain.providers import Target
from las_langchain.transports.wording import (
    NO_MODEL,
    broken,
    refused,
    retry_after,
    title,
    too_slow,
    unreachable,
    unreadable,
    without_secrets,
)

Json = dict[str, Any]

SHAPELESS = (AttributeError, KeyError, TypeError, ValueError, OverflowError, struct.error)
"""What reading an answer raises that has texts and numbers where objects belong, or the other way, or odd vectors."""
LARGEST = 1_000_000
"""Bytes of an error that are read; it may be a page, or a file."""
_LONGEST_REASON = 500
_SEARCHED = 20_000
"""Letters that are searched for keys and phrases."""
_TYPE = re.compile(r"[a-z_]{1,64}")
# How servers say that a prompt is too long, beside OpenAI's code for it.
_TOO_LONG = re.compile(
    r"maximum context (length|limit)|exceed context limit|longer than the model's context length"
    r"|context_length_exceeded|input tokens exceed the configured limit|`inputs` tokens \+ `max_new_tokens` must be"
    r"|exceeds the (available context size|maximum number of tokens allowed)|maximum input length is .*tokens"
    r"|reduce the length of the messages|current length is .*while limit is",
    re.IGNORECASE,
)
# What some say with another status than 429.
_TOO_MUCH = re.compile(r"rate[\s_-]*limit|request too large|service tier capacity exceeded", re.IGNORECASE)
_OF_REFUSALS = frozenset({400, 403, 413, 422, 429})


@contextlib.contextmanager
def translated(target: Target) -> Iterator[None]:
    """Turn what happens on the way to *target* into this package's errors."""
    try:
        yield
    except errors.LASError as error:
        error.provider = error.provider or target.provider
        raise
    except TimeoutError:
        raise errors.APITimeoutError(too_slow(target), provider=target.provider) from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise _on_the_way(error, target) from None


_NOT_REACHED = (
    aiohttp.ClientConnectorError,
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
    aiohttp.ClientHttpProxyError,
)


def _on_the_way(error: Exception, target: Target) -> errors.LASError:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        text = _untrusted(error, target)
    elif isinstance(error, (aiohttp.ClientSSLError, ssl.SSLError)):
        reason = str(getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error)
        text = f"{unreachable(target)}: {without_secrets(reason, target)[:_LONGEST_REASON]}"
    elif isinstance(error, _NOT_REACHED):
        text = unreachable(target)
    elif isinstance(error, ValueError) and not isinstance(error, aiohttp.ClientError):
        text = f"{unreachable(target)}: {without_secrets(str(error), target)[:_LONGEST_REASON]}"
    elif isinstance(error, aiohttp.ClientResponseError):
        text = unreadable(target)
    else:
        text = broken(target)
    return errors.APIConnectionError(text, provider=target.provider)


def _untrusted(error: aiohttp.ClientConnectorCertificateError, target: Target) -> str:
    reason = getattr(error.certificate_error, "verify_message", None) or error.certificate_error
    host = f"[{error.host}]" if ":" in error.host else error.host
    return (
        f"{title(target)} at https://{host}:{error.port} has no certificate that is trusted here: "
        f"{without_secrets(str(reason), target)[:_LONGEST_REASON].rstrip('.')}; "
        "SSL_CERT_FILE names the authorities to trust"
    )


@contextlib.contextmanager
def read_from(target: Target) -> Iterator[None]:
    """Take what reading stumbles over for what it is: no answer of the form that was asked for."""
    try:
        yield
    except errors.LASError:
        raise
    except SHAPELESS:
        raise unreadable_answer(target) from None


def unreadable_answer(target: Target) -> errors.APIError:
    """What to raise of what is no answer to such a request."""
    return errors.APIError(unreadable(target), provider=target.provider)


def refusal(status: int, headers: Mapping[str, str], raw: bytes, target: Target) -> errors.LASError:
    """What to raise of an answer with a *status* of its own.

    Args:
        status: HTTP's, from 300 on.
        headers: the answer's.
        raw: the beginning of its body.
        target: who answered.
    """
    said = _said(raw)
    if status < 400:
        # It is not followed, and clients would follow it.
        kind: type[errors.LASError] = errors.APIConnectionError
        return kind(f"{title(target)} sends the request elsewhere, which is not followed", provider=target.provider)
    failure = _failure(said, _phrase(status, raw), status, target)
    failure.retry_after = retry_after(headers)
    return failure


def failed_inside(error: Any, target: Target) -> errors.LASError:
    """What to raise of an *error* that is told in an answer, or in the middle of a stream, which began as good ones."""
    said = error if isinstance(error, dict) else {"message": str(error)}
    status = said.get("code")
    known = status if isinstance(status, int) and 400 <= status < 600 else _STATUSES.get(str(said.get("type")), 500)
    return _failure(said, "it failed", known, target)


# What is told in a stream has no status.
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "rate_limit_error": 429,
    "insufficient_quota": 429,
    "overloaded_error": 503,
}

# Which are no codes, though some send them as such.
_TYPES = frozenset(name for name in _STATUSES if name.endswith("_error"))


def _failure(said: Json, otherwise: str, status: int, target: Target) -> errors.LASError:
    reason, code = str(said.get("message") or otherwise)[:_SEARCHED], said.get("code")
    kind = _kind(status, reason, code)
    text = without_secrets(_in_a_line(reason), target)[:_LONGEST_REASON]
    failure = kind(
        refused(kind, text, target),
        param=_text(said.get("param"), target),
        code=_code(code, kind, target),
        provider=target.provider,
        status_code=_told(kind, status),
    )
    if "code" in said and isinstance(said.get("type"), str) and _TYPE.fullmatch(said["type"]):
        failure.type = said["type"]
    return failure


def _told(kind: type[errors.LASError], status: int) -> int | None:
    """The status to be told where it is not the class's own."""
    return None if status == HTTPStatus.GATEWAY_TIMEOUT or kind in _OF_WORDS else status


def _kind(status: int, reason: str, code: Any) -> type[errors.LASError]:
    if code == errors.ContextWindowExceededError.code or (status in _OF_REFUSALS and _TOO_LONG.search(reason)):
        return errors.ContextWindowExceededError
    if status in _OF_REFUSALS and _TOO_MUCH.search(reason):
        return errors.RateLimitError
    if status == 400 and (code == errors.ModelNotFoundError.code or NO_MODEL.search(reason)):
        return errors.ModelNotFoundError
    return errors.for_status(status)


# Those that the words of an error may make of it, whatever its status.
_OF_WORDS = frozenset({errors.ContextWindowExceededError, errors.RateLimitError, errors.ModelNotFoundError})


def _said(raw: bytes) -> Json:
    """The error in a body: OpenAI's, a text in its place, or what FastAPI's servers say; empty: it has none."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    body = body[0] if isinstance(body, list) and body else body
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        detail = error.get("detail")
        return error if error.get("message") or not detail else {**error, "message": str(detail)}
    return {"message": str(error)} if error else {}


def _phrase(status: int, raw: bytes) -> str:
    text = raw.decode(errors="replace").strip()
    if text and not text.startswith(("<", "{", "[")):
        return text
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else ""
    return f"{status} {phrase}".strip()


def _in_a_line(reason: str) -> str:
    return next((line.strip() for line in reason.splitlines() if line.strip()), reason)


def _code(code: Any, kind: type[errors.LASError], target: Target) -> str | None:
    told = _text(code, target)
    return kind.code if told is None or told.isdigit() or told in _TYPES else told


def _text(value: Any, target: Target) -> str | None:
    return without_secrets(value[:_SEARCHED], target)[:_LONGEST_REASON] if isinstance(value, str) else None
