"""litellm's callbacks that have names: whether there is one, and what it needs."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import litellm
from litellm._logging import verbose_logger
from litellm.litellm_core_utils.litellm_logging import _init_custom_logger_compatible_class, set_callbacks

from las_langchain.catalog import litellm_callbacks
from las_langchain.errors import ConfigurationError, masked
from las_langchain.settings import nearest
from las_langchain.transports.background import BACKGROUND

_PACKAGES = {
    "langfuse": "langfuse",
    "lunary": "lunary",
    "sentry": "sentry_sdk",
    "slack": "slack_bolt",
    "supabase": "supabase",
    "wandb": "wandb",
}
_prepared: set[str] = set()


def check_known(name: str) -> None:
    """Refuse a *name* that litellm does not know.

    Raises:
        ConfigurationError: it does not.
    """
    known = litellm_callbacks()
    if name not in known:
        raise ConfigurationError(f"callbacks: litellm knows no {name!r}{nearest(name, known)}", param="callbacks")


def is_prepared(name: str) -> bool:
    """Whether nothing is left to do for *name* in one of litellm's lists, which may hold unknown ones."""
    return name in _prepared or name not in litellm_callbacks()


def started(name: str) -> Any:
    """What litellm's lists are to hold for *name*: a logger, or the name itself where litellm has no class for it.

    Raises:
        ConfigurationError: a package or a variable that it needs is missing.
    """
    package = _PACKAGES.get(name)
    # litellm itself would fail with an import error, or install the package there and then.
    if package is not None and find_spec(package) is None:
        raise ConfigurationError(
            f"litellm's callback {name!r} needs a package that is missing: pip install {package}", param="callbacks"
        )
    if name in litellm._known_custom_logger_compatible_callbacks:
        # A logger writes from time to time, on the loop where it is made.
        return _made(name) if BACKGROUND.is_here else BACKGROUND.run(_amade(name))
    try:
        set_callbacks([name])
    except Exception as error:
        raise _refused(name, error) from None
    _prepared.add(name)
    return name


async def _amade(name: str) -> Any:
    return _made(name)


def _made(name: str) -> Any:
    with _errors_of_litellm() as errors:
        made = _init_custom_logger_compatible_class(name, internal_usage_cache=None, llm_router=None)
    if made is None:
        raise _refused(name, errors[-1] if errors else None)
    return made


def _refused(name: str, error: BaseException | None) -> ConfigurationError:
    if isinstance(error, ModuleNotFoundError):
        why = f"needs a package that is missing: {error.name}"
    elif isinstance(error, KeyError):
        why = f"needs the variable {error.args[0]}, which is not set"
    else:
        said = masked(str(error or "")).strip().partition("\n")[0]
        why = f"cannot be set up: {said or 'a variable or a package that it needs is missing'}"
    return ConfigurationError(f"litellm's callback {name!r} {why}", param="callbacks")


@contextlib.contextmanager
def _errors_of_litellm() -> Iterator[list[BaseException]]:
    """The exceptions that litellm logs in this thread, and then goes on; they are not logged."""
    found: list[BaseException] = []
    thread = threading.get_ident()

    def catch(record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if record.thread != thread or error is None:
            return True
        found.append(error)
        return False

    level = verbose_logger.level
    if not verbose_logger.isEnabledFor(logging.ERROR):
        verbose_logger.setLevel(logging.ERROR)
    verbose_logger.addFilter(catch)
    try:
        yield found
    finally:
        verbose_logger.removeFilter(catch)
        verbose_logger.setLevel(level)
