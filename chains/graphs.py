"""The answer of a LangGraph graph as it comes: text for people, steps as reasoning, no tool calls to be executed."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Collection, Iterator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Literal, cast
from uuid import uuid4

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ToolCall,
    ToolMessage,
    convert_to_messages,
)
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import DEFAULT_RECURSION_LIMIT

from chains.client_tools import offered_tools
from chains.inputs import last_text
from chains.steps import step_chunk, thought_of
from chains.streamed import thread_of

if TYPE_CHECKING:
    from langgraph.pregel import Pregel
    from langgraph.types import Command

Json = dict[str, Any]
_LONGEST_RESULT = 300
"""Letters of a tool's result that a step shows."""
_APPROVALS = frozenset({"approve", "approved", "yes", "y", "ok", "okay", "allow", "go ahead"})
_FORMS = (BaseMessage, dict, tuple, str)
"""What LangGraph takes as messages."""
_ABOUT_THE_MODEL = ("model_name", "model_provider", "finish_reason")


async def answer_chunks(
    graph: Pregel[Any, Any, Any, Any],
    given: Any,
    config: RunnableConfig,
    *,
    durability: Literal["sync", "async", "exit"] | None = None,
) -> AsyncGenerator[AIMessageChunk]:
    """Run *graph*, whose state has ``messages``, and yield what it says.

    Clients execute the tool calls that they are sent, so a call that the graph makes itself, and its result, are a line
    of ``additional_kwargs["reasoning_content"]``, and of ``additional_kwargs["steps"]``. Only a call of a tool
    that the client has offered is a tool call. The usage, and
    ``response_metadata["cost"]``, are those of all model calls together. What waits for a
    person is told in the text, and in ``additional_kwargs["interrupts"]``.

    Args:
        graph: a compiled graph; what calls models inside its tools should have the tag ``nostream``.
        given: its input, or a ``Command``.
        config: of the run.
        durability: when a checkpointer writes, as LangGraph says it; None: as the graph does.
    """
    answer = _Answer()
    run = graph.astream(given, _unlimited(config), stream_mode=["messages", "updates"], durability=durability)
    async with aclosing(cast("AsyncGenerator[Any]", run)) as parts:
        async for mode, part in parts:
            chunks = answer.said(*part) if mode == "messages" else answer.done(part)
            for chunk in chunks:
                yield chunk
    yield answer.end()


async def resumption(
    graph: Pregel[Any, Any, Any, Any],
    messages: Sequence[BaseMessage],
    config: RunnableConfig,
    asking: Collection[str] | None = None,
) -> Command[Any] | None:
    """What *graph* goes on with where it waits for a person in this conversation; None: it does not wait.

    Args:
        graph: a compiled graph.
        messages: the last one of a person is the answer to each question. Where tools need approval, it is one if it
            says so, and else why they are rejected.
        config: of the run.
        asking: the tools that need approval; a call of any other would be run whatever is decided, so that it is given
            up. None: this is not known.
    """
    if graph.checkpointer in (None, False) or thread_of(config) is None:
        return None
    waiting = (await graph.aget_state(config)).interrupts
    if not waiting:
        return None
    asked = {request["name"] for one in waiting for request in _requests(one.value)}
    if asking is not None and not asked.issubset(asking):
        return None
    from langgraph.types import Command

    said = last_text(list(messages)).strip()
    return Command(resume={one.id: _reply(one.value, said) for one in waiting})


def _reply(asked: Any, said: str) -> Any:
    requests = _requests(asked)
    if not requests:
        return said
    approved = said.casefold().strip(" .!") in _APPROVALS
    decision = {"type": "approve"} if approved else {"type": "reject", "message": said}
    return {"decisions": [decision] * len(requests)}


def _unlimited(config: RunnableConfig) -> RunnableConfig:
    """*config* without LangChain's own limit of steps, which nobody asked for and which would replace the graph's."""
    if config.get("recursion_limit") != DEFAULT_RECURSION_LIMIT:
        return config
    return cast("RunnableConfig", {key: value for key, value in config.items() if key != "recursion_limit"})


