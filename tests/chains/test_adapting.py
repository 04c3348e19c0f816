"""What users publish, as chains."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any, TypedDict

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import MessagesState, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import interrupt

from chains.adapting import as_chain
from chains.chain import Chain, answer_message
from las_langchain import ChatLAS
from las_langchain.errors import BadRequestError, ConfigurationError
from las_langchain.settings import LASSettings
from tests import user_chains
from tests.fake_openai import FakeOpenAI, Reply, ToolCall

CHAT = [SystemMessage("Be brief."), HumanMessage("hello"), AIMessage("Hi!"), HumanMessage("cats")]


class Unspeakable(TypedDict):
    """A state of Python's own TypedDict, of which pydantic makes no schema before Python 3.12."""

    messages: Annotated[list[Any], add_messages]
    summary: str


def graph(state: type, **given: Any) -> Any:
    builder: Any = StateGraph(state)
    builder.add_node("say", lambda state: {"messages": [AIMessage(f"{len(state['messages'])} messages")]})
    builder.set_entry_point("say")
    return builder.compile(**given)


def run(chain: Chain, given: Any, **configurable: Any) -> Any:
    return chain.build(LASSettings()).invoke(given, {"configurable": configurable} if configurable else None)


@pytest.mark.parametrize(
    ("thing", "given"),
    [
        (user_chains.model, {"messages": CHAT}),
        (user_chains.joke, {"topic": "cats"}),
        (user_chains.clerk, {"messages": CHAT}),
        (lambda text: text, "cats"),
        (user_chains.model.with_fallbacks([user_chains.model]), CHAT),
        (user_chains.model.bind(stop=["x"]), {"messages": CHAT}),
        (ChatPromptTemplate.from_messages([("placeholder", "{messages}")]) | user_chains.model, {"messages": CHAT}),
        (RunnableLambda(user_chains.whole), "cats"),
    ],
)
def test_how_a_chat_is_put_to_it(thing: Any, given: Any) -> None:
    adapter = as_chain("mine", thing).from_messages
    assert adapter is not None
    made = adapter(CHAT)
    assert (made.model_dump() if hasattr(made, "model_dump") else made) == (
        {"messages": [message.model_dump() for message in CHAT]} if hasattr(made, "model_dump") else given
    )


@pytest.mark.parametrize(
    "thing",
    [
        ChatPromptTemplate.from_template("{one} and {two}"),
        RunnableLambda(lambda given: given).with_types(input_type=int),
        RunnableLambda(lambda given: given).with_types(input_type=list[int]),
        user_chains.graph,
    ],
)
def test_what_a_chat_cannot_be_put_to(thing: Any) -> None:
    assert as_chain("mine", thing).from_messages is None


class _Table:
    """No schema tells of it."""


def _table(text: str) -> _Table:
    return _Table()


def _maker(text: str) -> Callable[[], str]:
    return text.upper


@pytest.mark.parametrize("thing", [_table, _maker])
def test_an_output_that_no_schema_tells_of_is_anything(thing: Any) -> None:
    assert as_chain("mine", thing).output_type is Any


@pytest.mark.parametrize("thing", [7, "text", None, ChatLAS, object()])
def test_what_is_no_chain(thing: Any) -> None:
    with pytest.raises(ConfigurationError, match="is no chain"):
        as_chain("mine", thing)


def test_a_chat_model_streams(upstream: FakeOpenAI) -> None:
    model: BaseChatModel = ChatLAS(model="openai/gpt-4o")
    runnable = as_chain("mine", model).build(LASSettings())
    chunks = list(runnable.stream({"messages": [{"role": "user", "content": "hello"}]}))
    assert len(chunks) > 1
    answer = runnable.invoke({"messages": [{"role": "user", "content": "hello"}]})
    assert type(answer) is AIMessage
    assert answer.content == "".join(chunk.content for chunk in chunks)


def test_a_chat_models_own_tools_are_the_clients(upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(tool_calls=[ToolCall("weather", {"city": "Rome"})]))
    model = ChatLAS(model="openai/gpt-4o").bind_tools([user_chains.weather])
    answer = run(as_chain("mine", model), {"messages": [{"role": "user", "content": "hello"}]})
    assert [(call["name"], call["args"]) for call in answer.tool_calls] == [("weather", {"city": "Rome"})]


def _letters(text: str) -> Iterator[str]:
    yield from text


async def _letters_async(text: str) -> AsyncIterator[str]:
    for letter in text:
        yield letter


async def _all_letters(texts: AsyncIterator[str]) -> AsyncIterator[str]:
    async for text in texts:
        for letter in text:
            yield letter


@pytest.mark.parametrize("thing", [_letters, RunnableLambda(_letters), _letters_async, _all_letters])
async def test_a_generator_function_streams(thing: Any) -> None:
    runnable = as_chain("mine", thing).build(LASSettings())
    assert [chunk async for chunk in runnable.astream("cats")] == list("cats")
    assert await runnable.ainvoke("cats") == "cats"


