"""The LAS REST API over a socket: as the guide shows it, and with everything that can be wrong with a request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from las_langchain.settings import load_settings
from servers.shown import shown
from tests.conftest import UPSTREAM_KEY, Server, WarmServer
from tests.fake_openai import FakeOpenAI, Reply

Json = dict[str, Any]
API = "/api/v1/litellm"
MODEL = "local/smollm2-135m-instruct"
HELLO = [{"role": "user", "content": "hello"}]
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABh6FO1AAAAABJRU5ErkJggg=="
IMAGE = f"data:image/png;base64,{PNG}"


@pytest.fixture
def http(server: Server, upstream: FakeOpenAI) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url + API, timeout=60, trust_env=False) as client:
        yield client


def test_a_chat_plain_and_streamed(http: httpx.Client) -> None:
    body = {"model": "gpt-4o", "provider": "openai", "messages": HELLO, "temperature": 0.7, "max_tokens": 4096}
    answer = http.post("/chat/completions", json={**body, "stream": False}).json()
    assert answer["choices"][0]["message"]["content"] == "Echo: hello"
    with http.stream("POST", "/chat/completions", json={**body, "stream": True}) as response:
        events = [line.removeprefix("data: ") for line in response.iter_lines() if line]
    assert response.headers["content-type"].startswith("text/event-stream")
    assert events[-1] == "[DONE]"
    text = "".join(json.loads(event)["choices"][0]["delta"].get("content") or "" for event in events[:-1])
    assert text == "Echo: hello"


def test_a_client_who_wants_no_usage_is_charged_all_the_same(http: httpx.Client, upstream: FakeOpenAI) -> None:
    body = {"model": "openai/gpt-4o", "messages": HELLO, "stream": True, "stream_options": {"include_usage": False}}
    answer = http.post("/chat/completions", json=body)
    assert '"usage":{' not in answer.text
    assert upstream.last.body["stream_options"] == {"include_usage": True}
    body["stream_options"] = {"include_usage": False, "include_obfuscation": False}
    http.post("/chat/completions", json=body)
    assert upstream.last.body["stream_options"] == {"include_usage": True, "include_obfuscation": False}


def test_without_a_model_the_default_one_answers(http: httpx.Client) -> None:
    answer = http.post("/chat/completions", json={"messages": HELLO, "max_tokens": 2}).json()
    assert answer["model"] == MODEL
    answer = http.post("/embeddings", json={"input": "Hello world"}).json()
    assert len(answer["data"][0]["embedding"]) == 384


def test_vision_takes_urls_and_data_uris(http: httpx.Client, upstream: FakeOpenAI) -> None:
    body = {"prompt": "What's in this image?", "model": "openai/gpt-4o"}
    answer = http.post("/vision", json={**body, "image_url": IMAGE, "images": ["https://example.com/a.jpg"]})
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"]
    parts = upstream.last.body["messages"][0]["content"]
    assert [part.get("image_url", {}).get("url") for part in parts[1:]] == [IMAGE, "https://example.com/a.jpg"]


def test_embeddings_name_the_provider_beside_the_model(http: httpx.Client) -> None:
    body = {"input": "Hello world", "model": "text-embedding-3-small", "provider": "openai"}
    answer = http.post("/embeddings", json=body).json()
    assert answer["data"][0]["object"] == "embedding"
    assert answer["usage"]["prompt_tokens"] > 0


def test_costs_are_estimated_and_unknown_ones_are_null(http: httpx.Client) -> None:
    body = {"model": "openai/gpt-4o", "input_tokens": 1000, "output_tokens": 500}
    known = http.post("/cost/estimate", json=body).json()
    assert known["total_cost_usd"] == pytest.approx(1000 * 2.5e-6 + 500 * 1e-5)
    unknown = http.post("/cost/estimate", json={**body, "model": "openai/no-such-model"}).json()
    assert unknown["total_cost_usd"] is None


def test_models_say_where_they_are_from(http: httpx.Client) -> None:
    answer = http.get("/models", params={"provider": "openai"}).json()
    assert answer["sources"]["openai"]["source"] == "live"
    assert {model["provider"] for model in answer["data"]} == {"openai"}
    # Nothing listens at the address that the test's server has for Ollama.
    answer = http.get("/models", params={"provider": "ollama"}).json()
    assert answer["sources"]["ollama"]["source"] == "litellm"
    assert answer["sources"]["ollama"]["error"]


def test_providers_are_listed_with_what_they_need(http: httpx.Client) -> None:
    rows = {row["name"]: row for row in http.get("/providers").json()["providers"]}
    guide = "ollama openai anthropic gemini groq openrouter huggingface together_ai deepseek azure bedrock vllm".split()
    assert {"local", *guide} <= rows.keys()
    assert rows["openai"]["configured"]
    assert not rows["anthropic"]["configured"]
    assert rows["ollama"]["keyless"]
    assert "mistral" in rows
    assert UPSTREAM_KEY not in http.get("/providers").text


def test_a_provider_is_tried_out(http: httpx.Client, upstream: FakeOpenAI) -> None:
    good = http.post("/providers/openai/test").json()
    assert (good["ok"], good["model"], good["error"]) == (True, "openai/gpt-4o", None)
    assert upstream.last.body["max_tokens"] == 1
    upstream.enqueue(Reply(status=401))
    bad = http.post("/providers/openai/test", json={"model": "gpt-4o-mini"}).json()
    assert (bad["ok"], bad["error"]["code"]) == (False, "invalid_api_key")
    missing = http.post("/providers/anthropic/test").json()
    assert "ANTHROPIC_API_KEY" in missing["error"]["message"]
    down = http.post("/providers/ollama/test").json()
    assert "Ollama does not answer" in down["error"]["message"]


def test_speech_and_transcription(http: httpx.Client, upstream: FakeOpenAI) -> None:
    spoken = http.post("/audio/speech", json={"model": "openai/tts-1", "input": "Hello", "voice": "alloy"})
    assert spoken.headers["content-type"] == "audio/mpeg"
    assert spoken.content
    form = {"model": "whisper-1", "provider": "openai", "language": "en"}
    written = http.post("/audio/transcriptions", data=form, files={"file": ("a.mp3", b"ID3sound", "audio/mpeg")})
    assert written.status_code == 200, written.text
    assert written.json()["text"]


def test_usage_adds_up_what_was_called(http: httpx.Client) -> None:
    http.post("/chat/completions", json={"model": "openai/gpt-4o", "messages": HELLO})
    rows = {row["group"]: row for row in http.get("/usage").json()["rows"]}
    assert rows["openai/gpt-4o"]["calls"] >= 1
    assert rows["openai/gpt-4o"]["cost_usd"] > 0
    days = http.get("/usage", params={"by": "day", "since": "2020-01-01"}).json()["rows"]
    assert sum(row["calls"] for row in days) >= rows["openai/gpt-4o"]["calls"]


def test_health_tells_of_each_provider(http: httpx.Client) -> None:
    answer = http.get("/health").json()
    assert (answer["status"], answer["ledger"]) == ("ok", "ok")
    states = {name: row["status"] for name, row in answer["providers"].items()}
    assert states["local"] == states["openai"] == "ok"
    assert states["anthropic"] == "not configured"
    assert states["ollama"] == "unreachable"


BAD: list[tuple[str, str, Any, int, str | None]] = [
    ("POST", "/chat/completions", {"messages": "hi"}, 400, "messages"),
    ("POST", "/chat/completions", {}, 400, "messages"),
    ("POST", "/chat/completions", {"messages": HELLO, "temperature": "hot"}, 400, "temperature"),
    ("POST", "/chat/completions", {"messages": HELLO, "stream": "yes"}, 400, "stream"),
    ("POST", "/chat/completions", {"messages": HELLO, "max_tokens": -1}, 400, "max_tokens"),
    ("POST", "/chat/completions", {"messages": HELLO, "api_base": "http://evil"}, 400, "api_base"),
    ("POST", "/chat/completions", {"messages": HELLO, "model": "opnai/x"}, 404, "model"),
    ("POST", "/chat/completions", {"messages": HELLO, "model": "local/none"}, 404, "model"),
    ("POST", "/chat/completions", {"messages": HELLO, "model": "x", "provider": "opnai"}, 404, "provider"),
    ("POST", "/chat/completions", {"messages": HELLO, "provider": "openai"}, 400, "model"),
    ("POST", "/chat/completions", {"messages": HELLO, "model": "anthropic/claude-sonnet-4-5"}, 401, None),
    ("POST", "/vision", {"image_url": IMAGE}, 400, "prompt"),
    ("POST", "/vision", {"prompt": "What?"}, 400, "image_url"),
    ("POST", "/vision", {"prompt": "What?", "image_url": 7}, 400, "image_url"),
    ("POST", "/vision", {"prompt": "What?", "image_url": "/etc/passwd", "model": "openai/gpt-4o"}, 400, "image_url"),
    ("POST", "/vision", {"prompt": "?", "image_url": "file:///etc/passwd", "model": "openai/gpt-4o"}, 400, "image_url"),
    ("POST", "/vision", {"prompt": "?", "image_url": "data:image/png;base64,aGk"}, 400, "image_url"),
    ("POST", "/vision", {"prompt": "?", "image_url": "data:text/plain,hi", "model": "openai/gpt-4o"}, 400, "image_url"),
    ("POST", "/vision", {"prompt": "?", "image_url": "data:image/;base64,aGk="}, 400, "image_url"),
    ("POST", "/vision", {"prompt": "?", "image_url": "data:image/x\0y;base64,aGk="}, 400, "image_url"),
    ("POST", "/vision", {"prompt": "?", "image_url": "http://a\0b"}, 400, "image_url"),
    ("POST", "/vision", {"prompt": "?", "image_url": "http://a b/"}, 400, "image_url"),
    ("POST", "/vision", {"prompt": "What?", "image_path": "/etc/passwd"}, 400, "image_path"),
    ("POST", "/vision", {"prompt": "What?", "image_url": IMAGE, "model": "none/x"}, 404, "model"),
    ("POST", "/embeddings", {}, 400, "input"),
    ("POST", "/embeddings", {"input": {"a": 1}}, 400, "input"),
    ("POST", "/embeddings", {"input": "x", "dimensions": -3}, 400, "dimensions"),
    ("POST", "/embeddings", {"input": "x", "model": "x", "provider": "none"}, 404, "provider"),
    ("POST", "/cost/estimate", {"model": "openai/gpt-4o"}, 400, "input_tokens"),
    ("POST", "/cost/estimate", {"model": "openai/gpt-4o", "input_tokens": -1}, 400, "input_tokens"),
    ("POST", "/cost/estimate", {"model": "openai/gpt-4o", "input_tokens": "many"}, 400, "input_tokens"),
    ("POST", "/cost/estimate", {"model": "none/gpt-4o", "input_tokens": 1}, 404, "model"),
    ("POST", "/audio/speech", {"model": "openai/tts-1"}, 400, "input"),
    ("POST", "/audio/speech", {"model": "openai/tts-1", "input": "a", "speed": 9}, 400, "speed"),
    ("POST", "/audio/speech", {"model": MODEL, "input": "a"}, 400, "model"),
    ("POST", "/providers/none/test", {}, 404, "provider"),
    ("POST", "/providers/mistral/test", {}, 400, "model"),
    ("POST", "/providers/openai/test", {"model": 3}, 400, "model"),
    ("GET", "/models?provider=opnai", None, 404, "provider"),
    ("GET", "/usage?by=colour", None, 400, "by"),
    ("GET", "/usage?since=yesterday", None, 400, "since"),
    ("GET", "/usage?limit=-1", None, 400, "limit"),
    ("PATCH", "/config", {"temprature": 1}, 400, "temprature"),
    ("PATCH", "/config", {"self": 1}, 400, "self"),
    ("PATCH", "/config", {"temperature": "hot"}, 400, "temperature"),
    ("PATCH", "/config", {"providers": {"opnai": {"api_key": "x"}}}, 400, "providers"),
    ("PATCH", "/config", {"port": 1}, 409, "port"),
    ("GET", "/nowhere", None, 404, None),
    ("PUT", "/config", {}, 405, None),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "status", "param"), BAD)
def test_what_is_wrong_is_said_in_openais_form(
    http: httpx.Client, method: str, path: str, body: Any, status: int, param: str | None
) -> None:
    response = http.request(method, path, json=body)
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["param"] == param
    assert "Traceback" not in response.text
    assert UPSTREAM_KEY not in response.text
    if param:
        assert param in error["message"].lower() or error["code"] == "model_not_found"


POSTED = [path for method, path, *_ in BAD if method in ("POST", "PATCH")]


@pytest.mark.parametrize("path", sorted(set(POSTED)))
@pytest.mark.parametrize(
    ("content", "status"),
    [(b"{", 400), (b"[]", 400), (b"null", 400), (b"\xff\xfe", 400), (b"x" * 30_000_000, 413)],
    ids=["cut", "a list", "null", "no text", "30 MB"],
)
def test_bodies_that_are_no_requests(server: Server, path: str, content: bytes, status: int) -> None:
    method = "PATCH" if path == "/config" else "POST"
    headers = {"content-type": "application/json"}
    try:
        response = httpx.request(
            method, server.url + API + path, content=content, headers=headers, trust_env=False, timeout=60
        )
    except (httpx.WriteError, httpx.ReadError):
        # The server had refused before everything was sent, and closed.
        assert status == 413
        return
    assert response.status_code == status
    assert response.json()["error"]["message"]


def test_forms_that_are_wrong(http: httpx.Client) -> None:
    sound = {"file": ("a.mp3", b"ID3sound", "audio/mpeg")}
    path = "/audio/transcriptions"
    assert http.post(path, json={}).status_code == 415
    for data, files, param in [
        ({"model": "openai/whisper-1"}, {"other": ("a", b"a")}, "file"),
        ({"model": "openai/whisper-1"}, {"file": ("a.mp3", b"", "audio/mpeg")}, "file"),
        ({}, sound, "model"),
        ({"model": "openai/whisper-1", "temperature": "hot"}, sound, "temperature"),
        ({"model": "openai/whisper-1", "api_base": "http://evil"}, sound, "api_base"),
        ({"model": MODEL}, sound, "model"),
    ]:
        response = http.post(path, data=data, files=files)
        assert (response.status_code, response.json()["error"]["param"]) == (400, param), response.text
    response = http.post(path, data={"model": "openai/whisper-1"}, files={"file": ("a", b"x" * 2_000_000)})
    assert response.status_code == 413
    broken = http.post(path, content=b"--x\r\nnonsense", headers={"content-type": "multipart/form-data; boundary=x"})
    assert broken.status_code == 400


@pytest.fixture
def own(data_dir: Path, tmp_path: Path, upstream: FakeOpenAI, warm_python: None) -> dict[str, str]:
    """The environment of a server with a data folder of its own."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "models").symlink_to(data_dir / "models")
    return {"LAS_DATA_DIR": str(folder), "OLLAMA_BASE_URL": "http://127.0.0.1:9", "LAS_MAX_RETRIES": "0"}


