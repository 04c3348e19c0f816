"""What a call would cost, before it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from las_langchain.errors import BadRequestError
from las_langchain.prices import cost_of

# Below this, a difference of two prices is noise.
_DIGITS = 12
_MOST = 10**12


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """The price of a call; None where the model's is not known.

    Attributes:
        model: the model's id.
        input_cost_usd: of what it reads.
        output_cost_usd: of what it writes.
        total_cost_usd: of both.
        currency: always USD.
    """

    model: str
    input_cost_usd: float | None
    output_cost_usd: float | None
    total_cost_usd: float | None
    currency: str = "USD"


def estimate(model: str, input_tokens: int, output_tokens: int, cached_tokens: int) -> CostEstimate:
    """The price of a call.

    Args:
        model: its id, ``provider/model``.
        input_tokens: tokens that the model reads, those from the provider's cache included.
        output_tokens: tokens that it writes, thoughts included.
        cached_tokens: of *input_tokens*, those that the provider has in its cache.

    Raises:
        BadRequestError: a count is no whole number from 0; ``param`` names it.
    """
    counts = {"input_tokens": input_tokens, "output_tokens": output_tokens, "cached_tokens": cached_tokens}
    for name, count in counts.items():
        check_count(name, count)
    if cached_tokens > input_tokens:
        raise BadRequestError(
            f"cached_tokens: {cached_tokens} of {input_tokens} input_tokens cannot be cached", param="cached_tokens"
        )
    # A price may depend on how long the prompt is, so the answer's is the difference that it makes.
    read, both = (
        _price(model, input_tokens, 0, cached_tokens),
        _price(model, input_tokens, output_tokens, cached_tokens),
    )
    if read is None or both is None:
        return CostEstimate(model, None, None, None)
    return CostEstimate(model, round(read, _DIGITS), round(both - read, _DIGITS), round(both, _DIGITS))


def check_count(name: str, count: Any) -> None:
    """Check that *count* is a whole number from 0.

    Raises:
        BadRequestError: it is not; ``param`` is *name*.
    """
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= _MOST:
        raise BadRequestError(f"{name}: expected a whole number of tokens from 0, not {_shown(count)}", param=name)


def _shown(count: Any) -> str:
    # Python refuses to print whole numbers of thousands of digits.
    return "one so large" if isinstance(count, int) and count > _MOST else f"{count!r:.40}"


def _price(model: str, read: int, written: int, cached: int) -> float | None:
    if not read and not written:
        # A usage without tokens says nothing, but a known price of nothing is nothing.
        return None if _price(model, 1, 0, 0) is None else 0.0
    usage = {
        "prompt_tokens": read,
        "completion_tokens": written,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
    return cost_of(model, usage)
