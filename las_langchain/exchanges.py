"""One request to a model, from the budget over the cache and the tries to the ledger."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from functools import cached_property
from types import TracebackType
from typing import Any, TypeVar

import orjson

from las_langchain.caches import cache_key
from las_langchain.errors import APIError
from las_langchain.prices import cost_of, speech_cost, transcription_cost
from las_langchain.providers import Target
from las_langchain.records import CallRecord, Observer, Operation, Tokens
from las_langchain.setups import Setup
from las_langchain.transports import Event, SoundTransport, SpeechAnswer, Transport, chunks_of
from las_langchain.tries import Ask, Find, Request, Tries

Json = dict[str, Any]
T = TypeVar("T")

_LETTERS_A_TOKEN = 4
_LEFT = (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt)


class Exchange:
    """One request, from the budget to the ledger.

    Args:
        setup: the settings that it keeps to its end.
        operation: what is asked for.
        target: whom to ask first.
        request: OpenAI's request without ``model`` and ``stream``.
        find: finds a transport by its name.
        observers: are told when it begins and ends.
        stream: whether the answer comes in chunks.
        max_retries: further tries after a retryable failure; None: the settings'.
        alone: whether only *target* itself is to answer: no cache, no fallback.

    Attributes:
        record: what becomes of it.
    """

    def __init__(
        self,
        setup: Setup,
        operation: Operation,
        target: Target,
        request: Request,
        find: Find,
        observers: Sequence[Observer] = (),
        *,
        stream: bool = False,
        max_retries: int | None = None,
        alone: bool = False,
    ) -> None:
        self.record = CallRecord(operation, target.asked or target.id, target.id, stream=stream)
        self._setup, self._first, self._observers = setup, target, observers
        self._tries = Tries(setup, target, request, self.record, find, max_retries, alone=alone)
        self._cache = None if alone else setup.cache
        self._first_body = self._tries.body
        self._answer: Json | None = None
        self._said = 0

    @property
    def target(self) -> Target:
        """The model that was asked last; in the end, the one that answered."""
        return self._tries.target

    async def complete(self) -> Json:
        """The whole answer to a chat, or to the prompt of a completion.

        Raises:
            LASError: whatever went wrong, after the retries and the fallbacks.
        """
        if self.record.operation == "text_completion":
            return await self._answered(lambda transport, target, body: transport.acomplete_text(target, body))
        return await self._answered(lambda transport, target, body: transport.acomplete(target, body))

    async def embed(self) -> Json:
        """The embeddings; failures as for :meth:`complete`."""
        return await self._answered(lambda transport, target, body: transport.aembed(target, body))

    async def transcribe(self) -> Json:
        """The words of a sound; failures as for :meth:`complete`."""
        async with self:
            answer: Json = await self._tries.run(lambda transport, target, body: transport.atranscribe(target, body))
            self.record.tokens = Tokens.of_sound(answer.get("usage"))
            self.record.cost_usd = transcription_cost(self.record.model, answer, self.target.prices)
            return answer

    async def speak(self) -> SpeechAnswer:
        """The sound of words; failures as for :meth:`complete`."""
        async with self:
            answer: SpeechAnswer = await self._tries.run(lambda transport, target, body: transport.aspeak(target, body))
            text = str(self._first_body.get("input", ""))
            self.record.cost_usd = speech_cost(self.record.model, text, self.target.prices)
            return answer

    async def sound(self) -> AsyncGenerator[str | bytes]:
        """The sound of words as it comes: first its media type, then its parts; failures as for :meth:`complete`."""
        async with self:
            first, rest = await self._tries.run(_begin_speech)
            self.record.first_token_seconds = self.record.elapsed
            text = str(self._first_body.get("input", ""))
            self.record.cost_usd = speech_cost(self.record.model, text, self.target.prices)
            async with aclosing(rest):
                yield first
                async for part in rest:
                    yield part

    async def words(self) -> AsyncGenerator[Json]:
        """The words of a sound as OpenAI's events; failures as for :meth:`complete`."""
        async with self:
            first, rest = await self._tries.run(_begin_transcription)
            self.record.first_token_seconds = self.record.elapsed
            event: Json | None = first
            async with aclosing(rest):
                while event is not None:
                    self.record.tokens = Tokens.of_sound(event.get("usage")) or self.record.tokens
                    if event.get("usage"):
                        self.record.cost_usd = transcription_cost(self.record.model, event, self.target.prices)
                    yield event
                    event = await anext(rest, None)

    async def _answered(self, ask: Ask[Json]) -> Json:
        """What *ask* returns, or the cache has."""
        async with self:
            stored = await self._stored()
            if stored is None:
                self._answer = await self._tries.run(ask)
                await self._keep(self._answer)
            else:
                self._answer = {**stored, "cache_hit": True}
            self._note(self._answer)
            return self._answer

    def chunks(self) -> AsyncGenerator[Json]:
        """The answer in chunks, out of the cache or from the model; failures as for :meth:`complete`.

        Closing the generator closes the connection.
        """
        return chunks_of(self.events())

    async def events(self) -> AsyncGenerator[list[Event]]:
        """The same, together what has come together, and each chunk beside what the provider wrote."""
        async with self:
            stored = await self._stored()
            if stored is not None:
                for chunk in _replayed(stored):
                    self._note_chunk(chunk)
                    yield [Event(chunk)]
                return
            wants_usage = bool((self._tries.body.get("stream_options") or {}).get("include_usage"))
            first, rest = await self._tries.run(_begin_text if self.record.operation == "text_completion" else _begin)
            self.record.first_token_seconds = self.record.elapsed
            kept: list[Json] = []
            fresh: list[Event] | None = first
            async with aclosing(rest):
                while fresh is not None:
                    for event in fresh:
                        self._note_chunk(event.chunk)
                    told = fresh if wants_usage else [event for event in fresh if event.chunk["choices"]]
                    if told and self._cache is not None:
                        # The reader may do with its chunks what it likes.
                        kept += [_copied(event.chunk) for event in told]
                    if told:
                        yield told
                    fresh = await anext(rest, None)
            if kept:
                await self._keep(kept)

    # The record

    async def __aenter__(self) -> None:
        await self._setup.budgets.acheck(self.record.caller)
        for observer in self._observers:
            observer.began(self.record, self._first_body)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        left, record = isinstance(error, _LEFT), self.record
        begun = record.first_token_seconds is not None
        if record.stream and record.tokens is None and record.attempts and (left or begun):
            self._estimate()
        if left and len(record.finish_reasons) >= _answers(self._tries.body):
            # Only the end of the stream was left unread; the answer was whole.
            error = None
        record.ended("ok" if error is None else "cancelled" if left else "error", error)
        for observer in self._observers:
            observer.ended(record, self._answer)
        self._tries.end(error)
        await self._setup.store(record, waits=begun or not left)

    def _note_chunk(self, chunk: Json) -> None:
        """Note what a chunk says; most say a few letters."""
        for choice in chunk["choices"]:
            delta = choice.get("delta")
            if delta is None:
                self._said += len(choice.get("text") or "")
            elif len(delta) == 1 and isinstance(text := delta.get("content"), str):
                self._said += len(text)
            else:
                self._said += _letters(delta)
            if finish := choice.get("finish_reason"):
                self.record.finish_reasons.append(finish)
        if self.record.response_id is None or chunk.get("usage") or "cache_hit" in chunk:
            self._note_head(chunk)

    def _note(self, answer: Json) -> None:
        """Note what a whole answer says."""
        finishes = (choice.get("finish_reason") for choice in answer.get("choices") or ())
        self.record.finish_reasons += [finish for finish in finishes if finish]
        self._note_head(answer)

    def _note_head(self, answer: Json) -> None:
        """Note what an answer, or a chunk, says of itself."""
        record, usage = self.record, answer.get("usage")
        record.response_id = answer.get("id") or record.response_id
        record.response_model = answer.get("model") or record.response_model
        if tokens := Tokens.of(usage):
            record.tokens = tokens
            record.cost_usd = cost_of(record.model, usage, answer.get("service_tier"), self.target.prices)
        if answer.get("cache_hit"):
            record.cache_hit, record.cost_usd = True, 0.0

    def _estimate(self) -> None:
        """Guess the tokens of a stream, which are paid for, where the provider did not say them, or not in time."""
        body = self._tries.body
        texts = [part for message in body.get("messages") or () for part in _texts(message)]
        prompt = body.get("prompt") or ()
        texts += [prompt] if isinstance(prompt, str) else [part for part in prompt if isinstance(part, str)]
        tools = len(orjson.dumps(body["tools"])) if body.get("tools") else 0
        read = (sum(map(len, texts)) + tools) // _LETTERS_A_TOKEN + 1
        written = self._said // _LETTERS_A_TOKEN
        self.record.tokens, self.record.tokens_estimated = Tokens(read, written), True
        usage = {"prompt_tokens": read, "completion_tokens": written}
        self.record.cost_usd = cost_of(self.record.model, usage, own=self.target.prices)

    # The cache

    async def _stored(self) -> Any:
        return await self._cache.get(self._cache_key) if self._cache is not None else None

    async def _keep(self, answer: Any) -> None:
        # A fallback's answer is not to be served once the model itself answers again.
        is_own = self.target.asked == self._first.asked if self._first.asked else self.target.id == self._first.id
        if self._cache is not None and is_own:
            await self._cache.set(self._cache_key, answer)

    @cached_property
    def _cache_key(self) -> str:
        # The first target's, whichever deployment or fallback answers.
        return cache_key(self._first, "stream" if self.record.stream else self.record.operation, self._first_body)


