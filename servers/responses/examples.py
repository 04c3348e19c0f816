"""Answers for the API documentation."""

from __future__ import annotations

import json
from typing import Any

Json = dict[str, Any]

_TEXT = {"type": "output_text", "text": "Paris.", "annotations": [], "logprobs": []}
_MESSAGE = {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": [_TEXT]}
RESPONSE: Json = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1764000000,
    "status": "completed",
    "model": "llama3.2",
    "output": [_MESSAGE],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "usage": {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 11,
    },
}
_ASKED = {"type": "input_text", "text": "What is the capital of France?"}
INPUT_ITEMS: Json = {
    "object": "list",
    "data": [{"id": "msg_0", "type": "message", "status": "completed", "role": "user", "content": [_ASKED]}],
    "first_id": "msg_0",
    "last_id": "msg_0",
    "has_more": False,
}
_DELTA = {
    "type": "response.output_text.delta",
    "sequence_number": 4,
    "output_index": 0,
    "item_id": "msg_1",
    "content_index": 0,
    "delta": "Paris.",
    "logprobs": [],
}
EVENTS = f"event: response.output_text.delta\ndata: {json.dumps(_DELTA)}\n\n"
