"""How each provider is asked for its models, as rows of data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Page = tuple[list[str], dict[str, str] | None]
"""The names on one page, and the query of the next one; None: it is the last."""


def _bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def _named(entries: Any, name: str) -> list[str]:
    if not isinstance(entries, list):
        raise ValueError("not a list of models")
    return [entry[name] for entry in entries if isinstance(entry, dict) and isinstance(entry.get(name), str)]


def _of(body: Any, name: str) -> Any:
    return body.get(name) if isinstance(body, dict) else None


def _openai_page(body: Any) -> Page:
    # Together answers with the bare list.
    return _named(body if isinstance(body, list) else _of(body, "data"), "id"), None


def _ollama_page(body: Any) -> Page:
    return _named(_of(body, "models"), "name"), None


def _anthropic_page(body: Any) -> Page:
    last = _of(body, "last_id")
    more = _of(body, "has_more") is True and isinstance(last, str)
    return _named(_of(body, "data"), "id"), {"after_id": last} if more else None


def _gemini_page(body: Any) -> Page:
    token = _of(body, "nextPageToken")
    names = [name.removeprefix("models/") for name in _named(_of(body, "models"), "name")]
    return names, {"pageToken": token} if token and isinstance(token, str) else None


@dataclass(frozen=True, slots=True)
class LiveList:
    """Where and how a provider lists its models.

    Attributes:
        base_url: litellm's address of the provider, where none is set; empty if the provider's row has one.
        path: what follows the address.
        endings: what a set address may end with, but is no part of it here.
        query: the query of every page.
        headers: makes the headers for a key.
        page: reads one page; raises ValueError if it is none.
    """

    base_url: str = ""
    path: str = "/models"
    endings: tuple[str, ...] = ("/chat/completions",)
    query: dict[str, str] = field(default_factory=dict)
    headers: Callable[[str], dict[str, str]] = _bearer
    page: Callable[[Any], Page] = _openai_page


LIVE: dict[str, LiveList] = {
    "ollama": LiveList(path="/api/tags", endings=("/api/chat", "/api/generate", "/api", "/v1"), page=_ollama_page),
    "openai": LiveList("https://api.openai.com/v1"),
    "anthropic": LiveList(
        "https://api.anthropic.com",
        "/v1/models",
        endings=("/v1/messages", "/v1"),
        query={"limit": "1000"},
        headers=lambda key: {"x-api-key": key, "anthropic-version": "2023-06-01"},
        page=_anthropic_page,
    ),
    "gemini": LiveList(
        "https://generativelanguage.googleapis.com",
        "/v1beta/models",
        endings=("/v1beta",),
        query={"pageSize": "1000"},
        headers=lambda key: {"x-goog-api-key": key},
        page=_gemini_page,
    ),
    "groq": LiveList("https://api.groq.com/openai/v1"),
    "openrouter": LiveList("https://openrouter.ai/api/v1"),
    "huggingface": LiveList(
        "https://router.huggingface.co", "/v1/models", endings=("/v1/chat/completions", "/chat/completions", "/v1")
    ),
    "together_ai": LiveList("https://api.together.ai/v1"),
    # litellm's own address of it, which ends with /beta, is one for completions.
    "deepseek": LiveList("https://api.deepseek.com", endings=("/beta/chat/completions", "/chat/completions", "/beta")),
    "vllm": LiveList(),
}
"""The providers that list their models; of all others the table is shown."""