def test_the_configuration_is_changed_kept_and_shows_no_secret(own: dict[str, str], tmp_path: Path) -> None:
    secret = "sk-new-secret-0123456789"
    changes = {
        "default_model": "openai/gpt-4o",
        "temperature": 0.5,
        "providers": {"openai": {"api_key": secret, "headers": {"x-team": "red-team"}}},
    }
    with WarmServer(environment=own) as server:
        url = f"{server.url}{API}/config"
        before = httpx.get(url, trust_env=False, timeout=60).json()
        assert before["settings"]["model"] == MODEL
        assert "set by LAS_MAX_RETRIES" in before["fixed"]["max_retries"]
        changed = httpx.patch(url, json=changes, trust_env=False, timeout=60)
        assert changed.status_code == 200, changed.text
        assert secret not in changed.text
        assert "red-team" not in changed.text
        assert changed.json()["settings"]["providers"]["openai"]["api_key"] == "**********"
        conflict = httpx.patch(url, json={"max_retries": 3}, trust_env=False, timeout=60)
        assert (conflict.status_code, conflict.json()["error"]["param"]) == (409, "max_retries")
        assert (
            httpx.patch(url, json={"temperature": 9, "max_tokens": 5}, trust_env=False, timeout=60).status_code == 400
        )
    stored = tmp_path / "data" / "settings.json"
    assert stored.stat().st_mode & 0o777 == 0o600
    with WarmServer(environment=own) as server:
        settings = httpx.get(f"{server.url}{API}/config", trust_env=False, timeout=60).json()["settings"]
        assert (settings["model"], settings["temperature"], settings["max_tokens"]) == ("openai/gpt-4o", 0.5, None)
        httpx.patch(f"{server.url}{API}/config", json={"temperature": None}, trust_env=False, timeout=60)
        assert (
            httpx.get(f"{server.url}{API}/config", trust_env=False, timeout=60).json()["settings"]["temperature"]
            is None
        )


