"""Everything that can be set: one class, read from ``LAS_*`` variables, ``.env`` and ``las.toml``.

This is the only module that reads the environment. Sources, the first that names a setting wins: constructor arguments,
environment, ``.env`` in the working folder, ``las.toml`` (``LAS_CONFIG``, else the working folder, else the user's
configuration folder).
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import platformdirs
from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from las_langchain.errors import ConfigurationError

PREFIX = "LAS_"
EMBEDDED_CHAT = "local/smollm2-135m-instruct"
EMBEDDED_EMBEDDINGS = "local/all-minilm-l6-v2"

Seconds = Annotated[float, Field(gt=0, le=86_400)]


class ProviderSettings(BaseModel):
    """One provider's entry in ``las.toml``: ``[providers.openai]``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    api_key: SecretStr | None = Field(None, description="Key; else the provider's own variable, such as OPENAI_API_KEY")
    base_url: str | None = Field(None, description="Address of the API, for proxies and self-hosted servers")
    headers: dict[str, str] = Field(default_factory=dict, description="Headers sent with every call")
    options: dict[str, Any] = Field(default_factory=dict, description="litellm arguments, such as api_version")


class LASSettings(BaseSettings):
    """The settings of one process; build it once and pass it down.

    Raises:
        ConfigurationError: from :func:`load_settings`, naming the variable or key at fault.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
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
    host: str = Field("127.0.0.1", description="Address that the server listens on")
    port: int = Field(7777, ge=0, le=65_535, description="Port that the server listens on; 0 picks a free one")
    timeout: Seconds = Field(120, description="Longest wait for the first byte of an answer, in seconds")
    stream_timeout: Seconds = Field(60, description="Longest silence between two chunks of a stream, in seconds")
    max_retries: int = Field(
        2, ge=0, le=20, description="Further tries after a retryable failure (timeout, 429, 5xx, no connection)"
    )
    max_body_mb: float = Field(20, gt=0, description="Largest request body that the server reads, in megabytes")
    data_dir: Path = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("las-langchain", appauthor=False)),
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

    _environment: Mapping[str, str] = PrivateAttr(default_factory=dict)

    def model_post_init(self, context: Any, /) -> None:
        """Keep the environment as it is now, for the providers' own key variables."""
        self._environment = {**_dotenv(), **os.environ}

    def variable(self, name: str) -> str | None:
        """The value of a variable such as ``OPENAI_API_KEY``, ``.env`` included; None if unset or empty."""
        return self._environment.get(name) or None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put ``las.toml`` behind the environment."""
        path = config_file()
        toml = [TomlConfigSettingsSource(settings_cls, path)] if path else []
        for source in toml:
            _refuse_unknown(source(), settings_cls.model_fields, str(path))
        return (init_settings, env_settings, dotenv_settings, *toml)


def load_settings(**overrides: Any) -> LASSettings:
    """Read the settings, *overrides* first.

    Raises:
        ConfigurationError: a value is invalid, a file cannot be read, or a name is unknown; the message says which.
    """
    _refuse_unknown(overrides, LASSettings.model_fields, "arguments")
    for where, variables in ((".env", _dotenv()), ("the environment", os.environ)):
        names = [
            key.removeprefix(PREFIX).lower() for key in variables if key.startswith(PREFIX) and key != "LAS_CONFIG"
        ]
        _refuse_unknown(names, [name for name in LASSettings.model_fields if name != "providers"], where)
    try:
        settings = LASSettings(**overrides)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"{PREFIX}{name.upper()}: {first['msg']}", param=name) from None
    except SettingsError as error:
        raise ConfigurationError(str(error)) from None
    if settings.local_mmproj and not settings.local_model:
        raise ConfigurationError(
            "LAS_LOCAL_MMPROJ: a projector needs its model; set LAS_LOCAL_MODEL too", param="local_mmproj"
        )
    return settings


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
    found = [Path(named)] if named else [path for folder in folders if (path := folder / "las.toml").is_file()]
    for path in found[:1]:
        _check_toml(path)
    return found[0] if found else None


def _check_toml(path: Path) -> None:
    import tomllib

    try:
        tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}", param="LAS_CONFIG") from None


def local_chat_model(path: Path | None) -> str:
    """The id of the local chat model: the embedded one's, or one made of the name of the file that replaces it."""
    if path is None:
        return EMBEDDED_CHAT
    return "local/" + (re.sub(r"[^A-Za-z0-9._:@-]+", "-", path.stem).strip("-.").lower() or "model")


def nearest(name: str, known: Iterable[str]) -> str:
    """A suffix for error messages: ``"; did you mean 'temperature'?"``, or nothing if no known name is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.65)
    return f"; did you mean {close[0]!r}?" if close else ""


def _refuse_unknown(names: Iterable[str], known: Iterable[str], where: str) -> None:
    known = list(known)
    for name in names:
        if name not in known:
            raise ConfigurationError(f"Unknown setting {name!r} in {where}{nearest(name, known)}", param=name)
