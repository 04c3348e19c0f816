"""Anything that runs as a chain: runnables, LangGraph graphs, chat models, functions."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing
from dataclasses import replace
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, cast, get_origin, get_type_hints

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable, RunnableBinding, RunnableConfig, RunnableLambda
from langchain_core.runnables.base import coerce_to_runnable
from pydantic import BaseModel, RootModel, TypeAdapter, create_model
from pydantic.errors import PydanticUserError

from chains.chain import Chain
from chains.client_tools import offered_tools
from chains.graphs import answer_chunks, resumption
from chains.inputs import ChatInput, chat_input, last_text
from chains.resent import with_earlier
from chains.streamed import Streamed, thread_of
from las_langchain.errors import BadRequestError, ConfigurationError
from las_langchain.threads import in_thread

if TYPE_CHECKING:
    from langgraph.pregel import Pregel

    Graph = Pregel[Any, Any, Any, Any]

Json = dict[str, Any]
_END = object()
_CONVERSATION = frozenset({"thread_id", "session_id"})
"""What LangGraph and LangChain's message histories call a conversation."""


def as_chain(name: str, thing: Any) -> Chain:
    """*thing* as a chain named *name*.

    Args:
        name: the chain's.
        thing: a :class:`Chain`, chat model, LangGraph graph (compiled or not), any other runnable, or a function.

    Raises:
        ConfigurationError: it is none of these.
    """
    if isinstance(thing, Chain):
        return replace(thing, name=name)
    if isinstance(thing.bound if isinstance(thing, RunnableBinding) else thing, BaseChatModel):
        return _of_chat_model(name, thing)
    graph = _graph(thing)
    if graph is not None:
        return _of_graph(name, graph)
    if isinstance(thing, Runnable) or (callable(thing) and not isinstance(thing, type)):
        return _of_runnable(name, _runnable(thing))
    raise ConfigurationError(f"{type(thing).__name__} is no chain: expected a runnable, graph, chat model or function")


def _runnable(thing: Any) -> Runnable[Any, Any]:
    """*thing* as a runnable that can be called asynchronously.

    A generator function takes one input, as any other function, unless its annotation says that it takes them all.
    """
    function = thing.func if type(thing) is RunnableLambda and not hasattr(thing, "afunc") else thing
    if inspect.isgeneratorfunction(function) and not _takes_iterator(function):
        return RunnableLambda(function, _in_threads(function))
    if inspect.isasyncgenfunction(function) and not _takes_iterator(function):
        return RunnableLambda(function)
    runnable: Runnable[Any, Any] = coerce_to_runnable(thing)
    return runnable


def _takes_iterator(function: Any) -> bool:
    annotation = next((kind for name, kind in get_type_hints(function).items() if name != "return"), None)
    return (get_origin(annotation) or annotation) in (Iterator, AsyncIterator, Iterable, AsyncIterable)


def _in_threads(function: Callable[[Any], Iterator[Any]]) -> Callable[[Any], AsyncGenerator[Any]]:
    """*function* for event loops, which LangChain does not make of generators."""

    @wraps(function)
    async def steps(given: Any) -> AsyncGenerator[Any]:
        made = function(given)
        while (step := await in_thread(partial(next, made, _END))) is not _END:
            yield step

    return steps


def _graph(thing: Any) -> Graph | None:
    """*thing* as a compiled graph; None: it is none."""
    # Without LangGraph there are no graphs, and importing it takes a while.
    if not any(cls.__module__.startswith("langgraph.") for cls in type(thing).__mro__):
        return None
    from langgraph.graph import StateGraph
    from langgraph.pregel import Pregel

    compiled = thing.compile() if isinstance(thing, StateGraph) else thing
    return compiled if isinstance(compiled, Pregel) else None


def _of_chat_model(name: str, model: Runnable[Any, Any]) -> Chain:
    bound = model.kwargs if isinstance(model, RunnableBinding) else {}
    takes_tools = not bound.keys() & {"tools", "functions", "response_format"}

    async def answer(given: ChatInput, config: RunnableConfig) -> AsyncGenerator[BaseMessage]:
        async for chunk in _offered_to(model).astream(given.messages, config):
            yield chunk

    runnable = Streamed(answer, name=name, input_type=ChatInput)
    return _chat_chain(name, model.get_name(), runnable, takes_tools=takes_tools)


def _offered_to(model: Runnable[Any, Any]) -> Runnable[Any, Any]:
    """*model*, with the client's tools, where there are any."""
    offered = offered_tools()
    if offered is None:
        return model
    chat_model = cast("Any", model.bound if isinstance(model, RunnableBinding) else model)
    try:
        bound = chat_model.bind_tools(
            list(offered.tools), tool_choice=offered.choice_among(first=True), **offered.settings
        )
    except NotImplementedError:
        raise BadRequestError("tools: the model of this chain calls no tools", param="tools") from None
    return model.bind(**bound.kwargs) if isinstance(model, RunnableBinding) else cast("Runnable[Any, Any]", bound)


def _chat_chain(name: str, title: str, runnable: Streamed, *, takes_tools: bool) -> Chain:
    return Chain(
        name=name,
        title=title,
        description=f"Chat with {title}.",
        build=lambda settings: runnable,
        input_type=runnable.InputType,
        from_messages=chat_input,
        remembers=bool(runnable.config_specs),
        takes_tools=takes_tools,
    )


