"""LangChain's agents and their middleware on ChatLAS: what they get, and what of it arrives upstream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    ClearToolUsesEdit,
    ContextEditingMiddleware,
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    SummarizationMiddleware,
)
from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage, HumanMessage, ToolMessage
from pydantic import BaseModel

from las_langchain import ChatLAS
from las_langchain.errors import BadRequestError, ServiceUnavailableError
from tests.fake_openai import FakeOpenAI, Reply, ToolCall

Ask = Callable[..., dict[str, Any]]


class Report(BaseModel):
    """The weather of a city."""

    city: str
    degrees: int


PARIS = {"city": "Paris", "degrees": 21}
CALL = Reply(tool_calls=[ToolCall("get_weather", {"city": "Paris"})])


def get_weather(city: str) -> str:
    """Get the weather of a city."""
    return f"{city}: sunny, 21 degrees"


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Runs an agent on messages, in both of the ways that there are."""

    def run(agent: Any, *messages: str | AnyMessage) -> dict[str, Any]:
        state = {"messages": [HumanMessage(one) if isinstance(one, str) else one for one in messages]}
        return agent.invoke(state) if request.param == "sync" else asyncio.run(agent.ainvoke(state))

    return run


def names(body: dict[str, Any]) -> list[str]:
    """The tools of a request."""
    return [tool["function"]["name"] for tool in body.get("tools", ())]


def bodies(upstream: FakeOpenAI) -> list[dict[str, Any]]:
    """What was asked, in order."""
    return [request.body for request in upstream.requests]


# Structured output


def test_a_tool_strategy_asks_for_a_call(upstream: FakeOpenAI, ask: Ask) -> None:
    agent = create_agent(ChatLAS(model="openai/gpt-4o"), [get_weather], response_format=ToolStrategy(Report))
    upstream.enqueue(CALL, Reply(tool_calls=[ToolCall("Report", PARIS)]))

    state = ask(agent, "How is the weather in Paris?")

    assert state["structured_response"] == Report(**PARIS)
    first, second = bodies(upstream)
    assert names(first) == names(second) == ["get_weather", "Report"]
    assert first["tool_choice"] == second["tool_choice"] == "required"
    assert "response_format" not in first
    assert second["messages"][-1]["content"] == "Paris: sunny, 21 degrees"
    assert second["messages"][-1]["tool_call_id"] == second["messages"][-2]["tool_calls"][0]["id"]


def test_a_tool_strategy_hands_back_what_does_not_fit(upstream: FakeOpenAI, ask: Ask) -> None:
    agent = create_agent(ChatLAS(model="openai/gpt-4o"), response_format=ToolStrategy(Report))
    upstream.enqueue(
        Reply(tool_calls=[ToolCall("Report", {"city": "Paris", "degrees": "mild"})]),
        Reply(tool_calls=[ToolCall("Report", PARIS)]),
    )

    state = ask(agent, "How is the weather in Paris?")

    assert state["structured_response"] == Report(**PARIS)
    complaint = upstream.last.body["messages"][-1]
    assert complaint["role"] == "tool"
    assert "degrees" in complaint["content"]


def test_a_provider_strategy_asks_for_the_schema(upstream: FakeOpenAI, ask: Ask) -> None:
    agent = create_agent(
        ChatLAS(model="openai/gpt-4o"), [get_weather], response_format=ProviderStrategy(Report, strict=True)
    )
    upstream.enqueue(CALL)

    state = ask(agent, 'It is 21 degrees in "Paris"')

    assert state["structured_response"] == Report(**PARIS)
    for body in bodies(upstream):
        asked = body["response_format"]
        assert (asked["type"], asked["json_schema"]["name"], asked["json_schema"]["strict"]) == (
            "json_schema",
            "Report",
            True,
        )
        assert asked["json_schema"]["schema"]["required"] == ["city", "degrees"]
        assert names(body) == ["get_weather"]
        assert "tool_choice" not in body


