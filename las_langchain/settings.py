"""Everything that can be set: one class, read from ``LAS_*`` variables, ``.env`` and ``las.toml``.

This is the only module that reads the environment. Sources, the first that names a setting wins: constructor arguments,
environment, ``.env`` in the working folder, what was changed at run time (``settings.json`` in the data folder),
``las.toml`` (``LAS_CONFIG``, else the working folder, else the user's configuration folder), LiteLLM Proxy's file.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
import platformdirs
from dotenv import dotenv_values
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    create_model,
    field_validator,
)
from pydantic_core import ErrorDetails, to_json
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from las_langchain.chain_settings import AgentSettings, ChainName, DocumentSettings, Reference
from las_langchain.deployments import AliasSettings, ProviderSettings, RoutingSettings, Seconds
from las_langchain.errors import ConfigurationError
from las_langchain.litellm_config import litellm_variables, read_litellm_config

PREFIX = "LAS_"
EMBEDDED_CHAT = "local/smollm2-135m-instruct"
EMBEDDED_EMBEDDINGS = "local/all-minilm-l6-v2"
STORED = "settings.json"
"""The file in the data folder that keeps what is changed at run time."""
_LONGEST_NAME = 100
"""Letters of a name that errors repeat."""


class LASSettings(BaseSettings):
    """The settings of one process; build it once and pass it down.

    Raises:
        ConfigurationError: from :func:`load_settings`, naming the variable or key at fault.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True, allow_inf_nan=False
    )

    # Before the default model, which depends on it.
    local_model: Path | None = Field(None, description="GGUF file that replaces the embedded chat model")
    model: str = Field(
        default_factory=lambda known: local_chat_model(known.get("local_model")),
        description="Default chat model, as provider/model",
    )
    embedding_model: str = Field(EMBEDDED_EMBEDDINGS, description="Default embedding model, as provider/model")
    default_provider: str | None = Field(
        None, description="Provider of a bare model name that is not publicly listed; unset: that of the default model"
    )
    temperature: float | None = Field(
        None, ge=0, le=2, description="Sampling temperature of requests that name none; unset: the model's own"
    )
    max_tokens: int | None = Field(
        None, ge=1, le=2**31, description="Longest answer to requests that name none, in tokens; unset: the model's own"
    )
    host: str = Field("127.0.0.1", description="Address that the server listens on")
    port: int = Field(7777, ge=0, le=65_535, description="Port that the server listens on; 0 picks a free one")
    api_keys: Annotated[list[SecretStr], NoDecode] = Field(
        default_factory=list,
        description="Keys that clients of the server must present one of, separated by commas; "
        "unset: only this machine is answered",
    )
    timeout: Seconds = Field(120, description="Longest wait for the first byte of an answer, in seconds")
    stream_timeout: Seconds = Field(60, description="Longest silence between two chunks of a stream, in seconds")
    total_timeout: Seconds = Field(
        600, description="Longest time that the server lets one answer take from its begin to its end, in seconds"
    )
    max_retries: int = Field(
        2, ge=0, le=20, description="Further tries after a retryable failure (timeout, 429, 5xx, no connection)"
    )
    transport: Literal["best", "litellm"] = Field(
        "best",
        description="Whether calls to providers that speak OpenAI's format go straight to them where nothing needs "
        "litellm, or all by way of litellm",
    )
    models: dict[str, AliasSettings] = Field(
        default_factory=dict, description="Model aliases: their deployments and fallbacks (las.toml only)"
    )
    routing: RoutingSettings = Field(
        default_factory=RoutingSettings, description="How a deployment is chosen and cooled down (las.toml only)"
    )
    litellm_config: Path | None = Field(
        None, description="LiteLLM Proxy's YAML file, whose model_list and fallbacks are read as they are"
    )
    enable_caching: bool = Field(False, description="Whether equal requests are answered out of a cache")
    cache_type: Literal["memory", "disk", "redis"] = Field("memory", description="Where the cache is")
    cache_ttl: Seconds = Field(3600, description="How long a cached answer is served, in seconds")
    cache_max_mb: float = Field(64, gt=0, description="Largest size of the cache in memory or on disk, in megabytes")
    redis_url: SecretStr | None = Field(None, description="Redis for LAS_CACHE_TYPE=redis, as redis://host:6379/0")
    enable_cost_tracking: bool = Field(True, description="Whether each call's usage and cost go into the ledger")
    database_url: SecretStr | None = Field(
        None,
        description="Database of the ledger and the conversations, as postgresql://user:password@host/name; "
        "unset: SQLite files",
    )
    budget: float | None = Field(None, ge=0, description="What all calls of a period may cost, in US dollars")
    budget_per_key: float | None = Field(
        None, ge=0, description="What the calls of one caller's key may cost in a period, in US dollars"
    )
    budgets: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict, description="Budgets of single keys, by key id, in US dollars (las.toml only)"
    )
    budget_period: Literal["day", "month", "forever"] = Field(
        "month", description="When budgets start anew: each day or month in UTC, or never"
    )
    callbacks: Annotated[list[str], NoDecode] = Field(
        default_factory=list, description="litellm's callbacks, separated by commas, such as langfuse,helicone"
    )
    log_prompts: bool = Field(False, description="Whether prompts and answers go into logs, traces and callbacks")
    log_format: Literal["text", "json"] = Field("text", description="Form of the server's log lines")
    max_body_mb: float = Field(20, gt=0, description="Largest request body that the server reads, in megabytes")
    data_dir: Path = Field(
        default_factory=lambda: _data_dir(),
        description="Folder for what is stored: prepared models, databases",
    )
    local_mmproj: Path | None = Field(None, description="GGUF vision projector for LAS_LOCAL_MODEL; then images work")
    local_context: int = Field(
        8192, ge=256, le=10_485_760, description="Context of the local chat model, in tokens, shared by its calls"
    )
    local_parallel: int = Field(4, ge=1, le=64, description="Calls that the local chat model decodes at the same time")
    local_max_tokens: int = Field(
        1024, ge=1, description="Longest local answer where the request names none, in tokens"
    )
    local_threads: int | None = Field(None, ge=1, description="Threads that decode; unset: processor cores - 1")
    local_batch_threads: int | None = Field(None, ge=1, description="Threads that read prompts; unset: all cores")
    providers: dict[str, ProviderSettings] = Field(
        default_factory=dict, description="Per provider: api_key, base_url, headers, options (las.toml only)"
    )
    chains: dict[ChainName, Reference] = Field(
        default_factory=dict, description="Your own chains by name, as module:runnable (las.toml only)"
    )
    chain_steps: Literal["reasoning", "status", "off"] = Field(
        "reasoning",
        description="How OpenAI's clients see the steps of a chain: as reasoning, as Open WebUI's status events, or "
        "not at all",
    )
    agent: AgentSettings = Field(
        default_factory=AgentSettings, description="Tools, limits and MCP servers of the agent (las.toml only)"
    )
    documents: DocumentSettings = Field(
        default_factory=DocumentSettings, description="How documents are read and searched (las.toml only)"
    )

    @field_validator("callbacks", "api_keys", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value

    @field_validator("api_keys")
    @classmethod
    def _check_keys(cls, value: list[SecretStr]) -> list[SecretStr]:
        if not all(_SENDABLE.fullmatch(key.get_secret_value()) for key in value):
            raise ValueError("expected keys of letters, digits and signs that a header can hold, without spaces")
        return value

    _environment: Mapping[str, str] = PrivateAttr(default_factory=dict)

    def __init__(self, /, **values: Any) -> None:
        named = spelled_out(values)
        _refuse_unknown(named, type(self).model_fields, "arguments")
        try:
            super().__init__(**named)
        except ValidationError as error:
            raise _explained(error.errors()[0]) from None
        except SettingsError as error:
            raise ConfigurationError(str(error)) from None
        if self.litellm_config is not None:
            self._environment = {**self._environment, **litellm_variables(self.litellm_config, self.variable)}

    def model_post_init(self, context: Any, /) -> None:
        """Keep the environment as it is now, for the providers' own key variables."""
        self._environment = {**_dotenv(), **os.environ}

    def variable(self, name: str) -> str | None:
        """The value of a variable such as ``OPENAI_API_KEY``, ``.env`` included; None if unset or empty."""
        # Several are asked for in each call, and pydantic's own way to a private attribute is twenty times as long.
        private = self.__pydantic_private__
        return (private and private["_environment"].get(name)) or None

    @property
    def default_model(self) -> str:
        """Another name of :attr:`model`."""
        return self.model

    @property
    def ollama_base_url(self) -> str | None:
        """The address set for Ollama; None: its own variable's, or its default."""
        ollama = self.providers.get("ollama")
        return ollama.base_url if ollama else None

    def updated(self, /, **changes: Any) -> LASSettings:
        """These settings with *changes*, checked; neither the environment nor a file is read again.

        Args:
            changes: as for the constructor. Entries of tables are added to those that there are, a provider's field by
                field; None takes an entry away.

        Raises:
            ConfigurationError: a name is unknown, a value invalid, or a setting is fixed when the process starts.
        """
        current = {name: getattr(self, name) for name in type(self).model_fields}
        named = spelled_out(changes, current["default_provider"])
        for name in named:
            if name in FIXED:
                raise ConfigurationError(f"{name} is {why_fixed(name)}", param=name)
        for name in TABLES.intersection(named):
            named[name] = merged_entries(name, current[name], named[name])
        _refuse_unknown(named, current, "arguments")
        result = type(self).__new__(type(self))
        try:
            # Not the class's own constructor, which would look into the environment and the files.
            BaseModel.__init__(result, **{**current, **named})
        except ValidationError as error:
            raise _explained(error.errors()[0]) from None
        result._environment = self._environment
        return result

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put what is stored, ``las.toml`` and LiteLLM Proxy's file behind the environment."""
        path = config_file()
        try:
            toml = [TomlConfigSettingsSource(settings_cls, path)] if path else []
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path} is not valid TOML: {error}", param="LAS_CONFIG") from None
        for source in toml:
            _refuse_unknown(source(), settings_cls.model_fields, str(path))
        named = [init_settings, env_settings, dotenv_settings]
        folder = _first("data_dir", [*named, *toml]) or _data_dir()
        candidate = _CANDIDATE.get(None)
        stored = InitSettingsSource(settings_cls, read_stored(Path(folder)) if candidate is None else candidate)
        proxys = _first("litellm_config", [*named, *toml])
        litellm = InitSettingsSource(settings_cls, _read_proxys(Path(proxys)) if proxys else {})
        return (*named, stored, *toml, litellm)


