"""ChatLAS on the embedded model and on an upstream."""

from __future__ import annotations

import asyncio
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.exceptions import ModelError, ModelRateLimitError
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.tools import tool
from pydantic import SecretStr

from las_langchain import ChatLAS, LiteLLMService, init_chat_model, load_settings
from las_langchain.calls import REQUEST_FIELDS
from las_langchain.errors import (
    APIError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ModelNotFoundError,
)
from tests.fake_anthropic import FakeAnthropic
from tests.fake_openai import FakeOpenAI, Reply, ToolCall

CLAUDE = "anthropic/claude-sonnet-4-5"

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


def test_a_field_that_the_model_does_not_take_is_refused_by_name(upstream: FakeOpenAI) -> None:
    with pytest.raises(BadRequestError, match="presence_penalty") as error:
        ChatLAS(model="ollama/llama3.2", presence_penalty=0.5).invoke("hi")
    assert "drop_params" not in str(error.value)
    # What OpenAI's models take, OpenAI says.
    ChatLAS(model="openai/gpt-4o", reasoning_effort="low").invoke("hi")
    assert upstream.last.body["reasoning_effort"] == "low"


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


def test_extra_fields_reach_the_embedded_model() -> None:
    answer = ChatLAS(extra_body={"min_p": 0.5}, extra_headers={"x": "y"}, max_tokens=3).invoke("hi")
    assert answer.content
    with pytest.raises(BadRequestError, match="does not know the parameter 'mnp'"):
        ChatLAS(extra_body={"mnp": 0.5}).invoke("hi")
    with pytest.raises(BadRequestError, match="extra_body: Input should be a valid dictionary"):
        ChatLAS().invoke("hi", extra_body="x")


def test_streams_ask_for_usage_unless_told_not_to(upstream: FakeOpenAI) -> None:
    with_usage = sum(ChatLAS(model="openai/gpt-4o").stream("hi"), AIMessageChunk(""))
    assert with_usage.usage_metadata is not None
    assert upstream.last.body["stream_options"] == {"include_usage": True}
    ChatLAS(model="openai/gpt-4o", stream_usage=False).invoke("hi")
    list(ChatLAS(model="openai/gpt-4o", stream_usage=False).stream("hi"))
    assert "stream_options" not in upstream.last.body


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


VALUES: dict[str, Any] = {
    "model": "openai/gpt-4o", "temperature": 0.3, "top_p": 0.8, "max_tokens": 50, "stop": ["END"], "n": 2, "seed": 4,
    "presence_penalty": 0.1, "frequency_penalty": 0.2, "logprobs": True, "top_logprobs": 2, "logit_bias": {"5": 1.0},
    "user": "me", "response_format": {"type": "text"}, "service_tier": "auto", "extra_body": {"store": False},
    "extra_headers": {"x-team": "red"}, "organization": "org-1", "model_kwargs": {"metadata": {"a": "b"}},
}  # fmt: skip
# Not a part of the request, each with a test of its own in this file or in the one named.
OF_THE_CALL = {
    "timeout", "stream_timeout", "max_retries", "stream_usage", "streaming", "api_key", "api_base", "fallbacks",
    "transport", "service",
}  # fmt: skip
# Need tools, another provider, another model.
SENT_ELSEWHERE = {"parallel_tool_calls", "top_k", "reasoning_effort"}


def test_every_field_arrives_upstream(upstream: FakeOpenAI) -> None:
    own = ChatLAS.model_fields.keys() - BaseChatModel.model_fields.keys()
    assert VALUES.keys() | OF_THE_CALL | SENT_ELSEWHERE == own
    ChatLAS(**VALUES).invoke("hi")
    sent = upstream.last
    assert sent.headers["x-team"] == "red"
    assert sent.headers["openai-organization"] == "org-1"
    fields = {name: value for name, value in VALUES.items() if name in REQUEST_FIELDS and name != "extra_headers"}
    fields |= {**fields.pop("extra_body"), **VALUES["model_kwargs"]}
    assert sent.body == {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], **fields}
    ChatLAS(model="openai/o3-mini", reasoning_effort="low").invoke("hi")
    assert upstream.last.body["reasoning_effort"] == "low"
    ChatLAS(model="openai/gpt-4o", parallel_tool_calls=False).bind_tools([multiply]).invoke("hi")
    assert upstream.last.body["parallel_tool_calls"] is False


