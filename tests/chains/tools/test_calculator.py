"""Arithmetic and small programs, against Python's own results, and what must not be computed."""

from __future__ import annotations

import math
import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chains.tools.bounds import Refused
from chains.tools.calculator import calculated, in_words
from chains.tools.calculator import tool as calculator
from chains.tools.python_math import ran
from chains.tools.python_math import tool as python_math

NUMBERS = st.one_of(st.integers(0, 10**6).map(str), st.floats(0, 1e6).map(lambda value: f"{value:.4f}"))


def _combined(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(parts, st.sampled_from(["+", "-", "*", "/", "//", "%"]), parts).map(" ".join),
        st.tuples(parts, st.integers(0, 4).map(str)).map(" ** ".join).map(lambda text: f"({text})"),
        parts.map(lambda text: f"-({text})"),
        parts.map(lambda text: f"abs({text})"),
        st.tuples(parts, parts).map(lambda pair: f"max({pair[0]}, {pair[1]})"),
    ).map(lambda text: f"({text})")


EXPRESSIONS = st.recursive(NUMBERS, _combined, max_leaves=8)


@given(EXPRESSIONS)
def test_values_are_pythons(expression: str) -> None:
    try:
        expected = eval(expression)
    except ZeroDivisionError:
        with pytest.raises(Refused, match="Division by zero"):
            calculated(expression)
        return
    except OverflowError:
        expected = math.inf
    if isinstance(expected, float) and not math.isfinite(expected):
        with pytest.raises(Refused):
            calculated(expression)
    else:
        assert calculated(expression) == expected


@given(EXPRESSIONS)
def test_programs_have_the_same_values(expression: str) -> None:
    try:
        expected = in_words(calculated(expression))
    except Refused:
        with pytest.raises(Refused):
            ran(expression)
    else:
        assert ran(f"x = {expression}\nx") == expected