def _asking_for_usage(body: Json) -> Json:
    """*body* as it is sent: the ledger counts tokens whether or not the caller wants to see them.

    A caller who says no, since the server does not know the field, has it left out.
    """
    options = {"include_usage": True, **(body.get("stream_options") or {})}
    if not options["include_usage"]:
        del options["include_usage"]
    return {
        **{name: value for name, value in body.items() if name != "stream_options"},
        **({"stream_options": options} if options else {}),
    }


async def _begin(transport: Transport, target: Target, body: Json) -> tuple[list[Event], AsyncGenerator[list[Event]]]:
    return await _begun(transport.astream(target, _asking_for_usage(body)))


async def _begin_text(
    transport: Transport, target: Target, body: Json
) -> tuple[list[Event], AsyncGenerator[list[Event]]]:
    return await _begun(transport.astream_text(target, _asking_for_usage(body)))


async def _begin_speech(
    transport: SoundTransport, target: Target, body: Json
) -> tuple[str | bytes, AsyncGenerator[str | bytes]]:
    return await _begun(transport.astream_speech(target, body))


async def _begin_transcription(
    transport: SoundTransport, target: Target, body: Json
) -> tuple[Json, AsyncGenerator[Json]]:
    return await _begun(transport.astream_transcription(target, body))