def test_top_k_arrives_at_a_provider_that_knows_it(anthropic_upstream: FakeAnthropic) -> None:
    ChatLAS(model=CLAUDE, top_k=5).invoke("hi")
    assert anthropic_upstream.last.body["top_k"] == 5


def test_fields_are_per_call_arguments_too(upstream: FakeOpenAI) -> None:
    ChatLAS().invoke("hi", **VALUES)
    bound = upstream.last
    ChatLAS(**VALUES).invoke("hi")
    assert upstream.last.body == bound.body
    assert bound.headers["openai-organization"] == "org-1"


def test_other_names_of_fields(upstream: FakeOpenAI) -> None:
    names = {"max_completion_tokens": 9, "request_timeout": 7.0, "stop_sequences": ["X"], "base_url": upstream.url}
    model = ChatLAS(model="openai/gpt-4o", **names)
    assert (model.max_tokens, model.timeout, model.stop, model.api_base) == (9, 7.0, ["X"], upstream.url)
    ChatLAS(model="openai/gpt-4o").invoke("hi", **names)
    assert (upstream.last.body["max_tokens"], upstream.last.body["stop"]) == (9, ["X"])
    with pytest.raises(ValueError, match="max_completion_tokens is another name of max_tokens: give one of them"):
        ChatLAS(max_tokens=1, max_completion_tokens=2)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"temprature": 0}, "ChatLAS has no argument 'temprature'; did you mean 'temperature'"),
        ({"prediction": {}}, "ChatLAS has no argument 'prediction'; a field of the request goes into model_kwargs"),
        ({"model_kwargs": {"seed": 1}}, "model_kwargs holds 'seed', which is an argument of ChatLAS"),
        ({"timeout": 0}, "timeout"),
        ({"max_retries": -1}, "max_retries"),
        ({"n": 0}, "n"),
        ({"transport": "carrier pigeon"}, "transport"),
    ],
)
def test_wrong_arguments_are_refused_by_name(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        ChatLAS(**arguments)


def test_a_wrong_argument_does_not_show_the_key() -> None:
    with pytest.raises(ValueError, match="temperature") as error:
        ChatLAS(temperature="hot", api_key="sk-secret-0123456789")
    assert "sk-secret" not in str(error.value)


def test_an_unknown_request_field_names_the_nearest(upstream: FakeOpenAI) -> None:
    with pytest.raises(BadRequestError, match="'verbositty'; did you mean 'verbosity'"):
        ChatLAS(model="openai/gpt-4o", model_kwargs={"verbositty": "low"}).invoke("hi")
    assert upstream.requests == []


def test_transports_are_checked_against_the_model(upstream: FakeOpenAI) -> None:
    assert ChatLAS(model="openai/gpt-4o", transport="litellm").invoke("hi").content == "Echo: hi"
    ways = "transport='wire' or transport='litellm', not 'local'"
    with pytest.raises(BadRequestError, match=f"openai models are reached by {ways}"):
        ChatLAS(model="openai/gpt-4o", transport="local").invoke("hi")
    with pytest.raises(BadRequestError, match="local models are reached by transport='local'"):
        ChatLAS(transport="litellm").invoke("hi")


def test_streaming_makes_invoke_a_stream(upstream: FakeOpenAI) -> None:
    assert ChatLAS(model="openai/gpt-4o", streaming=True).invoke("hi").content == "Echo: hi"
    assert upstream.last.body["stream"] is True
    list(ChatLAS(model="openai/gpt-4o", disable_streaming=True).stream("hi"))
    assert "stream" not in upstream.last.body
    list(ChatLAS(model="openai/gpt-4o", disable_streaming="tool_calling").bind_tools([multiply]).stream("hi"))
    assert "stream" not in upstream.last.body


def test_the_rate_limiter_is_asked(upstream: FakeOpenAI) -> None:
    limiter = InMemoryRateLimiter(requests_per_second=20, check_every_n_seconds=0.01, max_bucket_size=1)
    model = ChatLAS(model="openai/gpt-4o", rate_limiter=limiter)
    began = time.monotonic()
    for _ in range(3):
        model.invoke("hi")
    assert time.monotonic() - began > 0.1


async def test_keys_may_be_functions(upstream: FakeOpenAI) -> None:
    keys = iter(f"sk-key-{count}" for count in range(9))

    async def later() -> str:
        return next(keys)

    now = ChatLAS(model="openai/gpt-4o", api_key=lambda: next(keys))
    soon = ChatLAS(model="openai/gpt-4o", api_key=later)
    now.invoke("hi")
    await asyncio.to_thread(soon.invoke, "hi")
    await now.ainvoke("hi")
    await soon.ainvoke("hi")
    list(now.stream("hi"))
    _ = [chunk async for chunk in soon.astream("hi")]
    asked = [request.headers["authorization"] for request in upstream.requests]
    assert asked == [f"Bearer sk-key-{count}" for count in range(6)]
    assert "sk-key" not in repr(now)


def test_credentials_are_for_their_own_provider(upstream: FakeOpenAI, anthropic_upstream: FakeAnthropic) -> None:
    model = ChatLAS(model="openai/gpt-4o", api_key="sk-openais", organization="org-1")
    assert model.invoke("hi", model=CLAUDE).response_metadata["model_provider"] == "anthropic"
    sent = anthropic_upstream.last.headers
    assert sent["x-api-key"] == os.environ["ANTHROPIC_API_KEY"]
    assert "openai-organization" not in sent
    assert "sk-openais" not in str(sent)


def test_headers_and_bodies_stay_with_their_provider(upstream: FakeOpenAI, anthropic_upstream: FakeAnthropic) -> None:
    model = ChatLAS(
        model="openai/gpt-4o", extra_headers={"x-gateway": "secret-9"}, extra_body={"store": True},
        organization="org-1", fallbacks=[CLAUDE], max_retries=0,
    )  # fmt: skip
    upstream.enqueue(Reply(status=500))
    model.invoke("hi")
    assert upstream.last.headers["x-gateway"] == "secret-9"
    assert "secret-9" not in str(anthropic_upstream.last)
    assert "store" not in anthropic_upstream.last.body


def test_secrets_of_a_call_stay_out_of_traces_caches_and_errors(upstream: FakeOpenAI) -> None:
    class Listener(BaseCallbackHandler):
        heard = ""

        def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
            self.heard = f"{serialized} {kwargs}"

    listener, secrets = Listener(), {"api_key": "sk-call-0123456789", "extra_headers": {"x-token": "tok_mysecretvalue"}}
    error = {"message": "bad header x-token: tok_mysecretvalue, bad key sk-call-0123456789"}
    upstream.enqueue(Reply(status=400, error=error))
    model = ChatLAS(model="openai/gpt-4o")
    with pytest.raises(BadRequestError) as raised:
        model.invoke("hi", config={"callbacks": [listener]}, **secrets)
    assert upstream.last.headers["x-token"] == "tok_mysecretvalue"
    for text in (listener.heard, model._get_llm_string(**secrets), str(raised.value)):
        assert "mysecretvalue" not in text
        assert "sk-call" not in text
    assert "gpt-4o" in listener.heard


@pytest.mark.parametrize(
    "given",
    [
        {"n": "two"}, {"timeout": "soon"}, {"timeout": -1}, {"fallbacks": "openai/gpt-4o"}, {"model_kwargs": [1]},
        {"response_format": "json_object"}, {"extra_headers": 5}, {"api_key": 5}, {"max_retries": -1}, {"stop": 5},
    ],
)  # fmt: skip
def test_arguments_of_a_call_are_checked_like_fields(upstream: FakeOpenAI, given: dict[str, Any]) -> None:
    (name,) = given
    with pytest.raises(BadRequestError, match=f"^{name}: ") as error:
        ChatLAS(model="openai/gpt-4o").invoke("hi", **given)
    assert error.value.param == name
    assert upstream.requests == []


def test_a_later_name_of_a_bound_argument_holds(upstream: FakeOpenAI) -> None:
    ChatLAS(model="openai/gpt-4o").bind(max_tokens=9).invoke("hi", max_completion_tokens=3)
    assert upstream.last.body["max_tokens"] == 3


def test_empty_keys_are_refused_and_others_trimmed(upstream: FakeOpenAI) -> None:
    for empty in ("", " \n"):
        with pytest.raises(AuthenticationError, match="api_key is empty"):
            ChatLAS(model="openai/gpt-4o", api_key=empty).invoke("hi")
    assert upstream.requests == []
    ChatLAS(model="openai/gpt-4o", api_key="sk-file-0123456789\n").invoke("hi")
    assert upstream.last.headers["authorization"] == "Bearer sk-file-0123456789"


def test_options_of_the_stream_are_kept(upstream: FakeOpenAI) -> None:
    options = {"include_obfuscation": False}
    list(ChatLAS(model="openai/gpt-4o", model_kwargs={"stream_options": options}).stream("hi"))
    assert upstream.last.body["stream_options"] == {"include_usage": True, "include_obfuscation": False}


def test_the_old_form_of_tools_is_refused(upstream: FakeOpenAI) -> None:
    with pytest.raises(BadRequestError, match="use bind_tools"):
        ChatLAS(model="openai/gpt-4o").invoke("hi", functions=[{"name": "f"}])


def raw(answer: dict[str, Any]) -> Reply:
    """A plain answer, word for word."""
    whole = {"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-4o", **answer}
    return Reply(raw=json.dumps(whole).encode())


def test_an_answer_without_choices_falls_back(upstream: FakeOpenAI) -> None:
    upstream.enqueue(raw({"choices": []}))
    model = ChatLAS(model="openai/gpt-4o", max_retries=0, fallbacks=["openai/gpt-4.1"])
    assert model.invoke("hi").response_metadata["model_name"] == "gpt-4.1"
    upstream.enqueue(raw({"choices": []}))
    with pytest.raises(APIError, match="no choices"):
        model.invoke("hi", fallbacks=[])


def test_an_answer_without_usage_has_no_cost(upstream: FakeOpenAI) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
    upstream.enqueue(raw({"choices": [choice]}))
    answer = ChatLAS(model="openai/gpt-4o").invoke("hi")
    assert answer.usage_metadata is None
    assert answer.response_metadata["cost"] is None


def test_sounds_do_not_stop_the_counting_of_tokens() -> None:
    sound = {"type": "audio", "base64": "AAAA", "mime_type": "audio/wav"}
    assert ChatLAS(model="openai/gpt-4o").get_num_tokens_from_messages([HumanMessage(["hi", sound])]) > 0


def test_fallbacks_answer_in_order(upstream: FakeOpenAI, anthropic_upstream: FakeAnthropic) -> None:
    model = ChatLAS(model="openai/gpt-4o", max_retries=0, fallbacks=["openai/gpt-4o-mini", CLAUDE], api_key="sk-own")
    down = Reply(status=503)
    upstream.enqueue(down, down, down, down, down)
    answer = model.invoke("hi")
    assert answer.response_metadata["model_provider"] == "anthropic"
    assert [request.body["model"] for request in upstream.requests] == ["gpt-4o", "gpt-4o-mini"]
    streamed = sum(model.stream("hi"), AIMessageChunk(""))
    assert streamed.response_metadata["model_provider"] == "anthropic"
    assert model.invoke("hi").response_metadata["model_name"] == "gpt-4o-mini"
    upstream.enqueue(Reply(status=400))
    with pytest.raises(BadRequestError):
        model.invoke("hi")


async def test_fallbacks_answer_asynchronously_and_without_keys(upstream: FakeOpenAI) -> None:
    model = ChatLAS(model="groq/openai/gpt-oss-20b", fallbacks=["openai/gpt-4o"])
    assert (await model.ainvoke("hi")).content == "Echo: hi"
    assert "".join([str(chunk.content) async for chunk in model.astream("hi")]) == "Echo: hi"
    upstream.enqueue(Reply(status=400, error={"message": "too long", "code": "context_length_exceeded"}))
    longer = ChatLAS(model="openai/gpt-4o", fallbacks=["openai/gpt-4.1"])
    assert (await longer.ainvoke("hi")).response_metadata["model_name"] == "gpt-4.1"
    upstream.enqueue(*[Reply(status=401)] * 2)
    with pytest.raises(AuthenticationError):
        await longer.ainvoke("hi")


async def test_a_dropped_stream_closes_its_connection_at_once(upstream: FakeOpenAI) -> None:
    upstream.enqueue(*[Reply(content="word " * 2000, chunk_delay=0.005)] * 3)
    model = ChatLAS(model="openai/gpt-4o")

    async def closed() -> bool:
        sent = upstream.events_sent
        await asyncio.sleep(0.1)
        later = upstream.events_sent
        await asyncio.sleep(0.2)
        # 20 events are sent in 100 ms.
        return upstream.events_sent == later and later - sent <= 20

    stream = model.astream("hi")
    await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]
    assert await closed()

    def take_one() -> None:
        dropped = model.stream("hi")
        next(dropped)
        dropped.close()  # type: ignore[attr-defined]

    await asyncio.to_thread(take_one)
    assert await closed()
    task = asyncio.create_task(model.ainvoke("hi", stream=True))
    await asyncio.sleep(0.3)
    task.cancel()
    assert await closed()


