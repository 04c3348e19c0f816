"""Every call as an OpenTelemetry span, by the semantic conventions for generative AI.

``opening.py`` decides whether and where to; ``observer.py`` begins and ends the spans; ``attributes.py`` and
``contents.py`` say what is in them; ``delivery.py`` brings them to a collector. OpenTelemetry is an extra, and is
imported only where spans are wanted.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from las_langchain.tracing.opening import open_tracing

if TYPE_CHECKING:
    from las_langchain.tracing.observer import Tracing

__all__ = ["Tracing", "open_tracing"]


def __getattr__(name: str) -> Any:
    if name != "Tracing":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.observer").Tracing
