"""How a request reaches a model: OpenAI-shaped dicts in, OpenAI-shaped dicts out."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from las_langchain.providers import Target

Body = dict[str, Any]
"""A request as OpenAI's API defines it, without ``model`` and ``stream``; for a chunk or an answer, the response."""


@dataclass(frozen=True, slots=True)
class SpeechAnswer:
    """A sound.

    Attributes:
        content: its bytes.
        content_type: its media type, such as ``audio/mpeg``.
    """

    content: bytes
    content_type: str


class Event(NamedTuple):
    """A chunk of a stream.

    Attributes:
        chunk: what it says, for whoever reads it.
        raw: the same as the provider wrote it, where a client of OpenAI's can be given that; None: it cannot.
    """

    chunk: Body
    raw: bytes | None = None


async def one_by_one(chunks: AsyncGenerator[Body]) -> AsyncGenerator[list[Event]]:
    """*chunks* as the events of a stream of which nothing comes together."""
    async with aclosing(chunks):
        async for chunk in chunks:
            yield [Event(chunk)]


async def chunks_of(events: AsyncGenerator[list[Event]]) -> AsyncGenerator[Body]:
    """The chunks of *events*, one by one."""
    async with aclosing(events):
        async for together in events:
            for event in together:
                yield event.chunk


class Transport(Protocol):
    """One way to reach models.

    A transport raises only ``LASError``s, makes one attempt, closes its connection when its consumer stops, and does
    not read the environment: where a call goes, and with which key, is in the target. Synchronous calls are these ones
    on a loop in the background.
    """

    async def acomplete(self, target: Target, body: Body) -> Body:
        """Answer a chat request with one ``chat.completion``; cancelling it cancels the call."""
        ...

    def astream(self, target: Target, body: Body) -> AsyncGenerator[list[Event]]:
        """Answer a chat request with ``chat.completion.chunk`` objects, the usage in a last one without choices.

        What has come together is yielded together.
        """
        ...

    async def acomplete_text(self, target: Target, body: Body) -> Body:
        """Answer a completion request (``prompt``, ``echo``, …) with one ``text_completion``."""
        ...

    def astream_text(self, target: Target, body: Body) -> AsyncGenerator[list[Event]]:
        """Answer a completion request with chunks, as :meth:`astream` does."""
        ...

    async def aembed(self, target: Target, body: Body) -> Body:
        """Answer an embeddings request (``input``, ``dimensions``, …) with an embeddings ``list``."""
        ...


class SoundTransport(Transport, Protocol):
    """One that speaks and listens too."""

    async def aspeak(self, target: Target, body: Body) -> SpeechAnswer:
        """Answer a speech request (``input``, ``voice``, …)."""
        ...

    def astream_speech(self, target: Target, body: Body) -> AsyncGenerator[str | bytes]:
        """Answer a speech request as the sound comes: first its media type, then its parts."""
        ...

    def astream_transcription(self, target: Target, body: Body) -> AsyncGenerator[Body]:
        """Answer a transcription request with OpenAI's events, such as ``transcript.text.delta``."""
        ...

    async def atranscribe(self, target: Target, body: Body) -> Body:
        """Answer a transcription request (``file`` as name, bytes and content type; ``language``, …)."""
        ...


class Tokenizer(Protocol):
    """Counts tokens in this process."""

    def tokenize(self, model: str, text: str) -> list[int]:
        """The tokens of *text*, without asking anybody."""
        ...

    def count_tokens(self, model: str, body: Body) -> int:
        """The number of tokens of a request's ``messages`` and ``tools``, without asking anybody."""
        ...