async def test_a_cancelled_task_cancels_its_call(upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(content="late", delay=30))
    task = asyncio.create_task(ChatLAS(model="openai/gpt-4o").ainvoke("hi"))
    while not upstream.requests:
        await asyncio.sleep(0.01)
    gone = upstream.disconnects
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(50):
        await asyncio.sleep(0.02)
        if upstream.disconnects == gone + 1:
            break
    assert upstream.disconnects == gone + 1


def test_one_model_serves_many_threads_and_loops(upstream: FakeOpenAI) -> None:
    model = ChatLAS(model="openai/gpt-4o")

    def work(number: int) -> list[str]:
        async def soon() -> str:
            return str((await model.ainvoke(f"a {number}")).content)

        streamed = "".join(str(chunk.content) for chunk in model.stream(f"s {number}"))
        return [str(model.invoke(f"i {number}").content), streamed, asyncio.run(soon())]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(work, range(16)))
    assert answers == [[f"Echo: {way} {number}" for way in "isa"] for number in range(16)]


@pytest.mark.parametrize("output_version", [None, "v1"])
@pytest.mark.filterwarnings("ignore:.*beta:langchain_core._api.LangChainBetaWarning")
async def test_events_of_both_versions(upstream: FakeOpenAI, output_version: str | None) -> None:
    model = ChatLAS(model="openai/gpt-4o", output_version=output_version)
    reply = Reply(content="two words", reasoning="hm", tool_calls=[ToolCall("f", {"a": 1})])
    upstream.enqueue(reply, reply, reply)
    events = [event async for event in model.astream_events("hi", version="v2")]
    assert [event["event"] for event in (events[0], events[-1])] == ["on_chat_model_start", "on_chat_model_end"]
    assert events[-1]["data"]["output"].tool_calls[0]["args"] == {"a": 1}
    stream = model.stream_events("hi", version="v3")
    kinds = [event["content"]["type"] for event in stream if event["event"] == "content-block-finish"]
    assert kinds == ["reasoning", "text", "tool_call"]
    assert stream.output.usage_metadata is not None
    astream = await model.astream_events("hi", version="v3")
    assert "".join([text async for text in astream.text]) == "two words"


