"""The providers as rows of data, and how a model's name finds its provider, address and key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from las_langchain.catalog import litellm_providers, models_of, provider_of
from las_langchain.errors import AuthenticationError, BadRequestError, ConfigurationError, ModelNotFoundError
from las_langchain.settings import EMBEDDED_EMBEDDINGS, LASSettings, ProviderSettings, local_chat_model, nearest


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider.

    Attributes:
        name: the prefix of its models' ids.
        title: its name for people.
        example: a model id.
        features: what it offers.
        key_variables: environment variables that hold its credentials; the first is the key. Empty: none is needed.
        base_url: address of its API where litellm is not left to know it.
        base_url_variables: environment variables that replace *base_url*, first wins.
        docs: where its models and keys are described.
        litellm_name: litellm's prefix for it, where that differs from *name*.
        signs_with: credentials of this machine that litellm finds by itself, in place of a key.
    """

    name: str
    title: str
    example: str
    features: tuple[str, ...]
    docs: str
    key_variables: tuple[str, ...] = ()
    base_url: str | None = None
    base_url_variables: tuple[str, ...] = ()
    litellm_name: str | None = None
    signs_with: str | None = None

    @property
    def keyless(self) -> bool:
        """Whether it answers without a key."""
        return not self.key_variables


_DOCS = "https://docs.litellm.ai/docs/providers/"