@given(st.text(max_size=60))
@settings(max_examples=300)
def test_no_text_does_anything_else_than_be_refused(text: str) -> None:
    for evaluate in (calculated, ran):
        with suppress(Refused):
            assert isinstance(evaluate(text), int | float | str)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("What is 12 times 7?", "84"),
        ("12 × 7", "84"),
        ("12 x 7 =", "84"),
        ("144 ÷ 12", "12"),
        ("144 divided by 12", "12"),
        ("2^10", "1024"),
        ("2 to the power of 10", "1024"),
        ("5 plus 3 minus −2", "10"),
        ("7 squared", "49"),
        ("the square root of 81", "9"),
        ("√(16) + √9", "7"),
        ("15% of 80", "12"),
        ("17 mod 5", "2"),
        ("1,250 + 750", "2000"),
        ("max(1, 234)", "234"),
        ("10% of 20% of 1,000", "20"),
        ("17%5 + 5 mod -3", "1"),
        ("9 / (10% of 50)", "1.8"),
        ("0x10 + 0 x 10", "16"),
        ("007 + 1", "8"),
        ("0.1 + 0.2", "0.3"),
        ("1 / 3", "0.333333333333333"),
        ("round(2.567, 1)", "2.6"),
        ("sin(pi / 2)", "1"),
        ("-2 ** 2", "-4"),
        ("2 ** -1", "0.5"),
        ("1e20 * 10", "1e+21"),
        ("factorial(20)", "2432902008176640000"),
    ],
)
async def test_people_and_small_models_are_understood(expression: str, value: str) -> None:
    assert await calculator().ainvoke({"expression": expression}) == value


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("9**9**9", "too large"),
        ("9**9**9**9", "too large"),
        ("(10**4000) * (10**4000)", "too large"),
        ("factorial(10**9)", "too large"),
        ("factorial(3000)", "too large"),
        ("round(1, -10**9)", "at most 300 digits"),
        ("1e308 * 10", "too large"),
        ("exp(1000)", "too large"),
        ("(-8) ** 0.5", "no real number"),
        ("1 / 0", "Division by zero"),
        ("log(-1)", "ValueError"),
        ("sqrt()", "TypeError"),
        ("max(1,234)", "may be one number or several"),
        ("log(1,024)", "write 1024, or 1, 024"),
        ("max(1,250, 3)", "may be one number or several"),
        ("50% + 1", "may mean percent or a remainder"),
        ("200 * 50% minus 3", "may mean percent or a remainder"),
        ("10% 80", "may mean percent or a remainder"),
        ("100 / 10% of 50", "in brackets"),
        ("100 divided by -10 percent of 50", "in brackets"),
        ("2 ^ 50% of 4", "in brackets"),
        ("2 cubed squared", "in brackets"),
        ("2²³", "in brackets"),
        ("5 # + 3", "Not readable"),
        ("2 + two", "There is no 'two' here"),
        ("eval('1')", "There is no function 'eval' here"),
        ("__import__('os')", "There is no function '__import__' here"),
        ("(1).__class__", "Not possible here"),
        ("abs.__self__", "Not possible here"),
        ("[1, 2]", "Not possible here"),
        ("1 if 1 else 2", "Not possible here"),
        ("'a' * 9", "Not a number"),
        ("True + 1", "Not a number"),
        ("1j", "Not a number"),
        ("max(*1)", "Not possible here"),
        ("abs(**1)", "Not possible here"),
        ("1 << 99", "Not possible here"),
        ("~1", "Not possible here"),
        ("1; 2", "Not readable"),
        ("", "Not readable"),
        ("\x00", "Not readable"),
        ("(" * 400, "Not readable"),
        ("-" * 900 + "1", "Nested too deeply"),
        ("9" * 999 + "+" + "9" * 5000, "Too long"),
        ("1+" * 900 + "1", "Too long"),
    ],
)
def test_what_is_no_arithmetic_is_refused_at_once(expression: str, reason: str) -> None:
    began = time.monotonic()
    with pytest.raises(Refused, match=reason):
        calculated(expression)
    assert time.monotonic() - began < 0.5


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("a, b = 0, 1\nfor i in range(10):\n    a, b = b, a + b\na", "55"),
        ("[n for n in range(2, 30) if all(n % d for d in range(2, n))]", "[2, 3, 5, 7, 11, 13, 17, 19, 23, 29]"),
        ("statistics.median([3, 9, 12])", "9"),
        ("mean([1, 2])", "1.5"),
        ("math.comb(49, 6)", "13983816"),
        ("x = 10\nwhile x > 3:\n    x -= 2\nx", "2"),
        ("if 1 < 2 < 3 and not False:\n    y = 5\nelse:\n    y = 6\ny", "5"),
        ("sum(i * i for i in range(101))", "338350"),
        ("{n: n ** 2 for n in [1, 2]}[2]", "4"),
        ("x = [1, 2, 3]\nx[::-1] + [0] * 2", "[3, 2, 1, 0, 0]"),
        ("i = 5\n[i for i in range(3)]\ni", "5"),
        ("max([1, 2]) if 3 in (1, 3) else 0", "2"),
        ("len({1, 1, 2})", "2"),
        ("sorted([3, 1], reverse=True)", "[3, 1]"),
        ("total = 5", "5"),
        ("statistics.quantiles([1, 2, 3, 4], n=2)", "[2.5]"),
        ("math.prod([2, 3]) + math.lcm(4, 6)", "18"),
    ],
)
async def test_programs_run(code: str, value: str) -> None:
    assert await python_math().ainvoke({"code": code}) == value


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("x = 0\nwhile True:\n    x += 1", "too many steps"),
        ("a = [1]\nfor i in range(60):\n    a = [a, a]\na", "too long"),
        ("[[0] * 9999 for _ in range(9999)]", "too many steps"),
        ("[[j for j in range(9999)] for i in range(9999)]", "too many steps"),
        ("[0] * 10 ** 9", "too long"),
        ("list(range(10 ** 30))", "too l"),
        ("[2 ** 13999 - i for i in range(9999)]", "too many steps"),
        ("math.comb(10 ** 9, 5 * 10 ** 8)", "too large"),
        ("math.perm(10 ** 9, 10 ** 8)", "too large"),
        ("math.prod([10 ** 4000] * 9)", "too large"),
        ("math.lcm(*[1])", "Not possible here"),
        ("math.lcm(10 ** 4000, 10 ** 4000 + 1)", "too large"),
        ("quantiles([1, 2], n=10 ** 9)", "at most 1000"),
        ("'%1000000000d' % 1", "Not a number"),
        ("'a' * 10 ** 9", "Not a number"),
        ("f'{1}'", "Not possible here"),
        ("import os", "Not possible here"),
        ("open('/etc/passwd')", "There is no function 'open' here"),
        ("().__class__.__bases__", "There is no"),
        ("math.__dict__", "There is no 'math.__dict__' here"),
        ("math.sqrt.__self__", "There is no"),
        ("statistics.sys", "There is no"),
        ("f = abs", "There is no 'abs' here"),
        ("lambda: 1", "Not possible here"),
        ("def f(): return 1", "Not possible here"),
        ("(x := 1)", "Not possible here"),
        ("x[0] = 1", "Only names"),
        ("a, b = 1, 2, 3", "ValueError"),
        ("[1][5]", "IndexError"),
        ("{1: 2}[5]", "KeyError"),
        ("[1] + (1,)", "Lists can be added"),
        ("5[0]", "Not a list"),
        ("for i in 5:\n    i", "Not a list"),
        ("mean([])", "StatisticsError"),
        ("for i in []:\n    i\nelse:\n    1", "no else"),
        ("1 +", "Not readable"),
        ("if 0:\n    1", "No result"),
        ("x", "There is no 'x' here"),
        ("1\n" * 5001, "Too long"),
    ],
)
def test_programs_reach_and_fill_nothing(code: str, reason: str) -> None:
    began = time.monotonic()
    with pytest.raises(Refused, match=reason):
        ran(code)
    assert time.monotonic() - began < 5


def test_long_results_are_cut() -> None:
    assert ran("[10 ** 1000] * 9").endswith("[Cut here: 9,027 characters]")
