"""The service's own methods for chats, pictures, embeddings, prices and providers, over a real socket."""

from __future__ import annotations

import asyncio
import base64
import gc
import inspect
import os
import pickle
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any

import litellm
import numpy as np
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from pydantic import BaseModel

from las_langchain.attachments import MAX_IMAGE_BYTES
from las_langchain.call_options import CallOptions, ChatOptions
from las_langchain.completions import Completions
from las_langchain.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    LASError,
    ModelNotFoundError,
    RateLimitError,
)
from las_langchain.fields import CHAT_FIELDS
from las_langchain.service import LiteLLMService, get_litellm_service
from las_langchain.settings import load_settings
from las_langchain.tools import ToolDefinition
from tests.conftest import UPSTREAM_KEY
from tests.fake_anthropic import FakeAnthropic
from tests.fake_openai import FakeOpenAI, Reply, ToolCall
from tests.media import pdf, png

Json = dict[str, Any]
GPT = "openai/gpt-4o"
CLAUDE = "anthropic/claude-sonnet-4-5"
HELLO: list[Json] = [{"role": "user", "content": "hello there"}]
SLOW = Reply(chunks=["a "] * 2000, chunk_delay=0.02)
GIF, JPEG, WEBP = b"GIF89a" + bytes(9), b"\xff\xd8\xff\xe0" + bytes(9), b"RIFF\0\0\0\0WEBP" + bytes(9)


@pytest.fixture
def openai(upstream: FakeOpenAI) -> LiteLLMService:
    return LiteLLMService()


