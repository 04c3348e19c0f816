"""The code blocks of the guide in ``tests/guide``, and how its names are called here."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

GUIDE = Path(__file__).parent / "guide" / "litellm-integration-guide.md"

IMPORTS = {
    "services.litellm_service": "las_langchain",
    "sources.provider_factory": "las_langchain",
    "langchain.chains": "langchain_classic.chains",
    "langchain.prompts": "langchain_core.prompts",
}
"""The modules that the guide imports from, and those that hold the same names now; nothing else of it is changed."""

Test = TypeVar("Test", bound=Callable[..., Any])


@dataclass(frozen=True)
class Block:
    """A code block.

    Attributes:
        heading: the last heading above it.
        place: which block under that heading it is, from 0.
        language: as the block names it; empty for a drawing.
        text: what is in it.
        line: where it begins in the guide.
    """

    heading: str
    place: int
    language: str
    text: str
    line: int

    @property
    def name(self) -> tuple[str, int]:
        """The heading and the place, by which tests name it."""
        return self.heading, self.place


def read_blocks() -> list[Block]:
    """The guide's code blocks, in order."""
    blocks: list[Block] = []
    heading, language, lines = "", None, list[str]()
    for number, line in enumerate(GUIDE.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```") and language is None:
            language, lines = line[3:], []
        elif line.startswith("```"):
            place = sum(block.heading == heading for block in blocks)
            blocks.append(Block(heading, place, str(language), "\n".join(lines), number - len(lines)))
            language = None
        elif language is not None:
            lines.append(line)
        elif line.startswith("#"):
            heading = line.lstrip("# ")
    return blocks


BLOCKS = {block.name: block for block in read_blocks()}
COVERED: dict[tuple[str, int], list[str]] = {}
"""By the names of blocks, the tests that are about them."""


def covers(heading: str, place: int = 0) -> Callable[[Test], Test]:
    """Note that a test is about a block; the test finds the block by the same name."""

    def note(test: Test) -> Test:
        COVERED.setdefault((heading, place), []).append(test.__name__)
        return test

    return note


def translated(text: str) -> str:
    """A Python block with the module names in its import lines changed as in :data:`IMPORTS`."""

    def rename(line: re.Match[str]) -> str:
        return f"from {IMPORTS.get(line[1], line[1])} import"

    return re.sub(r"^from ([\w.]+) import", rename, text, flags=re.MULTILINE)


def run(heading: str, place: int = 0, **names: Any) -> dict[str, Any]:
    """Run a Python block; ``await`` at its top is allowed, as in a notebook.

    Args:
        heading: the heading above it.
        place: which block under that heading it is.
        names: what the reader is supposed to have defined by then.

    Returns:
        All names that are defined when it has run.
    """
    block = BLOCKS[heading, place]
    # A line of the guide is that line in a traceback.
    source = "\n" * (block.line - 1) + translated(block.text)
    code = compile(source, str(GUIDE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    result = eval(code, names)
    if inspect.iscoroutine(result):
        asyncio.run(result)
    return names