PROVIDERS: dict[str, Provider] = {
    row.name: row
    for row in (
        Provider(
            "local", "Embedded models", "local/smollm2-135m-instruct",
            ("in process", "tools", "embeddings"), "https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
        ),
        Provider(
            "ollama", "Ollama", "ollama/llama3.2", ("local", "tools", "vision", "embeddings"), _DOCS + "ollama",
            base_url="http://localhost:11434",
            base_url_variables=("OLLAMA_BASE_URL", "OLLAMA_API_BASE"), litellm_name="ollama_chat",
        ),
        Provider(
            "openai", "OpenAI", "openai/gpt-4o", ("vision", "tools", "embeddings", "speech", "transcription"),
            _DOCS + "openai", ("OPENAI_API_KEY",), base_url_variables=("OPENAI_BASE_URL", "OPENAI_API_BASE"),
        ),
        Provider(
            "anthropic", "Anthropic", "anthropic/claude-sonnet-5-5", ("vision", "tools"),
            _DOCS + "anthropic", ("ANTHROPIC_API_KEY",),
            base_url_variables=("ANTHROPIC_BASE_URL", "ANTHROPIC_API_BASE"),
        ),
        Provider(
            "gemini", "Google Gemini", "gemini/gemini-2.0-flash-exp", ("vision", "tools", "embeddings", "1M+ context"),
            _DOCS + "gemini", ("GEMINI_API_KEY", "GOOGLE_API_KEY"), base_url_variables=("GEMINI_API_BASE",),
        ),
        Provider(
            "groq", "Groq", "groq/llama-3.3-70b-versatile", ("fast inference", "tools"), _DOCS + "groq",
            ("GROQ_API_KEY",), base_url_variables=("GROQ_API_BASE",),
        ),
        Provider(
            "openrouter", "OpenRouter", "openrouter/anthropic/claude-3.5-sonnet", ("many providers", "tools", "vision"),
            _DOCS + "openrouter", ("OPENROUTER_API_KEY",), base_url_variables=("OPENROUTER_API_BASE",),
        ),
        Provider(
            "huggingface", "Hugging Face", "huggingface/meta-llama/Llama-3.2-3B-Instruct", ("many models", "tools"),
            _DOCS + "huggingface", ("HF_TOKEN", "HUGGINGFACE_API_KEY"), base_url_variables=("HF_API_BASE",),
        ),
        Provider(
            "together_ai", "Together AI", "together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo",
            ("fast inference", "tools", "embeddings"), _DOCS + "togetherai", ("TOGETHERAI_API_KEY", "TOGETHER_API_KEY"),
        ),
        Provider(
            "deepseek", "DeepSeek", "deepseek/deepseek-chat", ("code", "reasoning", "tools"), _DOCS + "deepseek",
            ("DEEPSEEK_API_KEY",), base_url_variables=("DEEPSEEK_API_BASE",),
        ),
        Provider(
            "azure", "Azure OpenAI", "azure/gpt-4", ("enterprise", "vision", "tools", "embeddings"), _DOCS + "azure",
            ("AZURE_API_KEY", "AZURE_OPENAI_API_KEY"), base_url_variables=("AZURE_API_BASE", "AZURE_OPENAI_ENDPOINT"),
        ),
        Provider(
            "bedrock", "AWS Bedrock", "bedrock/anthropic.claude-3-sonnet",
            ("enterprise", "vision", "tools", "embeddings"), _DOCS + "bedrock", signs_with="the AWS credentials",
        ),
        Provider(
            "vllm", "vLLM", "vllm/model-name", ("self-hosted", "tools", "vision", "embeddings"), _DOCS + "vllm",
            base_url="http://localhost:8000/v1",
            base_url_variables=("VLLM_BASE_URL", "HOSTED_VLLM_API_BASE"), litellm_name="hosted_vllm",
        ),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Target:
    """Where a call goes and with which credentials; built from settings, never from what a client sends.

    Attributes:
        provider: the provider's name.
        model: the model's name without the provider's prefix.
        litellm_model: litellm's name for the same model.
        api_base: address of the API, or None for the provider's own.
        api_key: the key, or None.
        headers: headers to send with the call.
        options: further litellm arguments of this provider.
        timeout: longest wait for the first byte, in seconds.
        stream_timeout: longest silence between two chunks, in seconds.
        transport: how it is reached: ``litellm``, or ``local`` for what runs in this process.
    """

    provider: str
    model: str
    litellm_model: str
    api_base: str | None = None
    api_key: SecretStr | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    timeout: float = 120
    stream_timeout: float = 60
    transport: str = "litellm"

    @property
    def id(self) -> str:
        """The model's full id, ``provider/model``."""
        return f"{self.provider}/{self.model}"


# A model's name becomes part of URLs and of litellm's routing, so its alphabet is closed.
_NAME = re.compile(r"[A-Za-z0-9._:@/-]{1,256}")
_UNSAFE = ("..", "//")


def resolve(
    name: str,
    settings: LASSettings,
    *,
    api_key: SecretStr | None = None,
    api_base: str | None = None,
    transport: str | None = None,
) -> Target:
    """Find the provider, address and key for a model.

    Args:
        name: ``provider/model``, or a bare name: publicly listed (``gpt-4o``), else the default provider's.
        settings: where keys, addresses and timeouts come from.
        api_key: a key to use instead.
        api_base: an address to use instead.
        transport: how to reach the model; None: the best way that there is.

    Raises:
        ModelNotFoundError: the name is not well-formed, or names no known provider.
        BadRequestError: the model cannot be reached by *transport*.
        AuthenticationError: the provider needs a key and none is set; the message names the variable.
    """
    provider, model = split_name(name, settings)
    row = PROVIDERS.get(provider)
    given = settings.providers.get(provider, ProviderSettings.model_validate({}))
    return Target(
        provider=provider,
        model=model,
        litellm_model=f"{(row and row.litellm_name) or provider}/{model}",
        api_base=api_base or given.base_url or _base_url(provider, row, settings),
        api_key=api_key or _key(provider, row, given, settings),
        headers=given.headers,
        options=given.options,
        timeout=settings.timeout,
        stream_timeout=settings.stream_timeout,
        transport=_transport(provider, transport),
    )


def _transport(provider: str, wanted: str | None) -> str:
    best = "local" if provider == "local" else "litellm"
    if wanted not in (None, best):
        raise BadRequestError(f"{provider} models are reached by transport={best!r}, not {wanted!r}", param="transport")
    return best


def split_name(name: str, settings: LASSettings) -> tuple[str, str]:
    """The provider and the bare name of a model.

    Raises:
        ModelNotFoundError: as :func:`resolve`.
    """
    if not _NAME.fullmatch(name) or any(part in name for part in _UNSAFE) or name.startswith("/"):
        shown = name if len(name) <= 60 else name[:60] + "…"
        raise ModelNotFoundError(f"Not a model name: {shown!r}; expected provider/model", param="model")
    prefix, _, rest = name.partition("/")
    if rest and _known(prefix):
        return prefix, rest
    listed = provider_of(name)
    if listed:
        return listed, name
    default = settings.default_provider or settings.model.partition("/")[0]
    if not rest and _known(default):
        return default, name
    hint = nearest(prefix, [*PROVIDERS, *litellm_providers()]) or "; `las providers` lists them"
    raise ModelNotFoundError(f"Unknown provider {prefix!r} in model {name!r}{hint}", param="model")


def model_id(model: str, provider: str | None = None) -> str:
    """The id ``provider/model`` of a model that is named as LangChain's own functions take it.

    Args:
        model: ``provider/model``, ``provider:model``, or a bare name.
        provider: the provider, if *model* does not name it.
    """
    prefix, colon, rest = model.partition(":")
    if provider:
        return f"{provider}/{model.removeprefix(f'{provider}/')}"
    return f"{prefix}/{rest}" if colon and _known(prefix) else model


def check_configured(settings: LASSettings) -> None:
    """Check that every ``[providers.…]`` entry of *settings* is about a provider that there is.

    Raises:
        ConfigurationError: one is not; the message names the nearest.
    """
    for name in settings.providers:
        if not _known(name):
            hint = nearest(name, [*PROVIDERS, *litellm_providers()]) or "; `las providers` lists them"
            raise ConfigurationError(f"[providers.{name}]: unknown provider{hint}", param="providers")


def _known(provider: str) -> bool:
    return provider in PROVIDERS or provider in litellm_providers()


def variable_prefix(provider: str) -> str:
    """What the environment variables of a provider without a row begin with, such as ``SCX_AI`` for ``scx-ai``."""
    return re.sub(r"\W", "_", provider).upper()


def key_variable(provider: str) -> str:
    """The environment variable for a provider's key."""
    row = PROVIDERS.get(provider)
    return row.key_variables[0] if row and row.key_variables else f"{variable_prefix(provider)}_API_KEY"


def _base_url(provider: str, row: Provider | None, settings: LASSettings) -> str | None:
    variables = row.base_url_variables if row else (f"{variable_prefix(provider)}_API_BASE",)
    values = (settings.variable(name) for name in variables)
    return next(filter(None, values), row.base_url if row else None)


def _key(provider: str, row: Provider | None, given: ProviderSettings, settings: LASSettings) -> SecretStr | None:
    if given.api_key:
        return given.api_key
    variables = row.key_variables if row else (f"{variable_prefix(provider)}_API_KEY",)
    value = next(filter(None, (settings.variable(name) for name in variables)), None)
    if value is None and row and not row.keyless:
        raise AuthenticationError(
            f"No key for {row.title}: set {row.key_variables[0]} in the environment or in .env", provider=provider
        )
    return SecretStr(value) if value else None


def available_models(settings: LASSettings) -> list[str]:
    """The ids of the models that can be called as things are: embedded, default, and those of providers with a key."""
    ids = {settings.model, settings.embedding_model, EMBEDDED_EMBEDDINGS, local_chat_model(settings.local_model)}
    for name, row in PROVIDERS.items():
        if row.key_variables and missing_variable(row, settings) is None:
            ids.update(f"{name}/{model}" for model in models_of(name))
    return sorted(ids, key=lambda model: (not model.startswith("local/"), model))


def known_models(provider: str, settings: LASSettings) -> list[str]:
    """The ids of all models that are publicly listed for *provider*, whether or not its key is set.

    Raises:
        ModelNotFoundError: there is no such provider.
    """
    if not _known(provider):
        hint = nearest(provider, [*PROVIDERS, *litellm_providers()]) or "; `las providers` lists them"
        raise ModelNotFoundError(f"Unknown provider {provider!r}{hint}", param="provider")
    if provider == "local":
        return [name for name in available_models(settings) if name.startswith("local/")]
    return [f"{provider}/{model}" for model in models_of(provider)]


def missing_variable(row: Provider, settings: LASSettings) -> str | None:
    """The variable that must be set before *row*'s models can be called; None if they can be."""
    given = settings.providers.get(row.name)
    if row.keyless or (given and given.api_key) or any(map(settings.variable, row.key_variables)):
        return None
    return row.key_variables[0]
