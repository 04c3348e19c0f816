"""The Anthropic double itself, seen through plain HTTP and through litellm."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import litellm
import pytest

import las_langchain.transports.litellm  # noqa: F401 - sets litellm up
from tests.fake_anthropic import MODELS, FakeAnthropic, Reply, ToolCall

HEADERS = {"x-api-key": "sk-ant-test", "anthropic-version": "2023-06-01"}
# One client for all: making one takes longer than most tests.
HTTP = httpx.Client()
MODEL = "claude-sonnet-4-5"
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n....").decode()
PDF = base64.b64encode(b"%PDF-1.7\n").decode()
USER: Any = {"role": "user", "content": "hello big world"}
ADD: Any = {
    "name": "add",
    "description": "Sums integers.",
    "input_schema": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
}
CLOSED = {**ADD["input_schema"], "additionalProperties": False}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 1, "b": 2}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "3"}
THINKING = {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2048}
CITATION = {"type": "char_location", "cited_text": "x", "document_index": 0}


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[FakeAnthropic]:
    with HTTP, FakeAnthropic() as running:
        yield running


@pytest.fixture
def double(server: FakeAnthropic) -> FakeAnthropic:
    server.reset()
    return server


def post(double: FakeAnthropic, body: Any, **options: Any) -> httpx.Response:
    return HTTP.post(double.url + "/v1/messages", json=body, **{"headers": HEADERS, **options})


def ask(**fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": 100, "messages": [USER], **fields}


def said(*blocks: Any, role: str = "user") -> dict[str, Any]:
    """Fields of a request with one message."""
    return {"messages": [{"role": role, "content": list(blocks)}]}


def turns(*contents: Any, **fields: Any) -> dict[str, Any]:
    """Fields of a request with these turns, the user's first, and a tool."""
    roles = ("user", "assistant") * len(contents)
    messages = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=False)]
    return {"messages": messages, "tools": [ADD], **fields}


def text(value: str = "a", **fields: Any) -> dict[str, Any]:
    return {"type": "text", "text": value, **fields}


def source(kind: str, **fields: Any) -> dict[str, Any]:
    """A block of this type with this source."""
    return {"type": kind, "source": fields}


def events_of(response: httpx.Response) -> list[Any]:
    events = []
    for event in response.text.split("\n\n")[:-1]:
        name, data = event.split("\n")
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    return events


def deltas_of(events: list[Any], index: int = 0) -> list[Any]:
    return [event["delta"] for event in events if event["type"] == "content_block_delta" and event["index"] == index]


def eventually(condition: Callable[[], bool], seconds: float = 1.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.002)
    return condition()


