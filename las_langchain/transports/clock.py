"""How long a stream is waited for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

from las_langchain.providers import Target

Json = dict[str, Any]

# Where a chunk of a chat, or of a completion, has its words.
_SAID = ("delta", "text")


class Clock:
    """How long a stream is waited for: for its beginning, and then from each piece of the answer to the next.

    A wait for each read would not do: a server that only sends headers, pings or empty chunks would hold the call for
    ever.

    Args:
        target: says how long.
    """

    def __init__(self, target: Target) -> None:
        self._between = target.stream_timeout
        self._time = asyncio.get_running_loop().time
        self._due = self._time() + target.timeout

    def patience(self) -> asyncio.Timeout:
        """What is waited in, at most until the next piece is due."""
        return asyncio.timeout_at(self._due)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Do not count what its reader does meanwhile."""
        since = self._time()
        yield
        self._due += self._time() - since

    def heard(self, *chunks: Json) -> None:
        """Begin to wait for the next piece, if one of *chunks* has one."""
        if any(choice.get("finish_reason") or _speaks(choice) for chunk in chunks for choice in chunk["choices"]):
            self.hear()

    def hear(self) -> None:
        """Begin to wait for the next piece."""
        self._due = self._time() + self._between


def _speaks(choice: Json) -> bool:
    return not _is_empty([choice.get(name) for name in _SAID])


def _is_empty(value: Any) -> bool:
    """Whether there is no word in *value*, a delta or a part of one."""
    if isinstance(value, dict):
        return all(_is_empty(item) for name, item in value.items() if name not in ("index", "type"))
    return all(map(_is_empty, value)) if isinstance(value, list) else value in (None, "")
