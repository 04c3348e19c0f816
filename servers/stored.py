"""Changing the settings of a running server, so that what is changed outlives the process."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import orjson
from filelock import FileLock, Timeout
from pydantic import BaseModel, SecretStr

from las_langchain.errors import BadRequestError, ConfigurationError, LASError
from las_langchain.service import LiteLLMService
from las_langchain.settings import (
    STORED,
    TABLES,
    LASSettings,
    as_table,
    check_types,
    merged_entries,
    read_stored,
    settings_with,
    spelled_out,
)
from las_langchain.setups import Setup
from servers.shown import revealed, shown, why_unchangeable

Json = dict[str, Any]
LOCK_PATIENCE = 3.0
"""Seconds that a change waits for those of other processes."""


class ConflictError(LASError):
    """A setting is fixed elsewhere."""

    status_code = HTTPStatus.CONFLICT
    type = "invalid_request_error"
    code = "setting_fixed"


def change(service: LiteLLMService, changes: Json) -> Json:
    """Check *changes*, keep them for later processes, and let them hold for the calls from now on.

    Args:
        service: whose settings change.
        changes: by the settings' names, or the guide's.

    Returns:
        All settings, as they are shown.

    Raises:
        BadRequestError: a name is unknown, or a value invalid.
        ConflictError: a setting is fixed at the start, or by the environment, which comes first.
        LASError: the data folder cannot be written, or another process does not let go of it.
    """
    with _refused(), _locked(service.settings.data_dir) as path:
        before = service.settings
        named = revealed(spelled_out(changes, before.default_provider), before)
        _check_free(named, before)
        check_types(named)
        changed = before.updated(**named)
        answer = shown(changed)
        content = _encoded(_merged(read_stored(path.parent), named))
        _check_restart(named, changed, settings_with(orjson.loads(content), before.data_dir))
        service.update_config(**named)
        try:
            _write(path, content)
        except OSError:
            service.config = before
            raise
    return answer


@contextmanager
def _locked(folder: Path) -> Iterator[Path]:
    """The file of the changes in the data folder *folder*, which no other process changes meanwhile."""
    path = folder / STORED
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock", timeout=LOCK_PATIENCE, poll_interval=0.02):
            yield path
    except Timeout:
        raise _NotKept(
            "The configuration is being changed by another process: try again later",
            status_code=HTTPStatus.SERVICE_UNAVAILABLE,
            detail=f"{path}.lock",
        ) from None
    except (OSError, NotImplementedError) as error:
        message = "The configuration could not be kept: the data folder (LAS_DATA_DIR) cannot be written"
        raise _NotKept(message, detail=str(error)) from None


class _NotKept(LASError):
    """The changes could not be written."""

    type = "configuration_error"


@contextmanager
def _refused() -> Iterator[None]:
    """Say that what is wrong with the configuration is wrong with the request."""
    try:
        yield
    except ConfigurationError as error:
        raise BadRequestError(str(error), param=error.param, code="invalid_value") from None


def _check_free(named: Json, settings: LASSettings) -> None:
    for name in named:
        if name in LASSettings.model_fields and (why := why_unchangeable(name, settings)):
            raise ConflictError(f"{name}: {why}", param=name)


def _check_restart(named: Json, changed: LASSettings, later: LASSettings) -> None:
    """Check that a process can start with the settings *later*, and that it has the changes too."""
    Setup(later)
    for name, part in named.items():
        if _part(name, getattr(later, name), part) != _part(name, getattr(changed, name), part):
            raise ConflictError(f"{name}: las.toml, or LiteLLM Proxy's file, would bring back what it says", param=name)


def _part(name: str, value: Any, change: Any) -> Any:
    """What *change* is about of a setting, of which other processes may have changed the rest."""
    table = as_table(value)
    if name not in TABLES or table is None:
        return value
    parts = {entry: table.get(entry) for entry in change}
    if name != "providers":
        return parts
    return {entry: _fields(part, change[entry]) for entry, part in parts.items()}


def _fields(entry: Any, change: Any) -> Any:
    table = as_table(entry)
    return table if table is None or change is None else {field: table.get(field) for field in change}


def _encoded(settings: Json) -> bytes:
    try:
        return orjson.dumps(settings, option=orjson.OPT_INDENT_2, default=_plain)
    except TypeError as error:
        raise ConfigurationError(f"The changes cannot be kept: {error}") from None


def _write(path: Path, content: bytes) -> None:
    """Put *content* into the file at *path*, whole or not at all."""
    # Made for its owner alone, since it may hold keys.
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _merged(before: Json, changes: Json) -> Json:
    return before | {
        name: merged_entries(name, before.get(name), change) if name in TABLES else change
        for name, change in changes.items()
    }


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return value.model_dump() if isinstance(value, BaseModel) else str(value)
