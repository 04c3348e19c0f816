"""How an agent uses the tools of its client: it stops where the model calls one, for the client to carry it out."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from langchain.agents.middleware import AgentMiddleware, hook_config
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.tools import BaseTool

from chains.client_tools import Offered, offered_tools
from las_langchain.callers import current_caller

if TYPE_CHECKING:
    from langchain.agents.middleware.types import ModelRequest, ModelResponse

Json = dict[str, Any]
_Pause = tuple[str | None, str, str]
_MOST_PAUSES = 256
"""Pauses of which the results before them are kept."""
_MOST_TURNS = 5
"""Turns with the agent's own tools that a client waits for which wants one of its own to be called."""


class ClientTools(AgentMiddleware[Any, Any, Any]):
    """Lets the model call the tools that a client sends with its request, and ends the run where it does.

    The client carries the call out and sends its result with the next request. Where the model calls tools of both
    sides in one turn, only the agent's own are run then; it asks for the others again once it knows the results. These
    are not sent to the client, so that they are kept here, and put back when it goes on: else they would be run again.
    Those of many pauses ago, or of another process, are no longer there.

    Put it first in the ``middleware`` of ``create_agent``; a chain made of that agent takes ``tools`` over the OpenAI
    endpoint.
    """

    def __init__(self) -> None:
        super().__init__()
        self._paused: OrderedDict[_Pause, list[BaseMessage]] = OrderedDict()

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Make one call."""
        offered, request = offered_tools(), self._whole(request)
        return handler(request) if offered is None else _of_one_side(handler(_offering(request, offered)), offered)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Make one call."""
        offered, request = offered_tools(), self._whole(request)
        if offered is None:
            return await handler(request)
        return _of_one_side(await handler(_offering(request, offered)), offered)

    @hook_config(can_jump_to=["end"])
    def after_model(self, state: Any, runtime: Any) -> Json | None:
        """End the run where a tool of the client is called."""
        return self._ended(state["messages"])

    @hook_config(can_jump_to=["end"])
    async def aafter_model(self, state: Any, runtime: Any) -> Json | None:
        """End the run where a tool of the client is called."""
        return self._ended(state["messages"])

    def _ended(self, messages: Sequence[BaseMessage]) -> Json | None:
        offered, last = offered_tools(), messages[-1]
        if offered is None or not isinstance(last, AIMessage):
            return None
        if not any(call["name"] in offered.names for call in last.tool_calls):
            return None
        before = _own_turns(messages[:-1])
        if before and len(before) < len(messages) - 1:
            self._paused[_pause(messages[-len(before) - 2], last)] = before
            if len(self._paused) > _MOST_PAUSES:
                self._paused.popitem(last=False)
        return {"jump_to": "end"}

    def _whole(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        """*request* with what the agent's own tools found before a pause, where the client has sent the rest."""
        whole: list[Any] = []
        for message in request.messages:
            if whole and isinstance(message, AIMessage) and message.tool_calls:
                whole += self._paused.get(_pause(whole[-1], message), [])
            whole.append(message)
        return request if len(whole) == len(request.messages) else request.override(messages=whole)


def _pause(asked: BaseMessage, answer: AIMessage) -> _Pause:
    """What tells a pause from others: whose it is, what was asked, and what the client is to call."""
    calls = [(call["id"], call["name"], call["args"]) for call in answer.tool_calls]
    return current_caller().key_id, str(asked.text), json.dumps(calls, sort_keys=True)


def _own_turns(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The last of *messages* that are calls of the agent's own tools and their results."""
    offered = offered_tools()
    theirs = offered.names if offered else frozenset()
    own = len(messages)
    for place in range(len(messages) - 1, -1, -1):
        message = messages[place]
        if isinstance(message, ToolMessage):
            if message.name is None or message.name in theirs:
                break
        elif not isinstance(message, AIMessage) or not message.tool_calls:
            break
        else:
            own = place
    return list(messages[own:])


def _offering(request: ModelRequest[Any], offered: Offered) -> ModelRequest[Any]:
    own = [name for tool in request.tools if (name := _name(tool))]
    offered.check(own)
    turns = sum(isinstance(message, AIMessage) for message in _own_turns(request.messages))
    choice = offered.choice_among(first=turns == 0)
    # A model that must call a tool may never come to one of the client's.
    tools = [] if choice == "required" and turns >= _MOST_TURNS else request.tools
    return request.override(
        tools=[*tools, *offered.tools],
        tool_choice=request.tool_choice if choice is None else choice,
        model_settings={**request.model_settings, **offered.settings},
    )


def _name(tool: BaseTool | Json) -> str | None:
    if isinstance(tool, BaseTool):
        return tool.name
    named = tool.get("function") or tool
    return named.get("name") if isinstance(named, dict) else None


def _of_one_side(response: ModelResponse[Any], offered: Offered) -> ModelResponse[Any]:
    """*response* without its calls of the client's tools, if it has calls of others too."""
    for place, message in enumerate(response.result):
        if isinstance(message, AIMessage):
            theirs = [call["id"] for call in message.tool_calls if call["name"] in offered.names]
            if theirs and len(theirs) < len(message.tool_calls):
                response.result[place] = _without(message, theirs)
    return response


def _without(message: AIMessage, identifiers: Sequence[str | None]) -> AIMessage:
    content = message.content
    if isinstance(content, list):
        # Some providers have their calls there too.
        content = [part for part in content if isinstance(part, str) or part.get("id") not in identifiers]
    calls = [call for call in message.tool_calls if call["id"] not in identifiers]
    return message.model_copy(update={"content": content, "tool_calls": calls})
