"""Anthropic's endpoint with Anthropic's models, which get what the client sent; coding assistants with all models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import pytest
from anthropic import Anthropic

from tests import claude_code
from tests.conftest import UPSTREAM_KEY, Server
from tests.fake_anthropic import FakeAnthropic, Reply
from tests.fake_openai import FakeOpenAI, ToolCall
from tests.fake_openai import Reply as OpenAIReply

Json = dict[str, Any]
KEY = "sk-las-of-a-colleague-0123456789"
CLAUDE = "anthropic/claude-sonnet-4-5"
HELLO: list[Any] = [{"role": "user", "content": "hello"}]
ASK: Json = {"model": CLAUDE, "max_tokens": 4000, "messages": HELLO}
THINK: Json = {"type": "enabled", "budget_tokens": 2000}
LOOK: Json = {
    "name": "look",
    "description": "Look at a place",
    "input_schema": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABh6FO1AAAAABJRU5ErkJggg=="


@pytest.fixture(scope="module")
def _claude_server(
    data_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
    _upstream: FakeOpenAI,
    _anthropic_upstream: FakeAnthropic,
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("claude-server")
    aliases = {"claude-haiku-4-5": "openai/gpt-4o", "sonnet": "anthropic/claude-sonnet-4-5"}
    tables = [f'[models.{name}]\ndeployments = ["{model}"]\n' for name, model in aliases.items()]
    (folder / "las.toml").write_text("".join(tables))
    environment = {
        "LAS_DATA_DIR": str(data_dir),
        "LAS_API_KEYS": KEY,
        "OPENAI_API_KEY": UPSTREAM_KEY,
        "OPENAI_BASE_URL": _upstream.url,
        "ANTHROPIC_API_KEY": UPSTREAM_KEY,
        "ANTHROPIC_BASE_URL": _anthropic_upstream.url,
    }
    with Server(environment=environment, cwd=folder) as running:
        yield running


@pytest.fixture
def claude_server(_claude_server: Server) -> Server:
    """One running server that has keys, aliases, and both doubles."""
    return _claude_server


@pytest.fixture
def client(_claude_server: Server, anthropic_upstream: FakeAnthropic, upstream: FakeOpenAI) -> Iterator[Anthropic]:
    with Anthropic(base_url=_claude_server.url, api_key=KEY, max_retries=0) as client:
        yield client


@pytest.fixture
def http(_claude_server: Server, anthropic_upstream: FakeAnthropic, upstream: FakeOpenAI) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=_claude_server.url, timeout=60, trust_env=False, headers=headers) as client:
        yield client


def asked(client: Anthropic, fields: Json, *, streams: bool) -> Any:
    """The answer, whole or out of a stream."""
    if not streams:
        return client.messages.create(**fields)
    with client.messages.stream(**fields) as stream:
        return stream.get_final_message()


@pytest.mark.parametrize("streams", [False, True])
def test_thoughts_calls_and_their_results_come_through_unharmed(
    client: Anthropic, anthropic_upstream: FakeAnthropic, streams: bool
) -> None:
    calls = [ToolCall("look", {"place": "Rome"}), ToolCall("look", {"place": "Oslo"})]
    anthropic_upstream.enqueue(Reply(thinking="hm ho", redacted_thinking=["zzz"], text="I look.", tool_calls=calls))
    fields = {**ASK, "tools": [LOOK], "thinking": THINK}
    answer = asked(client, fields, streams=streams)
    blocks = [block.to_dict() for block in answer.content]
    assert [block["type"] for block in blocks] == ["thinking", "redacted_thinking", "text", "tool_use", "tool_use"]
    assert (blocks[0]["thinking"], blocks[1]["data"], answer.stop_reason) == ("hm ho", "zzz", "tool_use")
    assert blocks[3]["id"].startswith("toolu_01")
    results = [
        {"type": "tool_result", "tool_use_id": block["id"], "content": [{"type": "text", "text": "sun"}]}
        for block in blocks[3:]
    ]
    history = [*HELLO, {"role": "assistant", "content": blocks}, {"role": "user", "content": results}]
    # The double refuses thoughts that it did not sign.
    assert asked(client, {**fields, "messages": history}, streams=streams).content
    sent = anthropic_upstream.last.body
    assert sent["thinking"] == THINK
    assert [(block["type"], block.get("id")) for block in sent["messages"][1]["content"]] == [
        (block["type"], block.get("id")) for block in blocks
    ]
    assert sent["messages"][1]["content"][0] == blocks[0]
    assert [block["tool_use_id"] for block in sent["messages"][2]["content"]] == [one["id"] for one in blocks[3:]]


def test_caches_pictures_and_documents(client: Anthropic, anthropic_upstream: FakeAnthropic) -> None:
    cached: Json = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    image: Json = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    document: Json = {
        "type": "document",
        "title": "Bees",
        "source": {"type": "text", "media_type": "text/plain", "data": "They hum."},
        "citations": {"enabled": True},
    }
    pdf: Json = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0x"}}
    usage = {"input_tokens": 10, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 200}
    anthropic_upstream.enqueue(Reply(text="ok", usage=usage))
    answer = client.messages.create(
        **{
            **ASK,
            "messages": [{"role": "user", "content": [image, document, pdf, {"type": "text", "text": "?", **cached}]}],
        },
        system=[{"type": "text", "text": "rules", **cached}],  # type: ignore[typeddict-item]
        tools=[{**LOOK, **cached}],  # type: ignore[typeddict-item]
        stop_sequences=["STOP"],
        metadata={"user_id": "me"},
        extra_body={"top_k": 5, "temperature": 0.5},
    )
    sent = anthropic_upstream.last.body
    assert sent["messages"][0]["content"] == [image, document, pdf, {"type": "text", "text": "?", **cached}]
    assert sent["system"] == [{"type": "text", "text": "rules", **cached}]
    assert sent["tools"][0]["cache_control"] == cached["cache_control"]
    assert (sent["stop_sequences"], sent["top_k"], sent["temperature"]) == (["STOP"], 5, 0.5)
    assert sent["metadata"] == {"user_id": "me"}
    told = answer.usage
    assert (told.input_tokens, told.cache_read_input_tokens, told.cache_creation_input_tokens) == (10, 100, 200)


@pytest.mark.parametrize("streams", [False, True])
def test_citations_come_through(client: Anthropic, anthropic_upstream: FakeAnthropic, streams: bool) -> None:
    cited = {
        "type": "char_location",
        "cited_text": "They hum.",
        "document_index": 0,
        "document_title": "Bees",
        "start_char_index": 0,
        "end_char_index": 9,
    }
    anthropic_upstream.enqueue(Reply(text="Hum", citations=[cited]))
    (block,) = asked(client, ASK, streams=streams).content
    assert [one.to_dict() for one in block.citations] == [cited]


def test_a_search_result_is_a_document_that_can_be_cited(client: Anthropic, anthropic_upstream: FakeAnthropic) -> None:
    found: Json = {
        "type": "search_result",
        "source": "https://example.com/bees",
        "title": "Bees",
        "content": [{"type": "text", "text": "They hum."}],
        "citations": {"enabled": True},
    }
    turn = [found, {"type": "text", "text": "?"}]
    assert client.messages.create(**{**ASK, "messages": [{"role": "user", "content": turn}]}).content
    document = anthropic_upstream.last.body["messages"][0]["content"][0]
    assert (document["type"], document["title"], document["citations"]) == ("document", "Bees", {"enabled": True})


def test_tools_that_anthropic_defines_and_the_client_runs(client: Anthropic, anthropic_upstream: FakeAnthropic) -> None:
    bash: Any = {"type": "bash_20250124", "name": "bash"}
    anthropic_upstream.enqueue(Reply(text="", tool_calls=[ToolCall("bash", {"command": "ls"})]))
    answer = client.messages.create(**ASK, tools=[bash])
    assert answer.content[0].input == {"command": "ls"}  # type: ignore[union-attr]
    assert anthropic_upstream.last.body["tools"] == [bash]


@pytest.mark.parametrize("streams", [False, True])
def test_structured_answers(client: Anthropic, streams: bool) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}},
        "required": ["name"],
        "additionalProperties": False,
    }
    fields = {**ASK, "messages": [{"role": "user", "content": "'Bob'"}]}
    answer = asked(
        client, {**fields, "output_config": {"format": {"type": "json_schema", "schema": schema}}}, streams=streams
    )
    assert json.loads(answer.content[0].text) == {"name": "Bob"}
    assert answer.stop_reason == "end_turn"


def test_the_beta_client(client: Anthropic, anthropic_upstream: FakeAnthropic) -> None:
    edits: Any = {"edits": [{"type": "clear_tool_uses_20250919"}]}
    answer = client.beta.messages.create(**ASK, betas=["context-management-2025-06-27"], context_management=edits)
    assert answer.content[0].text == "Echo: hello"  # type: ignore[union-attr]
    # The double takes it only with the header of its beta.
    assert anthropic_upstream.last.body["context_management"] == edits


@pytest.mark.parametrize(("status", "told"), [(400, 400), (429, 429), (500, 500), (529, 529)])
def test_anthropics_failures_keep_their_status(
    client: Anthropic, anthropic_upstream: FakeAnthropic, status: int, told: int
) -> None:
    anthropic_upstream.enqueue(Reply(status=status, headers={"retry-after": "3600"}))
    with pytest.raises(anthropic.APIStatusError) as error:
        client.messages.create(**ASK)
    assert error.value.status_code == told
    assert "litellm" not in error.value.response.text.lower()


# Coding assistants


def folded(text: str) -> Json:
    """The content of a streamed message by the index of its blocks, its end, and the events' names."""
    events = [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]
    kinds = [event["type"] for event in events]
    blocks = [event["content_block"] for event in events if event["type"] == "content_block_start"]
    end = next(event for event in events if event["type"] == "message_delta")
    return {"kinds": kinds, "blocks": blocks, **end["delta"], "usage": end["usage"]}


