"""Where a request comes from: this machine or another one, a page of this server or of another site."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from starlette.types import Scope

_FORWARDED = re.compile(
    r"forwarded|via|x-forwarded-.+|x-real-ip|x-original-.+|x-rewrite-url|x-envoy-.+|cdn-loop"
    r"|(x-|true-|x-cluster-|fly-)client-ip|cf-connecting-ip"
)
"""The headers of requests that somebody has handed on."""
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?", re.IGNORECASE)
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def headers_of(scope: Scope) -> dict[str, str]:
    """The request's headers by their names in lower case; of several with one name, the first."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}


def is_from_here(scope: Scope, headers: Mapping[str, str]) -> bool:
    """Whether a program of this machine has sent a request to an address of this machine.

    The ``Host`` header tells a request that a web page made by way of a name of its own that leads here; others tell
    one that a proxy on this machine has handed on.
    """
    # First of all: servers take the client's address out of such a header, and anything may stand there.
    if any(_FORWARDED.fullmatch(name) for name in headers):
        return False
    client = scope["client"][0] if scope.get("client") else ""
    if client and not is_address(client):
        # Such as that of Starlette's TestClient: no socket gives a name.
        return True
    # Only programs send no Host; browsers always do.
    return is_loopback(client) and all(is_local_name(host_of(value)) for value in hosts_of(scope))


def hosts_of(scope: Scope) -> list[str]:
    """The request's ``Host`` headers, of which there should be one."""
    return [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]


def host_of(header: str) -> str:
    """The name or address in a ``Host`` header, without its port; empty: it has none."""
    found = _HOST.fullmatch(header)
    return found[1].strip("[]").lower() if found else ""


def is_of_other_site(scope: Scope, headers: Mapping[str, str]) -> bool:
    """Whether a page of another site has sent a request that may change or cost something."""
    origin = headers.get("origin")
    return origin is not None and scope["method"] not in _SAFE and _split(origin).netloc != headers.get("host")


def is_local_name(host: str) -> bool:
    """Whether *host* is a name of the machine itself, which no other host can have."""
    return host == "localhost" or is_loopback(host)


def is_loopback(address: str) -> bool:
    """Whether *address* is an IP address of the machine itself."""
    if not is_address(address):
        return False
    parsed = ipaddress.ip_address(address)
    return (getattr(parsed, "ipv4_mapped", None) or parsed).is_loopback


def is_address(text: str) -> bool:
    """Whether *text* is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")
