"""What users call on the service beside chats: embeddings, speech, transcription, prices and the list of providers."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from las_langchain.attachments import SoundFile, StrPath, sound_file
from las_langchain.batches import decoded, in_base64_first, ordered
from las_langchain.call_options import CallOptions, check_options, chosen_model
from las_langchain.chat_completions import ChatCompletions
from las_langchain.conversations import Messages, as_openai, messages_of, request_for
from las_langchain.errors import BadRequestError
from las_langchain.estimates import CostEstimate, estimate
from las_langchain.openai_objects import embeddings_of, load_types, transcription_of
from las_langchain.provider_list import ProviderInfo, list_providers
from las_langchain.providers import split_name
from las_langchain.transports import SpeechAnswer
from las_langchain.transports.background import synchronous
from las_langchain.transports.checks import check_messages

if TYPE_CHECKING:
    from openai.types import CreateEmbeddingResponse
    from openai.types.audio import Transcription, TranscriptionVerbose


Json = dict[str, Any]
Input = str | Sequence[str] | Sequence[int] | Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class Speech(SpeechAnswer):
    """A sound that was made of a text."""

    def write_to_file(self, path: StrPath) -> None:
        """Write the sound into a file, which is replaced if it exists."""
        Path(path).write_bytes(self.content)


class Completions(ChatCompletions):
    """The service's methods that take and give what OpenAI's users know."""

    @abstractmethod
    def count_tokens(self, model: str | None, body: Json) -> int:
        """The number of tokens of a chat request's ``messages`` and ``tools``."""

    async def acreate_embedding(
        self,
        input: Input,  # noqa: A002 - OpenAI's name
        model: str | None = None,
        provider: str | None = None,
        *,
        dimensions: int | None = None,
        encoding_format: Literal["float", "base64"] | None = None,
        user: str | None = None,
        **options: Unpack[CallOptions],
    ) -> CreateEmbeddingResponse:
        """Embed texts.

        Args:
            input: a text, texts, or the tokens of one or several.
            model: its id or bare name; default: the settings' embedding model.
            provider: the provider, if *model* does not name it.
            dimensions: length of the vectors, where the model can choose.
            encoding_format: ``base64`` for vectors as text; default: lists of numbers.
            user: the end user's id, for the provider's abuse detection.
            options: as for :meth:`chat_completion`: ``timeout``, ``max_retries``, ``api_key`` and so on.

        Returns:
            ``response.data[i].embedding``, in the order of *input*.

        Raises:
            BadRequestError: there is no text, one is empty, or an argument is wrong; the message names it.
            LASError: whatever else went wrong, after the retries.
        """
        setup = self._setup
        check_options(options, CallOptions, ("input", "model", "provider", "dimensions", "encoding_format", "user"))
        body: Json = {"input": _checked_input(input), "dimensions": dimensions, "user": user}
        body["extra_body"] = options.get("extra_body")
        target = await self._target(setup, model, provider, options, "embedding_model")
        await load_types()

        async def send(encoding: str | None) -> Json:
            request = request_for({**body, "encoding_format": encoding}, target)
            return await self.exchange("embeddings", target, request, max_retries=options.get("max_retries")).embed()

        answer = await in_base64_first(send, encoding_format, target.provider)
        data = ordered(answer, 1 if isinstance(input, str) or _is_tokens(input) else len(input))
        if encoding_format != "base64":
            data = [{**item, "embedding": decoded(item["embedding"])} for item in data]
        return embeddings_of({**answer, "data": data})

    create_embedding = synchronous(acreate_embedding)

    async def aspeech(
        self,
        input: str,  # noqa: A002 - OpenAI's name
        voice: str = "alloy",
        model: str | None = None,
        provider: str | None = None,
        *,
        response_format: str | None = None,
        speed: float | None = None,
        instructions: str | None = None,
        **options: Unpack[CallOptions],
    ) -> Speech:
        """Speak a text.

        Args:
            input: the text.
            voice: whose, by the provider's names.
            model: its id or bare name, such as ``openai/gpt-4o-mini-tts``.
            provider: the provider, if *model* does not name it.
            response_format: such as ``mp3`` or ``wav``; default: the provider's.
            speed: 1 is the voice's own.
            instructions: how to speak.
            options: as for :meth:`chat_completion`: ``timeout``, ``max_retries``, ``api_key`` and so on.

        Returns:
            ``content``, ``content_type`` and ``write_to_file(path)``.

        Raises:
            BadRequestError: an argument is wrong; the message names it.
            LASError: whatever else went wrong, after the retries.
        """
        setup = self._setup
        named = ("input", "voice", "model", "provider", "response_format", "speed", "instructions")
        _refuse_extra_body(options)
        check_options(options, CallOptions, named)
        if not isinstance(input, str) or not input.strip():
            raise BadRequestError("input: expected a text to speak", param="input")
        _check_named(model, "openai/gpt-4o-mini-tts")
        target = await self._target(setup, model, provider, options)
        body: Json = {"input": input, "voice": voice, "response_format": response_format, "speed": speed}
        request = request_for({**body, "instructions": instructions}, target)
        answer = await self.exchange("speech", target, request, max_retries=options.get("max_retries")).speak()
        return Speech(answer.content, answer.content_type)

    speech = synchronous(aspeech)

    async def atranscription(
        self,
        file: SoundFile,
        model: str | None = None,
        provider: str | None = None,
        *,
        language: str | None = None,
        prompt: str | None = None,
        response_format: str | None = None,
        temperature: float | None = None,
        timestamp_granularities: list[str] | None = None,
        **options: Unpack[CallOptions],
    ) -> Transcription | TranscriptionVerbose:
        """Write down what a sound says.

        Args:
            file: a path, the bytes, a name with the bytes, or a file opened for bytes; at most 100 MB.
            model: its id or bare name, such as ``openai/whisper-1``.
            provider: the provider, if *model* does not name it.
            language: of the sound, such as ``en``.
            prompt: a text that the sound goes on from, or whose spelling it shares.
            response_format: ``json``, ``verbose_json`` and so on; default: the provider's.
            temperature: of the sampling.
            timestamp_granularities: ``word``, ``segment``, with ``verbose_json``.
            options: as for :meth:`chat_completion`: ``timeout``, ``max_retries``, ``api_key`` and so on.

        Returns:
            ``.text``; with ``verbose_json`` also ``.segments``, ``.words``, ``.duration`` and ``.language``.

        Raises:
            BadRequestError: an argument is wrong; the message names it.
            LASError: whatever else went wrong, after the retries.
        """
        setup = self._setup
        named = ("file", "model", "provider", "language", "prompt", "response_format", "temperature",
                 "timestamp_granularities")  # fmt: skip
        _refuse_extra_body(options)
        check_options(options, CallOptions, named)
        body: Json = {"language": language, "prompt": prompt, "response_format": response_format}
        body |= {"temperature": temperature, "timestamp_granularities": timestamp_granularities}
        _check_named(model, "openai/whisper-1")
        target = await self._target(setup, model, provider, options)
        body["file"] = await asyncio.to_thread(sound_file, file)
        await load_types()
        request = request_for(body, target)
        exchange = self.exchange("transcription", target, request, max_retries=options.get("max_retries"))
        return transcription_of(await exchange.transcribe())

    transcription = synchronous(atranscription)

    def estimate_cost(
        self,
        model: str | None = None,
        input_tokens: int | None = None,
        output_tokens: int = 0,
        *,
        provider: str | None = None,
        cached_tokens: int = 0,
        messages: Messages | None = None,
    ) -> CostEstimate:
        """Say what a call would cost, by the public price list; nobody is asked and no key is needed.

        Args:
            model: its id or bare name; default: the settings'.
            input_tokens: tokens that it reads, those in the provider's cache included.
            output_tokens: tokens that it writes.
            provider: the provider, if *model* does not name it.
            cached_tokens: of *input_tokens*, those in the provider's cache.
            messages: in place of *input_tokens*, a conversation whose tokens are counted in this process.

        Returns:
            Prices in US dollars; None where the model's are not known.

        Raises:
            BadRequestError: a count is no whole number from 0, or there is neither a count nor messages.
            ModelNotFoundError: no such provider.
        """
        name = "/".join(split_name(chosen_model(model, provider, self.settings), self.settings))
        if (input_tokens is None) == (messages is None):
            raise BadRequestError("input_tokens: expected a number of tokens, or messages", param="input_tokens")
        if messages is not None:
            from las_langchain.messages import countable

            sent = as_openai(messages_of(messages), name.partition("/")[0])
            check_messages(sent)
            input_tokens = self.count_tokens(name, {"messages": countable(sent)})
        return estimate(name, input_tokens or 0, output_tokens, cached_tokens)

    def list_providers(self) -> list[ProviderInfo]:
        """The providers: what they offer, which key they need, and whether it is set."""
        return list_providers(self.settings)


