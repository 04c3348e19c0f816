"""The transport for providers that speak OpenAI's own format: requests and answers pass as they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from http import HTTPStatus
from typing import Any

import aiohttp

from las_langchain.errors import APIError
from las_langchain.providers import Target
from las_langchain.transports import Event
from las_langchain.transports.clock import Clock
from las_langchain.transports.wire.addresses import address, headers
from las_langchain.transports.wire.answers import completion, embeddings, text_completion
from las_langchain.transports.wire.chunks import DONE, ChunkReader
from las_langchain.transports.wire.clients import post
from las_langchain.transports.wire.events import EventReader
from las_langchain.transports.wire.failures import LARGEST, read_from, refusal, translated
from las_langchain.transports.wire.requests import chat_request, embedding_request, text_request

Json = dict[str, Any]

_CHAT, _TEXT, _EMBEDDINGS = "chat/completions", "completions", "embeddings"
_REQUESTS = {_CHAT: chat_request, _TEXT: text_request}
LARGEST_ANSWER = 256_000_000
"""Bytes of a whole answer; the longest vectors of as many texts as OpenAI takes are about 130 millions."""
_LAST_BYTES = 0.05
"""Seconds that the end of a stream may take after its last event, for its connection to be used again."""


class WireTransport:
    """Sends requests to providers that speak OpenAI's format, without litellm."""

    async def acomplete(self, target: Target, body: Json) -> Json:
        """See :class:`~las_langchain.transports.Transport`."""
        with translated(target):
            raw = await _answered(target, _CHAT, chat_request(target, body), body)
            with read_from(target):
                return completion(raw, target)

    async def acomplete_text(self, target: Target, body: Json) -> Json:
        """See :class:`~las_langchain.transports.Transport`."""
        with translated(target):
            raw = await _answered(target, _TEXT, text_request(target, body), body)
            with read_from(target):
                return text_completion(raw, target)

    async def aembed(self, target: Target, body: Json) -> Json:
        """See :class:`~las_langchain.transports.Transport`."""
        with translated(target):
            raw = await _answered(target, _EMBEDDINGS, embedding_request(target, body), body)
            with read_from(target):
                return embeddings(raw, target, body.get("encoding_format"))

    def astream(self, target: Target, body: Json) -> AsyncGenerator[list[Event]]:
        """See :class:`~las_langchain.transports.Transport`."""
        return _streamed(target, _CHAT, body)

    def astream_text(self, target: Target, body: Json) -> AsyncGenerator[list[Event]]:
        """See :class:`~las_langchain.transports.Transport`."""
        return _streamed(target, _TEXT, body)


async def _answered(target: Target, endpoint: str, request: bytes, body: Json) -> bytes:
    """The body of a whole answer."""
    async with asyncio.timeout(target.timeout):
        response = await _posted(target, endpoint, request, body)
        try:
            await _check(response, target)
            return await _whole(response)
        finally:
            response.close()


async def _streamed(target: Target, endpoint: str, body: Json) -> AsyncGenerator[list[Event]]:
    with translated(target), Clock(target) as clock:
        request = _REQUESTS[endpoint](target, body, stream=True)
        chunks = ChunkReader(target, text=endpoint == _TEXT)
        async with clock.patience():
            response = await _posted(target, endpoint, request, body)
        try:
            async with clock.patience():
                await _check(response, target)
            async with aclosing(_said(response, clock, chunks)) as said:
                async for data in said:
                    events, failure = chunks.read_all(data)
                    if events:
                        with clock.stopped():
                            yield events
                        clock.heard(*(event.chunk for event in events))
                    if failure is not None:
                        raise failure
            if (last := chunks.end()) is not None:
                yield [last]
            await _emptied(response)
        finally:
            response.close()


async def _said(response: aiohttp.ClientResponse, clock: Clock, chunks: ChunkReader) -> AsyncGenerator[list[bytes]]:
    """The events of *response*, together those that came together; what came before it broke is not lost."""
    reader, is_over = EventReader(), False
    while not is_over:
        broken: aiohttp.ClientError | None = None
        try:
            async with clock.patience():
                data = await response.content.readany()
        except aiohttp.ClientError as error:
            broken, data = error, _unread(response)
        said = reader.feed(data) if data or broken else reader.end()
        is_over = not data or DONE in said
        yield said
        if broken is not None:
            if not chunks.is_whole:
                raise broken
            # Only the end of the connection was lost.
            return


def _unread(response: aiohttp.ClientResponse) -> bytes:
    """What of *response* was received before its connection broke, and not read; aiohttp would tell only of that."""
    return b"".join(getattr(response.content, "_buffer", ()))


async def _posted(target: Target, endpoint: str, request: bytes, body: Json) -> aiohttp.ClientResponse:
    return await post(address(target, endpoint), request, headers(target, body.get("extra_headers")))


async def _check(response: aiohttp.ClientResponse, target: Target) -> None:
    """Raise what *response* says instead of answering, if it does."""
    if response.status >= HTTPStatus.MULTIPLE_CHOICES:
        raise refusal(response.status, response.headers, await _beginning(response), target)


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    parts, size = [], 0
    while data := await response.content.readany():
        size += len(data)
        if size > LARGEST_ANSWER:
            raise APIError(f"The answer is larger than {LARGEST_ANSWER // 1_000_000} MB")
        parts.append(data)
    return b"".join(parts)


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    raw = b""
    while len(raw) < LARGEST and (data := await response.content.read(LARGEST - len(raw))):
        raw += data
    return raw


async def _emptied(response: aiohttp.ClientResponse) -> None:
    """Read the end of *response*, which says nothing more, so that its connection can be used again."""
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(_LAST_BYTES):
            while not response.content.at_eof():
                await response.content.readany()
