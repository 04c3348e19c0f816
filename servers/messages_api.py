"""Anthropic's endpoint, which coding assistants speak: ``/v1/messages``."""

from __future__ import annotations

from fastapi import APIRouter


def router(prefix: str) -> APIRouter:
    """The endpoint's routes under *prefix*.

    Args:
        prefix: such as ``/v1``.
    """
    return APIRouter(prefix=prefix, tags=["Anthropic"])
