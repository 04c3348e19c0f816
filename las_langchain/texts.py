"""OpenAI's older completions, which go on with a text: prompts, chunks and answers, as pure functions."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from las_langchain.errors import BadRequestError

Json = dict[str, Any]
Prompt = str | list[int]
"""A text, or its tokens."""


def prompts_of(value: Any) -> list[Prompt]:
    """The prompts of a request: *value* is a text, texts, a text's tokens, or those of several.

    Raises:
        BadRequestError: it is something else, or there is none.
    """
    items = [value] if isinstance(value, str) or _are_tokens(value) else value
    if value is None or value == []:
        raise BadRequestError("prompt: expected at least one", param="prompt")
    if not isinstance(items, list) or not all(isinstance(item, str) or _are_tokens(item) for item in items):
        raise BadRequestError("prompt: expected a text, texts, a text's tokens, or those of several", param="prompt")
    return items


def _are_tokens(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(token) is int and token >= 0 for token in value)


def head(model: str) -> Json:
    """What all chunks of one completion by *model* have in common."""
    created = int(time.time())
    return {"id": f"cmpl-{uuid.uuid4().hex}", "object": "text_completion", "created": created, "model": model}


def text_choice(index: int, text: str, finish_reason: str | None = None, logprobs: Json | None = None) -> Json:
    """One choice of a completion, or of a chunk of it."""
    return {"text": text, "index": index, "logprobs": logprobs, "finish_reason": finish_reason}


def legacy_logprobs(content: Sequence[Json], offset: int) -> Json:
    """A chat's logprobs, a list of tokens, as those of a completion.

    Args:
        content: the tokens, each with its ``logprob`` and the likely ones in its place.
        offset: letters of the text before the first token.
    """
    tokens = [item["token"] for item in content]
    offsets = [offset]
    for token in tokens[:-1]:
        offsets.append(offsets[-1] + len(token))
    return {
        "tokens": tokens,
        "token_logprobs": [item["logprob"] for item in content],
        "top_logprobs": [_likely(item) for item in content],
        "text_offset": offsets[: len(tokens)],
    }


def _likely(item: Json) -> Json:
    return {one["token"]: one["logprob"] for one in item.get("top_logprobs") or ()}


def joined_text(chunks: Iterable[Json]) -> Json:
    """The ``text_completion`` that *chunks* add up to; the last of them tells the usage."""
    choices: dict[int, Json] = {}
    last: Json = {}
    for last in chunks:
        for piece in last["choices"]:
            _join(choices.setdefault(piece["index"], text_choice(piece["index"], "")), piece)
    return {**last, "choices": [choices[index] for index in sorted(choices)]}


def _join(choice: Json, piece: Json) -> None:
    choice["text"] += piece["text"]
    choice["finish_reason"] = piece["finish_reason"] or choice["finish_reason"]
    if piece.get("logprobs"):
        held = choice["logprobs"] = choice["logprobs"] or {name: [] for name in piece["logprobs"]}
        for name, values in piece["logprobs"].items():
            held[name] = [*held.get(name, ()), *(values or ())]


def summed(usages: Iterable[Json]) -> Json:
    """One usage of several: every number is the sum, also of those inside."""
    total: Json = {}
    for usage in usages:
        for name, value in usage.items():
            if isinstance(value, dict):
                total[name] = summed([total.get(name) or {}, value])
            elif isinstance(value, (int, float)) and not isinstance(value, bool):
                total[name] = (total.get(name) or 0) + value
            else:
                total.setdefault(name, value)
    return total
