"""Lets LangChain restore what it dumped of this package."""

from __future__ import annotations

import importlib

from langchain_core.load.serializable import Serializable


def restorable(cls: type[Serializable]) -> None:
    """Put *cls* among the classes that ``langchain_core.load.load(…, allowed_objects="all")`` makes.

    Those are core's and its partners', by a table of core's own, and there is no other way into it. The narrower lists
    (``core``, ``messages``), which are meant for data that is not trusted, stay as they are.
    """
    # By its name, since the package shows the function `load` in its place.
    core = importlib.import_module("langchain_core.load.load")
    path = tuple(cls.lc_id())
    core.ALL_SERIALIZABLE_MAPPINGS[path] = path
    # What core may have worked out of the table before.
    getattr(core, "_default_class_paths_cache", {}).pop("all", None)
