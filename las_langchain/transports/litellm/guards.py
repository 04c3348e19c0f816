"""What litellm must not do with what an upstream answers: follow it elsewhere, or search it for seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
from litellm.litellm_core_utils import error_normalization, secret_redaction
from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler
from litellm.llms.openai.common_utils import BaseOpenAILLM

_LONGEST_ERROR = 20_000
"""Letters of a provider's error, which may be a page, or a file."""


def install_guards() -> None:
    """Have litellm keep to them from now on."""
    # A redirected request takes the prompt along, and with some providers the key.
    _replace(AsyncHTTPHandler, "create_client", _staying)
    _replace(BaseOpenAILLM, "_get_async_http_client", lambda make: staticmethod(_staying(make)))
    # Its patterns take seconds for a megabyte, in the event loop.
    _replace(secret_redaction, "python_redact_string", _reading_in_part)
    _replace(error_normalization, "_classify_by_message", _reading_in_part)


def _staying(make: Callable[..., httpx.AsyncClient | None]) -> Callable[..., httpx.AsyncClient | None]:
    """*make*, whose clients follow no redirects but where they are told to, as for an image."""

    def made(*arguments: Any, **named: Any) -> httpx.AsyncClient | None:
        client = make(*arguments, **named)
        if client is not None:
            client.follow_redirects = False
        return client

    return made


def _reading_in_part(function: Callable[..., Any]) -> Callable[..., Any]:
    """*function*, looking only at the begin of a text."""
    return lambda text, *others: function(text[:_LONGEST_ERROR], *others)


def _replace(owner: Any, name: str, wrap: Callable[[Any], Any]) -> None:
    """Wrap a function of litellm's, where its version has it."""
    if (function := getattr(owner, name, None)) is not None:
        setattr(owner, name, wrap(function))