@pytest.fixture
def anthropic(anthropic_upstream: FakeAnthropic) -> LiteLLMService:
    return LiteLLMService()


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for what happens in another thread, for five seconds at most."""
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# Chats


def test_an_answer_is_an_object_of_openais_package(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    from openai.types.chat import ChatCompletion

    response = openai.chat_completion(HELLO, GPT, temperature=0.5, max_tokens=50, seed=None)
    assert isinstance(response, ChatCompletion)
    assert response.choices[0].message.content == "Echo: hello there"
    assert response.choices[0].finish_reason == "stop"
    assert response.usage
    assert response.usage.total_tokens == 5
    assert upstream.last.body == {"model": "gpt-4o", "messages": HELLO, "temperature": 0.5, "max_tokens": 50}


async def test_the_async_form_answers_alike(openai: LiteLLMService) -> None:
    response = await openai.achat_completion(messages=HELLO, model="gpt-4o", provider="openai")
    assert response.choices[0].message.content == "Echo: hello there"


@pytest.mark.parametrize(
    ("model", "provider"),
    [("openai/gpt-4o", None), ("gpt-4o", "openai"), ("gpt-4o", None), ("openai:gpt-4o", None), (GPT, "openai")],
)
def test_a_model_is_named_in_any_way(
    openai: LiteLLMService, upstream: FakeOpenAI, model: str, provider: str | None
) -> None:
    openai.chat_completion(HELLO, model, provider)
    assert upstream.last.body["model"] == "gpt-4o"


def test_without_a_model_the_settings_one_answers(upstream: FakeOpenAI) -> None:
    service = LiteLLMService(load_settings(model=GPT))
    assert service.chat_completion("hello there").model == "gpt-4o-2024-08-06"
    assert service.chat_completion("hello there", provider="openai").model == "gpt-4o-2024-08-06"


def test_the_embedded_model_answers_without_a_key(service: LiteLLMService) -> None:
    response = service.chat_completion("What is the capital of France?", max_tokens=20)
    assert "Paris" in str(response.choices[0].message.content)


def test_messages_may_be_langchains(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    call = {"name": "add", "args": {"a": 1}, "id": "call_1", "type": "tool_call"}
    openai.chat_completion(
        [
            SystemMessage("Be brief."),
            {"role": "user", "content": "1 + 1?"},
            AIMessage("", tool_calls=[call]),
            ToolMessage("2", tool_call_id="call_1"),
            HumanMessage(
                [{"type": "text", "text": "and this?"}, {"type": "image", "url": "https://example.com/a.png"}]
            ),
        ],
        GPT,
    )
    roles = [message["role"] for message in upstream.last.body["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "user"]
    assert upstream.last.body["messages"][2]["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a": 1}'}
    assert upstream.last.body["messages"][4]["content"][1]["image_url"]["url"] == "https://example.com/a.png"


def test_an_answers_message_goes_back_as_it_came(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(tool_calls=[ToolCall("add", {"a": 1}, "call_1")]))
    tool = ToolDefinition("add", "Add.", {"type": "object", "properties": {"a": {"type": "integer"}}})
    message = openai.chat_completion(HELLO, GPT, tools=[tool]).choices[0].message
    answer = {"role": "tool", "tool_call_id": "call_1", "content": "2"}
    response = openai.chat_completion([*HELLO, message, answer], GPT, tools=[tool])
    assert response.choices[0].message.content == "The result is: 2"
    sent = upstream.last.body["messages"][1]
    assert (sent["role"], sent["tool_calls"][0]["id"]) == ("assistant", "call_1")


def test_an_iterator_of_messages_is_read_once(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(status=503, headers={"retry-after": "0"}))
    response = openai.chat_completion(iter(HELLO), GPT)
    assert response.choices[0].message.content == "Echo: hello there"
    assert [request.body["messages"] for request in upstream.requests] == [HELLO, HELLO]


def test_what_openais_package_does_not_know_of_survives(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(content="4", reasoning="2 and 2", service_tier="flex"))
    response: Any = openai.chat_completion(HELLO, GPT)
    assert response.choices[0].message.reasoning_content == "2 and 2"
    assert response.service_tier == "flex"
    assert response.model_dump(exclude_unset=True)["choices"][0]["message"]["reasoning_content"] == "2 and 2"


def test_an_answer_out_of_the_cache_says_so(upstream: FakeOpenAI) -> None:
    service = LiteLLMService(load_settings(enable_caching=True))
    first: Any = service.chat_completion(HELLO, GPT)
    second: Any = service.chat_completion(HELLO, GPT)
    assert not hasattr(first, "cache_hit")
    assert second.cache_hit is True
    chunks: list[Any] = [*service.chat_completion(HELLO, GPT, stream=True)]
    again: list[Any] = [*service.chat_completion(HELLO, GPT, stream=True)]
    assert again[-1].cache_hit is True
    assert [chunk.choices[0].delta.content for chunk in chunks] == [chunk.choices[0].delta.content for chunk in again]
    assert len(upstream.requests) == 2


class City(BaseModel):
    """A city."""

    name: str


def test_tools_and_formats_are_taken_in_every_form(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    def weather(city: str) -> str:
        """Tell the weather."""
        return city

    definition = ToolDefinition("add", "Add.", {"type": "object", "properties": {"a": {"type": "integer"}}})
    openai.chat_completion(HELLO, GPT, tools=[weather, City, definition], tool_choice="weather")
    names = [tool["function"]["name"] for tool in upstream.last.body["tools"]]
    assert names == ["weather", "City", "add"]
    assert upstream.last.body["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    openai.chat_completion(HELLO, GPT, tools=[])
    assert "tools" not in upstream.last.body
    openai.chat_completion('Which "city"?', GPT, response_format=City)
    assert upstream.last.body["response_format"]["json_schema"]["name"] == "City"


def test_a_call_brings_its_own_way(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    options: Json = {"extra_headers": {"X-Trace": "7"}, "extra_body": {"prompt_cache_key": "k"}}
    openai.chat_completion(HELLO, GPT, api_key="sk-my-own-key-0123", api_base=upstream.url, **options)
    assert upstream.last.headers["authorization"] == "Bearer sk-my-own-key-0123"
    assert upstream.last.headers["x-trace"] == "7"
    assert upstream.last.body["prompt_cache_key"] == "k"
    openai.chat_completion(HELLO, GPT, api_key=lambda: "sk-asked-for-0123")
    assert upstream.last.headers["authorization"] == "Bearer sk-asked-for-0123"


def test_timeouts_and_retries_are_the_calls(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(hang=True))
    begun = time.monotonic()
    with pytest.raises(APITimeoutError):
        openai.chat_completion(HELLO, GPT, timeout=0.2, max_retries=0)
    assert time.monotonic() - begun < 3
    upstream.reset()
    upstream.enqueue(*[Reply(status=429, headers={"retry-after": "0"})] * 3)
    with pytest.raises(RateLimitError):
        openai.chat_completion(HELLO, GPT, max_retries=1)
    assert len(upstream.requests) == 2


def test_what_is_a_providers_own_is_not_sent_to_another(
    upstream: FakeOpenAI, anthropic_upstream: FakeAnthropic
) -> None:
    models = {"best": {"deployments": [GPT], "fallbacks": [CLAUDE]}}
    service = LiteLLMService(load_settings(models=models, max_retries=0))
    upstream.enqueue(Reply(status=500))
    response = service.chat_completion(
        [HumanMessage("hello there")], "best", max_tokens=9, extra_body={"seed": 1}, extra_headers={"X-Org": "mine"}
    )
    assert response.choices[0].message.content == "Echo: hello there"
    assert upstream.last.body["seed"] == 1
    assert "seed" not in anthropic_upstream.last.body
    assert "x-org" not in anthropic_upstream.last.headers


# Streams


def test_a_stream_is_printed_without_a_gap(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(content="one two three", reasoning="hm", tool_calls=[ToolCall("add", {"a": 1})]))
    chunks = list(openai.chat_completion(HELLO, GPT, stream=True))
    texts = [chunk.choices[0].delta.content for chunk in chunks]
    assert all(isinstance(text, str) for text in texts)
    assert "".join(map(str, texts)) == "one two three"
    assert upstream.last.body["stream_options"] == {"include_usage": True}
    assert [bool(chunk.usage) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].usage
    assert chunks[-1].usage.prompt_tokens == 2
    assert any(chunk.choices[0].delta.tool_calls for chunk in chunks)
    assert any(chunk.choices[0].finish_reason for chunk in chunks)


async def test_an_async_stream_is_too(openai: LiteLLMService) -> None:
    stream = await openai.achat_completion(HELLO, GPT, stream=True)
    texts = [chunk.choices[0].delta.content async for chunk in stream]
    assert "".join(map(str, texts)) == "Echo: hello there"


def test_several_choices_of_a_stream_all_have_texts(openai: LiteLLMService) -> None:
    texts: Json = {0: "", 1: ""}
    for chunk in openai.chat_completion(HELLO, GPT, stream=True, n=2):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content
    assert texts == {0: "Echo: hello there", 1: "Echo: hello there #1"}


def test_the_usage_may_be_left_out(openai: LiteLLMService) -> None:
    chunks = list(openai.chat_completion(HELLO, GPT, stream=True, stream_options={"include_usage": False}))
    assert not any(chunk.usage for chunk in chunks)


@pytest.mark.parametrize("way", ["close", "with", "closing", "dropped", "unread"])
def test_a_closed_stream_closes_its_connection(openai: LiteLLMService, upstream: FakeOpenAI, way: str) -> None:
    upstream.enqueue(SLOW)
    stream = openai.chat_completion(HELLO, GPT, stream=True)
    assert upstream.open_streams == 1
    if way != "unread":
        next(stream)
    match way:
        case "with":
            with stream:
                pass
        case "closing":
            with closing(stream):
                pass
        case "dropped":
            del stream
            gc.collect()
        case _:
            stream.close()
    wait_until(lambda: upstream.open_streams == 0)
    if way != "dropped":
        assert list(stream) == []


@pytest.mark.parametrize("way", ["aclose", "with", "aclosing", "unread", "cancelled"])
async def test_a_closed_async_stream_closes_its_connection(
    openai: LiteLLMService, upstream: FakeOpenAI, way: str
) -> None:
    upstream.enqueue(SLOW)
    stream = await openai.achat_completion(HELLO, GPT, stream=True)

    async def read() -> None:
        async for _ in stream:
            pass

    if way == "cancelled":
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(read(), 0.1)
    elif way == "with":
        async with stream:
            await anext(stream)
    elif way == "aclosing":
        async with aclosing(stream):
            await anext(stream)
    else:
        if way == "aclose":
            await anext(stream)
        await stream.aclose()
    await asyncio.to_thread(wait_until, lambda: upstream.open_streams == 0)


HANGING = Reply(chunks=["one"], cut_after=2, hang=True)


def test_another_thread_may_close_a_stream_that_is_read(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    upstream.enqueue(HANGING)
    stream = openai.chat_completion(HELLO, GPT, stream=True)
    with ThreadPoolExecutor() as pool:
        reading = pool.submit(list, stream)
        time.sleep(0.2)
        assert not reading.done()
        stream.close()
        assert "".join(chunk.choices[0].delta.content for chunk in reading.result(30)) in ("", "one")
    wait_until(lambda: upstream.open_streams == 0)
    assert list(stream) == []


async def test_another_task_may_close_an_async_stream_that_is_read(
    openai: LiteLLMService, upstream: FakeOpenAI
) -> None:
    upstream.enqueue(HANGING)
    stream = await openai.achat_completion(HELLO, GPT, stream=True)

    async def read() -> str:
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        # It is not cancelled itself.
        await asyncio.sleep(0)
        return text

    reading = asyncio.create_task(read())
    await asyncio.sleep(0.2)
    assert not reading.done()
    await asyncio.gather(stream.aclose(), stream.aclose())
    assert await reading in ("", "one")
    assert reading.cancelling() == 0
    await asyncio.to_thread(wait_until, lambda: upstream.open_streams == 0)
    assert [chunk async for chunk in stream] == []


async def test_a_reader_that_is_cancelled_itself_is_not_told_that_the_stream_ended(
    openai: LiteLLMService, upstream: FakeOpenAI
) -> None:
    upstream.enqueue(HANGING)
    stream = await openai.achat_completion(HELLO, GPT, stream=True)

    async def read() -> None:
        async for _ in stream:
            pass

    reading = asyncio.create_task(read())
    await asyncio.sleep(0.2)
    closing_it = asyncio.create_task(stream.aclose())
    await asyncio.sleep(0)
    reading.cancel()
    await closing_it
    with pytest.raises(asyncio.CancelledError):
        await reading


def test_what_a_stream_cannot_begin_with_is_raised_by_the_call(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(status=401))
    with pytest.raises(AuthenticationError):
        openai.chat_completion(HELLO, GPT, stream=True)


async def test_and_by_the_async_call(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(status=401))
    with pytest.raises(AuthenticationError):
        await openai.achat_completion(HELLO, GPT, stream=True)


def test_a_stream_that_breaks_says_so(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(content="a b c d e f", cut_after=4))
    stream, seen = openai.chat_completion(HELLO, GPT, stream=True), []
    with pytest.raises(APIConnectionError):
        seen.extend(chunk.choices[0].delta.content for chunk in stream)
    assert "".join(map(str, seen)) == "a b c"


# What is wrong with a chat

BAD_CHATS: list[tuple[Json, type[LASError], str]] = [
    ({}, BadRequestError, "messages"),
    ({"messages": None}, BadRequestError, "messages"),
    ({"messages": []}, BadRequestError, "messages"),
    ({"messages": ""}, BadRequestError, "messages"),
    ({"messages": iter(())}, BadRequestError, "messages"),
    ({"messages": HELLO[0]}, BadRequestError, "messages"),
    ({"messages": HumanMessage("hi")}, BadRequestError, "messages"),
    ({"messages": 3}, BadRequestError, "messages"),
    ({"messages": b"hi"}, BadRequestError, "messages"),
    ({"messages": ["hi"]}, BadRequestError, "messages[0]"),
    ({"messages": [*HELLO, None]}, BadRequestError, "messages[1]"),
    ({"messages": [{"content": "hi"}]}, BadRequestError, "messages[0].role"),
    ({"messages": [{"role": "user"}]}, BadRequestError, "messages[0].content"),
    ({"messages": [{"role": "robot", "content": "hi"}]}, BadRequestError, "messages[0].role"),
    ({"messages": HELLO, "model": 3}, BadRequestError, "model"),
    ({"messages": HELLO, "model": None, "provider": "openai"}, BadRequestError, "model"),
    ({"messages": HELLO, "model": "", "provider": "openai"}, BadRequestError, "model"),
    ({"messages": HELLO, "model": "gpt 4o"}, ModelNotFoundError, "model"),
    ({"messages": HELLO, "model": "opnai/gpt-4o"}, ModelNotFoundError, "model"),
    ({"messages": HELLO, "provider": "opnai"}, ModelNotFoundError, "provider"),
    ({"messages": HELLO, "temprature": 1}, BadRequestError, "temprature"),
    ({"messages": HELLO, "api_bas": "http://127.0.0.1"}, BadRequestError, "api_bas"),
    ({"messages": HELLO, "mock_response": "hi"}, BadRequestError, "mock_response"),
    ({"messages": HELLO, "timeout": 0}, BadRequestError, "timeout"),
    ({"messages": HELLO, "timeout": "soon"}, BadRequestError, "timeout"),
    ({"messages": HELLO, "stream_timeout": True}, BadRequestError, "stream_timeout"),
    ({"messages": HELLO, "max_retries": -1}, BadRequestError, "max_retries"),
    ({"messages": HELLO, "max_retries": 1.5}, BadRequestError, "max_retries"),
    ({"messages": HELLO, "extra_headers": "x: y"}, BadRequestError, "extra_headers"),
    ({"messages": HELLO, "extra_body": ["x"]}, BadRequestError, "extra_body"),
    ({"messages": HELLO, "stream_options": "usage"}, BadRequestError, "stream_options"),
    ({"messages": HELLO, "response_format": "json"}, BadRequestError, "response_format"),
    ({"messages": HELLO, "response_format": int}, BadRequestError, "response_format"),
    ({"messages": HELLO, "extra_headers": {"x": 5}}, BadRequestError, "extra_headers"),
    ({"messages": HELLO, "api_base": 5}, BadRequestError, "api_base"),
    ({"messages": HELLO, "api_base": "localhost"}, BadRequestError, "api_base"),
    ({"messages": HELLO, "provider": ["openai"]}, BadRequestError, "provider"),
    ({"messages": HELLO, "api_key": b"sk-bytes"}, AuthenticationError, "api_key"),
    ({"messages": HELLO, "api_key": "sk-two\nlines"}, AuthenticationError, "api_key"),
    ({"messages": HELLO, "max_tokens": np.int64(5)}, BadRequestError, "max_tokens"),
    ({"messages": HELLO, "temperature": float("nan")}, BadRequestError, "temperature"),
    ({"messages": [{"role": "user", "content": "half \udce9"}]}, BadRequestError, "messages"),
    ({"messages": HELLO, "metadata": {"a": {1}}}, BadRequestError, "metadata"),
    ({"messages": HELLO, "api_key": " "}, AuthenticationError, "api_key"),
    ({"messages": HELLO, "tools": "weather"}, BadRequestError, "tools"),
    ({"messages": HELLO, "tools": {"weather": {}}}, BadRequestError, "tools"),
    ({"messages": HELLO, "tools": [3]}, BadRequestError, "tools[0]"),
    ({"messages": HELLO, "tool_choice": "weather"}, BadRequestError, "tool_choice"),
]


@pytest.mark.parametrize(("arguments", "kind", "param"), BAD_CHATS)
def test_a_wrong_argument_is_named_and_nothing_is_sent(
    openai: LiteLLMService, upstream: FakeOpenAI, arguments: Json, kind: type[LASError], param: str
) -> None:
    given = {"model": GPT, **arguments}
    with pytest.raises(kind) as caught:
        openai.chat_completion(**given)
    assert caught.value.param == param
    assert param.partition("[")[0] in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(kind):
        openai.chat_completion(**given, stream=True)
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ({"temprature": 1}, "did you mean 'temperature'?"),
        ({"api_bas": 1}, "did you mean 'api_base'?"),
        ({"provider": "opnai"}, "did you mean 'openai'?"),
        ({"provider": "anthropic", "model": None}, "such as anthropic/"),
        ({"grammar": "root"}, "extra_body"),
    ],
)
async def test_the_nearest_is_named(openai: LiteLLMService, arguments: Json, hint: str) -> None:
    with pytest.raises(LASError) as caught:
        await openai.achat_completion(HELLO, **{"model": GPT, **arguments})
    assert hint in str(caught.value)


def test_what_cannot_be_sent_is_no_fault_of_a_deployment(upstream: FakeOpenAI) -> None:
    service = LiteLLMService(load_settings(models={"fast": {"deployments": [GPT, "openai/gpt-4o-mini"]}}))
    for _ in range(4):
        with pytest.raises(BadRequestError, match="max_tokens: cannot be sent as JSON"):
            service.chat_completion(HELLO, "fast", max_tokens=np.int64(5))
    assert service.chat_completion(HELLO, "fast").choices[0].message.content == "Echo: hello there"


@pytest.mark.parametrize("given", [{"model": "anthropic/claude-sonnet-5-5"}, {"api_key": " "}])
def test_litellms_classes_catch_what_never_reached_litellm(openai: LiteLLMService, given: Json) -> None:
    with pytest.raises(litellm.exceptions.AuthenticationError):
        openai.chat_completion(HELLO, **{"model": GPT, **given})
    with pytest.raises(litellm.exceptions.InvalidRequestError):
        openai.chat_completion([], GPT)
    with pytest.raises(litellm.exceptions.NotFoundError) as caught:
        openai.chat_completion(HELLO, "opnai/gpt-4o")
    assert isinstance(pickle.loads(pickle.dumps(caught.value)), ModelNotFoundError)


def test_an_address_where_nobody_answers_is_named(openai: LiteLLMService) -> None:
    for stream in (False, True):
        with pytest.raises(litellm.exceptions.APIConnectionError) as caught:
            openai.chat_completion(HELLO, GPT, api_base="http://me:pass@127.0.0.1:9/v1", max_retries=0, stream=stream)
        assert (
            str(caught.value) == "OpenAI at http://127.0.0.1:9/v1 cannot be reached; OPENAI_BASE_URL sets its address"
        )
        assert caught.value.status_code == 502


def test_ollamas_tags_are_no_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    service = LiteLLMService(load_settings(model="ollama/llama3.2", mistral_api_key="sk-mistral"))
    assert service.target("mistral:7b").id == "ollama/mistral:7b"
    assert LiteLLMService(load_settings(model=GPT, openai_api_key="sk")).target("openai:gpt-4o").id == GPT


def test_a_tool_is_sent_as_it_is_and_stays_so(upstream: FakeOpenAI) -> None:
    settings = load_settings(
        enable_caching=True, providers={"vllm": {"api_key": UPSTREAM_KEY, "base_url": upstream.url}}
    )
    service = LiteLLMService(settings)
    parameters = {"type": "object", "properties": {}, "additionalProperties": False}
    tool = ToolDefinition("f", "Do it", parameters)
    for _ in range(2):
        answer = service.chat_completion(HELLO, "vllm/gpt-4o", tools=[tool])
    assert parameters["additionalProperties"] is tool.parameters["additionalProperties"] is False
    assert getattr(answer, "cache_hit", False)


def test_all_threads_share_one_service(upstream: FakeOpenAI) -> None:
    together, found = threading.Barrier(8), list[LiteLLMService]()

    def get() -> None:
        together.wait()
        found.append(get_litellm_service())

    threads = [threading.Thread(target=get) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({id(service) for service in found}) == 1


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "Settings are an LASSettings"),
        (None, "Settings are an LASSettings"),
        ({"default_provider": "opnai"}, "LAS_DEFAULT_PROVIDER: unknown provider 'opnai'; did you mean 'openai'"),
        ({"default_model": "opnai/gpt-4o"}, "LAS_MODEL: Unknown provider 'opnai'"),
        ({"embedding_model": "a b"}, "LAS_EMBEDDING_MODEL: Not a model name"),
    ],
)
def test_a_wrong_configuration_is_refused(openai: LiteLLMService, settings: Any, text: str) -> None:
    before = openai.config
    with pytest.raises(ConfigurationError, match=re.escape(text)):
        openai.config = load_settings(**settings) if settings else settings
    if settings:
        with pytest.raises(ConfigurationError, match=re.escape(text)):
            openai.update_config(**settings)
    assert openai.config is before


def test_another_configuration_is_the_local_models_too(service: LiteLLMService) -> None:
    service.chat_completion("hi", max_tokens=1)
    service.config = load_settings(local_max_tokens=2)
    answer = service.chat_completion("Tell me a story")
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 2


def test_no_key_is_told_before_anything_is_sent(service: LiteLLMService) -> None:
    with pytest.raises(AuthenticationError, match="OPENAI_API_KEY"):
        service.chat_completion(HELLO, GPT)


def test_the_options_are_what_is_passed_on() -> None:
    fields = ChatOptions.__annotations__.keys() - CallOptions.__annotations__.keys()
    assert fields == CHAT_FIELDS - {"messages", "extra_body", "extra_headers"}


def test_sync_and_async_forms_take_the_same() -> None:
    methods = dict(inspect.getmembers(Completions, inspect.isfunction))
    pairs = [(name, f"a{name}") for name in methods if f"a{name}" in methods]
    assert {name for name, _ in pairs} == {
        "chat_completion", "vision_completion", "chat_with_tools", "create_embedding", "speech", "transcription",
    }  # fmt: skip
    for name, other in pairs:
        assert inspect.signature(methods[name]).parameters == inspect.signature(methods[other]).parameters


# Pictures


def data_uri(content: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def urls_sent(upstream: FakeOpenAI) -> list[str]:
    (message,) = upstream.last.body["messages"]
    return [part["image_url"]["url"] for part in message["content"][1:]]


def test_a_picture_is_asked_about(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    response = openai.vision_completion(
        "What's this?", "https://example.com/cat.jpg", model="gpt-4o", provider="openai"
    )
    assert response.choices[0].message.content == "Echo: What's this? [image]"
    image = {"url": "https://example.com/cat.jpg", "detail": "auto"}
    content = [{"type": "text", "text": "What's this?"}, {"type": "image_url", "image_url": image}]
    assert upstream.last.body["messages"] == [{"role": "user", "content": content}]


def test_pictures_of_every_form_keep_their_order(openai: LiteLLMService, upstream: FakeOpenAI, tmp_path: Path) -> None:
    for name, content in (("one.png", png()), ("two.bin", WEBP)):
        (tmp_path / name).write_bytes(content)
    openai.vision_completion(
        "What?",
        ["https://example.com/1.png", data_uri(b"2", "image/heic")],
        images=(GIF, "http://example.com/4", bytearray(JPEG)),
        image_path=[tmp_path / "one.png", str(tmp_path / "two.bin")],
        model=GPT,
        detail="low",
    )
    assert urls_sent(upstream) == [
        "https://example.com/1.png",
        data_uri(b"2", "image/heic"),
        data_uri(GIF, "image/gif"),
        "http://example.com/4",
        data_uri(JPEG, "image/jpeg"),
        data_uri(png()),
        data_uri(WEBP, "image/webp"),
    ]
    details = {part["image_url"]["detail"] for part in upstream.last.body["messages"][0]["content"][1:]}
    assert details == {"low"}


async def test_the_async_form_streams_too(openai: LiteLLMService, upstream: FakeOpenAI, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    stream = await openai.avision_completion("What?", image_path=tmp_path / "a.png", model=GPT, stream=True)
    assert "".join([str(chunk.choices[0].delta.content) async for chunk in stream]) == "Echo: What? [image]"
    response = await openai.avision_completion("What?", images=png(), model=GPT)  # type: ignore[arg-type]
    assert response.choices[0].message.content == "Echo: What? [image]"
    assert urls_sent(upstream) == [data_uri(png())]
    chunks = openai.vision_completion("What?", images=[png()], model=GPT, stream=True, max_tokens=1)
    assert "".join(str(chunk.choices[0].delta.content) for chunk in chunks) == "Echo:"


def test_another_provider_gets_it_in_its_own_way(anthropic: LiteLLMService, anthropic_upstream: FakeAnthropic) -> None:
    anthropic.vision_completion("What?", images=[png()], model=CLAUDE, max_tokens=50)
    text, image = anthropic_upstream.last.body["messages"][0]["content"]
    assert text["text"] == "What?"
    assert image["source"] == {"type": "base64", "media_type": "image/png", "data": data_uri(png())[22:]}


BAD_PICTURES: list[tuple[Json, str, str]] = [
    ({}, "image_url", "expected an image"),
    ({"image_url": ""}, "image_url", "expected an image"),
    ({"image_url": [], "images": []}, "image_url", "expected an image"),
    ({"image_url": "/etc/passwd"}, "image_url", "image_path"),
    ({"image_url": "cat.png"}, "image_url", "image_path"),
    ({"image_url": "file:///etc/passwd"}, "image_url", "image_path"),
    ({"image_url": "ftp://example.com/a.png"}, "image_url", "http(s)"),
    ({"image_url": "http://"}, "image_url", "http(s)"),
    ({"image_url": "http://["}, "image_url", "http(s)"),
    ({"image_url": 3}, "image_url", "not int"),
    ({"image_url": png()}, "image_url", "not bytes"),
    ({"image_url": ["https://example.com/a.png", "b.png"]}, "image_url[1]", "image_path"),
    ({"image_url": "data:text/plain;base64,aGk="}, "image_url", "data:image/"),
    ({"image_url": "data:image/png,hi"}, "image_url", "data:image/"),
    ({"image_url": "data:image/png;base64,?"}, "image_url", "base64 is broken"),
    ({"image_url": "data:image/png;base64,"}, "image_url", "empty"),
    ({"image_url": "data:image/png;base64,aGVsbG8="}, "image_url", "not an image, though it says image/png"),
    ({"images": None}, "image_url", "expected an image"),
    ({"images": Path("missing.png")}, "images", "not PosixPath"),
    ({"image_url": f"data:image/png;base64,{'A' * 27_000_000}"}, "image_url", "larger than 20 MB"),
    ({"images": ["/etc/passwd"]}, "images[0]", "image_path"),
    ({"images": [png(), b"not a picture"]}, "images[1]", "not an image"),
    ({"images": [b""]}, "images[0]", "not an image"),
    ({"images": [pdf()]}, "images[0]", "not an image"),
    ({"images": [None]}, "images[0]", "not NoneType"),
    ({"images": [png() + bytes(MAX_IMAGE_BYTES)]}, "images[0]", "larger than 20 MB"),
    ({"image_path": "missing.png"}, "image_path", "no such file"),
    ({"image_path": "."}, "image_path", "no such file"),
    ({"image_path": "a\0b"}, "image_path", "no such file"),
    ({"image_path": "/proc/self/mem"}, "image_path", "cannot be read"),
    ({"image_path": 3}, "image_path", "cannot be read"),
    ({"image_path": "text.png"}, "image_path", "not an image"),
    ({"image_path": ["huge.png"]}, "image_path[0]", "larger than 20 MB"),
    ({"image_path": "/dev/zero"}, "image_path", "no such file"),
    ({"image_url": "https://example.com/a.png", "detail": "max"}, "detail", "auto, low or high"),
    ({"image_url": "https://example.com/a.png", "prompt": " "}, "prompt", "question"),
    ({"image_url": "https://example.com/a.png", "prompt": None}, "prompt", "question"),
    ({"image_url": "https://example.com/a.png", "temprature": 1}, "temprature", "temperature"),
]


@pytest.mark.parametrize(("arguments", "param", "reason"), BAD_PICTURES)
def test_what_is_no_picture_is_named_and_nothing_is_sent(
    openai: LiteLLMService, upstream: FakeOpenAI, arguments: Json, param: str, reason: str
) -> None:
    Path("text.png").write_text("hello", encoding="utf-8")
    with Path("huge.png").open("wb") as file:
        file.truncate(MAX_IMAGE_BYTES + 1)
    with pytest.raises(BadRequestError) as caught:
        openai.vision_completion(**{"prompt": "What?", "model": GPT, **arguments})
    assert caught.value.param == param
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 300
    assert upstream.requests == []


def test_a_path_stays_on_this_machine(openai: LiteLLMService, tmp_path: Path) -> None:
    with pytest.raises(BadRequestError) as caught:
        openai.vision_completion("What?", image_path=tmp_path / "secret.png", model=GPT)
    assert "secret.png" in str(caught.value)
    assert "secret.png" not in str(caught.value.to_openai())


# Embeddings


def test_embeddings_are_numbers_in_the_order_of_the_texts(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    texts = ["Hello world", "Goodbye world"]
    response = openai.create_embedding(input=texts, model="text-embedding-3-small", provider="openai", dimensions=16)
    vectors = [item.embedding for item in response.data]
    assert [len(vector) for vector in vectors] == [16, 16]
    assert all(isinstance(number, float) for number in vectors[0])
    assert vectors[0] != vectors[1]
    assert response.usage.prompt_tokens == 4
    assert upstream.last.body["input"] == texts
    assert upstream.last.body["dimensions"] == 16
    alone = openai.create_embedding("Hello world", "openai/text-embedding-3-small", dimensions=16)
    assert alone.data[0].embedding == pytest.approx(vectors[0])


async def test_the_async_form_embeds_alike(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    response = await openai.acreate_embedding([[1, 2], [3]], "openai/text-embedding-3-small", user="u1", dimensions=8)
    assert [item.index for item in response.data] == [0, 1]
    assert upstream.last.body["user"] == "u1"
    assert upstream.last.body["input"] == [[1, 2], [3]]


def test_base64_comes_only_where_it_is_asked_for(openai: LiteLLMService) -> None:
    asked: Json = {"input": "hi", "model": "openai/text-embedding-3-small", "dimensions": 4}
    as_text: Any = openai.create_embedding(**asked, encoding_format="base64").data[0].embedding
    assert len(base64.b64decode(as_text)) == 16
    for named in ("float", None):
        vector = openai.create_embedding(**asked, encoding_format=named).data[0].embedding
        assert len(vector) == 4


def test_vectors_travel_as_base64_where_the_server_knows_it(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    asked: Json = {"input": "hi", "model": "openai/text-embedding-3-small", "dimensions": 4}
    vector = openai.create_embedding(**asked).data[0].embedding
    assert upstream.last.body["encoding_format"] == "base64"
    refusal: Json = {
        "message": "encoding_format only supports [float]",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }
    upstream.enqueue(Reply(status=400, error=refusal))
    assert openai.create_embedding(**asked).data[0].embedding == pytest.approx(vector)
    assert "encoding_format" not in upstream.last.body
    upstream.enqueue(Reply(status=400))
    with pytest.raises(BadRequestError):
        openai.create_embedding(**asked)
    assert len(upstream.requests) == 4


def test_the_settings_model_embeds_by_default(service: LiteLLMService) -> None:
    response = service.create_embedding(["a cat", "a dog"])
    assert [len(item.embedding) for item in response.data] == [384, 384]
    alone = service.create_embedding("a cat", provider="local").data[0].embedding
    assert alone == pytest.approx(response.data[0].embedding, abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": None}, "input"),
        ({"input": 3}, "input"),
        ({"input": b"hi"}, "input"),
        ({"input": iter(["hi"])}, "input"),
        ({"input": np.zeros(3)}, "input"),
        ({"input": "half \udce9", "model": "openai/text-embedding-3-small"}, "input"),
        ({"input": {"text": "hi"}}, "input"),
        ({"input": ["hi", ""]}, "input[1]"),
        ({"input": ["hi", None]}, "input[1]"),
        ({"input": [[1], []]}, "input[1]"),
        ({"input": "hi", "provider": "openai"}, "model"),
        ({"input": "hi", "model": "text-embedding-3-small", "provider": "opnai"}, "provider"),
        ({"input": "hi", "model": "openai/text-embedding-3-small", "dimension": 3}, "dimension"),
        ({"input": "hi", "model": "openai/text-embedding-3-small", "temperature": 1}, "temperature"),
        ({"input": "hi", "model": "openai/text-embedding-3-small", "timeout": -1}, "timeout"),
    ],
)
def test_a_wrong_embeddings_call_is_named(
    openai: LiteLLMService, upstream: FakeOpenAI, arguments: Json, param: str
) -> None:
    with pytest.raises((BadRequestError, ModelNotFoundError)) as caught:
        openai.create_embedding(**arguments)
    assert caught.value.param == param
    assert upstream.requests == []


def test_embeddings_in_another_order_are_put_right_and_missing_ones_told(upstream: FakeOpenAI) -> None:
    service = LiteLLMService(load_settings(providers={"vllm": {"api_key": UPSTREAM_KEY, "base_url": upstream.url}}))
    data = [{"object": "embedding", "index": index, "embedding": [float(index)]} for index in (2, 1, 0)]
    upstream.enqueue(Reply(extra={"data": data}), Reply(extra={"data": data[:2]}))
    answer = service.create_embedding(["a", "b", "c"], "vllm/text-embedding-3-small")
    assert [item.embedding for item in answer.data] == [[0.0], [1.0], [2.0]]
    with pytest.raises(APIError, match="answered 3 texts with 2 embeddings"):
        service.create_embedding(["a", "b", "c"], "vllm/text-embedding-3-small", max_retries=0)


@pytest.mark.parametrize("model", ["anthropic/claude-sonnet-5-5", "ollama/llama3.2"])
def test_a_provider_without_sounds_is_named(model: str) -> None:
    service = LiteLLMService(load_settings(anthropic_api_key="sk-ant"))
    with pytest.raises(BadRequestError, match=f"model: {model} takes no requests of this kind"):
        service.speech("hi", model=model)
    with pytest.raises(BadRequestError, match=f"model: {model} takes no requests of this kind"):
        service.transcription(b"ID3 sound", model=model)


# Prices


def test_a_price_is_estimated_without_a_key(service: LiteLLMService) -> None:
    estimate = service.estimate_cost("openai/gpt-4o", 1000, 500)
    assert estimate.model == "openai/gpt-4o"
    assert (estimate.input_cost_usd, estimate.output_cost_usd, estimate.total_cost_usd) == (0.0025, 0.005, 0.0075)
    assert estimate.currency == "USD"
    assert service.estimate_cost("gpt-4o", 1000, 500, provider="openai") == estimate


def test_what_is_cached_costs_less(service: LiteLLMService) -> None:
    estimate = service.estimate_cost("openai/gpt-4o", 1000, cached_tokens=1000)
    assert estimate.input_cost_usd == 0.00125
    assert estimate.output_cost_usd == 0


def test_a_long_prompt_makes_the_answer_dearer(service: LiteLLMService) -> None:
    short = service.estimate_cost("gemini/gemini-2.5-pro", 1000, 1000)
    long = service.estimate_cost("gemini/gemini-2.5-pro", 300_000, 1000)
    assert short.output_cost_usd
    assert long.output_cost_usd
    assert long.output_cost_usd > short.output_cost_usd


def test_an_unknown_price_is_none_and_a_known_one_of_nothing_is_nothing(service: LiteLLMService) -> None:
    unknown = service.estimate_cost("openai/fake-model", 10, 10)
    assert (unknown.input_cost_usd, unknown.output_cost_usd, unknown.total_cost_usd) == (None, None, None)
    assert service.estimate_cost("openai/fake-model", 0).total_cost_usd is None
    assert service.estimate_cost("openai/gpt-4o", 0).total_cost_usd == 0
    assert service.estimate_cost(None, 10, 10).total_cost_usd == 0


def test_messages_may_be_counted_instead(service: LiteLLMService) -> None:
    messages = [HumanMessage("hello there " * 100)]
    estimate = service.estimate_cost("openai/gpt-4o", messages=messages, output_tokens=1)
    counted = service.count_tokens("openai/gpt-4o", {"messages": [{"role": "user", "content": "hello there " * 100}]})
    assert counted > 200
    assert estimate == service.estimate_cost("openai/gpt-4o", counted, 1)


@pytest.mark.parametrize(
    ("arguments", "param"),
    [
        ({}, "input_tokens"),
        ({"input_tokens": 1, "messages": "hi"}, "input_tokens"),
        ({"input_tokens": -1}, "input_tokens"),
        ({"input_tokens": 1.5}, "input_tokens"),
        ({"input_tokens": "9"}, "input_tokens"),
        ({"input_tokens": True}, "input_tokens"),
        ({"input_tokens": 1, "output_tokens": -1}, "output_tokens"),
        ({"input_tokens": 1, "output_tokens": None}, "output_tokens"),
        ({"input_tokens": 1, "cached_tokens": -1}, "cached_tokens"),
        ({"input_tokens": 1, "cached_tokens": 2}, "cached_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": ["hi"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"input_tokens": 10**400}, "input_tokens"),
        ({"input_tokens": 1, "model": "opnai/gpt-4o"}, "model"),
        ({"input_tokens": 1, "provider": "opnai"}, "provider"),
    ],
)
def test_a_wrong_estimate_is_named(service: LiteLLMService, arguments: Json, param: str) -> None:
    with pytest.raises((BadRequestError, ModelNotFoundError)) as caught:
        service.estimate_cost(**{"model": GPT, **arguments})
    assert caught.value.param == param


# Providers


def test_providers_are_listed_with_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "gsk-0123456789")
    monkeypatch.setenv("MISTRAL_API_KEY", "mistral-0123456789")
    monkeypatch.setenv("OLLAMA_BASE_URL", "http://me:secret@127.0.0.1:11434/?token=secret")
    given = {"deepseek": {"api_key": "sk-0123456789"}, "xai": {"base_url": "https://x:y@api.example.com/v1"}}
    rows = LiteLLMService(load_settings(providers=given)).list_providers()
    names = [row.name for row in rows]
    assert names[:3] == ["local", "ollama", "openai"]
    assert len(names) == len(set(names)) > 90
    found = {row.name: row for row in rows}
    assert (found["groq"].configured, found["groq"].missing_variable) == (True, None)
    assert (found["openai"].configured, found["openai"].missing_variable) == (False, "OPENAI_API_KEY")
    assert (found["mistral"].configured, found["mistral"].key_variables) == (True, ("MISTRAL_API_KEY",))
    assert found["deepseek"].configured
    assert found["ollama"].keyless
    assert found["ollama"].base_url == "http://127.0.0.1:11434/"
    assert found["xai"].base_url == "https://api.example.com/v1"
    assert "secret" not in repr(rows)
    assert "0123456789" not in repr(rows)


def test_what_aws_signs_is_configured_by_its_credentials(
    service: LiteLLMService, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    (bare,) = [row for row in LiteLLMService(load_settings()).list_providers() if row.name == "bedrock"]
    assert (bare.keyless, bare.configured, bare.missing_variable) == (False, False, "AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_PROFILE", "mine")
    (named,) = [row for row in LiteLLMService(load_settings()).list_providers() if row.name == "bedrock"]
    assert named.configured
