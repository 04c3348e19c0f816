"""Where a request goes, and the headers that it goes with."""

from __future__ import annotations

import base64
import re
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
UNVERSIONED = ("v1", "preview", "latest")
"""Azure's names of its API without versions."""


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
    url = URL(f"{path.rstrip('/')}/{endpoint}{mark}{query}")
    # Who asks is said in a header.
    return url if url.raw_user is None and url.raw_password is None else url.with_user(None)


@lru_cache(maxsize=1024)
def _azures(base: str, model: str, version: str, endpoint: str) -> URL:
    if version in UNVERSIONED:
        return _joined(f"{base.removesuffix('/openai/v1')}/openai/v1", endpoint)
    # An address may be that of the deployment, or of the whole endpoint, as Azure's pages show it.
    own = _OF_DEPLOYMENT.match(base)
    root = own[0] if own else f"{base}/openai/deployments/{quote(model, safe='')}"
    return _joined(root, endpoint) % {"api-version": version}


_OF_DEPLOYMENT = re.compile(r"[^?]+/openai/deployments/[^/?]+")


def headers(target: Target, further: Mapping[str, str] | None) -> dict[str, str]:
    """The headers of a request.

    Args:
        target: has the key, and headers of the settings'.
        further: those of this request alone.
    """
    named = {"Content-Type": "application/json", "Accept-Encoding": "identity", **_credentials(target)}
    of_options = target.options.get("extra_headers") or {}
    own = {**_SELF.get(target.provider, {}), **target.headers, **of_options, **(further or {})}
    if not own:
        return named
    given = {name.lower() for name in own}
    return {**{name: value for name, value in named.items() if name.lower() not in given}, **own}


def _credentials(target: Target) -> dict[str, str]:
    key = target.api_key.get_secret_value() if target.api_key else None
    named = _named_in(target.api_base) if target.api_base and "@" in target.api_base else {}
    if target.provider == "azure":
        return {**_azures_credentials(target, key), **named}
    found = named or ({"Authorization": f"Bearer {key}"} if key else {})
    if target.provider == "openai" and (organization := target.options.get("organization")):
        found["OpenAI-Organization"] = str(organization)
    return found


def _named_in(base: str) -> dict[str, str]:
    """What a name and a password in an address become, which is meant for who stands before the provider."""
    url = URL(base)
    if url.user is None and url.password is None:
        return {}
    named = base64.b64encode(f"{url.user or ''}:{url.password or ''}".encode()).decode("ascii")
    return {"Authorization": f"Basic {named}"}


def _azures_credentials(target: Target, key: str | None) -> dict[str, str]:
    token = target.options.get("azure_ad_token")
    if target.options.get("api_version") in UNVERSIONED:
        return {"Authorization": f"Bearer {key or token}"}
    return {"Authorization": f"Bearer {token}"} if token else {"api-key": key or ""}
