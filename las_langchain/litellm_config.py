"""LiteLLM Proxy's YAML configuration, read as it is: its models, fallbacks and routing as this package's settings."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from las_langchain.catalog import litellm_callbacks
from las_langchain.deployments import STRATEGIES
from las_langchain.errors import ConfigurationError

Json = dict[str, Any]
Variable = Callable[[str], str | None]
logger = logging.getLogger(__name__)

_ENVIRONMENT = "os.environ/"
_DEPLOYMENTS = {"model": "model", "api_key": "api_key", "api_base": "base_url", "base_url": "base_url"}
_OWN = frozenset("weight rpm tpm timeout".split())
_ROUTING_OF_ONE = frozenset({"order", "cooldown_time"})
# Fields of litellm_params that are no provider's, and that nothing here does.
_NOT_DONE = frozenset(
    "tags max_parallel_requests max_budget budget_duration region_name itpm otpm num_retries max_retries "
    "use_in_pass_through".split()
)
# Settings of one call, of routing and of the whole process, by litellm's names.
_SETTINGS = {"num_retries": "max_retries", "request_timeout": "timeout", "timeout": "timeout",
             "stream_timeout": "stream_timeout", "cache": "enable_caching"}  # fmt: skip
_ROUTING = {"routing_strategy": "strategy", "allowed_fails": "allowed_fails", "cooldown_time": "cooldown_time",
            "default_fallbacks": "default_fallbacks"}  # fmt: skip
_FALLBACKS = ("fallbacks", "context_window_fallbacks")
_CALLBACKS = ("callbacks", "success_callback", "failure_callback")


def read_litellm_config(path: Path, variable: Variable) -> Json:
    """The settings that LiteLLM Proxy's file *path* makes; what has no meaning here is named in one log line.

    Args:
        path: the YAML file: ``model_list``, ``router_settings``, ``litellm_settings``, and what it includes.
        variable: finds the value of ``os.environ/NAME``, where the file itself has none.

    Raises:
        ConfigurationError: the file cannot be read, or an entry is wrong; the message names it.
    """
    config = _with_included(path)
    reader = _Reader(path, variable, config)
    models = reader.models(config.pop("model_list", None) or [])
    result: Json = {"models": models, "routing": {}}
    for section in ("router_settings", "litellm_settings"):
        given = reader.table(config.pop(section, None), section)
        reader.add(given, result, section)
    reader.ignored += config
    if reader.ignored:
        logger.warning("%s: without meaning here, and ignored: %s", path, ", ".join(sorted(set(reader.ignored))))
    return {name: value for name, value in result.items() if value}


def litellm_variables(path: Path, variable: Variable) -> dict[str, str]:
    """The variables that LiteLLM Proxy's file *path* sets: its ``environment_variables``.

    Args:
        path: as for :func:`read_litellm_config`.
        variable: finds the value of ``os.environ/NAME``; one without a value is left out.

    Raises:
        ConfigurationError: as for :func:`read_litellm_config`.
    """
    return _Reader(path, variable, _with_included(path)).variables


def _with_included(path: Path) -> Json:
    """The file's content, and after it what it includes: lists are joined, of other values the last counts."""
    config = _load(path)
    pending, read = _included(config, path), {path.resolve()}
    while pending:
        other = pending.pop(0)
        if other.resolve() in read:
            continue
        read.add(other.resolve())
        more = _load(other)
        pending += _included(more, other)
        for name, value in more.items():
            before = config.get(name)
            config[name] = [*before, *value] if isinstance(before, list) and isinstance(value, list) else value
    return config


def _included(config: Json, path: Path) -> list[Path]:
    names = config.pop("include", None) or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigurationError(f"{path}: include: expected a list of files", param="litellm_config")
    return [path.parent / name for name in names]


def _load(path: Path) -> Json:
    import yaml

    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"LAS_LITELLM_CONFIG: {path} cannot be read: {error}", param="litellm_config"
        ) from None
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"LAS_LITELLM_CONFIG: {path} is not valid YAML: {reason}") from None
    if not isinstance(config, dict):
        raise ConfigurationError(f"LAS_LITELLM_CONFIG: {path} must be a table with model_list", param="litellm_config")
    return config