class _Answer:
    """What has been said so far."""

    def __init__(self) -> None:
        self._speaker: str | None = None
        self._silent = True
        self._metadata: Json = {}
        offered = offered_tools()
        self._clients = offered.names if offered else frozenset()
        self._asked = 0

    def said(self, message: BaseMessage, metadata: Json) -> Iterator[AIMessageChunk]:
        """What to tell of a message, or of a part of one."""
        if not isinstance(message, AIMessage) or metadata.get("langgraph_node") == "tools":
            return
        self._note(message)
        text, thought = str(message.text), thought_of(message)
        if text and self._speaker not in (None, message.id) and not self._silent:
            text = f"\n\n{text}"
        if text:
            self._speaker, self._silent = message.id, False
        refusal = message.additional_kwargs.get("refusal")
        if text or thought or refusal or message.usage_metadata:
            yield _chunk(text, thought, refusal, usage_metadata=message.usage_metadata)

    def _note(self, message: AIMessage) -> None:
        known = message.response_metadata
        self._metadata.update({name: known[name] for name in _ABOUT_THE_MODEL if known.get(name)})
        if known.get("cost") is not None:
            self._metadata["cost"] = self._metadata.get("cost", 0.0) + known["cost"]

    def done(self, update: Json) -> Iterator[AIMessageChunk]:
        """What to tell of the steps that are done."""
        for node, change in update.items():
            if node == "__interrupt__":
                yield self._interrupted(change)
            elif isinstance(change, dict):
                for item in _items(change):
                    message = _message(item)
                    if message is not item:
                        # LangGraph streams no others than those that are messages already.
                        yield from self.said(message, {"langgraph_node": node})
                    yield from self._acted(message)

    def _acted(self, message: BaseMessage) -> Iterator[AIMessageChunk]:
        for step in _steps(message, self._clients):
            yield step_chunk(f"{step}\n")
        for call in message.tool_calls if isinstance(message, AIMessage) else ():
            if call["name"] in self._clients:
                yield self._asks(call)

    def _asks(self, call: ToolCall) -> AIMessageChunk:
        """What the client is asked to carry out."""
        arguments = json.dumps(call["args"], ensure_ascii=False)
        chunk = tool_call_chunk(name=call["name"], args=arguments, id=call["id"], index=self._asked)
        self._asked += 1
        return AIMessageChunk(content="", tool_call_chunks=[chunk])

    def end(self) -> AIMessageChunk:
        """What comes last."""
        return AIMessageChunk(content="", response_metadata=self._metadata, chunk_position="last")

    def _interrupted(self, interrupts: Any) -> AIMessageChunk:
        values = [interrupt.value for interrupt in interrupts]
        text = "\n".join(map(_question, values))
        before = "" if self._silent else "\n\n"
        self._silent = False
        return AIMessageChunk(content=before + text, additional_kwargs={"interrupts": values})


def _chunk(text: str, thought: str, refusal: str | None, **fields: Any) -> AIMessageChunk:
    told = {"reasoning_content": thought, "refusal": refusal}
    kwargs = {name: value for name, value in told.items() if value}
    return AIMessageChunk(content=text, additional_kwargs=kwargs, **fields)


def _items(change: Json) -> list[Any]:
    """The messages of *change*, in any form that LangGraph takes."""
    found = change.get("messages") or []
    return [item for item in (found if isinstance(found, list) else [found]) if isinstance(item, _FORMS)]


def _message(item: Any) -> BaseMessage:
    if isinstance(item, BaseMessage):
        return item
    # By their ids, what one says is told apart from what the next one does.
    return convert_to_messages([item])[0].model_copy(update={"id": str(uuid4())})


def _steps(message: BaseMessage, clients: Collection[str]) -> Iterator[str]:
    if isinstance(message, AIMessage):
        for call in message.tool_calls:
            if call["name"] in clients:
                continue
            arguments = ", ".join(f"{name}={value!r}" for name, value in call["args"].items())
            yield f"{call['name']}({arguments[:_LONGEST_RESULT]})"
    elif isinstance(message, ToolMessage):
        yield f"{message.name or 'tool'}: {str(message.text)[:_LONGEST_RESULT]}"


def _requests(asked: Any) -> list[Json]:
    """The calls that a person is to approve, in LangChain's own form of that question."""
    return (asked.get("action_requests") or []) if isinstance(asked, dict) else []


def _question(value: Any) -> str:
    """What a person is asked."""
    requests = _requests(value)
    if not requests:
        return str(value)
    calls = [f"{request['name']}({request.get('args', {})})" for request in requests]
    return f"Waiting for approval of {', '.join(calls)}. Answer approve, or reject and why."