@pytest.mark.parametrize("response_format", [Report, AutoStrategy(Report)], ids=["class", "auto"])
@pytest.mark.parametrize(
    ("model", "natively"),
    [
        # Its name tells LangChain nothing, litellm's table says that it can.
        (ChatLAS(model="openai/o3-mini"), True),
        (ChatLAS(model="openai/fake-model", profile={"structured_output": True}), True),
        (ChatLAS(model="openai/fake-model", profile={"structured_output": False}), False),
        (ChatLAS(model="openai/fake-model"), False),
    ],
    ids=["listed", "can", "cannot", "unlisted"],
)
def test_the_profile_decides_how_a_class_is_asked_for(
    upstream: FakeOpenAI, ask: Ask, model: ChatLAS, natively: bool, response_format: Any
) -> None:
    agent = create_agent(model, response_format=response_format)

    state = ask(agent, 'It is 21 degrees in "Paris"')

    assert state["structured_response"] == Report(**PARIS)
    assert ("response_format" in upstream.last.body) is natively
    assert ("tools" in upstream.last.body) is not natively


# Middleware


def test_retrying_asks_again_after_what_may_pass(upstream: FakeOpenAI, ask: Ask) -> None:
    retry = ModelRetryMiddleware(max_retries=2, initial_delay=0, jitter=False, on_failure="error")
    agent = create_agent(ChatLAS(model="openai/gpt-4o", max_retries=0), middleware=[retry])
    upstream.enqueue(Reply(status=503), Reply(status=429))

    state = ask(agent, "Hello")

    assert state["messages"][-1].content == "Echo: Hello"
    assert bodies(upstream) == [bodies(upstream)[0]] * 3


def test_retrying_gives_up_in_the_end(upstream: FakeOpenAI, ask: Ask) -> None:
    retry = ModelRetryMiddleware(max_retries=1, initial_delay=0, jitter=False, on_failure="error")
    agent = create_agent(ChatLAS(model="openai/gpt-4o", max_retries=0), middleware=[retry])
    upstream.enqueue(*[Reply(status=503)] * 2)

    with pytest.raises(ServiceUnavailableError):
        ask(agent, "Hello")

    assert len(upstream.requests) == 2


@pytest.mark.parametrize("status", [400, 401, 404])
def test_retrying_leaves_alone_what_will_not_pass(upstream: FakeOpenAI, ask: Ask, status: int) -> None:
    retry = ModelRetryMiddleware(max_retries=2, initial_delay=0, jitter=False)
    agent = create_agent(ChatLAS(model="openai/gpt-4o", max_retries=0), middleware=[retry])
    upstream.enqueue(Reply(status=status))

    with pytest.raises(Exception, match="OpenAI") as caught:
        ask(agent, "Hello")

    assert caught.value.status_code == status
    assert len(upstream.requests) == 1


def test_a_fallback_answers_in_the_place_of_a_model_that_fails(upstream: FakeOpenAI, ask: Ask) -> None:
    first, second = (ChatLAS(model=f"openai/{name}", max_retries=0) for name in ("gpt-4o", "gpt-4o-mini"))
    agent = create_agent(first, [get_weather], middleware=[ModelFallbackMiddleware(second)])
    upstream.enqueue(Reply(status=503))

    state = ask(agent, "Hello")

    assert state["messages"][-1].content == "Echo: Hello"
    assert state["messages"][-1].response_metadata["model_name"] == "gpt-4o-mini"
    assert [body.pop("model") for body in bodies(upstream)] == ["gpt-4o", "gpt-4o-mini"]
    assert bodies(upstream)[0] == bodies(upstream)[1]


def test_the_last_fallback_fails_with_its_own_error(upstream: FakeOpenAI, ask: Ask) -> None:
    first, second = (ChatLAS(model=f"openai/{name}", max_retries=0) for name in ("gpt-4o", "gpt-4o-mini"))
    agent = create_agent(first, middleware=[ModelFallbackMiddleware(second)])
    upstream.enqueue(Reply(status=503), Reply(status=400))

    with pytest.raises(BadRequestError):
        ask(agent, "Hello")


