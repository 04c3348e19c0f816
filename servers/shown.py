"""The settings as clients see them: asterisks are in the place of secrets, and mean them when they come back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from las_langchain.deployments import shown_address
from las_langchain.errors import BadRequestError
from las_langchain.settings import FIXED, LASSettings, as_table, variable_of, why_fixed

Json = dict[str, Any]

HIDDEN = "**********"
_OF_ANY_NAME = frozenset({"headers", "options", "model_info", "env", "args"})
"""Tables and lists whose entries others make up: any may be a credential."""


def shown(settings: LASSettings) -> Json:
    """All settings, with asterisks in the place of secrets, and why some of them cannot be changed here."""
    values = {name: _shown(name, getattr(settings, name)) for name in LASSettings.model_fields}
    fixed = {name: why for name in LASSettings.model_fields if (why := why_unchangeable(name, settings))}
    return {"settings": values, "fixed": fixed}


def why_unchangeable(name: str, settings: LASSettings) -> str | None:
    """Why a setting cannot be changed while the server runs; None: it can."""
    if settings.variable(variable_of(name)) is not None:
        return f"set by {variable_of(name)} in the environment or in .env"
    return why_fixed(name) if name in FIXED else None


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, SecretStr):
        return HIDDEN
    if isinstance(value, BaseModel):
        return {key: _shown(key, getattr(value, key)) for key in type(value).model_fields}
    if isinstance(value, Mapping):
        return {key: HIDDEN if name in _OF_ANY_NAME else _shown(key, item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [HIDDEN if name in _OF_ANY_NAME else _shown(name, item) for item in value]
    if isinstance(value, str) and "://" in value:
        return shown_address(value, HIDDEN)
    return str(value) if isinstance(value, Path) else value


def revealed(changes: Json, settings: LASSettings) -> Json:
    """*changes* with the secrets that *settings* hold in the place of asterisks, or without what is not to change.

    Raises:
        BadRequestError: asterisks are where no secret was shown, or only part of a value.
    """
    given = {name: change for name, change in changes.items() if change != HIDDEN}
    if isinstance(entries := given.get("providers"), Mapping):
        # Their fields are changed one by one.
        given["providers"] = {name: _without_hidden(entry) for name, entry in entries.items()}
    return {name: _revealed(name, change, getattr(settings, name, None)) for name, change in given.items()}


def _without_hidden(entry: Any) -> Any:
    if not isinstance(entry, Mapping):
        return entry
    return {field: value for field, value in entry.items() if value != HIDDEN}


def _revealed(where: str, change: Any, current: Any) -> Any:
    if isinstance(change, str):
        if HIDDEN not in change:
            return change
        if change != HIDDEN or current is None:
            message = f"{where:.100}: the asterisks hide what is there; leave it out, or give all of it"
            raise BadRequestError(message, param=where.partition(".")[0], code="invalid_value")
        return current
    if isinstance(change, Mapping):
        table = as_table(current) or {}
        return {name: _revealed(f"{where}.{name}", item, table.get(name)) for name, item in change.items()}
    if isinstance(change, list):
        return [
            _revealed(f"{where}[{index}]", item, _counterpart(item, index, current))
            for index, item in enumerate(change)
        ]
    return change


def _counterpart(item: Any, index: int, current: Any) -> Any:
    """What *item* of a list was before; None where it was something else, whose secrets are not its own."""
    before = as_table(current[index]) if isinstance(current, list) and index < len(current) else None
    same = before is not None and isinstance(item, Mapping) and item.get("model") == before.get("model")
    return before if same else None
