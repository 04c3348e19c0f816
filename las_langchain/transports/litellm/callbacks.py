"""litellm's callbacks: those that the settings name, and functions of its users that take the answer alone."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import Any

import litellm
from litellm.litellm_core_utils.litellm_logging import set_callbacks

from las_langchain.catalog import litellm_callbacks
from las_langchain.errors import ConfigurationError
from las_langchain.settings import nearest

# litellm's lists of callbacks after its synchronous calls, and those after its asynchronous ones.
_LISTS = {"success_callback": "_async_success_callback", "failure_callback": "_async_failure_callback"}


class Callbacks:
    """What this package does about litellm's lists of callbacks, which anybody may change at any time."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._settled: list[Any] = []

    def use(self, names: Iterable[str], *, log_prompts: bool) -> None:
        """Have litellm report to the services called *names*, and no longer to those of the last call of this.

        Args:
            names: litellm's, such as ``langfuse``.
            log_prompts: whether they get prompts and answers too.

        Raises:
            ConfigurationError: litellm knows no callback of such a name, or its package is missing.
        """
        wanted = list(names)
        for name in wanted:
            _check_known(name)
            _check_installed(name)
        for attribute in _LISTS:
            others = [item for item in getattr(litellm, attribute) if item not in (*self._names, *wanted)]
            setattr(litellm, attribute, [*others, *wanted])
        if wanted or self._names:
            litellm.turn_off_message_logging = not log_prompts
        self._names = wanted

    def settle(self) -> None:
        """Make what is in litellm's lists now hear of calls; to be called before each, since it costs nothing.

        litellm prepares callbacks once, at its first call. It calls plain functions after its synchronous calls only,
        where this package makes asynchronous ones; and it gives them four arguments, where
        ``def log_success(response)`` is what people write.

        Raises:
            ConfigurationError: the package of a named one is missing.
        """
        listed = [*litellm.success_callback, None, *litellm.failure_callback]
        if listed == self._settled:
            return
        added = [item for item in listed if item is not None and item not in self._settled]
        for name in added:
            _check_installed(name)
        set_callbacks(added)
        for plain, asynchronous in _LISTS.items():
            others = [item for item in getattr(litellm, asynchronous) if not isinstance(item, _Twin)]
            twins = [_Twin(item) for item in getattr(litellm, plain) if _is_plain(item)]
            setattr(litellm, asynchronous, [*others, *twins])
        self._settled = listed


class _Twin:
    """A plain function as an asynchronous one of four arguments."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.__name__ = getattr(function, "__name__", type(self).__name__)
        signature = inspect.signature(function)
        self._takes_all = _binds(signature, 4) or not _binds(signature, 1)

    async def __call__(self, arguments: Any, response: Any, start: Any, end: Any) -> None:
        """Call the function in a thread, where it may take its time."""
        given = (arguments, response, start, end) if self._takes_all else (response,)
        await asyncio.to_thread(self.function, *given)


def _is_plain(callback: Any) -> bool:
    return inspect.isroutine(callback) and not inspect.iscoroutinefunction(callback)


def _binds(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


def _check_known(name: str) -> None:
    known = litellm_callbacks()
    if name not in known:
        raise ConfigurationError(f"callbacks: litellm knows no {name!r}{nearest(name, known)}", param="callbacks")


def _check_installed(name: Any) -> None:
    """litellm itself would fail with an import error, or install the package there and then."""
    package = _PACKAGES.get(name) if isinstance(name, str) else None
    if package is not None and find_spec(package) is None:
        raise ConfigurationError(
            f"litellm's callback {name!r} needs a package that is missing: pip install {package}", param="callbacks"
        )


_PACKAGES = {
    "langfuse": "langfuse",
    "lunary": "lunary",
    "sentry": "sentry_sdk",
    "slack": "slack_bolt",
    "supabase": "supabase",
    "weights_biases": "wandb",
}
