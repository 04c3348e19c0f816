"""The chains that are published: the built-in ones and yours."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import threading
from collections.abc import Iterable, Mapping
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from las_langchain.chain_settings import is_chain_name, is_reference
from las_langchain.errors import ConfigurationError, LASError, ModelNotFoundError, in_a_line
from las_langchain.service import LiteLLMService, using
from las_langchain.settings import nearest

if TYPE_CHECKING:
    from langchain_core.runnables import Runnable

    from chains.chain import Chain

logger = logging.getLogger(__name__)

BUILT_IN = ("chat", "rag", "agent", "extract", "summarize", "vision", "compare")
_PACKAGES = ("langchain", "langgraph", "langchain_mcp_adapters", "langchain_text_splitters", "pypdf", "bs4", "numpy")


class ChainRegistry:
    """The chains of one server or program: the built-in ones, those of ``[chains]`` in the settings, and *references*.

    Yours are imported here; each chain is built when it is first used. One that cannot be imported or built is in
    :attr:`failures` and does not keep the others from being used.

    Args:
        service: what the chains call models by.
        references: further chains, each as ``module:attribute``, named by its attribute.

    Attributes:
        failures: why chains cannot be used, one line each, by name.

    Raises:
        ConfigurationError: a reference is none, or two of them have one name.
    """

    def __init__(self, service: LiteLLMService, references: Iterable[str] = ()) -> None:
        self._service = service
        self._lock = threading.Lock()
        self._built: dict[str, Runnable[Any, Any]] = {}
        self._building: dict[str, threading.Lock] = {}
        self.failures: dict[str, str] = {}
        self._foreign: set[str] = set()
        self._chains: dict[str, Chain | None] = dict.fromkeys(BUILT_IN)
        self._has_packages = all(importlib.util.find_spec(name) for name in _PACKAGES)
        for name, reference in {**service.settings.chains, **_named(references)}.items():
            self._add(name, reference)

    @property
    def names(self) -> list[str]:
        """The names of all chains, those that failed too."""
        return list(self._chains)

    def chain(self, name: str) -> Chain:
        """The chain of this *name*.

        Raises:
            ModelNotFoundError: there is none.
            ConfigurationError: it could not be imported, or needs an extra.
        """
        if name not in self._chains:
            raise ModelNotFoundError(f"There is no chain {name!r:.100}{nearest(name, self._chains)}", param="model")
        chain = self._chains[name]
        if chain is None:
            if name in self.failures:
                raise self._refusal(name, "used")
            if not self._has_packages:
                raise ConfigurationError(
                    f"The chain {name} needs an extra: pip install 'las-langchain[chains]'", param=name
                )
            built_in: Chain = importlib.import_module(f"chains.{name}").CHAIN
            chain = self._chains[name] = built_in
        return chain

    def runnable(self, name: str) -> Runnable[Any, Any]:
        """The chain of this *name*, built; it may take seconds the first time.

        Raises:
            LASError: as for :meth:`chain`, or it cannot be built. The next call tries again.
        """
        chain = self.chain(name)
        with self._lock:
            building = self._building.setdefault(name, threading.Lock())
        with building:
            if name not in self._built:
                self._built[name] = self._build(chain)
            return self._built[name]

    def _build(self, chain: Chain) -> Runnable[Any, Any]:
        # Servers start sooner without LangChain.
        from langchain_core.runnables import Runnable

        try:
            with using(self._service):
                built = chain.build(self._service.settings)
            if not isinstance(built, Runnable):
                raise ConfigurationError(
                    f"The chain {chain.name}: its build made a {type(built).__name__}: expected a runnable"
                )
        except (Exception, SystemExit) as error:
            self._failed(chain.name, error)
            if isinstance(error, LASError):
                raise
            raise self._refusal(chain.name, "built") from error
        self.failures.pop(chain.name, None)
        return built

    def _add(self, name: str, reference: str) -> None:
        self._chains[name] = None
        self.failures.pop(name, None)
        # Servers without chains of their own start sooner without LangChain.
        from chains.adapting import as_chain

        try:
            with using(self._service):
                self._chains[name] = as_chain(name, imported(reference))
        except (Exception, SystemExit) as error:
            self._failed(name, error)

    def _refusal(self, name: str, done: str) -> ConfigurationError:
        """The error for a chain that cannot be *done*; what its author's code raised is for the operator only."""
        reason = self.failures[name]
        if name in self._foreign:
            message = f"The chain {name} cannot be {done}; the log says why"
            return ConfigurationError(message, param=name, detail=reason)
        return ConfigurationError(f"The chain {name} cannot be {done}: {reason}", param=name)

    def _failed(self, name: str, error: BaseException) -> None:
        self.failures[name] = line = in_a_line(error)
        (self._foreign.discard if isinstance(error, LASError) else self._foreign.add)(name)
        # Clients are told of failures, and only the log has what is for the operator.
        detail = f" ({error.detail})" if isinstance(error, LASError) and error.detail else ""
        logger.error("The chain %s cannot be used: %s%s", name, line, detail)
        if not isinstance(error, LASError):
            logger.debug("The chain %s failed here", name, exc_info=error)


def imported(reference: str) -> Any:
    """What ``module:attribute`` names; modules in the working folder are found too.

    Raises:
        ConfigurationError: the module has no such attribute.
        Exception: whatever importing the module raises.
    """
    module_name, _, path = reference.partition(":")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module = importlib.import_module(module_name)
    try:
        return reduce(getattr, path.split("."), module)
    except AttributeError:
        hint = nearest(path, vars(module))
        raise ConfigurationError(f"{module_name} has no {path!r}{hint}", param=reference) from None


def _named(references: Iterable[str]) -> Mapping[str, str]:
    named: dict[str, str] = {}
    for reference in references:
        if not is_reference(reference):
            raise ConfigurationError(
                f"{reference!r:.100} names no chain: expected module:runnable, such as my_package.chains:support"
            )
        name = reference.rpartition(":")[2].rpartition(".")[2].strip("_")
        if not is_chain_name(name) or name in named:
            raise ConfigurationError(
                f"{reference}: two chains are named {name!r}, or it is no name; give it another in [chains] in las.toml"
            )
        named[name] = reference
    return named