def test_a_graph_of_any_state_is_a_chat() -> None:
    chain = as_chain("mine", graph(Unspeakable))
    assert run(chain, {"messages": CHAT, "summary": "short"}).content == "4 messages"
    assert chain.input_type.model_fields.keys() == {"messages", "summary"}
    assert not chain.remembers


def test_a_graph_remembers_threads_and_nothing_else() -> None:
    chain = as_chain("mine", graph(MessagesState, checkpointer=InMemorySaver()))
    assert chain.remembers
    said = {"messages": [{"role": "user", "content": "hello"}]}
    assert [run(chain, said).content for _ in range(2)] == ["1 messages"] * 2
    assert [run(chain, said, thread_id="a").content for _ in range(2)] == ["1 messages", "3 messages"]
    assert run(chain, said, thread_id="b").content == "1 messages"


@pytest.mark.filterwarnings("ignore::langchain_core._api.deprecation.LangChainDeprecationWarning")
def test_a_message_history_is_of_the_thread(upstream: FakeOpenAI) -> None:
    kept: dict[str, InMemoryChatMessageHistory] = {}

    def history(session_id: str) -> InMemoryChatMessageHistory:
        return kept.setdefault(session_id, InMemoryChatMessageHistory())

    remembering = RunnableWithMessageHistory(ChatLAS(model="openai/gpt-4o"), history)
    chain = as_chain("mine", remembering | StrOutputParser())
    assert chain.remembers
    for _ in range(2):
        run(chain, [HumanMessage("hello")], thread_id="a")
    assert [message["role"] for message in upstream.last.body["messages"]] == ["user", "assistant", "user"]
    assert kept.keys() == {"a"}
    with pytest.raises(BadRequestError, match="needs the name of a conversation"):
        run(chain, [HumanMessage("hello")])


def test_a_graph_that_waits_for_a_person_goes_on_with_the_answer() -> None:
    def ask(state: MessagesState) -> Any:
        return {"messages": [AIMessage(f"{interrupt('Which city?')}, in {interrupt('Which country?')}.")]}

    builder = StateGraph(MessagesState)
    builder.add_node("ask", ask)
    builder.set_entry_point("ask")
    chain = as_chain("mine", builder.compile(checkpointer=InMemorySaver()))
    said = ("hello", "Paris", "Texas", "hello again")
    answers = [run(chain, {"messages": [HumanMessage(text)]}, thread_id="a").content for text in said]
    assert answers == ["Which city?", "Which country?", "Paris, in Texas.", "Which city?"]
    assert run(chain, {"messages": [HumanMessage("Rome")]}, thread_id="b").content == "Which city?"


def test_what_else_is_said_with_an_answer_is_kept() -> None:
    def ask(state: Unspeakable) -> Any:
        answer = interrupt("Which city?")
        return {"messages": [AIMessage(f"{answer}, {state.get('summary')}")]}

    builder = StateGraph(Unspeakable)
    builder.add_node("ask", ask)
    builder.set_entry_point("ask")
    chain = as_chain("mine", builder.compile(checkpointer=InMemorySaver()))
    run(chain, {"messages": [HumanMessage("hello")]}, thread_id="a")
    answer = run(chain, {"messages": [HumanMessage("Paris")], "summary": "short"}, thread_id="a")
    assert answer.content == "Paris, short"


def test_tools_that_need_approval_get_it_in_the_conversation(upstream: FakeOpenAI) -> None:
    calls = Reply(tool_calls=[ToolCall("weather", {"city": "Rome"}), ToolCall("weather", {"city": "Oslo"})])
    upstream.enqueue(calls, Reply(content="Sunny."), calls, Reply(content="Well then."))
    approving = HumanInTheLoopMiddleware({"weather": True})
    agent = create_agent(
        ChatLAS(model="openai/gpt-4o"), [user_chains.weather], middleware=[approving], checkpointer=InMemorySaver()
    )
    chain = as_chain("mine", agent)
    said = ("Weather?", "Yes!", "And now?", "no, I'll look out")
    answers = [run(chain, {"messages": [HumanMessage(text)]}, thread_id="a").content for text in said]
    assert "Waiting for approval of weather({'city': 'Rome'})" in answers[0]
    assert (answers[1], answers[3]) == ("Sunny.", "Well then.")
    results = [one["content"] for one in upstream.last.body["messages"] if one["role"] == "tool"]
    assert results[:2] == ["It is sunny in Rome.", "It is sunny in Oslo."]
    assert [result.endswith("no, I'll look out") for result in results[2:]] == [True, True]


@pytest.mark.parametrize(
    ("output", "text"),
    [
        (AIMessage("Hi"), "Hi"),
        ("Hi", "Hi"),
        (HumanMessage("Hi"), "Hi"),
        ({"a": [1, "ü"]}, '{\n  "a": [\n    1,\n    "ü"\n  ]\n}'),
        (None, "null"),
    ],
)
def test_the_answer_in_a_chat(output: Any, text: str) -> None:
    answer = answer_message(output)
    assert type(answer) is AIMessage
    assert answer.content == text
