"""Settings that are changed at run time: what is kept, what is shown, and several processes on one data folder."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from las_langchain.errors import BadRequestError, LASError
from las_langchain.service import LiteLLMService
from las_langchain.settings import STORED, load_settings
from servers.shown import HIDDEN, shown
from servers.stored import ConflictError, change

Json = dict[str, Any]
SECRET = "sk-secret-0123456789"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of the test's own."""
    monkeypatch.setenv("LAS_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def kept(folder: Path) -> Any:
    return json.loads((folder / STORED).read_text())


def test_two_processes_lose_none_of_their_changes(folder: Path) -> None:
    services = [LiteLLMService(load_settings()) for _ in range(2)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: change(services[n % 2], {"budgets": {f"key-{n}": n}}), range(24)))
    assert kept(folder)["budgets"] == {f"key-{number}": number for number in range(24)}
    assert len(load_settings().budgets) == 24


def test_two_processes_may_change_fields_of_one_provider(folder: Path) -> None:
    one, other = LiteLLMService(load_settings()), LiteLLMService(load_settings())
    change(one, {"openai_api_key": SECRET})
    change(other, {"providers": {"openai": {"headers": {"a": "1"}}}})
    change(one, {"routing": {"allowed_fails": 1}})
    change(other, {"routing": {"cooldown_time": 2}})
    settings = load_settings()
    assert settings.providers["openai"].headers == {"a": "1"}
    assert settings.providers["openai"].api_key is not None
    assert (settings.routing.allowed_fails, settings.routing.cooldown_time) == (1, 2)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({"enable_cost_tracking": False}, {"budget": 5}, "LAS_BUDGET"),
        ({"cache_type": "redis"}, {"enable_caching": True}, "LAS_REDIS_URL"),
    ],
)
def test_what_two_processes_change_lets_the_next_one_start(
    folder: Path, first: Json, second: Json, message: str
) -> None:
    one, other = LiteLLMService(load_settings()), LiteLLMService(load_settings())
    change(one, first)
    with pytest.raises(BadRequestError, match=message):
        change(other, second)
    assert kept(folder) == first
    LiteLLMService(load_settings())


def test_a_process_that_does_not_let_go_is_named(folder: Path) -> None:
    service = LiteLLMService(load_settings())
    folder.mkdir()
    with FileLock(folder / f"{STORED}.lock"), pytest.raises(LASError) as error:
        change(service, {"temperature": 1})
    assert error.value.status_code == 503
    assert error.value.message == "The configuration is being changed by another process: try again later"
    assert service.settings.temperature is None


def test_every_value_of_a_table_of_any_names_is_hidden(folder: Path) -> None:
    values = {
        "pwd": SECRET,
        "n": 12345678,
        "deep": {"a": [SECRET]},
        "url": f"postgres:u:{SECRET}@h",
        "broken": "http://[x",
    }
    deployment = {
        "model": "openai/gpt-4o",
        "api_key": SECRET,
        "base_url": f"https://u:{SECRET}@h/x?k={SECRET}",
        "options": values,
        "routing": {"model_info": {"note": SECRET}},
    }
    answer = change(
        LiteLLMService(load_settings()),
        {"providers": {"groq": {"options": values}}, "models": {"a": {"deployments": [deployment]}}},
    )
    text = json.dumps(answer)
    assert SECRET not in text
    assert "12345678" not in text
    assert answer["settings"]["providers"]["groq"]["options"] == dict.fromkeys(values, HIDDEN)
    assert answer["settings"]["routing"]["strategy"] == "simple-shuffle"
    assert answer["settings"]["models"]["a"]["deployments"][0]["base_url"] == f"https://{HIDDEN}@h/x?{HIDDEN}"