async def _begun(chunks: AsyncGenerator[T]) -> tuple[T, AsyncGenerator[T]]:
    first = await anext(chunks, None)
    if first is None:
        raise APIError("The provider sent an empty stream")
    return first, chunks


def _copied(chunk: Json) -> Json:
    copy: Json
    try:
        copy = orjson.loads(orjson.dumps(chunk))
    except orjson.JSONEncodeError:
        # Half of a letter, where the provider cut it into pieces.
        copy = json.loads(json.dumps(chunk))
    return copy


def _replayed(chunks: list[Json]) -> Iterable[Json]:
    """The chunks of a stored stream, the last of which says where they are from."""
    yield from chunks[:-1]
    yield {**chunks[-1], "cache_hit": True}


def _answers(body: Json) -> int:
    """How many answers a request asks for."""
    prompt, count = body.get("prompt"), int(body.get("n") or 1)
    if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int):
        return count * len(prompt)
    return count


def _letters(delta: Json) -> int:
    """The letters of a chunk that are paid for: words, thoughts, refusals and arguments of tools."""
    texts = [delta.get(name) for name in ("content", "reasoning_content", "refusal")]
    texts += [(call.get("function") or {}).get("arguments") for call in delta.get("tool_calls") or ()]
    return sum(len(text) for text in texts if isinstance(text, str))


def _texts(message: Any) -> Iterable[str]:
    content = message.get("content") if isinstance(message, dict) else None
    parts = content if isinstance(content, list) else [{"text": content}]
    return (part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))
