"""The tool ``calculator``: the value of an arithmetic expression, however people and small models write it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Annotated, Any

from langchain_core.tools import BaseTool, StructuredTool

from chains.tools.bounds import Number, Refused, bounded_power, number
from chains.tools.evaluator import Language, evaluate

DESCRIPTION = (
    "Do arithmetic: what is 12 times 7? What is 17 * 23? Add, subtract, multiply and divide numbers, powers, "
    "the square root of 81."
)
"""The embedded model takes the tool whose description is nearest to the question."""
_EXPRESSION = "Arithmetic expression, such as 12 * 7 or sqrt(81)"


def _rounded(value: Number, digits: int | None = None) -> Number:
    # Rounding to the left of the point computes that power of ten.
    if digits is not None and abs(digits) > 300:
        raise Refused("round: at most 300 digits")
    return round(number(value), digits)


def _factorial(value: int) -> int:
    if value > 5_000:
        raise Refused("The result is too large")
    return math.factorial(value)


_OF_NUMBERS = "exp log log2 log10 sqrt cbrt sin cos tan asin acos atan atan2 sinh cosh tanh degrees radians".split()
FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: getattr(math, name) for name in [*_OF_NUMBERS, "floor", "ceil", "gcd", "hypot"]},
    "abs": abs,
    "round": _rounded,
    "min": min,
    "max": max,
    "pow": bounded_power,
    "factorial": _factorial,
    "ln": math.log,
}
CONSTANTS = {"pi": math.pi, "e": math.e, "tau": math.tau}

_LANGUAGE = Language(FUNCTIONS, CONSTANTS, programs=False, steps=2_000, seconds=1.0, longest=1_000)

_SPELLINGS = [
    (re.compile(pattern, re.IGNORECASE), written)
    for pattern, written in (
        (r"^\s*(?:(?:what|how much) (?:is|are)|what's|calculate|compute|evaluate|work out)\b|[?=\s]+$", ""),
        (r"[×⋅·✕]|\b(?:times|multiplied by)\b|(?<=[\d)])(?!(?<=(?<![\w.])0)x)\s*x\s*(?=[\d(])", " * "),
        (r"[÷∶]|\bdivided by\b", " / "),
        (r"\^|\bto the power of\b", " ** "),
        (r"[−–]|\bminus\b", " - "),
        (r"\bplus\b", " + "),
        (r"\bmod(?:ulo)?\b", " % "),
        (r"\bsquared\b|²", " ** 2"),
        (r"\bcubed\b|³", " ** 3"),
        (r"√\s*(?=\()|\b(?:the )?square root of\s*(?=\()", "sqrt"),
        (r"(?:√|\b(?:the )?square root of)\s*([\d.]+)(?![\d.]|,\d)", r"sqrt(\1)"),
        (r"([\d.]+)\s*(?:%|percent) of\b", r"\1 / 100 *"),
    )
]
_UNCLEAR = [
    (re.compile(pattern, re.IGNORECASE), advice)
    for pattern, advice in (
        (
            r"%\s*(?:[-+−–]|plus\b|minus\b)|\d%\s+[\d(]",
            "% may mean percent or a remainder there: write 50 / 100 for 50 percent, or 17 mod 5",
        ),
        (
            r"(?:\*\*|[/^÷∶%]|\b(?:divided by|power of|mod|modulo)\b)\s*[-−–]?\s*[\d.,]+\s*(?:%|percent) of\b",
            "Percentages that something is divided by, or that are powers, are written in brackets: 9 / (10% of 50)",
        ),
        (r"(?:squared|cubed|[²³])\s*(?:squared|cubed|[²³])", "Powers of powers are written with **, and in brackets"),
        (r"#", "Not readable: #"),
    )
]
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_SEVERAL = re.compile(r"(?<![\d.])\d{1,3}(?:,\d{3})+(?!\d)")


def calculated(expression: str) -> Number:
    """The value of an arithmetic *expression*.

    Raises:
        Refused: it is none, or its value is too large.
    """
    if len(expression) > _LANGUAGE.longest:
        raise Refused(f"Too long: {len(expression)} characters, and at most {_LANGUAGE.longest} are read")
    for pattern, advice in _UNCLEAR:
        if pattern.search(expression):
            raise Refused(advice)
    written = expression
    for pattern, spelling in _SPELLINGS:
        written = pattern.sub(spelling, written)
    several = _SEVERAL.search(written)
    if several and re.search(r"[A-Za-z]\s*\(", written):
        one, two = several[0].replace(",", ""), several[0].replace(",", ", ")
        raise Refused(f"{several[0]} may be one number or several: write {one}, or {two}")
    written = _THOUSANDS.sub(lambda match: match[0].replace(",", ""), written)
    # Python takes no leading zeros.
    written = re.sub(r"(?<![\w.])0+(?=\d)", "", written)
    return number(evaluate(written, _LANGUAGE))


def in_words(value: Number) -> str:
    """A number for people: whole where it is, and without the last digits, which are not exact."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.15g}" if isinstance(value, float) else str(value)


async def _calculate(expression: Annotated[str, _EXPRESSION]) -> str:
    return in_words(calculated(expression))


def tool() -> BaseTool:
    """The tool."""
    return StructuredTool.from_function(coroutine=_calculate, name="calculator", description=DESCRIPTION)
