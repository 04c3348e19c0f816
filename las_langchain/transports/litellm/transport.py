"""The transport for every provider that litellm reaches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Any

import litellm

from las_langchain import errors
from las_langchain.providers import Target
from las_langchain.transports import Event, SpeechAnswer
from las_langchain.transports.clock import Clock
from las_langchain.transports.litellm.answers import chunk_of, clean_completion, clean_embeddings
from las_langchain.transports.litellm.audio import speak, stream_speech, stream_transcription, transcribe
from las_langchain.transports.litellm.callbacks import Callbacks
from las_langchain.transports.litellm.completions import complete_text, stream_text
from las_langchain.transports.litellm.failures import explained, translated
from las_langchain.transports.litellm.requests import chat_arguments, embedding_arguments
from las_langchain.transports.litellm.streams import Order, Tap
from las_langchain.transports.litellm.worker import hand_over

Json = dict[str, Any]


class LiteLLMTransport:
    """Sends requests to any provider that litellm knows."""

    def __init__(self) -> None:
        self._callbacks = Callbacks()

    async def acomplete(self, target: Target, body: Json) -> Json:
        """See :class:`~las_langchain.transports.Transport`."""
        self._callbacks.settle()
        with translated(target, body):
            async with asyncio.timeout(target.timeout):
                response = await litellm.acompletion(**chat_arguments(target, body))
            return clean_completion(response.model_dump())

    async def astream(self, target: Target, body: Json) -> AsyncGenerator[list[Event]]:
        """See :class:`~las_langchain.transports.Transport`."""
        self._callbacks.settle()
        with translated(target, body), Clock(target) as clock:
            async with clock.patience():
                stream = await litellm.acompletion(**chat_arguments(target, body), stream=True)
            hand_over(stream.logging_obj)
            tap, order = Tap(stream, whole_calls=target.provider == "ollama"), Order()
            try:
                cleaned: Json = {"choices": []}
                while True:
                    async with clock.patience():
                        chunk = await anext(stream, None)
                    cleaned = {**cleaned, "choices": []} if chunk is None else chunk_of(chunk, tap.model)
                    if chunk is None or any(choice.get("finish_reason") for choice in cleaned["choices"]):
                        _check_whole(stream, tap, at_end=chunk is None)
                    for said in (*tap.take(cleaned), order.restore(cleaned), *tap.ends(cleaned)):
                        if said is not None and (chunk is not None or said["choices"]):
                            with clock.stopped():
                                yield [Event(said)]
                            clock.heard(said)
                    if chunk is None:
                        break
            finally:
                await stream.aclose()

    async def acomplete_text(self, target: Target, body: Json) -> Json:
        """See :class:`~las_langchain.transports.Transport`."""
        self._callbacks.settle()
        with translated(target, body), explained():
            async with asyncio.timeout(target.timeout):
                return await complete_text(target, body)

    async def astream_text(self, target: Target, body: Json) -> AsyncGenerator[list[Event]]:
        """See :class:`~las_langchain.transports.Transport`."""
        self._callbacks.settle()
        with translated(target, body), explained():
            async with aclosing(stream_text(target, body)) as chunks:
                async for chunk in chunks:
                    yield [Event(chunk)]

    async def aembed(self, target: Target, body: Json) -> Json:
        """See :class:`~las_langchain.transports.Transport`."""
        self._callbacks.settle()
        with translated(target, body), explained():
            async with asyncio.timeout(target.timeout):
                response = await litellm.aembedding(**embedding_arguments(target, body))
            return clean_embeddings(response.model_dump(), body.get("encoding_format"))

    async def aspeak(self, target: Target, body: Json) -> SpeechAnswer:
        """See :class:`~las_langchain.transports.Transport`."""
        self._callbacks.settle()
        with translated(target):
            async with asyncio.timeout(target.timeout):
                return await speak(target, body)

    async def astream_speech(self, target: Target, body: Json) -> AsyncGenerator[str | bytes]:
        """See :class:`~las_langchain.transports.Transport`."""
        self._callbacks.settle()
        with translated(target):
            async with aclosing(stream_speech(target, body)) as parts:
                async for part in parts:
                    yield part

    async def astream_transcription(self, target: Target, body: Json) -> AsyncGenerator[Json]:
        """See :class:`~las_langchain.transports.Transport`."""
        self._callbacks.settle()
        with translated(target):
            async with aclosing(stream_transcription(target, body)) as events:
                async for event in events:
                    yield event

    async def atranscribe(self, target: Target, body: Json) -> Json:
        """See :class:`~las_langchain.transports.Transport`."""
        self._callbacks.settle()
        with translated(target):
            async with asyncio.timeout(target.timeout):
                return await transcribe(target, body)

    def use_callbacks(self, names: Iterable[str], *, log_prompts: bool) -> None:
        """Have litellm report to the services called *names*.

        Raises:
            ConfigurationError: litellm knows no callback of such a name.
        """
        self._callbacks.use(names, log_prompts=log_prompts)

    def tokenize(self, model: str, text: str) -> list[int]:
        """See :class:`~las_langchain.transports.Transport`."""
        tokens = litellm.encode(model=model, text=text)
        return list(getattr(tokens, "ids", tokens))

    def count_tokens(self, model: str, body: Json) -> int:
        """See :class:`~las_langchain.transports.Transport`; an image counts as litellm's average one."""
        return int(
            litellm.token_counter(
                model=model,
                messages=body["messages"],
                tools=body.get("tools") or None,
                # litellm would fetch an image to measure it.
                use_default_image_token_count=True,
            )
        )


def _check_whole(stream: Any, tap: Tap, *, at_end: bool) -> None:
    # litellm ends a stream that was cut as if the model had finished; these are the only traces.
    if (stream.received_finish_reason is None and not tap.ended) or (at_end and tap.unfinished):
        raise errors.APIConnectionError("The stream ended before the answer was whole")