def test_several_answers(upstream: FakeOpenAI) -> None:
    model = ChatLAS(model="openai/gpt-4o", n=2)
    streamed = sum(model.stream("hi"), AIMessageChunk(""))
    assert streamed.content == "Echo: hi"
    assert streamed.response_metadata["finish_reason"] == "stop"
    second = {"index": 1, "role": "assistant", "content": "Echo: hi #1", "finish_reason": "stop"}
    assert streamed.additional_kwargs["candidates"] == [second]
    for chosen in (model, ChatLAS(model="openai/gpt-4o", n=2, streaming=True)):
        generations = chosen.generate([[HumanMessage("hi")]]).generations[0]
        assert [generation.text for generation in generations] == ["Echo: hi", "Echo: hi #1"]
    assert len(ChatLAS(n=2, max_tokens=3).generate([[HumanMessage("hi")]]).generations[0]) == 2


def test_broken_arguments_of_a_call_are_kept(upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(tool_calls=[ToolCall("multiply", "{bro")]), Reply(tool_calls=[ToolCall("multiply", "[1]")]))
    broken = ChatLAS(model="openai/gpt-4o").bind_tools([multiply]).invoke("hi")
    assert broken.tool_calls == []
    assert broken.invalid_tool_calls[0]["args"] == "{bro"
    streamed = sum(ChatLAS(model="openai/gpt-4o").bind_tools([multiply]).stream("hi"), AIMessageChunk(""))
    assert streamed.invalid_tool_calls[0]["args"] == "[1]"


