"""Transports for tests that have no event loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import Any

from las_langchain.providers import Target
from las_langchain.transports import Transport, chunks_of
from las_langchain.transports.background import BACKGROUND

Json = dict[str, Any]


class Blocking:
    """*transport* with synchronous forms of its methods, which run as the service's do.

    Args:
        transport: whose other methods and attributes are there too.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def complete(self, target: Target, body: Json) -> Json:
        """Answer a chat request."""
        return BACKGROUND.run(self._transport.acomplete(target, body))

    def stream(self, target: Target, body: Json) -> Generator[Json]:
        """Answer a chat request in chunks."""
        return BACKGROUND.iterate(self.astream(target, body))

    def astream(self, target: Target, body: Json) -> AsyncGenerator[Json]:
        """The same, asynchronously."""
        return chunks_of(self._transport.astream(target, body))

    def astream_text(self, target: Target, body: Json) -> AsyncGenerator[Json]:
        """Go on with a text in chunks."""
        return chunks_of(self._transport.astream_text(target, body))

    def embed(self, target: Target, body: Json) -> Json:
        """Answer an embeddings request."""
        return BACKGROUND.run(self._transport.aembed(target, body))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