LiteLLMConfig = LASSettings
"""The settings under the name that litellm's users expect; ``default_model``, ``<provider>_base_url`` and
``<provider>_api_key`` are taken as arguments too."""

FIXED = frozenset(
    "host port api_keys data_dir max_body_mb log_format litellm_config database_url redis_url local_model local_mmproj "
    "local_context local_parallel local_max_tokens local_threads local_batch_threads chains agent documents".split()
)
"""Settings that hold from the start of the process to its end."""

_SENDABLE = re.compile(r"[!-+\--~]+")
_OF_A_PROVIDER = re.compile(r"(\w+?)_(base_url|api_key)")


def variable_of(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def why_fixed(name: str) -> str:
    """Why a setting of :data:`FIXED` cannot be changed, and what to do instead."""
    return f"fixed when the process starts: set {'it in las.toml' if name in TABLES else variable_of(name)}"


def load_settings(**overrides: Any) -> LASSettings:
    """Read the settings, *overrides* first.

    Raises:
        ConfigurationError: a value is invalid, a file cannot be read, or a name is unknown; the message says which.
    """
    for where, variables in ((".env", _dotenv()), ("the environment", os.environ)):
        names = [
            key.removeprefix(PREFIX).lower() for key in variables if key.startswith(PREFIX) and key != "LAS_CONFIG"
        ]
        for name in TABLES.intersection(names):
            raise ConfigurationError(
                f"{variable_of(name)} in {where}: it is a table; write it into las.toml, as [{name}]", param=name
            )
        _refuse_unknown(names, [name for name in LASSettings.model_fields if name not in TABLES], where)
    settings = LASSettings(**overrides)
    if settings.local_mmproj and not settings.local_model:
        raise ConfigurationError(
            "LAS_LOCAL_MMPROJ: a projector needs its model; set LAS_LOCAL_MODEL too", param="local_mmproj"
        )
    return settings


def settings_with(stored: dict[str, Any], data_dir: Path) -> LASSettings:
    """The settings of a process that would find *stored* in its data folder.

    Raises:
        ConfigurationError: it would not start.
    """
    token = _CANDIDATE.set(stored)
    try:
        return LASSettings(data_dir=data_dir)
    finally:
        _CANDIDATE.reset(token)


_CANDIDATE: ContextVar[dict[str, Any]] = ContextVar("las_stored_settings")


def _explained(error: ErrorDetails) -> ConfigurationError:
    where = ".".join(str(part)[:_LONGEST_NAME] for part in error["loc"] if part != "[key]")
    table = error["loc"][0] in TABLES
    reason = _REASONS.get(error["type"]) or error["msg"].removeprefix("Value error, ")
    return ConfigurationError(
        f"{where if table else variable_of(where)}: {reason}",
        param=str(error["loc"][0]),
    )


_REASONS = {
    "extra_forbidden": "there is no such setting",
    "dict_type": "expected a table",
    "model_type": "expected a table",
}
"""What is wrong, in the words of las.toml, by pydantic's name of it."""


TABLES = frozenset({"providers", "models", "routing", "budgets", "chains", "agent", "documents"})
"""Settings of ``las.toml`` alone."""


def merged_entries(table: str, current: Any, changes: Any) -> dict[str, Any]:
    """Entries of a table with *changes*: field by field where both are tables, and without those that are None.

    Raises:
        ConfigurationError: *changes* is no table.
    """
    if not isinstance(changes, Mapping):
        raise ConfigurationError(f"{table}: expected a table, not {type(changes).__name__}", param=table)
    result = as_table(current) or {}
    for name, change in changes.items():
        before = as_table(result.get(name)) if table == "providers" else None
        result[name] = {**before, **change} if before is not None and isinstance(change, Mapping) else change
    return {name: value for name, value in result.items() if value is not None}


def as_table(value: Any) -> dict[str, Any] | None:
    """The entries of a table, which may be a model; None: *value* is no table."""
    if isinstance(value, BaseModel):
        return {name: getattr(value, name) for name in type(value).model_fields}
    return dict(value) if isinstance(value, Mapping) else None


def check_types(changes: Mapping[str, Any]) -> None:
    """Check that *changes*, which came as JSON, are of the settings' own types: neither true nor "1" is a number.

    Raises:
        ConfigurationError: one is not.
    """
    # None takes an entry away.
    entries = {
        name: {key: entry for key, entry in change.items() if entry is not None}
        if name in TABLES and isinstance(change, Mapping)
        else change
        for name, change in changes.items()
    }
    try:
        _plain_model().model_validate_json(to_json(entries, fallback=_revealed), strict=True)
    except ValidationError as error:
        raise _explained(error.errors()[0]) from None


@cache
def _plain_model() -> type[BaseModel]:
    """The settings' fields as a model that reads nothing but what it is given."""
    fields: dict[str, Any] = {name: (field.annotation, field) for name, field in LASSettings.model_fields.items()}
    return create_model("Settings", __config__=ConfigDict(allow_inf_nan=False), **fields)


def _revealed(value: Any) -> Any:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def spelled_out(values: Mapping[str, Any], default_provider: Any = None) -> dict[str, Any]:
    """Constructor arguments under the settings' own names."""
    result = {name: value for name, value in values.items() if not _OF_A_PROVIDER.fullmatch(name)}
    for name, value in values.items():
        if short := _OF_A_PROVIDER.fullmatch(name):
            table = merged_entries("providers", {}, result.get("providers", {}))
            result["providers"] = merged_entries("providers", table, {short[1]: {short[2]: value}})
    if "default_model" in result:
        model, provider = result.pop("default_model"), values.get("default_provider", default_provider)
        bare = isinstance(model, str) and "/" not in model
        result["model"] = f"{provider}/{model}" if provider and bare else model
    return result


def _first(name: str, sources: Iterable[PydanticBaseSettingsSource]) -> Any:
    """The value of a setting, before all sources are known."""
    return next((value for source in sources if (value := source().get(name))), None)


def _data_dir() -> Path:
    return Path(platformdirs.user_data_dir("las-langchain", appauthor=False))


def read_stored(folder: Path) -> dict[str, Any]:
    """What was changed at run time, by earlier processes too.

    Raises:
        ConfigurationError: the file in the data folder *folder* cannot be read.
    """
    path = folder / STORED
    try:
        stored = orjson.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}; mend or delete it", param=STORED) from None
    if not isinstance(stored, dict):
        raise ConfigurationError(f"{path} must hold a JSON object; mend or delete it", param=STORED)
    _refuse_unknown(stored, LASSettings.model_fields, str(path))
    return stored