def test_a_coding_assistant_with_claude(http: httpx.Client, anthropic_upstream: FakeAnthropic) -> None:
    anthropic_upstream.enqueue(Reply(thinking="I list the files.", text="ok"))
    first = http.post("/v1/messages", json={**ASK, "thinking": THINK}).json()
    signature = first["content"][0]["signature"]
    request = claude_code.request("claude-sonnet-4-5", thinking=THINK, signature=signature, effort=None)
    response = http.post("/v1/messages?beta=true", json=request, headers=claude_code.HEADERS)
    assert response.status_code == 200, response.text
    message = folded(response.text)
    assert message["kinds"][-1] == "message_stop"
    sent = anthropic_upstream.last
    assert sent.body["messages"][1] == request["messages"][1]
    assert sent.body["messages"][2]["content"][0]["cache_control"] == {"type": "ephemeral"}
    assert sent.body["system"] == request["system"]
    assert sent.body["context_management"] == request["context_management"]
    assert [tool["name"] for tool in sent.body["tools"]] == [tool["name"] for tool in request["tools"]]
    assert sent.body["metadata"] == request["metadata"]
    assert sent.body["max_tokens"] == 32_000
    # Betas are the server's own business, and so are credentials.
    assert "claude-code-20250219" not in sent.headers.get("anthropic-beta", "")
    assert sent.headers["x-api-key"] == UPSTREAM_KEY


