"""The tool ``python_math``: small mathematical programs in a part of Python that can reach nothing."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable
from functools import reduce
from typing import Annotated, Any

from langchain_core.tools import BaseTool, StructuredTool

from chains.tools.bounds import Number, Refused, bounded_product, number
from chains.tools.calculator import CONSTANTS, FUNCTIONS, in_words
from chains.tools.evaluator import Language, evaluate
from las_langchain.threads import in_thread

DESCRIPTION = (
    "Run a short Python program, for statistics over a list such as its mean or median, for prime numbers, or for "
    "anything that needs a loop. There are math and statistics without imports, assignments, if, for, while and "
    "comprehensions; no print, and no functions of your own. The value of the last line is the result."
)
_LONGEST_RESULT = 4_000
_MOST_BITS_OF_CHOICES = 100_000


def _sum(values: Iterable[Number], start: Number = 0) -> Number:
    return sum((number(value) for value in values), number(start))


def _product(values: Iterable[Number]) -> Number:
    one: Number = 1
    return reduce(bounded_product, values, one)


def _multiple(*values: int) -> int:
    def common(left: int, right: int) -> int:
        bounded_product(left, right)
        return math.lcm(left, right)

    return reduce(common, values, 1)


def _choices(function: Callable[[int, int], int]) -> Callable[[int, int], int]:
    def bounded(n: int, k: int) -> int:
        if min(abs(k), abs(n - k) if function is math.comb else abs(k)) * n.bit_length() > _MOST_BITS_OF_CHOICES:
            raise Refused("The result is too large")
        return function(n, k)

    return bounded


def _quantiles(data: list[Number], n: int = 4) -> list[float]:
    if n > 1_000:
        raise Refused("quantiles: at most 1000")
    return statistics.quantiles(data, n=n)


_OF_MATH = (
    "trunc fabs fmod fsum isqrt isfinite log1p expm1 asinh acosh atanh copysign dist erf erfc gamma lgamma remainder"
).split()
_OF_STATISTICS = (
    "mean fmean geometric_mean harmonic_mean median median_low median_high mode multimode stdev pstdev variance "
    "pvariance covariance correlation linear_regression"
).split()
_MATH: dict[str, Callable[..., Any]] = {
    **{name: function for name, function in FUNCTIONS.items() if hasattr(math, name)},
    **{name: getattr(math, name) for name in _OF_MATH},
    "prod": _product,
    "lcm": _multiple,
    "comb": _choices(math.comb),
    "perm": _choices(math.perm),
}
_STATISTICS: dict[str, Callable[..., Any]] = {
    **{name: getattr(statistics, name) for name in _OF_STATISTICS},
    "quantiles": _quantiles,
}
_GENERAL: dict[str, Callable[..., Any]] = {
    "all": all,
    "any": any,
    "bool": bool,
    "divmod": divmod,
    "enumerate": lambda items, start=0: list(enumerate(items, start)),
    "float": lambda value=0: float(number(value)),
    "int": lambda value=0: int(number(value)),
    "len": len,
    "list": list,
    "range": range,
    "reversed": lambda items: list(reversed(items)),
    "set": set,
    "sorted": lambda items, reverse=False: sorted(items, reverse=bool(reverse)),
    "sum": _sum,
    "tuple": tuple,
    "zip": lambda *items: list(zip(*items, strict=False)),
}
_LANGUAGE = Language(
    functions={
        **_MATH,
        **_STATISTICS,
        **FUNCTIONS,
        **_GENERAL,
        **{f"math.{name}": function for name, function in _MATH.items()},
        **{f"statistics.{name}": function for name, function in _STATISTICS.items()},
    },
    constants={
        **CONSTANTS,
        **{f"math.{name}": value for name, value in CONSTANTS.items()},
    },
    programs=True,
    steps=300_000,
    seconds=3.0,
    longest=10_000,
)


def ran(code: str) -> str:
    """The value of the last line of a program, as text.

    Raises:
        Refused: it uses what there is not, takes too long, or fails.
    """
    value = evaluate(code, _LANGUAGE)
    if value is None:
        raise Refused("No result: write the value that you want as the last line")
    text = in_words(value) if isinstance(value, int | float) else str(value)
    return text if len(text) <= _LONGEST_RESULT else f"{text[:_LONGEST_RESULT]} [Cut here: {len(text):,} characters]"


async def _run(code: Annotated[str, "Python statements; the last line is the result"]) -> str:
    return await in_thread(lambda: ran(code))


def tool() -> BaseTool:
    """The tool."""
    return StructuredTool.from_function(coroutine=_run, name="python_math", description=DESCRIPTION)
