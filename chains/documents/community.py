"""The loaders that ``las.toml`` names; nothing else imports langchain-community."""

from __future__ import annotations

import warnings
from typing import Any

from chains.registry import imported
from las_langchain.errors import ConfigurationError
from las_langchain.settings import nearest


def loader_class(suffix: str, name: str) -> type:
    """The class of a loader.

    Args:
        suffix: the end of the names of the files that it reads.
        name: of a class in ``langchain_community.document_loaders``, or ``module:Class``.

    Raises:
        ConfigurationError: there is none, or a package is missing.
    """
    where = f"documents.loaders.{suffix}"
    try:
        found: Any = imported(name) if ":" in name else _of_community(name)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}", param="documents") from None
    except Exception as error:
        raise ConfigurationError(
            f"{where}: {name} cannot be imported: {type(error).__name__}: {error}", param="documents"
        ) from None
    if not isinstance(found, type) or not (hasattr(found, "lazy_load") or hasattr(found, "load")):
        raise ConfigurationError(f"{where}: {name} is no document loader", param="documents")
    return found


def _of_community(name: str) -> Any:
    try:
        with warnings.catch_warnings():
            # It warns that it is no longer developed, which nobody here can change.
            warnings.filterwarnings("ignore", "`langchain-community` is being sunset", DeprecationWarning)
            from langchain_community import document_loaders
    except ModuleNotFoundError:
        raise ConfigurationError(f"the loader {name} needs an extra: pip install 'las-langchain[community]'") from None
    if name not in document_loaders.__all__:
        raise ConfigurationError(
            f"langchain_community.document_loaders has no {name!r}{nearest(name, document_loaders.__all__)}"
        )
    return getattr(document_loaders, name)