def test_a_long_history_is_summarized_at_a_fraction_of_the_context(upstream: FakeOpenAI, ask: Ask) -> None:
    chat = ChatLAS(model="openai/gpt-4o", profile={"max_input_tokens": 100})
    middleware = SummarizationMiddleware(chat, trigger=("fraction", 0.5), keep=("messages", 1))
    upstream.enqueue(Reply(content="They spoke of cats."))

    state = ask(
        create_agent(chat, middleware=[middleware]), "Tell me of cats. " * 20, AIMessage("Cats purr. " * 20), "More"
    )

    summarizing, answering = bodies(upstream)
    assert "Cats purr." in str(summarizing["messages"])
    assert "Cats purr." not in str(answering["messages"])
    assert "They spoke of cats." in answering["messages"][0]["content"]
    assert answering["messages"][-1] == {"role": "user", "content": "More"}
    assert state["messages"][-1].content == "Echo: More"


def test_a_history_too_long_to_summarize_is_shortened(upstream: FakeOpenAI, ask: Ask) -> None:
    chat = ChatLAS(model="openai/gpt-4o", profile={"max_input_tokens": 100}, max_retries=0)
    middleware = SummarizationMiddleware(chat, trigger=("fraction", 0.5), keep=("messages", 1))
    too_long = {"message": "This model's maximum context length is 100 tokens.", "code": "context_length_exceeded"}
    upstream.enqueue(Reply(status=400, error=too_long), Reply(content="They spoke of cats."))

    ask(create_agent(chat, middleware=[middleware]), "Tell me of cats. " * 20, AIMessage("Cats purr. " * 20), "More")

    refused, summarizing, answering = (str(body["messages"]) for body in bodies(upstream))
    assert len(summarizing) < len(refused)
    assert "They spoke of cats." in answering


def test_the_fraction_is_one_of_the_models_own_context(upstream: FakeOpenAI, ask: Ask) -> None:
    chat = ChatLAS(model="openai/gpt-4o")
    assert chat.profile["max_input_tokens"] == 128_000
    middleware = SummarizationMiddleware(
        chat, trigger=("fraction", 0.5), keep=("messages", 1), trim_tokens_to_summarize=None
    )
    agent = create_agent(chat, middleware=[middleware])

    ask(agent, "word " * 1_000, AIMessage("word"), "More")
    ask(agent, "word " * 60_000, AIMessage("word"), "More")

    assert [len(body["messages"]) for body in bodies(upstream)] == [3, 1, 2]


@pytest.mark.parametrize(("spare", "cleared"), [(0, False), (-1, True)], ids=["fits", "too-long"])
def test_old_results_are_cleared_by_the_models_own_count(
    upstream: FakeOpenAI, ask: Ask, spare: int, cleared: bool
) -> None:
    chat = ChatLAS(model="openai/gpt-4o")
    history = [HumanMessage("Compare them"), *called("1", "Paris"), *called("2", "Rome")]
    edit = ClearToolUsesEdit(trigger=chat.get_num_tokens_from_messages(history) + spare, keep=1)
    editing = ContextEditingMiddleware(edits=[edit], token_count_method="model")

    state = ask(create_agent(chat, middleware=[editing]), *history)

    results = [message["content"] for message in upstream.last.body["messages"] if message["role"] == "tool"]
    assert results == ["[cleared]" if cleared else "It is sunny in Paris", "It is sunny in Rome"]
    assert state["messages"][2].content == "It is sunny in Paris"