class _Reader:
    """Reads the sections of one file.

    Args:
        path: the file.
        variable: finds the value of a variable of the environment.
        config: the file's content, out of which what other sections refer to is taken.

    Attributes:
        variables: those that the file sets, which go before the environment's.
        ignored: what was found that has no meaning here.
    """

    def __init__(self, path: Path, variable: Variable, config: Json) -> None:
        self._path, self._variable = path, variable
        self.ignored: list[str] = []
        self.variables: dict[str, str] = {}
        for name, raw in self.table(config.pop("environment_variables", None), "environment_variables").items():
            value = variable(raw.removeprefix(_ENVIRONMENT)) if _is_reference(raw) else raw
            if value is not None:
                self.variables[str(name)] = str(value)
        self._credentials = {
            entry.get("credential_name"): self.table(entry.get("credential_values"), "credential_values")
            for entry in (self.table(item, "credential_list") for item in _listed(config.pop("credential_list", None)))
        }

    def models(self, entries: Any) -> dict[str, Json]:
        """The aliases of ``model_list``, each with all its deployments."""
        found: dict[str, Json] = {}
        for index, entry in enumerate(_listed(entries)):
            where = f"model_list[{index}]"
            given = self.table(entry, where)
            name, params = given.get("model_name"), self.table(given.get("litellm_params"), f"{where}.litellm_params")
            if not isinstance(name, str) or not isinstance(params.get("model"), str):
                raise self._wrong(where, "needs model_name and litellm_params.model")
            info = self.table(given.get("model_info"), f"{where}.model_info")
            found.setdefault(name, {"deployments": []})["deployments"].append(self._deployment(params, info))
        return found

    def _deployment(self, params: Json, info: Json) -> Json:
        result: Json = {"options": {}, "routing": {"model_info": info} if info else {}}
        for name, raw in {**self._credentials_of(params), **params}.items():
            if name in _NOT_DONE:
                self.ignored.append(f"litellm_params.{name}")
            elif name in _DEPLOYMENTS or name in _OWN:
                result[_DEPLOYMENTS.get(name, name)] = self._value(raw)
            else:
                result["routing" if name in _ROUTING_OF_ONE else "options"][name] = self._value(raw)
        return result

    def _credentials_of(self, params: Json) -> Json:
        """What ``litellm_credential_name`` stands for, which is taken out of *params*."""
        name = params.pop("litellm_credential_name", None)
        if name is not None and name not in self._credentials:
            self.ignored.append(f"litellm_params.litellm_credential_name={name}")
        return self._credentials.get(name, {})

    def add(self, given: Json, result: Json, section: str) -> None:
        """Add a section's settings to *result*."""
        drops = given.pop("drop_params", False)
        for name, raw in given.items():
            if name in _FALLBACKS:
                self._add_fallbacks(name, self._value(raw), result["models"], section)
            elif name == "model_group_alias":
                self._add_aliases(self._value(raw), result["models"], section)
            elif name == "routing_strategy" and raw not in STRATEGIES:
                self.ignored.append(f"{section}.{name}={raw}")
            elif name in _ROUTING:
                result["routing"][_ROUTING[name]] = self._value(raw)
            elif name in _SETTINGS:
                result[_SETTINGS[name]] = self._value(raw)
            elif name in _CALLBACKS:
                self._add_callbacks(raw, result.setdefault("callbacks", []), section)
            else:
                self.ignored.append(f"{section}.{name}")
        if drops:
            _drop_params(result["models"])

    def _add_callbacks(self, names: Any, known: list[str], section: str) -> None:
        for name in _listed(names):
            if name not in litellm_callbacks():
                self.ignored.append(f"{section}.callbacks={name}")
            elif name not in known:
                known.append(name)

    def _add_fallbacks(self, name: str, value: Any, models: dict[str, Json], section: str) -> None:
        for table in _listed(value):
            for model, others in self.table(table, f"{section}.{name}").items():
                # A model without deployments of its own is one at its provider.
                alias = models.setdefault(model, {"deployments": [{"model": model}]})
                alias[name] = list(_listed(others))

    def _add_aliases(self, value: Any, models: dict[str, Json], section: str) -> None:
        for alias, target in self.table(value, f"{section}.model_group_alias").items():
            name = target.get("model") if isinstance(target, dict) else target
            if name not in models:
                raise self._wrong(f"{section}.model_group_alias.{alias}", f"{name!r} is not in model_list")
            # Fallbacks of its own may have been read already.
            models[alias] = {
                **models[name],
                **{key: models[alias][key] for key in _FALLBACKS if key in models.get(alias, ())},
            }

    def table(self, value: Any, where: str) -> Json:
        """*value*, checked to be a table; nothing is an empty one."""
        if value is not None and not isinstance(value, dict):
            raise self._wrong(where, f"expected a table, not {type(value).__name__}")
        return dict(value or {})

    def _value(self, raw: Any) -> Any:
        if isinstance(raw, dict):
            return {name: self._value(item) for name, item in raw.items()}
        if isinstance(raw, list):
            return [self._value(item) for item in raw]
        if not _is_reference(raw):
            return raw
        name = raw.removeprefix(_ENVIRONMENT)
        value = self.variables.get(name) or self._variable(name)
        if value is None:
            raise self._wrong(raw, f"set {name} in the environment or in .env")
        return value

    def _wrong(self, where: str, what: str) -> ConfigurationError:
        return ConfigurationError(f"{self._path}: {where}: {what}", param="litellm_config")


def _drop_params(models: dict[str, Json]) -> None:
    """Have litellm leave out of requests what a deployment's provider does not take."""
    for entry in models.values():
        for deployment in entry["deployments"]:
            deployment.setdefault("options", {}).setdefault("drop_params", True)


def _is_reference(raw: Any) -> bool:
    return isinstance(raw, str) and raw.startswith(_ENVIRONMENT)


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