@pytest.mark.parametrize("host", ["evil.example", "192.168.1.5:7777", "127.0.0.1.evil.example"])
@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_the_configuration_is_for_this_machine_alone(server: Server, host: str, method: str) -> None:
    response = httpx.request(
        method, f"{server.url}{API}/config", json={}, headers={"host": host}, trust_env=False, timeout=60
    )
    assert response.status_code == 403


def test_a_broken_file_of_settings_is_told_at_the_start(own: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "data" / "settings.json").write_text("{")
    server = WarmServer(environment=own)
    with pytest.raises(AssertionError, match=r"settings\.json cannot be read"), server:
        pass


FOR_THE_NEXT_START: list[Json] = [
    {"models": None},
    {"providers": None},
    {"providers": []},
    {"providers": 5},
    {"budgets": {"alice": 1e999}},
    {"cache_max_mb": 1e999},
    {"max_tokens": 10**25},
    {"openai_base_url": "http://[x"},
    {"openai_base_url": "ftp://host"},
    {"default_provider": "openai", "default_model": 5},
    {"default_provider": "openai", "default_model": ["gpt-4o"]},
    {"models": {"fast": {"deployments": 5}}},
    {"opnai_api_key": None},
    {"callbacks": ["nonsense"]},
]


LATER_CHANGES: list[tuple[Json, Json, Json]] = [
    (
        {"models": {"fast": {"deployments": ["openai/gpt-4o"], "fallbacks": ["openai/gpt-4o-mini"]}}},
        {"models": {"fast": {"deployments": ["openai/gpt-4o-mini"]}}},
        {"models": {"fast": {"deployments": ["openai/gpt-4o-mini"]}}},
    ),
    (
        {"providers": {"openai": {"headers": {"a": "1"}, "base_url": "http://127.0.0.1:9/v1"}}},
        {"providers": {"openai": {"headers": {"b": "2"}}}},
        {"providers": {"openai": {"headers": {"b": "2"}, "base_url": "http://127.0.0.1:9/v1"}}},
    ),
    (
        {"providers": {"groq": {"base_url": "http://127.0.0.1:9/v1"}}},
        {"providers": {"groq": {"base_url": None}}},
        {"providers": {"groq": {"base_url": None}}},
    ),
    ({"budgets": {"alice": 1.0, "bob": 2.0}}, {"budgets": {"alice": None}}, {"budgets": {"bob": 2.0}}),
]
"""A change, a later one, and what is kept of both; none touches what another does."""


