"""``las doctor``, run as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from las_langchain.usage import Ledger
from servers.diagnosis import diagnose
from tests import warm
from tests.ledger_process import record

pytestmark = pytest.mark.usefixtures("warm_python")

SECRETS = ("sk-a-secret", "hunter2")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def las(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``las doctor`` with *arguments*; whatever it says, it tells no secret."""
    result = warm.las("doctor", *arguments, **environment)
    assert result.stderr == ""
    assert not any(secret in result.stdout for secret in SECRETS)
    return result


def found(**environment: str) -> dict[str, Any]:
    """What it says as JSON; the exit code tells whether there are problems."""
    result = las("--json", **environment)
    said: dict[str, Any] = json.loads(result.stdout)
    assert result.returncode == bool(said["problems"])
    return said


def ways(said: dict[str, Any], kind: str) -> dict[str, tuple[str, str]]:
    """The transport and the reason of each name."""
    return {way["name"]: (way["transport"], way["why"]) for way in said["ways"] if way["kind"] == kind}


def test_a_machine_with_nothing_set_is_well(data_dir: Path) -> None:
    said = found()
    assert said["problems"] == []
    assert said["versions"].keys() == {"las-langchain", "Python", "litellm", "aiohttp", "langchain-core"}
    assert (said["data_dir"], said["writable"], said["settings"]) == (str(data_dir), True, {})
    assert set(said["embedded"].values()) == {True}
    assert said["cache"] == "off (LAS_ENABLE_CACHING)"
    assert ways(said, "default") == {
        "LAS_MODEL": ("local", "it runs in this process"),
        "LAS_EMBEDDING_MODEL": ("local", "it runs in this process"),
    }
    assert ways(said, "provider") == {
        "ollama": ("wire", "Ollama speaks OpenAI's format"),
        "bedrock": ("litellm", "AWS Bedrock has a format of its own"),
        "vllm": ("wire", "vLLM speaks OpenAI's format"),
    }
    assert said["missing"]["openai"] == "OPENAI_API_KEY"


def test_each_providers_transport_has_its_reason() -> None:
    keys = {"OPENAI_API_KEY": "sk-a-secret", "ANTHROPIC_API_KEY": "sk-a-secret"}
    said = found(**keys)
    assert ways(said, "provider")["openai"] == ("wire", "OpenAI speaks OpenAI's format")
    assert ways(said, "provider")["anthropic"] == ("litellm", "Anthropic has a format of its own")
    (openai,) = [way for way in said["ways"] if way["name"] == "openai"]
    assert (openai["key"], openai["address"]) == ("set", "https://api.openai.com/v1")
    forced = ways(found(**keys, LAS_TRANSPORT="litellm"), "provider")
    assert forced["openai"] == ("litellm", "LAS_TRANSPORT=litellm asks for it")
    heard = ways(found(**keys, LAS_CALLBACKS="langfuse"), "provider")
    assert heard["openai"] == ("litellm", "LAS_CALLBACKS hear only of litellm's calls")


