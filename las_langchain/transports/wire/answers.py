"""Whole answers as OpenAI would have sent them."""

from __future__ import annotations

import base64
import json
import re
import struct
import time
import uuid
from typing import Any

import orjson

from las_langchain.errors import APIError
from las_langchain.providers import Target
from las_langchain.transports.wire.failures import failed_inside, unreadable_answer
from las_langchain.transports.wire.usage import counts, usage_of

Json = dict[str, Any]

# What other servers call the ends of answers that OpenAI has.
_FINISHES = {
    **dict.fromkeys(("stop", "length", "tool_calls", "function_call", "content_filter")),
    "max_tokens": "length",
    # Some of the answer is missing.
    "abort": "length",
    "insufficient_system_resource": "length",
    "tool_use": "tool_calls",
    **dict.fromkeys(("refusal", "content_filtered", "safety", "recitation", "prohibited_content"), "content_filter"),
}
_THOUGHT = re.compile(r"\s*<(think|thinking)>(.*?)</\1>(.*)", re.DOTALL)


def completion(raw: bytes, target: Target) -> Json:
    """A ``chat.completion``.

    Args:
        raw: what the provider answered.
        target: the provider.

    Raises:
        LASError: it is an error after all, or no answer.
    """
    answer = _answer(raw, target)
    for place, choice in enumerate(answer["choices"]):
        _put_right(choice, place, target)
    return _with_usage(_filled(answer, target, "chatcmpl-", "chat.completion"))


def text_completion(raw: bytes, target: Target) -> Json:
    """A ``text_completion``; arguments and failures as above."""
    answer = _answer(raw, target)
    for choice in answer["choices"]:
        choice.update({"logprobs": None, "finish_reason": None, **choice, "text": choice.get("text") or ""})
        check_text(choice)
    return _with_usage(_filled(answer, target, "cmpl-", "text_completion"))


def embeddings(raw: bytes, target: Target, encoding: str | None) -> Json:
    """Embeddings.

    Args:
        raw: what the provider answered.
        target: the provider.
        encoding: the form that was asked for, which not every provider knows.

    Raises:
        LASError: as above.
    """
    answer = _object(raw, target)
    if not answer.get("data"):
        raise APIError("The provider's answer has no embeddings")
    for item in answer["data"]:
        item["embedding"] = encoded(item.get("embedding"), encoding or "float")
    answer = {"object": "list", "model": target.model, **answer}
    return {**answer, "usage": {k: v for k, v in counts(answer.get("usage")).items() if k != "completion_tokens"}}


def encoded(vector: Any, encoding: str | None) -> Any:
    """*vector* in the form that was asked for, ``float`` or ``base64``, whichever it came in; None: as it came."""
    if encoding == "base64" and isinstance(vector, list):
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
    if encoding == "float" and isinstance(vector, str):
        return [number for (number,) in struct.iter_unpack("<f", base64.b64decode(vector))]
    return vector


def decoded(raw: bytes) -> Any:
    """What *raw* holds, halves of letters included, as servers send them that cut an answer into pieces.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        if rb"\ud" not in raw and rb"\uD" not in raw:
            raise
        return _lenient(raw)


def _lenient(raw: bytes) -> Any:
    try:
        return json.loads(raw.decode(), parse_constant=_refuse)
    except RecursionError:
        raise ValueError("It is nested too deeply") from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _object(raw: bytes, target: Target) -> Json:
    try:
        answer = decoded(raw)
    except ValueError:
        raise unreadable_answer(target) from None
    if not isinstance(answer, dict):
        raise unreadable_answer(target)
    if answer.get("error"):
        raise failed_inside(answer["error"], target)
    return answer


def _answer(raw: bytes, target: Target) -> Json:
    answer = _object(raw, target)
    choices = answer.get("choices")
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise unreadable_answer(target)
    if not choices:
        raise APIError("The provider's answer has no choices")
    return answer


def _put_right(choice: Json, place: int, target: Target) -> None:
    if error := choice.get("error"):
        # OpenRouter's, in an otherwise good answer.
        raise failed_inside(error, target)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise unreadable_answer(target)
    check_content(message)
    without_reasoning_alias(message)
    _take_thought(message)
    calls = message.pop("tool_calls", None) or []
    if calls:
        message.update(content=message.get("content") or None, tool_calls=[_call(call) for call in calls])
    choice["message"] = {"content": None, "refusal": None, **message, "role": message.get("role") or "assistant"}
    choice["index"] = place if choice.get("index") is None else choice["index"]
    choice["logprobs"] = choice.get("logprobs")
    choice["finish_reason"] = finish_reason(choice.get("finish_reason"), calls=bool(calls)) or "stop"


def _call(call: Json) -> Json:
    """A call of a tool with what OpenAI's has."""
    function = function_of(call)
    if isinstance(function.get("arguments"), dict):
        function["arguments"] = json.dumps(function["arguments"])
    kept = {name: value for name, value in call.items() if name != "index"}
    return {**kept, "id": call.get("id") or f"call_{uuid.uuid4().hex}", "type": call.get("type") or "function"}


def function_of(call: Json) -> Json:
    """The function that *call* calls; empty: it calls something else.

    Raises:
        TypeError: it is no function.
    """
    function = call.get("function") or {}
    if not isinstance(function, dict):
        raise TypeError("A function is an object")
    return function


def check_text(choice: Json) -> None:
    """Check the choice of a completion.

    Raises:
        TypeError: its text, or the word for its end, is none.
    """
    if not isinstance(choice["text"], str) or not isinstance(choice["finish_reason"], (str, type(None))):
        raise TypeError("A text and the word for its end are texts")


def check_content(message: Json) -> None:
    """Check that a message or a delta has a text, parts, or nothing.

    Raises:
        TypeError: it has something else.
    """
    content = message.get("content")
    if content is not None and not isinstance(content, (str, list)):
        raise TypeError("Content is a text or a list of parts")


def _take_thought(message: Json) -> None:
    """Put what a model thought where it belongs: servers that do not know the model leave it in the text."""
    content = message.get("content")
    if not isinstance(content, str) or "<think" not in content[:100] or message.get("reasoning_content"):
        return
    if (found := _THOUGHT.fullmatch(content)) is not None:
        message.update(reasoning_content=found[2], content=found[3])


def without_reasoning_alias(message: Json) -> bool:
    """Give what a model thought, in a message or a delta, one name; returns whether it had another one."""
    if not message.get("reasoning"):
        return False
    thought = message.pop("reasoning")
    message.setdefault("reasoning_content", thought)
    return True


def finish_reason(told: Any, *, calls: bool) -> str | None:
    """Why an answer ends, in OpenAI's words.

    Args:
        told: the provider's word.
        calls: whether the answer calls tools, at which some servers say that it merely stops.
    """
    if told is None or told == "":
        return None
    word = str(told).lower()
    finish = (_FINISHES[word] or word) if word in _FINISHES else "stop"
    return "tool_calls" if calls and finish == "stop" else finish


def _with_usage(answer: Json) -> Json:
    usage = usage_of(answer)
    answer.pop("usage", None)
    return answer if usage is None else {**answer, "usage": usage}


def _filled(answer: Json, target: Target, prefix: str, kind: str) -> Json:
    answer["id"] = answer.get("id") or f"{prefix}{uuid.uuid4().hex}"
    answer["object"] = kind
    answer["created"] = answer.get("created") or int(time.time())
    answer["model"] = answer.get("model") or target.model
    return answer
