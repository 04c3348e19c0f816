"""From a file to its texts: plain text and code, Markdown, HTML, PDF, and what loaders of others read."""

from __future__ import annotations

import codecs
import hashlib
import io
import re
import stat
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bs4 import BeautifulSoup

MOST_MEGABYTES = 50
"""Size of a file up to which it is read."""
_LONGEST_TITLE = 200

_MARKDOWN = frozenset({".md", ".markdown", ".mdx"})
_HTML = frozenset({".html", ".htm", ".xhtml"})
# Longer marks first: UTF-32's begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_HEADING = re.compile(r"^#{1,2}[ \t]+(\S.*)$", re.MULTILINE)
_NOT_TEXT = bytes({*range(32)} - set(b"\a\b\t\n\v\f\r\x1b"))
_MOST_NOT_TEXT = 0.01
"""Share of such bytes up to which a file is text."""
_BLOCKS = frozenset(
    "address article aside blockquote body br caption dd details div dl dt fieldset figcaption figure footer form h1 "
    "h2 h3 h4 h5 h6 header hr li main nav ol option p pre section summary table td th tr ul".split()
)
# Not head: where its end tag is left out, as it may be, the body is in it.
_HIDDEN = (
    "[hidden], [aria-hidden=true], [style*='display:none'], [style*='display: none'], noscript, title, svg, select"
)


class SkippedError(Exception):
    """A file cannot be read; the message says why, in a few words."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text of a document: the whole of it, or a page.

    Attributes:
        text: what it says.
        page: its page, counted from 1, where the document has pages.
        has_lines: whether its lines are those of the file.
    """

    text: str
    page: int | None = None
    has_lines: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """A document as it was read: its *title*, where it has one, and its *texts*."""

    title: str | None
    texts: list[Text]


def content_of(path: str) -> bytes:
    """The bytes of the file *path*.

    Raises:
        OSError: it cannot be read.
        SkippedError: it is no regular file, or too large, or its name cannot be stored.
    """
    if not _is_unicode(path):
        raise SkippedError("its name is not UTF-8: rename it")
    state = Path(path).stat()
    if not stat.S_ISREG(state.st_mode):
        raise SkippedError("not a regular file")
    if state.st_size > MOST_MEGABYTES * 1e6:
        raise SkippedError(f"larger than {MOST_MEGABYTES} MB")
    return Path(path).read_bytes()


def digest_of(content: bytes) -> str:
    """The SHA-256 of *content*."""
    return hashlib.sha256(content).hexdigest()


def loader_of(path: str, loaders: Mapping[str, str]) -> str | None:
    """The name of the loader that is set for the file *path*, by the longest end of its name; None: none is."""
    name = Path(path).name.lower()
    return next((loaders[end] for end in sorted(loaders, key=len, reverse=True) if name.endswith(end)), None)


def document_of(path: str, content: bytes, loader: type | None = None) -> Read:
    """The document in the file *path*.

    Args:
        path: of the file.
        content: its bytes.
        loader: a loader's class, which is called with the path; None: the file's kind is told by its name and content.

    Raises:
        SkippedError: it cannot be read, or holds no text.
    """
    read = _kind_of(path, content)(content) if loader is None else _loaded(path, loader)
    texts = [Text(_storable(one.text), one.page, one.has_lines) for one in read.texts if one.text.strip()]
    if not texts:
        raise SkippedError("no text in it")
    title = " ".join(_storable(read.title or "").split())[:_LONGEST_TITLE]
    return Read(title or None, texts)


def _kind_of(path: str, content: bytes) -> Any:
    suffix = Path(path).suffix.lower()
    if content.startswith(b"%PDF-") or suffix == ".pdf":
        return _pdf
    if suffix in _HTML:
        return _html
    return _markdown if suffix in _MARKDOWN else _plain


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _storable(text: str) -> str:
    """*text* without what neither SQLite nor JSON can hold, and PDF files do."""
    return text.replace("\0", "").encode(errors="replace").decode()


