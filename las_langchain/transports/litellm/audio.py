"""Speech and transcription through litellm."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import litellm
import openai

from las_langchain.errors import APIConnectionError, APIError, BadRequestError
from las_langchain.providers import Target
from las_langchain.transports import SpeechAnswer
from las_langchain.transports.checks import refuse_unknown
from las_langchain.transports.clock import Clock
from las_langchain.transports.litellm.completions import openai_client
from las_langchain.transports.litellm.requests import call_arguments

Json = dict[str, Any]

SPEECH_FIELDS = frozenset("input voice response_format speed instructions stream_format".split())
TRANSCRIPTION_FIELDS = frozenset(
    "file language prompt response_format temperature timestamp_granularities include chunking_strategy keywords "
    "known_speaker_names known_speaker_references languages".split()
)
# What litellm passes on; for OpenAI the others go to its own client, which is also asked for streams.
_LITELLMS = frozenset("file language prompt response_format temperature timestamp_granularities".split())
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
    _check_speech(target, body)
    async with _sending_headers(target) as client:
        response = await litellm.aspeech(**_arguments(target, body), **client)
    content = bytes(response.content)
    if not content:
        raise APIError("The provider sent an empty sound")
    return SpeechAnswer(content, _media_type(response.response.headers.get("content-type", ""), body))


async def stream_speech(target: Target, body: Json) -> AsyncGenerator[str | bytes]:
    """Answer a speech request as the sound comes: first its media type, then its parts; failures as above."""
    if target.provider != "openai":
        answer = await speak(target, body)
        yield answer.content_type
        yield answer.content
        return
    _check_speech(target, body)
    fields = {name: value for name, value in body.items() if value is not None}
    async with contextlib.AsyncExitStack() as stack:
        clock = stack.enter_context(Clock(target))
        async with clock.patience():
            sending = openai_client(target).audio.speech.with_streaming_response.create(
                model=target.model, extra_headers=dict(target.headers), **fields
            )
            response = await stack.enter_async_context(sending)
        yield _media_type(response.headers.get("content-type", ""), body)
        parts, silent = response.iter_bytes(), True
        while True:
            async with clock.patience():
                part = await anext(parts, None)
            if part is None and silent:
                raise APIError("The provider sent an empty sound")
            if part is None:
                return
            silent = False
            with clock.stopped():
                yield part
            clock.hear()


async def stream_transcription(target: Target, body: Json) -> AsyncGenerator[Json]:
    """Answer a transcription request with OpenAI's events.

    Raises:
        BadRequestError: the provider has no such streams.
    """
    refuse_unknown(body, TRANSCRIPTION_FIELDS, target)
    if target.provider != "openai":
        raise BadRequestError(f"stream: {target.id} sends its words only when it has heard all", param="stream")
    kind = None
    with Clock(target) as clock:
        async with clock.patience():
            stream = await openai_client(target).audio.transcriptions.create(**_given(target, body), stream=True)
        async with stream:
            events = aiter(stream)
            while True:
                async with clock.patience():
                    event = await anext(events, None)
                if event is None:
                    break
                kind = event.type
                with clock.stopped():
                    yield event.model_dump(exclude_unset=True)
                clock.hear()
    if kind != "transcript.text.done":
        raise APIConnectionError("The stream ended before the answer was whole")


async def transcribe(target: Target, body: Json) -> Json:
    """Answer a transcription request.

    Raises:
        BadRequestError: the provider does not take a field.
        APIError: there are no words in what it sent.
    """
    answer = await _transcribed(target, body)
    if not isinstance(answer.get("text"), str):
        raise APIError("The provider's answer has no text")
    return answer


async def _transcribed(target: Target, body: Json) -> Json:
    refuse_unknown(body, TRANSCRIPTION_FIELDS, target)
    if target.provider == "openai" and not _given(target, body).keys() <= _LITELLMS | {"model", "extra_headers"}:
        answer = await openai_client(target).audio.transcriptions.create(**_given(target, body))
        return {"text": answer} if isinstance(answer, str) else answer.model_dump(exclude_none=True)
    for name in body.keys() - _LITELLMS:
        if body[name] is not None:
            raise BadRequestError(f"{name}: litellm sends none to {target.provider}", param=name)
    async with _sending_headers(target) as client:
        response = await litellm.atranscription(**_arguments(target, body), **client)
    answer = response if isinstance(response, dict) else response.model_dump()
    return {name: value for name, value in answer.items() if value is not None and not name.startswith("_")}


def _check_speech(target: Target, body: Json) -> None:
    refuse_unknown(body, SPEECH_FIELDS, target)
    if not isinstance(body.get("input"), str) or not body["input"].strip():
        raise BadRequestError("input: expected text to speak", param="input")
    if body.get("stream_format") == "sse" and target.provider != "openai":
        raise BadRequestError(f"stream_format: {target.id} sends the sound alone", param="stream_format")


def _media_type(said: str, body: Json) -> str:
    kind = said.partition(";")[0]
    if body.get("stream_format") == "sse":
        return kind or "text/event-stream"
    # Some servers call every sound a stream of bytes.
    return kind if kind.startswith("audio/") else _TYPES.get(str(body.get("response_format") or "mp3"), kind)


def _given(target: Target, body: Json) -> Json:
    """What OpenAI's client is called with."""
    given = {name: value for name, value in body.items() if value is not None}
    return {**given, "model": target.model, "extra_headers": dict(target.headers)}


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
    given, arguments = {name: value for name, value in body.items() if value is not None}, call_arguments(target)
    if target.litellm_model.startswith("hosted_vllm/"):
        # Without a key, which it need not have, litellm's client of it cannot be made.
        arguments["api_key"] = arguments["api_key"] or "none"
    return {**given, **arguments, "model": target.litellm_model}
