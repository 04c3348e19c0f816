"""A runnable made of one asynchronous generator, from which all four ways to call it follow."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import aclosing, closing
from typing import Any, cast

from langchain_core.messages import AIMessage, BaseMessageChunk, message_chunk_to_message
from langchain_core.runnables import ConfigurableFieldSpec, RunnableConfig, RunnableGenerator
from pydantic import BaseModel

from chains.inputs import checked
from las_langchain.transports.background import BACKGROUND

THREAD = ConfigurableFieldSpec(
    id="thread_id",
    annotation=str,
    name="Thread",
    description="Name of a conversation that is remembered; empty: none is",
    default="",
)


class Streamed(RunnableGenerator[Any, Any]):
    """What a generator function yields, as a runnable with sync and async ``invoke`` and ``stream``.

    Args:
        function: takes the input, as *input_type*, and the run's config, which it passes to what it calls. It yields
            ``AIMessageChunk`` objects, or texts, or one object.
        name: of its runs, in traces.
        input_type: a pydantic class; dicts are checked against it, and what does not fit is a ``BadRequestError``.
        output_type: of ``invoke``, which gives the sum of the chunks: an ``AIMessage`` where these are message chunks.
        remembers: whether the config's ``thread_id`` means anything to it.
    """

    def __init__(
        self,
        function: Callable[[Any, RunnableConfig], AsyncGenerator[Any]],
        *,
        name: str,
        input_type: type[BaseModel],
        output_type: Any = AIMessage,
        remembers: bool = False,
    ) -> None:
        self._function, self._input_type, self._output_type = function, input_type, output_type
        self._remembers = remembers
        # It hands the config to functions that have the argument, which its annotations do not know.
        super().__init__(cast("Any", self._sync), cast("Any", self._async), name=name)

    @property
    def InputType(self) -> Any:  # noqa: N802 - LangChain's name
        """The class of the input."""
        return self._input_type

    @property
    def OutputType(self) -> Any:  # noqa: N802 - LangChain's name
        """The type of what ``invoke`` gives."""
        return self._output_type

    @property
    def config_specs(self) -> list[ConfigurableFieldSpec]:
        """What the config's ``configurable`` may hold."""
        return [THREAD] if self._remembers else []

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """The whole output."""
        return _whole(super().invoke(input, config, **kwargs))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002
        """The whole output."""
        return _whole(await super().ainvoke(input, config, **kwargs))

    async def _async(self, inputs: AsyncIterator[Any], config: RunnableConfig) -> AsyncGenerator[Any]:
        given = [item async for item in inputs][-1]
        async with aclosing(self._function(checked(self._input_type, given), config)) as chunks:
            async for chunk in chunks:
                yield chunk

    def _sync(self, inputs: Iterator[Any], config: RunnableConfig) -> Generator[Any]:
        chunks = self._function(checked(self._input_type, list(inputs)[-1]), config)
        with closing(BACKGROUND.iterate(chunks)) as received:
            yield from received


def _whole(output: Any) -> Any:
    return message_chunk_to_message(output) if isinstance(output, BaseMessageChunk) else output


def thread_of(config: RunnableConfig) -> str | None:
    """The conversation that a run belongs to; None: to none."""
    return cast("str | None", (config.get("configurable") or {}).get("thread_id") or None)
