"""Which transport takes a call, and why."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import litellm
import pytest

from las_langchain import ChatLAS
from las_langchain.errors import BadRequestError
from las_langchain.records import Operation
from las_langchain.service import LiteLLMService
from las_langchain.settings import load_settings
from las_langchain.transports.choice import Choice, choose
from tests.conftest import UPSTREAM_KEY
from tests.fake_openai import FakeOpenAI
from tests.las_langchain.transports.wire.conftest import nobody_listens

__all__ = ["nobody_listens"]

Json = dict[str, Any]

HELLO: Json = {"messages": [{"role": "user", "content": "hello"}]}
TOOL: Json = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
ONE_OF: Json = {"type": "function", "function": {"name": "f", "parameters": {"anyOf": [{"type": "object"}]}}}
OWN = {"base_url": "http://127.0.0.1:9/v1", "api_key": "key-0123456789abcdef"}
SCHEMA = {"response_format": {"type": "json_object"}}
WARM = {"temperature": 0.5, "top_p": 0.5}
WIRE = "{} speaks OpenAI's format"


def chosen(
    model: str,
    fields: Json | None = None,
    operation: Operation = "chat",
    entry: Json | None = None,
    transport: str | None = None,
    **settings: Any,
) -> Choice:
    """The choice for a request to a model whose provider has *entry* in the settings."""
    given = {model.partition("/")[0]: {"api_key": "key-0123456789abcdef", **(entry or {})}}
    service = LiteLLMService(load_settings(providers=given, **settings))
    body = {**HELLO, **(fields or {})} if operation == "chat" else fields or {}
    return choose(service.target(model, transport=transport), operation, body)


@pytest.mark.parametrize(
    ("model", "fields", "title"),
    [
        ("openai/gpt-4o", {}, "OpenAI"),
        ("openai/gpt-4o", {"tools": [TOOL], "reasoning_effort": "low", "verbosity": "low"}, "OpenAI"),
        ("openai/gpt-5.3", {"tools": [TOOL]}, "OpenAI"),
        ("openai/gpt-5.4", {}, "OpenAI"),
        ("openai/gpt-5.4", {"tools": [TOOL], "reasoning_effort": "none"}, "OpenAI"),
        ("openai/gpt-5.4", {"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "OpenAI"),
        ("azure/my-chat", SCHEMA, "Azure OpenAI"),
        ("groq/llama-3.3-70b-versatile", {"tools": [TOOL]}, "Groq"),
        ("together_ai/m", SCHEMA, "Together AI"),
        ("deepseek/deepseek-chat", {}, "DeepSeek"),
        ("huggingface/m", {"reasoning_effort": "low"}, "Hugging Face"),
        ("openrouter/m", {"reasoning_effort": "low", "thinking": {"type": "enabled"}}, "OpenRouter"),
        ("vllm/m", {"extra_body": {"top_k": 3}}, "vLLM"),
        ("ollama/llama3.2", WARM, "Ollama"),
    ],
)
def test_what_is_in_openais_format_goes_straight(model: str, fields: Json, title: str) -> None:
    assert chosen(model, fields) == ("wire", WIRE.format(title))


@pytest.mark.parametrize(
    ("model", "fields", "why"),
    [
        ("anthropic/claude-sonnet-4-5", {}, "Anthropic has a format of its own"),
        ("mistral/m", {}, "only litellm knows mistral"),
        ("openai/gpt-4o", {"thinking": {"type": "enabled"}}, "thinking is translated by litellm"),
        ("openai/o1-pro", {}, "o1-pro is asked by OpenAI's Responses API"),
        ("openai/responses/gpt-4o", {}, "responses/gpt-4o is asked by OpenAI's Responses API"),
        ("openai/gpt-5.4", {"tools": [TOOL]}, "gpt-5.4 reasons with tools only in OpenAI's Responses API"),
        ("openai/gpt-6", {"tools": [TOOL]}, "gpt-6 reasons with tools only in OpenAI's Responses API"),
        ("azure/gpt-5.4", {"tools": [TOOL]}, "gpt-5.4 reasons with tools only in OpenAI's Responses API"),
        ("openai/gpt-4o", {"tools": [ONE_OF]}, "the parameters of a tool are a choice, which litellm puts right"),
        ("azure/o_series/mine", {}, "litellm reads the family of the model in its name"),
        ("azure/gpt-35-turbo", SCHEMA, "response_format is translated by litellm for this api_version or model"),
        ("groq/llama-3.3-70b-versatile", SCHEMA, "response_format is translated by litellm"),
        ("groq/compound", {"web_search_options": {}}, "web_search_options is translated by litellm"),
        ("together_ai/m", {"reasoning_effort": "low"}, "reasoning_effort is translated by litellm"),
        ("deepseek/deepseek-chat", {"reasoning_effort": "low"}, "reasoning_effort is translated by litellm"),
        ("vllm/m", {"thinking": {"type": "enabled"}}, "thinking is translated by litellm"),
        ("ollama/m", {}, "temperature (where none is given) is translated by litellm"),
        ("ollama/m", {"temperature": 0}, "top_p (where none is given) is translated by litellm"),
        ("ollama/m", {**WARM, "n": 2}, "n is translated by litellm"),
        ("ollama/m", {**WARM, "extra_body": {"num_ctx": 9}}, "num_ctx is translated by litellm"),
        (
            "ollama/m",
            {
                **WARM,
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com"}}]}
                ],
            },
            "a message with pictures is translated by litellm",
        ),
    ],
)
def test_what_is_translated_goes_by_litellm(model: str, fields: Json, why: str) -> None:
    assert chosen(model, fields) == ("litellm", why)


def test_another_server_may_have_no_other_api() -> None:
    assert chosen("openai/gpt-5.4", {"tools": [TOOL, ONE_OF]}, entry=OWN).transport == "wire"


def test_old_versions_of_azures_know_no_schemas() -> None:
    for version, transport in {"2024-06-01": "litellm", "2023-05-15": "litellm", "2024-10-21": "wire"}.items():
        assert chosen("azure/my-chat", SCHEMA, entry={"options": {"api_version": version}}).transport == transport


@pytest.mark.parametrize(
    ("operation", "model", "transport"),
    [
        ("embeddings", "openai/text-embedding-3-small", "wire"),
        ("embeddings", "ollama/nomic-embed-text", "wire"),
        ("text_completion", "openai/gpt-3.5-turbo-instruct", "wire"),
        ("speech", "openai/tts-1", "litellm"),
        ("transcription", "openai/whisper-1", "litellm"),
        ("embeddings", "local/bge-small-en-v1.5", "local"),
    ],
)
def test_operations(operation: Operation, model: str, transport: str) -> None:
    assert chosen(model, {"input": "one"}, operation).transport == transport


@pytest.mark.parametrize("operation", ["speech", "transcription"])
def test_no_sound_is_asked_for_without_litellm(operation: Operation) -> None:
    with pytest.raises(BadRequestError, match=f"transport: {operation} goes through litellm, not 'wire'"):
        chosen("openai/tts-1", {"input": "one"}, operation, transport="wire")


def test_the_model_in_this_process_is_asked_there() -> None:
    assert str(chosen("local/smollm2-135m-instruct")) == "local (it runs in this process)"


def test_the_caller_may_say() -> None:
    assert chosen("openai/gpt-4o", transport="litellm") == ("litellm", "transport='litellm' asks for it")
    assert chosen("ollama/m", transport="wire") == ("wire", "transport='wire' asks for it")
    with pytest.raises(BadRequestError, match="anthropic models are reached by transport='litellm', not 'wire'"):
        chosen("anthropic/claude-sonnet-4-5", transport="wire")


def test_the_settings_may_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAS_TRANSPORT", "litellm")
    assert chosen("openai/gpt-4o") == ("litellm", "LAS_TRANSPORT=litellm asks for it")
    assert chosen("openai/gpt-4o", transport="wire").transport == "wire"


@pytest.mark.parametrize("name", ["drop_params", "temperature", "ssl_verify", "extra_body", "rpm"])
def test_options_are_litellms(name: str) -> None:
    why = f"the option {name} is litellm's"
    assert chosen("openai/gpt-4o", entry={"options": {name: True}}) == ("litellm", why)


def test_some_options_are_understood() -> None:
    understood = {"organization": "o", "extra_headers": {"x-team": "red"}, "azure_ad_token": "t", "base_model": "m"}
    assert chosen("openai/gpt-4o", entry={"options": understood}).transport == "wire"


def test_callbacks_of_the_settings_hear_only_of_litellms_calls() -> None:
    service = LiteLLMService(load_settings(callbacks=["langfuse"], openai_api_key="key-0123456789abcdef"))
    assert choose(service.target("openai/gpt-4o")) == ("litellm", "LAS_CALLBACKS hear only of litellm's calls")


@pytest.mark.parametrize("name", ["SSL_VERIFY", "SSL_CERTIFICATE", "SSL_SECURITY_LEVEL", "SSL_ECDH_CURVE"])
def test_litellms_variables_of_certificates(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    assert chosen("openai/gpt-4o") == ("litellm", f"{name} is litellm's")


@pytest.mark.parametrize(
    ("provider", "name"),
    [("openai", "OPENAI_PROJECT_ID"), ("openai", "OPENAI_CUSTOM_HEADERS"), ("azure", "AZURE_AD_TOKEN")],
)
def test_variables_that_litellm_reads_of_a_provider(provider: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "x")
    assert chosen(f"{provider}/gpt-4o") == ("litellm", f"{name} is litellm's")
    assert chosen("groq/llama-3.3-70b-versatile").transport == "wire"


@pytest.mark.parametrize("name", ["OPENAI_ORGANIZATION", "OPENAI_ORG_ID"])
@pytest.mark.parametrize("transport", ["wire", "litellm"])
def test_the_variables_of_an_organization(
    transport: Literal["wire", "litellm"], name: str, upstream: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "org-1")
    ChatLAS(model="openai/gpt-4o", transport=transport, max_retries=0).invoke("hello")
    assert upstream.last.headers["openai-organization"] == "org-1"


def heard(*said: Any) -> None:
    """What a user of litellm's sets."""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("callbacks", [heard]),
        ("success_callback", ["langfuse"]),
        ("failure_callback", [heard]),
        ("_async_success_callback", [heard]),
        ("pre_call_rules", [heard]),
        ("cache", object()),
        ("drop_params", True),
        ("model_alias_map", {"a": "b"}),
        ("custom_provider_map", [{}]),
        ("headers", {"x-team": "red"}),
        ("ssl_verify", False),
    ],
)
def test_what_users_set_at_litellm_has_its_part(name: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litellm, name, value)
    assert chosen("openai/gpt-4o") == ("litellm", f"litellm.{name} is set")


