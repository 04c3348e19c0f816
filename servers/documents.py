"""What the API documentation says of bodies that FastAPI does not read itself."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from pydantic import BaseModel

from las_langchain.errors import BadRequestError

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


_CHUNK = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 1764000000,
    "model": "llama3.2",
    "choices": [{"index": 0, "delta": {"content": "Hello!"}, "finish_reason": None}],
}
CHAT_EVENTS = f"data: {json.dumps(_CHUNK)}\n\ndata: [DONE]\n\n"
_TEXT = {"id": "cmpl-1", "object": "text_completion", "created": 1764000000, "model": "llama3.2"}
_CHOICE = {"text": " Paris", "index": 0, "logprobs": None, "finish_reason": "length"}
TEXT_ANSWER = {
    **_TEXT,
    "choices": [_CHOICE],
    "usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6},
}
TEXT_EVENTS = f"data: {json.dumps({**_TEXT, 'choices': [_CHOICE]})}\n\ndata: [DONE]\n\n"
TOO_HOT = ("temperature", "Input should be less than or equal to 2")
NO_TEXT = ("input", "List should have at least 1 item after validation, not 0")
_FILE = {"type": "string", "format": "binary", "description": "The sound: mp3, m4a, ogg, wav, webm or flac"}


# The routes are made once for each address that they are under.
@cache
def documented(schema: type[BaseModel], *, form: bool = False, required: bool = True) -> Json:
    """The request body of a route whose body is parsed in one pass, without FastAPI, for ``openapi_extra``.

    Args:
        schema: the body; its ``json_schema_extra`` may hold ``examples``.
        form: whether it is sent as a form with a ``file``.
        required: whether there must be a body.
    """
    shape = schema.model_json_schema()
    examples = shape.pop("examples", [])
    if form:
        shape["properties"] = {"file": _FILE, **shape["properties"]}
        shape["required"] = ["file", *shape["required"]]
    content: Json = {"schema": shape}
    if examples:
        content["examples"] = {str(number): {"value": value} for number, value in enumerate(examples, 1)}
    media_type = "multipart/form-data" if form else "application/json"
    return {"requestBody": {"required": required, "content": {media_type: content}}}


def answered(
    example: Any,
    *,
    wrong: tuple[str, str] | None = None,
    events: str | None = None,
    media_type: str = "application/json",
    description: str = "The answer",
) -> dict[int | str, Json]:
    """The answers of a route, for ``responses``.

    Args:
        example: an answer.
        wrong: one of the route's fields, and what may be wrong with it; None: nothing may be.
        events: an answer as server-sent events, if there is one.
        media_type: of *example*.
        description: of *example*.
    """
    content: Json = {media_type: {"example": example}}
    if events:
        content["text/event-stream"] = {"schema": {"type": "string"}, "example": events}
    answers: dict[int | str, Json] = {
        200: {"description": description, "content": content},
        "default": {"description": "Any other failure, in the form of OpenAI's errors"},
    }
    if wrong:
        field, problem = wrong
        error = BadRequestError(f"{field}: {problem}", param=field, code="invalid_value").to_openai()
        answers[400] = {"description": "The request is wrong", "content": {"application/json": {"example": error}}}
    return answers
