"""What is read out of files of each kind, and which are skipped for which reason."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from langchain_core.document_loaders import BaseLoader
from langchain_core.documents import Document
from langchain_text_splitters import Language

from chains.documents.files import files_below
from chains.documents.reading import MOST_MEGABYTES, Read, SkippedError, Text, content_of, document_of, loader_of
from chains.documents.splitting import _LANGUAGES, SECTION, Splitter
from tests.chains.documents.files import encrypted, pdf_of

WORDS = "Grüße – “naïve” café, 10 €"


def text_of(name: str, content: bytes) -> str:
    """The only text of a file."""
    (text,) = document_of(name, content).texts
    return text.text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_text_of_any_encoding_is_read(encoding: str) -> None:
    assert text_of("notes.txt", WORDS.encode(encoding)) == WORDS


def test_big_endian_utf_16_is_read() -> None:
    assert text_of("notes.txt", b"\xfe\xff" + WORDS.encode("utf-16-be")) == WORDS


def test_what_no_encoding_explains_is_read_as_latin_1() -> None:
    assert text_of("notes.txt", b"caf\xe9 \x81\x8d") == "café \x81\x8d"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "binary"),
        (bytes(range(1, 32)) * 9, "binary"),
        (b"\xff\xfea\0b", "broken UTF-16"),
        (b"\xef\xbb\xbfa\xff", "broken UTF-8"),
        (b"", "no text in it"),
        (b" \n\t\n", "no text in it"),
    ],
    ids=["picture", "control", "utf-16", "utf-8", "empty", "blank"],
)
def test_what_is_no_text_is_skipped(content: bytes, reason: str) -> None:
    with pytest.raises(SkippedError) as caught:
        document_of("notes.txt", content)
    assert str(caught.value) == reason


def test_colours_of_terminals_make_a_log_no_binary_file() -> None:
    assert "done" in text_of("run.log", b"\x1b[32mdone\x1b[0m\n")


def test_markdowns_first_heading_is_its_title() -> None:
    assert document_of("a.md", b"intro\n\n## The *Guide* ##\n\n# Other\n").title == "The *Guide*"
    assert document_of("a.txt", b"# A comment\n").title is None
    assert document_of("a.md", b"# ##\n").title is None


def test_a_heading_of_marks_alone_takes_no_time() -> None:
    began = time.process_time()
    document_of("a.md", b"#" + b" #" * 20_000 + b"x")
    assert time.process_time() - began < 4


PAGE = """<!doctype html><html><head><title> The  Manual
</title><style>p {color: red}</style><script>var secret = 1;</script></head><body>
<nav>Home</nav><h1>Setting <em>up</em></h1><p>Press the <b>green</b>
button.</p><p hidden>Not shown.</p><div style="display:none">Nor this.</div><!-- nor that -->
<table><tr><td>Volts</td><td>230</td></tr></table><pre>one
  two</pre><noscript>Turn it on</noscript></body></html>"""


def test_html_gives_its_title_and_what_can_be_seen() -> None:
    read = document_of("manual.html", PAGE.encode())

    assert read.title == "The Manual"
    text = read.texts[0].text
    assert "Setting up\n" in text
    assert "Press the green button." in text
    assert "one\n  two" in text
    assert [line.strip() for line in text.splitlines() if line.strip()][-4:] == ["Volts", "230", "one", "  two".strip()]
    for hidden in ("secret", "color", "Not shown", "Nor this", "nor that", "Turn it on", "Manual"):
        assert hidden not in text
    assert not read.texts[0].has_lines


def test_html_is_read_in_the_encoding_that_it_names() -> None:
    page = '<meta charset="iso-8859-2"><p>Łódź</p>'
    assert text_of("a.htm", page.encode("iso-8859-2")) == "Łódź"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_html_without_a_named_encoding_is_read_as_text_is(encoding: str) -> None:
    assert text_of("a.htm", "<p>Grüße – “naïve”".encode(encoding)) == "Grüße – “naïve”"


def test_html_whose_head_has_no_end_is_read() -> None:
    read = document_of("a.html", b"<!doctype html><head><title>Cats</title><body><p>Cats sleep.")
    assert (read.title, [text.text for text in read.texts]) == ("Cats", ["Cats sleep."])


@pytest.mark.parametrize("row", ["<p>one</p>", "<p>", "<tr><td>a<td>b"])
def test_long_html_is_read_in_time_in_proportion(row: str) -> None:
    began = time.process_time()
    with suppress(SkippedError):
        document_of("a.html", (row * 5_000).encode())
    assert time.process_time() - began < 4


@pytest.mark.parametrize(
    "content",
    [b"<", b"<p", b"<p><p></b></i>x", b"<!DOCTYPE", b"<?xml version='1.0'?><html>x</html>", b"<![no<p>x"],
)
def test_broken_html_is_read_or_skipped_without_a_warning(content: bytes) -> None:
    with suppress(SkippedError):
        assert document_of("a.html", content).texts


def test_a_pdf_keeps_its_pages_and_title() -> None:
    read = document_of("a.bin", pdf_of(["First page", "", "Third page"], "The Report"))
    assert read == Read("The Report", [Text("First page", 1), Text("Third page", 3)])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (encrypted(pdf_of(["secret"]), "pass"), "encrypted PDF"),
        (pdf_of(["cut"])[:-150].replace(b"/Root", b"/Rot"), "broken PDF"),
        (b"%PDF-1.7", "broken PDF"),
        (b"", "broken PDF"),
        (pdf_of(["", ""]), "no text in it"),
    ],
    ids=["encrypted", "cut", "mark", "empty", "scanned"],
)
def test_a_pdf_that_cannot_be_read_is_skipped(content: bytes, reason: str) -> None:
    with pytest.raises(SkippedError, match=f"^{reason}"):
        document_of("a.pdf", content)


def test_a_pdf_that_needs_no_password_for_reading_is_read() -> None:
    assert text_of("a.pdf", encrypted(pdf_of(["open"]), "")) == "open"


def test_large_files_and_others_than_files_are_not_read(tmp_path: Path) -> None:
    large, pipe = tmp_path / "large.txt", tmp_path / "pipe"
    with large.open("wb") as file:
        file.truncate(MOST_MEGABYTES * 10**6 + 1)
    os.mkfifo(pipe)

    with pytest.raises(SkippedError, match="larger than 50 MB"):
        content_of(str(large))
    with pytest.raises(SkippedError, match="not a regular file"):
        content_of(str(pipe))


def test_the_longest_end_of_a_name_chooses_the_loader() -> None:
    loaders = {".gz": "Packed", ".tar.gz": "Archive"}
    assert loader_of("/a/B.TAR.GZ", loaders) == "Archive"
    assert loader_of("/a/b.gz", loaders) == "Packed"
    assert loader_of("/a/b.zip", loaders) is None


class Loader(BaseLoader):
    """Gives a document with the metadata of langchain-community's loaders."""

    def __init__(self, path: str) -> None:
        self.path = path

    def lazy_load(self) -> Iterator[Document]:
        """Two pages."""
        if "broken" in self.path:
            raise ImportError("docx2txt is missing,\npip install docx2txt")
        yield Document("one\0 \ud800", metadata={"page": 0, "title": "Loaded"})
        yield Document("two", metadata={"page": 0, "page_number": 2})


