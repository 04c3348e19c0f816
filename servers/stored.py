"""The settings as clients see and change them: no secret goes out, and what is changed outlives the process."""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import orjson
from pydantic import BaseModel, SecretStr

from las_langchain.errors import BadRequestError, ConfigurationError, LASError
from las_langchain.providers import check_configured
from las_langchain.service import LiteLLMService
from las_langchain.settings import (
    FIXED,
    STORED,
    TABLES,
    LASSettings,
    merged_entries,
    settings_with,
    spelled_out,
    variable_of,
)

Json = dict[str, Any]

HIDDEN = "**********"
_HIDDEN_TABLES = frozenset({"headers", "extra_headers", "default_headers", "extra_body"})
_SECRET = re.compile(r"key|secret|token|password|credential|auth", re.IGNORECASE)


class ConflictError(LASError):
    """A setting is fixed elsewhere."""

    status_code = 409
    type = "invalid_request_error"
    code = "setting_fixed"


def shown(settings: LASSettings) -> Json:
    """All settings, with asterisks in the place of secrets, and why some of them cannot be changed here."""
    values = {name: _shown(name, getattr(settings, name)) for name in LASSettings.model_fields}
    fixed = {name: why for name in LASSettings.model_fields if (why := _fixed(name, settings))}
    return {"settings": values, "fixed": fixed}


def change(service: LiteLLMService, changes: Json, lock: threading.Lock) -> LASSettings:
    """Check *changes*, keep them for later processes, and let them hold for the calls from now on.

    Args:
        service: whose settings change.
        changes: by the settings' names, or the guide's.
        lock: held while the file is rewritten.

    Raises:
        BadRequestError: a name is unknown, or a value invalid.
        ConflictError: a setting is fixed at the start, or by the environment, which comes first.
        LASError: the data folder cannot be written.
    """
    with lock, _refused():
        before = service.settings
        named = spelled_out(changes, before.default_provider)
        _check_free(named, before)
        path = before.data_dir / STORED
        content = _encoded(_merged(_read(path), named))
        _check_restart(named, before, before.updated(**named), orjson.loads(content))
        changed = service.update_config(**named)
        try:
            _write(path, content)
        except OSError as error:
            service.config = before
            raise _NotKept(error) from None
    return changed


class _NotKept(LASError):
    """The data folder cannot be written."""

    type = "configuration_error"

    def __init__(self, error: OSError) -> None:
        super().__init__(
            "The configuration could not be kept: the data folder (LAS_DATA_DIR) cannot be written", detail=str(error)
        )


@contextmanager
def _refused() -> Iterator[None]:
    """Say that what is wrong with the configuration is wrong with the request."""
    try:
        yield
    except ConfigurationError as error:
        raise BadRequestError(str(error), param=error.param, code="invalid_value") from None


def _check_free(named: Json, settings: LASSettings) -> None:
    for name in named:
        if name in LASSettings.model_fields and (why := _fixed(name, settings)):
            raise ConflictError(f"{name}: {why}", param=name)


def _check_restart(named: Json, before: LASSettings, changed: LASSettings, stored: Json) -> None:
    """Check that a process that starts with *stored* has the changes too."""
    later = settings_with(stored, before.data_dir)
    check_configured(later)
    for name in named:
        if _part(later, name, named) != _part(changed, name, named):
            raise ConflictError(f"{name}: las.toml, or LiteLLM Proxy's file, would bring back what it says", param=name)


def _part(settings: LASSettings, name: str, named: Json) -> Any:
    """What *named* changes of one setting."""
    value = getattr(settings, name)
    return {key: value.get(key) for key in named[name]} if isinstance(value, dict) else value


def _fixed(name: str, settings: LASSettings) -> str | None:
    """Why a setting cannot be changed here."""
    if settings.variable(variable_of(name)) is not None:
        return f"set by {variable_of(name)} in the environment or in .env"
    return f"fixed when the process starts: set {variable_of(name)}" if name in FIXED else None


def _read(path: Path) -> Json:
    try:
        return dict(orjson.loads(path.read_bytes()))
    except FileNotFoundError:
        return {}


def _encoded(settings: Json) -> bytes:
    try:
        return orjson.dumps(settings, option=orjson.OPT_INDENT_2, default=_plain)
    except TypeError as error:
        raise ConfigurationError(f"The changes cannot be kept: {error}") from None


def _write(path: Path, content: bytes) -> None:
    """Put *content* into the file at *path*, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
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


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, SecretStr) or (isinstance(value, str) and _SECRET.search(name)):
        return HIDDEN
    if isinstance(value, BaseModel):
        value = {key: getattr(value, key) for key in type(value).model_fields}
    if isinstance(value, Mapping):
        # Any header may hold a credential.
        return {key: HIDDEN if name in _HIDDEN_TABLES else _shown(key, item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shown(name, item) for item in value]
    if isinstance(value, str) and "://" in value:
        return _without_secrets(value)
    return str(value) if isinstance(value, Path) else value


def _without_secrets(address: str) -> str:
    """*address* without its user and its query, either of which may be a credential."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    shown = parts._replace(netloc=f"{HIDDEN}@{host}" if host != parts.netloc else host)
    return urlunsplit(shown._replace(query=HIDDEN if parts.query else "", fragment=""))
