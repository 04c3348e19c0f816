"""The rules of Ollama's API for requests: how its decoder reads them, what it refuses and with which error."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

import orjson

from tests.fake_server import JSON, Refusal

MODELS: dict[str, tuple[str, ...]] = {
    "llama3.2": ("completion", "tools"),
    "qwen3": ("completion", "tools", "thinking"),
    "gemma3": ("completion", "vision"),
    "qwen3-vl": ("completion", "vision", "tools", "thinking"),
    "nomic-embed-text": ("embedding",),
}
"""The models that are pulled, with what they can do."""
_NAMES = {str: "string", dict: "object", list: "array", bool: "bool", int: "number", float: "number"}
_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "bool": (bool,),
    "int": (int,),
    "map[string]interface {}": (dict,),
}
# What a request may hold, as the structs of Ollama's source: fields and their types there.
_STRUCTS: dict[str, dict[str, str]] = {
    "ChatRequest": {
        "model": "string",
        "messages": "[]api.Message",
        "stream": "bool",
        "tools": "[]api.Tool",
        "options": "map[string]interface {}",
        "truncate": "bool",
        "logprobs": "bool",
        "top_logprobs": "int",
    },
    "api.Message": {
        "role": "string",
        "content": "string",
        "thinking": "string",
        "images": "[]api.ImageData",
        "tool_calls": "[]api.ToolCall",
        "tool_name": "string",
        "tool_call_id": "string",
    },
    "api.ToolCall": {"id": "string", "function": "api.ToolCallFunction"},
    "api.ToolCallFunction": {"index": "int", "name": "string", "arguments": "api.ToolCallFunctionArguments"},
    "api.ToolCallFunctionArguments": {},
    "api.Tool": {"type": "string", "function": "api.ToolFunction"},
    "api.ToolFunction": {"name": "string", "description": "string", "parameters": "api.ToolFunctionParameters"},
    "api.ToolFunctionParameters": {"type": "string", "required": "[]string", "properties": "map[string]interface {}"},
    "EmbedRequest": {
        "model": "string",
        "truncate": "bool",
        "dimensions": "int",
        "options": "map[string]interface {}",
    },
    "ShowRequest": {"model": "string", "name": "string", "verbose": "bool"},
}
_OPTIONS: dict[str, tuple[str, tuple[type, ...]]] = {
    **dict.fromkeys(
        "num_keep seed num_predict top_k repeat_last_n num_ctx num_batch".split(), ("integer", (int, float))
    ),
    **dict.fromkeys(
        "top_p min_p typical_p temperature repeat_penalty presence_penalty frequency_penalty".split(),
        ("float32", (int, float)),
    ),
    "stop": ("array", (list,)),
}


class ApiError(Refusal):
    """A refusal in Ollama's shape."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(status, {"message": message, "status": status})


def check_chat(body: JSON) -> None:
    """Refuse a chat request that Ollama would refuse."""
    check_shape(body, "ChatRequest", "ChatRequest")
    _check_abilities(body)
    for option, value in (body.get("options") or {}).items():
        kind, types = _OPTIONS.get(option, ("", ()))
        if types and value is not None and (isinstance(value, bool) or not isinstance(value, types)):
            raise ApiError(f'option "{option}" must be of type {kind}', 500)
    wanted = body.get("format")
    if wanted not in (None, "", "json") and not isinstance(wanted, dict):
        shown = orjson.dumps(orjson.dumps(wanted).decode()).decode()
        raise ApiError(f'invalid format: {shown}; expected "json" or a valid JSON Schema object', 500)


def _check_abilities(body: JSON) -> None:
    """Refuse what the model cannot do."""
    think = body.get("think")
    if think is not None and think not in (True, False, "high", "medium", "low", "max"):
        allowed = '(must be "high", "medium", "low", "max", true, or false)'
        raise ApiError(f'invalid think value: "{think}" {allowed}')
    name = body.get("model") or ""
    abilities = check_model(name, "model {} not found", "'")
    if "completion" not in abilities:
        raise ApiError(f'"{name}" does not support chat')
    if think and "thinking" not in abilities:
        raise ApiError(f'"{name}" does not support thinking')
    if body.get("tools") and "tools" not in abilities:
        raise ApiError(f"registry.ollama.ai/library/{full_name(name)} does not support tools")


def check_shape(value: Any, kind: str, path: str) -> None:
    """Refuse a value that Go's decoder cannot put into that type; a missing one, as null, is the type's zero."""
    if value is None:
        return
    if kind.startswith("[]"):
        if not isinstance(value, list):
            _mismatch(value, kind, path)
        for item in value:
            check_shape(item, kind.removeprefix("[]"), path)
    elif kind == "api.ImageData":
        check_shape(value, "string", path)
        _check_base64(value)
    elif kind in _STRUCTS:
        if not isinstance(value, dict):
            _mismatch(value, kind, path)
        for name, of in _STRUCTS[kind].items():
            check_shape(value.get(name), of, f"{path}.{name}")
    elif not isinstance(value, _KINDS[kind]) or (isinstance(value, bool) and kind != "bool"):
        _mismatch(value, kind, path)


def _mismatch(value: Any, kind: str, path: str) -> None:
    raise ApiError(f"json: cannot unmarshal {_NAMES[type(value)]} into Go struct field {path} of type {kind}")


def _check_base64(text: str) -> None:
    wrong = re.search(r"[^A-Za-z0-9+/=]", text)
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ApiError(f"illegal base64 data at input byte {wrong.start() if wrong else len(text)}") from None


def check_model(name: str, problem: str, quote: str) -> tuple[str, ...]:
    """What a model can do; refuses one that is not pulled.

    Args:
        problem: how that is said; ``{}`` is the name.
        quote: what is set around the name.
    """
    if not name:
        raise ApiError("model is required")
    known = {full_name(model): capabilities for model, capabilities in MODELS.items()}
    if full_name(name) not in known:
        raise ApiError(problem.format(f"{quote}{name}{quote}"), 404)
    return known[full_name(name)]


def full_name(name: str) -> str:
    """A model's name with its tag."""
    return name if ":" in name else f"{name}:latest"