def test_deployments_are_told_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "las.toml").write_text(
        """
        model = "fast"
        [models.fast]
        deployments = [
            {model = "openai/gpt-4o", api_key = "sk-a-secret", base_url = "https://me:hunter2@proxy.example/v1?hunter2"},
            {model = "anthropic/claude-sonnet-5-5"},
            {model = "azure/gpt-4", api_key = "sk-a-secret"},
        ]
        [models."groq-*"]
        deployments = [{model = "groq/*", api_key = "sk-a-secret"}]
        [providers.xai]
        api_key = "sk-a-secret"
        """
    )
    said = found()
    assert said["settings"] == {"las.toml": str(tmp_path / "las.toml")}
    told = [(way["name"], way["model"], way["transport"]) for way in said["ways"] if way["kind"] == "deployment"]
    assert told == [
        ("fast", "openai/gpt-4o", "wire"),
        ("fast", "anthropic/claude-sonnet-5-5", ""),
        ("fast", "azure/gpt-4", ""),
        ("groq-*", "groq/any", "wire"),
    ]
    assert said["ways"][0]["address"] == "https://proxy.example/v1"
    assert ways(said, "provider")["xai"][0] == "litellm"
    assert said["problems"] == [
        "fast: No key for Anthropic: set ANTHROPIC_API_KEY in the environment or in .env",
        "fast: No address for Azure OpenAI: set AZURE_API_BASE",
    ]


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        (
            {"LAS_MODEL": "openai/gpt-4o"},
            "LAS_MODEL: No key for OpenAI: set OPENAI_API_KEY in the environment or in .env",
        ),
        ({"LAS_MODLE": "x"}, "Unknown setting 'modle' in the environment; did you mean 'model'?"),
        ({"LAS_TIMEOUT": "soon"}, "LAS_TIMEOUT: "),
        ({"LAS_LOCAL_MODEL": "/nowhere.gguf"}, "LAS_LOCAL_MODEL: no such file: /nowhere.gguf; set it to a GGUF file"),
        (
            {"LAS_MODEL": "local/smollm2"},
            "LAS_MODEL: local/smollm2 is none of the local models for this; there is only local/smollm2-135m-instruct",
        ),
        (
            {"LAS_EMBEDDING_MODEL": "local/smollm2-135m-instruct"},
            "LAS_EMBEDDING_MODEL: local/smollm2-135m-instruct is none of the local models for this; "
            "there is only local/all-minilm-l6-v2",
        ),
        ({"LAS_CALLBACKS": "langfuze"}, "LAS_CALLBACKS: litellm knows no 'langfuze'; did you mean 'langfuse'?"),
        (
            {"LAS_ENABLE_CACHING": "1", "LAS_CACHE_TYPE": "redis"},
            "LAS_CACHE_TYPE=redis needs an address: set LAS_REDIS_URL",
        ),
        ({"SSL_CERT_FILE": "/nowhere.pem"}, "SSL_CERT_FILE: /nowhere.pem: No such file or directory"),
        ({"SSL_CERT_DIR": "/nowhere"}, "SSL_CERT_DIR: no such folder: /nowhere"),
        (
            {"ALL_PROXY": "socks5://me:hunter2@127.0.0.1:1080"},
            "ALL_PROXY: expected a proxy such as http://host:3128, not socks5://127.0.0.1:1080; NO_PROXY=",
        ),
        ({"LAS_DATABASE_URL": "postgresql://me:hunter2@127.0.0.1:9/las"}, "The ledger cannot be used"),
    ],
)
def test_a_problem_is_one_line_with_what_to_do(variables: dict[str, str], problem: str) -> None:
    result = las(**variables)
    assert result.returncode == 1
    *_, title, line = result.stdout.splitlines()
    assert title == "1 problem:"
    assert line.startswith(f"- {problem}")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("api.example", "api.example"),
        ("ftp://me:hunter2@api.example/v1", "ftp://***@api.example/v1"),
        ("http://me:hunter2@127.0.0.1:99999/v1", "http://***@127.0.0.1:99999/v1"),
        ("http://[::1/v1", "***"),
        ("https://api.example/v1/chat/completions", "https://api.example/v1/chat/completions"),
    ],
)
def test_an_address_that_no_call_can_go_to(given: str, shown: str) -> None:
    said = found(OPENAI_API_KEY="sk-a-secret", OPENAI_BASE_URL=given)
    expected = f"expected the base of an address, such as https://host/v1, not {shown}; OPENAI_BASE_URL sets it"
    assert said["problems"] == [f"openai: {expected}"]
    assert ways(said, "provider")["openai"] == ("", expected)
    assert ways(said, "provider")["ollama"] == ("wire", "Ollama speaks OpenAI's format")


