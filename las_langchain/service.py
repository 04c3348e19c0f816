"""The one door that every call goes through: it finds the provider, picks the transport and retries."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import aclosing, closing
from functools import cache, cached_property
from typing import Any, TypeVar

from las_langchain.errors import APIError, LASError
from las_langchain.providers import Target, check_configured, resolve, split_name
from las_langchain.settings import LASSettings, load_settings
from las_langchain.transports import Transport

Json = dict[str, Any]
T = TypeVar("T")

FIRST_DELAY = 0.5
"""Seconds before the first retry; doubled for each further one, with jitter."""
LONGEST_DELAY = 30.0
"""Longest wait before a retry, in seconds; a provider that asks for more is not retried."""


class LiteLLMService:
    """Chat and embeddings of every provider, and of the embedded models, as OpenAI-shaped dicts.

    It holds no connection and no event loop: one instance serves any number of threads and loops.

    Args:
        settings: keys, addresses, timeouts, retries; read from the environment if left out.

    Raises:
        ConfigurationError: the settings are wrong; the message names the variable or entry.
    """

    def __init__(self, settings: LASSettings | None = None) -> None:
        self.settings = settings or load_settings()
        check_configured(self.settings)

    def target(self, model: str | None = None, **overrides: Any) -> Target:
        """Where calls to *model* (default: the settings' chat model) go.

        Args:
            model: as in :func:`~las_langchain.providers.resolve`.
            overrides: ``api_key``, ``api_base`` and ``transport`` to use instead of the settings'.

        Raises:
            ModelNotFoundError: no such provider.
            AuthenticationError: the provider's key is not set.
        """
        return resolve(model or self.settings.model, self.settings, **overrides)

    def complete(self, target: Target, body: Json, *, max_retries: int | None = None) -> Json:
        """Answer a chat request.

        Args:
            target: from :meth:`target`.
            body: OpenAI's request without ``model`` and ``stream``.
            max_retries: further tries after a retryable failure; default: the settings'.

        Returns:
            A ``chat.completion``.

        Raises:
            LASError: whatever went wrong, after the retries.
        """
        return self._retry(lambda: self._transport(target).complete(target, body), max_retries)

    async def acomplete(self, target: Target, body: Json, *, max_retries: int | None = None) -> Json:
        """Async form of :meth:`complete`; cancelling it cancels the call."""
        transport = await self._atransport(target)
        return await self._aretry(lambda: transport.acomplete(target, body), max_retries)

    def stream(self, target: Target, body: Json, *, max_retries: int | None = None) -> Generator[Json]:
        """Answer a chat request in chunks, the usage in the last one; arguments as for :meth:`complete`.

        Only a stream that has not begun is retried. Closing the iterator closes the connection.
        """

        def begin() -> tuple[Json, Generator[Json]]:
            chunks = self._transport(target).stream(target, body)
            return _begun(next(chunks, None)), chunks

        first, rest = self._retry(begin, max_retries)
        with closing(rest):
            yield first
            yield from rest

    async def astream(self, target: Target, body: Json, *, max_retries: int | None = None) -> AsyncGenerator[Json]:
        """Async form of :meth:`stream`."""

        transport = await self._atransport(target)

        async def begin() -> tuple[Json, AsyncGenerator[Json]]:
            chunks = transport.astream(target, body)
            return _begun(await anext(chunks, None)), chunks

        first, rest = await self._aretry(begin, max_retries)
        async with aclosing(rest):
            yield first
            async for chunk in rest:
                yield chunk

    def embed(self, target: Target, body: Json, *, max_retries: int | None = None) -> Json:
        """Answer an embeddings request (``input``, ``dimensions``, ``encoding_format``, ``user``).

        Raises:
            LASError: whatever went wrong, after the retries.
        """
        return self._retry(lambda: self._transport(target).embed(target, body), max_retries)

    async def aembed(self, target: Target, body: Json, *, max_retries: int | None = None) -> Json:
        """Async form of :meth:`embed`."""
        transport = await self._atransport(target)
        return await self._aretry(lambda: transport.aembed(target, body), max_retries)

    def tokenize(self, model: str | None, text: str) -> list[int]:
        """The tokens of *text*, found in this process; for a provider's model by the tokenizer that litellm ships."""
        return self._tokenizer(model).tokenize(model or self.settings.model, text)

    def count_tokens(self, model: str | None, body: Json) -> int:
        """The number of tokens of a chat request's ``messages`` and ``tools``, found in this process."""
        return self._tokenizer(model).count_tokens(model or self.settings.model, body)

    def _tokenizer(self, model: str | None) -> Transport:
        # No target: counting needs no key.
        provider, _ = split_name(model or self.settings.model, self.settings)
        return self._local if provider == "local" else self._litellm

    def _transport(self, target: Target) -> Transport:
        return self._local if target.transport == "local" else self._litellm

    async def _atransport(self, target: Target) -> Transport:
        # Importing litellm takes seconds, which no other call on this event loop should have to wait for.
        return await asyncio.to_thread(self._transport, target) if not self._ready(target) else self._transport(target)

    def _ready(self, target: Target) -> bool:
        return ("_local" if target.transport == "local" else "_litellm") in self.__dict__

    @cached_property
    def _local(self) -> Transport:
        from las_langchain.transports.local import LocalTransport

        return LocalTransport(self.settings)

    @cached_property
    def _litellm(self) -> Transport:
        from las_langchain.transports.litellm import LiteLLMTransport

        return LiteLLMTransport()

    def _retry(self, call: Callable[[], T], max_retries: int | None) -> T:
        attempt = 0
        while True:
            try:
                return call()
            except LASError as error:
                delay = self._delay(error, attempt, max_retries)
                if delay is None:
                    raise
            time.sleep(delay)
            attempt += 1

    async def _aretry(self, call: Callable[[], Awaitable[T]], max_retries: int | None) -> T:
        attempt = 0
        while True:
            try:
                return await call()
            except LASError as error:
                delay = self._delay(error, attempt, max_retries)
                if delay is None:
                    raise
            await asyncio.sleep(delay)
            attempt += 1

    def _delay(self, error: LASError, attempt: int, max_retries: int | None) -> float | None:
        allowed = self.settings.max_retries if max_retries is None else max_retries
        return retry_delay(error, attempt) if attempt < allowed else None


def retry_delay(error: LASError, attempt: int) -> float | None:
    """Seconds to wait before the next try, or None if *error* is final.

    Args:
        error: what the last try raised. Its ``retry_after`` is honoured up to 30 seconds; beyond that it is final.
        attempt: how many tries were retried before.
    """
    # What the model in this process could not do now, it will not do a moment later.
    if not error.is_retryable or error.provider == "local":
        return None
    if error.retry_after is not None:
        return error.retry_after if error.retry_after <= LONGEST_DELAY else None
    return min(FIRST_DELAY * 2.0**attempt, LONGEST_DELAY) * (1 - random.random() / 2)  # noqa: S311 - jitter, not a secret


def _begun(chunk: Json | None) -> Json:
    if chunk is None:
        raise APIError("The provider sent an empty stream")
    return chunk


@cache
def get_litellm_service() -> LiteLLMService:
    """The service of this process, with the settings of its environment; built on first use."""
    return LiteLLMService()
