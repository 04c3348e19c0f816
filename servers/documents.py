"""What the API documentation says of bodies that FastAPI does not read itself."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

Json = dict[str, Any]

CHAT_ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1764000000,
    "model": "llama3.2",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Hello! How can I help?"}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 9, "completion_tokens": 8, "total_tokens": 17},
}
EMBEDDINGS_ANSWER = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.01, -0.02]}],
    "model": "text-embedding-3-small",
    "usage": {"prompt_tokens": 2, "total_tokens": 2},
}


def documented(schema: type[BaseModel], *, media_type: str = "application/json") -> Json:
    """The request body of a route whose body is parsed in one pass, without FastAPI, for ``openapi_extra``.

    Args:
        schema: the body; its ``json_schema_extra`` may hold ``examples``.
        media_type: how it is sent.
    """
    shape = schema.model_json_schema()
    examples = shape.pop("examples", [])
    content: Json = {"schema": shape}
    if examples:
        content["examples"] = {str(number): {"value": value} for number, value in enumerate(examples, 1)}
    return {"requestBody": {"required": True, "content": {media_type: content}}}


def answered(
    example: Any, *, media_type: str = "application/json", description: str = "The answer"
) -> dict[int | str, Json]:
    """The answers of a route, for ``responses``: an example, and the errors that every route may give."""
    error = {"error": {"message": "temperature: Input should be a valid number", "type": "invalid_request_error",
                       "param": "temperature", "code": "invalid_value"}}  # fmt: skip
    refused: Json = {"description": "The request is wrong", "content": {"application/json": {"example": error}}}
    return {
        200: {"description": description, "content": {media_type: {"example": example}}},
        400: refused,
        "default": {"description": "Any other failure, in the same form"},
    }
