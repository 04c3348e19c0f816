"""Where a request goes, and the headers that it goes with."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote

from yarl import URL

from las_langchain import __version__
from las_langchain.errors import BadRequestError
from las_langchain.provider_rows import PROVIDERS
from las_langchain.providers import Target

AZURE_VERSION = "2025-02-01-preview"
"""The ``api_version`` of Azure's API where none is set, which is litellm's."""
_SELF = f"las-langchain/{__version__}"
UNVERSIONED = ("v1", "preview", "latest")
"""Azure's names of its API without versions."""


def address(target: Target, endpoint: str) -> URL:
    """The address of *endpoint*, such as ``chat/completions``, at the provider of *target*.

    Raises:
        BadRequestError: there is none: Azure has no address that is everybody's.
    """
    row = PROVIDERS[target.provider]
    base = target.api_base or row.wire or row.base_url or ""
    if target.provider != "azure":
        return _joined(base, endpoint, "/v1" if target.provider == "ollama" else "")
    if not base:
        raise BadRequestError("No address for Azure OpenAI: set AZURE_API_BASE", param="model")
    return _azures(base, target.model, target.options.get("api_version") or None, endpoint)


@lru_cache(maxsize=1024)
def _joined(base: str, endpoint: str, within: str = "") -> URL:
    """*endpoint* at *base*, or in *within*, where *base* does not end in that."""
    # What stands behind a question mark stays behind it.
    path, mark, query = base.partition("?")
    path = path.rstrip("/")
    url = URL(f"{path.removesuffix(within)}{within}/{endpoint}{mark}{query}")
    # Who asks is said in a header.
    return url if url.raw_user is None and url.raw_password is None else url.with_user(None)


@lru_cache(maxsize=1024)
def _azures(base: str, model: str, version: str | None, endpoint: str) -> URL:
    path, mark, query = base.partition("?")
    path = path.rstrip("/")
    # Azure's pages show addresses with and without these, and that of the deployment, or of the whole endpoint.
    root = path.removesuffix("/openai/v1").removesuffix("/openai")
    if version in UNVERSIONED or (version is None and path.endswith("/openai/v1")):
        return _joined(f"{root}/openai/v1{mark}{query}", endpoint)
    own = _OF_DEPLOYMENT.match(path)
    deployment = own[0] if own else f"{root}/openai/deployments/{quote(model, safe='')}"
    url = _joined(f"{deployment}{mark}{query}", endpoint)
    if version is None and "api-version" in url.query:
        return url
    return url % {"api-version": version or AZURE_VERSION}


_OF_DEPLOYMENT = re.compile(r"[^?]+/openai/deployments/[^/?]+")


def headers(target: Target, further: Mapping[str, str] | None) -> dict[str, str]:
    """The headers of a request.

    Args:
        target: has the key, and headers of the settings'.
        further: those of this request alone.

    Raises:
        BadRequestError: *further* has something else than texts.
    """
    if further and not all(isinstance(part, str) for header in further.items() for part in header):
        raise BadRequestError("extra_headers: expected names and texts", param="extra_headers")
    usual = {
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": _SELF,
        **PROVIDERS[target.provider].headers,
        **_credentials(target),
    }
    own = [given for given in (target.headers, target.options.get("extra_headers"), further) if given]
    if not own:
        return usual
    # The same name may be written in several ways; the last one holds.
    found: dict[str, tuple[str, str]] = {}
    for layer in (usual, *own):
        found.update({name.lower(): (name, value) for name, value in layer.items()})
    return dict(found.values())


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
