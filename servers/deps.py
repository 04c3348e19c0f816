"""What routes depend on."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from chains.registry import ChainRegistry
from las_langchain.errors import PermissionDeniedError
from las_langchain.service import LiteLLMService
from servers.origins import is_from_here


def service_of(request: Request) -> LiteLLMService:
    """The application's service."""
    service = request.app.state.service
    assert isinstance(service, LiteLLMService)  # noqa: S101 - set by create_app
    return service


def registry_of(request: Request) -> ChainRegistry:
    """The application's chains."""
    registry = request.app.state.chains
    assert isinstance(registry, ChainRegistry)  # noqa: S101 - set by create_app
    return registry


def from_this_machine(request: Request) -> None:
    """Check that *request* was made on this machine, to an address of this machine.

    Raises:
        PermissionDeniedError: it was not.
    """
    if not is_from_here(request.scope, request.headers):
        raise PermissionDeniedError("The configuration can be seen and changed only from the server's own machine")


Service = Annotated[LiteLLMService, Depends(service_of)]
OnThisMachine = Depends(from_this_machine)
