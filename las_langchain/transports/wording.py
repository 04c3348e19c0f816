"""What to say of a call that failed, whichever way it went."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qsl, unquote, urlsplit

from las_langchain.deployments import shown_address
from las_langchain.errors import AuthenticationError, LASError, masked
from las_langchain.provider_rows import PROVIDERS
from las_langchain.providers import Target, variable_prefix

# What those say to an unknown model that answer 400 to it: OpenRouter, DeepSeek, Hugging Face and Bedrock.
NO_MODEL = re.compile(
    r"not a valid model ID|Model Not Exist|The requested model .* does not exist|model identifier is invalid"
)
# Of a header's value that a provider repeats in its error; shorter ones are words.
_SECRET_LENGTH = 8
_SECRET = re.compile(r"key|secret|token|password|credential")


def title(target: Target) -> str:
    """The provider's name for people."""
    row = PROVIDERS.get(target.provider)
    return row.title if row else target.provider


def too_slow(target: Target) -> str:
    """Nothing came in time."""
    return (
        f"{title(target)} did not answer in time: LAS_TIMEOUT ({target.timeout:g} s) bounds the first byte, "
        f"LAS_STREAM_TIMEOUT ({target.stream_timeout:g} s) the silence between chunks"
    )


def unreachable(target: Target) -> str:
    """Nobody answers at the provider's address."""
    row = PROVIDERS.get(target.provider)
    variables = row.base_url_variables if row else (f"{variable_prefix(target.provider)}_API_BASE",)
    where = shown_address(target.api_base).rstrip("/") if target.api_base else ""
    if row and row.keyless and where and variables:
        return f"{row.title} does not answer at {where}: start it, or set {variables[0]}"
    at, fix = f" at {where}" if where else "", f"; {variables[0]} sets its address" if variables else ""
    return f"{title(target)}{at} cannot be reached{fix}"


def broken(target: Target) -> str:
    """The connection was lost."""
    return f"{title(target)}: the connection broke before the answer was whole"


def unreadable(target: Target) -> str:
    """What came is nothing that such a request is answered with."""
    return f"{title(target)} sent what is no answer to such a request"


def refused(kind: type[LASError], reason: str, target: Target) -> str:
    """The provider's own *reason*, and, where it is the key, which one.

    Args:
        kind: the class of the error.
        reason: what the provider said, in one line, without secrets.
        target: whom the request went to.
    """
    row = PROVIDERS.get(target.provider)
    if kind is AuthenticationError and row and row.signs_with:
        return f"{row.title}: {reason}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    if kind is AuthenticationError and row and row.key_variables:
        return f"{row.title} refused the key in {row.key_variables[0]}: {reason}"
    return f"{title(target)}: {reason}"


def without_secrets(text: str, target: Target) -> str:
    """*text* without what a provider may repeat of the request's keys."""
    text = masked(text)
    further = target.options.get("extra_headers") or {}
    given = (
        *target.headers.values(),
        *further.values(),
        *(value for name, value in target.options.items() if _SECRET.search(name)),
        *_secrets_of(target.api_base or ""),
    )
    for secret in (value for value in given if isinstance(value, str) and len(value) >= _SECRET_LENGTH):
        text = text.replace(secret, "***")
    key = target.api_key.get_secret_value() if target.api_key else ""
    return text.replace(key, "***") if key else text


def _secrets_of(address: str) -> list[str]:
    """What is secret in an address: its password, and keys in its query."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return []
    password = parts.password or ""
    return [
        password,
        unquote(password),
        *(value for name, value in parse_qsl(parts.query) if _SECRET.search(name.lower())),
    ]


def retry_after(headers: Mapping[str, str], advice: str | None = None) -> float | None:
    """The seconds after which the provider wants to be asked again.

    Args:
        headers: the answer's.
        advice: what the error itself says, which counts where no header does.
    """
    milliseconds = _seconds(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    return _seconds(headers.get("retry-after") or advice)


def _seconds(value: str | None) -> float | None:
    """A number, or what is left until a date as HTTP writes it; None for all else."""
    if not value:
        return None
    with contextlib.suppress(ValueError):
        number = float(value)
        return max(0.0, number) if math.isfinite(number) else None
    with contextlib.suppress(ValueError, TypeError):
        date = parsedate_to_datetime(value)
        return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
    return None
