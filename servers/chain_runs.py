"""One run of a chain for a chat request."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig

from chains.chain import Chain
from chains.client_tools import offering
from chains.resent import resending
from las_langchain.asked import asking
from las_langchain.callers import calling
from las_langchain.service import LiteLLMService, using
from las_langchain.transports.background import ending_together
from servers.chain_chunks import Deltas, Steps, Whole, cut_off
from servers.chain_fields import ChainFields
from servers.chain_structure import structured
from servers.chain_usage import RunUsage
from servers.chain_watch import telling

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Put:
    """What is put to a chain.

    Attributes:
        given: its input.
        earlier: what was said before it, for chains that remember nothing of the thread yet.
        text: what is asked, for whoever must know what the answer is about.
        fields: what else is asked of it.
        thread: the conversation that it goes on with, by its full name; None: none.
    """

    given: Any
    earlier: Sequence[BaseMessage]
    text: str
    fields: ChainFields
    thread: str | None


class ChainRun:
    """One run; it is made once.

    Args:
        service: what the chain's models are called by.
        chain: whose run it is.
        runnable: the chain, built.
        put: what is put to it.

    Attributes:
        usage: of all calls so far.
        finish_reason: why the answer ended, once it has.
    """

    def __init__(self, service: LiteLLMService, chain: Chain, runnable: Runnable[Any, Any], put: Put) -> None:
        self._service, self._chain, self._runnable, self._put = service, chain, runnable, put
        self.usage = RunUsage()
        self.finish_reason = "stop"

    async def deltas(self, steps: Steps) -> AsyncGenerator[Json]:
        """The answer as deltas, the first of them, which may be empty, as soon as there is anything.

        To be iterated in one task.

        Args:
            steps: how steps are told.

        Raises:
            LASError: whatever went wrong with a call.
            Exception: whatever the chain raises.
        """
        offered, schema = self._put.fields.offered, self._put.fields.schema
        made, held = Deltas(self._chain, steps, offered.names if offered else ()), Whole()
        with self._surroundings():
            async with aclosing(self._parts(made)) as deltas:
                async for delta in deltas:
                    if schema is not None and "content" in delta:
                        held.add(delta)
                    else:
                        yield delta
            reason = made.finish_reason or cut_off(self.usage.finish_reason) or "stop"
            if schema is not None and held.text():
                text, reason = await self._fitted(held.text(), made, reason, schema)
                yield {"content": text}
        self.finish_reason = reason

    async def _parts(self, made: Deltas) -> AsyncGenerator[Json]:
        run = cast("AsyncGenerator[Any]", self._runnable.astream(self._put.given, self._config))
        begun = False
        async with aclosing(run) as parts:
            async for part in parts:
                if not begun:
                    begun = True
                    yield {}
                for delta in made.of(part):
                    yield delta
        for delta in made.rest():
            yield delta

    async def _fitted(self, text: str, made: Deltas, reason: str, schema: Json) -> tuple[str, str]:
        """The answer in the form that is asked for, and why it ended; a question to a person has none."""
        if made.is_question or reason == "tool_calls":
            return text, reason
        return await structured(text, made.output, self._put.text, schema, self._config), "stop"

    @contextmanager
    def _surroundings(self) -> Iterator[None]:
        """What the chain finds around it, however deep inside it looks."""
        fields = self._put.fields
        with ExitStack() as stack:
            stack.enter_context(ending_together())
            stack.enter_context(using(self._service))
            stack.enter_context(calling(chain=self._chain.name))
            stack.enter_context(telling(self.usage))
            stack.enter_context(asking(**fields.sampling))
            stack.enter_context(offering(fields.offered))
            stack.enter_context(resending(self._put.earlier))
            yield

    @property
    def _config(self) -> RunnableConfig:
        thread = self._put.thread
        configurable = {} if thread is None else {"configurable": {"thread_id": thread}}
        return cast("RunnableConfig", {"callbacks": [self.usage], **configurable})
