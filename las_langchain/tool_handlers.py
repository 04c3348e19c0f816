"""Running the tools that a model calls: arguments checked, handlers run, results as text, failures as text too."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, StructuredTool, Tool
from pydantic import BaseModel, ConfigDict, PydanticUserError, ValidationError, validate_call
from pydantic_core import to_json

from las_langchain.errors import BadRequestError, masked
from las_langchain.settings import nearest
from las_langchain.threads import in_thread
from las_langchain.tools import ToolLike, arguments_validator, converted_tools, listed_tools

if TYPE_CHECKING:
    from jsonschema_rs import Draft202012Validator as Validator

Json = dict[str, Any]
T = TypeVar("T")
Handler = Callable[..., Any] | BaseTool
Content = str | list[str | Json]
logger = logging.getLogger(__name__)

MAX_RESULT = 100_000
"""Characters of a result that the model is given."""
MAX_ERROR = 500
"""Characters of an error that the model is given."""
_MAX_FAULTS = 3


class Interrupted(Exception):
    """A handler raised KeyboardInterrupt or SystemExit, which would end an event loop if it passed through it.

    Attributes:
        cause: what it raised.
    """

    def __init__(self, cause: BaseException) -> None:
        super().__init__(repr(cause))
        self.cause = cause


class _Refused(Exception):
    """A call that is not carried out; the text is for the model."""


@dataclass(frozen=True, slots=True)
class Execution:
    """What became of one call.

    Attributes:
        id: the call's.
        name: the tool that the model named.
        arguments: what it is to be called with; the model's text where that is no JSON.
        content: what the model is told.
        error: the same, if it was not carried out or failed.
        seconds: how long it took.
    """

    id: str
    name: str
    arguments: Any
    content: Content
    error: str | None = None
    seconds: float = 0.0

    def message(self) -> ToolMessage:
        """What the model is told, as a message."""
        return ToolMessage(self.content, tool_call_id=self.id, status="error" if self.error else "success")

    def as_dict(self) -> Json:
        """The call as users see it: with ``error`` if it failed, else with ``result``."""
        outcome = {"result": self.content} if self.error is None else {"error": self.error}
        return {"id": self.id, "name": self.name, "arguments": self.arguments, **outcome, "seconds": self.seconds}


@dataclass(frozen=True)
class _Bound:
    """A tool with what carries it out."""

    run: Callable[[Json, str], Awaitable[Any]]
    validator: Validator


@dataclass
class Toolbox:
    """The tools of one conversation, each with its handler.

    Attributes:
        openai: the tools as OpenAI's dicts.
        timeout: longest run of a handler, in seconds; None: any.
    """

    openai: list[Json]
    timeout: float | None
    _bound: dict[str, _Bound] = field(default_factory=dict)

    @classmethod
    def of(cls, tools: Iterable[ToolLike], handlers: Mapping[str, Handler] | None, timeout: float | None) -> Toolbox:
        """Put every tool together with its handler, or, if there is none, with itself where it can be run.

        Raises:
            BadRequestError: there are no tools, one is none, two have the same name, or one has no handler; or a
                handler has no tool.
        """
        given = listed_tools(tools)
        result, left = cls(converted_tools(given), timeout), _checked_handlers(handlers)
        if not result.openai:
            raise BadRequestError("tools: expected at least one tool", param="tools")
        for index, tool in enumerate(given):
            result._add(tool, result.openai[index], f"tools[{index}]", left)
        for name in left:
            raise BadRequestError(f"tool_handlers: no tool is called {name!r}{nearest(name, result._bound)}",
                                  param="tool_handlers")  # fmt: skip
        return result

    def _add(self, tool: ToolLike, converted: Json, where: str, handlers: dict[str, Handler]) -> None:
        if converted.get("type") == "custom":
            raise BadRequestError(f"{where}: only functions can be run, not a custom tool", param=where)
        if converted.get("type") != "function":
            # The provider runs it.
            return
        name = converted["function"]["name"]
        if name in self._bound:
            raise BadRequestError(f"{where}: another tool is called {name!r} too", param=where)
        runner = _runner(tool, handlers.pop(name, None))
        if runner is None:
            raise BadRequestError(f"tool_handlers: the tool {name!r} needs a handler", param="tool_handlers")
        try:
            validator = arguments_validator(converted["function"].get("parameters") or {})
        except ValueError as error:
            fault = str(error).splitlines()[0]
            raise BadRequestError(f"{where}: parameters are not a JSON schema: {fault}", param=where) from None
        self._bound[name] = _Bound(runner, validator)

    async def execute(self, call: Json) -> Execution:
        """Carry out a call of OpenAI's form; whatever goes wrong is told to the model.

        Raises:
            Interrupted: the handler raised KeyboardInterrupt or SystemExit.
        """
        begun, function = time.perf_counter(), call.get("function") or {}
        name, said = str(function.get("name")), function.get("arguments")
        arguments: Any = said
        try:
            arguments = _parsed(said)
            result = await self._run(name, arguments, call["id"])
            content, error = _content(result), _failure(result)
        except _Refused as refusal:
            content = error = f"Error: {refusal}"
        return Execution(call["id"], name, arguments, content, error, round(time.perf_counter() - begun, 6))

    async def _run(self, name: str, arguments: Json, call_id: str) -> Any:
        bound = self._bound.get(name)
        if bound is None:
            raise _Refused(f"There is no tool {name!r:.80}. The tools are: {', '.join(self._bound)}.")
        if faults := _faults(bound.validator, arguments):
            raise _Refused(f"The arguments do not fit the schema of {name}: {faults}")
        deadline = asyncio.timeout(self.timeout)
        try:
            async with deadline:
                return await bound.run(arguments, call_id)
        except (KeyboardInterrupt, SystemExit) as error:
            raise Interrupted(error) from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Something that the handler waited for was cancelled, not the chat.
            raise _Refused(f"{name} failed: it was cancelled.") from None
        except Exception as error:
            if isinstance(error, TimeoutError) and deadline.expired():
                raise _Refused(f"{name} did not finish within {self.timeout:g} seconds.") from None
            # What it says may be private, and goes to the model alone.
            logger.warning("The tool %s failed: %s", name, type(error).__name__)
            logger.debug("The tool %s failed", name, exc_info=True)
            raise _Refused(f"{name} failed: {_told(error)}") from None


def _checked_handlers(handlers: Mapping[str, Handler] | None) -> dict[str, Handler]:
    if handlers is not None and not isinstance(handlers, Mapping):
        raise BadRequestError("tool_handlers: expected a function for each tool's name", param="tool_handlers")
    for name, handler in (handlers or {}).items():
        if not callable(handler) and not isinstance(handler, BaseTool):
            raise BadRequestError(f"tool_handlers: that of {name!r} is not a function", param="tool_handlers")
    return dict(handlers or {})


def _runner(tool: Any, handler: Handler | None) -> Callable[[Json, str], Awaitable[Any]] | None:
    """What carries out a call of *tool*, given its arguments and id; None if nothing does."""
    if isinstance(handler, BaseTool) or (handler is None and isinstance(tool, BaseTool)):
        langchains = handler or tool
        return lambda arguments, call_id: _invoked(langchains, arguments, call_id)
    if handler is not None:
        function = handler
        as_class = tool if isinstance(tool, type) and issubclass(tool, BaseModel) else None
        return lambda arguments, _: _called(function, **_values(as_class, arguments))
    if callable(tool) and not isinstance(tool, type):
        converting = _converting(tool)
        return lambda arguments, _: _called(converting, **arguments)
    return None


def _converting(function: Callable[..., Any]) -> Callable[..., Any]:
    """*function* called with what its annotations, of which its schema was made, say."""
    try:
        convert: Callable[..., Any] = validate_call(config=ConfigDict(arbitrary_types_allowed=True))(function)
    except PydanticUserError:
        return function
    return convert


def _values(tool: type[BaseModel] | None, arguments: Json) -> Json:
    """*arguments* as the fields of the class that describes them, defaults included."""
    if tool is None:
        return arguments
    checked = tool.model_validate(arguments)
    return {name: getattr(checked, name) for name in type(checked).model_fields}


async def _called(function: Callable[..., Any], /, **arguments: Any) -> Any:
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004
        return await function(**arguments)
    result = await in_thread(lambda: function(**arguments))
    return await result if inspect.isawaitable(result) else result


async def _invoked(tool: BaseTool, arguments: Json, call_id: str) -> Any:
    call = {"type": "tool_call", "name": tool.name, "args": arguments, "id": call_id}
    if isinstance(tool, (StructuredTool, Tool)):
        is_async = tool.coroutine is not None
    else:
        is_async = type(tool)._arun is not BaseTool._arun
    # LangChain would run it in the loop's own threads, which are few and may all be waiting for handlers.
    return await tool.ainvoke(call) if is_async else await in_thread(lambda: tool.invoke(call))


def _parsed(said: Any) -> Json:
    """The arguments that a model wrote."""
    try:
        arguments = json.loads(said or "{}")
    except (TypeError, ValueError, RecursionError) as error:
        raise _Refused(f"The arguments are not valid JSON ({error}). Send them again as one object.") from None
    if not isinstance(arguments, dict):
        raise _Refused("The arguments must be one JSON object.")
    return arguments


def _faults(validator: Validator, arguments: Json) -> str:
    """What of *arguments* does not fit; empty if all does."""
    found = [
        f"{'.'.join(map(str, error.instance_path)) or 'arguments'}: {error.message}"
        for error in validator.iter_errors(arguments)
    ]
    return "; ".join(found[:_MAX_FAULTS])[:MAX_ERROR]


def _told(error: Exception) -> str:
    """What a model is told of *error*: one line, no traceback, no key."""
    if isinstance(error, ValidationError):
        text = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:_MAX_FAULTS])
    else:
        text = f"{type(error).__name__}: {error}"
    return masked(" ".join(text.split()))[:MAX_ERROR]


def _failure(result: Any) -> str | None:
    """The text of a LangChain tool's own error message."""
    failed = isinstance(result, ToolMessage) and result.status == "error"
    return str(result.text) if failed else None


def _content(result: Any) -> Content:
    """A result as the model reads it: text as it is, media as blocks, anything else as JSON."""
    if not isinstance(result, ToolMessage):
        return _capped(result if isinstance(result, str) else _as_json(result))
    kinds = {block.get("type") if isinstance(block, dict) else "text" for block in result.content}
    return _capped(str(result.text)) if isinstance(result.content, str) or kinds <= {"text"} else result.content


def _as_json(value: Any) -> str:
    try:
        return to_json(value, bytes_mode="base64", fallback=_plain).decode()
    except (ValueError, RecursionError) as error:
        raise _Refused(f"The result cannot be written as JSON: {_told(error)}") from None


def _plain(value: Any) -> Any:
    """*value*, which is of no kind that JSON knows: the numbers of an array, else what it says of itself."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _capped(text: str) -> str:
    # Half characters, as file names may have them, cannot be sent.
    text = text.encode(errors="replace").decode()
    if len(text) <= MAX_RESULT:
        return text
    return (
        f"{text[:MAX_RESULT]}\n[Cut here: the result has {len(text):,} characters, the first {MAX_RESULT:,} are above.]"
    )
