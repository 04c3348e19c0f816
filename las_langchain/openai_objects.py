"""Answers as the objects of the ``openai`` package, which is imported when the first one is made."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING, Any, Self, cast

from pydantic import BaseModel

if TYPE_CHECKING:
    from openai.types import CreateEmbeddingResponse
    from openai.types.audio import Transcription, TranscriptionVerbose
    from openai.types.chat import ChatCompletion, ChatCompletionChunk
    from openai.types.chat.chat_completion_chunk import Choice

Json = dict[str, Any]
_EMPTY_CHOICE: Json = {"index": 0, "delta": {}, "finish_reason": None}


async def load_types() -> None:
    """Import the classes without holding up the event loop, which would take half a second."""
    if "openai.types.chat" not in sys.modules:
        await asyncio.to_thread(importlib.import_module, "openai.types.chat")


# pydantic's own: these classes' `construct` takes five times as long, and looks at each number of a vector.
_PLAIN: Any = cast("Any", BaseModel.model_construct).__func__

# The classes' `construct` checks nothing, so what they do not know of stays, and a provider's own values do too.


def completion_of(answer: Json) -> ChatCompletion:
    """A whole answer: ``completion.choices[0].message.content``."""
    from openai.types.chat import ChatCompletion

    return ChatCompletion.construct(**answer)


def chunk_of(chunk: Json) -> ChatCompletionChunk:
    """A chunk, with at least one choice, and a text in every one: ``chunk.choices[0].delta.content``."""
    from openai.types import CompletionUsage
    from openai.types.chat import ChatCompletionChunk

    made = {**chunk, "choices": [_choice_of(choice) for choice in chunk["choices"] or [_EMPTY_CHOICE]]}
    if chunk.get("usage"):
        made["usage"] = CompletionUsage.construct(**chunk["usage"])
    result: ChatCompletionChunk = _PLAIN(ChatCompletionChunk, **made)
    return result


def _choice_of(choice: Json) -> Choice:
    from openai.types.chat.chat_completion_chunk import Choice, ChoiceDelta

    delta = choice.get("delta") or {}
    delta = {**delta, "content": delta.get("content") or ""}
    if delta.get("tool_calls") or delta.get("function_call") or choice.get("logprobs"):
        return Choice.construct(**{**choice, "delta": delta})
    result: Choice = _PLAIN(Choice, **{**choice, "delta": _PLAIN(ChoiceDelta, **delta)})
    return result


def embeddings_of(answer: Json) -> CreateEmbeddingResponse:
    """Embeddings: ``response.data[0].embedding``."""
    from openai.types import CreateEmbeddingResponse, Embedding
    from openai.types.create_embedding_response import Usage

    made = {**answer, "data": [_PLAIN(Embedding, **item) for item in answer["data"]]}
    if answer.get("usage"):
        made["usage"] = Usage.construct(**answer["usage"])
    result: CreateEmbeddingResponse = _PLAIN(CreateEmbeddingResponse, **made)
    return result


def transcription_of(answer: Json) -> Transcription | TranscriptionVerbose:
    """What a sound says: ``transcription.text``, and ``.segments`` and ``.words`` where they were asked for."""
    from openai.types.audio import Transcription, TranscriptionVerbose

    verbose = {"segments", "words"} & answer.keys()
    return TranscriptionVerbose.construct(**answer) if verbose else Transcription.construct(**answer)


class ChatStream:
    """The chunks of an answer as they come; the first has come when this is made, so failures are raised then.

    Closing it, also by leaving a with statement, closes the connection. Another thread may close it while one waits for
    a chunk, for whom it ends then.

    Args:
        chunks: the answer's.

    Raises:
        LASError: the call failed.
    """

    def __init__(self, chunks: Generator[Json]) -> None:
        self._chunks = chunks
        self._first: Json | None = next(chunks)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ChatCompletionChunk:
        first, self._first = self._first, None
        return chunk_of(first if first is not None else next(self._chunks))

    def close(self) -> None:
        """End the call."""
        self._first = None
        self._chunks.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class AsyncChatStream:
    """Async form of :class:`ChatStream`, which another task may close."""

    def __init__(self, chunks: AsyncGenerator[Json], first: Json) -> None:
        self._chunks = chunks
        self._first: Json | None = first
        self._closed = False
        self._lock = asyncio.Lock()
        self._reader: asyncio.Task[Any] | None = None

    @classmethod
    async def begin(cls, chunks: AsyncGenerator[Json]) -> Self:
        """Wait for the first chunk; raises as :class:`ChatStream`."""
        await load_types()
        return cls(chunks, await anext(chunks))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ChatCompletionChunk:
        async with self._lock:
            if self._closed:
                raise StopAsyncIteration
            first, self._first = self._first, None
            return chunk_of(first if first is not None else await self._read())

    async def _read(self) -> Json:
        self._reader = reader = asyncio.current_task()
        try:
            return await anext(self._chunks)
        except asyncio.CancelledError:
            # Closing it cancels the read, and not its task, which somebody else may have cancelled as well.
            if not self._closed or reader is None or reader.uncancel():
                raise
            raise StopAsyncIteration from None
        finally:
            self._reader = None

    async def aclose(self) -> None:
        """End the call."""
        self._first, was_closed, self._closed = None, self._closed, True
        if self._reader is not None and not was_closed:
            self._reader.cancel()
        async with self._lock:
            await self._chunks.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()
