"""One call of an embeddings object: texts in, batches sent, vectors and usage out."""

from __future__ import annotations

import importlib
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from las_langchain.batches import (
    LIMITS,
    Limits,
    checked_sizes,
    concurrently,
    divided,
    in_base64_first,
    least_tokens,
    vectors_of,
)
from las_langchain.catalog import model_info
from las_langchain.errors import BadRequestError, ConfigurationError, ContextWindowExceededError
from las_langchain.keys import resolve_key
from las_langchain.prices import cost_of
from las_langchain.providers import Target, split_name
from las_langchain.service import get_litellm_service
from las_langchain.transports.background import BACKGROUND

if TYPE_CHECKING:
    from las_langchain.embeddings import LASEmbeddings

Json = dict[str, Any]

# Fields that go into the request under their own names.
REQUEST_FIELDS = ("dimensions", "encoding_format", "user", "extra_body", "extra_headers")

# These refuse a text that is longer than the model reads; others cut it, and that is not for us to refuse.
_REFUSE_LONG_TEXTS = frozenset({"openai", "azure"})
# The catalog lists 8191 for models that read 8192.
_LISTED_TOO_LOW = 1


@dataclass(frozen=True, slots=True)
class EmbeddingUsage:
    """What one request used.

    Attributes:
        model: the model's id, ``provider/model``.
        prompt_tokens: tokens that the model read.
        total_tokens: tokens that the provider counts altogether.
        cost: US dollars, or None if the model's price is not known.
    """

    model: str
    prompt_tokens: int
    total_tokens: int
    cost: float | None


@dataclass(frozen=True, slots=True)
class _Part:
    """What one request has brought."""

    batch: range
    vectors: list[list[float]]
    usage: EmbeddingUsage


class EmbeddingCall:
    """What one call of an embeddings object does.

    Requests run on an event loop; the progress bar and ``on_usage`` stay in the caller's thread.

    Args:
        fields: the object.
        texts: the caller's texts.
        name: what errors call a text; ``{}`` is its index.
        shown: whether a bar counts the texts.

    Raises:
        BadRequestError: *texts* are not texts, or one is empty.
        ConfigurationError: the bar needs a package that is not installed.
    """

    def __init__(
        self, fields: LASEmbeddings, texts: Iterable[str], name: str = "texts[{}]", shown: bool = False
    ) -> None:
        if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable):
            raise BadRequestError(f"texts: expected a list of texts, not {type(texts).__name__}", param="texts")
        self._fields, self._texts, self._name = fields, list(texts), name
        self._service = fields.service or get_litellm_service()
        # All batches go by the settings of now.
        self._setup = self._service._setup
        self._sizes = checked_sizes(self._texts, name)
        self._vectors: list[list[float]] = [[]] * len(self._texts)
        self._bar = _progress_bar(len(self._texts)) if shown else None

    def run(self) -> list[list[float]]:
        """Send everything and wait for it."""
        with closing(self), closing(BACKGROUND.iterate(self._parts())) as parts:
            for part in parts:
                self._add(part)
        return self._vectors

    async def arun(self) -> list[list[float]]:
        """Async form of :meth:`run`."""
        with closing(self):
            async with aclosing(self._parts()) as parts:
                async for part in parts:
                    self._add(part)
        return self._vectors

    def close(self) -> None:
        """End the progress bar."""
        if self._bar is not None:
            self._bar.close()

    def _add(self, part: _Part) -> None:
        self._vectors[part.batch.start : part.batch.stop] = part.vectors
        if self._bar is not None:
            self._bar.update(len(part.batch))
        if self._fields.on_usage:
            self._fields.on_usage(part.usage)

    async def _parts(self) -> AsyncGenerator[_Part]:
        if not self._texts:
            return
        provider, model = split_name(self._model, self._setup.settings)
        if provider == "local":
            self._refuse_in_vain(model)
        if provider in _REFUSE_LONG_TEXTS:
            self._refuse_too_long(provider, model)
        known, own = LIMITS.get(provider, Limits()), self._fields
        limits = Limits(own.batch_size or known.texts, own.max_tokens_per_batch or known.tokens)
        # The embedded model shares its cores among calls: several at a time would only run into each other's deadlines.
        limit = 1 if provider == "local" else own.max_concurrency
        async with aclosing(concurrently(self._answers, divided(self._sizes, limits), limit)) as answers:
            async for parts in answers:
                for part in parts:
                    yield part

    async def _answers(self, batch: range) -> list[_Part]:
        """Embed a batch; one that is too large is halved until it fits, or until the text is found that does not."""
        try:
            return [await self._answer(batch)]
        except BadRequestError as error:
            if not isinstance(error, ContextWindowExceededError) and error.code != "max_tokens_per_request":
                raise
            if len(batch) == 1:
                error.param = self._name.format(batch.start)
                error.message = f"{error.param} is too long: {error.message}"
                raise
        half = len(batch) // 2
        return [*await self._answers(batch[:half]), *await self._answers(batch[half:])]

    async def _answer(self, batch: range) -> _Part:
        target = await self._target()
        texts = [self._texts[index] for index in batch]
        given = {name: getattr(self._fields, name) for name in REQUEST_FIELDS}

        async def send(encoding: str | None) -> Json:
            fields = {"input": texts, **given, "encoding_format": encoding}
            body = {name: value for name, value in fields.items() if value is not None}
            return await self._service.aembed(target, body, max_retries=self._fields.max_retries)

        answer = await in_base64_first(send, self._fields.encoding_format, target.provider)
        return _Part(batch, vectors_of(answer, len(batch)), _usage(target, answer))

    async def _target(self) -> Target:
        fields, key = self._fields, await resolve_key(self._fields.api_key)
        organization = {"OpenAI-Organization": fields.organization} if fields.organization is not None else None
        return self._service.target(
            self._model,
            setup=self._setup,
            api_key=key,
            api_base=fields.api_base,
            timeout=fields.timeout,
            headers=organization,
        )

    def _refuse_in_vain(self, model: str) -> None:
        for name in ("api_key", "api_base", "organization"):
            if getattr(self._fields, name) is not None:
                raise BadRequestError(f"{name}: local/{model} runs in this process and takes none", param=name)

    def _refuse_too_long(self, provider: str, model: str) -> None:
        limit = model_info(provider, model).get("max_input_tokens")
        for index, size in enumerate(self._sizes):
            if limit and size > limit and (least := least_tokens(self._texts[index])) > limit + _LISTED_TOO_LOW:
                where = self._name.format(index)
                raise ContextWindowExceededError(
                    f"{where} is too long: it has at least {least} tokens, {provider}/{model} reads {limit}",
                    param=where,
                    provider=provider,
                )

    @property
    def _model(self) -> str:
        return self._fields.model or self._setup.settings.embedding_model


def _usage(target: Target, answer: Json) -> EmbeddingUsage:
    usage = answer.get("usage") or {}
    read = usage.get("prompt_tokens") or 0
    cost = 0.0 if answer.get("cache_hit") else cost_of(target.id, usage, own=target.prices)
    return EmbeddingUsage(target.id, read, usage.get("total_tokens") or read, cost)


def _progress_bar(total: int) -> Any:
    try:
        bars = importlib.import_module("tqdm.auto")
    except ModuleNotFoundError:
        raise ConfigurationError("show_progress needs tqdm: pip install tqdm", param="show_progress") from None
    return bars.tqdm(total=total, unit=" texts")
