"""Chains and agents composed of the models in :mod:`las_langchain`.

A :class:`~chains.chain.Chain` is what is published: on LangServe's routes, in a playground, and as a model. The
built-in ones are in modules of their names; a :class:`~chains.registry.ChainRegistry` holds them and yours.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chains.chain import Chain
    from chains.registry import ChainRegistry

__all__ = ["Chain", "ChainRegistry"]

_HOMES = {"Chain": "chain", "ChainRegistry": "registry"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
