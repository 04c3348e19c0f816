"""The key under which an answer is kept."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from las_langchain.errors import BadRequestError
from las_langchain.providers import Target


def cache_key(target: Target, operation: str, body: dict[str, Any]) -> str:
    """A text that is the same for requests that may have the same answer, and from which no secret can be read.

    Args:
        target: whom the request goes to. Its timeouts do not count; its key does, since keys see different models.
        operation: what is asked for, such as ``chat``, ``stream`` or ``embeddings``.
        body: the request; the order of its fields does not count.

    Raises:
        BadRequestError: *body* or the provider's options are not JSON: they hold bytes, for example.
    """
    asked = {
        "operation": operation,
        "provider": target.provider,
        "model": target.model,
        "litellm_model": target.litellm_model,
        # Behind an alias another deployment than the first may answer.
        "asked": target.asked,
        "served": target.served,
        "api_base": target.api_base,
        "api_key": None if target.api_key is None else _digest(target.api_key.get_secret_value()),
        "headers": dict(target.headers),
        "options": dict(target.options),
        "body": body,
    }
    return _digest(_canonical(asked))


def _canonical(value: Any) -> str:
    try:
        # Unescaped, since a pair of half characters is escaped just as the whole one is.
        return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRequestError(f"The request, or an option of its provider, is not JSON: {error}") from None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
