"""``chat``: a conversation with the settings' model, remembered where it has a name."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any, cast
from uuid import uuid4

from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage, BaseMessage, RemoveMessage, SystemMessage
from langchain_core.runnables import Runnable, RunnableConfig
from typing_extensions import TypedDict

from chains.chain import Chain
from chains.graphs import answer_chunks
from chains.history import readable
from chains.inputs import ChatInput, chat_input
from chains.memory import checkpointer
from chains.memory.turns import remembered_turn
from chains.resent import with_earlier
from chains.streamed import Streamed, thread_of
from las_langchain import ChatLAS
from las_langchain.errors import BadRequestError
from las_langchain.settings import LASSettings

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

    from chains.memory.in_threads import Threads

    Graph = CompiledStateGraph[Any, Any, Any, Any]

SYSTEM = "You are a helpful AI assistant."
"""What the model is told where the caller has no system message. Longer ones mislead small models."""


def continued(earlier: list[BaseMessage], new: list[BaseMessage]) -> list[BaseMessage]:
    """A conversation with what is *new* in it.

    A system message takes the place of those before it. What is said once more, since it got no answer, replaces what
    was said.
    """
    from langgraph.graph.message import add_messages

    instructed = any(isinstance(message, SystemMessage) for message in new)
    kept = [message for message in earlier if not (instructed and isinstance(message, SystemMessage))]
    said = [message for message in new if not isinstance(message, SystemMessage)]
    if said and not isinstance(said[-1], AIMessage) and _same(kept[-len(said) :], said):
        kept = kept[: -len(said)]
    merged = cast("list[BaseMessage]", add_messages(cast("Any", kept), cast("Any", new)))
    if kept and instructed:
        # Providers want them first.
        merged.sort(key=lambda message: not isinstance(message, SystemMessage))
    return merged


def _same(some: list[BaseMessage], others: list[BaseMessage]) -> bool:
    return [(one.type, one.content) for one in some] == [(one.type, one.content) for one in others]


class Conversation(TypedDict):
    """What is remembered."""

    messages: Annotated[list[AnyMessage], continued]


async def _reply(state: Conversation, config: RunnableConfig) -> dict[str, list[BaseMessage]]:
    model, messages = ChatLAS(), state["messages"]
    system = [message for message in messages if isinstance(message, SystemMessage)] or [SystemMessage(SYSTEM)]
    prompt = [*system, *await readable(model, system, messages)]
    return {"messages": [await model.ainvoke(prompt, config)]}


def _graph(threads: Threads) -> Graph:
    from langgraph.graph import END, START, StateGraph

    graph = StateGraph(Conversation)
    graph.add_node("model", _reply)
    graph.add_edge(START, "model")
    graph.add_edge("model", END)
    return graph.compile(checkpointer=threads, name="chat")


def build(settings: LASSettings) -> Runnable[Any, Any]:
    """The chain; conversations are where *settings* say.

    Raises:
        ConfigurationError: as :func:`~chains.memory.checkpointer`.
    """
    threads = checkpointer(settings)
    remembering = _graph(threads)
    forgetting = remembering.copy({"checkpointer": None})

    async def answer(given: ChatInput, config: RunnableConfig) -> AsyncGenerator[AIMessageChunk]:
        thread = thread_of(config)
        if thread is None:
            reply = answer_chunks(forgetting, {"messages": given.messages}, config)
        else:
            reply = _remembered(remembering, given.messages, config)
        async with remembered_turn(threads, thread), aclosing(reply) as chunks:
            async for chunk in chunks:
                yield chunk

    return Streamed(answer, name="chat", input_type=ChatInput, remembers=True)


async def _remembered(
    graph: Graph, messages: Sequence[BaseMessage], config: RunnableConfig
) -> AsyncGenerator[AIMessageChunk]:
    """What is answered, remembered with *messages*, unless the model refuses them, as it then always would."""
    whole = await with_earlier(graph, messages, config)
    named = [message.model_copy(update={"id": message.id or str(uuid4())}) for message in whole]
    try:
        # Stored before the model is asked, and not meanwhile.
        async with aclosing(answer_chunks(graph, {"messages": named}, config, durability="sync")) as chunks:
            async for chunk in chunks:
                yield chunk
    except BadRequestError:
        removed = [RemoveMessage(id=str(message.id)) for message in named if not isinstance(message, SystemMessage)]
        await graph.aupdate_state(config, {"messages": removed}, as_node="model")
        raise


CHAIN = Chain(
    name="chat",
    title="Chat",
    description="Talks with the settings' model; with a thread_id it remembers the conversation.",
    build=build,
    input_type=ChatInput,
    from_messages=chat_input,
    remembers=True,
)
