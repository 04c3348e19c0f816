"""What people see of a page in HTML, read for a limited time: a small page can be written to take hours."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

from bs4 import BeautifulSoup
from bs4.element import CData, NavigableString, Tag
from bs4.exceptions import ParserRejectedMarkup

from las_langchain.errors import BadRequestError

SECONDS = 3.0
_UNSEEN = ("script", "style", "noscript", "template", "svg", "iframe", "object", "head")


class _Timed(BeautifulSoup):
    """A page whose parser ends when its thread has worked for too long."""

    def __init__(self, content: bytes, charset: str | None, seconds: float) -> None:
        self._end = time.thread_time() + seconds
        super().__init__(content, "html.parser", from_encoding=charset)

    def _check(self) -> None:
        if time.thread_time() > self._end:
            raise BadRequestError("The page takes too long to be read", param="url")

    def handle_starttag(self, *args: Any, **kwargs: Any) -> Any:
        self._check()
        return super().handle_starttag(*args, **kwargs)

    def handle_endtag(self, *args: Any, **kwargs: Any) -> None:
        self._check()
        super().handle_endtag(*args, **kwargs)

    def handle_data(self, data: str) -> None:
        self._check()
        super().handle_data(data)


def visible(content: bytes, charset: str | None, seconds: float = SECONDS) -> tuple[str, str]:
    """The title and the visible text of a page.

    Args:
        content: the page.
        charset: what it is said to be written in.
        seconds: longest work of the parser.

    Raises:
        BadRequestError: it cannot be read, or takes too long.
    """
    # What says that it is XML would be read as HTML with a warning.
    marked_up = re.sub(rb"^\s*<\?xml[^>]*>", b"", content)
    try:
        soup = _Timed(marked_up, charset, seconds)
    except ParserRejectedMarkup:
        raise BadRequestError("The page is no HTML that can be read", param="url") from None
    title = " ".join(soup.title.get_text().split()) if soup.title else ""
    return title, "\n".join(_texts(soup))


def _texts(soup: BeautifulSoup) -> Iterator[str]:
    """The texts that can be seen, without comments; neither recursive, nor slow where there are many elements."""
    open_ = [iter(soup.contents)]
    while open_:
        node = next(open_[-1], None)
        if node is None:
            open_.pop()
        elif isinstance(node, Tag):
            if node.name not in _UNSEEN and not _hidden(node):
                open_.append(iter(node.contents))
        elif type(node) in (NavigableString, CData):
            yield str(node)


def _hidden(element: Tag) -> bool:
    style = "".join(str(element.get("style", "")).lower().split())
    return element.has_attr("hidden") or "display:none" in style or "visibility:hidden" in style
