"""Every answer and every event of the OpenAI endpoint, held strictly against the models of the ``openai`` package."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import httpx
import pytest
from openai.types import Completion, CreateEmbeddingResponse, Model
from openai.types.audio import Transcription, TranscriptionVerbose
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from openai.types.shared import ErrorObject
from pydantic import BaseModel

from tests.clients.cases import (
    ABOUT_LYON,
    AGENT,
    CHAINS,
    FOUND,
    LOCAL,
    LOCAL_EMBEDDINGS,
    LYON_REPLY,
    MODEL,
    WEATHER,
    WEATHER_CALL,
    WEATHER_TOOL,
    ChainCase,
)
from tests.conftest import Server
from tests.fake_openai import FakeOpenAI, Reply, ToolCall

Json = dict[str, Any]

ADDED: Mapping[str, frozenset[str]] = {
    "CompletionUsage": frozenset({"cost"}),
    "ResponseUsage": frozenset({"cost"}),
    "ChatCompletionMessage": frozenset({"reasoning_content"}),
    "ChoiceDelta": frozenset({"reasoning_content"}),
    "Model": frozenset({"name", "description"}),
    # OpenAI's have these, though the package does not know them.
    "Response": frozenset({"store"}),
    "TranscriptionVerbose": frozenset({"task"}),
}
"""The documented fields that the package does not know."""
TOOLS = [{"type": "function", "function": WEATHER_TOOL}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "population": {"type": "integer"}},
    "required": ["city", "population"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": SCHEMA}}
EVENTS: dict[str, type[BaseModel]] = {
    name: event
    for event in get_args(get_args(ResponseStreamEvent)[0])
    for name in get_args(event.model_fields["type"].annotation)
}
RESPONSE_KEYS = frozenset(
    "id object created_at status error incomplete_details instructions model output parallel_tool_calls tools "
    "tool_choice temperature top_p metadata previous_response_id".split()
)
"""What each response has, though it may be null."""


def hold(data: Any, model: type[BaseModel]) -> None:
    """Hold *data* against *model*: its types without conversion, its keys, and no keys but those."""
    unknown = list(_unknown(model.model_validate(data, strict=True)))
    assert not unknown, f"{unknown} in {data}"


def _unknown(value: Any) -> Iterator[str]:
    """The keys that the models of a validated answer do not have."""
    if isinstance(value, BaseModel):
        kind = type(value).__name__
        yield from (f"{kind}.{key}" for key in (value.model_extra or {}).keys() - ADDED.get(kind, frozenset()))
        yield from (key for name in type(value).model_fields for key in _unknown(getattr(value, name)))
    elif isinstance(value, list):
        yield from (key for item in value for key in _unknown(item))


def hold_chat(data: Json) -> None:
    """Hold a whole chat answer."""
    hold(data, ChatCompletion)
    for choice in data["choices"]:
        assert choice.keys() == {"index", "message", "logprobs", "finish_reason"}
        assert {"role", "content", "refusal"} <= choice["message"].keys()
    assert [choice["index"] for choice in data["choices"]] == list(range(len(data["choices"])))
    assert data["usage"]["total_tokens"] == data["usage"]["prompt_tokens"] + data["usage"]["completion_tokens"]


def hold_chunks(chunks: list[Json], *, usage: bool) -> None:
    """Hold the chunks of one chat answer, each and together."""
    for chunk in chunks:
        hold(chunk, ChatCompletionChunk)
        assert ("usage" in chunk) == usage
        for choice in chunk["choices"]:
            assert choice.keys() == {"index", "delta", "logprobs", "finish_reason"}
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    *said, last = chunks if usage else [*chunks, {"choices": [], "usage": {}}]
    assert all(chunk["choices"] and not chunk.get("usage") for chunk in said)
    assert (last["choices"], last["usage"] is None) == ([], False)
    choices = [choice for chunk in said for choice in chunk["choices"]]
    for index in {choice["index"] for choice in choices}:
        hold_deltas([choice for choice in choices if choice["index"] == index])


def hold_deltas(choices: list[Json]) -> None:
    """Hold the parts of one choice: the role first and once, the reason why it ends last and once."""
    assert choices[0]["delta"]["role"] == "assistant"
    assert "refusal" in choices[0]["delta"]
    assert not any("role" in choice["delta"] for choice in choices[1:])
    assert [bool(choice["finish_reason"]) for choice in choices] == [False] * (len(choices) - 1) + [True]
    calls = [call for choice in choices for call in choice["delta"].get("tool_calls") or ()]
    begun: set[int] = set()
    for call in calls:
        first = call["index"] not in begun
        assert call.keys() == ({"index", "id", "type", "function"} if first else {"index", "function"})
        begun.add(call["index"])
    assert begun == set(range(len(begun)))


@pytest.fixture
def http(chain_server: Server, upstream: FakeOpenAI) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{chain_server.url}/v1", timeout=60, trust_env=False) as client:
        yield client


def posted(http: httpx.Client, path: str, body: Json) -> Json:
    answer = http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def events(http: httpx.Client, path: str, body: Json) -> list[Json]:
    """The data of the events that answer a request, of which the last must be ``[DONE]``."""
    answer = http.post(path, json={**body, "stream": True})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    assert lines.pop() == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines]


PARALLEL = Reply(tool_calls=[WEATHER_CALL, ToolCall("get_weather", {"location": "Paris"}, "call_2")])
CHATS: dict[str, tuple[Json, tuple[Reply, ...]]] = {
    "text": ({}, ()),
    "n": ({"n": 3}, ()),
    "length": ({"max_tokens": 1}, ()),
    "logprobs": ({"logprobs": True, "top_logprobs": 2}, ()),
    "logprobs and n": ({"logprobs": True, "n": 2}, ()),
    "call": ({"messages": [{"role": "user", "content": WEATHER}], "tools": TOOLS}, ()),
    "calls": ({"tools": TOOLS}, (PARALLEL,)),
    "words and calls": ({"tools": TOOLS}, (Reply(content="Let me see.", tool_calls=[WEATHER_CALL]),)),
    "refusal": ({}, (Reply(refusal="I cannot do that."),)),
    "reasoning": ({}, (Reply(reasoning="Let me think.", content="Yes."),)),
    "schema": ({"messages": [{"role": "user", "content": ABOUT_LYON}], "response_format": FORMAT}, ()),
    "filtered": ({}, (Reply(content="Well", finish_reason="content_filter"),)),
    "nothing": ({}, (Reply(content=""),)),
    "bare": ({}, (Reply(content="Hi", system_fingerprint=None, service_tier=None),)),
    "local": ({"model": LOCAL, "max_tokens": 3}, ()),
    "local call": (
        {
            "model": LOCAL,
            "messages": [{"role": "user", "content": "What's the weather in Tokyo?"}],
            "tools": TOOLS,
            "tool_choice": "required",
        },
        (),
    ),
}


@pytest.fixture(params=CHATS.values(), ids=CHATS.keys())
def chat(request: pytest.FixtureRequest) -> tuple[Json, tuple[Reply, ...]]:
    fields, replies = request.param
    return {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], **fields}, replies


def test_whole_chats(http: httpx.Client, upstream: FakeOpenAI, chat: tuple[Json, tuple[Reply, ...]]) -> None:
    body, replies = chat
    upstream.enqueue(*replies)
    hold_chat(posted(http, "/chat/completions", body))


@pytest.mark.parametrize("usage", [False, True], ids=["uncounted", "counted"])
def test_streamed_chats(
    http: httpx.Client, upstream: FakeOpenAI, chat: tuple[Json, tuple[Reply, ...]], usage: bool
) -> None:
    body, replies = chat
    upstream.enqueue(*replies)
    options = {"stream_options": {"include_usage": True}} if usage else {}
    hold_chunks(events(http, "/chat/completions", {**body, **options}), usage=usage)


ERRORS: list[tuple[str, Json, Reply | None]] = [
    ("/chat/completions", {"model": MODEL}, None),
    ("/chat/completions", {"model": "nobody/x", "messages": [{"role": "user", "content": "x"}]}, None),
    ("/embeddings", {"model": LOCAL_EMBEDDINGS, "input": []}, None),
    ("/nothing", {}, None),
    *[
        ("/chat/completions", {"model": MODEL, "messages": [{"role": "user", "content": "x"}]}, Reply(status=status))
        for status in (400, 401, 403, 404, 409, 413, 422)
    ],
]


@pytest.mark.parametrize(("path", "body", "reply"), ERRORS)
def test_errors(http: httpx.Client, upstream: FakeOpenAI, path: str, body: Json, reply: Reply | None) -> None:
    upstream.enqueue(*[reply] * (reply is not None))
    answer = http.post(path, json=body)
    assert answer.status_code >= 400
    assert answer.json().keys() == {"error"}
    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
    hold(answer.json()["error"], ErrorObject)


def test_an_error_in_a_stream(http: httpx.Client, upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(content="a b c d", cut_after=3))
    body = {"model": MODEL, "messages": [{"role": "user", "content": "x"}]}
    *chunks, error = events(http, "/chat/completions", body)
    for chunk in chunks:
        hold(chunk, ChatCompletionChunk)
    assert error.keys() == {"error"}
    hold(error["error"], ErrorObject)


@pytest.mark.parametrize("coding", ["float", "base64"])
@pytest.mark.parametrize(
    ("model", "given"),
    [
        ("openai/text-embedding-3-small", ["a cat", "a dog"]),
        ("openai/text-embedding-3-small", [[1, 2, 3], [4]]),
        (LOCAL_EMBEDDINGS, "a cat"),
    ],
)
def test_embeddings(http: httpx.Client, model: str, given: Any, coding: str) -> None:
    answer = posted(http, "/embeddings", {"model": model, "input": given, "encoding_format": coding})
    vectors = [item.pop("embedding") for item in answer["data"]]
    # The package knows vectors only as numbers, which base64 is decoded to.
    assert all(isinstance(vector, str if coding == "base64" else list) for vector in vectors)
    numbers = [] if coding == "base64" else [0.0, *vectors[0]]
    hold({**answer, "data": [{**item, "embedding": numbers} for item in answer["data"]]}, CreateEmbeddingResponse)
    assert [item["index"] for item in answer["data"]] == list(range(len(vectors)))


def test_models(http: httpx.Client) -> None:
    listed = http.get("/models").json()
    assert listed.keys() == {"object", "data"}
    assert listed["object"] == "list"
    for model in listed["data"]:
        hold(model, Model)
    one = http.get(f"/models/{MODEL}").json()
    hold(one, Model)
    assert one in listed["data"]


# Chains as models


@pytest.fixture(params=CHAINS, ids=lambda case: case.model)
def case(request: pytest.FixtureRequest) -> ChainCase:
    chain: ChainCase = request.param
    return chain


def asked(case: ChainCase, **fields: Any) -> Json:
    return {"model": case.model, "messages": [{"role": "user", "content": case.prompt}], **fields}


def test_chains(http: httpx.Client, upstream: FakeOpenAI, case: ChainCase) -> None:
    upstream.enqueue(*case.replies)
    hold_chat(posted(http, "/chat/completions", asked(case)))
    for usage in (False, True):
        upstream.enqueue(*case.replies)
        body = asked(case, stream_options={"include_usage": usage})
        hold_chunks(events(http, "/chat/completions", body), usage=usage)
    upstream.enqueue(*case.replies, LYON_REPLY)
    hold_chat(posted(http, "/chat/completions", asked(case, response_format=FORMAT)))
    upstream.enqueue(*case.replies, LYON_REPLY)
    hold_chunks(events(http, "/chat/completions", asked(case, response_format=FORMAT)), usage=False)


def test_tools_of_the_client_on_an_agent(http: httpx.Client, upstream: FakeOpenAI) -> None:
    body = {"model": AGENT, "messages": [{"role": "user", "content": WEATHER}], "tools": TOOLS}
    upstream.enqueue(PARALLEL, PARALLEL, Reply(content=FOUND))
    whole = posted(http, "/chat/completions", body)
    hold_chat(whole)
    hold_chunks(events(http, "/chat/completions", body), usage=False)
    message = whole["choices"][0]["message"]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "22"} for call in message["tool_calls"]]
    hold_chat(posted(http, "/chat/completions", {**body, "messages": [*body["messages"], message, *results]}))


# Responses, legacy completions, sound


def hold_response(data: Json) -> None:
    """Hold a whole response."""
    hold(data, Response)
    assert data.keys() >= RESPONSE_KEYS


def response_events(http: httpx.Client, body: Json) -> list[Json]:
    """The events of a response, each of which has its type as its name."""
    answer = http.post("/responses", json={**body, "stream": True})
    assert answer.status_code == 200, answer.text
    told = [block.splitlines() for block in answer.text.split("\n\n") if block.startswith("event: ")]
    made: list[Json] = [json.loads(data.removeprefix("data: ")) for _, data in told]
    assert [name.removeprefix("event: ") for name, _ in told] == [event["type"] for event in made]
    return made


def hold_response_events(made: list[Json]) -> None:
    """Hold the events of one response, each and together."""
    for event in made:
        hold(event, EVENTS[event["type"]])
        if "response" in event:
            hold_response(event["response"])
    assert [event["sequence_number"] for event in made] == list(range(len(made)))
    assert [event["type"] for event in made[:2]] == ["response.created", "response.in_progress"]


FLAT_TOOLS = [{"type": "function", "strict": False, **WEATHER_TOOL}]
RESPONSES: dict[str, tuple[Json, tuple[Reply, ...]]] = {
    "text": ({"instructions": "Be brief."}, ()),
    "call": ({"input": WEATHER, "tools": FLAT_TOOLS}, ()),
    "calls": ({"tools": FLAT_TOOLS}, (PARALLEL,)),
    "reasoning": ({}, (Reply(reasoning="Let me think.", content="Yes."),)),
    "refusal": ({}, (Reply(refusal="I cannot do that."),)),
    "length": ({"max_output_tokens": 16}, (Reply(content="Well", finish_reason="length"),)),
    "schema": (
        {"input": ABOUT_LYON, "text": {"format": {"name": "city", "type": "json_schema", "schema": SCHEMA}}},
        (),
    ),
    "local": ({"model": LOCAL, "max_output_tokens": 16}, ()),
}


@pytest.mark.parametrize(("fields", "replies"), RESPONSES.values(), ids=RESPONSES.keys())
def test_responses(http: httpx.Client, upstream: FakeOpenAI, fields: Json, replies: tuple[Reply, ...]) -> None:
    body = {"model": MODEL, "input": "hello", **fields}
    upstream.enqueue(*replies, *replies)
    whole = posted(http, "/responses", body)
    hold_response(whole)
    hold_response_events(response_events(http, body))


def test_responses_of_chains(http: httpx.Client, upstream: FakeOpenAI, case: ChainCase) -> None:
    upstream.enqueue(*case.replies, *case.replies)
    body = {"model": case.model, "input": case.prompt}
    hold_response(posted(http, "/responses", body))
    hold_response_events(response_events(http, body))


@pytest.mark.parametrize("fields", [{}, {"n": 2}, {"logprobs": 2}, {"echo": True, "max_tokens": 2}, {"model": LOCAL}])
def test_legacy_completions(http: httpx.Client, fields: Json) -> None:
    body = {"model": MODEL, "prompt": "hello", "max_tokens": 5, **fields}
    whole = posted(http, "/completions", body)
    hold(whole, Completion)
    chunks = events(http, "/completions", {**body, "stream_options": {"include_usage": True}})
    # Only in the package is a chunk's finish_reason never null.
    ended = [choice for chunk in chunks for choice in chunk["choices"]]
    assert {choice["finish_reason"] for choice in ended} <= {None, "stop", "length"}
    for choice in ended:
        choice["finish_reason"] = choice["finish_reason"] or "stop"
    for chunk in chunks:
        hold(chunk, Completion)
    for choice in (*whole["choices"], *ended):
        assert choice.keys() == {"index", "text", "logprobs", "finish_reason"}
    assert (chunks[-1]["choices"], chunks[-1]["usage"]["prompt_tokens"] > 0) == ([], True)
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1


@pytest.mark.parametrize(("form", "model"), [("json", Transcription), ("verbose_json", TranscriptionVerbose)])
def test_transcriptions(http: httpx.Client, form: str, model: type[BaseModel]) -> None:
    fields = {"model": "openai/whisper-1", "response_format": form}
    answer = http.post("/audio/transcriptions", data=fields, files={"file": ("said.mp3", b"sound")})
    assert answer.status_code == 200, answer.text
    hold(answer.json(), model)
