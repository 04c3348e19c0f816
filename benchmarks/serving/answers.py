"""What the upstream says, byte by byte, and what a client must have got when it is through.

Each request carries a number, which the answer repeats: an answer that is kept for later, or handed to the wrong
client, is a wrong one.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import orjson

MODEL = "gpt-4o-mini"
WORDS = 20
"""Words of an answer that comes whole."""
EXTRA_EVENTS = 3
"""Events of a stream beside its words: the role, the end, the usage."""
_MARK = "########"
"""What the number of a request stands in for, as long as that is, so that lengths can be counted beforehand."""
_ASKED = re.compile(rb"(\d+) words (at once|one by one), number (\d{8})")
_TEXT = (
    "water boils at a lower temperature on a mountain since the air above it weighs less than the air above "
    "the sea where a kettle needs its full hundred degrees"
).split()
_CREATED = 1764000000
_FINGERPRINT = "fp_560af6e559"
_PROMPT_TOKENS = 43


def prompt(number: int, words: int = WORDS, *, at_once: bool = False) -> str:
    """The message that asks for *words* words, which as a stream come as they are there or one by one."""
    return f"Please answer in {words} words {'at once' if at_once else 'one by one'}, number {number:08d}: why?"


def asked(body: bytes) -> tuple[int, bool, bytes]:
    """How many words a request wants, whether they are to come at once, and its number."""
    if found := _ASKED.search(body):
        return int(found[1]), found[2] == b"at once", found[3]
    return WORDS, True, b"00000000"


def text(number: int | str, words: int = WORDS) -> str:
    """The answer to request *number*."""
    return "".join(_pieces(words)).replace(_MARK, f"{number:08d}" if isinstance(number, int) else number)


def usage(words: int = WORDS) -> dict[str, Any]:
    """The usage of an answer."""
    return {
        "prompt_tokens": _PROMPT_TOKENS,
        "completion_tokens": words,
        "total_tokens": _PROMPT_TOKENS + words,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def completion(number: bytes, words: int = WORDS) -> bytes:
    """A ``chat.completion``."""
    return _completion(words).replace(_MARK.encode(), number)


def events(number: bytes, words: int, *, with_usage: bool) -> list[bytes]:
    """The server-sent events of a stream, ``[DONE]`` included."""
    return [event.replace(_MARK.encode(), number) for event in _events(words, with_usage)]


def _pieces(words: int) -> list[str]:
    return [_MARK, *(f" {_TEXT[place % len(_TEXT)]}" for place in range(words - 1))]


@lru_cache
def _completion(words: int) -> bytes:
    message = {"role": "assistant", "content": "".join(_pieces(words)), "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return orjson.dumps({**_head("chat.completion"), "choices": [choice], "usage": usage(words), **_tail()})


@lru_cache
def _events(words: int, with_usage: bool) -> list[bytes]:
    deltas = [{"role": "assistant", "content": "", "refusal": None}, *({"content": word} for word in _pieces(words))]
    chunks = [_chunk([_choice(delta)], with_usage) for delta in deltas]
    chunks.append(_chunk([_choice({}, "stop")], with_usage))
    if with_usage:
        chunks.append({**_chunk([], with_usage), "usage": usage(words)})
    return [b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks] + [b"data: [DONE]\n\n"]


def _choice(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def _chunk(choices: list[dict[str, Any]], with_usage: bool) -> dict[str, Any]:
    told = {"usage": None} if with_usage else {}
    return {**_head("chat.completion.chunk"), **_tail(), "choices": choices, **told, "obfuscation": "hT4bVq2"}


def _head(kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-CfK2mT9sXw1B{_MARK}", "object": kind, "created": _CREATED, "model": f"{MODEL}-2024-07-18"}


def _tail() -> dict[str, Any]:
    return {"service_tier": "default", "system_fingerprint": _FINGERPRINT}
