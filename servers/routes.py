"""Routes that FastAPI documents and Starlette answers, where an endpoint reads its request itself."""

from __future__ import annotations

import inspect
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.routing import request_response


class Direct(APIRoute):
    """A route whose endpoint, if the request is all that it takes, is called without looking for dependencies.

    Such an endpoint returns a response.
    """

    def __init__(self, path: str, endpoint: Any, **named: Any) -> None:
        super().__init__(path, endpoint, **named)
        if list(inspect.signature(endpoint).parameters) == ["request"]:
            self.app = request_response(endpoint)


def add_routes(app: FastAPI, router: APIRouter, *, documented: bool = True) -> None:
    """Add the routes of *router* to those of *app* itself; an included router would be searched twice a request.

    Args:
        app: the application.
        router: its prefix and tags are in its routes.
        documented: whether the API documentation has them.
    """
    for route in router.routes:
        if isinstance(route, APIRoute):
            route.include_in_schema = route.include_in_schema and documented
        app.router.routes.append(route)
