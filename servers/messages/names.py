"""Names of tools that are longer than most providers take, and back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

MOST = 64
"""Letters that the name of a tool may have with OpenAI; Anthropic takes twice as many, and MCP makes use of them."""


def short(name: str) -> str:
    """*name* in at most 64 letters, and always the same."""
    if len(name) <= MOST:
        return name
    return f"{name[: MOST - 9]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def long_names(names: Iterable[str]) -> Mapping[str, str]:
    """Those of *names* that :func:`short` changes, by what it makes of them."""
    return {short(name): name for name in names if short(name) != name}