def test_an_answer_may_repeat_itself(upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(content="- " * 300))
    assert sum(ChatLAS(model="openai/gpt-4o").stream("hi"), AIMessageChunk("")).content == "- " * 300


def test_parallel_calls_and_calls_without_arguments(upstream: FakeOpenAI) -> None:
    upstream.enqueue(*[Reply(tool_calls=[ToolCall("now", ""), ToolCall("multiply", {"a": 2, "b": 3})])] * 2)
    model = ChatLAS(model="openai/gpt-4o").bind_tools([multiply])
    for answer in (model.invoke("hi"), sum(model.stream("hi"), AIMessageChunk(""))):
        assert [(call["name"], call["args"]) for call in answer.tool_calls] == [
            ("now", {}),
            ("multiply", {"a": 2, "b": 3}),
        ]


def test_extras_of_a_tool_reach_its_provider(anthropic_upstream: FakeAnthropic) -> None:
    cached = multiply.model_copy(update={"extras": {"cache_control": {"type": "ephemeral"}}})
    ChatLAS(model=CLAUDE).bind_tools([cached]).invoke("hi")
    assert anthropic_upstream.last.body["tools"][0]["cache_control"] == {"type": "ephemeral"}


@pytest.mark.parametrize("max_retries", [0, 1, 2])
def test_max_retries_means_exactly_that(upstream: FakeOpenAI, max_retries: int) -> None:
    upstream.enqueue(*[Reply(status=503, headers={"retry-after": "0"})] * 9)
    with pytest.raises(APIError):
        ChatLAS(model="openai/gpt-4o", max_retries=max_retries).invoke("hi")
    assert len(upstream.requests) == max_retries + 1
    upstream.reset()
    upstream.enqueue(*[Reply(status=400)] * 9)
    with pytest.raises(BadRequestError):
        ChatLAS(model="openai/gpt-4o", max_retries=max_retries).invoke("hi")
    assert len(upstream.requests) == 1


