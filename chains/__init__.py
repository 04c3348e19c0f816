"""Chains and agents composed of the models in :mod:`las_langchain`.

A :class:`~chains.chain.Chain` is what is published: on LangServe's routes and in playgrounds. The
built-in ones are in modules of their names; a :class:`~chains.registry.ChainRegistry` holds them and yours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from las_langchain.lazy import imported_on_use

if TYPE_CHECKING:
    from chains.chain import Chain
    from chains.registry import ChainRegistry

__all__ = ["Chain", "ChainRegistry"]

_HOMES = {"Chain": "chain", "ChainRegistry": "registry"}
__getattr__ = imported_on_use(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
