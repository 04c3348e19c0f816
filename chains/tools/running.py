"""How the agent runs its tools: for a limited time, with failures and long results as texts for the model."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from langchain.agents.middleware import AgentMiddleware, ToolErrorMiddleware
from langchain_core.messages import ToolMessage

from las_langchain.errors import APIConnectionError, APITimeoutError, in_a_line

if TYPE_CHECKING:
    from langchain.agents.middleware.types import ToolCallRequest
    from langgraph.types import Command

    Result = ToolMessage | Command[Any]
    Handler = Callable[[ToolCallRequest], Awaitable[Result]]

LONGEST_RESULT = 30_000
"""Characters of a result that the model is given."""
_LONGEST_ERROR = 500
_PATIENCE = 0.2
"""Seconds that a tool which is given up is waited for; a server's program may take longer to end."""


class ToolLimits(AgentMiddleware[Any, Any, Any]):
    """Ends tools that take too long, and cuts what is too long for a model.

    Args:
        seconds: longest run of a tool.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        # The loop keeps no task alive.
        self._ending: set[asyncio.Task[Result]] = set()

    async def awrap_tool_call(self, request: ToolCallRequest, handler: Handler) -> Result:
        """Run one call.

        Raises:
            APITimeoutError: it took too long; it is told to end, and not waited for.
            APIConnectionError: it gave itself up, as what waits for a server may do; the run goes on.
        """
        task = asyncio.ensure_future(handler(request))
        try:
            done, _ = await asyncio.wait({task}, timeout=self._seconds)
        except asyncio.CancelledError:
            await self._end(task)
            raise
        if not done:
            await self._end(task)
            raise APITimeoutError(f"{request.tool_call['name']} did not end within {self._seconds:g} seconds")
        if task.cancelled():
            raise APIConnectionError(f"{request.tool_call['name']} was given up before it had a result")
        return _shortened(task.result())

    async def _end(self, task: asyncio.Task[Result]) -> None:
        self._ending.add(task)
        task.add_done_callback(self._ended)
        task.cancel()
        await asyncio.wait({task}, timeout=_PATIENCE)

    def _ended(self, task: asyncio.Task[Result]) -> None:
        self._ending.discard(task)
        if not task.cancelled():
            # Asked for, so that the loop does not report what nobody waits for.
            task.exception()


class Unapproved(AgentMiddleware[Any, Any, Any]):
    """Refuses tools that a person must approve, in runs that cannot wait for one.

    Args:
        names: of these tools.
    """

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self._names = frozenset(names)

    async def awrap_tool_call(self, request: ToolCallRequest, handler: Handler) -> Result:
        """Run one call, or refuse it."""
        name = request.tool_call["name"]
        if name not in self._names:
            return await handler(request)
        return ToolMessage(
            f"{name} was not run: a person must approve it, which needs a conversation with a thread_id.",
            name=name,
            tool_call_id=request.tool_call["id"] or "",
            status="error",
        )


def errors_as_texts() -> ToolErrorMiddleware[Any, Any]:
    """Tells the model of every failure of a tool, in one line."""
    return ToolErrorMiddleware(on_error=lambda error, request: in_a_line(error, _LONGEST_ERROR))


def _shortened(result: Result) -> Result:
    """*result* as models take it: its texts as one, cut where they are too long, and its pictures."""
    if not isinstance(result, ToolMessage):
        return result
    blocks = result.content if isinstance(result.content, list) else [result.content]
    pictures = [block for block in blocks if isinstance(block, dict) and block.get("type") == "image"]
    text = "\n".join(_text(block) for block in blocks if block not in pictures)
    if len(text) > LONGEST_RESULT:
        text = f"{text[:LONGEST_RESULT]}\n[Cut here: the result has {len(text):,} characters.]"
    content: Any = [*([{"type": "text", "text": text}] if text else []), *pictures] if pictures else text
    return result.model_copy(update={"content": content})


def _text(block: Any) -> str:
    if isinstance(block, str):
        return block
    if block.get("type") == "text":
        return str(block.get("text", ""))
    # Few models take files, and one that is refused would end the conversation.
    return f"[A {block.get('type')}, {block.get('mime_type') or 'of unknown kind'}: {block.get('url') or 'not shown'}]"
