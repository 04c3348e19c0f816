"""Where a request goes, and the headers that it goes with."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote

from yarl import URL

from las_langchain.errors import BadRequestError
from las_langchain.provider_rows import PROVIDERS
from las_langchain.providers import Target

AZURE_VERSION = "2025-02-01-preview"
"""The ``api_version`` of Azure's API where none is set, which is litellm's."""
# Who calls, as OpenRouter lists its callers.
_SELF = {"openrouter": {"HTTP-Referer": "http://localhost", "X-Title": "las-langchain"}}
# Azure's own names of its API without versions.
_UNVERSIONED = ("v1", "preview", "latest")


def address(target: Target, endpoint: str) -> URL:
    """The address of *endpoint*, such as ``chat/completions``, at the provider of *target*.

    Raises:
        BadRequestError: there is none: Azure has no address that is everybody's.
    """
    row = PROVIDERS[target.provider]
    base = (target.api_base or row.wire or row.base_url or "").rstrip("/")
    if target.provider != "azure":
        return _joined(base if target.provider != "ollama" or base.endswith("/v1") else f"{base}/v1", endpoint)
    if not base:
        raise BadRequestError("No address for Azure OpenAI: set AZURE_API_BASE", param="model")
    return _azures(base, target.model, str(target.options.get("api_version") or AZURE_VERSION), endpoint)


@lru_cache(maxsize=1024)
def _joined(base: str, endpoint: str) -> URL:
    # What stands behind a question mark stays behind it.
    path, mark, query = base.partition("?")
    return URL(f"{path.rstrip('/')}/{endpoint}{mark}{query}")


@lru_cache(maxsize=1024)
def _azures(base: str, model: str, version: str, endpoint: str) -> URL:
    if version in _UNVERSIONED:
        root = base if "/openai/v1" in base else f"{base}/openai/v1"
        return _joined(root, endpoint) % {"api-version": version}
    root = base if "/openai/deployments/" in base else f"{base}/openai/deployments/{quote(model, safe='')}"
    return _joined(root, endpoint) % {"api-version": version}


def headers(target: Target, further: Mapping[str, str] | None) -> dict[str, str]:
    """The headers of a request.

    Args:
        target: has the key, and headers of the settings'.
        further: those of this request alone.
    """
    named = {"Content-Type": "application/json", "Accept-Encoding": "identity", **_credentials(target)}
    own = {**_SELF.get(target.provider, {}), **target.headers, **(further or {})}
    if not own:
        return named
    given = {name.lower() for name in own}
    return {**{name: value for name, value in named.items() if name.lower() not in given}, **own}


def _credentials(target: Target) -> dict[str, str]:
    found = {}
    if organization := target.options.get("organization"):
        found["OpenAI-Organization"] = str(organization)
    key = target.api_key.get_secret_value() if target.api_key else None
    if target.provider == "azure":
        token = target.options.get("azure_ad_token")
        return {**found, **({"Authorization": f"Bearer {token}"} if token and not key else {"api-key": key or ""})}
    return {**found, "Authorization": f"Bearer {key}"} if key else found
