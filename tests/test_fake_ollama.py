"""The Ollama double: what it answers, streams and refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest

from tests.fake_ollama import MODELS, FakeOllama, Reply, ToolCall

Json = dict[str, Any]
HELLO: Json = {"model": "llama3.2", "messages": [{"role": "user", "content": "hello there"}], "stream": False}
WEATHER: Json = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture(scope="module")
def _double() -> Iterator[FakeOllama]:
    with FakeOllama() as double:
        yield double


@pytest.fixture
def upstream(_double: FakeOllama) -> FakeOllama:
    _double.reset()
    return _double


@pytest.fixture
def client(upstream: FakeOllama) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=upstream.url, trust_env=False, timeout=10) as client:
        yield client


def lines(client: httpx.Client, body: Json) -> list[Json]:
    """The objects of a streamed answer."""
    answer = client.post("/api/chat", json={**body, "stream": True})
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [orjson.loads(line) for line in answer.text.splitlines()]


def test_an_answer_is_whole_or_a_stream_of_objects(client: httpx.Client) -> None:
    whole = client.post("/api/chat", json=HELLO).json()
    assert whole["message"] == {"role": "assistant", "content": "Echo: hello there"}
    assert (whole["done"], whole["done_reason"], whole["prompt_eval_count"], whole["eval_count"]) == (
        True,
        "stop",
        2,
        3,
    )
    *pieces, last = lines(client, HELLO)
    assert [piece["message"]["content"] for piece in pieces] == ["Echo:", " hello", " there"]
    assert {piece["done"] for piece in pieces} == {False}
    assert (last["message"]["content"], last["done"], last["eval_count"]) == ("", True, 3)


def test_it_streams_unless_told_not_to(client: httpx.Client) -> None:
    answer = client.post("/api/chat", json={name: value for name, value in HELLO.items() if name != "stream"})
    assert answer.headers["content-type"] == "application/x-ndjson"


@pytest.mark.parametrize("at_end", [False, True])
def test_calls_come_one_by_one_or_at_the_end(upstream: FakeOllama, client: httpx.Client, at_end: bool) -> None:
    calls = [ToolCall("get_weather", {"city": city}) for city in ("Oslo", "Rome")]
    upstream.enqueue(Reply(tool_calls=calls, calls_at_end=at_end))
    counts = [len(line["message"].get("tool_calls", ())) for line in lines(client, {**HELLO, "tools": [WEATHER]})]
    assert counts == ([2] if at_end else [1, 1, 0])


def test_the_obedient_model_calls_and_reads_the_result(client: httpx.Client) -> None:
    body: Json = {**HELLO, "messages": [{"role": "user", "content": "The weather in Oslo?"}], "tools": [WEATHER]}
    message = client.post("/api/chat", json=body).json()["message"]
    (call,) = message["tool_calls"]
    assert call["function"] == {"index": 0, "name": "get_weather", "arguments": {"city": "Oslo"}}
    body["messages"] += [message, {"role": "tool", "content": "4 degrees", "tool_name": "get_weather"}]
    assert client.post("/api/chat", json=body).json()["message"]["content"] == "The result is: 4 degrees"


def test_a_model_thinks_unless_told_not_to_and_sees_if_it_can(client: httpx.Client) -> None:
    image = [{"role": "user", "content": "look", "images": ["iVBORw0KGgo="]}]
    able = client.post("/api/chat", json={**HELLO, "model": "qwen3-vl", "messages": image}).json()["message"]
    assert (able["thinking"], able["content"]) == ("The user says: look [image]", "Echo: look [image]")
    told = {**HELLO, "model": "qwen3-vl", "messages": image, "think": False}
    assert "thinking" not in client.post("/api/chat", json=told).json()["message"]
    assert client.post("/api/chat", json={**HELLO, "messages": image}).json()["message"]["content"] == "Echo: look"


def test_options_and_formats(client: httpx.Client) -> None:
    limited = client.post("/api/chat", json={**HELLO, "options": {"num_predict": 2, "unknown": 1}}).json()
    assert (limited["message"]["content"], limited["done_reason"]) == ("Echo: hello", "length")
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    formed = client.post("/api/chat", json={**HELLO, "format": schema}).json()
    assert orjson.loads(formed["message"]["content"]) == {"n": 1}


def test_no_messages_load_the_model(client: httpx.Client) -> None:
    assert client.post("/api/chat", json={**HELLO, "messages": []}).json()["done_reason"] == "load"


def test_embeddings_depend_on_the_text_alone(client: httpx.Client) -> None:
    body = {"model": "nomic-embed-text", "input": ["a b", "c"]}
    both = client.post("/api/embed", json=body).json()
    assert ([len(vector) for vector in both["embeddings"]], both["prompt_eval_count"]) == ([8, 8], 3)
    one = client.post("/api/embed", json={**body, "input": "c", "dimensions": 4}).json()
    assert len(one["embeddings"][0]) == 4
    assert client.post("/api/embed", json={**body, "input": "c"}).json()["embeddings"] == both["embeddings"][1:]


def test_questions_about_models_take_no_scripted_reply(upstream: FakeOllama, client: httpx.Client) -> None:
    upstream.enqueue(Reply(text="scripted"))
    tags = client.get("/api/tags").json()["models"]
    assert [model["name"] for model in tags] == [f"{name}:latest" for name in MODELS]
    assert "tools" in client.post("/api/show", json={"model": "llama3.2"}).json()["capabilities"]
    assert client.get("/api/version").json()["version"]
    assert ([request.path for request in upstream.lookups], upstream.requests) == (
        ["/api/tags", "/api/show", "/api/version"],
        [],
    )
    assert client.post("/api/chat", json=HELLO).json()["message"]["content"] == "scripted"


def test_one_that_wants_a_key_takes_no_other() -> None:
    with FakeOllama("the-key") as upstream, httpx.Client(base_url=upstream.url, trust_env=False) as client:
        for headers in ({}, {"authorization": "Bearer other"}):
            answer = client.post("/api/chat", json=HELLO, headers=headers)
            assert (answer.status_code, answer.json()) == (401, {"error": "unauthorized"})
        assert client.post("/api/chat", json=HELLO, headers={"authorization": "Bearer the-key"}).status_code == 200


CALL = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}
REFUSED: list[tuple[str, Json, int, str]] = [
    ("chat", {"messages": []}, 400, "model is required"),
    ("chat", {**HELLO, "model": "nobody"}, 404, "model 'nobody' not found"),
    ("chat", {**HELLO, "model": "nomic-embed-text"}, 400, '"nomic-embed-text" does not support chat'),
    ("chat", {**HELLO, "think": True}, 400, '"llama3.2" does not support thinking'),
    ("chat", {**HELLO, "model": "qwen3", "think": "much"}, 400, 'invalid think value: "much"'),
    ("chat", {**HELLO, "model": "gemma3", "tools": [WEATHER]}, 400, "gemma3:latest does not support tools"),
    ("chat", {**HELLO, "messages": "hi"}, 400, "cannot unmarshal string into Go struct field ChatRequest.messages"),
    ("chat", {**HELLO, "messages": [{"content": []}]}, 400, "array into Go struct field ChatRequest.messages.content"),
    ("chat", {**HELLO, "messages": [CALL]}, 400, "tool_calls.function.arguments of type api.ToolCallFunctionArguments"),
    ("chat", {**HELLO, "messages": [{"images": ["data:image/png;base64,aGk="]}]}, 400, "base64 data at input byte 4"),
    ("chat", {**HELLO, "options": {"stop": "x"}}, 500, 'option "stop" must be of type array'),
    ("chat", {**HELLO, "options": {"temperature": "hot"}}, 500, 'option "temperature" must be of type float32'),
    ("chat", {**HELLO, "format": "yaml"}, 500, "invalid format"),
    ("embed", {"model": "nobody", "input": "x"}, 404, 'model "nobody" not found, try pulling it first'),
    ("embed", {"model": "nomic-embed-text", "input": [[1, 2]]}, 400, "invalid input type"),
    ("show", {"model": "nobody"}, 404, "model 'nobody' not found"),
    ("generate", {}, 404, "page not found"),
]


@pytest.mark.parametrize(("path", "body", "status", "message"), REFUSED)
def test_what_ollama_refuses(client: httpx.Client, path: str, body: Json, status: int, message: str) -> None:
    answer = client.post(f"/api/{path}", json=body)
    assert answer.status_code == status
    assert answer.json().keys() == {"error"}
    assert message in answer.json()["error"]


def test_a_failure_in_mid_stream_is_a_line(upstream: FakeOllama, client: httpx.Client) -> None:
    upstream.enqueue(Reply(text="a b c", cut_after=1, error_event={"message": "out of memory"}))
    assert lines(client, HELLO)[1:] == [{"error": "out of memory"}]


def test_it_speaks_openais_format_too(client: httpx.Client, upstream: FakeOllama) -> None:
    answer = client.post("/v1/chat/completions", json={**HELLO, "tools": [WEATHER]}).json()
    assert (answer["object"], answer["choices"][0]["message"]["content"]) == ("chat.completion", "Echo: hello there")
    upstream.enqueue(Reply(text="a b", thinking="why", tool_calls=[ToolCall("get_weather", {"city": "Oslo"}, "x")]))
    options = {"include_usage": True}
    told = client.post("/v1/chat/completions", json={**HELLO, "stream": True, "stream_options": options})
    *lines, last = [line.removeprefix("data: ") for line in told.text.splitlines() if line]
    chunks = [orjson.loads(line) for line in lines]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert (last, chunks[-1]["choices"], chunks[-2]["choices"][0]["finish_reason"]) == ("[DONE]", [], "tool_calls")
    assert "".join(delta["content"] for delta in deltas) == "a b"
    assert "".join(delta.get("reasoning", "") for delta in deltas) == "why"
    assert [call["id"] for delta in deltas for call in delta.get("tool_calls", ())] == ["x"]
    vectors = client.post("/v1/embeddings", json={"model": "nomic-embed-text", "input": ["one", "two"]}).json()
    assert [len(one["embedding"]) for one in vectors["data"]] == [8, 8]


@pytest.mark.parametrize(
    ("fields", "status", "kind"),
    [
        ({"model": "missing"}, 404, "not_found_error"),
        ({"reasoning_effort": "minimal"}, 400, "invalid_request_error"),
        ({"messages": [{"role": "user", "content": None}]}, 400, "invalid_request_error"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x"}}]}]},
            400,
            "invalid_request_error",
        ),
    ],
)
def test_what_it_refuses_in_openais_format(client: httpx.Client, fields: Json, status: int, kind: str) -> None:
    answer = client.post("/v1/chat/completions", json={**HELLO, **fields})
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)
