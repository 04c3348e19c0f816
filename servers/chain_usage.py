"""What a run of a chain used and cost, whichever models it has called and however deep inside."""

from __future__ import annotations

import threading
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, LLMResult

from las_langchain.prices import cost_of
from las_langchain.records import CallRecord, Tokens

Json = dict[str, Any]


class RunUsage(BaseCallbackHandler):
    """The sum over the calls of a run; put among the callbacks of the run, it hears of other packages' models too.

    Attributes:
        finish_reason: why the answer ended, where the run has made one call of a chat model.
    """

    # Nothing is waited for in it.
    run_inline = True

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens = Tokens()
        self._cost: float | None = 0.0
        self._calls = 0
        self._known: set[str | None] = set()
        self.finish_reason: str | None = None

    @property
    def cost(self) -> float | None:
        """US dollars of all calls; None: the price of one is not known."""
        return self._cost

    def to_openai(self) -> Json:
        """OpenAI's ``usage``, with the ``cost`` where it is known."""
        tokens = self._tokens
        return {
            "prompt_tokens": tokens.prompt,
            "completion_tokens": tokens.completion,
            "total_tokens": tokens.prompt + tokens.completion,
            "prompt_tokens_details": {"cached_tokens": tokens.cached, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": tokens.reasoning,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
            **({} if self._cost is None else {"cost": self._cost}),
        }

    def add(self, record: CallRecord) -> None:
        """Add a call of this package."""
        tokens = record.tokens
        if record.status != "ok" and tokens is None:
            # It cost nothing.
            return
        with self._lock:
            self._known.add(record.response_id)
            self._spend(record.cost_usd)
            if record.operation == "chat":
                self._count(tokens or Tokens(), next(iter(record.finish_reasons), None))

    def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:
        """Add a call of another package's chat model."""
        for generations in response.generations:
            message = generations[0].message if generations and isinstance(generations[0], ChatGeneration) else None
            if isinstance(message, AIMessage):
                self._add_message(message)

    def _add_message(self, message: AIMessage) -> None:
        known = message.response_metadata
        with self._lock:
            # This package's say what they cost; those of another service of it were not heard of yet.
            if "cost" in known and known.get("id") in {None, *self._known}:
                return
            usage = _openai_usage(message.usage_metadata)
            name = f"{known.get('model_provider')}/{known.get('model_name') or known.get('model')}"
            self._spend(known["cost"] if "cost" in known else cost_of(name, usage))
            self._count(Tokens.of(usage) or Tokens(), known.get("finish_reason"))

    def _spend(self, cost: float | None) -> None:
        self._cost = None if cost is None or self._cost is None else self._cost + cost

    def _count(self, more: Tokens, finish_reason: str | None) -> None:
        self._tokens = _sum(self._tokens, more)
        self._calls += 1
        self.finish_reason = finish_reason if self._calls == 1 else None


def _sum(one: Tokens, other: Tokens) -> Tokens:
    return Tokens(
        one.prompt + other.prompt,
        one.completion + other.completion,
        one.cached + other.cached,
        one.cache_writes + other.cache_writes,
        one.reasoning + other.reasoning,
        one.audio + other.audio,
    )


def _openai_usage(usage: UsageMetadata | None) -> Json | None:
    if usage is None:
        return None
    read, written = usage.get("input_token_details") or {}, usage.get("output_token_details") or {}
    return {
        "prompt_tokens": usage["input_tokens"],
        "completion_tokens": usage["output_tokens"],
        "total_tokens": usage["total_tokens"],
        "prompt_tokens_details": {
            "cached_tokens": read.get("cache_read", 0),
            "cache_creation_tokens": read.get("cache_creation", 0),
        },
        "completion_tokens_details": {"reasoning_tokens": written.get("reasoning", 0)},
    }
