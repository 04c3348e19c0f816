"""The OpenAI double itself, seen through the official client and through plain HTTP."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_type_hints

import httpx
import openai
import pytest
from openai.types import EmbeddingCreateParams
from openai.types.chat import completion_create_params
from openai.types.completion_create_params import CompletionCreateParamsStreaming as LegacyParams

from tests.fake_openai import MODELS, FakeOpenAI, Reply, ToolCall
from tests.fake_openai_rules import CHAT_PARAMS, COMPLETION_PARAMS, EMBEDDING_PARAMS

HEADERS = {"authorization": "Bearer sk-test"}
# One client for all: making one takes longer than most tests.
HTTP = httpx.Client()
USER: Any = [{"role": "user", "content": "hello big world"}]
ADD = {
    "name": "add",
    "description": "Sums integers.",
    "parameters": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}, "note": {"type": "string"}},
        "required": ["a", "b"],
    },
}
TOOLS: Any = [{"type": "function", "function": ADD}]
CALLS = [{"id": "call_1", "type": "function", "function": {"name": "add", "arguments": "{}"}}]
CALL_TURN = {"role": "assistant", "content": None, "tool_calls": CALLS}


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[FakeOpenAI]:
    with HTTP, FakeOpenAI() as running:
        yield running


@pytest.fixture
def double(server: FakeOpenAI) -> FakeOpenAI:
    server.reset()
    return server


@pytest.fixture
def client(double: FakeOpenAI) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=double.url, api_key="sk-test", max_retries=0) as made:
        yield made


def post(double: FakeOpenAI, body: Any, path: str = "/chat/completions", **options: Any) -> httpx.Response:
    return HTTP.post(double.url + path, json=body, **{"headers": HEADERS, **options})


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "messages": USER, **fields}


def events_of(response: httpx.Response) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def eventually(condition: Callable[[], bool], seconds: float = 1.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.002)
    return condition()


def test_plain_answer(double: FakeOpenAI, client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="gpt-4o", messages=USER)
    choice = answer.choices[0]
    assert (choice.message.content, choice.finish_reason, choice.logprobs) == ("Echo: hello big world", "stop", None)
    assert answer.id.startswith("chatcmpl-")
    assert answer.model == "gpt-4o-2024-08-06"
    assert answer.service_tier == "default"
    assert answer.usage
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (3, 4, 7)
    assert double.last.path == "/v1/chat/completions"
    assert double.last.headers["authorization"] == "Bearer sk-test"
    assert double.last.body["messages"] == USER


def test_wire_shape_of_a_message(double: FakeOpenAI) -> None:
    response = post(double, chat(), params={"trace": "1"})
    assert response.headers["x-request-id"].startswith("req_")
    assert response.headers["openai-processing-ms"].isdigit()
    assert response.json()["choices"] == [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "Echo: hello big world",
                "refusal": None,
                "annotations": [],
            },
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert double.last.query == {"trace": "1"}


def test_parts_are_named(double: FakeOpenAI) -> None:
    parts = [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"file_id": "file-1"}},
    ]
    body = post(double, chat(messages=[{"role": "user", "content": parts}])).json()
    assert body["choices"][0]["message"]["content"] == "Echo: see [image] [audio] [file]"


@pytest.mark.parametrize(
    ("fields", "texts", "finish"),
    [
        ({"n": 2}, ["Echo: hello big world", "Echo: hello big world #1"], "stop"),
        ({"stop": ["world", "big"]}, ["Echo: hello "], "stop"),
        ({"stop": " big"}, ["Echo: hello"], "stop"),
        ({"max_tokens": 2}, ["Echo: hello"], "length"),
        ({"max_completion_tokens": 4}, ["Echo: hello big world"], "stop"),
        ({"messages": [{"role": "user", "content": "Repeat: a  b"}]}, ["a  b"], "stop"),
        ({"response_format": {"type": "json_object"}}, ['{"answer":"hello big world"}'], "stop"),
        (
            {
                "response_format": {"type": "json_object"},
                "messages": [{"role": "user", "content": "JSON with 'a' and 'b' keys"}],
            },
            ['{"a":"value","b":"value"}'],
            "stop",
        ),
    ],
)
def test_obedience(double: FakeOpenAI, fields: dict[str, Any], texts: list[str], finish: str) -> None:
    whole = post(double, chat(**fields)).json()["choices"]
    assert [choice["message"]["content"] for choice in whole] == texts
    assert {choice["finish_reason"] for choice in whole} == {finish}
    streamed = [""] * len(texts)
    for event in events_of(post(double, chat(stream=True, **fields))):
        choice = event["choices"][0]
        streamed[choice["index"]] += choice["delta"].get("content", "")
    assert streamed == texts


def test_stream_shape(double: FakeOpenAI) -> None:
    before = double.events_sent
    response = post(double, chat(stream=True, stream_options={"include_usage": True}))
    assert response.headers["content-type"].startswith("text/event-stream")
    events = events_of(response)
    assert double.events_sent - before == len(events) + 1
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    pieces = [event["choices"][0]["delta"].get("content") for event in events[1:-2]]
    assert pieces == ["Echo:", " hello", " big", " world"]
    assert events[-2]["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]
    assert events[-1]["choices"] == []
    assert events[-1]["usage"]["total_tokens"] == 7
    assert {event["usage"] for event in events[:-1]} == {None}
    assert len({event["id"] for event in events}) == 1
    assert double.open_streams == 0


def test_streamed_choices_are_interleaved(double: FakeOpenAI) -> None:
    events = events_of(post(double, chat(stream=True, n=2)))
    assert [event["choices"][0]["index"] for event in events[:6]] == [0, 1, 0, 1, 0, 1]
    assert "usage" not in events[0]


def test_logprobs(double: FakeOpenAI) -> None:
    fields = {"logprobs": True, "top_logprobs": 2}
    tokens = post(double, chat(**fields)).json()["choices"][0]["logprobs"]["content"]
    assert [token["token"] for token in tokens] == ["Echo:", " hello", " big", " world"]
    assert [len(token["top_logprobs"]) for token in tokens] == [2] * 4
    events = events_of(post(double, chat(stream=True, **fields)))
    shares = [event["choices"][0]["logprobs"] for event in events]
    assert [token for share in shares if share for token in share["content"]] == tokens


@pytest.mark.parametrize(
    ("text", "fields", "arguments"),
    [
        ("add 3 and -4", {}, [{"a": 3, "b": -4}]),
        ("which integers?", {}, [{"a": 1, "b": 1}]),
        ("hello", {"tool_choice": "required"}, [{"a": 1, "b": 1}]),
        ("hello 7", {"tool_choice": {"type": "function", "function": {"name": "add"}}}, [{"a": 7, "b": 1}]),
        ("call add 2 times: 1 2 3 4", {}, [{"a": 1, "b": 2}, {"a": 3, "b": 4}]),
        ("call 2 times add 1 2", {"parallel_tool_calls": False}, [{"a": 1, "b": 2}]),
        ("hello", {}, []),
        ("add 1 2", {"tool_choice": "none"}, []),
    ],
)
def test_default_tool_calls(double: FakeOpenAI, text: str, fields: dict[str, Any], arguments: list[Any]) -> None:
    body = chat(messages=[{"role": "user", "content": text}], tools=TOOLS, **fields)
    choice = post(double, body).json()["choices"][0]
    calls = choice["message"].get("tool_calls", [])
    assert [json.loads(call["function"]["arguments"]) for call in calls] == arguments
    assert choice["finish_reason"] == ("tool_calls" if arguments else "stop")
    assert (choice["message"]["content"] is None) == bool(arguments)


def test_tool_result_is_told(double: FakeOpenAI) -> None:
    turns = [{"role": "user", "content": "add 1 2"}, CALL_TURN, tool_turn()]
    body = post(double, chat(messages=turns, tools=TOOLS)).json()
    assert body["choices"][0]["message"]["content"] == "The result is: 3"


def tool_turn(call_id: str = "call_1") -> dict[str, str]:
    return {"role": "tool", "tool_call_id": call_id, "content": "3"}


def test_json_schema_answer(double: FakeOpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {
            "city": {"$ref": "#/$defs/city"},
            "unit": {"enum": ["celsius", "kelvin"]},
            "days": {"type": "array", "items": {"type": "integer"}},
            "mood": {"anyOf": [{"type": "null"}, {"type": "string"}]},
            "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
        },
        "required": ["city", "unit", "days", "mood", "next"],
        "additionalProperties": False,
        "$defs": {
            "city": {
                "type": "object",
                "properties": {"name": {"type": "string"}},
                "required": ["name"],
                "additionalProperties": False,
            }
        },
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "report", "schema": schema, "strict": True}}
    turns = [{"role": "user", "content": "Give Paris in kelvin for 'sunny' days 1 2 3"}]
    body = post(double, chat(messages=turns, response_format=wanted)).json()
    value = json.loads(body["choices"][0]["message"]["content"])
    assert value["city"] == {"name": "sunny"}
    assert (value["unit"], value["days"], value["mood"]) == ("kelvin", [1, 2, 3], "Paris")


def test_scripted_parallel_tool_calls(double: FakeOpenAI, client: openai.OpenAI) -> None:
    calls = (ToolCall("add", {"a": 1, "b": 2}, "call_x"), ToolCall("add", '{"a": 10, "b": 20}'))
    double.enqueue(Reply(tool_calls=calls), Reply(tool_calls=calls))
    plain = client.chat.completions.create(model="gpt-4o", messages=USER, tools=TOOLS).choices[0]
    assert plain.finish_reason == "tool_calls"
    assert [call.id == "call_x" for call in plain.message.tool_calls or []] == [True, False]
    gathered: dict[int, str] = {0: "", 1: ""}
    with client.chat.completions.create(model="gpt-4o", messages=USER, tools=TOOLS, stream=True) as stream:
        deltas = [call for chunk in stream for call in chunk.choices[0].delta.tool_calls or []]
    for call in deltas:
        gathered[call.index] += (call.function and call.function.arguments) or ""
    assert [json.loads(text) for text in gathered.values()] == [{"a": 1, "b": 2}, {"a": 10, "b": 20}]
    heads = [call for call in deltas if call.id]
    assert [(head.index, head.type) for head in heads] == [(0, "function"), (1, "function")]
    assert [head.function and (head.function.name, head.function.arguments) for head in heads] == [("add", "")] * 2


def test_scripted_fields(double: FakeOpenAI) -> None:
    reply = Reply(
        content="ab",
        chunks=("a", "b"),
        reasoning="let me think",
        usage={"prompt_tokens": 50, "prompt_tokens_details": {"cached_tokens": 40}},
        finish_reason="content_filter",
        headers={"X-Extra": "yes"},
        system_fingerprint=None,
        service_tier="flex",
        annotations=[{"type": "url_citation"}],
        extra={"provider": "x"},
    )
    double.enqueue(reply, reply)
    response = post(double, chat())
    body, message = response.json(), response.json()["choices"][0]["message"]
    assert response.headers["x-extra"] == "yes"
    assert message["reasoning_content"] == "let me think"
    assert (message["annotations"], message["provider"]) == ([{"type": "url_citation"}], "x")
    assert body["choices"][0]["finish_reason"] == "content_filter"
    assert body["service_tier"] == "flex"
    assert "system_fingerprint" not in body
    assert body["usage"]["prompt_tokens_details"] == {"cached_tokens": 40, "audio_tokens": 0}
    assert body["usage"]["completion_tokens_details"]["reasoning_tokens"] == 3
    assert body["usage"]["total_tokens"] == 54
    deltas = [event["choices"][0]["delta"] for event in events_of(post(double, chat(stream=True)))]
    assert deltas[1:4] == [{"reasoning_content": piece} for piece in ("let", " me", " think")]
    assert deltas[4:] == [{"content": "a"}, {"content": "b"}, {"annotations": message["annotations"]}, reply.extra]


def test_scripted_refusal(double: FakeOpenAI, client: openai.OpenAI) -> None:
    double.enqueue(Reply(refusal="I must not."))
    message = client.chat.completions.create(model="gpt-4o", messages=USER).choices[0].message
    assert (message.content, message.refusal) == (None, "I must not.")


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, openai.BadRequestError, None),
        (401, openai.AuthenticationError, "invalid_api_key"),
        (403, openai.PermissionDeniedError, "permission_denied"),
        (404, openai.NotFoundError, "model_not_found"),
        (429, openai.RateLimitError, "rate_limit_exceeded"),
        (500, openai.InternalServerError, None),
        (503, openai.InternalServerError, None),
    ],
)
def test_scripted_errors(
    double: FakeOpenAI, client: openai.OpenAI, status: int, kind: type[openai.APIStatusError], code: str | None
) -> None:
    double.enqueue(Reply(status=status, headers={"Retry-After": "3"}))
    with pytest.raises(kind) as caught:
        client.chat.completions.create(model="gpt-4o", messages=USER, stream=True)
    assert caught.value.code == code
    assert caught.value.response.headers["retry-after"] == "3"


def test_raw_and_own_error(double: FakeOpenAI) -> None:
    double.enqueue(
        Reply(status=502, raw=b"<html>", raw_type="text/html"), Reply(status=400, error={"message": "m", "code": "c"})
    )
    page = post(double, chat())
    assert (page.status_code, page.content, page.headers["content-type"]) == (502, b"<html>", "text/html")
    assert post(double, chat()).json() == {"error": {"message": "m", "code": "c"}}


def test_error_in_a_stream(double: FakeOpenAI, client: openai.OpenAI) -> None:
    double.enqueue(Reply(content="a b c", cut_after=2, error_event={"message": "broke", "type": "server_error"}))
    stream = client.chat.completions.create(model="gpt-4o", messages=USER, stream=True)
    seen: list[str | None] = []
    with pytest.raises(openai.APIError, match="broke"):
        seen.extend(chunk.choices[0].delta.content for chunk in stream)
    double.enqueue(Reply(error_event={"message": "broke"}))
    assert post(double, chat(stream=True)).text == 'data: {"error":{"message":"broke"}}\n\n'


def lines_until(problem: type[Exception], double: FakeOpenAI, **options: Any) -> list[str]:
    """The lines of a stream that ends with this exception."""
    lines: list[str] = []
    url = double.url + "/chat/completions"
    with HTTP.stream("POST", url, json=chat(stream=True), headers=HEADERS, **options) as response:
        assert response.status_code == 200
        with pytest.raises(problem):
            lines.extend(line for line in response.iter_lines() if line)
    return lines


@pytest.mark.parametrize(("cut", "count"), [(0, 0), (2, 2), (99, 5)])
def test_cut(double: FakeOpenAI, cut: int, count: int) -> None:
    left, sent = double.disconnects, double.events_sent
    double.enqueue(Reply(content="a b c", cut_after=cut))
    lines = lines_until(httpx.RemoteProtocolError, double)
    assert len(lines) == count
    assert (double.events_sent - sent, double.disconnects - left) == (count, 0)
    assert eventually(lambda: double.open_streams == 0)


def test_cut_of_a_plain_body(double: FakeOpenAI) -> None:
    double.enqueue(Reply(cut_after=1))
    with pytest.raises(httpx.RemoteProtocolError):
        post(double, chat())


def test_hang_counts_the_client_that_leaves(double: FakeOpenAI) -> None:
    left = double.disconnects
    double.enqueue(Reply(hang=True))
    with pytest.raises(httpx.ReadTimeout):
        post(double, chat(), timeout=0.1)
    assert eventually(lambda: double.disconnects == left + 1, 0.1)


def test_silence_in_a_stream(double: FakeOpenAI) -> None:
    left = double.disconnects
    double.enqueue(Reply(hang=True, cut_after=1))
    assert len(lines_until(httpx.ReadTimeout, double, timeout=0.1)) == 1
    assert eventually(lambda: double.disconnects == left + 1)


@pytest.mark.asyncio
async def test_dropped_streams_are_noticed(double: FakeOpenAI) -> None:
    left = double.disconnects
    double.enqueue(*[Reply(chunks=("x",) * 1000, chunk_delay=0.01)] * 3)
    async with openai.AsyncOpenAI(base_url=double.url, api_key="sk-test") as client:
        streams = [await client.chat.completions.create(model="gpt-4o", messages=USER, stream=True) for _ in range(3)]
        for stream in streams:
            await anext(aiter(stream))
        assert double.open_streams == 3
        for stream in streams:
            await stream.close()
        await asyncio.sleep(0.05)
        assert (double.open_streams, double.disconnects - left) == (0, 3)
    sent = double.events_sent
    await asyncio.sleep(0.05)
    assert double.events_sent == sent


def test_a_complete_stream_is_no_disconnect(double: FakeOpenAI, client: openai.OpenAI) -> None:
    left = double.disconnects
    for _ in range(20):
        with client.chat.completions.create(model="gpt-4o", messages=USER, stream=True) as stream:
            assert list(stream)
    client.close()
    time.sleep(0.05)
    assert double.disconnects == left


def test_delays(double: FakeOpenAI) -> None:
    double.enqueue(Reply(delay=0.1), Reply(chunks=("a", "b"), chunk_delay=0.05))
    began = time.monotonic()
    post(double, chat())
    middle = time.monotonic()
    post(double, chat(stream=True))
    assert middle - began >= 0.1
    assert time.monotonic() - middle >= 0.2


@pytest.mark.parametrize("reply", [Reply(hang=True), Reply(hang=True, cut_after=2), Reply(delay=30)])
def test_stop_is_quick_and_start_comes_back(reply: Reply) -> None:
    double = FakeOpenAI().start()
    url = double.url
    double.enqueue(reply)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(post, double, chat(stream=True), timeout=10)
        assert eventually(lambda: len(double.requests) == 1)
        began = time.monotonic()
        double.stop()
        assert time.monotonic() - began < 1
        assert isinstance(waiting.exception(1), httpx.TransportError)
    with pytest.raises(httpx.ConnectError):
        post(double, chat())
    assert double.disconnects == 0
    with double:
        assert double.url == url
        assert post(double, chat()).status_code == 200


def test_runs_as_a_process() -> None:
    script = Path(__file__).with_name("fake_openai.py")
    with subprocess.Popen([sys.executable, str(script), "--port", "0"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            url = process.stdout.readline().strip()
            assert httpx.get(url + "/models", headers=HEADERS).json()["object"] == "list"
        finally:
            process.terminate()


def test_health_needs_no_key(double: FakeOpenAI) -> None:
    assert httpx.get(double.url.replace("/v1", "/healthz")).json() == {"status": "ok"}
    assert double.requests == []


@pytest.mark.parametrize("headers", [{}, {"authorization": "Basic abc"}, {"authorization": "Bearer sk-wrong"}])
def test_bad_keys(double: FakeOpenAI, headers: dict[str, str]) -> None:
    double.enqueue(Reply(content="kept"))
    response = post(double, chat(), headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (401, "invalid_api_key")
    assert post(double, chat()).json()["choices"][0]["message"]["content"] == "kept"


def test_models(double: FakeOpenAI, client: openai.OpenAI) -> None:
    assert tuple(model.id for model in client.models.list()) == MODELS
    assert client.models.retrieve("gpt-4o").owned_by == "system"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("missing-model")
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "nothing", 404), ("GET", "chat/completions", 405)])
def test_unknown_routes(double: FakeOpenAI, method: str, path: str, status: int) -> None:
    response = httpx.request(method, f"{double.url}/{path}", headers=HEADERS)
    assert response.status_code == status
    assert response.json()["error"].keys() == {"message", "type", "param", "code"}


def test_body_that_is_no_json(double: FakeOpenAI) -> None:
    response = httpx.post(double.url + "/chat/completions", content=b"{oops", headers=HEADERS)
    assert response.status_code == 400
    assert double.last.body == b"{oops"


def said(content: Any, role: str = "user", **fields: Any) -> dict[str, Any]:
    """Fields of a request with one message."""
    return {"messages": [{"role": role, "content": content, **fields}]}


def function(**fields: Any) -> dict[str, Any]:
    """Fields of a request with one tool, changed so."""
    return {"tools": [{"type": "function", "function": {**ADD, **fields}}]}


def structured(**fields: Any) -> dict[str, Any]:
    """Fields of a request for JSON by a schema."""
    return {"response_format": {"type": "json_schema", "json_schema": fields}}


LOOSE = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
OPTIONAL = {**LOOSE, "required": [], "additionalProperties": False}
NESTED = {
    "type": "object",
    "properties": {"a": {"type": "array", "items": LOOSE}},
    "required": ["a"],
    "additionalProperties": False,
}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"foo": 1}, "foo"),
    ({"temperature": "hot"}, "temperature"),
    ({"temperature": 2.1}, "temperature"),
    ({"temperature": True}, "temperature"),
    ({"top_p": -0.1}, "top_p"),
    ({"n": 0}, "n"),
    ({"n": 129}, "n"),
    ({"n": 1.5}, "n"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 5, "max_completion_tokens": 5}, "max_tokens"),
    ({"max_completion_tokens": 0}, "max_completion_tokens"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    ({"stop": [1]}, "stop"),
    ({"stream": "yes"}, "stream"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"stream": True, "stream_options": {"usage": True}}, "stream_options.usage"),
    ({"user": None}, "user"),
    ({"reasoning_effort": "extreme"}, "reasoning_effort"),
    ({"logit_bias": {"50256": 101}}, "logit_bias.50256"),
    ({"metadata": {"a": 1}}, "metadata.a"),
    ({"model": 4}, "model"),
    ({"messages": []}, "messages"),
    ({"messages": "hi"}, "messages"),
    ({"messages": ["hi"]}, "messages[0]"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [{"content": "hi"}]}, "messages[0].role"),
    (said("x", "wizard"), "messages[0].role"),
    (said(None), "messages[0].content"),
    (said(None, "assistant"), "messages[0].content"),
    (said([]), "messages[0].content"),
    (said([{"type": "video"}]), "messages[0].content[0].type"),
    (said([{"type": "text"}]), "messages[0].content[0].text"),
    (said([{"type": "image_url", "image_url": "http://x"}]), "messages[0].content[0].image_url"),
    (said([{"type": "image_url", "image_url": {}}]), "messages[0].content[0].image_url.url"),
    (said([{"type": "input_audio", "input_audio": {"data": "A"}}]), "messages[0].content[0].input_audio.format"),
    (said([{"type": "file", "file": {}}]), "messages[0].content[0].file.file_id"),
    (said([{"type": "refusal", "refusal": "no"}]), "messages[0].content[0].type"),
    (said("x", "tool"), "messages[0].tool_call_id"),
    (said("x", "tool", tool_call_id="call_1"), "messages.[0].role"),
    (said(None, "assistant", tool_calls=CALLS), "messages.[1].role"),
    (said(None, "assistant", tool_calls=[{"id": "a", "type": "function"}]), "messages[0].tool_calls[0].function"),
    ({"messages": [CALL_TURN, *USER, tool_turn()]}, "messages.[1].role"),
    ({"messages": [CALL_TURN, tool_turn(), *USER, tool_turn()]}, "messages.[3].role"),
    ({"messages": [CALL_TURN, tool_turn("call_2")]}, "messages.[1].role"),
    ({"tools": []}, "tools"),
    ({"tools": [{"function": ADD}]}, "tools[0].type"),
    ({"tools": [{"type": "function"}]}, "tools[0].function"),
    ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
    (function(name="no spaces"), "tools[0].function.name"),
    (function(name="x" * 65), "tools[0].function.name"),
    (function(parameters={"type": "string"}), "tools[0].function.parameters"),
    (function(strict=True), "tools[0].function.parameters"),
    ({"tool_choice": "auto"}, "tool_choice"),
    ({"parallel_tool_calls": True}, "parallel_tool_calls"),
    ({"tools": TOOLS, "tool_choice": "sometimes"}, "tool_choice"),
    ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "sub"}}}, "tool_choice"),
    ({"response_format": {"type": "xml"}}, "response_format.type"),
    (structured(schema=LOOSE), "response_format.json_schema.name"),
    (structured(name="r"), "response_format.json_schema.schema"),
    (structured(name="r", schema=LOOSE, strict=True), "response_format"),
    (structured(name="r", schema=OPTIONAL, strict=True), "response_format"),
    (structured(name="r", schema=NESTED, strict=True), "response_format"),
]


@pytest.mark.parametrize(("fields", "param"), REFUSED, ids=lambda value: str(value)[:60])
def test_refused(double: FakeOpenAI, fields: dict[str, Any], param: str) -> None:
    response = post(double, chat(**fields))
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


@pytest.mark.parametrize("name", ["model", "messages"])
def test_missing_parameters(double: FakeOpenAI, name: str) -> None:
    body = {key: value for key, value in chat().items() if key != name}
    assert post(double, body).json()["error"]["code"] == "missing_required_parameter"


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": None, "max_tokens": None, "stop": None, "n": 1, "seed": 1, "store": False, "user": "u"},
        {"stream": False, "logit_bias": {"1": -100}, "reasoning_effort": "low", "verbosity": "low"},
        {"messages": [CALL_TURN, tool_turn(), *USER]},
        said(None, "assistant", refusal="no"),
        said([{"type": "text", "text": "a"}], "developer"),
        function(strict=True, parameters={**LOOSE, "additionalProperties": False}),
        structured(name="r", schema=LOOSE),
        {"tools": TOOLS, "tool_choice": "auto", "parallel_tool_calls": False},
    ],
)
def test_accepted(double: FakeOpenAI, fields: dict[str, Any]) -> None:
    response = post(double, chat(**fields))
    assert response.status_code == 200, response.text


def test_every_parameter_of_the_client_is_known() -> None:
    streaming = get_type_hints(completion_create_params.CompletionCreateParamsStreaming)
    assert set(CHAT_PARAMS) == set(streaming)
    assert set(EMBEDDING_PARAMS) == set(get_type_hints(EmbeddingCreateParams))
    assert set(COMPLETION_PARAMS) == set(get_type_hints(LegacyParams))


@pytest.mark.parametrize("model", ["missing-model", "llama-3"])
def test_unknown_model(double: FakeOpenAI, model: str) -> None:
    response = post(double, chat(model=model))
    assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")


def test_embeddings(double: FakeOpenAI, client: openai.OpenAI) -> None:
    made = client.embeddings.create(model="text-embedding-3-small", input=["a b", "c"])
    assert double.last.body["encoding_format"] == "base64"
    plain = client.embeddings.create(model="text-embedding-3-small", input=["a b", "c"], encoding_format="float")
    assert [one.embedding for one in made.data] == [one.embedding for one in plain.data]
    assert made.data[0].embedding != made.data[1].embedding
    assert len(made.data[0].embedding) == 8
    assert math.isclose(math.hypot(*made.data[0].embedding), 1, rel_tol=1e-6)
    assert made.usage.total_tokens == 3
    long = client.embeddings.create(model="text-embedding-3-small", input=[[1, 2], [3]], dimensions=1536)
    assert [len(one.embedding) for one in long.data] == [1536, 1536]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "empty array"),
        ("", "empty string"),
        (["a", ""], "empty string"),
        (["a"] * 2049, "array too long"),
        ("a " * 8193, "maximum context length"),
        ([1] * 8193, "maximum context length"),
        ([{}], "Invalid type"),
        (None, "Invalid type"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_refused_embeddings(double: FakeOpenAI, value: Any, message: str) -> None:
    response = post(double, {"model": "text-embedding-3-small", "input": value}, "/embeddings")
    assert response.status_code == 400
    assert message in response.json()["error"]["message"]


def test_scripted_embeddings(double: FakeOpenAI, client: openai.OpenAI) -> None:
    double.enqueue(Reply(status=429))
    with pytest.raises(openai.RateLimitError):
        client.embeddings.create(model="text-embedding-3-small", input="a")


def test_legacy_completions(double: FakeOpenAI, client: openai.OpenAI) -> None:
    model = "gpt-3.5-turbo-instruct"
    answer = client.completions.create(model=model, prompt=["one", "two"], n=2, logprobs=1)
    assert [choice.text for choice in answer.choices] == ["Echo: one", "Echo: one #1", "Echo: two", "Echo: two #1"]
    assert answer.choices[0].logprobs
    assert answer.choices[0].logprobs.text_offset == [0, 5]
    stream = client.completions.create(model=model, prompt="one two", max_tokens=2, stream=True)
    chunks = [chunk.choices[0] for chunk in stream]
    assert "".join(chunk.text for chunk in chunks) == "Echo: one"
    assert [chunk.finish_reason for chunk in chunks] == [None, None, "length"]
    assert post(double, {"model": model}, "/completions").json()["error"]["param"] == "prompt"
    assert post(double, {"model": model, "prompt": "a", "tools": []}, "/completions").status_code == 400