def test_a_loader_of_others_reads_by_path() -> None:
    assert document_of("/a/b.docx", b"\0", Loader) == Read("Loaded", [Text("one ?", 1), Text("two", 2)])
    with pytest.raises(
        SkippedError, match=r"^Loader failed \(ImportError: docx2txt is missing, pip install docx2txt\)$"
    ):
        document_of("/broken.docx", b"\0", Loader)


# Folders


def below(root: Path) -> tuple[list[str], dict[str, str]]:
    """The files below *root*, and what could not be listed."""
    failed: dict[str, str] = {}
    found = [str(Path(path).relative_to(root)) for path in files_below(root, failed.__setitem__)]
    return found, failed


def test_folders_are_read_without_what_is_hidden_and_without_going_in_circles(tmp_path: Path) -> None:
    for name in ("b.txt", "a/z.md", "a/.hidden", ".git/config", "a/c/d.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "a/c/up").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path / "a")
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    (tmp_path / "self").symlink_to(tmp_path / "self")

    found, failed = below(tmp_path)

    assert found == ["b.txt", "nowhere", "self", "a/z.md", "a/c/d.txt"]
    assert not failed


def test_a_hidden_file_that_is_named_is_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("x")
    assert list(files_below(tmp_path / ".env", lambda path, reason: None)) == [str(tmp_path / ".env")]


# Passages


def passages(name: str, text: str, **fields: Any) -> list[tuple[str, int | None]]:
    """The passages of a text, with their lines."""
    splitter = Splitter(name, fields.get("size", 100), fields.get("overlap", 20))
    return [(one.text, one.line) for one in splitter.passages(Text(text, has_lines=True))]


@pytest.mark.parametrize("language", sorted({*_LANGUAGES.values()}))
def test_the_splitters_know_each_language(language: str) -> None:
    assert language in {one.value for one in Language}
    suffix = next(suffix for suffix, known in _LANGUAGES.items() if known == language)
    assert len(passages(f"a{suffix}", "some code here\n" * 30)) > 3


def test_code_is_divided_where_its_language_is() -> None:
    code = "".join(f"def function_{number}():\n    first = 1\n    return first + {number}\n\n\n" for number in range(5))
    parts = passages("a.py", code, size=70, overlap=0)
    assert len(parts) == 5
    assert all(part.startswith("def ") for part, _ in parts)
    assert [line for _, line in parts] == [1, 6, 11, 16, 21]


def test_passages_know_their_lines_in_long_texts_too() -> None:
    lines = [f"line {number} " + "word " * (number % 7) for number in range(1, 60_000)]
    text = "\n".join(lines)
    assert len(text) > 3 * SECTION
    for part, line in passages("a.txt", text):
        assert line is not None
        assert lines[line - 1].startswith(part.split("\n")[0].strip()) or part.split("\n")[0] in lines[line - 1]


def test_no_passage_is_too_long_and_no_word_is_lost() -> None:
    text = "x" * 250_000 + " end"
    parts = [part for part, _ in passages("a.txt", text, size=1000, overlap=0)]
    assert max(map(len, parts)) <= 1000
    assert "".join(parts).replace(" ", "") == text.replace(" ", "")