def test_plain_answer(double: FakeAnthropic) -> None:
    response = post(double, ask(system="Be brief"))
    body = response.json()
    assert response.headers["request-id"].startswith("req_")
    assert body.pop("id").startswith("msg_01")
    assert body == {
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "content": [{"type": "text", "text": "Echo: hello big world"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 5,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 4,
            "service_tier": "standard",
        },
    }
    assert double.last.path == "/v1/messages"
    assert double.last.body["messages"] == [USER]


def test_stream_shape(double: FakeAnthropic) -> None:
    before = double.events_sent
    response = post(double, ask(stream=True))
    assert response.headers["content-type"].startswith("text/event-stream")
    events = events_of(response)
    assert double.events_sent - before == len(events)
    assert [event["type"] for event in events] == [
        "message_start",
        "content_block_start",
        "ping",
        *["content_block_delta"] * 4,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    start = events[0]["message"]
    assert (start["content"], start["stop_reason"], start["usage"]["output_tokens"]) == ([], None, 1)
    assert events[1] == {"type": "content_block_start", "index": 0, "content_block": text("")}
    assert [delta["text"] for delta in deltas_of(events)] == ["Echo:", " hello", " big", " world"]
    assert events[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert (events[-2]["usage"]["input_tokens"], events[-2]["usage"]["output_tokens"]) == (3, 4)
    assert double.open_streams == 0


@pytest.mark.parametrize(
    ("fields", "answer", "stop"),
    [
        ({"stop_sequences": ["world", "big"]}, "Echo: hello ", ("stop_sequence", "big")),
        ({"max_tokens": 2}, "Echo: hello", ("max_tokens", None)),
        (said(text("Repeat: a  b")), "a  b", ("end_turn", None)),
        (
            said(text("see"), source("image", type="url", url="https://x/a.png")),
            "Echo: see [image]",
            ("end_turn", None),
        ),
        (turns("x", [CALL], [RESULT]), "The result is: 3", ("end_turn", None)),
        (turns("x", [CALL], [RESULT, text("and?")]), "Echo: and?", ("end_turn", None)),
        (turns("add 1 2", tool_choice={"type": "none"}), "Echo: add 1 2", ("end_turn", None)),
    ],
)
def test_obedience(double: FakeAnthropic, fields: Any, answer: str, stop: tuple[str, str | None]) -> None:
    body = post(double, ask(**fields)).json()
    assert body["content"] == [text(answer)]
    assert (body["stop_reason"], body["stop_sequence"]) == stop
    streamed = deltas_of(events_of(post(double, ask(stream=True, **fields))))
    assert "".join(delta["text"] for delta in streamed) == answer


@pytest.mark.parametrize(
    ("words", "choice", "inputs"),
    [
        ("add 3 and -4", {"type": "auto"}, [{"a": 3, "b": -4}]),
        ("hello", {"type": "any"}, [{"a": 1, "b": 1}]),
        ("hello 7", {"type": "tool", "name": "add"}, [{"a": 7, "b": 1}]),
        ("call add 2 times: 1 2 3 4", {"type": "auto"}, [{"a": 1, "b": 2}, {"a": 3, "b": 4}]),
        ("call 2 times add 1 2", {"type": "auto", "disable_parallel_tool_use": True}, [{"a": 1, "b": 2}]),
    ],
)
def test_default_tool_calls(double: FakeAnthropic, words: str, choice: Any, inputs: list[Any]) -> None:
    fields = ask(**turns(words, tool_choice=choice))
    body = post(double, fields).json()
    assert [block["input"] for block in body["content"]] == inputs
    assert {block["type"] for block in body["content"]} == {"tool_use"}
    assert body["stop_reason"] == "tool_use"
    events = events_of(post(double, {**fields, "stream": True}))
    starts = [event["content_block"] for event in events if event["type"] == "content_block_start"]
    assert [start["input"] for start in starts] == [{}] * len(inputs)
    spoken = ["".join(delta["partial_json"] for delta in deltas_of(events, index)) for index in range(len(inputs))]
    assert [json.loads(one) for one in spoken] == inputs


@pytest.mark.parametrize("name", ["output_config", "output_format"])
def test_json_schema_answer(double: FakeAnthropic, name: str) -> None:
    form = {"type": "json_schema", "schema": CLOSED}
    wanted = {name: {"format": form} if name == "output_config" else form}
    headers = {**HEADERS, "anthropic-beta": "structured-outputs-2025-11-13"}
    body = post(double, ask(**wanted, **said(text("5 and 6"))), headers=headers).json()
    assert json.loads(body["content"][0]["text"]) == {"a": 5, "b": 6}
    assert (post(double, ask(**wanted)).status_code == 200) == (name == "output_config")


def test_thinking_comes_first_and_goes_back(double: FakeAnthropic) -> None:
    fields = {**THINKING, **turns("add 1 2")}
    answer = post(double, ask(**fields)).json()["content"]
    assert [block["type"] for block in answer] == ["thinking", "tool_use"]
    result = {**RESULT, "tool_use_id": answer[1]["id"]}
    after = post(double, ask(**{**fields, **turns("add 1 2", answer, [result])})).json()["content"]
    assert after == [text("The result is: 3")]
    events = events_of(post(double, ask(stream=True, **fields)))
    assert events[1]["content_block"] == {"type": "thinking", "thinking": "", "signature": ""}
    deltas = deltas_of(events)
    assert "".join(delta.get("thinking", "") for delta in deltas) == answer[0]["thinking"]
    assert deltas[-1] == {"type": "signature_delta", "signature": answer[0]["signature"]}


@pytest.mark.parametrize("change", [{"signature": "c2ln"}, {"signature": ""}, {"thinking": "something else"}])
def test_forged_thinking_is_refused(double: FakeAnthropic, change: dict[str, str]) -> None:
    thought, said = post(double, ask(**THINKING)).json()["content"]
    messages = [USER, {"role": "assistant", "content": [{**thought, **change}, said]}, USER]
    response = post(double, ask(**THINKING, messages=messages))
    message = "messages.1.content.0: Invalid `signature` in `thinking` block"
    assert (response.status_code, response.json()["error"]["message"]) == (400, message)


def test_scripted_thoughts_go_back(double: FakeAnthropic) -> None:
    double.enqueue(Reply(text="a", thinking="hm", signature="own", redacted_thinking=["secret"]))
    content = post(double, ask()).json()["content"]
    assert content[0] == {"type": "thinking", "thinking": "hm", "signature": "own"}
    assert content[1] == {"type": "redacted_thinking", "data": "secret"}
    assert post(double, ask(**THINKING, **turns("x", content, "y"))).status_code == 200
    content[1] = {**content[1], "data": "other"}
    refused = post(double, ask(**THINKING, **turns("x", content, "y"))).json()["error"]["message"]
    assert refused == "messages.1.content.1: Invalid `data` in `redacted_thinking` block"


def test_omitted_thinking(double: FakeAnthropic) -> None:
    thinking = {"type": "adaptive", "display": "omitted"}
    content = post(double, ask(model="claude-opus-4-8", thinking=thinking)).json()["content"]
    assert content[0]["thinking"] == ""
    assert content[0]["signature"]


def test_scripted_fields(double: FakeAnthropic) -> None:
    reply = Reply(
        chunks=("a", "b"),
        tool_calls=[ToolCall("add", {"a": 1}, "toolu_x"), ToolCall("add", '{"a": 2')],
        citations=[CITATION],
        stop_reason="refusal",
        usage={"cache_read_input_tokens": 40, "output_tokens_details": {"thinking_tokens": 2}},
        headers={"X-Extra": "yes"},
        extra={"stop_details": {"type": "refusal"}},
    )
    double.enqueue(reply, reply)
    response = post(double, ask())
    body = response.json()
    assert response.headers["x-extra"] == "yes"
    assert body["content"][0] == text("ab", citations=[CITATION])
    assert [(block["id"] == "toolu_x", block["input"]) for block in body["content"][1:]] == [
        (True, {"a": 1}),
        (False, {}),
    ]
    assert (body["stop_reason"], body["stop_details"]) == ("refusal", {"type": "refusal"})
    assert (body["usage"]["cache_read_input_tokens"], body["usage"]["input_tokens"]) == (40, 3)
    events = events_of(post(double, ask(stream=True)))
    assert events[1]["content_block"] == text("", citations=[])
    assert [delta.get("text") or delta["citation"] for delta in deltas_of(events)] == ["a", "b", CITATION]
    assert "".join(delta["partial_json"] for delta in deltas_of(events, 2)) == '{"a": 2'
    assert events[-2]["delta"]["stop_details"] == {"type": "refusal"}
    assert events[-2]["usage"]["cache_read_input_tokens"] == 40
    assert events[-2]["usage"]["output_tokens_details"] == {"thinking_tokens": 2}


def test_scripted_blocks(double: FakeAnthropic) -> None:
    search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}
    found = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
    double.enqueue(*[Reply(blocks=[search, found, text("found")])] * 2)
    content = post(double, ask()).json()["content"]
    assert content == [search, found, text("found")]
    events = events_of(post(double, ask(stream=True)))
    starts = [event["content_block"] for event in events if event["type"] == "content_block_start"]
    assert starts == [{**search, "input": {}}, found, text("")]
    assert post(double, ask(**turns("x", content, "y"))).status_code == 200


def test_silent_answer(double: FakeAnthropic) -> None:
    double.enqueue(Reply(text=""), Reply(text=""))
    assert post(double, ask()).json()["content"] == []
    names = [event["type"] for event in events_of(post(double, ask(stream=True)))]
    assert names == ["message_start", "message_delta", "message_stop"]


@pytest.mark.parametrize(
    ("status", "type_"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (529, "overloaded_error"),
    ],
)
def test_scripted_errors(double: FakeAnthropic, status: int, type_: str) -> None:
    double.enqueue(Reply(status=status, headers={"Retry-After": "3"}))
    response = post(double, ask(stream=True))
    assert (response.status_code, response.headers["retry-after"]) == (status, "3")
    body = response.json()
    assert (body["type"], body["error"]["type"]) == ("error", type_)
    assert body["request_id"] == response.headers["request-id"]


def test_raw_and_own_error(double: FakeAnthropic) -> None:
    double.enqueue(Reply(status=502, raw=b"<html>", raw_type="text/html"), Reply(status=400, error={"type": "t"}))
    page = post(double, ask())
    assert (page.status_code, page.content, page.headers["content-type"]) == (502, b"<html>", "text/html")
    assert post(double, ask()).json()["error"] == {"type": "t"}


def test_error_in_a_stream(double: FakeAnthropic) -> None:
    double.enqueue(Reply(text="a b c", cut_after=4, error_event={"type": "overloaded_error", "message": "Overloaded"}))
    events = events_of(post(double, ask(stream=True)))
    assert len(events) == 5
    assert events[-1]["error"] == {"type": "overloaded_error", "message": "Overloaded"}


def lines_until(problem: type[Exception], double: FakeAnthropic, **options: Any) -> list[str]:
    """The data lines of a stream that ends with this exception."""
    lines: list[str] = []
    url = double.url + "/v1/messages"
    with HTTP.stream("POST", url, json=ask(stream=True), headers=HEADERS, **options) as response:
        assert response.status_code == 200
        with pytest.raises(problem):
            lines.extend(line for line in response.iter_lines() if line.startswith("data:"))
    return lines


@pytest.mark.parametrize(("cut", "count"), [(0, 0), (2, 2), (99, 8)])
def test_cut(double: FakeAnthropic, cut: int, count: int) -> None:
    left, sent = double.disconnects, double.events_sent
    double.enqueue(Reply(text="a b c", cut_after=cut))
    assert len(lines_until(httpx.RemoteProtocolError, double)) == count
    assert (double.events_sent - sent, double.disconnects - left) == (count, 0)
    assert eventually(lambda: double.open_streams == 0)


def test_cut_of_a_plain_body(double: FakeAnthropic) -> None:
    double.enqueue(Reply(cut_after=1))
    with pytest.raises(httpx.RemoteProtocolError):
        post(double, ask())


def test_hang_and_silence(double: FakeAnthropic) -> None:
    left = double.disconnects
    double.enqueue(Reply(hang=True), Reply(hang=True, cut_after=1))
    with pytest.raises(httpx.ReadTimeout):
        post(double, ask(), timeout=0.1)
    assert len(lines_until(httpx.ReadTimeout, double, timeout=0.1)) == 1
    assert eventually(lambda: double.disconnects == left + 2)


def test_delays(double: FakeAnthropic) -> None:
    double.enqueue(Reply(delay=0.1), Reply(chunks=("a", "b"), chunk_delay=0.02))
    began = time.monotonic()
    post(double, ask())
    middle = time.monotonic()
    post(double, ask(stream=True))
    assert middle - began >= 0.1
    assert time.monotonic() - middle >= 7 * 0.02


def test_runs_as_a_process() -> None:
    script = Path(__file__).with_name("fake_anthropic.py")
    with subprocess.Popen([sys.executable, str(script), "--port", "0"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            url = process.stdout.readline().strip()
            assert HTTP.get(url + "/v1/models", headers=HEADERS).json()["data"][0]["type"] == "model"
        finally:
            process.terminate()


def test_models_and_other_routes(double: FakeAnthropic) -> None:
    one = HTTP.get(f"{double.url}/v1/models/{MODEL}", headers=HEADERS).json()
    assert one["id"] == MODELS[MODEL].id
    missing = HTTP.get(f"{double.url}/v1/models/gpt-4o", headers=HEADERS)
    assert (missing.status_code, missing.json()["error"]["type"]) == (404, "not_found_error")
    assert HTTP.get(f"{double.url}/v1/messages", headers=HEADERS).status_code == 405
    assert HTTP.get(f"{double.url}/v1/nothing", headers=HEADERS).status_code == 404
    assert HTTP.get(f"{double.url}/healthz").json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("headers", "status", "message"),
    [
        ({}, 401, "x-api-key header is required"),
        ({"x-api-key": "sk-ant-wrong"}, 401, "invalid x-api-key"),
        ({"authorization": "Bearer sk-wrong"}, 401, "Invalid bearer token"),
        ({"x-api-key": "sk"}, 400, "anthropic-version: header is required"),
        ({"x-api-key": "sk", "anthropic-version": "1"}, 400, 'anthropic-version: "1" is not a valid version.'),
        ({**HEADERS, "anthropic-beta": "foo"}, 400, "Unexpected value(s) `foo` for the `anthropic-beta` header."),
    ],
)
def test_bad_headers(double: FakeAnthropic, headers: dict[str, str], status: int, message: str) -> None:
    double.enqueue(Reply(text="kept"))
    response = post(double, ask(), headers=headers)
    assert (response.status_code, response.json()["error"]["message"]) == (status, message)
    assert post(double, ask()).json()["content"] == [text("kept")]


def test_body_that_is_no_json(double: FakeAnthropic) -> None:
    response = HTTP.post(double.url + "/v1/messages", content=b"{oops", headers=HEADERS)
    assert (response.status_code, double.last.body) == (400, b"{oops")


def test_unknown_model(double: FakeAnthropic) -> None:
    response = post(double, ask(model="claude-3-5-sonnet-20241022"))
    error = {"type": "not_found_error", "message": "model: claude-3-5-sonnet-20241022"}
    assert (response.status_code, response.json()["error"]) == (404, error)


def tool(**fields: Any) -> dict[str, Any]:
    """Fields of a request with one tool, changed so."""
    return {"tools": [{**ADD, **fields}]}


def formatted(schema: dict[str, Any]) -> dict[str, Any]:
    """Fields of a request for JSON by a schema."""
    return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}


def closed(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


IMAGE = source("image", type="base64", media_type="image/png", data=PNG)
DOCUMENT = source("document", type="base64", media_type="application/pdf", data=PDF)
EPHEMERAL = {"cache_control": {"type": "ephemeral"}}
LONG = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
LOOP = {**closed(next={"$ref": "#/$defs/one"}), "$defs": {"one": closed(next={"$ref": "#/$defs/one"})}}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"foo": 1}, "foo: Extra inputs are not permitted"),
    ({"n": 2}, "n: Extra inputs are not permitted"),
    ({"max_tokens": None}, "max_tokens: Input should be a valid integer"),
    ({"max_tokens": -1}, "max_tokens: Input should be greater than or equal to 0"),
    ({"max_tokens": 64_001}, "max_tokens: 64001 > 64000"),
    ({"temperature": 1.1}, "temperature: Input should be less than or equal to 1"),
    ({"temperature": 0.5, "top_p": 0.5}, "`temperature` and `top_p` cannot both be specified"),
    ({"model": "claude-opus-4-7", "temperature": 0}, "`temperature` is deprecated for this model."),
    ({"stop_sequences": [" "]}, "stop_sequences: each stop sequence must contain non-whitespace"),
    ({"metadata": {"user_id": "a@b.cd"}}, "metadata.user_id: user_id appears to contain an email address"),
    ({"metadata": {"trace": "a"}}, "metadata.trace: Extra inputs are not permitted"),
    ({"messages": []}, "messages: at least one message is required"),
    ({"messages": [{"role": "tool", "content": "a"}]}, "messages.0.role: Input should be 'user'"),
    ({"messages": [{**USER, "name": "x"}]}, "messages.0.name: Extra inputs are not permitted"),
    ({"messages": [{"role": "system", "content": "a"}]}, "role 'system' is not supported on this model"),
    (said(text(), role="assistant"), 'messages: first message must use the "user" role'),
    (said(), "messages.0: all messages must have non-empty content"),
    (said(text("")), "messages: text content blocks must be non-empty"),
    (said(text(" ")), "messages: text content blocks must contain non-whitespace text"),
    (said({"type": "image_url"}), "messages.0.content.0: Input tag 'image_url' found using 'type'"),
    (said({"text": "a"}), "messages.0.content.0.type: Field required"),
    (said(text(id="1")), "messages.0.content.0.text.id: Extra inputs are not permitted"),
    (said(CALL), "messages.0.content.0: `tool_use` blocks can only be in `assistant` messages"),
    (turns("a", [IMAGE]), "messages.1.content.0: `image` blocks can only be in `user` messages"),
    (turns("a", "b "), "messages: final assistant content cannot end with trailing whitespace"),
    ({**turns("a", "b"), "model": "claude-opus-4-6"}, "This model does not support assistant message prefill."),
    ({"system": [text("")]}, "system: text content blocks must be non-empty"),
    ({"system": [IMAGE]}, "system.0.type: Input should be 'text'"),
    (
        said(source("image", type="base64", media_type="image/bmp", data=PNG)),
        "media_type: Input should be 'image/jpeg'",
    ),
    (said(source("image", type="base64", media_type="image/png", data="a")), "source.base64.data: Invalid base64 data"),
    (said(source("image", type="base64", media_type="image/png", data=PDF)), "Could not process image"),
    (said(source("image", type="base64", media_type="image/gif", data=PNG)), "does not match the provided media type"),
    (said(source("image", type="url", url="http://x/a.png")), "Only HTTPS URLs are supported."),
    (said(source("image", type="file", file_id="f")), "Input tag 'file' found using 'type'"),
    (said(source("document", type="base64", media_type="text/plain", data=PDF)), "Input should be 'application/pdf'"),
    (
        said(source("document", type="base64", media_type="application/pdf", data=PNG)),
        "The PDF specified was not valid.",
    ),
    (
        turns("a", [CALL]),
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_1.",
    ),
    (turns("a", [CALL], "b"), "messages.1: `tool_use` ids were found without `tool_result` blocks"),
    (turns("a", [CALL], [text(), RESULT]), "messages.1: `tool_use` ids were found without `tool_result` blocks"),
    (turns([RESULT]), "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: toolu_1."),
    (turns("a", "b", [RESULT]), "messages.2.content.0: unexpected `tool_use_id` found"),
    (turns("a", [CALL], [RESULT, RESULT]), "messages.2.content.1: each tool_use must have a single result."),
    (turns("a", [CALL, CALL], [RESULT]), "messages.1: `tool_use` ids must be unique"),
    (turns("a", [{**CALL, "id": "call:1"}]), "tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"),
    (turns("a", [{**CALL, "input": "{}"}]), "messages.1.content.0.tool_use.input: Input should be a valid dictionary"),
    (turns("a", [CALL], [{**RESULT, "content": [IMAGE], "is_error": True}]), "all content must be type `text`"),
    (turns("a", [CALL], [{**RESULT, "content": [text("")]}]), "messages: text content blocks must be non-empty"),
    (turns("a", [CALL], [RESULT], tools=None), "Requests which include `tool_use`"),
    ({"tools": [{"type": "function", "function": {}}]}, "tools.0: Input tag 'function' found using 'type'"),
    (tool(name="a b"), "tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'"),
    (tool(name="x" * 129), "tools.0.custom.name: String should match pattern"),
    (tool(parameters={}), "tools.0.custom.parameters: Extra inputs are not permitted"),
    (tool(input_schema={"properties": {}}), "tools.0.custom.input_schema.type: Field required"),
    (tool(input_schema={"type": "string"}), "tools.0.custom.input_schema.type: Input should be 'object'"),
    (tool(input_schema={"type": "object", "anyOf": [{}]}), "does not support oneOf, allOf, or anyOf at the top level"),
    (tool(input_schema={"type": "object", "properties": {"a": {"type": "int"}}}), "JSON schema is invalid."),
    (tool(strict=True), "tools.0.custom: For 'object' type, 'additionalProperties' must be explicitly set to false"),
    ({"tools": [ADD, ADD]}, "tools: Tool names must be unique."),
    ({"tool_choice": {"type": "auto"}}, "tool_choice may only be specified while providing tools."),
    (turns("a", tool_choice="auto"), "tool_choice: Input should be a valid dictionary"),
    (turns("a", tool_choice={"type": "required"}), "tool_choice: Input tag 'required' found using 'type'"),
    (turns("a", tool_choice={"type": "tool", "name": "sub"}), "Tool 'sub' not found in provided tools"),
    (
        turns("a", tool_choice={"type": "none", "disable_parallel_tool_use": True}),
        "tool_choice.none.disable_parallel_tool_use: Extra inputs are not permitted",
    ),
    (
        turns("a", model="claude-opus-5-5", tool_choice={"type": "any"}),
        'tool_choice: type "tool" and "any" are not supported for this model.',
    ),
    (said(text(cache_control={"type": "forever"})), "cache_control.type: Input should be 'ephemeral'"),
    (said(text(cache_control={"type": "ephemeral", "ttl": "2h"})), "cache_control.ttl: Input should be '5m' or '1h'"),
    (said(*[text(**EPHEMERAL)] * 5), "A maximum of 4 blocks with cache_control may be provided. Found 5."),
    (said(text(**EPHEMERAL), text(**LONG)), "a ttl='1h' cache_control block must not come after a ttl='5m'"),
    ({"thinking": {"type": "enabled", "budget_tokens": 1023}}, "greater than or equal to 1024"),
    ({**THINKING, "max_tokens": 1024}, "`max_tokens` must be greater than `thinking.budget_tokens`."),
    ({"thinking": {"type": "adaptive"}}, "adaptive thinking is not supported on this model"),
    ({**THINKING, "model": "claude-opus-4-7"}, '"thinking.type.enabled" is not supported for this model.'),
    ({**THINKING, "temperature": 0}, "`temperature` may only be set to 1 when thinking is enabled."),
    ({**THINKING, "top_p": 0.9}, "`top_p` must be greater than or equal to 0.95"),
    ({**THINKING, "top_k": 5}, "`top_k` must be unset when thinking is enabled."),
    ({**THINKING, **turns("a", tool_choice={"type": "any"})}, "Thinking may not be enabled when tool_choice forces"),
    ({**THINKING, **turns("a", [CALL], [RESULT])}, "Expected `thinking` or `redacted_thinking`, but found `tool_use`."),
    ({"output_config": {"effort": "low"}}, "This model does not support the effort parameter."),
    ({"output_format": {"type": "json_schema", "schema": CLOSED}}, "output_format: Extra inputs are not permitted"),
    (formatted(ADD["input_schema"]), "output_config.format.schema: For 'object' type, 'additionalProperties' must be"),
    (formatted(closed(a={"type": "integer", "minimum": 1})), "For 'integer' type, property 'minimum' is not supported"),
    (formatted(closed(a={"type": "array", "minItems": 2})), "'minItems' values other than 0 or 1 are not supported"),
    (formatted(closed(a={"oneOf": [{"type": "null"}]})), "Schema type 'oneOf' is not supported"),
    (formatted(LOOP), "Circular reference detected in schema definitions"),
]


