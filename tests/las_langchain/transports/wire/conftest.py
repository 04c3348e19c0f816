"""litellm as it is imported, whatever an earlier test in this process had it tell somebody."""

from __future__ import annotations

import litellm
import pytest

LISTS = (
    "callbacks input_callback success_callback failure_callback _async_input_callback _async_success_callback "
    "_async_failure_callback"
).split()


@pytest.fixture(autouse=True)
def nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is told of litellm's calls, with which it would have to take them all."""
    for name in LISTS:
        monkeypatch.setattr(litellm, name, [])
