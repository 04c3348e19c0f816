"""What routes depend on."""

from __future__ import annotations

import ipaddress
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends
from starlette.requests import Request

from las_langchain.errors import PermissionDeniedError
from las_langchain.service import LiteLLMService


def service_of(request: Request) -> LiteLLMService:
    """The application's service."""
    service = request.app.state.service
    assert isinstance(service, LiteLLMService)  # noqa: S101 - set by create_app
    return service


def from_this_machine(request: Request) -> None:
    """Check that *request* was made on this machine, to an address of this machine.

    The ``Host`` header tells a request that a web page made by way of a name of its own that leads here; others tell
    one that a proxy on this machine has handed on.

    Raises:
        PermissionDeniedError: it was not.
    """
    client, host = request.client.host if request.client else "", _host(request)
    forwarded = any(name in request.headers for name in _FORWARDED)
    if forwarded or not (_is_loopback(client) and (host == "localhost" or _is_loopback(host))):
        raise PermissionDeniedError("The configuration can be seen and changed only from the server's own machine")


_FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


def _host(request: Request) -> str:
    try:
        return urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


Service = Annotated[LiteLLMService, Depends(service_of)]
OnThisMachine = Depends(from_this_machine)
