"""What whoever asks a chain wants of its models, where the chain's author has left that open."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from las_langchain.contexts import holding

Json = dict[str, Any]

FIELDS = frozenset(
    "temperature top_p top_k max_tokens stop seed presence_penalty frequency_penalty logit_bias reasoning_effort "
    "verbosity".split()
)
"""What may be asked for."""

_COMMON = frozenset({"temperature", "top_p", "max_tokens", "stop"})
_PENALTIES = frozenset({"presence_penalty", "frequency_penalty"})
_BY_PROVIDER: Mapping[str, frozenset[str]] = {
    "local": FIELDS - {"reasoning_effort", "verbosity"},
    "anthropic": _COMMON | {"top_k", "reasoning_effort"},
    "bedrock": _COMMON | {"reasoning_effort"},
    "gemini": _COMMON | _PENALTIES | {"top_k", "seed", "reasoning_effort"},
    "vertex_ai": _COMMON | _PENALTIES | {"top_k", "seed", "reasoning_effort"},
    "ollama": _COMMON | _PENALTIES | {"top_k", "seed", "reasoning_effort"},
    "cohere": _COMMON | _PENALTIES | {"top_k", "seed"},
}
_REASONS = frozenset({"max_tokens", "seed", "reasoning_effort", "verbosity"})
"""What OpenAI's models that think before they answer take."""
_THINKS = re.compile(r"(?:.*/)?(?:o\d|gpt-5)")

_ASKED: ContextVar[Json] = ContextVar("las_asked")


@contextmanager
def asking(**fields: Any) -> Iterator[None]:
    """Have the ``ChatLAS`` models that are called inside use *fields*, where neither they nor the call say otherwise.

    Args:
        fields: of :data:`FIELDS`, under the names that ``ChatLAS`` has for them; None: whatever was asked for by an
            outer block is not to hold inside.
    """
    given = {**_ASKED.get({}), **fields}
    with holding(_ASKED, {name: value for name, value in given.items() if value is not None}):
        yield


def asked_fields() -> Json:
    """What is asked for here."""
    return _ASKED.get({})


def fitting(asked: Json, provider: str, model: str, *, reasons: bool, longest: int | None = None) -> Json:
    """What of *asked* a model takes: what it would refuse was not meant for it.

    Args:
        asked: from :func:`asked_fields`.
        provider: the model's.
        model: its name.
        reasons: whether it is known to think before it answers.
        longest: its longest answer, in tokens; None: it is not known. Coding assistants ask for more than most have.
    """
    taken = _BY_PROVIDER.get(provider, FIELDS - {"top_k"})
    if provider in ("openai", "azure") and _THINKS.match(model):
        taken = _REASONS if "gpt-5" in model else _REASONS - {"verbosity"}
    elif not reasons:
        taken = taken - {"reasoning_effort", "verbosity"}
    elif provider not in ("openai", "azure", "openrouter"):
        taken = taken - {"verbosity"}
    fit = {name: value for name, value in asked.items() if name in taken}
    if longest is not None and "max_tokens" in fit:
        fit["max_tokens"] = min(fit["max_tokens"], longest)
    return fit
