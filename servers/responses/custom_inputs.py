"""The input of a custom tool, out of the arguments of the function that stands for it."""

from __future__ import annotations

import json
import re

_BEGIN = re.compile(r'\s*\{\s*"input"\s*:\s*"')
_LONGEST_BEGIN = 200
_PLAIN = re.compile(r'[^"\\]+')
_ESCAPE = re.compile(r"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.))", re.S)
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_BEGUN_ESCAPE = re.compile(
    r"\\(?:u[0-9a-fA-F]{0,3}|u[dD][89abAB][0-9a-fA-F]{2}(?:\\(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?)?"
)
"""What may become an escape, or a pair of two that are one letter."""


class InputReader:
    """Reads the text of ``{"input": "…"}`` as its pieces come.

    What models write instead, such as the text itself, is read when it is whole.
    """

    def __init__(self) -> None:
        self._raw: list[str] = []
        self._rest = ""
        self._begun = self._ended = False
        self._read: list[str] = []

    def feed(self, piece: str) -> str:
        """The letters that are known now."""
        self._raw.append(piece)
        if self._ended:
            return ""
        self._rest += piece
        if not self._begun:
            begin = _BEGIN.match(self._rest)
            if begin is None or begin.end() > _LONGEST_BEGIN:
                self._ended = len(self._rest) > _LONGEST_BEGIN
                return ""
            self._begun, self._rest = True, self._rest[begin.end() :]
        letters = self._decoded()
        self._read.append(letters)
        return letters

    def end(self) -> tuple[str, str]:
        """The letters that were not known yet, and the whole text."""
        if self._begun:
            return "", "".join(self._read)
        whole = _other_form("".join(self._raw))
        return whole, whole

    def _decoded(self) -> str:
        letters: list[str] = []
        place, rest = 0, self._rest
        while place < len(rest) and not self._ended:
            if rest[place] == '"':
                self._ended = True
            elif plain := _PLAIN.match(rest, place):
                letters.append(plain.group())
                place = plain.end()
            elif escape := self._escape(rest, place):
                letters.append(_letter(escape))
                place = escape.end()
            else:
                break
        self._rest = rest[place:]
        return "".join(letters)

    @staticmethod
    def _escape(rest: str, place: int) -> re.Match[str] | None:
        """The escape at *place*, if it is whole: half of a pair may wait for its other half."""
        return None if _BEGUN_ESCAPE.fullmatch(rest, place) else _ESCAPE.match(rest, place)


def _letter(escape: re.Match[str]) -> str:
    high, low, code, letter = escape.groups()
    if high:
        return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00)
    if code:
        number = int(code, 16)
        # Half of a pair alone is no letter, and cannot be sent.
        return "\N{REPLACEMENT CHARACTER}" if 0xD800 <= number < 0xE000 else chr(number)
    return _LETTERS.get(letter, letter)


def custom_input(arguments: str) -> str:
    """The text in *arguments*, which are ``{"input": "…"}``, or whatever a model writes instead."""
    reader = InputReader()
    reader.feed(arguments)
    return reader.end()[1]


def _other_form(arguments: str) -> str:
    """The only text in an object; else all of it."""
    try:
        found = json.loads(arguments)
    except ValueError:
        return arguments
    if isinstance(found, dict):
        texts = [value for value in found.values() if isinstance(value, str)]
        given = found.get("input")
        if isinstance(given, str):
            return given
        if len(texts) == len(found) == 1:
            return texts[0]
    return found if isinstance(found, str) else arguments
