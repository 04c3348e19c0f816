"""The transport of ``local/…``: OpenAI-shaped requests answered by llama.cpp in this process."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import json
import logging
import struct
from collections.abc import AsyncGenerator
from typing import Any

from las_langchain.errors import BadRequestError, ContextWindowExceededError, ModelNotFoundError
from las_langchain.providers import Target
from las_langchain.settings import EMBEDDED_EMBEDDINGS, LASSettings, local_chat_model
from las_langchain.texts import joined_text
from las_langchain.transports import Event, SpeechAnswer, one_by_one
from las_langchain.transports.checks import check_messages
from las_langchain.transports.local import requests, tools
from las_langchain.transports.local.answers import TextAnswer, ToolAnswer, joined
from las_langchain.transports.local.completions import TextCompletion
from las_langchain.transports.local.engine import Engine, EngineConfig, get_engine
from las_langchain.transports.local.runs import Clock
from las_langchain.transports.local.weights import CHAT, EMBEDDINGS, installed_path

Json = dict[str, Any]
logger = logging.getLogger(__name__)

EMBEDDING_TOKENS = 512
"""The longest text that the embedding model reads, in tokens; the rest is cut off."""

BATCH = 16
"""Texts embedded in one go: so long a cancelled call, or Ctrl+C, has to wait."""

# SmolLM2's own template with another default system message: with the original one ("You are a helpful AI assistant
# named SmolLM, …") the quantised model drifts into other languages on short questions.
SMOLLM2_TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\n"
    "You are a helpful assistant that gives short, correct answers.<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class LocalTransport:
    """Answers chat and embedding requests with the embedded models, or with the GGUF file that the settings name.

    Args:
        settings: model files, context, threads.
    """

    def __init__(self, settings: LASSettings) -> None:
        self._settings = settings

    async def acomplete(self, target: Target, body: Json) -> Json:
        """See :class:`~las_langchain.transports.Transport`."""
        return joined([chunk async for chunk in self._astream(target, body, Clock(target.timeout))])

    def astream(self, target: Target, body: Json) -> AsyncGenerator[list[Event]]:
        """See :class:`~las_langchain.transports.Transport`."""
        return one_by_one(self._astream(target, body, Clock(target.timeout, target.stream_timeout)))

    async def acomplete_text(self, target: Target, body: Json) -> Json:
        """See :class:`~las_langchain.transports.Transport`."""
        return joined_text([chunk async for chunk in self._astream_text(target, body, Clock(target.timeout))])

    def astream_text(self, target: Target, body: Json) -> AsyncGenerator[list[Event]]:
        """See :class:`~las_langchain.transports.Transport`."""
        return one_by_one(self._astream_text(target, body, Clock(target.timeout, target.stream_timeout)))

    async def aembed(self, target: Target, body: Json) -> Json:
        """See :class:`~las_langchain.transports.Transport`; cancelled between two batches.

        Texts of more than 512 tokens are cut, with a warning in the log, as sentence encoders do.
        """
        clock, batches = Clock(target.timeout), _batches(target, body)
        return _embeddings(target, body, [await asyncio.to_thread(self._vectors, batch, clock) for batch in batches])

    async def aspeak(self, target: Target, body: Json) -> SpeechAnswer:
        """See :class:`~las_langchain.transports.Transport`; no embedded model speaks."""
        raise _mute(target)

    async def astream_speech(self, target: Target, body: Json) -> AsyncGenerator[str | bytes]:
        """See :class:`~las_langchain.transports.Transport`; no embedded model speaks."""
        raise _mute(target)
        yield b""

    async def astream_transcription(self, target: Target, body: Json) -> AsyncGenerator[Json]:
        """See :class:`~las_langchain.transports.Transport`; no embedded model listens."""
        yield await self.atranscribe(target, body)

    async def atranscribe(self, target: Target, body: Json) -> Json:
        """See :class:`~las_langchain.transports.Transport`; no embedded model listens."""
        raise BadRequestError(
            f"{target.id} does not transcribe; name a model that does, such as openai/whisper-1", param="model"
        )

    async def _astream(self, target: Target, body: Json, clock: Clock) -> AsyncGenerator[Json]:
        # Loading the model and choosing a tool take up to a second.
        engine, answer = await asyncio.to_thread(self._prepare, target, body, clock)
        for engine_body in answer.bodies():
            async with contextlib.aclosing(engine.astream(engine_body, clock)) as chunks:
                async for chunk in chunks:
                    for piece in answer.feed(chunk):
                        yield piece
                        clock.heard()
        for piece in answer.end():
            yield piece

    async def _astream_text(self, target: Target, body: Json, clock: Clock) -> AsyncGenerator[Json]:
        answer = TextCompletion(target.id, body)
        engine = await asyncio.to_thread(get_engine, self._chat_config(target.id))
        for place, prompt in enumerate(answer.prompts):
            said = prompt if isinstance(prompt, str) else ""
            if body.get("echo") and not isinstance(prompt, str):
                said = await asyncio.to_thread(engine.text_of, prompt)
            for piece in answer.echo(place, said):
                yield piece
            async with contextlib.aclosing(engine.astream(answer.body(prompt), clock)) as chunks:
                async for chunk in chunks:
                    for piece in answer.feed(place, chunk):
                        yield piece
                        clock.heard()
        yield answer.end()

    def _prepare(self, target: Target, body: Json, clock: Clock) -> tuple[Engine, TextAnswer]:
        """Load the model and decide how to answer: in words, or with tool calls."""
        check_messages(body.get("messages"))
        engine = get_engine(self._chat_config(target.id))
        messages = requests.checked_messages(body["messages"], sees=engine.sees)
        body = {**body, "messages": messages}
        functions = tools.offered(body)
        embed = functools.partial(self._embed_texts, clock=clock)
        chosen = None if engine.calls_tools and _free(body) else tools.choose_tool(body, embed)
        rest = {key: value for key, value in body.items() if key not in requests.TOOL_FIELDS}
        said = messages if engine.calls_tools else _plain(messages, chosen)
        words = requests.engine_body({**rest, "messages": said}, native_tools=engine.calls_tools)
        calls = chosen is not None or (engine.calls_tools and functions and body.get("tool_choice") != "none")
        if not calls:
            return engine, TextAnswer(target.id, words)
        requests.refuse_with_tools(body)
        answer = ToolAnswer(
            target.id,
            words,
            functions,
            chosen,
            tools.last_request(messages),
            required=not _free(body),
            native=_native(engine, body, functions, chosen) if engine.calls_tools else None,
            max_tokens=words.get("max_tokens"),
        )
        return engine, answer

    def tokenize(self, model: str, text: str) -> list[int]:
        """See :class:`~las_langchain.transports.Transport`."""
        return get_engine(self._chat_config(model)).tokenize(text)

    def count_tokens(self, model: str, body: Json) -> int:
        """See :class:`~las_langchain.transports.Transport`; by the model's own template."""
        engine = get_engine(self._chat_config(model))
        messages = requests.checked_messages(body["messages"], sees=engine.sees)
        tools = json.dumps(body["tools"]) if body.get("tools") else ""
        return len(engine.tokenize(engine.render(_plain(messages, None)) + tools))

    def _chat_config(self, model: str) -> EngineConfig:
        settings, own = self._settings, self._settings.local_model
        if model != (known := local_chat_model(own)):
            raise _unknown(model, "chat", known)
        return EngineConfig(
            model=own or installed_path(CHAT, settings.data_dir),
            mmproj=settings.local_mmproj,
            context=settings.local_context,
            parallel=settings.local_parallel,
            threads=settings.local_threads,
            batch_threads=settings.local_batch_threads,
            max_tokens=settings.local_max_tokens,
            chat_template=None if own else SMOLLM2_TEMPLATE,
            # Small models wander at the engine's 0.8.
            temperature=None if own else 0.1,
            top_p=None if own else 0.9,
        )

    def _embedder(self) -> Engine:
        threads = self._settings.local_batch_threads
        return get_engine(
            EngineConfig(
                model=installed_path(EMBEDDINGS, self._settings.data_dir),
                context=4 * EMBEDDING_TOKENS,
                threads=threads,
                batch_threads=threads,
                embedding=True,
            )
        )

    def _embed_texts(self, texts: list[str], clock: Clock) -> list[list[float]]:
        return self._vectors(texts, clock)[0]

    def _vectors(self, inputs: list[str] | list[list[int]], clock: Clock) -> tuple[list[list[float]], int]:
        """The vectors of *inputs* in their order, and the number of tokens read."""
        engine = self._embedder()
        try:
            answer = engine.embed(inputs, clock)
        except ContextWindowExceededError:
            if len(inputs) == 1:
                return self._vectors([_shortened(inputs[0], engine)], clock)
            parts = [self._vectors(inputs[i : i + 1], clock) for i in range(len(inputs))]
            return [vector for vectors, _ in parts for vector in vectors], sum(tokens for _, tokens in parts)
        ordered = sorted(answer["data"], key=lambda item: item["index"])
        return [item["embedding"] for item in ordered], answer["usage"]["prompt_tokens"]


