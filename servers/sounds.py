"""Speech and transcription, the same under every address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from servers.answers import call_headers, event, json_response
from servers.deps import service_of
from servers.documents import answered, documented
from servers.errors import body_of, known, log_failure
from servers.event_stream import EventStream, event_response
from servers.exchange_calls import Asked, refuse_chains
from servers.forms import read_form
from servers.requests import parse, too_long, unless_gone
from servers.sound_schemas import SpeechRequest, TranscriptionRequest

Json = dict[str, Any]

_AS_TEXT = ("text", "srt", "vtt")
_NEVER = 1e9
SOUNDS: dict[str, Json] = {
    "/audio/speech": {
        "openapi_extra": documented(SpeechRequest),
        "responses": answered(
            "(the sound)",
            wrong=("speed", "Input should be less than or equal to 4"),
            media_type="audio/mpeg",
            description="The sound",
        ),
    },
    "/audio/transcriptions": {
        "openapi_extra": documented(TranscriptionRequest, form=True),
        "responses": answered(
            {"text": "Hello world"},
            wrong=("file", "it is empty"),
            events='data: {"type": "transcript.text.done", "text": "Hello world"}\n\n',
        ),
    },
}
"""How the routes are described."""


async def speech(request: Request) -> Response:
    """Speak a text: the answer is the sound itself, as it comes, in the format asked for."""
    asked = await parse(SpeechRequest, request)
    refuse_chains(asked.model, "do not speak")
    service = service_of(request)
    call = Asked(service.exchange("speech", service.target(asked.model, asked.provider), asked.body(), stream=True))
    limit = service.settings.total_timeout
    deadline = asyncio.get_running_loop().time() + limit, too_long(limit)
    sound = call.exchange.sound()
    try:
        kind, first = await unless_gone(request, _beginning(sound))
    except BaseException:
        await sound.aclose()
        raise
    return _Sound(request, str(kind), first, sound, deadline=deadline, headers=call_headers(call))


async def _beginning(sound: AsyncGenerator[str | bytes]) -> tuple[str | bytes, str | bytes]:
    return await anext(sound), await anext(sound, b"")


class _Sound(EventStream):
    """Bytes as they come; the connection is cut if they end too early."""

    def __init__(
        self,
        request: Request,
        media_type: str,
        first: str | bytes,
        rest: AsyncGenerator[str | bytes],
        **options: Any,
    ) -> None:
        self.media_type = media_type
        begun: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        begun.set_result(_bytes(first))

        def failed(error: Exception) -> bytes:
            log_failure(request, known(error))
            return b""

        super().__init__(begun, _parts(rest), failed, cut=True, keep_alive=_NEVER, **options)


async def _parts(sound: AsyncGenerator[str | bytes]) -> AsyncGenerator[bytes]:
    async with aclosing(sound):
        async for part in sound:
            yield _bytes(part)


def _bytes(part: str | bytes) -> bytes:
    return part.encode() if isinstance(part, str) else part


async def transcriptions(request: Request) -> Response:
    """Write down what a sound says, whole or with ``stream`` as server-sent events; it is the ``file`` of a form."""
    asked, file = await read_form(TranscriptionRequest, request)
    refuse_chains(asked.model, "do not listen")
    service, body = service_of(request), {"file": file, **asked.body()}
    stream = bool(asked.stream)
    target = service.target(asked.model, asked.provider)
    call = Asked(service.exchange("transcription", target, body, stream=stream))
    if stream:
        return await event_response(
            request, _events(call.exchange.words()), _failed, headers=lambda: call_headers(call)
        )
    answer = await unless_gone(request, call.exchange.transcribe())
    if asked.response_format in _AS_TEXT:
        return Response(answer["text"], media_type="text/plain", headers=call_headers(call))
    return json_response(answer, call_headers(call))


async def _events(words: AsyncGenerator[Json]) -> AsyncGenerator[bytes]:
    async with aclosing(words):
        async for word in words:
            yield event(word)


def _failed(error: Exception) -> bytes:
    return event({"type": "error", **body_of(error)})