def _read_proxys(path: Path) -> dict[str, Any]:
    variables = {**_dotenv(), **os.environ}
    return read_litellm_config(path, lambda name: variables.get(name) or None)


def _dotenv() -> dict[str, str]:
    """The variables of ``.env`` in the working folder."""
    try:
        found = dotenv_values(".env")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f".env cannot be read: {error}; it must be text in UTF-8") from None
    return {key: value for key, value in found.items() if value is not None}


def config_file() -> Path | None:
    """The ``las.toml`` in force, or None.

    Raises:
        ConfigurationError: ``LAS_CONFIG`` names a file that is not there, or the file is not TOML.
    """
    named = os.environ.get("LAS_CONFIG") or _dotenv().get("LAS_CONFIG")
    if named and not Path(named).is_file():
        raise ConfigurationError(f"LAS_CONFIG: no such file: {named}", param="LAS_CONFIG")
    folders = (Path(), Path(platformdirs.user_config_dir("las-langchain", appauthor=False)))
    found = (path for folder in folders if (path := folder / "las.toml").is_file())
    return Path(named) if named else next(found, None)


def local_chat_model(path: Path | None) -> str:
    """The id of the local chat model: the embedded one's, or one made of the name of the file that replaces it."""
    if path is None:
        return EMBEDDED_CHAT
    return "local/" + (re.sub(r"[^A-Za-z0-9._:@-]+", "-", path.stem).strip("-.").lower() or "model")


def nearest(name: str, known: Iterable[str]) -> str:
    """A suffix for error messages: ``"; did you mean 'temperature'?"``, or nothing if no known name is close."""
    # Comparing takes the square of the length.
    close = difflib.get_close_matches(name[:_LONGEST_NAME], list(known), n=1, cutoff=0.65)
    return f"; did you mean {close[0]!r}?" if close else ""


def _refuse_unknown(names: Iterable[str], known: Iterable[str], where: str) -> None:
    known = list(known)
    for name in names:
        if name not in known:
            shown = name[:_LONGEST_NAME]
            raise ConfigurationError(f"Unknown setting {shown!r} in {where}{nearest(name, known)}", param=shown)