def _mute(target: Target) -> BadRequestError:
    return BadRequestError(f"{target.id} does not speak; name a model that does, such as openai/tts-1", param="model")


def _free(body: Json) -> bool:
    """Whether the model may answer in words."""
    return body.get("tool_choice") in (None, "auto", "none")


def _plain(messages: list[Json], chosen: Json | None) -> list[Json]:
    """*messages* for a template without tools."""
    if chosen is None and messages[-1]["role"] == "tool":
        return tools.answer_messages(messages)
    return tools.without_tools(messages)


def _native(engine: Engine, body: Json, functions: list[Json], chosen: Json | None) -> Json:
    """What to ask a model that knows tools."""
    if not _free(body):
        # The engine takes no named choice: offer that tool alone.
        functions = [chosen] if isinstance(body["tool_choice"], dict) and chosen else functions
        body = {**body, "tool_choice": "required"}
    offered = [{"type": "function", "function": function} for function in functions]
    return requests.engine_body({**body, "tools": offered}, native_tools=True)


def _unknown(model: str, kind: str, known: str) -> ModelNotFoundError:
    return ModelNotFoundError(
        f"There is no local {kind} model {model.removeprefix('local/')!r}, only {known}; name others provider/model",
        param="model",
        provider="local",
    )


def _batches(target: Target, body: Json) -> list[list[Any]]:
    """The checked inputs of an embeddings request, so many at a time that none keeps the engine for long."""
    if target.id != EMBEDDED_EMBEDDINGS:
        raise _unknown(target.id, "embedding", EMBEDDED_EMBEDDINGS)
    _check_embedding_fields(body)
    inputs = requests.texts(body.get("input"))
    return [inputs[start : start + BATCH] for start in range(0, len(inputs), BATCH)]


