"""Where requests go, and with which headers."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from las_langchain import __version__
from las_langchain.errors import BadRequestError
from las_langchain.providers import Target
from las_langchain.transports.wire.addresses import AZURE_VERSION, address, headers
from las_langchain.transports.wire.failures import refusal

CHAT = "chat/completions"
AZURE = "https://x.openai.azure.com"
DEPLOYMENT = f"{AZURE}/openai/deployments/d"
OLD = "api-version=2024-10-21"


def target(provider: str, base: str | None = None, given: dict[str, str] | None = None, **options: Any) -> Target:
    return Target(provider, "m", f"{provider}/m", base, SecretStr("key-of-settings"), given or {}, options)


@pytest.mark.parametrize("base", [AZURE, f"{AZURE}/", f"{AZURE}/openai", f"{AZURE}/openai/"])
def test_azures_deployments(base: str) -> None:
    sent = f"{AZURE}/openai/deployments/m/chat/completions?api-version="
    assert str(address(target("azure", base), CHAT)) == f"{sent}{AZURE_VERSION}"
    assert str(address(target("azure", base, api_version="2024-10-21"), CHAT)) == f"{sent}2024-10-21"


@pytest.mark.parametrize(
    ("base", "version", "sent"),
    [
        (f"{AZURE}/openai/v1/", None, f"{AZURE}/openai/v1/{CHAT}"),
        (f"{AZURE}/openai/v1", "preview", f"{AZURE}/openai/v1/{CHAT}"),
        (AZURE, "v1", f"{AZURE}/openai/v1/{CHAT}"),
        (f"{AZURE}/openai/v1", "2024-10-21", f"{AZURE}/openai/deployments/m/{CHAT}?{OLD}"),
        (DEPLOYMENT, "2024-10-21", f"{DEPLOYMENT}/{CHAT}?{OLD}"),
        (f"{DEPLOYMENT}/{CHAT}?{OLD}", None, f"{DEPLOYMENT}/{CHAT}?{OLD}"),
        (f"{DEPLOYMENT}/{CHAT}?{OLD}", "2025-01-01", f"{DEPLOYMENT}/{CHAT}?api-version=2025-01-01"),
        ("https://gate/a?key=k", "2024-10-21", f"https://gate/a/openai/deployments/m/{CHAT}?key=k&{OLD}"),
    ],
)
def test_azures_addresses_as_they_are_written(base: str, version: str | None, sent: str) -> None:
    assert str(address(target("azure", base, api_version=version), CHAT)) == sent


@pytest.mark.parametrize("base", ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/"])
@pytest.mark.parametrize("query", ["", "?a=b"])
def test_ollamas_address_may_lack_its_end(base: str, query: str) -> None:
    assert str(address(target("ollama", base + query), CHAT)) == f"http://h:1/v1/{CHAT}{query}"


def test_a_header_is_sent_once_however_it_is_written() -> None:
    asked = target("openai", given={"authorization": "of the settings", "user-agent": "mine"})
    sent = headers(asked, {"AUTHORIZATION": "of the call"})
    assert {name.lower(): value for name, value in sent.items()}["authorization"] == "of the call"
    assert sorted(map(str.lower, sent)) == ["accept-encoding", "authorization", "content-type", "user-agent"]
    assert sent["user-agent"] == "mine"
    assert headers(target("openai"), None)["User-Agent"] == f"las-langchain/{__version__}"


@pytest.mark.parametrize("further", [{"x-team": 7}, {"x-team": None}, {7: "x"}])
def test_a_header_that_is_no_text_is_refused(further: Any) -> None:
    with pytest.raises(BadRequestError, match="extra_headers"):
        headers(target("openai"), further)


def test_no_secret_of_an_address_or_a_header_is_repeated() -> None:
    asked = target(
        "openai",
        "https://me:p%40ssword1@h/v1?api_key=query-key-1&region=north-europe",
        {"x-gate": "gate-key-1"},
        extra_headers={"x-further": "further-key-1"},
    )
    said = b"no p%40ssword1 p@ssword1 query-key-1 gate-key-1 further-key-1 key-of-settings in north-europe"
    assert str(refusal(400, {}, said, asked)) == "OpenAI: no *** *** *** *** *** *** in north-europe"
