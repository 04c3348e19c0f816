"""Citations such as ``[2]`` in an answer that streams."""

from __future__ import annotations

import re

_CITATION = re.compile(r"(?P<space>[ \t]*)\[(?P<numbers>\d{1,4}(?:[ \t]*,[ \t]*\d{1,4})*)\]|(?P<code>`+)")
# What may become a citation with the next piece.
_UNFINISHED = re.compile(r"(?:[ \t]*\[[\d, \t]{0,60}|[ \t]+|`+)\Z")


class Citations:
    """Lets through an answer piece by piece, without citations of passages that there are not.

    Code in backticks is left as it is: ``values[9]`` cites nothing.

    Args:
        count: passages that may be cited, from 1 on.

    Attributes:
        cited: the numbers that were cited.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._held = ""
        self._code = ""
        self.cited: set[int] = set()

    def passed(self, piece: str) -> str:
        """What can be shown of the answer with this next *piece* of it."""
        text = self._held + piece
        unfinished = _UNFINISHED.search(text)
        end = unfinished.start() if unfinished else len(text)
        self._held = text[end:]
        return self._checked(text[:end])

    def rest(self) -> str:
        """What is left to be shown where the answer has ended."""
        held, self._held = self._held, ""
        return self._checked(held)

    def _checked(self, text: str) -> str:
        return _CITATION.sub(self._replaced, text)

    def _replaced(self, match: re.Match[str]) -> str:
        if marks := match["code"]:
            # Code ends with as many marks as it began with.
            self._code = marks if not self._code else "" if marks == self._code else self._code
            return marks
        if self._code:
            return match[0]
        numbers = [int(number) for number in match["numbers"].split(",")]
        known = [number for number in numbers if 1 <= number <= self._count]
        self.cited.update(known)
        if known == numbers:
            return match[0]
        return f"{match['space']}[{', '.join(map(str, known))}]" if known else ""
