"""llama.cpp in this process: one engine a model file, started on first use, never shared across a fork.

What the engine needs to be told, and why, is beside each setting in :func:`_start_server`. Calls run in threads of
their own (the engine releases the GIL) and always stream inside, since only a streaming call can be stopped.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import ctypes
import http.client
import json
import os
import secrets
import threading
import time
import urllib.parse
import weakref
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from las_langchain.errors import APIError, BadRequestError, ConfigurationError, ContextWindowExceededError, LASError
from las_langchain.transports.local.runs import Chunk, Clock, Emit, Run, Slots, closed, timed_out

GGUF_MAGIC = b"GGUF"
ENDING_PATIENCE = 20.0
"""Seconds that the end of the process waits for its engines to rest."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """What an engine is started with; engines are shared by equal configurations.

    Attributes:
        model: the GGUF file.
        mmproj: the vision projector that belongs to it, or None.
        context: tokens that all calls running at the same time share.
        parallel: calls that are decoded at the same time; further ones wait.
        threads: threads that decode.
        batch_threads: threads that read prompts.
        max_tokens: longest answer where a request names none.
        embedding: whether it embeds texts instead of chatting.
        chat_template: Jinja template that replaces the file's own, or None.
        temperature: default sampling temperature, or None for the engine's.
        top_p: default nucleus size, or None for the engine's.
    """

    model: Path
    mmproj: Path | None = None
    context: int = 8192
    parallel: int = 4
    threads: int | None = None
    batch_threads: int | None = None
    max_tokens: int = 1024
    embedding: bool = False
    chat_template: str | None = None
    temperature: float | None = None
    top_p: float | None = None


class Engine:
    """One loaded model."""

    def __init__(self, config: EngineConfig) -> None:
        self._key = secrets.token_hex(16)
        self._server = _start_server(config, self._key)
        self._slots = Slots(config.parallel)
        self._runs: weakref.WeakSet[Run] = weakref.WeakSet()

    @cached_property
    def properties(self) -> dict[str, Any]:
        """What the engine says of the loaded model: context size, abilities of its chat template, modalities."""
        answer: dict[str, Any] = self._ask("GET", "/props")
        return answer

    @property
    def calls_tools(self) -> bool:
        """Whether the model's own chat template knows tools."""
        return bool(self.properties.get("chat_template_caps", {}).get("supports_tool_calls"))

    @property
    def sees(self) -> bool:
        """Whether images may be sent to it."""
        return bool(self.properties.get("modalities", {}).get("vision"))

    @property
    def working(self) -> bool:
        """Whether the engine has anything to do."""
        return any(slot["is_processing"] for slot in self._ask("GET", "/slots"))

    async def astream(self, body: Chunk, clock: Clock) -> AsyncGenerator[Chunk]:
        """Yield the engine's chunks for a request; stopping early stops the engine.

        Args:
            body: llama.cpp's request, which is OpenAI's with more fields: for a chat, or, with a prompt, a completion.
            clock: how long to wait for each chunk.

        Raises:
            APITimeoutError: the clock has run out.
            LASError: the engine refused the request or failed.
        """
        loop = asyncio.get_running_loop()
        chunks: asyncio.Queue[Chunk | LASError | None] = asyncio.Queue()
        run = self._start(body, lambda item: loop.call_soon_threadsafe(chunks.put_nowait, item))
        try:
            while (item := await _next(chunks, clock)) is not None:
                yield _chunk_or_raise(item)
        finally:
            run.cancel()

    def embed(self, texts: list[str] | list[list[int]], clock: Clock) -> Chunk:
        """Embed all *texts* in one batch and return the engine's answer.

        Raises:
            ContextWindowExceededError: one of them is too long; the message holds its number of tokens.
            APITimeoutError: the engine was not free in time.
        """
        with self._slots.held(patience=clock.left()):
            try:
                answer: Chunk = self._server.handle_embeddings({"input": texts})
            except Exception as error:
                raise BadRequestError(
                    f"The local engine refused the input: {_one_line(error)}", param="input", provider="local"
                ) from None
        if "error" in answer:
            raise _engine_error(answer["error"])
        return answer

    def tokenize(self, text: str) -> list[int]:
        """The tokens of *text*, those that mark its beginning and end included."""
        tokens: list[int] = self._ask("POST", "/tokenize", {"content": text, "add_special": True})["tokens"]
        return tokens

    def text_of(self, tokens: list[int]) -> str:
        """The text that *tokens* stand for."""
        return str(self._ask("POST", "/detokenize", {"tokens": tokens})["content"])

    def render(self, messages: list[dict[str, Any]]) -> str:
        """The prompt that the model's template makes of *messages*."""
        return str(self._ask("POST", "/apply-template", {"messages": messages})["prompt"])

    def close(self, patience: float) -> None:
        """Stop what is running and wait up to *patience* seconds until the engine rests.

        A process that ends while the engine works can crash in the destructors of its library.
        """
        deadline = time.monotonic() + patience
        self._slots.close()
        for run in list(self._runs):
            run.cancel()
        if not self._slots.wait_until_empty(patience):
            return
        # What was stopped goes on until the batch of tokens that it was in is done.
        while self.working and time.monotonic() < deadline:
            time.sleep(0.02)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """What the binding has no function for, the engine answers at its loopback port."""
        address = urllib.parse.urlsplit(self._server.listening_address)
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, json.dumps(body) if body else None, headers)
            return json.load(connection.getresponse())

    def _start(self, body: Chunk, emit: Emit) -> Run:
        answers = body.get("n") or 1
        if type(answers) is not int or not 1 <= answers <= self._slots.total:
            raise BadRequestError(
                f"n: the local model gives 1 to {self._slots.total} answers at a time; LAS_LOCAL_PARALLEL sets that",
                param="n",
                provider="local",
            )
        call = self._server.handle_completions if "prompt" in body else self._server.handle_chat_completions
        run = Run(call, body, self._slots, emit, _engine_error)
        self._runs.add(run)
        run.start()
        return run


