"""The words of a question, as SQLite's full-text search can look for them."""

from __future__ import annotations

import re

MOST_WORDS = 32
"""Words of a question that are looked for."""

_WORD = re.compile(r"[^\W_]+")
_COMMON = frozenset(
    "a about after all also am an and any are as at be because been before being but by can could did do does doing "
    "down during each few for from further get give had has have having he her here hers him his how i if in into is "
    "it its just may me might more most much must my no nor not of off on once only or other our out over own please "
    "same shall she should so some such tell than that the their them then there these they this those through to too "
    "under until up us use very want was we were what when where which while who whom whose why will with would yes "
    "you your".split()
)


def words_of(text: str) -> list[str]:
    """The words of *text* that mean something, each once, or all of them where none does; at most 32."""
    every = list(dict.fromkeys(_WORD.findall(text.lower())))
    telling = [word for word in every if word not in _COMMON and (len(word) > 1 or not word.isascii())]
    return (telling or every)[:MOST_WORDS]


def any_of(words: list[str]) -> str:
    """The query of FTS5 for what has one of *words*, which hold letters and digits alone; there must be one."""
    return " OR ".join(f'"{word}"' for word in words)