def test_timeouts_bound_the_first_byte_and_the_silence(upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(content="late", delay=20), Reply(content="a b c", cut_after=2, hang=True))
    with pytest.raises(APITimeoutError):
        ChatLAS(model="openai/gpt-4o", timeout=0.2, max_retries=0).invoke("hi")
    began = time.monotonic()
    with pytest.raises(APITimeoutError):
        list(ChatLAS(model="openai/gpt-4o", stream_timeout=0.3).stream("hi"))
    assert time.monotonic() - began < 10


def test_what_an_answer_says_of_itself(upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(content="x", usage={"prompt_tokens": 1000, "completion_tokens": 1000}))
    metadata = ChatLAS(model="openai/gpt-4o", logprobs=True).invoke("hi").response_metadata
    assert metadata["model_name"] == "gpt-4o-2024-08-06"
    assert metadata["model_provider"] == "openai" == ChatLAS(model="openai/gpt-4o")._get_ls_params()["ls_provider"]
    assert metadata["finish_reason"] == "stop"
    assert metadata["id"].startswith("chatcmpl-")
    assert metadata["system_fingerprint"]
    assert metadata["service_tier"] == "default"
    assert metadata["logprobs"]["content"][0]["token"] == "x"
    assert metadata["cost"] == pytest.approx(0.0125)
    streamed = sum(ChatLAS(model="openai/gpt-4o").stream("hi"), AIMessageChunk("")).response_metadata
    assert streamed.keys() == metadata.keys() - {"logprobs", "token_usage"}
    assert ChatLAS(model="openai/fake-model").invoke("hi").response_metadata["cost"] is None
    assert ChatLAS(max_tokens=2).invoke("hi").response_metadata["cost"] == 0


def test_the_profile_is_litellms() -> None:
    profile = ChatLAS(model="openai/gpt-4o").profile
    assert profile is not None
    assert profile["max_input_tokens"] == 128_000
    assert profile["image_inputs"]
    assert profile["structured_output"]
    assert not profile["reasoning_output"]
    assert ChatLAS(model="openai/no-such-model").profile is None
    assert ChatLAS(model="openai/gpt-4o", profile={"max_input_tokens": 5}).profile == {"max_input_tokens": 5}
    embedded = ChatLAS().profile
    assert embedded is not None
    assert embedded["max_input_tokens"] == 8192