def _of_graph(name: str, graph: Graph) -> Chain:
    title = graph.get_name()
    fields = _state(graph)
    if fields is None or "messages" not in fields:
        return _of_runnable(name, _whole_runs(name, graph, fields), title=title)

    async def answer(given: ChatInput, config: RunnableConfig) -> AsyncGenerator[BaseMessage]:
        fields = _given(given)
        command = await resumption(graph, given.messages, config)
        others = {field: value for field, value in fields.items() if field != "messages"}
        if _remembers(graph) and thread_of(config) is not None:
            fields["messages"] = await with_earlier(graph, given.messages, config)
        state = replace(command, update=others or None) if command else fields
        async with aclosing(answer_chunks(_for_run(graph, config), state, config)) as chunks:
            async for chunk in chunks:
                yield chunk

    others = {field: kind for field, kind in fields.items() if field != "messages"}
    input_type = _optional(f"{name}_input", others, ChatInput) if others else ChatInput
    runnable = Streamed(answer, name=name, input_type=input_type, remembers=_remembers(graph))
    # Its middleware is all that tells what an agent can do.
    return _chat_chain(name, title, runnable, takes_tools=any(node.startswith("ClientTools.") for node in graph.nodes))


def _whole_runs(name: str, graph: Graph, fields: Json | None) -> Streamed:
    """*graph* as a runnable whose stream is its last state, and not the changes of all its nodes."""

    async def answer(given: BaseModel, config: RunnableConfig) -> AsyncGenerator[Any]:
        state = given.root if isinstance(given, RootModel) else _given(given)
        yield await _for_run(graph, config).ainvoke(state, config)

    input_type = graph.get_input_schema() if fields is None else _optional(f"{name}_input", fields, BaseModel)
    return Streamed(answer, name=name, input_type=input_type, output_type=Any, remembers=_remembers(graph))


def _state(graph: Graph) -> Json | None:
    """The fields that the input of *graph* may have, with their types; None: it is no table."""
    builder = getattr(graph, "builder", None)
    schema = getattr(builder, "input_schema", None)
    if schema is None:
        return None
    try:
        return get_type_hints(schema) or None
    except NameError:
        # The annotations name what is defined inside a function.
        return dict.fromkeys(inspect.get_annotations(schema), Any)


def _optional(name: str, fields: Json, base: type[BaseModel]) -> type[BaseModel]:
    """A model of *fields*, none of them required: the nodes of a graph fill in what is not given."""
    typed: Json = {field: (kind | None, None) for field, kind in fields.items()}
    try:
        return create_model(name, __base__=base, **typed)
    except PydanticUserError:
        # Such as the TypedDict of Python before 3.12.
        untyped: Json = dict.fromkeys(fields, (Any, None))
        return create_model(name, __base__=base, **untyped)


def _given(state: BaseModel) -> Json:
    """The fields of *state* that were given."""
    return {field: value for field in type(state).model_fields if (value := getattr(state, field)) is not None}


def _remembers(graph: Graph) -> bool:
    return graph.checkpointer not in (None, False)


def _for_run(graph: Graph, config: RunnableConfig) -> Graph:
    """*graph*, without its checkpointer where the run belongs to no conversation, which that would refuse."""
    return graph.copy({"checkpointer": None}) if _remembers(graph) and thread_of(config) is None else graph


def _of_runnable(name: str, runnable: Runnable[Any, Any], *, title: str = "") -> Chain:
    title = title or runnable.get_name()
    remembers = not _CONVERSATION.isdisjoint(spec.id for spec in runnable.config_specs)
    if remembers and not isinstance(runnable, Streamed):
        runnable = RunnableBinding(bound=runnable, config_factories=[_conversation])
    return Chain(
        name=name,
        title=title,
        description=f"Runs {title}.",
        build=lambda settings: runnable,
        input_type=_input_type(runnable),
        output_type=_output_type(runnable),
        from_messages=_from_messages(runnable.get_input_jsonschema()),
        remembers=remembers,
    )


def _conversation(config: RunnableConfig) -> RunnableConfig:
    """*config* with the thread by all names that runnables know it by, without which they fail."""
    thread = thread_of(config)
    if thread is None:
        raise BadRequestError(
            "thread_id: this chain needs the name of a conversation, such as in the header x-las-thread",
            param="thread_id",
        )
    return {"configurable": dict.fromkeys(_CONVERSATION, thread)}


def _input_type(runnable: Runnable[Any, Any]) -> Any:
    model: Any = runnable.get_input_schema()
    # What LangChain makes of some runnables has a field "root", but is no root model.
    misnamed = list(model.model_fields) == ["root"] and not issubclass(model, RootModel)
    return model.model_fields["root"].annotation if misnamed else model


def _output_type(runnable: Runnable[Any, Any]) -> Any:
    try:
        kind: Any = runnable.OutputType
        TypeAdapter(kind).json_schema()
    except (TypeError, PydanticUserError):
        # It is not known, or is a class that JSON schemas have no words for, such as a table of numbers.
        return Any
    return kind


def _from_messages(schema: Json) -> Callable[[list[BaseMessage]], Any] | None:
    """How a chat becomes an input of this JSON *schema*; None: it does not."""
    if _takes_text(schema):
        return last_text
    if schema.get("type") == "array" or "anyOf" in schema:
        # What a chat model takes, or a list of messages.
        return list if "HumanMessage" in schema.get("$defs", {}) else None
    fields = schema.get("properties") or {}
    names = schema.get("required") or list(fields)
    if len(names) != 1:
        return None
    (field,) = names
    if _takes_text(fields[field]):
        return lambda messages: {field: last_text(messages)}
    return (lambda messages: {field: messages}) if field == "messages" else None


def _takes_text(schema: Json) -> bool:
    # A prompt's variable has no type.
    return schema.get("type", "string") == "string" and not schema.keys() & {"anyOf", "oneOf", "$ref", "properties"}
