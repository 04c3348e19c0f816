"""Every code block of the guide, run as it stands there but for its import lines."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import litellm
import pytest
from langchain_core._api import LangChainDeprecationWarning
from packaging.specifiers import SpecifierSet
from pydantic import SecretStr

from las_langchain import ChatLAS, LiteLLMService, get_litellm_service, load_settings
from las_langchain.errors import AuthenticationError, BadRequestError, RateLimitError, ServiceUnavailableError
from las_langchain.provider_rows import PROVIDERS
from tests.conftest import UPSTREAM_KEY, Server, WarmServer
from tests.fake_ollama import FakeOllama
from tests.fake_ollama import Reply as OllamaReply
from tests.fake_openai import FakeOpenAI, Reply
from tests.guide_snippets import BLOCKS, COVERED, GUIDE, IMPORTS, covers, run, translated

Json = dict[str, Any]
ROOT = Path(__file__).parent.parent
HELLO = [{"role": "user", "content": "Hello!"}]

ORIGINAL = "ad7bbf87fc5d3304b7cc68162b69f55e6a1474317faa1e849f84640c10c666a4"

# What the guide shows and nobody runs.
NOT_RUN = {("Architecture", 0): "a drawing"}


@pytest.fixture(scope="module")
def _ollama() -> Iterator[FakeOllama]:
    with FakeOllama() as double:
        yield double


@pytest.fixture
def ollama(_ollama: FakeOllama, upstream: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> FakeOllama:
    """The double of Ollama, and the environment of the guide's reader: keys, addresses, Ollama by default."""
    _ollama.reset()
    monkeypatch.setenv("OLLAMA_BASE_URL", _ollama.url)
    monkeypatch.setenv("LAS_DEFAULT_PROVIDER", "ollama")
    return _ollama


@pytest.fixture
def svc(ollama: FakeOllama) -> LiteLLMService:
    """What the guide has in ``svc`` after its first snippet."""
    return get_litellm_service()


@pytest.fixture(scope="module")
def guide_server(
    data_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
    _upstream: FakeOpenAI,
    _ollama: FakeOllama,
    warm_python: None,
) -> Iterator[Server]:
    """A running server with both doubles."""
    environment = {
        "LAS_DATA_DIR": str(data_dir),
        "LAS_DEFAULT_PROVIDER": "ollama",
        "OPENAI_API_KEY": UPSTREAM_KEY,
        "OPENAI_BASE_URL": _upstream.url,
        "OLLAMA_BASE_URL": _ollama.url,
    }
    with WarmServer(environment=environment, cwd=tmp_path_factory.mktemp("guide")) as running:
        yield running


