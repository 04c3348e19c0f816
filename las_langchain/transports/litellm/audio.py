"""Speech and transcription through litellm."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import litellm
import openai

from las_langchain.errors import APIError, BadRequestError
from las_langchain.providers import Target
from las_langchain.transports import SpeechAnswer
from las_langchain.transports.litellm.requests import call_arguments, refuse_unknown

Json = dict[str, Any]

SPEECH_FIELDS = frozenset("input voice response_format speed instructions".split())
TRANSCRIPTION_FIELDS = frozenset("file language prompt response_format temperature timestamp_granularities".split())
_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}


async def speak(target: Target, body: Json) -> SpeechAnswer:
    """Answer a speech request.

    Raises:
        BadRequestError: there is nothing to say.
    """
    refuse_unknown(body, SPEECH_FIELDS, target)
    if not isinstance(body.get("input"), str) or not body["input"].strip():
        raise BadRequestError("input: expected text to speak", param="input")
    async with _sending_headers(target) as client:
        response = await litellm.aspeech(**_arguments(target, body), **client)
    content = bytes(response.content)
    if not content:
        raise APIError("The provider sent an empty sound")
    said = response.response.headers.get("content-type", "").partition(";")[0]
    # Some servers call every sound a stream of bytes.
    known = said if said.startswith("audio/") else _TYPES.get(str(body.get("response_format") or "mp3"), said)
    return SpeechAnswer(content, known)


async def transcribe(target: Target, body: Json) -> Json:
    """Answer a transcription request."""
    refuse_unknown(body, TRANSCRIPTION_FIELDS, target)
    async with _sending_headers(target) as client:
        response = await litellm.atranscription(**_arguments(target, body), **client)
    answer = response if isinstance(response, dict) else response.model_dump()
    return {name: value for name, value in answer.items() if value is not None and not name.startswith("_")}


@contextlib.asynccontextmanager
async def _sending_headers(target: Target) -> AsyncIterator[Json]:
    """The client for a request with headers, which litellm's own would forget."""
    if not target.headers:
        yield {}
        return
    if target.provider != "openai":
        raise BadRequestError(f"headers: litellm sends none with sounds of {target.provider}", param="extra_headers")
    async with openai.AsyncOpenAI(
        api_key=target.api_key.get_secret_value() if target.api_key else "none",
        base_url=target.api_base,
        default_headers=target.headers,
        timeout=target.timeout,
        max_retries=0,
    ) as client:
        yield {"client": client}


def _arguments(target: Target, body: Json) -> Json:
    given = {name: value for name, value in body.items() if value is not None}
    return {**given, **call_arguments(target), "model": target.litellm_model}