def test_litellm_as_it_is_imported_has_none() -> None:
    assert chosen("openai/gpt-4o").transport == "wire"


def test_a_callback_of_litellms_has_the_next_call_go_by_it(
    upstream: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ChatLAS(model="openai/gpt-4o", max_retries=0)
    model.invoke("hello")
    monkeypatch.setattr(litellm, "success_callback", [heard])
    model.invoke("hello")
    assert ["las-langchain" in request.headers["user-agent"] for request in upstream.requests] == [True, False]


WITHOUT = """
import json, sys
from las_langchain import ChatLAS, LASEmbeddings

model = ChatLAS(model="openai/gpt-4o")
said = [model.invoke("hello").content, "".join(chunk.content for chunk in model.stream("hello"))]
vectors = LASEmbeddings(model="openai/text-embedding-3-small").embed_documents(["one"])
print(json.dumps([said, len(vectors[0]), "litellm" in sys.modules]))
"""


def test_a_call_without_litellm_does_not_import_it(upstream: FakeOpenAI, tmp_path: Path) -> None:
    environment = {
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "OPENAI_API_KEY": UPSTREAM_KEY,
        "OPENAI_BASE_URL": upstream.url,
        "LAS_DATA_DIR": str(tmp_path),
    }
    command = [sys.executable, "-c", WITHOUT]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [["Echo: hello"] * 2, 8, False]
    assert {"las-langchain" in request.headers["user-agent"] for request in upstream.requests} == {True}
