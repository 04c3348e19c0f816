"""The chains that can be used as models."""

from __future__ import annotations

from chains.registry import ChainRegistry
from las_langchain.errors import LASError
from servers.chat_calls import CHAINS


def chain_models(registry: ChainRegistry) -> list[dict[str, str]]:
    """The chains that a chat can be put to, each as ``id``, ``name`` (its title) and ``description``.

    None is built for it, but their modules are imported, which takes a while the first time. A chain that is known not
    to work is left out.
    """
    found = (_chain_model(name, registry) for name in registry.names if name not in registry.failures)
    return [model for model in found if model]


def _chain_model(name: str, registry: ChainRegistry) -> dict[str, str] | None:
    try:
        chain = registry.chain(name)
    except LASError:
        # It needs packages that are not there.
        return None
    if chain.from_messages is None:
        return None
    return {"id": f"{CHAINS}{name}", "name": chain.title, "description": chain.description}
