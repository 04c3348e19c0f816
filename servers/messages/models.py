"""The list of models in Anthropic's shape, which its clients ask for with the header ``anthropic-version``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]


def anthropic_models(listed: Iterable[Mapping[str, Any]]) -> Json:
    """OpenAI's list of models as Anthropic's, in one page.

    Args:
        listed: OpenAI's ``model`` objects; a ``title`` or ``name`` is shown to people.
    """
    data = [anthropic_model(model) for model in listed]
    ends = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return {"data": data, "has_more": False, "first_id": ends[0], "last_id": ends[1]}


def anthropic_model(model: Mapping[str, Any]) -> Json:
    """OpenAI's *model* object as Anthropic's."""
    created = datetime.fromtimestamp(model.get("created") or 0, UTC)
    return {
        "type": "model",
        "id": model["id"],
        "display_name": model.get("title") or model.get("name") or model["id"],
        "created_at": created.isoformat().replace("+00:00", "Z"),
        "lifecycle": "active",
    }
