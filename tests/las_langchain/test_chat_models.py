"""ChatLAS on the embedded model and on an upstream."""

from __future__ import annotations

import asyncio

import pytest
from langchain.agents import create_agent
from langchain_core.exceptions import ModelError, ModelRateLimitError
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from pydantic import BaseModel, SecretStr

from las_langchain import ChatLAS, LiteLLMService, load_settings
from las_langchain.chat_models import REQUEST_FIELDS
from las_langchain.errors import APIError, AuthenticationError, BadRequestError
from tests.fake_openai import FakeOpenAI, Reply

FRANCE = "What is the capital of France?"


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


async def test_the_embedded_model_answers_in_every_form() -> None:
    model = ChatLAS(temperature=0)
    whole = model.invoke(FRANCE)
    assert "Paris" in whole.content
    assert whole.response_metadata["model_name"] == "local/smollm2-135m-instruct"
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["output_tokens"] > 0
    assert (await model.ainvoke(FRANCE)).content == whole.content
    assert [message.content for message in model.batch([FRANCE, FRANCE])] == [whole.content] * 2
    streamed = sum(model.stream(FRANCE), AIMessageChunk(""))
    astreamed = AIMessageChunk("")
    async for chunk in model.astream(FRANCE):
        astreamed += chunk
    assert streamed.content == astreamed.content == whole.content
    assert streamed.usage_metadata is not None
    assert streamed.response_metadata["finish_reason"] == "stop"


def test_it_is_a_runnable_like_any_other() -> None:
    chain = ChatPromptTemplate.from_template("What is the capital of {country}?") | ChatLAS(temperature=0)
    assert "Paris" in chain.invoke({"country": "France"}).content


def test_an_agent_runs_without_a_key() -> None:
    agent = create_agent(ChatLAS(temperature=0), [multiply])
    messages = agent.invoke({"messages": [HumanMessage("Multiply 12 by 7")]})["messages"]
    assert [type(message) for message in messages] == [HumanMessage, AIMessage, ToolMessage, AIMessage]
    assert messages[2].content == "84"
    assert "84" in messages[3].content


def test_structured_output_on_the_embedded_model() -> None:
    class Person(BaseModel):
        """A person."""

        name: str
        age: int

    assert ChatLAS(temperature=0).with_structured_output(Person).invoke("Bob is 42 years old") == Person(
        name="Bob", age=42
    )


def test_every_field_is_sent(upstream: FakeOpenAI) -> None:
    values = {
        "temperature": 0.3, "top_p": 0.8, "max_tokens": 50, "stop": ["END"], "n": 2, "seed": 4, "presence_penalty": 0.1,
        "frequency_penalty": 0.2, "logprobs": True, "top_logprobs": 2, "logit_bias": {"5": 1.0}, "user": "me",
        "response_format": {"type": "text"}, "service_tier": "auto",
        "extra_body": {"store": False}, "extra_headers": {"x-team": "red"},
    }  # fmt: skip
    unsent = {"parallel_tool_calls", "top_k", "reasoning_effort"}  # need tools, another provider, another model
    assert values.keys() | unsent == set(REQUEST_FIELDS)
    ChatLAS(model="openai/gpt-4o", **values).invoke("hi")
    sent = upstream.last
    assert sent.headers["x-team"] == "red"
    expected = {name: value for name, value in values.items() if not name.startswith("extra_")} | {"store": False}
    expected |= {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
    assert sent.body == expected
    ChatLAS(model="openai/o3-mini", reasoning_effort="low").invoke("hi")
    assert upstream.last.body["reasoning_effort"] == "low"
    ChatLAS(model="openai/gpt-4o", parallel_tool_calls=False).bind_tools([multiply]).invoke("hi")
    assert upstream.last.body["parallel_tool_calls"] is False


def test_a_field_that_the_model_does_not_take_is_refused_by_name(upstream: FakeOpenAI) -> None:
    with pytest.raises(BadRequestError, match="reasoning_effort") as error:
        ChatLAS(model="openai/gpt-4o", reasoning_effort="low").invoke("hi")
    assert "drop_params" not in str(error.value)
    assert upstream.requests == []


def test_per_call_arguments_go_before_fields(upstream: FakeOpenAI) -> None:
    model = ChatLAS(model="openai/gpt-4o", temperature=0.3, stop=["A"])
    answer = model.invoke("hi", model="openai/gpt-4o-mini", temperature=0.7, stop=["B"])
    assert (upstream.last.body["model"], upstream.last.body["temperature"]) == ("gpt-4o-mini", 0.7)
    assert upstream.last.body["stop"] == ["B"]
    assert answer.response_metadata["model_name"] == "gpt-4o-mini"


def test_fields_of_the_call_itself_may_be_bound(upstream: FakeOpenAI) -> None:
    bound = ChatLAS().bind(
        model="openai/gpt-4o", api_key="sk-bound", base_url=upstream.url, max_retries=1, timeout=5, stream_usage=False
    )
    upstream.enqueue(*[Reply(status=503, headers={"retry-after": "0"})] * 9)
    with pytest.raises(APIError):
        bound.invoke("hi")
    assert len(upstream.requests) == 2
    assert upstream.last.headers["authorization"] == "Bearer sk-bound"
    upstream.reset()
    assert sum(bound.stream("hi"), AIMessageChunk("")).content == "Echo: hi"
    assert upstream.last.body.keys() == {"model", "messages", "stream"}


async def test_a_stream_of_several_answers_is_refused() -> None:
    with pytest.raises(BadRequestError, match="n: a stream is one answer"):
        list(ChatLAS(n=2).stream("hi"))
    with pytest.raises(BadRequestError, match="n: a stream is one answer"):
        await anext(ChatLAS().astream("hi", n=2))
    assert len(ChatLAS(n=2, max_tokens=3).generate([[HumanMessage("hi")]]).generations[0]) == 2


def test_extra_fields_reach_the_embedded_model() -> None:
    answer = ChatLAS(extra_body={"min_p": 0.5}, extra_headers={"x": "y"}, max_tokens=3).invoke("hi")
    assert answer.content
    with pytest.raises(BadRequestError, match="does not know the parameter 'mnp'"):
        ChatLAS(extra_body={"mnp": 0.5}).invoke("hi")
    with pytest.raises(BadRequestError, match="extra_body: expected an object"):
        ChatLAS().invoke("hi", extra_body="x")


def test_streams_ask_for_usage_unless_told_not_to(upstream: FakeOpenAI) -> None:
    with_usage = sum(ChatLAS(model="openai/gpt-4o").stream("hi"), AIMessageChunk(""))
    assert with_usage.usage_metadata is not None
    assert upstream.last.body["stream_options"] == {"include_usage": True}
    ChatLAS(model="openai/gpt-4o", stream_usage=False).invoke("hi")
    list(ChatLAS(model="openai/gpt-4o", stream_usage=False).stream("hi"))
    assert "stream_options" not in upstream.last.body


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (None, None),
        ("auto", "auto"),
        ("none", "none"),
        ("any", "required"),
        ("required", "required"),
        (True, "required"),
        ("multiply", {"type": "function", "function": {"name": "multiply"}}),
        (
            {"type": "function", "function": {"name": "multiply"}},
            {"type": "function", "function": {"name": "multiply"}},
        ),
    ],
)
def test_tool_choice_in_every_form(upstream: FakeOpenAI, choice: object, sent: object) -> None:
    ChatLAS(model="openai/gpt-4o").bind_tools([multiply], tool_choice=choice).invoke("hi")  # type: ignore[arg-type]
    assert upstream.last.body.get("tool_choice") == sent
    assert upstream.last.body["tools"][0]["function"]["name"] == "multiply"


