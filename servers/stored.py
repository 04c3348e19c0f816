"""The settings as clients see and change them: no secret goes out, and what is changed outlives the process."""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
from pydantic import BaseModel, SecretStr

from las_langchain.errors import BadRequestError, ConfigurationError, LASError
from las_langchain.service import LiteLLMService
from las_langchain.settings import FIXED, STORED, LASSettings, spelled_out, variable_of

Json = dict[str, Any]

HIDDEN = "**********"
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
        ConfigurationError: the data folder cannot be written.
    """
    named = spelled_out(changes, service.settings.default_provider)
    for name in named:
        if name in LASSettings.model_fields and (why := _fixed(name, service.settings)):
            raise ConflictError(f"{name}: {why}", param=name)
    with lock:
        before = service.settings
        try:
            changed = service.update_config(**named)
        except ConfigurationError as error:
            raise BadRequestError(str(error), param=error.param, code="invalid_value") from None
        try:
            _write(before.data_dir / STORED, named)
        except OSError as error:
            service.config = before
            raise ConfigurationError(
                "The configuration could not be kept: the data folder (LAS_DATA_DIR) cannot be written",
                detail=str(error),
            ) from None
    return changed


def _fixed(name: str, settings: LASSettings) -> str | None:
    """Why a setting cannot be changed here."""
    if settings.variable(variable_of(name)) is not None:
        return f"set by {variable_of(name)} in the environment or in .env"
    return f"fixed when the process starts: set {variable_of(name)}" if name in FIXED else None


def _write(path: Path, changes: Json) -> None:
    """Add *changes* to the file at *path*, whole or not at all."""
    with suppress(FileNotFoundError):
        changes = _merged(orjson.loads(path.read_bytes()), changes)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Made for its owner alone, since it may hold keys.
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(number, "wb") as file:
            file.write(orjson.dumps(changes, option=orjson.OPT_INDENT_2, default=_plain))
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _merged(before: Json, changes: Json) -> Json:
    result = dict(before)
    for name, value in changes.items():
        kept = result.get(name)
        if isinstance(value, dict) and isinstance(kept, dict):
            result[name] = {key: item for key, item in _merged(kept, value).items() if item is not None}
        else:
            result[name] = value
    return result


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
        return {key: HIDDEN if name == "headers" else _shown(key, item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shown(name, item) for item in value]
    if isinstance(value, str) and "://" in value:
        return _without_user(value)
    return str(value) if isinstance(value, Path) else value


def _without_user(address: str) -> str:
    user = urlsplit(address).netloc.rpartition("@")[0]
    return address.replace(f"{user}@", f"{HIDDEN}@", 1) if user else address