def test_what_is_kept_is_what_the_next_start_takes_and_what_it_refuses_is_not(
    own: dict[str, str], tmp_path: Path
) -> None:
    stored, kept = tmp_path / "data" / "settings.json", dict[str, Any]()
    with WarmServer(environment=own) as server:
        url = f"{server.url}{API}/config"
        before = httpx.get(url, trust_env=False, timeout=60).json()
        for changes in FOR_THE_NEXT_START:
            assert _changed(url, changes).status_code == 400, changes
            assert httpx.get(url, trust_env=False, timeout=60).json() == before
        assert not stored.exists()
        for entry in ("providers", "models", "budgets"):
            assert _changed(url, {entry: {"openai": None}}).status_code == 200
    with WarmServer(environment=own) as server:
        url = f"{server.url}{API}/config"
        assert httpx.get(url, trust_env=False, timeout=60).json() == before
        stored.unlink(missing_ok=True)
        for first, second, expected in LATER_CHANGES:
            for changes in (first, second):
                answer = _changed(url, changes)
                assert answer.status_code == 200, answer.text
            (table,) = expected
            kept[table] = kept.get(table, {}) | expected[table]
            assert json.loads(stored.read_text()) == kept
        after = httpx.get(url, trust_env=False, timeout=60).json()
    with WarmServer(environment=own) as server:
        assert httpx.get(f"{server.url}{API}/config", trust_env=False, timeout=60).json() == after


