"""Names for responses and their items, as OpenAI's begin."""

from __future__ import annotations

import uuid

PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
}


def new_id(prefix: str) -> str:
    """A name that nothing else has, such as ``resp_…``."""
    return f"{prefix}_{uuid.uuid4().hex}"


def item_id(kind: str) -> str:
    """A name for an item of *kind*."""
    return new_id(PREFIXES[kind])
