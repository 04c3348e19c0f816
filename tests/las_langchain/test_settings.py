"""Where settings come from, and how wrong ones are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from las_langchain.errors import ConfigurationError
from las_langchain.settings import EMBEDDED_CHAT, load_settings


def test_defaults_need_nothing() -> None:
    settings = load_settings()
    assert settings.model == EMBEDDED_CHAT
    assert (settings.host, settings.port) == ("127.0.0.1", 7777)


def test_arguments_go_before_the_environment_and_that_before_dotenv_and_toml(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("las.toml").write_text('model = "ollama/toml"\nport = 1\nmax_retries = 7\ntimeout = 5\n')
    Path(".env").write_text("LAS_MODEL=ollama/dotenv\nLAS_PORT=2\nLAS_TIMEOUT=6\n")
    monkeypatch.setenv("LAS_MODEL", "ollama/environment")
    monkeypatch.setenv("LAS_PORT", "3")
    settings = load_settings(model="ollama/argument")
    assert (settings.model, settings.port, settings.timeout, settings.max_retries) == ("ollama/argument", 3, 6, 7)


def test_las_config_names_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Path("las.toml").write_text("port = 1\n")
    other = tmp_path / "other.toml"
    other.write_text("port = 2\n")
    monkeypatch.setenv("LAS_CONFIG", str(other))
    assert load_settings().port == 2


def test_the_user_configuration_folder_is_read_last(tmp_path: Path) -> None:
    folder = tmp_path / "config" / "las-langchain"
    folder.mkdir(parents=True)
    (folder / "las.toml").write_text("port = 4\n")
    assert load_settings().port == 4


def test_provider_variables_come_from_the_environment_and_dotenv(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("GROQ_API_KEY=from-dotenv\nOPENAI_API_KEY=from-dotenv\n")
    monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
    settings = load_settings()
    assert settings.variable("GROQ_API_KEY") == "from-dotenv"
    assert settings.variable("OPENAI_API_KEY") == "from-environment"
    assert settings.variable("NOBODY_API_KEY") is None


def test_keys_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("las.toml").write_text('[providers.openai]\napi_key = "sk-very-secret-key"\n')
    monkeypatch.setenv("GROQ_API_KEY", "gsk-very-secret-key")
    settings = load_settings()
    assert settings.providers["openai"].api_key == SecretStr("sk-very-secret-key")
    assert "secret" not in repr(settings).replace("SecretStr", "")
    assert "very-secret" not in settings.model_dump_json()


def test_a_replaced_local_model_becomes_the_default_model() -> None:
    assert load_settings(local_model="/models/My Model.Q4.gguf").model == "local/my-model.q4"
    assert load_settings(local_model="/models/….gguf").model == "local/model"
    assert load_settings(local_model="/m.gguf", model="openai/gpt-4o").model == "openai/gpt-4o"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("LAS_PORT", "abc", "LAS_PORT: Input should be a valid integer"),
        ("LAS_PORT", "70000", "LAS_PORT: Input should be less than or equal to 65535"),
        ("LAS_TIMEOUT", "0", "LAS_TIMEOUT: Input should be greater than 0"),
        ("LAS_MODLE", "x", "Unknown setting 'modle' in the environment; did you mean 'model'?"),
        ("LAS_LOCAL_MMPROJ", "/p.gguf", "LAS_LOCAL_MMPROJ: a projector needs its model; set LAS_LOCAL_MODEL too"),
        ("LAS_CONFIG", "/nowhere/las.toml", "LAS_CONFIG: no such file: /nowhere/las.toml"),
    ],
)
def test_wrong_variables_are_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as error:
        load_settings()
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prot = 1\n", "Unknown setting 'prot' in .*las.toml; did you mean 'port'"),
        ("port = \n", "las.toml is not valid TOML"),
        ("[providers.openai]\napikey = 'x'\n", r"providers.openai.apikey: there is no such setting"),
    ],
)
def test_wrong_files_are_named(text: str, message: str) -> None:
    Path("las.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        load_settings()


def test_unknown_names_in_dotenv_are_refused_but_others_may_be_there() -> None:
    Path(".env").write_text("SOMETHING=else\nOPENAI_API_KEY=k\n")
    load_settings()
    Path(".env").write_text("LAS_MODLE=x\n")
    with pytest.raises(ConfigurationError, match=r"Unknown setting 'modle' in .env; did you mean 'model'"):
        load_settings()


def test_unknown_arguments_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'timeout'"):
        load_settings(timeuot=3)


def test_empty_variables_are_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("LAS_MODEL=\n")
    for name in ("LAS_LOCAL_MODEL", "LAS_PORT", "LAS_CONFIG"):
        monkeypatch.setenv(name, "")
    settings = load_settings()
    assert (settings.model, settings.local_model, settings.port) == (EMBEDDED_CHAT, None, 7777)


def test_dotenv_may_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("port = 2\n")
    Path(".env").write_text("LAS_CONFIG=other.toml\n")
    assert load_settings().port == 2


def test_a_dotenv_that_is_no_text_is_named() -> None:
    Path(".env").write_bytes(b"LAS_MODEL=\xff\xfe\n")
    with pytest.raises(ConfigurationError, match=r"^.env cannot be read: .* it must be text in UTF-8$"):
        load_settings()


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"providers": {"openai": {"api_key": "sk-1\r\nX-Evil: 1"}}}, "providers.openai.api_key: has a line break"),
        ({"providers": {"openai": {"api_key": "ключ"}}}, "no header can hold"),
        ({"providers": {"openai": {"headers": {"x-team": "a\nb"}}}}, "no header can hold"),
        ({"providers": {"openai": {"headers": {"x team": "a"}}}}, "expected the name of a header"),
        ({"providers": {"openai": {"base_url": "http://host:port/v1"}}}, "expected an address"),
        ({"providers": {"openai": {"options": {"input_cost_per_token": -1}}}}, "expected a price"),
        ({"budgets": {"me": -1}}, "budgets.me"),
    ],
)
def test_what_cannot_be_sent_or_counted_is_refused_at_the_start(values: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text) as error:
        load_settings(**values)
    assert "sk-1" not in str(error.value)
