"""LangChain's messages and OpenAI's dicts, translated both ways by pure functions.

``requests`` turns LangChain's messages into OpenAI's, ``received`` does the opposite, ``answers`` turns a whole answer
into LangChain's result, ``streams`` does so chunk by chunk, and ``blocks`` gives an answer's standard content blocks.
``media`` needs no LangChain, which is imported with the first of the others' names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from las_langchain.lazy import imported_on_use

if TYPE_CHECKING:
    from las_langchain.messages.answers import chat_result, usage_metadata
    from las_langchain.messages.received import from_openai
    from las_langchain.messages.requests import countable, to_openai
    from las_langchain.messages.streams import StreamState

__all__ = ["StreamState", "chat_result", "countable", "from_openai", "to_openai", "usage_metadata"]

_HOMES = {
    "StreamState": "streams",
    "chat_result": "answers",
    "countable": "requests",
    "from_openai": "received",
    "to_openai": "requests",
    "usage_metadata": "answers",
}
__getattr__ = imported_on_use(__name__, _HOMES)
