"""Long texts in parts that fit into a model's context."""

from __future__ import annotations

from collections.abc import Callable, Iterator

_BORDERS = (("\n\n",), ("\n",), (". ", "! ", "? ", "。", "！", "？"), (" ",))
"""Where a text is best cut, the best first."""
_LETTERS_PER_TOKEN = 4


def parts_of(text: str, most_tokens: int, count: Callable[[str], int]) -> list[str]:
    """*text* in parts of at most *most_tokens*, cut between paragraphs, else lines, sentences or words.

    The parts joined are the text. Takes time in proportion to its length, whatever is in it, which the recursive
    splitter of langchain-text-splitters does not: 10 MB of single letters take that half a minute.

    Args:
        text: of any length.
        most_tokens: tokens of a part; at least 1.
        count: how many tokens a text has; asked only about texts of up to about ``4 * most_tokens`` letters.
    """
    pending = list(_cut(text, _LETTERS_PER_TOKEN * most_tokens))[::-1]
    parts: list[str] = []
    while pending:
        part = pending.pop()
        # A token is at least a byte, so that short texts need no tokenizer.
        tokens = 0 if len(part.encode(errors="replace")) <= most_tokens else count(part)
        if tokens <= most_tokens or len(part) == 1:
            parts.append(part)
        else:
            # Some stretches are denser than others, so a little less than the share that fits.
            pending += list(_cut(part, max(1, len(part) * most_tokens * 9 // (tokens * 10))))[::-1]
    return parts


def _cut(text: str, size: int) -> Iterator[str]:
    """*text* in pieces of at most *size* letters, and, but for the last, at least half of that."""
    start = 0
    while len(text) - start > size:
        end = _border(text, start + (size + 1) // 2, start + size)
        yield text[start:end]
        start = end
    yield text[start:]


def _border(text: str, least: int, most: int) -> int:
    """The best place to cut *text* between two places."""
    for marks in _BORDERS:
        ends = (found + len(mark) for mark in marks if (found := text.rfind(mark, least - len(mark), most)) >= 0)
        if (end := max(ends, default=0)) >= least:
            return end
    return most
