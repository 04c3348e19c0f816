"""From the texts of a document to passages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from chains.documents.reading import Text
from chains.documents.store import Passage

if TYPE_CHECKING:
    from langchain_text_splitters import RecursiveCharacterTextSplitter

SECTION = 200_000
"""Letters that are split at a time: a text without any spaces takes memory for every letter."""

# What the splitters know a language for, by the end of the file's name.
_LANGUAGES = {
    suffix: language
    for language, suffixes in {
        "c": ".c .h",
        "cobol": ".cob .cbl",
        "cpp": ".cc .cpp .cxx .hh .hpp",
        "csharp": ".cs",
        "elixir": ".ex .exs",
        "go": ".go",
        "haskell": ".hs",
        "java": ".java",
        "js": ".js .jsx .mjs .cjs",
        "kotlin": ".kt .kts",
        "latex": ".tex",
        "lua": ".lua",
        "markdown": ".md .markdown .mdx",
        "php": ".php",
        "powershell": ".ps1 .psm1",
        "proto": ".proto",
        "python": ".py .pyi",
        "rst": ".rst",
        "ruby": ".rb",
        "rust": ".rs",
        "scala": ".scala",
        "sol": ".sol",
        "swift": ".swift",
        "ts": ".ts .tsx",
        "visualbasic6": ".bas .frm",
    }.items()
    for suffix in suffixes.split()
}


class Splitter:
    """Divides the texts of the file *path* into passages.

    Args:
        path: its end tells the language.
        size: longest passage, in characters.
        overlap: what a passage repeats of the one before, in characters.
    """

    def __init__(self, path: str, size: int, overlap: int) -> None:
        self._splitter = _splitter(_LANGUAGES.get(Path(path).suffix.lower()), size, overlap)

    def passages(self, text: Text) -> Iterator[Passage]:
        """The passages of *text*, in its order."""
        line = 1
        for section in _sections(text.text):
            counted = 0
            for part in self._splitter.create_documents([section]):
                start = max(part.metadata["start_index"], counted)
                line += section.count("\n", counted, start)
                counted = start
                yield Passage(part.page_content, text.page, line if text.has_lines else None)
            line += section.count("\n", counted)


def _splitter(language: str | None, size: int, overlap: int) -> RecursiveCharacterTextSplitter:
    from langchain_text_splitters import Language, RecursiveCharacterTextSplitter

    separators = (
        None if language is None else RecursiveCharacterTextSplitter.get_separators_for_language(Language(language))
    )
    return RecursiveCharacterTextSplitter(
        separators,
        is_separator_regex=language is not None,
        chunk_size=size,
        chunk_overlap=overlap,
        add_start_index=True,
    )


def _sections(text: str) -> Iterator[str]:
    start = 0
    while start < len(text):
        end = start + SECTION
        if end < len(text):
            # Where a paragraph ends, or a line, or a word.
            marks = (text.rfind(mark, start + SECTION // 2, end) for mark in ("\n\n", "\n", " "))
            end = next((place + 1 for place in marks if place >= 0), end)
        yield text[start:end]
        start = end
