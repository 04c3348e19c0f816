"""API keys that a caller gives: a text, or a function that is asked for one before every call."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Iterator
from typing import Annotated, Any

from pydantic import PlainSerializer, SecretStr
from pydantic.json_schema import SkipJsonSchema

from las_langchain.deployments import is_header_value
from las_langchain.errors import AuthenticationError, masked

ApiKey = (
    SecretStr
    | Annotated[
        Callable[[], str | Awaitable[str]],
        PlainSerializer(lambda _: "**********", return_type=str, when_used="json"),
        SkipJsonSchema(),
    ]
)
"""The type of an ``api_key`` field. Give the field ``repr=False``, since a function's arguments may hold the key, and
its model ``hide_input_in_errors``, since pydantic prints all arguments when one is wrong."""


async def resolve_key(key: ApiKey | str | None) -> SecretStr | None:
    """The key itself.

    Args:
        key: the key; a function that returns it; or None. One that is not async runs in a thread, since it may wait.

    Raises:
        AuthenticationError: the function failed, or returned something else than a key.
    """
    if not callable(key):
        return _given(key)
    if inspect.iscoroutinefunction(key):
        return _returned(await _awaited(key()))
    with _blamed():
        value = await asyncio.to_thread(key)
    return _returned(await _awaited(value) if inspect.isawaitable(value) else value)


def _given(key: SecretStr | str | None) -> SecretStr | None:
    if key is None:
        return None
    given = key.get_secret_value() if isinstance(key, SecretStr) else key
    if not isinstance(given, str):
        raise AuthenticationError(f"api_key: expected a text, not {type(given).__name__}", param="api_key")
    text = given.strip()
    if not text:
        # Else the host's own key would be used in its place.
        raise AuthenticationError("api_key is empty: leave it out to use the provider's variable", param="api_key")
    return SecretStr(_checked(text))


async def _awaited(value: Awaitable[Any]) -> Any:
    with _blamed():
        return await value


def _returned(value: Any) -> SecretStr:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str) or not text.strip():
        shown = "an empty text" if isinstance(text, str) else type(text).__name__
        raise AuthenticationError(f"api_key: the function returned {shown}, not a key", param="api_key")
    # Keys are read from files, which end in a line break; a header may not hold one.
    return SecretStr(_checked(text.strip()))


def _checked(text: str) -> str:
    if not is_header_value(text):
        raise AuthenticationError("api_key: it has characters that no header may hold", param="api_key")
    return text


@contextlib.contextmanager
def _blamed() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        reason = masked(" ".join(f"{type(error).__name__}: {error}".split()))[:300]
        raise AuthenticationError(f"api_key: the function failed: {reason}", param="api_key") from error