class Http:
    """Requests to the server as the guide writes them: a method, a path and a JSON block."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(self, path: str) -> Json:
        """The JSON answer to a GET request."""
        with self._opener.open(self._url + path, timeout=60) as response:
            return dict(json.load(response))

    def post(self, path: str, heading: str, place: int = 0) -> bytes:
        """The answer to a POST request whose body is a block of the guide."""
        body = BLOCKS[heading, place].text.encode()
        request = urllib.request.Request(self._url + path, body, {"content-type": "application/json"})
        with self._opener.open(request, timeout=60) as response:
            return bytes(response.read())


@pytest.fixture
def http(guide_server: Server, svc: LiteLLMService) -> Http:
    return Http(guide_server.url)


# Quick Start


@covers("1. Install LiteLLM")
def test_install_litellm() -> None:
    command, *packages = shlex.split(BLOCKS["1. Install LiteLLM", 0].text.replace(">", r"\>"))[1:]
    assert command == "install"
    for package in packages:
        name, specifier = re.split(r"(?=[<>=])", package, maxsplit=1)
        assert version(name) in SpecifierSet(specifier)


@covers("2. Configure API Keys")
def test_configure_api_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    text = BLOCKS["2. Configure API Keys", 0].text
    Path(".env").write_text(text, encoding="utf-8")
    service = LiteLLMService(load_settings())
    assigned = dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))
    assert service.target("ollama/llama3.2").api_base == assigned.pop("OLLAMA_BASE_URL") == "http://localhost:11434"
    assert len(assigned) == 5
    for variable, value in assigned.items():
        (row,) = [row for row in PROVIDERS.values() if variable in row.key_variables]
        key = service.target(row.example).api_key
        assert key
        assert key.get_secret_value() == value


def test_the_environment_template_has_the_guides_variables() -> None:
    template = (ROOT / ".env.example").read_text(encoding="utf-8")
    for variable in re.findall(r"^(\w+)=", BLOCKS["2. Configure API Keys", 0].text, re.MULTILINE):
        assert re.search(rf"^(# )?{variable}=", template, re.MULTILINE), variable


@covers("3. Start the API")
def test_start_the_api(monkeypatch: pytest.MonkeyPatch) -> None:
    command = BLOCKS["3. Start the API", 0].text.splitlines()[-1]
    words = shlex.split(command.replace("api:app", "servers.app:app"))
    assert words[:4] == ["python", "-m", "uvicorn", "servers.app:app"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    # Reloading would need another process to end; a test must not be open to the network, nor take a fixed port.
    words = [sys.executable, *words[1:4], "--host", "127.0.0.1", "--port", port]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            assert _answer_of(process, f"http://127.0.0.1:{port}/health")["status"] == "ok"
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            finally:
                process.kill()


def _answer_of(process: subprocess.Popen[bytes], url: str) -> Json:
    for _ in range(600):
        assert process.poll() is None
        try:
            return Http(url).get("")
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the server does not answer")


# API Endpoints


@covers("Chat Completions", 0)
def test_chat_completions(http: Http, ollama: FakeOllama) -> None:
    answer = json.loads(http.post("/api/v1/litellm/chat/completions", "Chat Completions", 0))
    assert answer["choices"][0]["message"]["content"] == "Echo: Hello!"
    assert answer["object"] == "chat.completion"
    assert answer["usage"]["total_tokens"] > 0
    sent = ollama.last.body
    assert (sent["model"], sent["options"]["temperature"], sent["options"]["num_predict"]) == ("llama3.2", 0.7, 4096)


@covers("Chat Completions", 1)
def test_streaming_response(http: Http, ollama: FakeOllama) -> None:
    stream = http.post("/api/v1/litellm/chat/completions", "Chat Completions", 1).decode()
    *events, done = [line.removeprefix("data: ") for line in stream.splitlines() if line.startswith("data: ")]
    assert done == "[DONE]"
    chunks = [json.loads(event) for event in events]
    texts = [choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]]
    assert "".join(texts) == "Echo: Tell me a story"
    assert len([text for text in texts if text]) > 1
    assert ollama.last.body["stream"] is True


@covers("OpenAI-Compatible Proxy")
def test_openai_compatible_proxy(guide_server: Server, svc: LiteLLMService, monkeypatch: pytest.MonkeyPatch) -> None:
    # The snippet's address has the guide's own port, which may be taken here; the client asks this server for it.
    monkeypatch.setenv("HTTP_PROXY", guide_server.url)
    for name in ("NO_PROXY", "no_proxy", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    names = run("OpenAI-Compatible Proxy")
    names["client"].close()
    assert names["client"].base_url == "http://localhost:7777/api/v1/litellm/v1/"
    assert names["response"].choices[0].message.content == "Echo: Hello!"
    assert names["response"].usage.total_tokens > 0


def test_list_models(http: Http) -> None:
    assert "**GET** `/api/v1/litellm/models?provider=ollama`" in GUIDE.read_text(encoding="utf-8")
    models = http.get("/api/v1/litellm/models?provider=ollama")
    assert any(model["id"].startswith("ollama/llama3.2") for model in models["data"])


def test_list_providers(http: Http) -> None:
    assert "**GET** `/api/v1/litellm/providers`" in GUIDE.read_text(encoding="utf-8")
    providers = http.get("/api/v1/litellm/providers")["providers"]
    assert len(providers) >= 100
    assert {"ollama", "openai", "anthropic"} <= {row["name"] for row in providers}
    assert UPSTREAM_KEY not in json.dumps(providers)


@covers("Vision (Image Analysis)")
def test_vision_image_analysis(http: Http, upstream: FakeOpenAI) -> None:
    answer = json.loads(http.post("/api/v1/litellm/vision", "Vision (Image Analysis)"))
    assert answer["choices"][0]["message"]["content"] == "Echo: What's in this image? [image]"
    text, image = upstream.last.body["messages"][0]["content"]
    assert text == {"type": "text", "text": "What's in this image?"}
    assert image["image_url"]["url"] == "https://example.com/image.jpg"


@covers("Embeddings", 0)
def test_embeddings_endpoint(http: Http, upstream: FakeOpenAI) -> None:
    answer = json.loads(http.post("/api/v1/litellm/embeddings", "Embeddings", 0))
    assert all(isinstance(number, float) for number in answer["data"][0]["embedding"])
    assert (upstream.last.body["model"], upstream.last.body["input"]) == ("text-embedding-3-small", "Hello world")


@covers("Cost Estimation")
def test_cost_estimation(http: Http) -> None:
    answer = json.loads(http.post("/api/v1/litellm/cost/estimate", "Cost Estimation"))
    assert (answer["input_cost_usd"], answer["output_cost_usd"], answer["total_cost_usd"]) == (0.0025, 0.005, 0.0075)


# Python SDK Usage


@covers("Basic Completion")
def test_basic_completion(ollama: FakeOllama, upstream: FakeOpenAI, capsys: pytest.CaptureFixture[str]) -> None:
    names = run("Basic Completion")
    assert capsys.readouterr().out == "Echo: Hello!\n"
    assert ollama.last.body["model"] == "llama3.2"
    assert names["response"].choices[0].message.content == "Echo: Hello!"
    assert upstream.last.body["model"] == "gpt-4o"
    assert names["svc"] is get_litellm_service()


@covers("Streaming")
def test_streaming(svc: LiteLLMService, ollama: FakeOllama, capsys: pytest.CaptureFixture[str]) -> None:
    ollama.enqueue(OllamaReply(chunks=["Once", " upon", " a", " time."]))
    run("Streaming", svc=svc)
    assert capsys.readouterr().out == "Once upon a time."
    assert (ollama.last.body["model"], ollama.last.body["stream"]) == ("llama3.2", True)


@covers("Function Calling / Tool Use")
def test_function_calling_tool_use(
    svc: LiteLLMService, upstream: FakeOpenAI, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run("Function Calling / Tool Use", svc=svc)["result"]
    printed = capsys.readouterr().out
    assert printed == f"{result['response']}\n"
    for word in ("Tokyo", "Sunny", "72°F"):
        assert word.lower() in printed.lower()
    (call,) = result["tool_calls"]
    assert (call["name"], call["arguments"]) == ("get_weather", {"location": "Tokyo"})
    assert upstream.requests[0].body["tools"][0]["function"]["parameters"]["required"] == ["location"]
    assert upstream.last.body["messages"][-1]["content"] == "Weather in Tokyo: Sunny, 72°F"


@covers("Vision")
def test_vision(svc: LiteLLMService, upstream: FakeOpenAI) -> None:
    response = run("Vision", svc=svc)["response"]
    assert response.choices[0].message.content == "Echo: Describe this image in detail [image]"
    image = upstream.last.body["messages"][0]["content"][1]
    assert image["image_url"]["url"] == "https://example.com/cat.jpg"


@covers("Embeddings", 1)
def test_embeddings(svc: LiteLLMService, upstream: FakeOpenAI) -> None:
    first, second = run("Embeddings", 1, svc=svc)["embeddings"]
    assert len(first) == len(second) > 0
    assert all(isinstance(number, float) for number in first + second)
    assert first != second
    assert upstream.last.body["input"] == ["Hello world", "Goodbye world"]


# Provider Factory Integration, Configuration


@covers("Provider Factory Integration")
def test_provider_factory_integration(ollama: FakeOllama, upstream: FakeOpenAI) -> None:
    names = run("Provider Factory Integration")
    assert names["response"].choices[0].message.content == "Echo: Hello!"
    assert upstream.last.body["model"] == "gpt-4o"
    assert names["provider"].chat_completion(HELLO).choices[0].message.content == "Echo: Hello!"
    assert ollama.last.body["model"] == "llama3.2"


@covers("Service Configuration")
def test_service_configuration(ollama: FakeOllama) -> None:
    svc = run("Service Configuration")["svc"]
    assert svc.config.default_provider == "ollama"
    assert svc.config.default_model == "ollama/llama3.2"
    assert svc.config.ollama_base_url == svc.target().api_base == "http://localhost:11434"
    svc.update_config(ollama_base_url=ollama.url)
    first, second = (svc.chat_completion(HELLO) for _ in range(2))
    assert first.choices[0].message.content == second.choices[0].message.content == "Echo: Hello!"
    assert second.cache_hit
    (request,) = ollama.requests
    assert request.body["model"] == "llama3.2"
    assert (request.body["options"]["temperature"], request.body["options"]["num_predict"]) == (0.7, 4096)


@covers("Runtime Updates")
def test_runtime_updates(svc: LiteLLMService, upstream: FakeOpenAI) -> None:
    run("Runtime Updates", svc=svc)
    assert svc.chat_completion(HELLO).choices[0].message.content == "Echo: Hello!"
    assert (upstream.last.body["model"], upstream.last.body["temperature"]) == ("gpt-4o", 0.5)


# Error Handling

FAILURES = {
    401: (litellm.exceptions.AuthenticationError, AuthenticationError),
    400: (litellm.exceptions.InvalidRequestError, BadRequestError),
    429: (litellm.exceptions.RateLimitError, RateLimitError),
    503: (litellm.exceptions.ServiceUnavailableError, ServiceUnavailableError),
}


@covers("Error Handling")
@pytest.mark.parametrize("status", [200, *FAILURES])
def test_error_handling(svc: LiteLLMService, upstream: FakeOpenAI, status: int) -> None:
    svc.update_config(default_model="openai/gpt-4o")
    failure = Reply(status=status, headers={"retry-after": "0"}, content="Hi")
    upstream.enqueue(*[failure] * 3)
    names = run("Error Handling", svc=svc, messages=HELLO)
    assert ("response" in names) == (status == 200)
    assert len(upstream.requests) == (3 if status in (429, 503) else 1)
    if status in FAILURES:
        upstream.enqueue(*[failure] * 3)
        for kind in FAILURES[status]:
            with pytest.raises(kind) as caught:
                svc.chat_completion(HELLO, max_retries=0)
            others = [other for name, (other, _) in FAILURES.items() if name != status]
            assert not isinstance(caught.value, tuple(others))


def test_error_handling_lets_other_errors_pass(svc: LiteLLMService, upstream: FakeOpenAI) -> None:
    svc.update_config(default_model="openai/gpt-4o")
    upstream.enqueue(Reply(status=403))
    with pytest.raises(litellm.exceptions.PermissionDeniedError):
        run("Error Handling", svc=svc, messages=HELLO)


# LangChain Integration


@covers("LangChain Integration")
def test_langchain_integration(svc: LiteLLMService, upstream: FakeOpenAI) -> None:
    with pytest.warns(LangChainDeprecationWarning):
        names = run("LangChain Integration")
    assert isinstance(names["llm"], ChatLAS)
    assert names["result"] == "Echo: Tell me about AI"
    assert (upstream.last.body["model"], len(upstream.requests)) == ("gpt-4o", 1)
    chain = names["prompt"] | names["llm"]
    assert chain.invoke({"topic": "AI"}).content == names["result"]


# Monitoring & Observability


@pytest.fixture
def _callbacks() -> Iterator[None]:
    """litellm's lists of callbacks, as they were before the test."""
    names = ("success_callback", "failure_callback", "_async_success_callback", "_async_failure_callback")
    before = {name: list(getattr(litellm, name)) for name in names}
    yield
    for name, callbacks in before.items():
        setattr(litellm, name, callbacks)


