"""Who may ask the server: holders of one of its keys, or, where it has none, programs of this machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send

from las_langchain.callers import calling
from las_langchain.errors import AuthenticationError, LASError, PermissionDeniedError
from servers.client_keys import ServerKeys, key_id_of, presented_keys
from servers.errors import error_response
from servers.origins import headers_of, is_from_here, is_of_other_site

OPEN = frozenset({"/health"})
"""What needs no key: whoever watches over the server must see that it lives."""
_POLICY = 1008
"""The code of a websocket that is closed since it breaks a rule."""


class Gate:
    """ASGI middleware that turns away those who may not ask, and says on whose behalf the others' calls are made.

    It leaves in the scope's ``state`` the ``key_id`` of who asks, and whether they were ``admitted`` by a key or by
    being here.

    Args:
        app: the application.
        keys: the server's keys. Without any, only this machine is answered, and no web page of another site.
    """

    def __init__(self, app: ASGIApp, *, keys: Iterable[SecretStr]) -> None:
        self._app, self._keys = app, ServerKeys(keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "websocket":
            # There are none, and none shall be there without being asked for a key.
            await send({"type": "websocket.close", "code": _POLICY})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = headers_of(scope)
        presented = presented_keys(headers)
        key = self._keys.accepted(presented) if self._keys else next(iter(presented), None)
        key_id = key_id_of(key) if key else None
        refusal = self._refusal(scope, headers, key)
        scope.setdefault("state", {}).update(key_id=key_id, admitted=refusal is None)
        with calling(key_id=key_id):
            if refusal is None or scope["path"] in OPEN:
                await self._app(scope, receive, send)
                return
            answer = error_response(scope["path"], refusal)
            if isinstance(refusal, AuthenticationError):
                answer.headers["www-authenticate"] = _challenge(headers)
            await answer(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Mapping[str, str], key: str | None) -> LASError | None:
        if self._keys and key is None:
            return AuthenticationError(
                "Incorrect or missing API key: send one of the server's (LAS_API_KEYS) as `Authorization: Bearer KEY`"
            )
        if not self._keys and not is_from_here(scope, headers):
            return PermissionDeniedError(
                "Only this machine is answered, under a name of its own such as localhost or 127.0.0.1: "
                "set LAS_API_KEYS on the server to let others in"
            )
        # With every request, whichever page makes it, a browser sends what it was given for HTTP's Basic scheme.
        by_itself = not self._keys or headers.get("authorization", "")[:6].lower() == "basic "
        if by_itself and is_of_other_site(scope, headers):
            return PermissionDeniedError(
                "Pages of other sites may not ask this server: the header Origin does not name its Host, which a proxy "
                "in front must hand on as it is"
            )
        return None


def _challenge(headers: Mapping[str, str]) -> str:
    """How to present a key; browsers ask people for a password."""
    return 'Basic realm="las"' if "text/html" in headers.get("accept", "") else "Bearer"
