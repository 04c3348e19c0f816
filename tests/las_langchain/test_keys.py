"""Keys that are texts, functions, or async functions."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, Field, SecretStr

from las_langchain.errors import AuthenticationError
from las_langchain.keys import ApiKey, resolve_key


class Model(BaseModel, hide_input_in_errors=True):
    api_key: ApiKey | None = Field(None, repr=False)


async def later(key: str = "sk-later") -> str:
    await asyncio.sleep(0)
    return key


class Vault:
    async def __call__(self) -> str:
        return await later("sk-vault")


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (None, None),
        ("sk-text", "sk-text"),
        (SecretStr("sk-secret"), "sk-secret"),
        (lambda: "sk-function", "sk-function"),
        (lambda: "sk-file\n", "sk-file"),
        (lambda: SecretStr("sk-secret"), "sk-secret"),
        (later, "sk-later"),
        (functools.partial(later, "sk-partial"), "sk-partial"),
        (lambda: later("sk-lambda"), "sk-lambda"),
        (Vault(), "sk-vault"),
    ],
)
async def test_a_key_is_found(key: Any, expected: str | None) -> None:
    validated = Model(api_key=key).api_key
    for found in (await resolve_key(key), await resolve_key(validated)):
        assert (found.get_secret_value() if found else None) == expected


def fails() -> str:
    raise OSError("no vault\nat this address")


async def fails_later() -> str:
    return fails()


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (fails, "api_key: the function failed: OSError: no vault at this address"),
        (fails_later, "api_key: the function failed: OSError: no vault at this address"),
        (lambda: fails_later(), "api_key: the function failed: OSError: no vault at this address"),
        (lambda: "", "api_key: the function returned an empty text, not a key"),
        (lambda: None, "api_key: the function returned NoneType, not a key"),
        (lambda: 7, "api_key: the function returned int, not a key"),
        (lambda: b"sk-secret-bytes", "api_key: the function returned bytes, not a key"),
    ],
)
async def test_a_function_that_gives_no_key_is_named(key: Callable[[], Any], message: str) -> None:
    with pytest.raises(AuthenticationError) as error:
        await resolve_key(key)
    assert str(error.value) == message
    assert error.value.param == "api_key"


async def test_a_slow_function_leaves_the_event_loop_alone() -> None:
    released = threading.Event()

    def waits() -> str:
        assert released.wait(10)
        return "sk-slow"

    asking = asyncio.create_task(resolve_key(waits))
    await asyncio.sleep(0.05)
    assert not asking.done()
    released.set()
    assert (await asking) == SecretStr("sk-slow")


def test_a_key_is_shown_nowhere() -> None:
    secret = "sk-very-secret"
    for key in (secret, SecretStr(secret), functools.partial(later, secret)):
        model = Model(api_key=key)
        assert secret not in f"{model!r} {model} {model.model_dump_json()}"
    assert "callable" not in str(Model.model_json_schema()).lower()
    with pytest.raises(ValueError, match="api_key") as error:
        Model.model_validate({"api_key": [secret]})
    assert secret not in str(error.value)
