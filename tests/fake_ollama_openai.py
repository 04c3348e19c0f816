"""The face of Ollama's double that speaks OpenAI's format, made of its own API as Ollama makes it."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from typing import Any

import orjson

from tests.fake_ollama_rules import ApiError
from tests.fake_server import JSON

CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"
DONE: JSON = {"object": "done"}
"""Stands for the event that ends a stream."""
_CREATED = 1_767_319_445
_EFFORTS = ("high", "medium", "low", "none")
_TYPES = {400: "invalid_request_error", 404: "not_found_error"}


def native_chat(body: JSON) -> JSON:
    """A chat request as Ollama's own API takes it; of OpenAI's fields it does not know, nothing is left."""
    # There is no way to leave these two to the model.
    options = {"temperature": body.get("temperature", 1.0), "top_p": body.get("top_p", 1.0)}
    named = {"max_tokens": "num_predict", "seed": "seed"}
    options |= {own: body[name] for name, own in named.items() if body.get(name) is not None}
    if body.get("stop") is not None:
        options["stop"] = [body["stop"]] if isinstance(body["stop"], str) else body["stop"]
    asked: JSON = {"model": body.get("model"), "stream": bool(body.get("stream")), "options": options}
    asked["messages"] = [one for message in body.get("messages") or () for one in _messages(message)]
    if not asked["messages"]:
        raise ApiError("[] is too short - 'messages'")
    if body.get("tools"):
        asked["tools"] = body["tools"]
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_object":
        asked["format"] = "json"
    elif wanted.get("type") == "json_schema":
        asked["format"] = wanted["json_schema"]["schema"]
    effort = body.get("reasoning_effort")
    if effort is not None:
        if effort not in _EFFORTS:
            raise ApiError(f'invalid reasoning value: \'{effort}\' (must be "high", "medium", "low", or "none")')
        asked["think"] = False if effort == "none" else effort
    return asked


def _messages(message: JSON) -> Iterator[JSON]:
    """A message as Ollama's own, one for each of its parts."""
    kept = {name: message[name] for name in ("role", "tool_call_id") if name in message}
    if message.get("reasoning"):
        kept["thinking"] = message["reasoning"]
    if message.get("tool_calls"):
        functions = [call["function"] for call in message["tool_calls"]]
        read = [{**one, "arguments": orjson.loads(one["arguments"])} for one in functions]
        kept["tool_calls"] = [{"function": function} for function in read]
    content = message.get("content")
    if isinstance(content, str):
        yield {**kept, "content": content}
    elif isinstance(content, list):
        for part in content:
            yield {**kept, **_part(part)}
    elif "tool_calls" in kept:
        yield kept
    else:
        raise ApiError(f"invalid message content type: {type(content).__name__}")


def _part(part: JSON) -> JSON:
    if part["type"] == "text":
        return {"content": part["text"]}
    if part["type"] != "image_url":
        raise ApiError("invalid message format")
    url = part["image_url"]["url"] if isinstance(part["image_url"], dict) else part["image_url"]
    kind, found, data = url.partition(";base64,")
    if not found or kind not in ("data:image/jpeg", "data:image/jpg", "data:image/png", "data:image/webp"):
        raise ApiError("invalid image input")
    return {"images": [data]}


def whole(answer: JSON, number: int) -> JSON:
    """A whole answer of Ollama's as OpenAI's."""
    choice = {"index": 0, "message": _message(answer["message"]), "finish_reason": _finish(answer)}
    return {**_head(answer, number, "chat.completion"), "choices": [choice], "usage": _usage(answer)}


def chunks(objects: Iterator[JSON], number: int, *, with_usage: bool) -> Iterator[JSON]:
    """The objects of a stream of Ollama's as OpenAI's."""
    called = False
    for one in objects:
        delta = _message(one["message"])
        called = called or "tool_calls" in delta
        finish = ("tool_calls" if called else _finish(one)) if one["done"] else None
        head = _head(one, number, "chat.completion.chunk")
        yield {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
        if one["done"] and with_usage:
            yield {**head, "choices": [], "usage": _usage(one)}
    yield DONE


def embeddings(answer: JSON, encoding: str | None) -> JSON:
    """Embeddings of Ollama's as OpenAI's."""
    data = [
        {"object": "embedding", "index": index, "embedding": _encoded(vector, encoding)}
        for index, vector in enumerate(answer["embeddings"])
    ]
    tokens = answer["prompt_eval_count"]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": answer["model"], "usage": usage}


def error(message: str, status: int) -> JSON:
    """An error in OpenAI's form."""
    return {"error": {"message": message, "type": _TYPES.get(status, "api_error"), "param": None, "code": None}}


def _encoded(vector: Any, encoding: str | None) -> Any:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() if encoding == "base64" else vector


def _head(answer: JSON, number: int, kind: str) -> JSON:
    ids = {"id": f"chatcmpl-{number % 1000}", "object": kind, "created": _CREATED}
    return {**ids, "model": answer["model"], "system_fingerprint": "fp_ollama"}


def _message(message: JSON) -> JSON:
    said: JSON = {"role": message["role"], "content": message.get("content", "")}
    if message.get("thinking"):
        said["reasoning"] = message["thinking"]
    if message.get("tool_calls"):
        said["tool_calls"] = [_call(call) for call in message["tool_calls"]]
    return said


def _call(call: JSON) -> JSON:
    function = {
        "name": call["function"]["name"], "arguments": orjson.dumps(call["function"]["arguments"]).decode()
    }  # fmt: skip
    return {"id": call["id"], "index": call["function"]["index"], "type": "function", "function": function}


def _finish(answer: JSON) -> str:
    return "tool_calls" if answer["message"].get("tool_calls") else str(answer["done_reason"])


def _usage(answer: JSON) -> JSON:
    read, written = answer.get("prompt_eval_count", 0), answer.get("eval_count", 0)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
