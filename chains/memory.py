"""Stand-in for the conversations' memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from las_langchain.settings import LASSettings

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver


def checkpointer(settings: LASSettings) -> BaseCheckpointSaver[str]:
    """A memory of this process."""
    from langgraph.checkpoint.memory import InMemorySaver

    return InMemorySaver()