@pytest.mark.parametrize(("fields", "message"), REFUSED, ids=lambda value: str(value)[:60])
def test_refused(double: FakeAnthropic, fields: dict[str, Any], message: str) -> None:
    response = post(double, ask(**fields))
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert message in error["message"]


@pytest.mark.parametrize("name", ["model", "messages", "max_tokens"])
def test_missing_fields(double: FakeAnthropic, name: str) -> None:
    body = {key: value for key, value in ask().items() if key != name}
    assert post(double, body).json()["error"]["message"] == f"{name}: Field required"


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 1, "top_k": 5, "stop_sequences": ["x"], "metadata": {"user_id": "u"}, "service_tier": "auto"},
        {"system": [text(**LONG)], "tools": [{**ADD, **LONG}], **EPHEMERAL},
        {"messages": [USER, USER]},
        {"messages": [USER, {"role": "system", "content": "a"}], "model": "claude-opus-4-8"},
        turns("a", "b"),
        turns("a", "", tools=[]),
        said(IMAGE, DOCUMENT, source("image", type="url", url="https://x/a.png")),
        said(source("document", type="text", media_type="text/plain", data="a") | {"citations": {"enabled": True}}),
        said(source("document", type="content", content=[text(), IMAGE]) | {"title": "t", "context": "c"}),
        said({"type": "search_result", "source": "s", "title": "t", "content": [text()]}),
        turns("a", [text(), CALL], [{**RESULT, "content": [text(), IMAGE, DOCUMENT]}, text()]),
        turns("a", [CALL], [{"type": "tool_result", "tool_use_id": "toolu_1"}]),
        turns("a", [CALL], [{**RESULT, "is_error": True, **EPHEMERAL}]),
        {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 3}, ADD]},
        tool(strict=True, input_schema=CLOSED, type="custom", eager_input_streaming=True),
        formatted(closed(a={"$ref": "#/$defs/b"}) | {"$defs": {"b": {"type": "string", "format": "date"}}}),
        {**THINKING, "temperature": 1, **turns("a", [CALL], [RESULT], "b", "c")},
        {"model": "claude-sonnet-5", "thinking": {"type": "adaptive"}, **turns("a", [CALL], [RESULT])},
        {"model": "claude-opus-4-6", "thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}},
    ],
)
def test_accepted(double: FakeAnthropic, fields: dict[str, Any]) -> None:
    response = post(double, ask(**fields))
    assert response.status_code == 200, response.text


