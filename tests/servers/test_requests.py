"""What ends a call that a client waits for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.requests import ClientDisconnect, Request

from las_langchain.errors import APIError, APITimeoutError
from las_langchain.service import LiteLLMService
from las_langchain.settings import LASSettings
from servers.requests import unless_gone


class Client:
    """A client that has sent its request, and may leave."""

    def __init__(self, **settings: Any) -> None:
        app = FastAPI()
        app.state.service = LiteLLMService(LASSettings(enable_cost_tracking=False, **settings))
        self._left = asyncio.Event()
        self.request = Request({"type": "http", "app": app, "headers": []}, self._receive)
        self.leave: Callable[[], None] = self._left.set

    async def _receive(self) -> dict[str, str]:
        await self._left.wait()
        return {"type": "http.disconnect"}


class Call:
    """A call that takes for ever."""

    def __init__(self) -> None:
        self.begun, self.cancelled = asyncio.Event(), False

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        try:
            self.begun.set()
            yield
        except asyncio.CancelledError:
            self.cancelled = True
            raise

    async def waiting(self) -> str:
        """Wait, and end when it is cancelled."""
        async with self._running():
            await asyncio.sleep(60)
        return "never"

    async def failing(self) -> str:
        """Fail of being cancelled."""
        try:
            return await self.waiting()
        except asyncio.CancelledError:
            raise APIError("The connection broke") from None

    async def stubborn(self) -> str:
        """Answer although it is cancelled."""
        try:
            return await self.waiting()
        except asyncio.CancelledError:
            return "late"


async def test_what_the_call_returns_or_raises_is_told() -> None:
    async def answer() -> str:
        await asyncio.sleep(0)
        return "answer"

    async def fail() -> str:
        await asyncio.sleep(0)
        raise APIError("down")

    request = Client().request
    assert await unless_gone(request, answer()) == "answer"
    with pytest.raises(APIError, match="down"):
        await unless_gone(request, fail())
    # Nothing of the watching is left.
    await asyncio.sleep(0.01)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("how", [Call.waiting, Call.failing, Call.stubborn])
async def test_a_client_that_leaves_ends_the_call(how: Callable[[Call], Coroutine[Any, Any, str]]) -> None:
    client, call = Client(), Call()
    work = asyncio.create_task(unless_gone(client.request, how(call)))
    await call.begun.wait()
    client.leave()
    with pytest.raises(ClientDisconnect):
        await asyncio.wait_for(work, 1)
    assert call.cancelled
    assert not work.cancelling()


@pytest.mark.parametrize("how", [Call.waiting, Call.failing, Call.stubborn])
async def test_a_call_that_takes_too_long_is_ended(how: Callable[[Call], Coroutine[Any, Any, str]]) -> None:
    call = Call()
    with pytest.raises(APITimeoutError, match=r"longer than 0\.05 s"):
        await asyncio.wait_for(unless_gone(Client(total_timeout=0.05).request, how(call)), 1)
    assert call.cancelled


async def test_whoever_cancels_the_request_cancels_the_call() -> None:
    call = Call()
    work = asyncio.create_task(unless_gone(Client().request, call.waiting()))
    await call.begun.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(work, 1)
    assert call.cancelled
