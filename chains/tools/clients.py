"""How an agent uses the tools of its client: it stops where the model calls one, for the client to carry it out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from langchain.agents.middleware import AgentMiddleware, hook_config
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.tools import BaseTool

from chains.client_tools import Offered, offered_tools

if TYPE_CHECKING:
    from langchain.agents.middleware.types import ModelRequest, ModelResponse

Json = dict[str, Any]


class ClientTools(AgentMiddleware[Any, Any, Any]):
    """Lets the model call the tools that a client sends with its request, and ends the run where it does.

    The client carries the call out and sends its result with the next request. Where the model calls tools of both
    sides in one turn, only the agent's own are run then; it asks for the others again once it knows the results.

    Put it first in the ``middleware`` of ``create_agent``; a chain made of that agent takes ``tools`` over the OpenAI
    endpoint.
    """

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Make one call."""
        offered = offered_tools()
        return handler(request) if offered is None else _of_one_side(handler(_offering(request, offered)), offered)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Make one call."""
        offered = offered_tools()
        if offered is None:
            return await handler(request)
        return _of_one_side(await handler(_offering(request, offered)), offered)

    @hook_config(can_jump_to=["end"])
    def after_model(self, state: Any, runtime: Any) -> Json | None:
        """End the run where a tool of the client is called."""
        return _ended(state["messages"])

    @hook_config(can_jump_to=["end"])
    async def aafter_model(self, state: Any, runtime: Any) -> Json | None:
        """End the run where a tool of the client is called."""
        return _ended(state["messages"])


def _offering(request: ModelRequest[Any], offered: Offered) -> ModelRequest[Any]:
    own = [name for tool in request.tools if (name := _name(tool))]
    offered.check(own)
    last = request.messages[-1]
    choice = offered.choice_among(first=not (isinstance(last, ToolMessage) and last.name in own))
    return request.override(
        tools=[*request.tools, *offered.tools],
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


def _ended(messages: Sequence[BaseMessage]) -> Json | None:
    offered, last = offered_tools(), messages[-1]
    if offered is None or not isinstance(last, AIMessage):
        return None
    return {"jump_to": "end"} if any(call["name"] in offered.names for call in last.tool_calls) else None
