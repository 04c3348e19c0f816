"""The fields of chats and embeddings: OpenAI's go on as they are, others only where somebody allows them."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import httpx
import pytest
from openai import OpenAI
from openai.types import CompletionCreateParams, EmbeddingCreateParams
from openai.types.chat.completion_create_params import CompletionCreateParamsBase

from las_langchain.errors import ConfigurationError
from las_langchain.fields import EXTRA_FIELDS, OPENAI_FIELDS, is_routing
from las_langchain.settings import load_settings
from servers.extra_schemas import ChatExtras
from servers.schemas import ChatCompletionRequest, EmbeddingRequest
from tests.conftest import UPSTREAM_KEY, Server
from tests.fake_ollama import FakeOllama
from tests.fake_openai import FakeOpenAI, Reply
from tests.fake_openai_like import FakeOpenAILike
from tests.fake_openai_rules import CHAT_PARAMS

HELLO: list[Any] = [{"role": "user", "content": "hello"}]
OBJECT: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
STRICT = {**OBJECT, "additionalProperties": False}
MESSAGES: list[Any] = [
    {"role": "developer", "name": "dev", "content": [{"type": "text", "text": "Be nice."}]},
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "name": "ann",
        "content": [
            {"type": "text", "text": "Hi"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}},
            {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERg==", "filename": "a.pdf"}},
        ],
    },
    {
        "role": "assistant",
        "name": "bot",
        "content": "Wait.",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            {"id": "c2", "type": "custom", "custom": {"name": "g", "input": "x"}},
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "1"}]},
    {"role": "tool", "tool_call_id": "c2", "content": "2"},
    {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
    {"role": "assistant", "audio": {"id": "audio_1"}},
    {"role": "user", "content": "Go."},
]
EVERYTHING: dict[str, Any] = {
    "messages": MESSAGES, "audio": {"voice": "alloy", "format": "mp3"}, "frequency_penalty": 0.11,
    "function_call": "auto", "functions": [{"name": "h", "parameters": {"type": "object", "properties": {}}}],
    "logit_bias": {"50256": -100}, "logprobs": True, "max_completion_tokens": 77, "metadata": {"a": "b"},
    "modalities": ["text", "audio"], "n": 2, "parallel_tool_calls": False, "presence_penalty": 0.12,
    "moderation": {"model": "omni-moderation-latest", "policy": {"input": {"mode": "score"}}},
    "prediction": {"type": "content", "content": "foreseen"}, "prompt_cache_key": "key",
    "prompt_cache_options": {"mode": "implicit", "ttl": "30m"}, "prompt_cache_retention": "24h",
    "reasoning_effort": "low", "safety_identifier": "me", "seed": 7, "service_tier": "flex", "stop": ["x", "y"],
    "store": True, "temperature": 0.13, "top_logprobs": 3, "top_p": 0.14, "user": "us", "verbosity": "low",
    "response_format": {
        "type": "json_schema", "json_schema": {"name": "n", "description": "d", "strict": True, "schema": STRICT}
    },
    "tool_choice": {
        "type": "allowed_tools",
        "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
    },
    "tools": [
        {"type": "function", "function": {"name": "f", "description": "d", "strict": True, "parameters": STRICT}},
        {"type": "custom", "custom": {"name": "g", "description": "d", "format": {"type": "text"}}},
    ],
    "web_search_options": {"search_context_size": "low"},
}  # fmt: skip
OTHERWISE: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Hi"}], "stop": "x", "max_tokens": 9, "tool_choice": "required",
    "tools": [{"type": "function", "function": {"name": "f", "parameters": OBJECT}}], "function_call": {"name": "h"},
    "functions": [{"name": "h"}], "response_format": {"type": "json_object"}, "temperature": 0, "seed": 0, "n": 1,
    "store": False, "logprobs": False, "frequency_penalty": -2, "max_completion_tokens": None, "user": "",
}  # fmt: skip
MODELS = ["gpt-4o", "gpt-4.1", "gpt-3.5-turbo", "gpt-5.5", "o3-mini", "fake-model"]


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{server.url}/v1", timeout=60, trust_env=False) as client:
        yield client


def test_every_documented_field_is_known() -> None:
    documented = get_type_hints(CompletionCreateParamsBase).keys() - {"model"}
    assert documented == OPENAI_FIELDS
    assert ChatCompletionRequest.model_fields.keys() >= OPENAI_FIELDS
    assert CHAT_PARAMS.keys() - {"model", "stream"} == OPENAI_FIELDS
    assert get_type_hints(EmbeddingCreateParams).keys() == EmbeddingRequest.model_fields.keys()
    assert "prompt" in get_type_hints(CompletionCreateParams.__args__[0])  # type: ignore[attr-defined]
    assert EVERYTHING.keys() | {"max_tokens", "stream_options"} == OPENAI_FIELDS
    assert EXTRA_FIELDS | {"top_k", "thinking"} == ChatExtras.model_fields.keys()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
def test_every_field_is_passed_on_as_it_is(http: httpx.Client, upstream: FakeOpenAI, model: str, stream: bool) -> None:
    streamed = {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}}
    body = {"model": f"openai/{model}", **EVERYTHING, **(streamed if stream else {})}
    upstream.enqueue(Reply(content="ok"))
    answer = http.post("/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    assert upstream.last.path == "/v1/chat/completions"
    assert upstream.last.body == {**body, "model": model}
    assert upstream.last.headers["authorization"] == f"Bearer {UPSTREAM_KEY}"


@pytest.mark.parametrize("model", ["gpt-4o", "fake-model"])
def test_the_other_forms_of_fields_are_passed_on_too(http: httpx.Client, upstream: FakeOpenAI, model: str) -> None:
    answer = http.post("/chat/completions", json={"model": f"openai/{model}", **OTHERWISE})
    assert answer.status_code == 200, answer.text
    told = {name: value for name, value in OTHERWISE.items() if value is not None}
    assert upstream.last.body == {**told, "model": model}


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"foo": 1}, "foo", "extra_fields of [providers.openai] in las.toml names it"),
    ({"top_k": 4}, "top_k", "extra_fields of [providers.openai]"),
    ({"thinking": {"type": "enabled"}}, "thinking", "Unrecognized request argument supplied: thinking"),
    ({"temprature": 1}, "temprature", "did you mean 'temperature'"),
    ({"stream_options": {"include_usage": True}}, "stream_options", "only allowed when 'stream' is enabled"),
    ({"stream": True, "stream_options": {"include_cost": True}}, "stream_options", "include_usage"),
    ({"stream": True, "stream_options": {"include_usage": "yes"}}, "stream_options", "boolean"),
    *(
        ({name: value}, name, "the server's alone to say")
        for name, value in {
            "api_base": "http://evil", "base_url": "http://evil", "api_key": "x", "model_list": [], "fallbacks": [],
            "custom_llm_provider": "x", "extra_headers": {}, "extra_body": {"a": 1}, "headers": {},
            "mock_response": "x",
            "aws_sts_endpoint": "x", "aws_web_identity_token": "oidc/env/HOME", "num_retries": 9, "ssl_verify": False,
            "deployment_id": "x", "azure": True, "client": {}, "_private": 1, "input_cost_per_token": 0, "timeout": 1,
            "vertex_credentials": "x", "langfuse_host": "http://evil", "API_BASE": "x", "api-base": "x", "proxy": "x",
        }.items()
    ),
]  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("fields", "param", "message"), REFUSED)
def test_fields_that_nobody_takes(
    http: httpx.Client, upstream: FakeOpenAI, fields: dict[str, Any], param: str, message: str, stream: bool
) -> None:
    streamed = {"stream": True} if stream and "stream_options" not in fields else {}
    body = {"model": "openai/gpt-4o", "messages": HELLO, **streamed, **fields}
    answer = http.post("/chat/completions", json=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == param
    assert message in error["message"]
    assert not upstream.requests


def test_a_million_unknown_fields_are_refused_at_the_first(http: httpx.Client) -> None:
    body = {"model": "openai/gpt-4o", "messages": HELLO, **{f"f{index}": 0 for index in range(80_000)}}
    error = http.post("/chat/completions", json=body).json()["error"]
    assert error["param"] == "f0"


CONFIG = """
[providers.openai]
extra_fields = ["foo"]
[providers.vllm]
extra_fields = ["priority"]
[models.both]
deployments = [{ model = "openai/gpt-4o", routing.order = 2 }, { model = "vllm/Qwen/Qwen3-8B", routing.order = 1 }]
[models.one]
deployments = [{ model = "openai/gpt-4o", extra_fields = ["bar"] }]
[models.careful]
deployments = ["vllm/Qwen/Qwen3-8B"]
fallbacks = ["openai/gpt-4o"]
"""


@pytest.fixture(scope="module")
def ollama() -> Iterator[FakeOllama]:
    with FakeOllama() as double:
        yield double


@pytest.fixture(scope="module")
def vllm() -> Iterator[FakeOpenAILike]:
    with FakeOpenAILike("vllm", key=None) as double:
        yield double


@pytest.fixture(scope="module")
def configured(
    data_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
    _upstream: FakeOpenAI,
    ollama: FakeOllama,
    vllm: FakeOpenAILike,
) -> Iterator[Server]:
    """A server whose settings allow some fields."""
    folder = tmp_path_factory.mktemp("fields")
    (folder / "las.toml").write_text(CONFIG)
    environment = {
        "LAS_DATA_DIR": str(data_dir),
        "LAS_MAX_RETRIES": "0",
        "OPENAI_API_KEY": UPSTREAM_KEY,
        "OPENAI_BASE_URL": _upstream.url,
        "OLLAMA_BASE_URL": ollama.url,
        "VLLM_BASE_URL": vllm.url,
    }
    with Server(environment=environment, cwd=folder) as running:
        yield running


def ask(server: Server, model: str, **fields: Any) -> httpx.Response:
    body = {"model": model, "messages": HELLO, **fields}
    return httpx.post(f"{server.url}/v1/chat/completions", json=body, trust_env=False, timeout=60)


def test_fields_that_rows_and_settings_allow(
    configured: Server, upstream: FakeOpenAI, ollama: FakeOllama, vllm: FakeOpenAILike
) -> None:
    # The doubles refuse what they do not know, which shows that it was sent.
    answer = ask(configured, "openai/gpt-4o", foo={"a": [1]})
    assert (answer.status_code, answer.json()["error"]["message"]) == (
        400,
        "OpenAI: Unrecognized request argument supplied: foo",
    )
    assert upstream.last.body["foo"] == {"a": [1]}
    extras = {"top_k": 5, "min_p": 0.1, "chat_template_kwargs": {"enable_thinking": False}, "include_reasoning": True}
    assert ask(configured, "vllm/Qwen/Qwen3-8B", **extras).status_code == 200
    assert {name: vllm.last.body[name] for name in extras} == extras
    ask(configured, "vllm/Qwen/Qwen3-8B", priority=1, repeat_penalty=1.2, guided_choice=["a", "b"])
    sent = vllm.last.body
    assert (sent["priority"], sent["repetition_penalty"], sent["guided_choice"]) == (1, 1.2, ["a", "b"])
    options = {"top_k": 5, "min_p": 0.1, "typical_p": 0.9, "repeat_penalty": 1.1, "num_ctx": 512, "repeat_last_n": 9}
    ask(configured, "ollama/qwen3", **options, think=False, keep_alive="5m", mirostat=0)
    assert options.items() <= ollama.last.body["options"].items()
    assert (ollama.last.body["think"], ollama.last.body["keep_alive"]) == (False, "5m")
    ask(configured, "ollama/qwen3", repetition_penalty=1.3)
    assert ollama.last.body["options"]["repeat_penalty"] == 1.3


def test_other_providers_get_only_what_they_allow(
    configured: Server, upstream: FakeOpenAI, vllm: FakeOpenAILike
) -> None:
    vllm.enqueue(Reply(status=500), Reply(status=500))
    assert ask(configured, "careful", top_k=5, priority=2, seed=3).status_code == 200
    assert upstream.last.body == {"model": "gpt-4o", "messages": HELLO, "seed": 3}
    vllm.reset()
    assert ask(configured, "both", min_p=0.2).status_code == 200
    assert vllm.last.body["min_p"] == 0.2
    answer = ask(configured, "one", bar=1)
    assert (answer.status_code, upstream.last.body["bar"]) == (400, 1)
    assert "Unrecognized request argument supplied: baz" in ask(configured, "one", baz=1).text
    assert "did you mean 'bar'" in ask(configured, "one", ba=1).text


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"top_k": "many"}, "top_k"),
        ({"min_p": 2}, "min_p"),
        ({"repeat_last_n": 2**31}, "repeat_last_n"),
        ({"num_ctx": 10**9}, "num_ctx"),
        ({"mirostat": 3}, "mirostat"),
        ({"think": "hard"}, "think"),
        ({"chat_template_kwargs": []}, "chat_template_kwargs"),
        ({"stop_token_ids": [-1]}, "stop_token_ids"),
        ({"guided_regex": "a" * 200_000}, "guided_regex"),
    ],
)
def test_known_fields_are_typed_and_capped(http: httpx.Client, fields: dict[str, Any], param: str) -> None:
    answer = http.post("/chat/completions", json={"model": "vllm/x", "messages": HELLO, **fields})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text


def test_the_embedded_model_takes_its_fields(http: httpx.Client) -> None:
    body = {"model": "local/smollm2-135m-instruct", "messages": HELLO, "max_tokens": 12, "seed": 1}
    extras = {
        "top_k": 1, "min_p": 0.1, "typical_p": 1.0, "repeat_penalty": 1.1, "repeat_last_n": 32, "mirostat": 0,
        "top_n_sigma": 1.0, "xtc_probability": 0.0, "dry_multiplier": 0.0, "chat_template_kwargs": {"a": 1},
    }  # fmt: skip
    whole = [http.post("/chat/completions", json={**body, **extras, "temperature": 2}).json() for _ in range(2)]
    # With one token to choose from, heat changes nothing.
    assert whole[0]["choices"][0]["message"] == whole[1]["choices"][0]["message"]
    guided = {
        **body,
        "max_tokens": 60,
        "guided_json": {"type": "object", "properties": {"a": {"enum": ["b"]}}, "required": ["a"]},
    }
    assert http.post("/chat/completions", json=guided).json()["choices"][0]["message"]["content"].replace(" ", "") == (
        '{"a":"b"}'
    )
    refused = http.post("/chat/completions", json={**body, "think": True})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "think")


@pytest.mark.parametrize(
    "name",
    ["api_base", "base_url", "fallbacks", "mock_response", "aws_region_name", "Api-Key", "_x", "a b", "messages"],
)
def test_settings_cannot_leave_the_way_to_clients(name: str) -> None:
    for table in ("providers.vllm", "models.a"):
        rest = (
            'deployments = [{ model = "vllm/x", extra_fields = [%s] }]' if "models" in table else "extra_fields = [%s]"
        )
        Path("las.toml").write_text(f"[{table}]\n{rest % repr(name)}\n")
        with pytest.raises(ConfigurationError, match=r"left to clients|is not the name"):
            load_settings()


def test_the_known_fields_say_nothing_about_the_way() -> None:
    assert [name for name in EXTRA_FIELDS if is_routing(name)] == []


@pytest.mark.parametrize("stream", [False, True])
def test_chains_accept_the_known_fields_and_no_others(chain_server: Server, stream: bool) -> None:
    extras = {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1, "think": False, "num_ctx": 512, "temperature": 0.5}
    assert ask(chain_server, "chains/joke", stream=stream, **extras).status_code == 200
    for name in ("foo", "api_base"):
        answer = ask(chain_server, "chains/joke", stream=stream, **{name: 1})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)


def test_vectors_are_the_providers_byte_for_byte(http: httpx.Client, upstream: FakeOpenAI) -> None:
    body: dict[str, Any] = {
        "model": "openai/text-embedding-3-small",
        "input": ["a", "b"],
        "dimensions": 4,
        "user": "me",
    }
    packed = http.post("/embeddings", json={**body, "encoding_format": "base64"})
    assert upstream.last.body == {**body, "model": "text-embedding-3-small", "encoding_format": "base64"}
    numbers = http.post("/embeddings", json={**body, "encoding_format": "float"}).json()
    for item, other in zip(packed.json()["data"], numbers["data"], strict=True):
        assert base64.b64decode(item["embedding"]) == struct.pack("<4f", *other["embedding"])
    assert packed.headers["x-las-model"] == "openai/text-embedding-3-small"
    assert float(packed.headers["x-las-cost"]) > 0
    for tokens in ([1, 2, 3], [[1, 2], [3]]):
        http.post("/embeddings", json={**body, "input": tokens})
        assert upstream.last.body["input"] == tokens


def test_servers_that_know_one_form_of_vectors_serve_both(configured: Server, ollama: FakeOllama) -> None:
    with OpenAI(base_url=f"{configured.url}/v1", api_key="any", max_retries=0) as client:
        packed = client.embeddings.create(model="ollama/nomic-embed-text", input=["a"])
        numbers = client.embeddings.create(model="ollama/nomic-embed-text", input=["a"], encoding_format="float")
    assert packed.data[0].embedding == pytest.approx(numbers.data[0].embedding, rel=1e-6)
    body = {"model": "ollama/nomic-embed-text", "input": [1, 2]}
    answer = httpx.post(f"{configured.url}/v1/embeddings", json=body, trust_env=False, timeout=60)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "input")


def test_chains_embed_nothing(http: httpx.Client) -> None:
    for prefix in ("", "/../api/v1/litellm"):
        answer = http.post(f"{prefix}/embeddings", json={"model": "chains/chat", "input": "a"})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "model")
        assert "embed nothing" in answer.text