def test_what_the_agents_servers_are_given_is_hidden(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("las.toml").write_text(
        f"""
[agent.mcp.files]
command = "files"
args = ["--token", "{SECRET}"]
env = {{ TOKEN = "{SECRET}" }}
[agent.mcp.web]
url = "https://user:{SECRET}@host/mcp?key={SECRET}"
headers = {{ Authorization = "{SECRET}" }}
"""
    )
    answer = shown(load_settings())
    assert SECRET not in json.dumps(answer)
    assert answer["settings"]["agent"]["mcp"]["files"]["args"] == [HIDDEN, HIDDEN]


@pytest.mark.parametrize(
    "changes",
    [
        {"chains": {"mine": "os:system"}},
        {"agent": {"mcp": {"mine": {"command": "sh"}}}},
        {"documents": {"loaders": {".txt": "os:system"}}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_would_import_or_start_something_is_fixed(folder: Path, changes: Json) -> None:
    service = LiteLLMService(load_settings())
    with pytest.raises(ConflictError, match=r"set it in las\.toml"):
        change(service, changes)
    assert not (folder / STORED).exists()


def test_what_was_shown_may_come_back(folder: Path) -> None:
    service = LiteLLMService(load_settings())
    change(
        service,
        {
            "providers": {"openai": {"api_key": SECRET, "headers": {"x-a": SECRET}, "options": {"organization": "o"}}},
            "models": {"fast": {"deployments": [{"model": "openai/gpt-4o", "api_key": SECRET, "options": {"a": 1}}]}},
        },
    )
    before = service.settings
    answer = shown(before)
    change(service, {name: value for name, value in answer["settings"].items() if name not in answer["fixed"]})
    for settings in (service.settings, load_settings()):
        assert settings.providers == before.providers
        assert settings.models == before.models
    assert HIDDEN not in (folder / STORED).read_text()


def test_asterisks_leave_the_key_of_a_file_where_it_is(folder: Path) -> None:
    Path("las.toml").write_text(f'[providers.openai]\napi_key = "{SECRET}"\n')
    service = LiteLLMService(load_settings())
    change(service, {"openai_api_key": HIDDEN, "providers": {"openai": {"headers": {"a": "1"}}}})
    entry = service.settings.providers["openai"]
    assert entry.api_key is not None
    assert entry.api_key.get_secret_value() == SECRET
    assert SECRET not in (folder / STORED).read_text()


@pytest.mark.parametrize(
    "changes",
    [
        {"openai_base_url": f"https://{HIDDEN}@h/v1"},
        {"providers": {"openai": {"headers": {"new": HIDDEN}}}},
        {"models": {"fast": {"deployments": [{"model": "openai/gpt-4o-mini", "api_key": HIDDEN}]}}},
    ],
)
def test_asterisks_that_stand_for_nothing_are_refused(folder: Path, changes: Json) -> None:
    service = LiteLLMService(load_settings())
    change(service, {"models": {"fast": {"deployments": [{"model": "openai/gpt-4o", "api_key": SECRET}]}}})
    before = (folder / STORED).read_text()
    with pytest.raises(BadRequestError, match="the asterisks hide what is there"):
        change(service, changes)
    assert (folder / STORED).read_text() == before


@pytest.mark.parametrize(
    "changes",
    [
        {"max_retries": True},
        {"timeout": True},
        {"temperature": "0.5"},
        {"enable_caching": "yes"},
        {"log_prompts": 1},
        {"callbacks": "langfuse"},
        {"budgets": {"a": -5}},
        {"budgets": {"a": "5"}},
        {"budget": -1},
        {"routing": {"allowed_fails": True}},
        {"models": {"a": {"deployments": [{"model": "openai/gpt-4o", "weight": "1"}]}}},
        {"providers": {"openai": {"api_key": 5}}},
        {"max_tokens": 10**30},
        {"routing": {"allowed_fails": 10**30}},
    ],
)
def test_values_are_of_the_settings_own_types(folder: Path, changes: Json) -> None:
    with pytest.raises(BadRequestError):
        change(LiteLLMService(load_settings()), changes)
    assert not (folder / STORED).exists()


def test_the_environment_may_say_it_in_words(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAS_ENABLE_CACHING", "yes")
    monkeypatch.setenv("LAS_TEMPERATURE", "0.5")
    settings = load_settings()
    assert (settings.enable_caching, settings.temperature) == (True, 0.5)
