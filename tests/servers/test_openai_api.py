"""The OpenAI-compatible endpoint, asked by other people's clients over a socket."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.conftest import Server
from tests.fake_openai import FakeOpenAI, Reply, ToolCall

MODEL = "local/smollm2-135m-instruct"
FRANCE: list[Any] = [{"role": "user", "content": "What is the capital of France?"}]
HELLO: list[Any] = [{"role": "user", "content": "hello"}]


@pytest.fixture
def client(server: Server) -> OpenAI:
    return OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0)


@pytest.fixture
def http(server: Server) -> httpx.Client:
    with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client:
        yield client


@pytest.mark.parametrize("prefix", ["/v1", "/api/v1/litellm/v1"])
async def test_the_official_client_in_all_four_forms(server: Server, prefix: str) -> None:
    options: dict[str, Any] = {"model": MODEL, "messages": FRANCE, "temperature": 0}
    with OpenAI(base_url=server.url + prefix, api_key="any") as client:
        whole = client.chat.completions.create(**options).choices[0].message.content
        pieces = [
            chunk.choices[0].delta.content or ""
            for chunk in client.chat.completions.create(**options, stream=True)
            if chunk.choices
        ]
    async with AsyncOpenAI(base_url=server.url + prefix, api_key="any") as aclient:
        answer = await aclient.chat.completions.create(**options)
        stream = await aclient.chat.completions.create(**options, stream=True)
        apieces = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
    assert "Paris" in whole
    assert len(pieces) > 3
    assert whole == "".join(pieces) == answer.choices[0].message.content == "".join(apieces)


def test_usage_is_streamed_only_when_asked(client: OpenAI) -> None:
    options: dict[str, Any] = {"model": MODEL, "messages": HELLO, "max_tokens": 3, "stream": True}
    without = list(client.chat.completions.create(**options))
    asked = list(client.chat.completions.create(**options, stream_options={"include_usage": True}))
    assert all(chunk.usage is None and chunk.choices for chunk in without)
    assert asked[-1].choices == []
    assert asked[-1].usage is not None
    assert asked[-1].usage.completion_tokens > 0


def test_server_sent_events_on_the_wire(http: httpx.Client) -> None:
    body = {"model": MODEL, "messages": HELLO, "max_tokens": 3, "stream": True}
    with http.stream("POST", "/v1/chat/completions", json=body) as response:
        lines = [line for line in response.iter_lines() if line]
    assert response.headers["content-type"].startswith("text/event-stream")
    assert lines[-1] == "data: [DONE]"
    assert all(line.startswith("data: ") for line in lines)
    first = json.loads(lines[0].removeprefix("data: "))
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}


def test_tools_and_parsing_on_the_embedded_model(client: OpenAI) -> None:
    parameters = {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]}
    function: Any = {"name": "get_weather", "description": "Get the current weather", "parameters": parameters}
    answer = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "What's the weather in Tokyo?"}],
        tools=[{"type": "function", "function": function}],
        tool_choice="required",
    )
    (call,) = answer.choices[0].message.tool_calls or []
    assert json.loads(call.function.arguments) == {"location": "Tokyo"}  # type: ignore[union-attr]


def test_embeddings_by_the_official_client(client: OpenAI) -> None:
    # The client asks for base64 and decodes it.
    answer = client.embeddings.create(model="local/all-minilm-l6-v2", input=["a cat", "a dog"])
    assert [len(item.embedding) for item in answer.data] == [384, 384]
    plain = client.embeddings.create(model="local/all-minilm-l6-v2", input="a cat", encoding_format="float")
    assert plain.data[0].embedding == pytest.approx(answer.data[0].embedding, abs=1e-3)
    assert answer.usage.prompt_tokens > 0


def test_models_are_listed_and_described(client: OpenAI) -> None:
    listed = [model.id for model in client.models.list()]
    assert listed[:2] == ["local/all-minilm-l6-v2", MODEL]
    assert "openai/gpt-4o" in listed
    assert client.models.retrieve(MODEL).owned_by == "local"
    with pytest.raises(openai.NotFoundError, match="GET /v1/models lists"):
        client.models.retrieve("openai/nothing")


async def test_a_providers_model_passes_through(client: OpenAI, upstream: FakeOpenAI) -> None:
    calls = [ToolCall("a", "{}", "c1"), ToolCall("b", '{"x": 1}', "c2")]
    upstream.enqueue(Reply(tool_calls=calls), Reply(tool_calls=calls))
    fields: dict[str, Any] = {"model": "openai/gpt-4o", "messages": HELLO, "temperature": 0.1, "user": "me"}
    tools: Any = [{"type": "function", "function": {"name": name}} for name in "ab"]
    answer = client.chat.completions.create(**fields, tools=tools)
    assert [call.id for call in answer.choices[0].message.tool_calls or []] == ["c1", "c2"]
    assert (upstream.last.body["temperature"], upstream.last.body["user"]) == (0.1, "me")
    with client.chat.completions.stream(**fields, tools=tools) as stream:
        message = stream.get_final_completion().choices[0].message
    assert [call.function.arguments for call in message.tool_calls or []] == ["{}", '{"x": 1}']
    vectors = client.embeddings.create(model="openai/text-embedding-3-small", input="x", dimensions=4)
    assert len(vectors.data[0].embedding) == 4


@pytest.mark.parametrize(
    ("reply", "kind", "code"),
    [
        (Reply(status=401), openai.AuthenticationError, "invalid_api_key"),
        (Reply(status=404), openai.NotFoundError, "model_not_found"),
        (Reply(status=429, headers={"retry-after": "3600"}), openai.RateLimitError, "rate_limit_exceeded"),
    ],
)
def test_the_providers_errors_have_openais_shape(
    client: OpenAI, upstream: FakeOpenAI, reply: Reply, kind: type[openai.APIStatusError], code: str
) -> None:
    upstream.enqueue(reply, reply)
    for stream in (False, True):
        with pytest.raises(kind) as error:
            client.chat.completions.create(model="openai/gpt-4o", messages=HELLO, stream=stream)
        assert error.value.code == code
        assert error.value.response.headers.get("retry-after") == reply.headers.get("retry-after")


def test_a_long_wait_is_told_in_whole_seconds(http: httpx.Client, upstream: FakeOpenAI) -> None:
    for given, told in (("1800000", "1800000"), ("40.2", "41")):
        upstream.enqueue(Reply(status=429, headers={"retry-after": given}))
        answer = http.post("/v1/chat/completions", json={"model": "openai/gpt-4o", "messages": HELLO})
        assert (answer.status_code, answer.headers["retry-after"]) == (429, told)


def test_a_stream_that_breaks_says_so_in_the_stream(http: httpx.Client, upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(content="a b c d e f", cut_after=4))
    body = {"model": "openai/gpt-4o", "messages": HELLO, "stream": True}
    response = http.post("/v1/chat/completions", json=body)
    *_, error, done = [line for line in response.text.splitlines() if line]
    assert json.loads(error.removeprefix("data: "))["error"]["type"] == "api_connection_error"
    assert done == "data: [DONE]"


LOCAL: dict[str, Any] = {"model": MODEL, "messages": HELLO}
CASES: list[tuple[Any, int, str | None, str]] = [
    (b'{"model":', 400, None, "not valid JSON"),
    (b"", 400, None, "not valid JSON"),
    (b"\xff\xfe", 400, None, "not valid JSON"),
    (b"[]", 400, None, "The body"),
    ({"messages": HELLO}, 400, "model", "Missing required parameter: model"),
    ({"model": MODEL}, 400, "messages", "Missing required parameter: messages"),
    ({**LOCAL, "messages": []}, 400, "messages", "at least 1 item"),
    ({**LOCAL, "messages": "hello"}, 400, "messages", "valid list"),
    ({**LOCAL, "messages": [{"role": "robot", "content": "x"}]}, 400, "messages[0].role", "expected one of"),
    ({**LOCAL, "messages": [{"content": "x"}]}, 400, "messages[0].role", "expected one of"),
    ({**LOCAL, "messages": [{"role": "user", "content": 5}]}, 400, "messages[0].content", "text or a list"),
    ({**LOCAL, "model": "nobody/x"}, 404, "model", "Unknown provider 'nobody'"),
    ({**LOCAL, "model": "local/x"}, 404, "model", "no local chat model 'x'"),
    ({**LOCAL, "model": "azure/../../x"}, 404, "model", "Not a model name"),
    ({**LOCAL, "model": 5}, 400, "model", "string"),
    ({**LOCAL, "model": "anthropic/claude-3-opus"}, 401, None, "set ANTHROPIC_API_KEY"),
    ({**LOCAL, "model": "ollama/llama3.2"}, 502, None, "Ollama does not answer at http://127.0.0.1:9"),
    ({**LOCAL, "temperature": 3}, 400, "temperature", "less than or equal to 2"),
    ({**LOCAL, "temperature": "hot"}, 400, "temperature", "valid"),
    ({**LOCAL, "max_tokens": 0}, 400, "max_tokens", "greater than or equal to 1"),
    ({**LOCAL, "n": 1000}, 400, "n", "less than or equal to 128"),
    ({**LOCAL, "stream": {}}, 400, "stream", "boolean"),
    ({**LOCAL, "temprature": 1}, 400, "temprature", "did you mean 'temperature'"),
    ({**LOCAL, "api_base": "http://evil"}, 400, "api_base", "Unrecognized request argument"),
    ({**LOCAL, "extra_headers": {"a": "b"}}, 400, "extra_headers", "Unrecognized request argument"),
    ({**LOCAL, "user": "x" * 1_100_000}, 413, None, "larger than 1 MB"),
]


@pytest.mark.parametrize(("body", "status", "param", "message"), CASES)
def test_bad_requests(http: httpx.Client, body: Any, status: int, param: str | None, message: str) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = http.post("/v1/chat/completions", content=content, headers={"content-type": "application/json"})
    _assert_error(response, status, param, message)


def test_other_bad_requests(http: httpx.Client) -> None:
    _assert_error(http.post("/v1/chat/completions", content=b"{}"), 415, None, "application/json")
    _assert_error(http.get("/v1/nothing"), 404, None, "No such path: /v1/nothing")
    _assert_error(http.get("/v1/chat/completions"), 405, None, "does not take GET")
    embedding = {"model": "local/all-minilm-l6-v2", "input": ["a", ""]}
    _assert_error(http.post("/v1/embeddings", json=embedding), 400, "input[1]", "not empty")
    _assert_error(http.post("/v1/embeddings", json={**embedding, "input": []}), 400, "input", "at least 1")
    chat_model = {"model": MODEL, "input": "a"}
    _assert_error(http.post("/v1/embeddings", json=chat_model), 404, "model", "no local embedding model")


def _assert_error(response: httpx.Response, status: int, param: str | None, message: str) -> None:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["param"] == param
    assert message in error["message"]
    assert "\n" not in error["message"]
    assert "Traceback" not in response.text


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_ends_the_upstream_call(server: Server, upstream: FakeOpenAI, stream: bool) -> None:
    upstream.enqueue(Reply(content="word " * 400, chunk_delay=0.02) if stream else Reply(hang=True))
    left = upstream.disconnects
    body = {"model": "openai/gpt-4o", "messages": HELLO, "stream": stream}
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        task = asyncio.create_task(_read(client, f"{server.url}/v1/chat/completions", body))
        while not upstream.requests:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        task.cancel()
        begin = time.monotonic()
        while upstream.disconnects == left:
            await asyncio.sleep(0.01)
            assert time.monotonic() - begin < 5, "the upstream call goes on"


async def _read(client: httpx.AsyncClient, url: str, body: dict[str, Any]) -> None:
    async with client.stream("POST", url, json=body, timeout=60) as response:
        async for _ in response.aiter_bytes():
            pass


async def test_many_calls_at_once_are_all_answered(server: Server, upstream: FakeOpenAI) -> None:
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any") as client:
        remote = [
            client.chat.completions.create(
                model="openai/gpt-4o", messages=[{"role": "user", "content": f"call {index}"}]
            )
            for index in range(20)
        ]
        local = [client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=3) for _ in range(6)]
        answers = await asyncio.gather(*remote, *local)
    assert [answer.choices[0].message.content for answer in answers[:20]] == [f"Echo: call {i}" for i in range(20)]
    assert all(answer.choices[0].message.content for answer in answers[20:])
