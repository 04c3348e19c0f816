"""JSON of whatever models say."""

from __future__ import annotations

import json
from typing import Any

import orjson


def json_text(value: Any) -> bytes:
    """*value* as JSON.

    Half of a letter, as providers send where they cut an answer into pieces, becomes the replacement character;
    numbers have as many digits as they have.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        # These two are what orjson refuses, and the standard library does not.
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()
