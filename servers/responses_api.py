"""OpenAI's newer endpoint: ``/v1/responses``."""

from __future__ import annotations

from fastapi import APIRouter


def router(prefix: str) -> APIRouter:
    """The endpoint's routes under *prefix*.

    Args:
        prefix: such as ``/v1``.
    """
    return APIRouter(prefix=prefix, tags=["OpenAI"])