@covers("Monitoring & Observability")
@pytest.mark.usefixtures("_callbacks")
def test_monitoring_observability(
    svc: LiteLLMService, upstream: FakeOpenAI, capsys: pytest.CaptureFixture[str]
) -> None:
    run("Monitoring & Observability")
    svc.chat_completion(HELLO, model="gpt-4o", provider="openai")
    printed = ""
    for _ in range(200):
        # litellm calls back in a thread of its own.
        printed += capsys.readouterr().out
        if printed:
            break
        time.sleep(0.05)
    assert re.fullmatch(r"Model: gpt-4o\S*, Tokens: .*total_tokens=3.*\n", printed)


# Tables


def _table(heading: str) -> list[list[str]]:
    """The rows of the table under a heading, without backquotes and asterisks."""
    section = GUIDE.read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip(" `*") for cell in row] for row in rows[2:]]


@pytest.mark.parametrize("row", _table("Supported Providers"), ids=lambda row: row[0])
def test_supported_providers(service: LiteLLMService, row: list[str]) -> None:
    _, model, features, needs_key = row
    provider, _, name = model.partition("/")
    target = service.target(model, api_key=SecretStr("sk-0123456789"))
    assert (target.provider, target.model) == (provider, name)
    (info,) = [info for info in service.list_providers() if info.name == provider]
    assert info.keyless == (needs_key == "No")
    known = {feature.lower() for feature in info.features}
    if "Vision" in features or "Tools" in features:
        assert {word.lower() for word in ("Vision", "Tools") if word in features} <= known


