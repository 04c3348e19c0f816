"""litellm's callbacks: those that the settings name, and functions of its users that take the answer alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import litellm

from las_langchain.transports.litellm.listeners import LISTENERS
from las_langchain.transports.litellm.named import check_known, started


class Callbacks:
    """What this package does about litellm's lists of callbacks, which anybody may change at any time."""

    def __init__(self) -> None:
        self._named: dict[str, Any] = {}

    def use(self, names: Iterable[str], *, log_prompts: bool) -> None:
        """Have litellm report to the services called *names*, and no longer to those of the last call of this.

        Args:
            names: litellm's, such as ``langfuse``.
            log_prompts: whether they get prompts and answers too.

        Raises:
            ConfigurationError: litellm knows no callback of such a name, or a package or a variable that it needs is
                missing.
        """
        wanted = list(names)
        for name in wanted:
            check_known(name)
        named = {name: started(name) for name in wanted}
        for listener in LISTENERS:
            for callback in self._named.values():
                listener.remove(callback)
            for callback in named.values():
                listener.add(callback)
            listener.settle()
        if wanted or self._named:
            litellm.turn_off_message_logging = not log_prompts
        self._named = named

    def settle(self) -> None:
        """Make what is in litellm's lists now hear of calls; to be called before each, since it costs next to nothing.

        litellm prepares named callbacks once, at its first call.

        Raises:
            ConfigurationError: a package or a variable that a named one needs is missing.
        """
        for listener in LISTENERS:
            listener.settle()
