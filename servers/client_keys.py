"""The keys that clients present: where they may be in a request, and whether one of them is the server's."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping

from pydantic import SecretStr

_DIGITS = 12


def presented_keys(headers: Mapping[str, str]) -> list[str]:
    """The keys in a request's *headers*, whose names are in lower case.

    They are where OpenAI's, Anthropic's and Azure's clients put them, and in the password (or else the name) of HTTP's
    Basic scheme, which browsers ask people for.
    """
    scheme, _, token = headers.get("authorization", "").partition(" ")
    scheme, token = scheme.lower(), token.strip()
    found = token if scheme == "bearer" else _password(token) if scheme == "basic" else ""
    named = (headers.get(name, "").strip() for name in ("x-api-key", "api-key"))
    return [key for key in (found, *named) if key]


def _password(token: str) -> str:
    try:
        name, colon, password = base64.b64decode(token, validate=True).decode("latin-1").partition(":")
    except (binascii.Error, ValueError):
        return ""
    return password or name if colon else ""


def key_id_of(key: str) -> str:
    """A name for *key*, which does not tell it."""
    return f"key-{_digest(key).hex()[:_DIGITS]}"


class ServerKeys:
    """The keys of a server.

    Args:
        keys: what they are; empty: the server has none.
    """

    def __init__(self, keys: Iterable[SecretStr]) -> None:
        self._digests = [_digest(key.get_secret_value()) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def accepted(self, presented: Iterable[str]) -> str | None:
        """The first of the *presented* keys that is one of the server's; None: none is.

        How long this takes says nothing about the server's keys.
        """
        return next((key for key in presented if self._has(key)), None)

    def _has(self, key: str) -> bool:
        digest = _digest(key)
        matches = [hmac.compare_digest(digest, own) for own in self._digests]
        return any(matches)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("latin-1", "replace")).digest()