@pytest.mark.parametrize("row", _table("Model Name Formats"), ids=lambda row: row[0])
def test_model_name_formats(service: LiteLLMService, row: list[str]) -> None:
    _, form, example = row
    target = service.target(example, api_key=SecretStr("sk-0123456789"))
    assert form.split("/")[0] == target.provider
    assert target.id == example


# The whole


def test_every_block_is_covered_once() -> None:
    expected = {name for name, block in BLOCKS.items() if block.language}
    assert expected.isdisjoint(NOT_RUN)
    assert BLOCKS.keys() == expected | NOT_RUN.keys()
    assert COVERED.keys() == expected
    assert {name: tests for name, tests in COVERED.items() if len(tests) != 1} == {}
    languages = [block.language for block in BLOCKS.values() if block.language]
    assert {name: languages.count(name) for name in set(languages)} == {"python": 12, "json": 5, "bash": 3}


def test_the_guide_is_as_its_author_wrote_it() -> None:
    # Tools that format code blocks in Markdown would change it.
    assert hashlib.sha256(GUIDE.read_bytes()).hexdigest() == ORIGINAL


def test_nothing_but_import_lines_is_changed() -> None:
    changed = set()
    for block in BLOCKS.values():
        if block.language == "python":
            for before, after in zip(block.text.splitlines(), translated(block.text).splitlines(), strict=True):
                if before != after:
                    assert before.split(" import ")[1] == after.split(" import ")[1]
                    changed.add(before.split()[1])
    assert changed == IMPORTS.keys()