def _checked_input(given: Any) -> Any:
    """*given*, if it is a text, texts, or tokens of one or several.

    Raises:
        BadRequestError: it is not, or holds nothing; ``param`` names the place.
    """
    if isinstance(given, str) and given:
        return given
    if not isinstance(given, Sequence) or isinstance(given, bytes):
        raise BadRequestError(f"input: expected a text or a list of texts, not {type(given).__name__}", param="input")
    if not given:
        raise BadRequestError("input: expected a text or a list of texts that is not empty", param="input")
    if not _is_tokens(given):
        for index, item in enumerate(given):
            if not (isinstance(item, str) and item) and not _is_tokens(item):
                raise BadRequestError(f"input[{index}]: expected a text that is not empty", param=f"input[{index}]")
    return list(given)


def _is_tokens(given: Any) -> bool:
    return isinstance(given, (list, tuple)) and bool(given) and all(type(item) is int for item in given)


def _check_named(model: str | None, example: str) -> None:
    """Check that there is a model: for sounds there is no default."""
    if not model:
        raise BadRequestError(f"model: name one, such as {example}", param="model")


def _refuse_extra_body(options: CallOptions) -> None:
    if options.get("extra_body"):
        raise BadRequestError("extra_body: requests about sounds have none", param="extra_body")