def _embeddings(target: Target, body: Json, results: list[tuple[list[list[float]], int]]) -> Json:
    """OpenAI's answer, made of the vectors and token counts of all batches."""
    encode = _base64 if body.get("encoding_format") == "base64" else list
    vectors = [vector for batch, _ in results for vector in batch]
    tokens = sum(count for _, count in results)
    data = [{"object": "embedding", "index": i, "embedding": encode(vector)} for i, vector in enumerate(vectors)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": target.id, "usage": usage}


def _check_embedding_fields(body: Json) -> None:
    unknown = body.keys() - {"input", "encoding_format", "dimensions", "user"}
    if unknown:
        name = min(unknown)
        raise BadRequestError(f"The local embedding model does not know the parameter {name!r}", param=name)
    if body.get("encoding_format") not in (None, "float", "base64"):
        raise BadRequestError("encoding_format: expected float or base64", param="encoding_format")
    if body.get("dimensions") not in (None, 384):
        raise BadRequestError("dimensions: the local embedding model has 384 and no others", param="dimensions")


def _shortened(text: str | list[int], engine: Engine) -> list[int]:
    """The tokens of *text*, as many as the model reads, the last of them its mark of the end."""
    tokens = engine.tokenize(text) if isinstance(text, str) else text
    logger.warning("A text of %s tokens was cut to its first %s before embedding", len(tokens), EMBEDDING_TOKENS)
    return [*tokens[: EMBEDDING_TOKENS - 1], tokens[-1]]


def _base64(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