async def _next(chunks: asyncio.Queue[Chunk | LASError | None], clock: Clock) -> Chunk | LASError | None:
    try:
        async with asyncio.timeout(clock.left()):
            return await chunks.get()
    except TimeoutError:
        raise timed_out() from None


def _chunk_or_raise(item: Chunk | LASError) -> Chunk:
    if isinstance(item, LASError):
        raise item
    return item


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:300]


def _engine_error(error: Chunk | Exception) -> LASError:
    if isinstance(error, Exception):
        return BadRequestError(f"The local engine refused the request: {_one_line(error)}", provider="local")
    message, kind = _one_line(error.get("message", "unknown error")), error.get("type")
    if kind == "exceed_context_size_error":
        return ContextWindowExceededError(
            f"The prompt has {error.get('n_prompt_tokens')} tokens and the local model's context {error.get('n_ctx')}: "
            "shorten the prompt, or raise LAS_LOCAL_CONTEXT if the model allows it",
            param="messages",
        )
    if "too large to process" in message:
        return ContextWindowExceededError(message, param="input")
    wrong = kind == "invalid_request_error"
    return (BadRequestError if wrong else APIError)(f"The local engine answered: {message}", provider="local")


def _start_server(config: EngineConfig, key: str) -> Any:
    if not config.model.is_file():
        raise ConfigurationError(
            "LAS_LOCAL_MODEL: no such file; set it to a GGUF file", param="LAS_LOCAL_MODEL", detail=str(config.model)
        )
    if config.mmproj is not None and not config.mmproj.is_file():
        raise ConfigurationError(
            "LAS_LOCAL_MMPROJ: no such file; set it to the model's vision projector", detail=str(config.mmproj)
        )
    xllamacpp = _import_engine()
    params = xllamacpp.CommonParams()
    params.model.path = str(config.model)
    if config.mmproj is not None:
        params.mmproj.path = str(config.mmproj)
    cores = os.cpu_count() or 1
    # A decoding thread for each core starves the rest of the process: tokens per second fall by a factor of ten.
    params.cpuparams.n_threads = config.threads or max(1, cores - 1)
    params.cpuparams_batch.n_threads = config.batch_threads or cores
    params.n_ctx = config.context
    params.n_parallel = config.parallel
    params.kv_unified = True  # Else every slot gets only its share of the context.
    params.n_predict = config.max_tokens  # Else unlimited.
    params.cache_ram_mib = 0  # Else up to 8 GB of old prompts are kept.
    params.warmup = False
    params.verbosity = -1
    # It always listens on a loopback port: nobody else may use that.
    params.api_keys = [key]
    params.cors_origins = ""
    params.ui = False
    # Small batches, so that a prompt which nobody waits for any more is dropped after at most this many tokens.
    params.n_batch = params.n_ubatch = 512 if config.embedding else 256
    params.embedding = config.embedding
    if config.chat_template is not None:
        params.chat_template = config.chat_template
    if config.temperature is not None:
        params.sampling.temp = config.temperature
    if config.top_p is not None:
        params.sampling.top_p = config.top_p
    try:
        server = xllamacpp.Server(params)
    except (ValueError, RuntimeError) as error:
        raise _not_loaded(config, error) from None
    # Deleting a server joins its threads, which can hang at exit and always does in a forked child: keep it for ever.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(server))
    return server


