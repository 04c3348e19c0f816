"""What the API documentation says of Anthropic's endpoint."""

from __future__ import annotations

from typing import Any

import orjson

from las_langchain.errors import BadRequestError
from servers import documents
from servers.messages.errors import error_body

Json = dict[str, Any]

_USAGE = {"input_tokens": 14, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 8}
MESSAGE: Json = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5-20250929",
    "content": [{"type": "text", "text": "Hello! How can I help?"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": _USAGE,
}
_EVENTS: tuple[Json, ...] = (
    {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello!"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": _USAGE},
    {"type": "message_stop"},
)
MESSAGE_EVENTS = "".join(f"event: {event['type']}\ndata: {orjson.dumps(event).decode()}\n\n" for event in _EVENTS)


def answered(example: Any, *, events: str | None = None) -> dict[int | str, Json]:
    """The answers of a route, for ``responses``.

    Args:
        example: an answer.
        events: an answer as server-sent events, if there is one.
    """
    answers = documents.answered(example, events=events)
    wrong = error_body(BadRequestError("messages.0.role: Input should be 'user' or 'assistant'", param="messages"))
    wrong["request_id"] = "req_1"
    answers[400] = {"description": "The request is wrong", "content": {"application/json": {"example": wrong}}}
    answers["default"] = {"description": "Any other failure, in the form of Anthropic's errors"}
    return answers
