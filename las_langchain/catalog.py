"""What is publicly known about models: provider, prices, context sizes, abilities.

It is in the files of the litellm distribution, read without importing litellm (that import costs seconds).
"""

from __future__ import annotations

import importlib.util
import re
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import orjson


@cache
def model_table() -> dict[str, dict[str, Any]]:
    """All known models by litellm's name for them; prices are US dollars per token."""
    table: dict[str, dict[str, Any]] = orjson.loads(_text("model_prices_and_context_window_backup.json"))
    table.pop("sample_spec", None)
    return table


@cache
def litellm_providers() -> frozenset[str]:
    """litellm's own names of its providers, such as ``mistral`` or ``hosted_vllm``: the prefixes of their models.

    Raises:
        ModuleNotFoundError: litellm is not installed.
    """
    listed = re.search(r"^class LlmProviders\(.*?^(?=\S)", _text("types/utils.py"), re.DOTALL | re.MULTILINE)
    named = re.findall(r'^    [A-Z][A-Z0-9_]* = "([^"]+)"', listed[0], re.MULTILINE) if listed else []
    # A version that names them elsewhere still has them, most of them, in its table of endpoints.
    return frozenset({*(named or _endpoints()), *orjson.loads(_text("llms/openai_like/providers.json"))})


@cache
def model_providers() -> frozenset[str]:
    """Those of :func:`litellm_providers` that have models to chat with, to embed, to speak or to listen."""
    able = {name: {key for key, can in row["endpoints"].items() if can} for name, row in _endpoints().items()}
    for row in model_table().values():
        able.setdefault(row.get("litellm_provider", ""), set()).add(row.get("mode", "chat"))
    known = litellm_providers() - _NO_MODELS
    # Of many new ones litellm says no more than the name.
    return frozenset(name for name in known if not able.get(name) or not _OURS.isdisjoint(able[name]))


def _endpoints() -> dict[str, dict[str, Any]]:
    """What each provider can be asked for, by its name."""
    table: dict[str, dict[str, Any]] = orjson.loads(_text("provider_endpoints_support_backup.json"))["providers"]
    return table


# As litellm's two tables call what calls can be made for.
_OURS = frozenset(
    "chat_completions messages responses embeddings audio_speech audio_transcriptions "
    "chat embedding completion audio_transcription".split()
)
# Stores of vectors and of prompts, readers of documents, and what stands for no provider.
_NO_MODELS = frozenset(
    "auto_router aws_textract custom dotprompt humanloop langfuse litellm_agent mongodb valkey".split()
)


@cache
def litellm_callbacks() -> frozenset[str]:
    """The names of the services that litellm can report to."""
    listed = re.search(
        r"^_custom_logger_compatible_callbacks_literal = Literal\[(.*?)^\]",
        _text("__init__.py"),
        re.DOTALL | re.MULTILINE,
    )
    return _NAMED_CALLBACKS.union(re.findall(r'"([^"]+)"', listed[1]) if listed else ())


# Those that litellm handles by name without a class; it has no list of them.
_NAMED_CALLBACKS = frozenset(
    "athina dynamodb greenscale helicone langfuse lunary promptlayer s3 sentry slack supabase traceloop wandb".split()
)


@lru_cache(maxsize=4096)
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
    name = _FAMILIES.get(listed, listed) if listed else None
    known = litellm_providers()
    # The table prices searches, too, and splits some by kind, such as vertex_ai-llama_models.
    return next((found for found in (name, name.split("-")[0]) if found in known), None) if name else None


def _text(name: str) -> str:
    spec = importlib.util.find_spec("litellm")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("litellm is not installed: pip install litellm")
    return (Path(spec.submodule_search_locations[0]) / name).read_text(encoding="utf-8")