def test_settings_that_are_wrong_are_told_with_their_files(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LAS_TIMEOUT=5\n")
    (tmp_path / "las.toml").write_text('modell = "openai/gpt-4o"\n')
    said = found()
    assert said["settings"] == {"las.toml": str(tmp_path / "las.toml"), ".env": str(tmp_path / ".env")}
    assert said["problems"] == ["Unknown setting 'modell' in las.toml; did you mean 'model'?"]
    assert str(tmp_path / "las.toml") in las().stdout
    assert found(LAS_CONFIG="nowhere.toml")["problems"] == ["LAS_CONFIG: no such file: nowhere.toml"]


def test_a_data_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = found(LAS_DATA_DIR=str(tmp_path / "file" / "data"))
    assert said["writable"] is False
    assert f"{tmp_path / 'file' / 'data'} cannot be written: set LAS_DATA_DIR to a folder that can" in said["problems"]


def test_embedded_models_that_are_not_installed(tmp_path: Path) -> None:
    said = found(LAS_DATA_DIR=str(tmp_path / "new"), LAS_EMBEDDING_MODEL="ollama/bge-m3")
    assert set(said["embedded"].values()) == {False}
    (problem,) = said["problems"]
    assert problem == "The embedded model local/smollm2-135m-instruct is not installed: run `las local install`"
    # It only looks.
    assert not (tmp_path / "new").exists()


def test_the_ledger_is_opened_where_there_is_one(data_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "data" / "usage.sqlite3"
    assert found(LAS_DATA_DIR=str(file.parent))["ledger"] == f"{file}, made with the first call"
    assert found(LAS_ENABLE_COST_TRACKING="false")["ledger"] == "off (LAS_ENABLE_COST_TRACKING)"
    file.parent.mkdir()
    (file.parent / "models").symlink_to(data_dir / "models")
    with Ledger(file) as ledger:
        ledger.write(record(model="openai/a-model"))
    assert found(LAS_DATA_DIR=str(file.parent))["ledger"] == str(file)
    file.write_text("These are my notes.\n" * 100)
    said = found(LAS_DATA_DIR=str(file.parent))
    assert said["ledger"] == "cannot be used"
    assert said["problems"][0].startswith("The ledger cannot be used; check its file")


def test_variables_are_told_without_their_passwords(tmp_path: Path) -> None:
    redis = {"LAS_ENABLE_CACHING": "1", "LAS_CACHE_TYPE": "redis", "LAS_REDIS_URL": "redis://me:hunter2@127.0.0.1:1/0"}
    said = found(HTTPS_PROXY="me:hunter2@proxy:3128", NO_PROXY="localhost", **redis)
    assert said["variables"] == {"HTTPS_PROXY": "http://***@proxy:3128", "NO_PROXY": "localhost"}
    assert said["cache"] == "redis, redis://***@127.0.0.1:1/0"
    assert said["problems"] == []


def test_for_people(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-a-secret\n")
    result = las()
    assert result.returncode == 0
    lines = [line.strip() for line in result.stdout.splitlines()]
    assert lines[0].startswith("Versions")
    assert any(line.split()[:4] == ["openai", "wire", "OpenAI", "speaks"] for line in lines)
    assert any(line == f"Settings                  .env ({tmp_path / '.env'})" for line in lines)
    assert any(line.split()[:3] == ["LAS_MODEL:", "local/smollm2-135m-instruct", "local"] for line in lines)
    assert lines[-1] == "No problems found."


def test_litellm_is_not_imported_and_nobody_is_asked() -> None:
    script = """
import socket, sys
def refused(*_): raise AssertionError("somebody was asked")
socket.socket.connect = socket.getaddrinfo = refused
sys.argv = ["las", "doctor"]
from servers.cli import app
app(standalone_mode=False)
assert "litellm" not in sys.modules and "fastapi" not in sys.modules
"""
    environment = {**os.environ, "OPENAI_API_KEY": "sk-a-secret", "LAS_CALLBACKS": "langfuse"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")


def test_settings_that_cannot_be_read_are_all_there_is_to_say() -> None:
    def load() -> Any:
        from las_langchain.errors import ConfigurationError

        raise ConfigurationError("las.toml is not valid TOML")

    read: Callable[[], Any] = load
    said = diagnose(read)
    assert (said.problems, said.ways, said.ledger) == (["las.toml is not valid TOML"], [], "not read")
