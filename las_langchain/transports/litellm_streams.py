"""litellm's streams, whole: what its wrapper drops is read off the provider's own chunks as they pass."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

Json = dict[str, Any]

# Keys of a delta that litellm's wrapper does not pass on.
_LOST = ("refusal", "images", "role")


class Tap:
    """Goes between a provider's stream and litellm's wrapper and remembers what that drops.

    Those are refusals and images, and of all choices but the first (``n`` above 1) how they began and ended.

    Args:
        stream: litellm's stream; its ``completion_stream`` is replaced by this.
    """

    def __init__(self, stream: Any) -> None:
        self._upstream = stream.completion_stream
        self._chunks: AsyncIterator[Any] | None = None
        self._lost: list[Json] = []
        stream.completion_stream = self

    def __aiter__(self) -> Tap:
        return self

    async def __anext__(self) -> Any:
        if self._chunks is None:
            self._chunks = aiter(self._upstream)
        chunk = await anext(self._chunks)
        self._lost += _lost(chunk)
        return chunk

    async def aclose(self) -> None:
        """Close the provider's stream, as litellm would."""
        close = getattr(self._upstream, "aclose", None) or getattr(self._upstream, "close", None)
        if close is not None:
            await close()

    def take(self, chunk: Json) -> list[Json]:
        """What was dropped since the last call, as chunks like *chunk*; those that it passed on after all left out."""
        lost, self._lost = self._lost, []
        passed = {(choice["index"], key) for choice in chunk["choices"] for key in choice.get("delta", ())}
        choices = [_without(choice, passed) for choice in lost]
        own: Json = {
            key: chunk[key] for key in ("id", "created", "model", "object", "system_fingerprint") if key in chunk
        }
        return [{**own, "choices": [choice]} for choice in choices if choice["delta"] or "finish_reason" in choice]


def _without(choice: Json, passed: set[tuple[int, str]]) -> Json:
    delta = {key: value for key, value in choice["delta"].items() if (choice["index"], key) not in passed}
    return {**choice, "delta": delta}


def _lost(chunk: Any) -> list[Json]:
    """The parts of a provider's *chunk* that litellm's wrapper drops; only OpenAI's own kind of chunk has them."""
    found = []
    for choice in getattr(chunk, "choices", None) or ():
        delta, index = getattr(choice, "delta", None), getattr(choice, "index", 0) or 0
        keys = _LOST if index else _LOST[:2]
        lost = {key: _plain(value) for key in keys if (value := getattr(delta, key, None))}
        finish = getattr(choice, "finish_reason", None) if index else None
        if lost or finish:
            found.append({"index": index, "delta": lost, **({"finish_reason": finish} if finish else {})})
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.model_dump() if hasattr(value, "model_dump") else value
