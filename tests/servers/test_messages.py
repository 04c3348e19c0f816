"""Anthropic's endpoint, asked by its official client over a socket; the models are others."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import pytest
from anthropic import Anthropic, AsyncAnthropic
from anthropic.types import Message

from tests.conftest import Server
from tests.fake_openai import FakeOpenAI, Reply, ToolCall

Json = dict[str, Any]
GPT, LOCAL = "openai/gpt-4o", "local/smollm2-135m-instruct"
HELLO: list[Any] = [{"role": "user", "content": "hello"}]
ASK: Json = {"model": GPT, "max_tokens": 100, "messages": HELLO}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABh6FO1AAAAABJRU5ErkJggg=="
LOOK: Json = {
    "name": "look",
    "description": "Look at a place",
    "input_schema": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
}


@pytest.fixture
def client(server: Server, upstream: FakeOpenAI) -> Iterator[Anthropic]:
    with Anthropic(base_url=server.url, api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
def http(server: Server, upstream: FakeOpenAI) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client:
        yield client


async def test_the_official_client_in_all_its_forms(server: Server, client: Anthropic) -> None:
    whole = client.messages.create(**ASK)
    assert Message.model_validate(whole.model_dump(), strict=True).content[0].text == "Echo: hello"  # type: ignore[union-attr]
    assert (whole.stop_reason, whole.usage.input_tokens, whole.usage.output_tokens) == ("end_turn", 1, 2)
    assert whole.id.startswith("msg_")
    assert str(whole._request_id).startswith("req_")
    events = list(client.messages.create(**ASK, stream=True))
    assert [event.type for event in events][:2] == ["message_start", "content_block_start"]
    with client.messages.stream(**ASK) as stream:
        assert "".join(stream.text_stream) == "Echo: hello"
        assert stream.get_final_message().usage.input_tokens == 1
    async with AsyncAnthropic(base_url=f"{server.url}/api/v1/litellm", api_key="any") as aclient:
        answer = await aclient.messages.create(**ASK)
        async with aclient.messages.stream(**ASK) as astream:
            final = await astream.get_final_message()
    assert answer.content == whole.content
    assert [block.to_dict() for block in final.content] == [{"type": "text", "text": "Echo: hello"}]


def test_headers_of_answers(client: Anthropic) -> None:
    response = client.messages.with_raw_response.create(**ASK, extra_headers={"x-request-id": "mine-1"})
    assert response.headers["request-id"] == response.headers["x-request-id"] == "mine-1"
    assert response.headers["x-las-model"] == GPT
    assert float(response.headers["x-las-cost"]) > 0


def test_the_embedded_model(client: Anthropic) -> None:
    france: list[Any] = [{"role": "user", "content": [{"type": "text", "text": "What is the capital of France?"}]}]
    fields: Json = {"model": LOCAL, "max_tokens": 20, "messages": france, "system": "Be brief."}
    with client.messages.stream(**fields, extra_body={"temperature": 0}) as stream:
        final = stream.get_final_message()
    assert "Paris" in final.content[0].text  # type: ignore[union-attr]
    assert final.usage.output_tokens > 0


@pytest.mark.parametrize("streams", [False, True])
def test_a_round_of_tools(client: Anthropic, upstream: FakeOpenAI, streams: bool) -> None:
    calls = [ToolCall("look", {"place": "Rome"}, "call_1"), ToolCall("look", {}, "call_2")]
    upstream.enqueue(Reply(content="I look.", reasoning="hm ho", tool_calls=calls))
    fields: Json = {**ASK, "tools": [LOOK], "tool_choice": {"type": "any", "disable_parallel_tool_use": True}}
    if streams:
        with client.messages.stream(**fields) as stream:
            answer: Message = stream.get_final_message()
    else:
        answer = client.messages.create(**fields)
    assert [block.type for block in answer.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert answer.content[2].to_dict() == {
        "type": "tool_use",
        "id": "call_1",
        "name": "look",
        "input": {"place": "Rome"},
    }
    assert answer.stop_reason == "tool_use"
    sent = upstream.last.body
    assert (sent["tool_choice"], sent["parallel_tool_calls"]) == ("required", False)
    results = [
        {"type": "tool_result", "tool_use_id": "call_1", "content": [{"type": "text", "text": "sun"}]},
        {"type": "tool_result", "tool_use_id": "call_2", "content": "nowhere", "is_error": True},
    ]
    # As clients do it: with the thoughts, which this provider must not see.
    history: list[Any] = [
        *HELLO,
        {"role": "assistant", "content": [block.to_dict() for block in answer.content]},
        {"role": "user", "content": [*results, {"type": "text", "text": "go on"}]},
    ]
    assert client.messages.create(**{**fields, "messages": history, "tool_choice": {"type": "auto"}}).content
    roles = [(message["role"], message["content"]) for message in upstream.last.body["messages"]]
    assert roles == [
        ("user", "hello"),
        ("assistant", "I look."),
        ("tool", "sun"),
        ("tool", "Error: nowhere"),
        ("user", "go on"),
    ]


def test_pictures_and_structured_answers(client: Anthropic, upstream: FakeOpenAI) -> None:
    picture: Json = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}},
        "required": ["name"],
        "additionalProperties": False,
    }
    answer = client.messages.create(
        **{**ASK, "messages": [{"role": "user", "content": [{"type": "text", "text": "'Bob'"}, picture]}]},
        output_config={"format": {"type": "json_schema", "schema": schema}},
    )
    assert json.loads(answer.content[0].text) == {"name": "Bob"}  # type: ignore[union-attr]
    sent = upstream.last.body["messages"][0]["content"]
    assert sent[1] == {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(content="a b", finish_reason="length"), "max_tokens"),
        (Reply(refusal="I will not"), "refusal"),
        (Reply(content="", finish_reason="content_filter"), "refusal"),
    ],
)
def test_why_answers_end(client: Anthropic, upstream: FakeOpenAI, reply: Reply, expected: str) -> None:
    upstream.enqueue(reply, reply)
    assert client.messages.create(**ASK).stop_reason == expected
    with client.messages.stream(**ASK) as stream:
        final = stream.get_final_message()
    assert final.stop_reason == expected
    if reply.refusal:
        assert final.content[0].text == "I will not"  # type: ignore[union-attr]


def test_events_on_the_wire(http: httpx.Client) -> None:
    with http.stream("POST", "/v1/messages?beta=true", json={**ASK, "stream": True}) as response:
        lines = [line for line in response.iter_lines() if line]
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["request-id"]
    names, data = lines[::2], [json.loads(line.removeprefix("data: ")) for line in lines[1::2]]
    assert names == [f"event: {event['type']}" for event in data]
    kinds = [event["type"] for event in data]
    assert kinds == [
        "message_start", "ping", "content_block_start", "content_block_delta", "content_block_delta",
        "content_block_stop", "message_delta", "message_stop",
    ]  # fmt: skip
    assert data[-2]["usage"]["input_tokens"] == 1
    assert data[-2]["usage"]["cost"] > 0


# Counting


@pytest.mark.parametrize("model", [GPT, LOCAL, "gpt-4o", "groq/a-model-without-a-key"])
def test_tokens_are_counted_without_a_call(client: Anthropic, upstream: FakeOpenAI, model: str) -> None:
    count = client.messages.count_tokens(model=model, messages=HELLO).input_tokens
    assert 1 <= count < 40
    more = client.messages.count_tokens(model=model, messages=HELLO, system="Be brief and polite.", tools=[LOOK])  # type: ignore[list-item]
    assert count + 10 < more.input_tokens < count + 200
    assert upstream.requests == []


def test_tokens_of_everything_that_there_is(client: Anthropic) -> None:
    use = {"type": "tool_use", "id": "t", "name": "look", "input": {"place": "Rome"}}
    thinking = {"type": "thinking", "thinking": "hm", "signature": "s"}
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0x"}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "sun"}, image]}
    history: list[Any] = [
        {"role": "user", "content": [{"type": "text", "text": "hi"}, image, pdf]},
        {"role": "assistant", "content": [thinking, use]},
        {"role": "user", "content": [result]},
    ]
    bash: Any = {"type": "bash_20250124", "name": "bash"}
    for model, tools in ((GPT, [LOOK]), ("anthropic/claude-sonnet-4-5", [LOOK, bash])):
        assert client.messages.count_tokens(model=model, messages=history, tools=tools).input_tokens > 10


# What goes wrong


@pytest.mark.parametrize(
    ("reply", "kind", "told"),
    [
        (Reply(status=400), anthropic.BadRequestError, "invalid_request_error"),
        (Reply(status=401), anthropic.AuthenticationError, "authentication_error"),
        (Reply(status=403), anthropic.PermissionDeniedError, "permission_error"),
        (Reply(status=404), anthropic.NotFoundError, "not_found_error"),
        (Reply(status=429, headers={"retry-after": "3600"}), anthropic.RateLimitError, "rate_limit_error"),
        (Reply(status=500, headers={"retry-after": "3600"}), anthropic.InternalServerError, "api_error"),
        (Reply(status=503, headers={"retry-after": "3600"}), anthropic.OverloadedError, "overloaded_error"),
        (Reply(status=408, headers={"retry-after": "3600"}), anthropic.GatewayTimeoutError, "timeout_error"),
    ],
)
def test_the_providers_failures_are_the_clients_exceptions(
    client: Anthropic, upstream: FakeOpenAI, reply: Reply, kind: type[anthropic.APIStatusError], told: str
) -> None:
    upstream.enqueue(reply, reply)
    for streams in (False, True):
        with pytest.raises(kind) as error:
            client.messages.create(**ASK, stream=streams)
        body: Any = error.value.body
        assert body["type"] == "error"
        assert body["error"]["type"] == told
        assert body["request_id"] == error.value.request_id
        assert error.value.response.headers.get("retry-after") == reply.headers.get("retry-after")
        assert "sk-upstream" not in error.value.response.text


def test_a_stream_that_breaks_says_so_in_the_stream(
    client: Anthropic, http: httpx.Client, upstream: FakeOpenAI
) -> None:
    broken = Reply(content="a b c d e f", cut_after=4)
    upstream.enqueue(broken, broken)
    with (
        pytest.raises(anthropic.APIStatusError, match=r"broke|ended") as error,
        client.messages.stream(**ASK) as stream,
    ):
        stream.get_final_message()
    assert error.value.body["error"]["type"] == "api_error"  # type: ignore[index]
    *_, name, data = [
        line for line in http.post("/v1/messages", json={**ASK, "stream": True}).text.splitlines() if line
    ]
    assert name == "event: error"
    assert json.loads(data.removeprefix("data: ")).keys() == {"type", "error", "request_id"}


def test_arguments_that_the_model_got_wrong(client: Anthropic, upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(tool_calls=[ToolCall("look", "nonsense")]))
    with pytest.raises(anthropic.InternalServerError, match="called look with arguments"):
        client.messages.create(**ASK, tools=[LOOK])  # type: ignore[list-item]


def block(**fields: Any) -> Json:
    return {**ASK, "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, fields]}]}


NO_BODY = [(b"{", "not valid JSON"), (b"", "not valid JSON"), (b"[]", "not a JSON object"), (b"\xff", "not valid JSON")]
BAD: list[tuple[Any, int, str]] = [
    *[(raw, 400, f"The body is {why}") for raw, why in NO_BODY],
    ({}, 400, "model: Field required"),
    ({**ASK, "model": "nobody/x"}, 404, "Unknown provider 'nobody'"),
    ({**ASK, "model": "local/x"}, 404, "no local chat model 'x'"),
    ({**ASK, "model": "chains/nothing"}, 404, "There is no chain 'nothing'"),
    ({**ASK, "model": "azure/../../x"}, 404, "Not a model name"),
    ({**ASK, "model": "anthropic/claude-sonnet-4-5"}, 401, "set ANTHROPIC_API_KEY"),
    ({**ASK, "model": "ollama/llama3.2"}, 502, "Ollama does not answer"),
    ({**ASK, "model": 5}, 400, "model: Input should be a valid string"),
    ({"model": GPT, "messages": HELLO}, 400, "max_tokens: Field required"),
    ({**ASK, "max_tokens": 0}, 400, "max_tokens: Input should be greater than or equal to 1"),
    ({**ASK, "max_tokens": "many"}, 400, "max_tokens: Input should be a valid integer"),
    ({**ASK, "max_tokens": True}, 400, "max_tokens: Input should be a valid integer"),
    ({**ASK, "messages": []}, 400, "messages: List should have at least 1 item"),
    ({**ASK, "messages": "hi"}, 400, "messages: Input should be a valid list"),
    ({**ASK, "messages": ["hi"]}, 400, "messages.0: Input should be a valid dictionary"),
    ({**ASK, "messages": [{"role": "tool", "content": "x"}]}, 400, "messages.0.role: Input should be 'user'"),
    ({**ASK, "messages": [{"role": "user"}]}, 400, "messages.0.content: Field required"),
    ({**ASK, "messages": [{"role": "user", "content": 5}]}, 400, "messages.0.content: Input should be a valid string"),
    (block(), 400, "messages.0.content.1.type: Field required"),
    (block(type="video"), 400, "messages.0.content.1: Input tag 'video'"),
    (block(type="text"), 400, "messages.0.content.1.text: Field required"),
    (block(type="text", text="x", colour="red"), 400, "messages.0.content.1.colour: Extra inputs"),
    (block(type="text", text="x", cache_control={"type": "for ever"}), 400, "messages.0.content.1.cache_control.type"),
    (block(type="image"), 400, "messages.0.content.1.source: Field required"),
    (
        block(type="image", source={"type": "file", "file_id": "x"}),
        400,
        "messages.0.content.1.source: Input tag 'file'",
    ),
    (block(type="image", source={"type": "url", "url": "file:///etc/passwd"}), 400, "messages.0.content.1.source.url"),
    (block(type="image", source={"type": "base64", "media_type": "image/bmp", "data": "x"}), 400, "source.media_type"),
    (block(type="tool_use", id="a", name="b", input={}), 400, "messages.0.content.1: `tool_use` blocks can only be in"),
    (block(type="tool_result", tool_use_id="a"), 400, "messages.0.content.1.tool_use_id: no `tool_use` block"),
    (block(type="thinking", thinking="x", signature="y"), 400, "messages.0.content.1: `thinking` blocks can only"),
    ({**ASK, "system": 5}, 400, "system: Input should be a valid string"),
    ({**ASK, "system": [{"type": "image"}]}, 400, "system.0.type: Input should be 'text'"),
    ({**ASK, "tools": [{"name": "a"}]}, 400, "tools.0.input_schema: Field required"),
    ({**ASK, "tools": [{**LOOK, "name": "a b"}]}, 400, "tools.0.name: String should match pattern"),
    ({**ASK, "tools": [{**LOOK, "input_schema": {"type": "array"}}]}, 400, "tools.0.input_schema.type"),
    ({**ASK, "tools": [LOOK, {"type": "bash_20250124", "name": "bash"}]}, 400, "tools.1.type: only Anthropic's own"),
    (
        {**ASK, "tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        400,
        "tools.0.type: Anthropic's servers",
    ),
    ({**ASK, "tool_choice": "auto"}, 400, "tool_choice: Input should be a valid dictionary"),
    ({**ASK, "tool_choice": {"type": "required"}}, 400, "tool_choice: Input tag 'required'"),
    ({**ASK, "tools": [LOOK], "tool_choice": {"type": "tool", "name": "x"}}, 400, "tool_choice.name: no tool has"),
    (
        {**ASK, "thinking": {"type": "enabled", "budget_tokens": 5}},
        400,
        "thinking.budget_tokens: Input should be greater",
    ),
    ({**ASK, "output_config": {"effort": "huge"}}, 400, "output_config.effort: Input should be 'low'"),
    ({**ASK, "temperature": 3}, 400, "temperature: Input should be less than or equal to 2"),
    ({**ASK, "top_k": -1}, 400, "top_k: Input should be greater than or equal to 0"),
    ({**ASK, "stop_sequences": "STOP"}, 400, "stop_sequences: Input should be a valid list"),
    ({**ASK, "stop_sequences": [1]}, 400, "stop_sequences.0: Input should be a valid string"),
    ({**ASK, "stream": 1}, 400, "stream: Input should be a valid boolean"),
    ({**ASK, "metadata": {"user": "me"}}, 400, "metadata.user: Extra inputs are not permitted"),
    ({**ASK, "context_management": {"edits": 5}}, 400, "context_management.edits: Input should be a valid list"),
    ({**ASK, "context_management": {"edits": [{}]}}, 400, "context_management.edits.0.type: Field required"),
    ({**ASK, "container": "c"}, 400, "container: Not supported here: leave it out"),
    ({**ASK, "mcp_servers": [{"url": "http://evil"}]}, 400, "mcp_servers: Not supported here: leave it out"),
    ({**ASK, "tempratur": 1}, 400, "tempratur: Extra inputs are not permitted; did you mean 'temperature'?"),
    ({**ASK, "api_base": "http://evil"}, 400, "api_base: Extra inputs are not permitted"),
    ({**ASK, "extra_body": {"a": 1}}, 400, "extra_body: Extra inputs are not permitted"),
    ({**ASK, **{f"field_{number}": 1 for number in range(1000)}}, 400, "body: Object should have at most 64 entries"),
    ({**ASK, "system": "x" * 1_100_000}, 413, "larger than 1 MB"),
]


@pytest.mark.parametrize(("body", "status", "message"), BAD)
def test_bad_requests_are_told_in_anthropics_shape(
    http: httpx.Client, upstream: FakeOpenAI, body: Any, status: int, message: str
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = http.post("/v1/messages", content=content, headers={"content-type": "application/json"})
    _assert_error(response, status, message)
    assert upstream.requests == []


def _assert_error(response: httpx.Response, status: int, message: str) -> None:
    assert response.status_code == status, response.text
    body = response.json()
    assert body.keys() == {"type", "error", "request_id"}
    assert body["error"].keys() == {"type", "message"}
    assert message in body["error"]["message"]
    assert "\n" not in body["error"]["message"]
    assert body["request_id"] == response.headers["request-id"]


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens", "/api/v1/litellm/v1/messages"])
def test_other_bad_requests(http: httpx.Client, path: str) -> None:
    _assert_error(http.get(path), 405, "does not take GET")
    _assert_error(http.post(path, content=b"{}"), 415, "application/json")
    _assert_error(http.post(f"{path}/nothing", json={}), 404, "No such path")
    _assert_error(http.post(path, json={}, headers={"host": "evil.example"}), 403, "Only this machine")
    _assert_error(http.post(path, json={}, headers={"origin": "https://evil.example"}), 403, "Pages of other sites")
    # Other paths keep OpenAI's shape.
    assert http.get("/v1/nothing").json()["error"]["code"] == "unknown_url"


def test_bad_requests_to_count(http: httpx.Client) -> None:
    path = "/v1/messages/count_tokens"
    ask = {"model": GPT, "messages": HELLO}
    _assert_error(http.post(path, json={"model": GPT}), 400, "messages: Field required")
    _assert_error(http.post(path, json={**ask, "max_tokens": 5}), 400, "max_tokens: Extra inputs are not permitted")
    _assert_error(http.post(path, json={**ask, "model": "nobody/x"}), 404, "Unknown provider 'nobody'")
    _assert_error(http.post(path, json={**ask, "model": "chains/x"}), 404, "There is no chain 'x'")
    _assert_error(http.post(path, json={**ask, "model": "local/x"}), 404, "no local chat model 'x'")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_ends_the_upstream_call(server: Server, upstream: FakeOpenAI, stream: bool) -> None:
    upstream.enqueue(Reply(content="word " * 400, chunk_delay=0.02) if stream else Reply(hang=True))
    left = upstream.disconnects
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        task = asyncio.create_task(_read(client, f"{server.url}/v1/messages", {**ASK, "stream": stream}))
        while not upstream.requests:
            await asyncio.sleep(0.02)
        task.cancel()
        begin = time.monotonic()
        while upstream.disconnects == left:
            await asyncio.sleep(0.01)
            assert time.monotonic() - begin < 5, "the upstream call goes on"


async def _read(client: httpx.AsyncClient, url: str, body: Json) -> None:
    async with client.stream("POST", url, json=body, timeout=60) as response:
        async for _ in response.aiter_bytes():
            pass
