"""What became of one call: what the ledger stores, the metrics count and the traces tell."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from las_langchain.callers import Caller, current_caller
from las_langchain.errors import LASError
from las_langchain.prices import is_counted

Json = dict[str, Any]
Operation = Literal["chat", "text_completion", "embeddings", "speech", "transcription"]
Status = Literal["running", "ok", "error", "cancelled"]


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens by kind.

    Attributes:
        prompt: read by the model, those from a cache and sounds included.
        completion: written by the model, thoughts and sounds included.
        cached: of *prompt*, read from the provider's cache.
        cache_writes: of *prompt*, written to the provider's cache.
        reasoning: of *completion*, thoughts.
        audio: of both, sounds.
    """

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    cache_writes: int = 0
    reasoning: int = 0
    audio: int = 0

    @classmethod
    def of(cls, usage: Json | None) -> Tokens | None:
        """Those of OpenAI's ``usage``; None if it says nothing."""
        if not usage or not is_counted(usage):
            return None
        read, written = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
        return cls(
            prompt=usage.get("prompt_tokens") or 0,
            completion=usage.get("completion_tokens") or 0,
            cached=read.get("cached_tokens") or 0,
            cache_writes=read.get("cache_creation_tokens") or usage.get("cache_creation_input_tokens") or 0,
            reasoning=written.get("reasoning_tokens") or 0,
            audio=(read.get("audio_tokens") or 0) + (written.get("audio_tokens") or 0),
        )

    @classmethod
    def of_sound(cls, usage: Json | None) -> Tokens | None:
        """Those of a transcription's ``usage``; None if it says none, such as one of seconds."""
        if not usage or usage.get("type") != "tokens":
            return None
        details = usage.get("input_token_details") or {}
        return cls(
            prompt=usage.get("input_tokens") or 0,
            completion=usage.get("output_tokens") or 0,
            audio=details.get("audio_tokens") or 0,
        )


def _unique() -> str:
    # It begins with the time, so that a database finds the place of the newest where it put the last.
    return (time.time_ns() // 1_000_000).to_bytes(6, "big").hex() + os.urandom(10).hex()


@dataclass(slots=True)
class CallRecord:
    """One call, from its begin to what became of it; complete once :attr:`status` is no longer ``running``.

    Attributes:
        operation: what was asked for.
        asked: the model as the caller named it, such as an alias.
        model: the id of the model that answered, or that was asked last.
        stream: whether the answer came in chunks.
        caller: on whose behalf.
        id: of this record, unique everywhere.
        api_base: the address that was asked last; None: the provider's own.
        transport: how it was asked last, and why so, as ``wire (OpenAI speaks OpenAI's format)``.
        started: when, in UTC.
        status: what became of it; ``cancelled``: the caller left first.
        error: OpenAI's ``error.code`` or ``error.type`` of a failure.
        status_code: HTTP's of the outcome.
        attempts: how often a model was asked.
        cache_hit: whether the answer came out of the cache, in which case nobody was asked.
        tokens: tokens by kind; None where the provider said nothing.
        tokens_estimated: whether *tokens* were counted here, since the provider's count never came.
        cost_usd: US dollars; None where the price is not known.
        seconds: from the begin to the end.
        first_token_seconds: from the begin to the first chunk of a stream.
        response_id: the provider's id of the answer.
        response_model: the model as the provider named it.
        finish_reasons: why each answer ended.
    """

    operation: Operation
    asked: str
    model: str
    stream: bool = False
    caller: Caller = field(default_factory=current_caller)
    id: str = field(default_factory=_unique)
    api_base: str | None = None
    transport: str | None = None
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    status: Status = "running"
    error: str | None = None
    status_code: int | None = None
    attempts: int = 0
    cache_hit: bool = False
    tokens: Tokens | None = None
    tokens_estimated: bool = False
    cost_usd: float | None = None
    seconds: float = 0.0
    first_token_seconds: float | None = None
    response_id: str | None = None
    response_model: str | None = None
    finish_reasons: list[str] = field(default_factory=list)
    _clock: float = field(default_factory=time.perf_counter, repr=False)

    @property
    def provider(self) -> str:
        """The provider's name."""
        return self.model.partition("/")[0]

    @property
    def elapsed(self) -> float:
        """Seconds since the begin."""
        return time.perf_counter() - self._clock

    def ended(self, status: Status, error: BaseException | None = None) -> None:
        """Note how it ended, and when."""
        self.status, self.seconds = status, self.elapsed
        if isinstance(error, LASError):
            self.error, self.status_code = error.code or error.type, error.status_code
        elif status == "ok":
            self.status_code = 200
        elif error is not None:
            self.error = type(error).__name__


class Observer(Protocol):
    """Something that watches every call of a service. It must not raise, and must not wait for anything.

    Both methods are called where the call is made or its chunks are read, which may be different tasks of one request.
    """

    def began(self, record: CallRecord, request: Json) -> None:
        """A call has begun.

        Args:
            record: the call, still running.
            request: OpenAI's request; its texts are private unless ``log_prompts`` is set.
        """
        ...

    def ended(self, record: CallRecord, answer: Json | None) -> None:
        """A call is over, whatever became of it.

        Args:
            record: the call, complete.
            answer: the whole answer where it was not streamed.
        """
        ...