def test_a_tool_choice_that_is_no_tool_is_refused() -> None:
    with pytest.raises(BadRequestError, match="names 'divide'"):
        ChatLAS().bind_tools([multiply], tool_choice="divide")


def test_unknown_arguments_name_the_nearest() -> None:
    with pytest.raises(ValueError, match="ChatLAS has no argument 'temprature'; did you mean 'temperature'"):
        ChatLAS(temprature=0)


def test_errors_are_langchains_and_ours(upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(status=429, headers={"retry-after": "3600"}))
    with pytest.raises(ModelRateLimitError) as error:
        ChatLAS(model="openai/gpt-4o").invoke("hi")
    assert error.value.status_code == 429
    with pytest.raises(ModelError):
        ChatLAS(model="anthropic/claude-3-5-sonnet-20241022").invoke("hi")
    with pytest.raises(AuthenticationError, match="set ANTHROPIC_API_KEY"):
        ChatLAS(model="anthropic/claude-3-5-sonnet-20241022").invoke("hi")


def test_key_and_address_may_be_arguments(upstream: FakeOpenAI) -> None:
    model = ChatLAS(model="openai/gpt-4o", api_key="sk-argument-12345", base_url=upstream.url)
    model.invoke("hi")
    assert upstream.last.headers["authorization"] == "Bearer sk-argument-12345"
    assert model.api_key == SecretStr("sk-argument-12345")
    assert "sk-argument" not in repr(model)


def test_a_service_of_its_own(upstream: FakeOpenAI) -> None:
    service = LiteLLMService(load_settings(model="openai/gpt-4o"))
    assert ChatLAS(service=service).invoke("hi").content == "Echo: hi"


async def test_one_model_serves_many_loops_and_tasks(upstream: FakeOpenAI) -> None:
    model = ChatLAS(model="openai/gpt-4o")
    here = await asyncio.gather(*(model.ainvoke(f"hi {index}") for index in range(5)))
    there = await asyncio.to_thread(lambda: asyncio.run(model.ainvoke("hi 9")))
    assert [answer.content for answer in [*here, there]] == [f"Echo: hi {index}" for index in (0, 1, 2, 3, 4, 9)]


async def test_a_dropped_stream_closes_its_connection(upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(content="word " * 400, chunk_delay=0.01))
    stream = ChatLAS(model="openai/gpt-4o").astream("hi")
    await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]
    await asyncio.sleep(0.2)
    sent = upstream.events_sent
    await asyncio.sleep(0.3)
    assert upstream.events_sent == sent


def test_parameters_identify_the_model() -> None:
    params = ChatLAS(model="openai/gpt-4o", temperature=0, max_tokens=5)._identifying_params
    assert params == {"model": "openai/gpt-4o", "api_base": None, "temperature": 0, "max_tokens": 5}
    assert ChatLAS(model="openai/gpt-4o")._get_ls_params()["ls_provider"] == "openai"
    assert ChatLAS()._get_ls_params()["ls_model_name"] == "smollm2-135m-instruct"
