"""A session of OpenAI's own client for Python, with each of its ways to ask and each of its errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from tests.clients.cases import (
    ABOUT_LYON,
    AGENT,
    BROKEN,
    CHAT,
    COUNT,
    EMBEDDINGS,
    FOUND,
    JOKE,
    LOCAL,
    LOCAL_EMBEDDINGS,
    LYON,
    LYON_REPLY,
    MODEL,
    SAID,
    WEATHER,
    WEATHER_CALL,
    WEATHER_TOOL,
    ChainCase,
)
from tests.conftest import Server
from tests.fake_openai import FakeOpenAI, Reply

HELLO: list[Any] = [{"role": "user", "content": "hello"}]
TOOLS: list[Any] = [{"type": "function", "function": WEATHER_TOOL}]
FLAT_TOOLS: list[Any] = [{"type": "function", "strict": False, **WEATHER_TOOL}]


class City(BaseModel):
    city: str
    population: int


CITY = City(**LYON)


def user(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


@pytest.fixture
def client(chain_server: Server, upstream: FakeOpenAI) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{chain_server.url}/v1", api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
async def aclient(chain_server: Server, upstream: FakeOpenAI) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{chain_server.url}/v1", api_key="any", max_retries=0) as client:
        yield client


# A provider's model


def test_create_and_its_headers(client: OpenAI, upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(usage=COUNT))
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=HELLO)
    answer = raw.parse()
    (choice,) = answer.choices
    assert (choice.message.content, choice.message.refusal, choice.finish_reason) == ("Echo: hello", None, "stop")
    assert answer.usage
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (10, 5, 15)
    assert raw.headers["x-request-id"] == answer._request_id
    assert int(raw.headers["openai-processing-ms"]) >= 0
    assert raw.headers["x-las-model"] == MODEL
    assert float(raw.headers["x-las-cost"]) == pytest.approx(10 * 2.5e-6 + 5 * 10e-6)
    with client.chat.completions.with_streaming_response.create(model=MODEL, messages=HELLO) as streamed:
        assert streamed.headers["content-type"] == "application/json"
        assert streamed.parse().choices[0].message.content == "Echo: hello"


def test_the_stream_helper(client: OpenAI, upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(usage=COUNT))
    options: dict[str, Any] = {"model": MODEL, "messages": HELLO, "stream_options": {"include_usage": True}}
    with client.chat.completions.stream(**options) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta" and event.delta]
        final = stream.get_final_completion()
    assert deltas == ["Echo:", " hello"]
    assert (final.choices[0].message.content, final.choices[0].finish_reason) == ("Echo: hello", "stop")
    assert final.usage is not None
    assert final.usage.total_tokens == 15


def test_several_choices_in_a_stream(client: OpenAI) -> None:
    said, finishes = ["", ""], [None, None]
    for chunk in client.chat.completions.create(model=MODEL, messages=HELLO, n=2, stream=True):
        for choice in chunk.choices:
            said[choice.index] += choice.delta.content or ""
            finishes[choice.index] = choice.finish_reason or finishes[choice.index]
    assert (said, finishes) == (["Echo: hello", "Echo: hello #1"], ["stop", "stop"])


def test_parsing_and_tools(client: OpenAI) -> None:
    answer = client.chat.completions.parse(model=MODEL, messages=user(ABOUT_LYON), response_format=City)
    assert answer.choices[0].message.parsed == CITY
    assert _tools_answered(client, MODEL) == FOUND
    with client.chat.completions.stream(model=MODEL, messages=user(WEATHER), tools=TOOLS) as stream:
        events = [event.type for event in stream]
        (call,) = stream.get_final_completion().choices[0].message.tool_calls or []
    assert call.function.arguments == '{"location":"Lyon"}'
    assert "tool_calls.function.arguments.done" in events


async def test_asynchronously(aclient: AsyncOpenAI) -> None:
    answer = await aclient.chat.completions.create(model=MODEL, messages=HELLO)
    assert answer.choices[0].message.content == "Echo: hello"
    async with aclient.chat.completions.stream(model=MODEL, messages=HELLO) as stream:
        assert (await stream.get_final_completion()).choices[0].message.content == "Echo: hello"
    parsed = await aclient.chat.completions.parse(model=MODEL, messages=user(ABOUT_LYON), response_format=City)
    assert parsed.choices[0].message.parsed == CITY
    assert MODEL in [model.id async for model in aclient.models.list()]


@pytest.mark.parametrize(("model", "length"), [(EMBEDDINGS, 8), (LOCAL_EMBEDDINGS, 384)])
def test_embeddings(client: OpenAI, model: str, length: int) -> None:
    # Unless told otherwise, the client asks for base64 and decodes it.
    decoded = client.embeddings.create(model=model, input=["a cat", "a dog"])
    floats = client.embeddings.create(model=model, input="a cat", encoding_format="float")
    coded = client.embeddings.create(model=model, input="a cat", encoding_format="base64")
    assert [len(item.embedding) for item in decoded.data] == [length, length]
    assert floats.data[0].embedding == pytest.approx(decoded.data[0].embedding, abs=1e-3)
    assert isinstance(coded.data[0].embedding, str)
    assert floats.usage.prompt_tokens > 0


def test_models(client: OpenAI) -> None:
    listed = [model.id for model in client.models.list()]
    assert {LOCAL, LOCAL_EMBEDDINGS, MODEL} <= set(listed)
    assert client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("openai/nothing")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, openai.BadRequestError, None),
        (401, openai.AuthenticationError, "invalid_api_key"),
        (403, openai.PermissionDeniedError, "permission_denied"),
        (404, openai.NotFoundError, "model_not_found"),
        (422, openai.BadRequestError, "unprocessable_entity"),
        (429, openai.RateLimitError, "rate_limit_exceeded"),
        (500, openai.InternalServerError, None),
        (503, openai.InternalServerError, None),
    ],
)
def test_upstream_errors(
    client: OpenAI, upstream: FakeOpenAI, status: int, kind: type[openai.APIStatusError], code: str, stream: bool
) -> None:
    upstream.enqueue(*[Reply(status=status, headers={"retry-after": "3600"})] * 3)
    with pytest.raises(kind) as raised:
        client.chat.completions.create(model=MODEL, messages=HELLO, stream=stream)
    assert type(raised.value) is kind
    assert raised.value.code == code
    assert raised.value.request_id


def test_errors_of_the_request(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as hot:
        client.chat.completions.create(model=MODEL, messages=HELLO, temperature=9)
    assert (hot.value.param, hot.value.code, hot.value.type) == (
        "temperature",
        "invalid_value",
        "invalid_request_error",
    )
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="nobody/x", messages=HELLO)
    assert (unknown.value.param, unknown.value.code) == ("model", "model_not_found")
    with pytest.raises(openai.BadRequestError) as foreign:
        client.chat.completions.create(model=MODEL, messages=HELLO, extra_body={"api_base": "http://evil"})
    assert foreign.value.param == "api_base"


def test_a_stream_that_breaks(client: OpenAI, upstream: FakeOpenAI) -> None:
    upstream.enqueue(BROKEN)
    stream = client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
    said = [next(stream).choices[0].delta.content or "" for _ in range(4)]
    assert "".join(said) == SAID
    with pytest.raises(openai.APIError, match="broke") as raised:
        next(stream)
    assert type(raised.value) is openai.APIError


def test_late_and_lost(client: OpenAI, upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(delay=1))
    with pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model=MODEL, messages=HELLO, timeout=0.2)
    lost = client.with_options(base_url="http://127.0.0.1:9/v1")
    with pytest.raises(openai.APIConnectionError) as raised:
        lost.chat.completions.create(model=MODEL, messages=HELLO)
    assert not isinstance(raised.value, openai.APITimeoutError)


def test_the_embedded_model(client: OpenAI) -> None:
    france = user("What is the capital of France?")
    with client.chat.completions.stream(model=LOCAL, messages=france, temperature=0, max_tokens=12) as stream:
        assert "Paris" in (stream.get_final_completion().choices[0].message.content or "")


# Chains as models


def test_chains_are_listed(client: OpenAI, case: ChainCase) -> None:
    listed = {model.id: model for model in client.models.list()}
    extra = listed[case.model].model_extra or {}
    assert extra["name"]
    assert extra["description"]
    assert client.models.retrieve(case.model) == listed[case.model]


def test_chains_as_models(client: OpenAI, upstream: FakeOpenAI, case: ChainCase) -> None:
    upstream.enqueue(*case.replies)
    raw = client.chat.completions.with_raw_response.create(model=case.model, messages=user(case.prompt))
    answer = raw.parse()
    (choice,) = answer.choices
    assert (choice.message.content, choice.finish_reason, choice.message.tool_calls) == (case.text, "stop", None)
    assert _reasoning(choice.message) == case.reasoning
    assert _counted(answer.usage) == case.tokens
    assert (answer.model, raw.headers["x-las-model"]) == (case.model, case.model)
    assert float(raw.headers["x-las-cost"]) == pytest.approx(case.tokens[0] * 2.5e-6 + case.tokens[1] * 10e-6)


def test_chains_stream_as_models(client: OpenAI, upstream: FakeOpenAI, case: ChainCase) -> None:
    upstream.enqueue(*case.replies)
    options: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}, "temperature": 0.5}
    *chunks, last = client.chat.completions.create(model=case.model, messages=user(case.prompt), **options)
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert choices[0].delta.role == "assistant"
    assert "".join(choice.delta.content or "" for choice in choices) == case.text
    assert "".join(_reasoning(choice.delta) for choice in choices) == case.reasoning
    assert [choice.finish_reason for choice in choices if choice.finish_reason] == ["stop"]
    assert all(choice.delta.tool_calls is None for choice in choices)
    assert len({chunk.id for chunk in [*chunks, last]}) == 1
    assert (last.choices, _counted(last.usage)) == ([], case.tokens)


async def test_chains_asynchronously(aclient: AsyncOpenAI, upstream: FakeOpenAI, case: ChainCase) -> None:
    upstream.enqueue(*case.replies)
    async with aclient.chat.completions.stream(model=case.model, messages=user(case.prompt)) as stream:
        final = await stream.get_final_completion()
    assert (final.choices[0].message.content, final.choices[0].finish_reason) == (case.text, "stop")


def test_chains_answer_in_a_schema(client: OpenAI, upstream: FakeOpenAI, case: ChainCase) -> None:
    upstream.enqueue(*case.replies, LYON_REPLY)
    answer = client.chat.completions.parse(model=case.model, messages=user(case.prompt), response_format=City)
    assert answer.choices[0].message.parsed == CITY


def test_an_agent_takes_tools_of_the_client(client: OpenAI, upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(tool_calls=[WEATHER_CALL]), Reply(content=FOUND))
    assert _tools_answered(client, AGENT) == FOUND
    upstream.enqueue(Reply(tool_calls=[WEATHER_CALL]))
    with client.chat.completions.stream(model=AGENT, messages=user(WEATHER), tools=TOOLS) as stream:
        (choice,) = stream.get_final_completion().choices
    (call,) = choice.message.tool_calls or []
    assert (choice.finish_reason, call.function.name) == ("tool_calls", "get_weather")
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=JOKE, messages=HELLO, tools=TOOLS)
    assert refused.value.param == "tools"


@pytest.mark.parametrize("way", ["metadata", "header"])
def test_a_chain_remembers_a_thread(client: OpenAI, upstream: FakeOpenAI, way: str) -> None:
    thread = f"python-{way}"
    given: Any = {
        "metadata": {"metadata": {"thread_id": thread}},
        "header": {"extra_headers": {"x-las-thread": thread}},
    }
    for text in ("My name is Ada.", "What is my name?"):
        raw = client.chat.completions.with_raw_response.create(model=CHAT, messages=user(text), **given[way])
        assert raw.headers["x-las-thread"] == thread
    said = [message["content"] for message in upstream.last.body["messages"] if message["role"] != "system"]
    assert said == ["My name is Ada.", "Echo: My name is Ada.", "What is my name?"]
    raw = client.chat.completions.with_raw_response.create(model=CHAT, messages=HELLO)
    assert "x-las-thread" not in raw.headers
    assert "Ada" not in str(upstream.last.body)


def test_an_unknown_chain(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="chains/nothing", messages=HELLO)
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")


# Responses


def test_responses(client: OpenAI, upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(usage=COUNT))
    first = client.responses.create(model=MODEL, input="hello", instructions="Be brief.")
    assert (first.status, first.output_text, first.error) == ("completed", "Echo: hello", None)
    assert first.usage is not None
    assert (first.usage.input_tokens, first.usage.output_tokens, first.usage.total_tokens) == (10, 5, 15)
    second = client.responses.create(model=MODEL, input="again", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    # Instructions are not handed on.
    assert [message["content"] for message in upstream.last.body["messages"]] == ["hello", "Echo: hello", "again"]
    assert client.responses.parse(model=MODEL, input=ABOUT_LYON, text_format=City).output_parsed == CITY
    with pytest.raises(openai.APIStatusError) as unknown:
        client.responses.create(model=MODEL, input="again", previous_response_id="resp_nothing")
    assert (unknown.value.status_code, unknown.value.param) == (400, "previous_response_id")


def test_responses_stream(client: OpenAI) -> None:
    with client.responses.stream(model=MODEL, input="hello") as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert [event.type for event in events[:2]] == ["response.created", "response.in_progress"]
    assert events[-1].type == "response.completed"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert final.output_text == "Echo: hello"


def test_tools_of_responses(client: OpenAI) -> None:
    first = client.responses.create(model=MODEL, input=WEATHER, tools=FLAT_TOOLS)
    (call,) = [item for item in first.output if item.type == "function_call"]
    assert (call.name, call.arguments) == ("get_weather", '{"location":"Lyon"}')
    told: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "22 degrees"}]
    second = client.responses.create(model=MODEL, input=told, tools=FLAT_TOOLS, previous_response_id=first.id)
    assert second.output_text == FOUND


async def test_responses_asynchronously(aclient: AsyncOpenAI) -> None:
    assert (await aclient.responses.create(model=MODEL, input="hello")).output_text == "Echo: hello"
    async with aclient.responses.stream(model=MODEL, input="hello") as stream:
        assert (await stream.get_final_response()).output_text == "Echo: hello"


def test_responses_of_chains(client: OpenAI, upstream: FakeOpenAI, case: ChainCase) -> None:
    upstream.enqueue(*case.replies * 2)
    answer = client.responses.create(model=case.model, input=case.prompt)
    assert (answer.output_text, answer.status) == (case.text, "completed")
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == case.tokens[:2]
    with client.responses.stream(model=case.model, input=case.prompt) as stream:
        assert stream.get_final_response().output_text == case.text


# Legacy completions, and sound


def test_legacy_completions(client: OpenAI, upstream: FakeOpenAI) -> None:
    whole = client.completions.create(model=MODEL, prompt=["hello", "bye"])
    assert [choice.text for choice in whole.choices] == ["Echo: hello", "Echo: bye"]
    assert [choice.finish_reason for choice in whole.choices] == ["stop", "stop"]
    chunks = list(client.completions.create(model=MODEL, prompt="hello", stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == "Echo: hello"
    with pytest.raises(openai.BadRequestError) as hot:
        client.completions.create(model=MODEL, prompt="hello", temperature=9)
    assert hot.value.param == "temperature"


def test_audio(client: OpenAI) -> None:
    spoken = client.audio.speech.create(model="openai/tts-1", voice="alloy", input="hello")
    sound = spoken.read()
    assert spoken.response.headers["content-type"] == "audio/mpeg"
    written = client.audio.transcriptions.create(model="openai/whisper-1", file=("said.mp3", sound))
    assert written.text == "hello"
    with pytest.raises(openai.BadRequestError) as silent:
        client.audio.speech.create(model="openai/tts-1", voice="alloy", input="")
    assert silent.value.param == "input"


def _tools_answered(client: OpenAI, model: str) -> str | None:
    """The answer after the client's tool was called and its result sent."""
    messages = user(WEATHER)
    asked = client.chat.completions.create(model=model, messages=messages, tools=TOOLS).choices[0]
    assert asked.finish_reason == "tool_calls"
    (call,) = asked.message.tool_calls or []
    assert call.function.name == "get_weather"
    messages += [asked.message, {"role": "tool", "tool_call_id": call.id, "content": "22 degrees"}]
    answer = client.chat.completions.create(model=model, messages=messages, tools=TOOLS)
    assert answer.choices[0].finish_reason == "stop"
    return answer.choices[0].message.content


def _counted(usage: Any) -> tuple[int, int, int]:
    return usage.prompt_tokens, usage.completion_tokens, usage.total_tokens


def _reasoning(message: Any) -> str:
    return getattr(message, "reasoning_content", None) or ""