def _is_gguf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(GGUF_MAGIC)) == GGUF_MAGIC


def _not_loaded(config: EngineConfig, error: Exception) -> ConfigurationError:
    """The engine says only that it failed; find the setting that is the likely cause."""
    for variable, path in (("LAS_LOCAL_MODEL", config.model), ("LAS_LOCAL_MMPROJ", config.mmproj)):
        if path is not None and not _is_gguf(path):
            return ConfigurationError(f"{variable}: this is no GGUF file", param=variable, detail=str(path))
    return ConfigurationError(
        "The local model could not be loaded: a file is cut short or of an unknown kind (LAS_LOCAL_MODEL, "
        f"LAS_LOCAL_MMPROJ), or a context of {config.context} tokens does not fit into memory (LAS_LOCAL_CONTEXT)",
        detail=f"{config.model}: {_one_line(error)}",
    )


def _import_engine() -> Any:
    try:
        import xllamacpp
    except ModuleNotFoundError:
        raise ConfigurationError(
            "The embedded models need an extra: pip install 'las-langchain[local]'", param="model"
        ) from None
    except ImportError as error:
        raise ConfigurationError(
            f"xllamacpp does not load ({error}); on Debian and Ubuntu: apt-get install libgomp1", param="model"
        ) from None
    return xllamacpp


class _Engines:
    """The engines of this process, by configuration."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._engines: dict[EngineConfig, Engine] = {}
        self._closed = False

    def get(self, config: EngineConfig) -> Engine:
        with self._lock:
            if self._closed:
                raise closed()
            if config not in self._engines:
                self._engines[config] = Engine(config)
            return self._engines[config]

    def close(self) -> None:
        deadline = time.monotonic() + ENDING_PATIENCE
        # Whoever holds the lock is loading a model, which must not go on either while the process ends.
        if self._lock.acquire(timeout=ENDING_PATIENCE):
            self._closed = True
            self._lock.release()
        for engine in self._engines.values():
            engine.close(max(0, deadline - time.monotonic()))

    def after_fork(self) -> None:
        """Forget the parent's engines: their threads are not in this process."""
        libc = ctypes.CDLL(None)
        if self._engines and hasattr(libc, "on_exit"):
            # The engine's library waits at exit for a thread that only the parent has. Handlers run last in, first
            # out, so this one (glibc's) leaves with the right status before that wait.
            libc.on_exit(libc._exit, None)
        self._reset()


_engines = _Engines()
atexit.register(_engines.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_engines.after_fork)


def get_engine(config: EngineConfig) -> Engine:
    """The engine for *config*, loaded now if this process has not loaded it yet (about a second).

    Raises:
        ConfigurationError: the engine is not installed, or the file is missing or no model.
    """
    return _engines.get(config)
