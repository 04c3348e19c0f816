"""What an answer costs, by a deployment's own prices or else by the public price list."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from las_langchain.catalog import model_info, model_table

Json = dict[str, Any]
Own = Mapping[str, Any]
"""The prices of one deployment, and the ``base_model`` by which it is priced, in litellm's words."""
_NO_OWN: Own = {}
_PER_TOKEN = ("input_cost_per_token", "output_cost_per_token")

_PRICE = re.compile(r"(input|output)_cost_per_\w+|cache_\w+_token_cost\w*")
_ABOVE = "input_cost_per_token_above_"
_LIMIT = re.compile(_ABOVE + r"(\d+)k_tokens")


def own_prices(*tables: Mapping[str, Any]) -> Own:
    """The prices and the ``base_model`` in litellm's arguments or its ``model_info``; the last that says one counts."""
    return {
        name: value
        for table in tables
        for name, value in table.items()
        if name == "base_model" or (is_price(name) and value is not None)
    }


def without_prices(arguments: Mapping[str, Any]) -> Json:
    """litellm's arguments without those that are prices, which it would take for those of every such model."""
    return {name: value for name, value in arguments.items() if not is_price(name)}


def is_price(name: str) -> bool:
    """Whether *name* is that of a price in litellm's words, such as ``input_cost_per_token``."""
    return _PRICE.fullmatch(name) is not None


def public_row(provider: str, name: str, own: Own = _NO_OWN) -> Json:
    """What litellm's table says of a model, or of its ``base_model`` if *own* names one."""
    base = own.get("base_model")
    return model_table().get(base, {}) if isinstance(base, str) else model_info(provider, name)


def price_row(provider: str, name: str, own: Own = _NO_OWN) -> Json:
    """The prices of a model, as litellm's table has them; not to be changed.

    Args:
        provider: the provider's name.
        name: the model's, without the prefix.
        own: what goes before the table. Where it prices tokens, the table's further prices of tokens do not count.
    """
    public = public_row(provider, name, own)
    if any(own.get(key) is not None for key in _PER_TOKEN):
        public = {key: public[key] for key in _PER_TOKEN if key in public}
    return {**public, **own} if own else public


def cost_of(model: str, usage: Json | None, service_tier: str | None = None, own: Own = _NO_OWN) -> float | None:
    """The price of one answer in US dollars.

    Args:
        model: its id, ``provider/model``.
        usage: OpenAI's ``usage``. ``prompt_tokens`` include those read from a cache or written to one, as litellm
            counts them for every provider.
        service_tier: OpenAI's, where it changes the price (``priority``, ``flex``).
        own: the deployment's own prices.

    Returns:
        None where no price is known: for an unlisted model, or an answer without usage. The embedded models cost 0.
    """
    provider, _, name = model.partition("/")
    if not usage or not is_counted(usage):
        return None
    if provider == "local":
        return 0.0
    row = price_row(provider, name, own)
    if row.get("input_cost_per_token") is None or row.get("tiered_pricing"):
        return None
    return _Rates(row, usage.get("prompt_tokens") or 0, service_tier).cost(usage)


def is_counted(usage: Json) -> bool:
    """Whether *usage* says anything: litellm says zeros where the provider said nothing."""
    return any(usage.get(key) for key in ("prompt_tokens", "completion_tokens", "total_tokens"))


class _Rates:
    """The prices per token that hold for one answer: by its service tier, and by how long its prompt is."""

    def __init__(self, row: Json, prompt_tokens: int, service_tier: str | None) -> None:
        limits = [int(match[1]) for key in row if key.startswith(_ABOVE) and (match := _LIMIT.fullmatch(key))]
        passed = [limit for limit in limits if prompt_tokens > limit * 1000]
        above = f"_above_{max(passed)}k_tokens" if passed else ""
        tier = f"_{service_tier}" if service_tier in ("priority", "flex") else ""
        self._row = row
        self._suffixes = tuple(dict.fromkeys((above + tier, above, tier, "")))

    def cost(self, usage: Json) -> float:
        """The price of an answer with this *usage*."""
        read, written = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
        cached, heard = read.get("cached_tokens") or 0, read.get("audio_tokens") or 0
        stored = read.get("cache_creation_tokens") or usage.get("cache_creation_input_tokens") or 0
        hour = (read.get("cache_creation_token_details") or {}).get("ephemeral_1h_input_tokens") or 0
        thought, spoken = written.get("reasoning_tokens") or 0, written.get("audio_tokens") or 0
        seen, drawn = read.get("image_tokens") or 0, written.get("image_tokens") or 0
        asked, said = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
        price_in, price_out = self._rate("input_cost_per_token", 0.0), self._rate("output_cost_per_token", 0.0)
        hit = self._rate("input_cost_per_token_cache_hit", price_in) if cached else price_in
        special = (
            (cached, "cache_read_input_token_cost", hit),
            (max(0, stored - hour), "cache_creation_input_token_cost", price_in),
            (hour, "cache_creation_input_token_cost_above_1hr", price_in),
            (heard, "input_cost_per_audio_token", price_in),
            (seen, "input_cost_per_image_token", price_in),
            (thought, "output_cost_per_reasoning_token", price_out),
            (spoken, "output_cost_per_audio_token", price_out),
            (drawn, "output_cost_per_image_token", price_out),
        )
        plain_in = max(0, asked - cached - stored - heard - seen) * price_in
        plain_out = max(0, said - thought - spoken - drawn) * price_out
        return plain_in + plain_out + sum(count * self._rate(key, default) for count, key, default in special if count)

    def _rate(self, key: str, default: float) -> float:
        for suffix in self._suffixes:
            rate: float | None = self._row.get(key + suffix)
            if rate is not None:
                return rate
        return default


def speech_cost(model: str, text: str, own: Own = _NO_OWN) -> float | None:
    """The price of *text* spoken by *model*, in US dollars; None where no price per character is known."""
    provider, _, name = model.partition("/")
    price = price_row(provider, name, own).get("input_cost_per_character")
    return None if price is None else float(price) * len(text)


def transcription_cost(model: str, answer: Json, own: Own = _NO_OWN) -> float | None:
    """The price of a transcription in US dollars.

    Args:
        model: its id, ``provider/model``.
        answer: OpenAI's answer: its ``usage``, in tokens or in seconds, or else its ``duration`` in seconds.
        own: the deployment's own prices.

    Returns:
        None where no price is known, or the answer says neither.
    """
    provider, _, name = model.partition("/")
    row, usage = price_row(provider, name, own), answer.get("usage") or {}
    if usage.get("type") == "tokens":
        price_in, price_out = row.get("input_cost_per_audio_token"), row.get("output_cost_per_token")
        if price_in is None or price_out is None:
            return None
        return float((usage.get("input_tokens") or 0) * price_in + (usage.get("output_tokens") or 0) * price_out)
    seconds, price = usage.get("seconds") or answer.get("duration"), row.get("input_cost_per_second")
    return None if seconds is None or price is None else float(seconds) * float(price)
