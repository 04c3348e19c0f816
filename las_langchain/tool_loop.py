"""A chat whose tool calls are carried out until the model has its answer."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from las_langchain.call_options import ToolChatOptions, chat_fields, check_options, overrides_of
from las_langchain.conversations import Message, Messages, as_openai, chat_request, messages_of
from las_langchain.errors import BadRequestError
from las_langchain.keys import resolve_key
from las_langchain.messages import chat_result
from las_langchain.tool_handlers import Execution, Handler, Interrupted, Toolbox
from las_langchain.tools import ToolLike
from las_langchain.transports.background import BACKGROUND

if TYPE_CHECKING:
    from las_langchain.chat_completions import ChatCompletions
    from las_langchain.setups import Setup

Json = dict[str, Any]

MAX_PARALLEL = 16
"""Handlers that run at a time."""


class ToolChat(dict[str, Any]):
    """How a chat with tools went; keys are attributes too.

    ``response``: the answer's text.
    ``messages``: the whole conversation as OpenAI's dicts, the answer last.
    ``tool_calls``: all that were carried out, in order: ``id``, ``name``, ``arguments``, ``result`` or ``error`` (as
    the model was told) and ``seconds``.
    ``rounds``: how often the model asked for tools.
    ``stopped``: ``answer``, or ``max_rounds`` where the rounds were used up and the model had to answer without more.
    ``usage``: OpenAI's, summed over all requests; None if none told theirs.
    ``cost``: US dollars of all requests; None if the price of one is not known.
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no {name!r}, only {', '.join(self)}") from None


@dataclass(frozen=True)
class Limits:
    """Where a chat with tools ends.

    Attributes:
        max_rounds: most rounds of tool calls.
        parallel: whether the calls of one round are carried out at the same time.
        handler_timeout: longest run of a handler, in seconds; None: any.

    Raises:
        BadRequestError: one is no limit.
    """

    max_rounds: int = 8
    parallel: bool = True
    handler_timeout: float | None = 60

    def __post_init__(self) -> None:
        rounds, seconds = self.max_rounds, self.handler_timeout
        if isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 1:
            raise BadRequestError(f"max_rounds: expected a whole number from 1, not {rounds!r}", param="max_rounds")
        if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or seconds <= 0):
            raise BadRequestError(
                f"handler_timeout: expected a number of seconds above 0, not {seconds!r}", param="handler_timeout"
            )


class ToolLoop:
    """One chat with tools.

    Args:
        service: makes the requests.
        setup: the settings that hold to its end.
        model: the model and its provider, as for the service.
        messages: the conversation so far.
        tools: what the model may call.
        handlers: by the names of tools, what carries them out.
        limits: where it ends.
        options: further fields of the requests, and how they are made.

    Raises:
        BadRequestError: an argument is wrong; ``param`` names it.
    """

    def __init__(
        self,
        service: ChatCompletions,
        setup: Setup,
        model: tuple[str | None, str | None],
        messages: Messages | None,
        tools: Iterable[ToolLike],
        handlers: Mapping[str, Handler] | None,
        limits: Limits,
        options: ToolChatOptions,
    ) -> None:
        check_options(options, ToolChatOptions)
        if options.get("n") not in (None, 1):
            raise BadRequestError("n: a chat with tools follows one answer", param="n")
        self._service, self._setup, self._model = service, setup, model
        self._limits, self._options = limits, options
        self._transcript: list[Message] = messages_of(messages)
        self._tools = Toolbox.of(tools, handlers, limits.handler_timeout)
        self._fields = chat_fields({**options, "tools": self._tools.openai})
        self._choice: str | Json | None = self._fields.get("tool_choice")
        self._provider = ""
        self._executed: list[Execution] = []
        self._usage: Json = {}
        self._cost: float | None = 0.0

    def run(self) -> ToolChat:
        """Ask, carry out and ask again, until the model answers.

        Raises:
            LASError: a request failed.
            KeyboardInterrupt, SystemExit: a handler raised it.
        """
        try:
            return BACKGROUND.run(self._run())
        except Interrupted as interrupted:
            raise interrupted.cause from None

    async def arun(self) -> ToolChat:
        """Async form of :meth:`run`."""
        try:
            return await self._run()
        except Interrupted as interrupted:
            raise interrupted.cause from None

    async def _run(self) -> ToolChat:
        for number in range(self._limits.max_rounds):
            message = await self._ask()
            calls = message.get("tool_calls")
            if not calls:
                return self._result(message, number, "answer")
            self._transcript += [execution.message() for execution in await self._execute(calls)]
            # Were it still forced to call a tool, it could never answer.
            self._choice = None if self._choice in (None, "none") else "auto"
        self._choice = "none"
        return self._result(await self._ask(), self._limits.max_rounds, "max_rounds")

    async def _ask(self) -> Json:
        """The model's next message, which is now in the transcript."""
        key = await resolve_key(self._options.get("api_key"))
        overrides = overrides_of({**self._options, "api_key": key})
        target = self._service.target(*self._model, setup=self._setup, **overrides)
        request = chat_request(self._transcript, {**self._fields, "tool_choice": self._choice}, target)
        exchange = self._service.exchange("chat", target, request, max_retries=self._options.get("max_retries"))
        answer = _with_ids(await exchange.complete(), calls=self._choice != "none")
        self._provider = exchange.target.provider
        self._transcript.append(chat_result(answer, exchange.target).generations[0].message)
        _add(self._usage, answer.get("usage") or {})
        cost = exchange.record.cost_usd
        self._cost = None if cost is None or self._cost is None else self._cost + cost
        message: Json = answer["choices"][0]["message"]
        return message

    async def _execute(self, calls: Sequence[Json]) -> list[Execution]:
        """Carry out *calls*; the results in their order."""
        places = asyncio.Semaphore(MAX_PARALLEL if self._limits.parallel else 1)

        async def execute(call: Json) -> Execution:
            async with places:
                return await self._tools.execute(call)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(execute(call)) for call in calls]
        except BaseExceptionGroup as failed:
            # The first is why the others were cancelled.
            raise failed.exceptions[0] from None
        executed = [task.result() for task in tasks]
        self._executed += executed
        return executed

    def _result(self, message: Json, rounds: int, stopped: str) -> ToolChat:
        return ToolChat(
            response=message.get("content") or message.get("refusal") or "",
            messages=as_openai(self._transcript, self._provider),
            tool_calls=[execution.as_dict() for execution in self._executed],
            rounds=rounds,
            stopped=stopped,
            usage=self._usage or None,
            cost=self._cost,
        )


def _with_ids(answer: Json, *, calls: bool) -> Json:
    """*answer* with an id for every tool call, which some providers leave out; without any if there are to be none."""
    choice = answer["choices"][0]
    message = dict(choice["message"])
    given = message.pop("tool_calls", None) or []
    if given and calls:
        message["tool_calls"] = [{**call, "id": call.get("id") or f"call_{uuid.uuid4().hex}"} for call in given]
    return {**answer, "choices": [{**choice, "message": message}]}


def _add(total: Json, usage: Json) -> None:
    """Add the numbers of *usage*, at every depth, to those of *total*."""
    for name, value in usage.items():
        if isinstance(value, dict):
            _add(total.setdefault(name, {}), value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            total[name] = total.get(name, 0) + value
