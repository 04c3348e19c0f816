"""A model in a list, with what is publicly known about it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from las_langchain.prices import Own, own_prices, price_row, public_row
from las_langchain.providers import split_name
from las_langchain.settings import EMBEDDED_EMBEDDINGS, LASSettings

Origin = Literal["live", "litellm", "embedded", "alias"]
"""Where a list is from: the provider itself, litellm's table, this process, or the settings' aliases."""

_NO_OWN: Own = {}
# The table's words for what a model can do, and ours.
_FEATURES = {
    "supports_vision": "vision",
    "supports_function_calling": "tools",
    "supports_response_schema": "structured output",
    "supports_reasoning": "reasoning",
    "supports_pdf_input": "pdf",
    "supports_audio_input": "audio input",
    "supports_audio_output": "audio output",
    "supports_video_input": "video",
    "supports_web_search": "web search",
    "supports_computer_use": "computer use",
    "supports_prompt_caching": "prompt caching",
}


@dataclass(frozen=True, slots=True)
class ListedModel:
    """One model; None stands for what is not known.

    Attributes:
        id: ``provider/model`` or an alias, as every call takes it.
        provider: the provider's name.
        source: where the list is from that names it.
        mode: what it does, such as ``chat``, ``embedding``, ``image_generation`` or ``audio_speech``.
        context_tokens: longest prompt, in tokens.
        max_output_tokens: longest answer, in tokens.
        input_usd_per_million: price of a million tokens that it reads, in US dollars.
        output_usd_per_million: price of a million tokens that it writes, in US dollars.
        features: what it can do, such as ``vision`` and ``tools``.
    """

    id: str
    provider: str
    source: Origin
    mode: str | None = None
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    input_usd_per_million: float | None = None
    output_usd_per_million: float | None = None
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """Where the models of one provider are from.

    Attributes:
        source: where from; None: none are listed, since this provider needs no key and does not answer.
        error: why the provider itself could not be asked, in one line.
        seconds: how long it took to answer.
    """

    source: Origin | None
    error: str | None = None
    seconds: float = 0.0


def described(provider: str, name: str, source: Origin, own: Own = _NO_OWN) -> ListedModel:
    """The model *name* of *provider*, with what litellm's table says of it, or *own*, its own prices."""
    row, prices = public_row(provider, name, own), price_row(provider, name, own)
    return ListedModel(
        id=f"{provider}/{name}",
        provider=provider,
        source=source,
        mode=row.get("mode"),
        context_tokens=_number(row.get("max_input_tokens")),
        max_output_tokens=_number(row.get("max_output_tokens")),
        input_usd_per_million=_per_million(prices.get("input_cost_per_token")),
        output_usd_per_million=_per_million(prices.get("output_cost_per_token")),
        features=tuple(ours for theirs, ours in _FEATURES.items() if row.get(theirs)),
    )


def aliased(alias: str, settings: LASSettings) -> ListedModel:
    """An alias, as its first deployment is."""
    provider, name = split_name(alias, settings)
    if provider == "local":
        return replace(embedded(f"local/{name}", settings), id=alias, source="alias")
    first = settings.models[alias].deployments[0]
    own = own_prices(first.routing.model_info, first.options)
    return replace(described(provider, name, "alias", own), id=alias)


def embedded(model: str, settings: LASSettings) -> ListedModel:
    """The embedded model of the id *model*, as it is set up."""
    if model == EMBEDDED_EMBEDDINGS:
        return ListedModel(model, "local", "embedded", "embedding", None, None, 0.0, 0.0)
    features = ("vision", "tools") if settings.local_mmproj else ("tools",)
    return ListedModel(
        model, "local", "embedded", "chat", settings.local_context, settings.local_max_tokens, 0.0, 0.0, features
    )


def _number(value: Any) -> int | None:
    # A listed number may be text where the provider does not say it.
    return value if isinstance(value, int) else None


def _per_million(price: Any) -> float | None:
    return round(price * 1e6, 6) if isinstance(price, int | float) else None