def _changed(url: str, changes: Json) -> httpx.Response:
    # httpx's own JSON knows no infinity.
    headers = {"content-type": "application/json"}
    return httpx.patch(url, content=json.dumps(changes), headers=headers, trust_env=False, timeout=60)


def test_addresses_and_headers_are_shown_without_what_may_be_secret() -> None:
    settings = load_settings(
        providers={
            "openai": {
                "base_url": "https://me:pass@host/v1?sig=hidden",
                "options": {"extra_headers": {"cookie": "hidden"}, "aws_secret_access_key": "hidden"},
            }
        }
    )
    entry = shown(settings)["settings"]["providers"]["openai"]
    assert entry["base_url"] == "https://**********@host/v1?**********"
    assert "hidden" not in str(entry)


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded", "via"])
def test_the_configuration_is_not_for_those_behind_a_proxy(server: Server, header: str) -> None:
    url = f"{server.url}{API}/config"
    assert httpx.get(url, headers={header: "127.0.0.1"}, trust_env=False, timeout=60).status_code == 403
    assert httpx.get(url, headers={"host": "[::1"}, trust_env=False, timeout=60).status_code in (400, 403)


@pytest.fixture(scope="module")
def _changeable(
    data_dir: Path, tmp_path_factory: pytest.TempPathFactory, _upstream: FakeOpenAI, warm_python: None
) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("changeable")
    (folder / "models").symlink_to(data_dir / "models")
    (folder / "las.toml").write_text("[budgets]\nalice = 1.0\n")
    environment = {
        "LAS_DATA_DIR": str(folder),
        "LAS_MAX_RETRIES": "0",
        "LAS_ENABLE_CACHING": "true",
        "OPENAI_API_KEY": UPSTREAM_KEY,
        "OPENAI_BASE_URL": _upstream.url,
    }
    with (
        WarmServer(environment=environment, cwd=folder) as server,
        httpx.Client(base_url=server.url + API, timeout=60, trust_env=False) as client,
    ):
        yield client