def _decoded(content: bytes) -> str:
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            try:
                return content.decode(encoding)
            except UnicodeDecodeError:
                raise SkippedError(f"broken {encoding.removesuffix('-sig').upper()}") from None
    if _is_binary(content):
        raise SkippedError("binary")
    for encoding in ("utf-8", "cp1252"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1")


def _is_binary(content: bytes) -> bool:
    odd = len(content) - len(content.translate(None, _NOT_TEXT))
    return b"\0" in content or odd > _MOST_NOT_TEXT * len(content)


def _plain(content: bytes) -> Read:
    return Read(None, [Text(_decoded(content), has_lines=True)])


def _markdown(content: bytes) -> Read:
    text = _decoded(content)
    heading = _HEADING.search(text)
    return Read(heading[1].rstrip(" \t\r#") if heading else None, [Text(text, has_lines=True)])


def _html(content: bytes) -> Read:
    from bs4 import BeautifulSoup, ParserRejectedMarkup, XMLParsedAsHTMLWarning
    from bs4.dammit import EncodingDetector

    text = _decoded(content)
    # An encoding that is not named would be guessed, and badly where the text is short.
    is_named = EncodingDetector.find_declared_encoding(content, is_html=True) is not None
    with warnings.catch_warnings():
        # XHTML is read well enough as HTML.
        warnings.simplefilter("ignore", XMLParsedAsHTMLWarning)
        try:
            soup = BeautifulSoup(content if is_named else text, "html.parser")
        except ParserRejectedMarkup:
            raise SkippedError("broken HTML") from None
    title = soup.title.get_text() if soup.title else None
    return Read(title, [Text(_visible(soup))])


def _visible(soup: BeautifulSoup) -> str:
    from bs4.element import CData, NavigableString, PageElement, Tag

    hidden = {id(tag) for tag in soup.select(_HIDDEN)}
    pieces: list[str] = []
    # Changing the tree instead takes time with the square of its size.
    waiting: list[tuple[PageElement, bool]] = [(soup, False)]
    while waiting:
        node, is_pre = waiting.pop()
        if isinstance(node, Tag) and id(node) not in hidden:
            is_pre = is_pre or node.name == "pre"
            border = NavigableString("\n" if node.name in _BLOCKS else "")
            pieces.append(border)
            waiting += [(border, True), *((child, is_pre) for child in reversed(node.contents))]
        elif type(node) in (NavigableString, CData):
            pieces.append(str(node) if is_pre else re.sub(r"\s+", " ", str(node)))
    lines = (line.rstrip() for line in "".join(pieces).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _pdf(content: bytes) -> Read:
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, FileNotDecryptedError

    try:
        reader = PdfReader(io.BytesIO(content))
        if reader.is_encrypted and not reader.decrypt(""):
            raise SkippedError("encrypted PDF")
        texts = [Text(page.extract_text(), number) for number, page in enumerate(reader.pages, 1)]
        title = reader.metadata.title if reader.metadata else None
        return Read(title if isinstance(title, str) else None, texts)
    except SkippedError:
        raise
    except (FileNotDecryptedError, DependencyError):
        raise SkippedError("encrypted PDF") from None
    except Exception as error:
        # What a broken file makes it stumble over may be anything.
        raise SkippedError(f"broken PDF ({_reason(error)})") from None


def _loaded(path: str, loader: Any) -> Read:
    try:
        made = loader(path)
        documents = list(made.lazy_load() if hasattr(made, "lazy_load") else made.load())
        texts = [Text(document.page_content, _page_of(document.metadata)) for document in documents]
        title = documents[0].metadata.get("title") if documents else None
    except Exception as error:
        raise SkippedError(f"{loader.__name__} failed ({_reason(error)})") from None
    return Read(title if isinstance(title, str) else None, texts)


def _page_of(metadata: Mapping[str, Any]) -> int | None:
    """The page of a part, counted from 1; the loaders of langchain-community count ``page`` from 0."""
    number, index = metadata.get("page_number"), metadata.get("page")
    if isinstance(number, int):
        return number
    return index + 1 if isinstance(index, int) else None


def _reason(error: Exception) -> str:
    said = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
