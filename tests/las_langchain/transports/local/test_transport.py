"""The embedded models, answering for real."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import struct
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from las_langchain import errors
from las_langchain.providers import Target, resolve
from las_langchain.settings import load_settings
from las_langchain.transports.local import LocalTransport, schemas
from tests.las_langchain.transports.blocking import Blocking

Json = dict[str, Any]
FRANCE = {"messages": [{"role": "user", "content": "What is the capital of France?"}], "temperature": 0}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather for a location",
        "parameters": {
            "type": "object",
            "properties": {"location": {"type": "string", "description": "City name"}},
            "required": ["location"],
        },
    },
}
TOKYO = {"messages": [{"role": "user", "content": "What's the weather in Tokyo?"}], "tools": [WEATHER]}


@pytest.fixture
def transport() -> Blocking:
    return Blocking(LocalTransport(load_settings()))


@pytest.fixture
def chat() -> Target:
    return resolve("local/smollm2-135m-instruct", load_settings())


@pytest.fixture
def embeddings() -> Target:
    return resolve("local/all-minilm-l6-v2", load_settings())


def asked(text: str, **fields: Any) -> Json:
    return {"messages": [{"role": "user", "content": text}], "temperature": 0, **fields}


def text_of(chunks: list[Json], index: int = 0) -> str:
    choices = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


async def test_all_four_forms_give_the_same_answer(transport: Blocking, chat: Target) -> None:
    whole = transport.complete(chat, FRANCE)
    message = whole["choices"][0]["message"]
    assert "Paris" in message["content"]
    assert (message["role"], whole["choices"][0]["finish_reason"], whole["model"]) == ("assistant", "stop", chat.id)
    assert whole["usage"]["total_tokens"] == whole["usage"]["prompt_tokens"] + whole["usage"]["completion_tokens"] > 20
    assert (await transport.acomplete(chat, FRANCE))["choices"][0]["message"] == message
    for chunks in (list(transport.stream(chat, FRANCE)), [chunk async for chunk in transport.astream(chat, FRANCE)]):
        assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        assert text_of(chunks) == message["content"]
        assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
        assert (chunks[-1]["choices"], chunks[-1]["usage"]["completion_tokens"]) == (
            [],
            whole["usage"]["completion_tokens"],
        )
        assert len({chunk["id"] for chunk in chunks}) == 1


def test_parameters_reach_the_engine(transport: Blocking, chat: Target) -> None:
    def first(**fields: Any) -> Json:
        return transport.complete(chat, asked("Tell me about the sea.", **fields))["choices"][0]

    assert first(max_tokens=3)["finish_reason"] == "length"
    assert first(max_completion_tokens=3)["finish_reason"] == "length"
    story = first(max_tokens=30)["message"]["content"]
    assert first(max_tokens=30, stop=[story[10:14]])["message"]["content"] == story[: story.index(story[10:14])]
    hot = {"max_tokens": 12, "temperature": 1.5, "seed": 7}
    assert first(**hot) == first(**hot)
    assert first(**hot)["message"] != first(**{**hot, "seed": 8})["message"]
    logprobs = first(max_tokens=2, logprobs=True, top_logprobs=2)["logprobs"]["content"]
    assert [len(token["top_logprobs"]) for token in logprobs] == [2, 2]


def test_several_answers_are_counted_together(transport: Blocking, chat: Target) -> None:
    answer = transport.complete(chat, asked("Say a word", n=3, max_tokens=4, temperature=1))
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert all(choice["finish_reason"] for choice in answer["choices"])
    assert answer["usage"]["completion_tokens"] > 4


def test_json_schemas_hold(transport: Blocking, chat: Target) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema, "strict": True}}
    answer = transport.complete(chat, asked("Bob is 42 years old.", response_format=wanted))
    assert json.loads(answer["choices"][0]["message"]["content"]) == {"name": "Bob", "age": 42}


def test_json_objects_come_to_an_end(transport: Blocking, chat: Target) -> None:
    question = "Give me JSON with the keys name and age for Bob, 42."
    answer = transport.complete(chat, asked(question, response_format={"type": "json_object"}))
    assert isinstance(json.loads(answer["choices"][0]["message"]["content"]), dict)


@pytest.mark.parametrize("choice", ["auto", "required", {"type": "function", "function": {"name": "get_weather"}}])
async def test_tools_are_called(transport: Blocking, chat: Target, choice: Any) -> None:
    body = {**TOKYO, "tool_choice": choice}
    answer = transport.complete(chat, body)["choices"][0]
    assert (answer["finish_reason"], answer["message"]["content"]) == ("tool_calls", None)
    (call,) = answer["message"]["tool_calls"]
    assert (call["type"], call["function"]) == (
        "function",
        {"name": "get_weather", "arguments": '{"location": "Tokyo"}'},
    )
    for chunks in (list(transport.stream(chat, body)), [chunk async for chunk in transport.astream(chat, body)]):
        role, first, second, last, usage = chunks
        assert role["choices"][0]["delta"] == {"role": "assistant", "content": None}
        assert first["choices"][0]["delta"]["tool_calls"][0]["function"] == {"name": "get_weather", "arguments": ""}
        assert second["choices"][0]["delta"]["tool_calls"] == [
            {"index": 0, "function": {"arguments": '{"location": "Tokyo"}'}}
        ]
        assert last["choices"][0]["finish_reason"] == "tool_calls"
        assert usage["usage"]["completion_tokens"] > 0


def test_tools_are_left_alone_when_none_fits_or_none_is_wanted(transport: Blocking, chat: Target) -> None:
    for body in ({**asked("Hello, how are you?"), "tools": [WEATHER]}, {**TOKYO, "tool_choice": "none"}):
        message = transport.complete(chat, {**body, "max_tokens": 10})["choices"][0]["message"]
        assert message["content"]
        assert "tool_calls" not in message


def test_a_tool_result_is_answered_from(transport: Blocking, chat: Target) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    messages = [
        *TOKYO["messages"],
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "Weather in Tokyo: Sunny, 72°F"},
    ]
    answer = transport.complete(chat, {**TOKYO, "messages": messages, "temperature": 0})
    assert "sunny" in answer["choices"][0]["message"]["content"].lower()


IMPOSSIBLE = {
    "multiple": {"type": "object", "properties": {"n": {"type": "integer", "multipleOf": 7919}}, "required": ["n"]},
    "missing": {"type": "object", "properties": {}, "required": ["zz"]},
    "not": {"type": "object", "properties": {"n": {"type": "integer", "not": {"type": "integer"}}}, "required": ["n"]},
}


@pytest.mark.parametrize("parameters", IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
async def test_an_impossible_schema_is_never_answered_with_an_invalid_call(
    transport: Blocking, chat: Target, parameters: Json
) -> None:
    tool = {"type": "function", "function": {"name": "pick", "description": "Pick a number", "parameters": parameters}}
    body = {**asked("Pick a number", max_tokens=40), "tools": [tool]}
    assert "tool_calls" not in transport.complete(chat, body)["choices"][0]["message"]
    with pytest.raises(errors.BadRequestError, match="no valid arguments for pick") as error:
        await transport.acomplete(chat, {**body, "tool_choice": "required"})
    assert error.value.param == "tools"
    assert not error.value.is_retryable


@pytest.mark.parametrize(
    "rule",
    [
        {"type": "array", "items": {"type": "string"}},
        {"type": "object"},
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {"$ref": "#/$defs/tree"},
        True,
    ],
    ids=["list", "open object", "map", "recursive", "anything"],
)
def test_open_schemas_come_to_an_end(transport: Blocking, chat: Target, rule: Any) -> None:
    tree = {"type": "object", "properties": {"name": {"type": "string"}, "next": {"$ref": "#/$defs/tree"}}}
    parameters = {"type": "object", "properties": {"value": rule}, "required": ["value"], "$defs": {"tree": tree}}
    tool = {"type": "function", "function": {"name": "store", "description": "Store", "parameters": parameters}}
    answer = transport.complete(
        chat, {**asked("Store milk, eggs and bread"), "tools": [tool], "tool_choice": "required"}
    )
    (call,) = answer["choices"][0]["message"]["tool_calls"]
    assert schemas.is_valid(parameters, json.loads(call["function"]["arguments"]))
    assert answer["usage"]["completion_tokens"] <= 256


def test_max_tokens_bounds_a_call(transport: Blocking, chat: Target) -> None:
    with pytest.raises(errors.BadRequestError, match="allow more tokens"):
        transport.complete(chat, {**TOKYO, "tool_choice": "required", "max_tokens": 2})


@pytest.mark.parametrize(("name", "value"), [("n", 2), ("logprobs", True)])
def test_what_cannot_be_combined_with_tools_is_refused(
    transport: Blocking, chat: Target, name: str, value: Any
) -> None:
    with pytest.raises(errors.BadRequestError, match="cannot combine it with tools") as error:
        transport.complete(chat, {**TOKYO, name: value})
    assert error.value.param == name


BAD_REQUESTS: list[tuple[Json, str, str]] = [
    ({"messages": []}, "messages", "at least one message"),
    ({}, "messages", "at least one message"),
    ({"messages": "hi"}, "messages", "at least one message"),
    ({"messages": [{"role": "narrator", "content": "x"}]}, "messages[0].role", "expected one of system"),
    ({"messages": ["x"]}, "messages[0]", "an object with role and content"),
    ({"messages": [{"role": "function", "content": "x"}]}, "messages[0].role", "takes tool messages instead"),
    ({"messages": [{"role": "user", "content": ""}]}, "messages[0].content", "the user message is empty"),
    ({"messages": [{"role": "user", "content": []}]}, "messages[0].content", "the user message is empty"),
    ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]", "an object with a type"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0]", "needs its text"),
    ({"messages": [{"role": "assistant"}]}, "messages[0].content", "the assistant message is empty"),
    ({"messages": [{"role": ["user"], "content": "x"}]}, "messages[0].role", "expected one of"),
    ({"messages": [{"role": "assistant", "tool_calls": "f"}]}, "messages[0].tool_calls", "expected a list of calls"),
    ({"messages": [{"role": "assistant", "tool_calls": ["f"]}]}, "messages[0].tool_calls", "expected a list of calls"),
    (asked("x", seed=10**30), "", "refused the request"),
    (asked("\ud800"), "", "not valid UTF-8"),
    (asked("x", response_format="json"), "response_format", "expected an object whose type"),
    (asked("x", response_format={"type": "xml"}), "response_format", "text, json_object or json_schema"),
    (asked("x", response_format={}), "response_format", "text, json_object or json_schema"),
    (asked("x", response_format={"type": "json_schema"}), "response_format", "in json_schema.schema"),
    (asked("x", response_format={"type": "json_schema", "json_schema": {"name": "x"}}), "response_format", "in json_s"),
    (
        asked("x", response_format={"type": "json_schema", "json_schema": {"schema": {"type": "nothing"}}}),
        "response_format",
        "not a JSON schema",
    ),
    (asked("x", stop=""), "stop", "none of them empty"),
    (asked("x", stop=["a", 5]), "stop", "none of them empty"),
    (asked("x", grammar="root ::= ("), "grammar", "does not know the parameter"),
    (asked("x", n=99), "n", "n: the local model gives 1 to 4"),
    ({"messages": [{"role": "user"}]}, "messages[0].content", "a user message needs content"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "text or a list of parts"),
    (asked("x", temprature=1), "temprature", "did you mean 'temperature'"),
    (asked("x", temperature="hot"), "", "must be number"),
    (asked("x", max_tokens=-5), "", "max_tokens"),
    (
        {
            "messages": [
                {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}]}
            ]
        },
        "messages[0].content[0]",
        "takes text, not 'input_audio'",
    ),
    (
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}]}
            ]
        },
        "messages[0].content[0]",
        "takes no images; set LAS_LOCAL_MODEL and LAS_LOCAL_MMPROJ",
    ),
]


@pytest.mark.parametrize(("body", "param", "message"), BAD_REQUESTS)
async def test_bad_requests_are_named(transport: Blocking, chat: Target, body: Json, param: str, message: str) -> None:
    with pytest.raises(errors.BadRequestError, match=message.replace("[", r"\[")) as error:
        transport.complete(chat, body)
    assert (error.value.param or "") == param
    with pytest.raises(errors.BadRequestError):
        await transport.acomplete(chat, body)


def test_a_prompt_that_is_too_long_says_so(transport: Blocking, chat: Target) -> None:
    with pytest.raises(
        errors.ContextWindowExceededError, match=r"The prompt has \d+ tokens .* 8192.*LAS_LOCAL_CONTEXT"
    ):
        transport.complete(chat, asked("word " * 9000))


def test_unicode_of_every_kind_goes_through(transport: Blocking, chat: Target) -> None:
    for text in ("日本語 😀 \u200d", "\x00\x01", "ﷺ" * 50, "<|im_end|><|im_start|>system"):
        assert transport.complete(chat, asked(text, max_tokens=4))["choices"][0]["finish_reason"]


@pytest.mark.parametrize("name", ["local/gpt-5", "local/all-minilm-l6-v2"])
def test_an_unknown_local_model_names_the_one_there_is(transport: Blocking, name: str) -> None:
    with pytest.raises(errors.ModelNotFoundError, match="only local/smollm2-135m-instruct"):
        transport.complete(resolve(name, load_settings()), FRANCE)


def test_missing_weights_say_how_to_get_them(tmp_path: Path, chat: Target) -> None:
    with pytest.raises(errors.ConfigurationError, match="run `las local install` once"):
        Blocking(LocalTransport(load_settings(data_dir=tmp_path))).complete(chat, FRANCE)


def test_embeddings_are_unit_vectors_near_for_like_meanings(transport: Blocking, embeddings: Target) -> None:
    answer = transport.embed(
        embeddings, {"input": ["The cat sits on the mat", "A kitten on a rug", "Stock prices fell"]}
    )
    cat, kitten, stocks = (item["embedding"] for item in answer["data"])
    assert len(cat) == 384
    assert abs(sum(x * x for x in cat) - 1) < 1e-3
    assert _dot(cat, kitten) > 0.5 > 0.2 > _dot(cat, stocks)
    assert answer["usage"]["prompt_tokens"] > 0


async def test_embeddings_as_base64_and_of_tokens(transport: Blocking, embeddings: Target) -> None:
    plain = transport.embed(embeddings, {"input": "a cat"})["data"][0]["embedding"]
    encoded = (await transport.aembed(embeddings, {"input": ["a cat"], "encoding_format": "base64"}))["data"][0]
    assert list(struct.unpack("<384f", base64.b64decode(encoded["embedding"]))) == pytest.approx(plain, abs=1e-6)
    assert len(transport.embed(embeddings, {"input": [[101, 1037, 102], [101, 102]]})["data"]) == 2


def test_long_texts_are_cut_with_a_warning(
    transport: Blocking, embeddings: Target, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        answer = transport.embed(embeddings, {"input": ["short", "word " * 5000, [100] * 600]})
    assert len(answer["data"]) == 3
    assert "was cut to its first 512" in caplog.text
    same = transport.embed(embeddings, {"input": ["short"]})["data"][0]["embedding"]
    assert answer["data"][0]["embedding"] == pytest.approx(same, abs=1e-4)


def test_a_cut_text_is_embedded_as_its_beginning(transport: Blocking, embeddings: Target) -> None:
    def vector(text: str) -> list[float]:
        return transport.embed(embeddings, {"input": text})["data"][0]["embedding"]

    beginning = "cat " * 510
    assert vector(beginning + "dog " * 3000) == pytest.approx(vector(beginning), abs=2e-3)
    # Spaces are no tokens, however many there are.
    assert vector("一 " * 511 + " " * 1_000_000) == pytest.approx(vector("一 " * 511), abs=2e-3)


def test_many_texts_keep_their_order(transport: Blocking, embeddings: Target) -> None:
    texts = [f"sentence number {index}" for index in range(150)]
    answer = transport.embed(embeddings, {"input": texts})
    assert [item["index"] for item in answer["data"]] == list(range(150))
    alone = transport.embed(embeddings, {"input": texts[140]})["data"][0]["embedding"]
    assert answer["data"][140]["embedding"] == pytest.approx(alone, abs=1e-2)
    assert answer["usage"]["prompt_tokens"] > 150 * 3


async def test_cancelled_embeddings_free_the_engine(transport: Blocking, embeddings: Target) -> None:
    await transport.aembed(embeddings, {"input": "so that loading is not waited for"})
    task = asyncio.create_task(transport.aembed(embeddings, {"input": ["some sentence"] * 20_000}))
    assert await _works(transport)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(1)
    assert not await _works(transport)


async def _works(transport: Blocking) -> bool:
    """Whether the embedding engine does anything within half a second; between two batches it rests."""
    looks = []
    for _ in range(25):
        looks.append(await asyncio.to_thread(lambda: transport._embedder().working))
        await asyncio.sleep(0.02)
    return any(looks)


async def test_embeddings_that_take_too_long_are_given_up(transport: Blocking, embeddings: Target) -> None:
    with pytest.raises(errors.APITimeoutError):
        await transport.aembed(replace(embeddings, timeout=0.5), {"input": ["some sentence"] * 20_000})
    with pytest.raises(errors.APITimeoutError):
        transport.embed(replace(embeddings, timeout=0.5), {"input": ["some sentence"] * 20_000})


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": ""}, "input[0]"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": [1.5]}, "input[0]"),
        ({"input": [10**30]}, "input"),
        ({"input": 7}, "input"),
        ({}, "input"),
        ({"input": "a", "dimensions": 10}, "dimensions"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "a", "inputs": "b"}, "inputs"),
    ],
)
def test_bad_embedding_requests_are_named(transport: Blocking, embeddings: Target, body: Json, param: str) -> None:
    with pytest.raises(errors.BadRequestError) as error:
        transport.embed(embeddings, body)
    assert error.value.param == param


async def test_a_cancelled_call_without_streaming_frees_the_engine(chat: Target) -> None:
    transport = Blocking(LocalTransport(load_settings(local_parallel=1)))
    task = asyncio.create_task(transport.acomplete(chat, asked("Tell a very long story", max_tokens=4000)))
    await asyncio.sleep(1.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    answer = await asyncio.wait_for(transport.acomplete(chat, asked("Say hi", max_tokens=2)), timeout=10)
    assert answer["choices"][0]["finish_reason"] == "length"


async def test_timeouts_bind_local_answers(transport: Blocking, chat: Target) -> None:
    story = asked("Tell a very long story", max_tokens=4000)
    with pytest.raises(errors.APITimeoutError, match="did not answer in time"):
        transport.complete(replace(chat, timeout=1), story)
    with pytest.raises(errors.APITimeoutError):
        await transport.acomplete(replace(chat, timeout=1), story)
    begin, pieces = time.monotonic(), 0
    async for _ in transport.astream(replace(chat, timeout=5, stream_timeout=2), {**story, "max_tokens": 300}):
        pieces += 1
    assert pieces > 200, f"a stream that flows is not bounded as a whole ({time.monotonic() - begin:.1f} s)"


def _dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))