def test_tokens_are_counted_without_asking_anybody() -> None:
    model = ChatLAS(model="openai/gpt-4o")
    assert model.get_num_tokens("hello there world") == 3
    assert model.get_num_tokens("") == 0
    prompt = [HumanMessage([{"type": "text", "text": "hi"}, {"type": "image", "url": "https://192.0.2.1/x.png"}])]
    assert 80 < model.get_num_tokens_from_messages(prompt) < 400
    assert model.get_num_tokens_from_messages(prompt, [multiply]) > model.get_num_tokens_from_messages(prompt)
    embedded = ChatLAS()
    assert embedded.get_num_tokens("hello there world") == 3
    counted = embedded.get_num_tokens_from_messages([HumanMessage(FRANCE)])
    usage = embedded.invoke(FRANCE, max_tokens=1).usage_metadata
    assert usage is not None
    assert abs(counted - usage["input_tokens"]) <= 4


def test_parameters_identify_the_model() -> None:
    params = ChatLAS(model="openai/gpt-4o", temperature=0, max_tokens=5)._identifying_params
    assert params == {"model": "openai/gpt-4o", "temperature": 0, "max_tokens": 5}
    whole = ChatLAS(
        **VALUES, api_base="http://x", fallbacks=["openai/gpt-4.1"], transport="litellm"
    )._identifying_params
    assert whole.keys() == {*VALUES, "api_base", "fallbacks", "transport"} - {"extra_headers"}
    assert ChatLAS()._get_ls_params()["ls_model_name"] == "smollm2-135m-instruct"
    assert ChatLAS()._get_ls_params(model="openai/gpt-4o")["ls_provider"] == "openai"


def test_the_settings_model_is_named_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAS_MODEL", "ollama/llama3.2")
    assert ChatLAS().model == "ollama/llama3.2"


def test_wrong_settings_are_said_by_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAS_TIMEOUT", "soon")
    model = ChatLAS()
    with pytest.raises(ConfigurationError, match="LAS_TIMEOUT"):
        model.invoke("hi")


def test_any_provider_by_its_id() -> None:
    for given in (
        {"model": "openai/gpt-4o"},
        {"model": "openai:gpt-4o"},
        {"model": "gpt-4o"},
        {"model": "gpt-4o", "model_provider": "openai"},
        {"model": "openai/gpt-4o", "model_provider": "openai"},
    ):
        model = init_chat_model(**given, temperature=0)
        assert isinstance(model, ChatLAS)
        assert model._get_ls_params()["ls_provider"] == "openai"
        assert model._get_ls_params()["ls_model_name"] == "gpt-4o"
        assert model.temperature == 0
    assert init_chat_model("ollama/qwen2.5:7b")._get_ls_params()["ls_model_name"] == "qwen2.5:7b"
    assert init_chat_model().model == "local/smollm2-135m-instruct"
    with pytest.raises(ModelNotFoundError, match="did you mean 'openai'"):
        init_chat_model("opnai/gpt-4o")
    with pytest.raises(ValueError, match="did you mean 'temperature'"):
        init_chat_model("openai/gpt-4o", temprature=0)


async def test_synchronous_and_asynchronous_streams_are_the_same(upstream: FakeOpenAI) -> None:
    reply = Reply(content="a b", reasoning="hm", tool_calls=[ToolCall("f", {"a": 1})], refusal="no")
    upstream.enqueue(reply, reply)
    sync = [_without_ids(chunk.model_dump()) for chunk in ChatLAS(model="openai/gpt-4o").stream("hi")]
    assert sync == [_without_ids(chunk.model_dump()) async for chunk in ChatLAS(model="openai/gpt-4o").astream("hi")]


def _without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_ids(item) for key, item in value.items() if key not in ("id", "created")}
    return [_without_ids(item) for item in value] if isinstance(value, list) else value


def test_signed_thoughts_of_a_stream_go_back_with_the_next_turn(anthropic_upstream: FakeAnthropic) -> None:
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    model = ChatLAS(model=CLAUDE, max_tokens=2000, model_kwargs=thinking).bind_tools([multiply])
    question = HumanMessage([{"type": "text", "text": "multiply 2 3", "cache_control": {"type": "ephemeral"}}])
    answer = sum(model.stream([question]), AIMessageChunk(""))
    result = ToolMessage("6", tool_call_id=answer.tool_calls[0]["id"])
    assert "6" in model.invoke([question, answer, result]).text
    user, assistant, _ = anthropic_upstream.last.body["messages"]
    assert user["content"][0]["cache_control"] == {"type": "ephemeral"}
    assert assistant["content"][0]["type"] == "thinking"
    assert assistant["content"][0]["signature"]
