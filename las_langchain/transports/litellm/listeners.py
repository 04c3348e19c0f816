"""Telling those callbacks that litellm itself passes over, since every call of this package is an asynchronous one."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import litellm
from litellm.integrations.custom_logger import CustomLogger

from las_langchain.transports.litellm.named import is_prepared, started

Told = Callable[..., Awaitable[None]]
logger = logging.getLogger(__name__)


class Listener:
    """A callback of litellm's own kind, which hands on what it hears to functions that would not hear it.

    After asynchronous calls litellm calls no plain functions in ``success_callback``, and no loggers in either list;
    and it never calls what takes the response alone, which is what people write.

    Args:
        event: ``success`` or ``failure``.
    """

    def __init__(self, event: str) -> None:
        self.__name__ = f"las_{event}_listener"
        self._plain, self._asynchronous = f"{event}_callback", f"_async_{event}_callback"
        self._event = event
        # Those in its list for failures litellm calls itself.
        self._calls_plain = event == "success"
        self._loggers: list[CustomLogger] = []
        self._lock = threading.Lock()

    @property
    def _lists(self) -> tuple[list[Any], list[Any]]:
        """What litellm's users put there, and what litellm goes by after asynchronous calls."""
        return getattr(litellm, self._plain), getattr(litellm, self._asynchronous)

    def add(self, callback: Any) -> None:
        """Have a named *callback* hear of calls, as :func:`started` returns it."""
        plain, _ = self._lists
        if callback not in plain:
            plain.append(callback)

    def remove(self, callback: Any) -> None:
        """Undo :meth:`add`."""
        for callbacks in self._lists:
            if callback in callbacks:
                callbacks.remove(callback)

    def settle(self) -> None:
        """Put what is in litellm's lists where litellm will find it.

        Raises:
            ConfigurationError: a package or a variable that a named one needs is missing.
        """
        plain, asynchronous = self._lists
        if not plain and not litellm.callbacks and not self._loggers:
            return
        with self._lock:
            for name in [item for item in plain if isinstance(item, str) and not is_prepared(item)]:
                plain[plain.index(name)] = started(name)
            for function in [item for item in plain if not isinstance(item, CustomLogger) and is_async(item)]:
                plain.remove(function)
                asynchronous.append(function)
            self._settle_loggers(plain, asynchronous)
            if self not in asynchronous:
                asynchronous.append(self)

    def _settle_loggers(self, plain: list[Any], asynchronous: list[Any]) -> None:
        present = [item for item in [*plain, *litellm.callbacks] if isinstance(item, CustomLogger)]
        for item in present:
            _complete(item, self._event)
        gone = [item for item in self._loggers if item not in present and item in asynchronous]
        for item in gone:
            asynchronous.remove(item)
        # litellm itself sees to those in its list for everything.
        new = [item for item in present if item in plain and item not in asynchronous]
        asynchronous.extend(new)
        self._loggers = [item for item in [*self._loggers, *new] if item in present]

    async def __call__(self, arguments: Any, response: Any, start: Any, end: Any) -> None:
        """Tell of a call, with what litellm gives to a function."""
        plain, asynchronous = map(list, self._lists)
        for callback in [*plain, *(item for item in asynchronous if item not in plain)]:
            told = self._told(callback, asynchronous)
            if told is None:
                continue
            try:
                await told(arguments, response, start, end)
            except Exception as error:
                # Its text may hold a prompt.
                name = getattr(callback, "__name__", type(callback).__name__)
                logger.warning("litellm's callback %s raised %s", name, type(error).__name__)

    def _told(self, callback: Any, asynchronous: list[Any]) -> Told | None:
        """How *callback* is to be told; None: litellm does it, or cannot."""
        if not callable(callback) or isinstance(callback, (CustomLogger, Listener)):
            return None
        told = callback if is_async(callback) else functools.partial(_in_thread, callback)
        if _takes(callback, 4):
            return told if self._calls_plain and callback not in asynchronous else None
        return (lambda _, response, *times: told(response)) if _takes(callback, 1) else None


LISTENERS = (Listener("success"), Listener("failure"))


def is_async(callback: Any) -> bool:
    """Whether calling *callback* makes a coroutine."""
    function = callback
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004 - not whether it can be called


def _complete(item: CustomLogger, event: str) -> None:
    """Give a logger that has only the method for synchronous calls the one for asynchronous calls too."""
    name, synchronous = f"async_log_{event}_event", getattr(item, f"log_{event}_event")
    lacks = getattr(getattr(item, name), "__func__", None) is getattr(CustomLogger, name)
    if lacks and getattr(synchronous, "__func__", None) is not getattr(CustomLogger, f"log_{event}_event"):

        async def log(kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
            await _in_thread(synchronous, kwargs, response_obj, start_time, end_time)

        setattr(item, name, log)


def _takes(callback: Callable[..., Any], count: int) -> bool:
    try:
        inspect.signature(callback).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:
        # A function of C's that does not say what it takes.
        return count > 1
    return True


async def _in_thread(function: Callable[..., Any], *arguments: Any) -> None:
    """Call *function* in a thread, where it may take its time."""
    call = functools.partial(contextvars.copy_context().run, function, *arguments)
    try:
        called = asyncio.get_running_loop().run_in_executor(None, call)
    except RuntimeError:
        # At the end of the process there are no new threads.
        call()
    else:
        await called
