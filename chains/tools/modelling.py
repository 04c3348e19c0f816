"""How the agent calls its model: the one that is set now, with what fits into its context, and not for ever."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from langchain.agents.middleware import AgentMiddleware, ModelCallLimitMiddleware, hook_config
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage

from chains.history import instructions, readable
from las_langchain import ChatLAS
from las_langchain.errors import APIError

if TYPE_CHECKING:
    from langchain.agents.middleware.types import ModelRequest, ModelResponse


class CurrentModel(AgentMiddleware[Any, Any, Any]):
    """Asks the settings' model, whichever it is at that moment, with as much of the conversation as it can read."""

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """Make one call.

        Raises:
            APIError: the model called tools in no way that can be understood, and said nothing.
        """
        model = ChatLAS()
        system = _together(request.system_message, instructions(request.messages))
        messages = await readable(model, [system], request.messages, request.tools)
        response = await handler(request.override(model=model, system_message=system, messages=messages))
        _check(response.result[-1])
        return response


class StepLimit(ModelCallLimitMiddleware[Any, Any]):
    """Ends a run with a message after so many calls of the model.

    Args:
        steps: calls of one run.
    """

    def __init__(self, steps: int) -> None:
        super().__init__(run_limit=steps)

    @hook_config(can_jump_to=["end"])
    async def abefore_model(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        """End the run, if it has had its calls."""
        change = await super().abefore_model(state, runtime)
        if change is None or "messages" not in change:
            return change
        steps = "1 step" if self.run_limit == 1 else f"{self.run_limit} steps"
        text = f"I am sorry: I could not finish this within {steps}, which is the limit here."
        return {**change, "messages": [AIMessage(text)]}


def _check(answer: BaseMessage) -> None:
    if not isinstance(answer, AIMessage):
        return
    # Of a call that was cut off LangChain makes one with fewer arguments, which may do something else.
    broken = list(answer.response_metadata.get("broken_tool_calls") or ())
    if not (answer.tool_calls or answer.text.strip()):
        broken += [str(call["name"]) for call in answer.invalid_tool_calls]
    if broken:
        names = ", ".join(dict.fromkeys(broken))
        raise APIError(f"The model called {names:.100} with arguments that are no JSON object; ask it again")


def _together(own: SystemMessage | None, others: str) -> SystemMessage:
    return SystemMessage("\n\n".join(text for text in (str(own.text) if own else "", others) if text))