def test_a_coding_assistant_with_effort(http: httpx.Client, anthropic_upstream: FakeAnthropic) -> None:
    request = claude_code.request("claude-opus-4-6", thinking={"type": "adaptive"})
    del request["messages"][1:]
    response = http.post("/v1/messages?beta=true", json=request, headers=claude_code.HEADERS)
    assert folded(response.text)["stop_reason"] == "end_turn"
    sent = anthropic_upstream.last.body
    assert (sent["thinking"], sent["output_config"]) == ({"type": "adaptive"}, {"effort": "medium"})


@pytest.mark.parametrize("model", ["openai/gpt-4o", "claude-haiku-4-5", "o3-mini"])
@pytest.mark.parametrize("thinking", [{"type": "adaptive"}, {"type": "enabled", "budget_tokens": 31_999}])
def test_a_coding_assistant_with_other_models(
    http: httpx.Client, upstream: FakeOpenAI, model: str, thinking: Json
) -> None:
    name = claude_code.LONG_TOOL
    request = claude_code.request(model, thinking=thinking, signature="of another model")
    request["messages"].insert(1, {"role": "system", "content": "The user has plan mode on."})
    upstream.enqueue(OpenAIReply(content="I ask.", tool_calls=[ToolCall("Read", {"file_path": "main.py"})]))
    response = http.post("/v1/messages?beta=true", json=request, headers=claude_code.HEADERS)
    assert response.status_code == 200, response.text
    message = folded(response.text)
    assert [block["type"] for block in message["blocks"]] == ["text", "tool_use"]
    assert message["stop_reason"] == "tool_use"
    sent = upstream.last.body
    assert sent.get("reasoning_effort") == ("medium" if model == "o3-mini" else None)
    # Where a model takes no instructions, litellm makes them a user's.
    assert sent["messages"][2]["content"] == "The user has plan mode on."
    assert [one["role"] for one in sent["messages"]][3:] == ["assistant", "tool"]
    assert "cache_control" not in json.dumps(sent)
    assert len(sent["user"]) == 64
    # The double refuses names that are longer, and gives them back as it got them.
    short = sent["tools"][-1]["function"]["name"]
    assert len(short) == 64
    upstream.enqueue(OpenAIReply(tool_calls=[ToolCall(short, {"query": "x"})]))
    answer = http.post("/v1/messages", json={**request, "stream": False}).json()
    assert answer["content"][0]["name"] == name


# Keys


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_a_key_is_asked_for_in_anthropics_shape(claude_server: Server, path: str) -> None:
    for headers in ({}, {"x-api-key": "sk-wrong"}, {"authorization": "Bearer sk-wrong"}):
        response = httpx.post(f"{claude_server.url}{path}", json=ASK, headers=headers, trust_env=False)
        assert response.status_code == 401
        body = response.json()
        assert body["error"]["type"] == "authentication_error"
        assert body["request_id"] == response.headers["request-id"]
    wrong = Anthropic(base_url=claude_server.url, api_key="sk-wrong", max_retries=0)
    with wrong, pytest.raises(anthropic.AuthenticationError, match="LAS_API_KEYS"):
        wrong.messages.create(**ASK)
    with Anthropic(base_url=claude_server.url, auth_token=KEY, max_retries=0) as bearer:
        assert bearer.messages.count_tokens(model=CLAUDE, messages=HELLO).input_tokens > 0


def test_aliases(client: Anthropic, anthropic_upstream: FakeAnthropic) -> None:
    answer = client.messages.with_raw_response.create(**{**ASK, "model": "sonnet"})
    assert answer.headers["x-las-model"] == CLAUDE
    assert anthropic_upstream.last.body["model"] == "claude-sonnet-4-5"
