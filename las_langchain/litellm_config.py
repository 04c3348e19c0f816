"""LiteLLM Proxy's YAML configuration, read as it is: its models, fallbacks and routing as this package's settings."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from las_langchain.errors import ConfigurationError

Json = dict[str, Any]
Variable = Callable[[str], str | None]
logger = logging.getLogger(__name__)

_ENVIRONMENT = "os.environ/"
# Fields of litellm_params that litellm's Router reads and no provider does.
_ROUTERS = frozenset("order tags max_parallel_requests max_budget budget_duration region_name itpm otpm".split())
_DEPLOYMENTS = {"model": "model", "api_key": "api_key", "api_base": "base_url", "base_url": "base_url"}
_OWN = frozenset("weight rpm tpm timeout".split())
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
        path: the YAML file: ``model_list``, ``router_settings``, ``litellm_settings``.
        variable: finds the value of ``os.environ/NAME``.

    Raises:
        ConfigurationError: the file cannot be read, or an entry is wrong; the message names it.
    """
    config = _load(path)
    reader = _Reader(path, variable)
    models = reader.models(config.pop("model_list", None) or [])
    result: Json = {"models": models, "routing": {}}
    for section in ("router_settings", "litellm_settings"):
        given = reader.table(config.pop(section, None), section)
        reader.add(given, result, section)
    reader.ignored += config
    if reader.ignored:
        logger.warning("%s: without meaning here, and ignored: %s", path, ", ".join(sorted(set(reader.ignored))))
    return {name: value for name, value in result.items() if value}


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

    Attributes:
        ignored: what was found that has no meaning here.
    """

    def __init__(self, path: Path, variable: Variable) -> None:
        self._path, self._variable = path, variable
        self.ignored: list[str] = []

    def models(self, entries: Any) -> dict[str, Json]:
        """The aliases of ``model_list``, each with all its deployments."""
        found: dict[str, Json] = {}
        for index, entry in enumerate(entries if isinstance(entries, list) else [entries]):
            where = f"model_list[{index}]"
            given = self.table(entry, where)
            name, params = given.get("model_name"), self.table(given.get("litellm_params"), f"{where}.litellm_params")
            if not isinstance(name, str) or not isinstance(params.get("model"), str):
                raise self._wrong(where, "needs model_name and litellm_params.model")
            alias = found.setdefault(name, {"deployments": []})
            alias["deployments"].append(self._deployment(params, given.get("model_info") or {}))
        return found

    def _deployment(self, params: Json, info: Json) -> Json:
        result: Json = {"options": {}, "routing": {"model_info": info} if info else {}}
        for name, raw in params.items():
            value = self._value(raw)
            if name in _DEPLOYMENTS or name in _OWN:
                result[_DEPLOYMENTS.get(name, name)] = value
            else:
                result["routing" if name in _ROUTERS else "options"][name] = value
        return result

    def add(self, given: Json, result: Json, section: str) -> None:
        """Add a section's settings to *result*."""
        for name, raw in given.items():
            value = self._value(raw)
            if name in _FALLBACKS:
                self._add_fallbacks(name, value, result["models"], section)
            elif name == "model_group_alias":
                self._add_aliases(value, result["models"], section)
            elif name in _ROUTING:
                result["routing"][_ROUTING[name]] = value
            elif name in _SETTINGS:
                result[_SETTINGS[name]] = value
            elif name in _CALLBACKS:
                known = result.setdefault("callbacks", [])
                known += [item for item in _listed(value) if item not in known]
            else:
                self.ignored.append(f"{section}.{name}")

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
        if not isinstance(raw, str) or not raw.startswith(_ENVIRONMENT):
            return raw
        name = raw.removeprefix(_ENVIRONMENT)
        value = self._variable(name)
        if value is None:
            raise self._wrong(raw, f"set {name} in the environment or in .env")
        return value

    def _wrong(self, where: str, what: str) -> ConfigurationError:
        return ConfigurationError(f"{self._path}: {where}: {what}", param="litellm_config")


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