@pytest.fixture
def changeable(_changeable: httpx.Client, upstream: FakeOpenAI) -> httpx.Client:
    """A client of a server whose configuration these tests change: with a cache, and a budget in its ``las.toml``."""
    return _changeable


def test_the_next_call_goes_by_the_changed_configuration(changeable: httpx.Client, upstream: FakeOpenAI) -> None:
    secret = "sk-new-secret-0123456789"
    changes = {"default_model": "gpt-4o", "default_provider": "openai", "openai_api_key": secret, "max_tokens": 7}
    changeable.patch("/config", json=changes)
    answer = changeable.post("/chat/completions", json={"messages": HELLO})
    assert answer.status_code == 200, answer.text
    assert upstream.last.headers["authorization"] == f"Bearer {secret}"
    assert upstream.last.body["max_tokens"] == 7


def test_an_entry_of_a_file_cannot_be_taken_away(changeable: httpx.Client) -> None:
    answer = changeable.patch("/config", json={"budgets": {"alice": None}})
    assert (answer.status_code, answer.json()["error"]["param"]) == (409, "budgets")
    assert changeable.patch("/config", json={"budgets": {"alice": 2.0}}).status_code == 200


def test_a_test_of_a_provider_asks_it_and_nobody_else(changeable: httpx.Client, upstream: FakeOpenAI) -> None:
    changeable.patch("/config", json={"routing": {"default_fallbacks": [MODEL]}})
    assert changeable.post("/providers/openai/test").json()["ok"]
    upstream.enqueue(Reply(status=500))
    assert not changeable.post("/providers/openai/test").json()["ok"]
