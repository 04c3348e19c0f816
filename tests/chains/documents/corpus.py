"""A corpus of real documents, the beginnings of the installed packages' own descriptions, and questions to it."""

from __future__ import annotations

import re
from email import message_from_string
from importlib.metadata import distributions
from pathlib import Path

LONGEST = 300
"""Letters of a document."""
LEAST = 60
"""Letters of a document below which it is left out."""

QUESTIONS = {
    "How can I parse dates and times and shift them between time zones in a friendlier way?": "arrow",
    "What gives me a list of Mozilla's trusted root certificates?": "certifi",
    "Which tool finds out the character encoding of a text file?": "charset-normalizer",
    "I want to render templates with placeholders into HTML pages": "Jinja2",
    "How do I talk to SQLite from asyncio without blocking?": "aiosqlite",
    "What do I use to retry something that keeps failing?": "tenacity",
    "Where can I find a pure python way to merge and crop PDF pages?": "pypdf",
    "Which library checks types in programs statically?": "mypy",
    "A very fast linter and formatter written in Rust": "ruff",
    "How can I send a file to the trash instead of deleting it for good?": "Send2Trash",
    "How do I compute the width of Chinese or emoji characters on a terminal?": "wcwidth",
    "What shows a progress meter around a loop?": "tqdm",
    "Which package makes fake certificate authorities for testing TLS?": "trustme",
    "How do I read running processes and memory or CPU utilisation of the system?": "psutil",
    "control an interactive console program such as passwd or ftp by expecting its prompts": "pexpect",
    "What are the dict and list types that stay in order of their keys?": "sortedcontainers",
    "How to lock a file so that two processes do not write it at once?": "filelock",
    "property-based testing that finds the edge cases by itself": "hypothesis",
    "Which object relational mapper and SQL toolkit is there?": "SQLAlchemy",
    "How is the folder for a user's configuration found on each operating system?": "platformdirs",
}

OFF_TOPIC = (
    "What is the boiling point of mercury?",
    "Who won the football world cup in 1998?",
    "How do I bake sourdough bread?",
    "When did the Roman Empire fall?",
    "What should I feed a kitten?",
    "How tall is Mount Everest?",
    "Which wine goes with grilled salmon?",
    "What are the symptoms of measles?",
    "How far is the moon from the earth?",
    "Who painted the Mona Lisa?",
    "When should tomatoes be planted in the garden?",
    "Why is the sky blue?",
)


def write_corpus(folder: Path) -> int:
    """Write the documents into *folder*; gives how many there are."""
    for package in distributions():
        # Not its metadata attribute, which is another once importlib_metadata is imported.
        metadata = message_from_string(package.read_text("METADATA") or "")
        described = _plain(str(metadata.get_payload()))
        text = f"# {package.name}\n\n{metadata['Summary'] or ''}\n\n{described}"[:LONGEST]
        if len(text) >= LEAST and package.name != "las-langchain":
            (folder / f"{package.name}.md").write_text(text)
    return sum(1 for _ in folder.iterdir())


def _plain(description: str) -> str:
    """*description* without badges and markup, which most of them begin with."""
    lines = (
        re.sub(r"\S*https?://\S*|<[^>]*>|^\s*[.:=#*`|-]+.*$|!?\[[^\]]*\]", "", line)
        for line in description.splitlines()
    )
    return "\n".join(line.strip() for line in lines if len(line.split()) > 3)
