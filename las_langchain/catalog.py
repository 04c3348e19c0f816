"""What is publicly known about models: provider, prices, context sizes, abilities.

The table is the data file inside the litellm distribution, read without importing litellm (that import costs seconds).
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import orjson


@cache
def model_table() -> dict[str, dict[str, Any]]:
    """All known models by litellm's name for them; prices are US dollars per token."""
    table: dict[str, dict[str, Any]] = _read("model_prices_and_context_window_backup.json")
    table.pop("sample_spec", None)
    return table


@cache
def litellm_providers() -> frozenset[str]:
    """The provider prefixes that litellm lists, such as ``mistral`` or ``hosted_vllm``."""
    listed = _read("provider_endpoints_support_backup.json")["providers"]
    priced = {_family(row.get("litellm_provider")) for row in model_table().values()}
    return frozenset(name for name in {*listed, *priced} if name and name.replace("_", "").replace("-", "").isalnum())


def model_info(provider: str, model: str) -> dict[str, Any]:
    """The table's row for *model* of *provider*; empty if it is not listed."""
    table = model_table()
    qualified = table.get(f"{provider}/{model}")
    if qualified is not None:
        return qualified
    bare = table.get(model, {})
    return bare if _family(bare.get("litellm_provider")) == provider else {}


def provider_of(model: str) -> str | None:
    """The provider of a model that the table lists under its bare name: ``gpt-4o`` is ``openai``'s."""
    return _family(model_table().get(model, {}).get("litellm_provider"))


def models_of(provider: str) -> list[str]:
    """The names, without the provider's prefix, of all models that the table lists for *provider*, sorted."""
    return list(_models_by_provider().get(provider, ()))


@cache
def _models_by_provider() -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for name, row in model_table().items():
        provider = _family(row.get("litellm_provider"))
        # Some rows are prices of a whole region or contract, not models.
        if provider and "*" not in name:
            found.setdefault(provider, set()).add(name.removeprefix(f"{provider}/"))
    return {provider: sorted(names) for provider, names in found.items()}


# The table splits some providers by wire format; these are the prefixes that their models are called by.
_FAMILIES = {"bedrock_converse": "bedrock", "cohere_chat": "cohere", "text-completion-openai": "openai"}


def _family(listed: str | None) -> str | None:
    return _FAMILIES.get(listed, listed.split("-")[0]) if listed else None


def _read(name: str) -> Any:
    spec = importlib.util.find_spec("litellm")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("litellm is not installed: pip install litellm")
    return orjson.loads((Path(spec.submodule_search_locations[0]) / name).read_bytes())