def test_uploaded_files_need_their_beta(double: FakeAnthropic) -> None:
    headers = {**HEADERS, "anthropic-beta": "files-api-2025-04-14"}
    fields = said(source("image", type="file", file_id="f"), source("document", type="file", file_id="f"))
    assert post(double, ask(**fields), headers=headers).status_code == 200


def complete(double: FakeAnthropic, messages: Any, **fields: Any) -> Any:
    """litellm's answer; without its handler for MCP, which needs a package of its own."""
    where = {"api_base": double.url, "api_key": "sk-ant-test", "max_retries": 0}
    return litellm.completion(f"anthropic/{MODEL}", messages, **where, _skip_mcp_handler=True, **fields)


def test_litellm_plain(double: FakeAnthropic) -> None:
    answer = complete(double, [{"role": "system", "content": "Be brief"}, USER])
    assert answer.choices[0].message.content == "Echo: hello big world"
    assert (answer.choices[0].finish_reason, answer.usage.total_tokens) == ("stop", 9)
    assert double.last.body["system"] == [text("Be brief")]


def test_litellm_stream(double: FakeAnthropic) -> None:
    chunks = list(complete(double, [USER], stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Echo: hello big world"
    assert chunks[-1].usage.completion_tokens == 4


@pytest.mark.parametrize("stream", [False, True])
def test_litellm_tools_and_thinking(double: FakeAnthropic, stream: bool) -> None:
    function = {"name": "add", "description": "Sums integers.", "parameters": ADD["input_schema"]}
    fields = {**THINKING, "tools": [{"type": "function", "function": function}], "stream": stream}
    asked: list[Any] = [{"role": "user", "content": "add 1 2"}]
    answer = complete(double, asked, **fields)
    message = (litellm.stream_chunk_builder(list(answer)) if stream else answer).choices[0].message
    assert json.loads(message.tool_calls[0].function.arguments) == {"a": 1, "b": 2}
    assert message.reasoning_content == "The user says: add 1 2"
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "3"}
    after = complete(double, [*asked, message.model_dump(), result], **{**fields, "stream": False})
    assert after.choices[0].message.content == "The result is: 3"