def test_tools_and_instructions_are_part_of_that_count(upstream: FakeOpenAI, ask: Ask) -> None:
    chat = ChatLAS(model="openai/gpt-4o")
    history = [HumanMessage("Compare them"), *called("1", "Paris"), *called("2", "Rome")]
    edit = ClearToolUsesEdit(trigger=chat.get_num_tokens_from_messages(history), keep=1)
    editing = ContextEditingMiddleware(edits=[edit], token_count_method="model")

    ask(create_agent(chat, [get_weather], system_prompt="Be brief", middleware=[editing]), *history)

    assert upstream.last.body["messages"][0] == {"role": "system", "content": "Be brief"}
    assert upstream.last.body["messages"][3]["content"] == "[cleared]"


def called(id_: str, city: str) -> Sequence[AnyMessage]:
    """A call and its result, as they are in a history."""
    call = {"type": "tool_call", "id": id_, "name": "get_weather", "args": {"city": city}}
    return AIMessage("", tool_calls=[call]), ToolMessage(f"It is sunny in {city}", tool_call_id=id_)


# Streams


def streamed(agent: Any, text: str, asynchronous: bool) -> list[tuple[Any, dict[str, Any]]]:
    """All that an agent streams as messages."""
    state = {"messages": [HumanMessage(text)]}

    async def collect() -> list[tuple[Any, dict[str, Any]]]:
        return [item async for item in agent.astream(state, stream_mode="messages")]

    return asyncio.run(collect()) if asynchronous else list(agent.stream(state, stream_mode="messages"))


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_an_agent_streams_its_tokens(upstream: FakeOpenAI, asynchronous: bool) -> None:
    agent = create_agent(ChatLAS(model="openai/gpt-4o"), [get_weather])
    upstream.enqueue(CALL, Reply(chunks=["It", " is", " sunny", "."]))

    items = streamed(agent, "How is the weather in Paris?", asynchronous)

    texts = [message.text for message, _ in items if isinstance(message, AIMessageChunk) and message.text]
    assert texts == ["It", " is", " sunny", "."]
    results = [message.text for message, _ in items if isinstance(message, ToolMessage)]
    assert results == ["Paris: sunny, 21 degrees"]
    assert {metadata["langgraph_node"] for _, metadata in items} == {"model", "tools"}
    assert [body["stream"] for body in bodies(upstream)] == [True, True]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_what_an_agent_streams_adds_up(upstream: FakeOpenAI, asynchronous: bool) -> None:
    agent = create_agent(ChatLAS(model="openai/gpt-4o"), [get_weather])
    upstream.enqueue(CALL, Reply(content="It is sunny."))

    items = streamed(agent, "How is the weather in Paris?", asynchronous)

    turns: dict[str, Any] = {}
    for message, _ in items:
        if isinstance(message, AIMessageChunk):
            turns[message.id] = turns[message.id] + message if message.id in turns else message
    call, answer = turns.values()
    assert [(one["name"], one["args"]) for one in call.tool_calls] == [("get_weather", {"city": "Paris"})]
    assert answer.text == "It is sunny."
    assert all(turn.usage_metadata["total_tokens"] > 0 for turn in (call, answer))
    assert upstream.last.body["messages"][1]["tool_calls"][0]["id"] == call.tool_calls[0]["id"]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_a_structured_answer_is_streamed_and_parsed(upstream: FakeOpenAI, asynchronous: bool) -> None:
    agent = create_agent(ChatLAS(model="openai/gpt-4o"), response_format=Report)
    state = {"messages": [HumanMessage('It is 21 degrees in "Paris"')]}

    async def collect() -> list[Any]:
        return [item async for item in agent.astream(state, stream_mode=["messages", "values"])]

    modes = ["messages", "values"]
    items = asyncio.run(collect()) if asynchronous else list(agent.stream(state, stream_mode=modes))

    text = "".join(item[0].text for mode, item in items if mode == "messages")
    assert Report.model_validate_json(text) == Report(**PARIS)
    assert items[-1][1]["structured_response"] == Report(**PARIS)
    assert upstream.last.body["response_format"]["type"] == "json_schema"
