"""The rules of OpenAI's API for requests: what it refuses and with which error."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from tests.fake_server import JSON, Refusal

MODEL_PREFIXES = ("gpt-", "o1", "o3", "fake-", "text-embedding-", "tts-", "whisper-")
MAX_INPUT_TOKENS = 8192
_NAME = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")


class ApiError(Refusal):
    """A refusal in OpenAI's shape."""

    def __init__(
        self,
        message: str,
        param: str | None = None,
        code: str | None = None,
        *,
        status: int = 400,
        type_: str = "invalid_request_error",
    ) -> None:
        super().__init__(status, {"message": message, "type": type_, "param": param, "code": code})


@dataclass(frozen=True)
class Param:
    """What one request field may hold."""

    kind: str
    null: bool = False
    low: float | None = None
    high: float | None = None
    values: tuple[str, ...] = ()


_KINDS: dict[str, tuple[type, ...]] = {
    "a string": (str,),
    "a boolean": (bool,),
    "an integer": (int,),
    "a decimal": (int, float),
    "an object": (dict,),
    "an array": (list,),
    "a string or an array": (str, list),
    "a string or an object": (str, dict),
}
_NAMES = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    dict: "an object",
    list: "an array",
}

_TEXT = Param("a string")
_TEXT_OR_NULL = Param("a string", null=True)
_FLAG = Param("a boolean")
_FLAG_OR_NULL = Param("a boolean", null=True)
_OBJECT = Param("an object")
_OBJECT_OR_NULL = Param("an object", null=True)
_ARRAY = Param("an array")
_COUNT = Param("an integer", null=True, low=1)
_SAMPLING: dict[str, Param] = {
    "frequency_penalty": Param("a decimal", null=True, low=-2, high=2),
    "logit_bias": _OBJECT_OR_NULL,
    "max_tokens": _COUNT,
    "model": _TEXT,
    "n": Param("an integer", null=True, low=1, high=128),
    "presence_penalty": Param("a decimal", null=True, low=-2, high=2),
    "seed": Param("an integer", null=True),
    "stop": Param("a string or an array", null=True),
    "stream": _FLAG_OR_NULL,
    "stream_options": _OBJECT_OR_NULL,
    "temperature": Param("a decimal", null=True, low=0, high=2),
    "top_p": Param("a decimal", null=True, low=0, high=1),
    "user": _TEXT,
}
CHAT_PARAMS: dict[str, Param] = {
    **_SAMPLING,
    "audio": _OBJECT_OR_NULL,
    "function_call": Param("a string or an object"),
    "functions": _ARRAY,
    "logprobs": _FLAG_OR_NULL,
    "max_completion_tokens": _COUNT,
    "messages": _ARRAY,
    "metadata": _OBJECT_OR_NULL,
    "modalities": Param("an array", null=True),
    "moderation": _OBJECT_OR_NULL,
    "parallel_tool_calls": _FLAG,
    "prediction": _OBJECT_OR_NULL,
    "prompt_cache_key": _TEXT_OR_NULL,
    "prompt_cache_options": _OBJECT,
    "prompt_cache_retention": Param("a string", null=True, values=("in_memory", "24h")),
    "reasoning_effort": Param(
        "a string", null=True, values=("none", "minimal", "low", "medium", "high", "xhigh", "max")
    ),
    "response_format": _OBJECT,
    "safety_identifier": _TEXT_OR_NULL,
    "service_tier": Param("a string", null=True, values=("auto", "default", "flex", "scale", "priority", "fast")),
    "store": _FLAG_OR_NULL,
    "tool_choice": Param("a string or an object"),
    "tools": _ARRAY,
    "top_logprobs": Param("an integer", null=True, low=0, high=20),
    "verbosity": Param("a string", null=True, values=("low", "medium", "high")),
    "web_search_options": _OBJECT,
}
COMPLETION_PARAMS: dict[str, Param] = {
    **_SAMPLING,
    "best_of": Param("an integer", null=True, low=1, high=20),
    "echo": _FLAG_OR_NULL,
    "logprobs": Param("an integer", null=True, low=0, high=5),
    "prompt": Param("a string or an array", null=True),
    "suffix": _TEXT_OR_NULL,
}
EMBEDDING_PARAMS: dict[str, Param] = {
    "dimensions": Param("an integer", low=1),
    "encoding_format": Param("a string", values=("float", "base64")),
    "input": Param("a string or an array"),
    "model": _TEXT,
    "user": _TEXT,
}
_ROLES = ("system", "assistant", "user", "function", "tool", "developer")
_PARTS: dict[str, tuple[str, ...]] = {
    "system": ("text",),
    "developer": ("text",),
    "tool": ("text",),
    "user": ("text", "image_url", "input_audio", "file"),
    "assistant": ("text", "refusal"),
}


def check_chat(body: JSON) -> None:
    """Refuse a chat request that OpenAI would refuse."""
    _check_params(body, CHAT_PARAMS, required=("model", "messages"))
    _check_sampling(body)
    if body.get("max_tokens") is not None and body.get("max_completion_tokens") is not None:
        message = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
        _refuse(message, "max_tokens", "invalid_parameter_combination")
    if body.get("top_logprobs") is not None and not body.get("logprobs"):
        _refuse("The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.", "top_logprobs")
    _check_messages(body["messages"])
    _check_tools(body)
    if "response_format" in body:
        _check_response_format(body["response_format"])
    check_model(body["model"])


def check_completion(body: JSON) -> None:
    """Refuse a legacy completion request that OpenAI would refuse."""
    _check_params(body, COMPLETION_PARAMS, required=("model", "prompt"))
    _check_sampling(body)
    if (body.get("best_of") or 128) < (body.get("n") or 1):
        _refuse("You requested that the server return more choices than it will generate.", "best_of")
    prompt = body["prompt"]
    if isinstance(prompt, list) and not (_all(prompt, str) or _is_token_input(prompt)):
        _wrong_type("prompt", "a string, array of strings, array of tokens or array of token arrays", prompt)
    if prompt == []:
        _empty("prompt")
    check_model(body["model"])


def check_embedding(body: JSON) -> None:
    """Refuse an embeddings request that OpenAI would refuse."""
    _check_params(body, EMBEDDING_PARAMS, required=("model", "input"))
    for text in inputs_of(body["input"]):
        if not text:
            _refuse("Invalid 'input': input cannot be an empty string.", "input", "invalid_value")
        if (words := len(text.split())) > MAX_INPUT_TOKENS:
            message = f"This model's maximum context length is {MAX_INPUT_TOKENS} tokens, however you requested"
            _refuse(f"{message} {words} tokens ({words} in your prompt; 0 for the completion).", "input")
    check_model(body["model"])


def inputs_of(value: str | list[Any]) -> list[str]:
    """The texts of an input or prompt; tokens are spelled as their numbers."""
    if isinstance(value, str):
        return [value]
    if not value:
        _empty("input")
    if _all(value, int):
        return [" ".join(map(str, value))]
    if len(value) > 2048:
        _too_long("input", 2048, len(value))
    if _all(value, str):
        return list(value)
    if not _is_token_input(value):
        _wrong_type("input", "a string, array of strings, array of tokens or array of token arrays", value)
    return [" ".join(map(str, tokens)) for tokens in value]


def check_model(model: str, param: str | None = None) -> None:
    """Refuse a model that does not exist."""
    if model == "missing-model" or not model.startswith(MODEL_PREFIXES):
        message = f"The model `{model}` does not exist or you do not have access to it."
        raise ApiError(message, param, "model_not_found", status=404)


def check_key(headers: Mapping[str, str]) -> None:
    """Refuse a request without a good bearer key."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        message = "You didn't provide an API key. You need to provide your API key in an Authorization header."
        raise ApiError(message, code="invalid_api_key", status=401)
    if key == "sk-wrong":
        message = f"Incorrect API key provided: {key}. You can find your API key in your account settings."
        raise ApiError(message, code="invalid_api_key", status=401)


def _refuse(message: str, param: str | None, code: str | None = None) -> NoReturn:
    raise ApiError(message, param, code)


def _missing(param: str) -> NoReturn:
    _refuse(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")


def _empty(param: str) -> NoReturn:
    message = (
        f"Invalid '{param}': empty array. Expected an array with minimum length 1, but got an empty array instead."
    )
    _refuse(message, param, "empty_array")


def _too_long(param: str, most: int, length: int) -> NoReturn:
    message = f"Invalid '{param}': array too long. Expected an array with maximum length {most}, but got an array"
    _refuse(f"{message} with length {length} instead.", param, "array_above_max_length")


def _wrong_type(param: str, expected: str, value: Any) -> NoReturn:
    got = _NAMES.get(type(value), "null")
    _refuse(f"Invalid type for '{param}': expected {expected}, but got {got} instead.", param, "invalid_type")


def _wrong_value(param: str, value: Any, values: Sequence[str]) -> NoReturn:
    supported = ", ".join(f"'{one}'" for one in values)
    _refuse(f"Invalid value: '{value}'. Supported values are: {supported}.", param, "invalid_value")


def _is(value: Any, kinds: tuple[type, ...]) -> bool:
    """isinstance, except that a boolean is no number."""
    return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))


def _all(values: Sequence[Any], kind: type) -> bool:
    return all(_is(value, (kind,)) for value in values)


def _is_token_input(values: Sequence[Any]) -> bool:
    return _all(values, int) or all(isinstance(one, list) and _all(one, int) for one in values)


def _want(holder: JSON, key: str, path: str, *kinds: type) -> Any:
    """A required member of an object, of one of these types."""
    param = f"{path}.{key}"
    if key not in holder:
        _missing(param)
    if not _is(holder[key], kinds):
        _wrong_type(param, " or ".join(_NAMES[kind] for kind in kinds), holder[key])
    return holder[key]


def _check_params(body: JSON, params: Mapping[str, Param], required: Sequence[str]) -> None:
    """Refuse unknown fields, missing ones, and values of a wrong type or out of range."""
    for name in body:
        if name not in params:
            _refuse(f"Unrecognized request argument supplied: {name}", name, "unknown_parameter")
    for name in required:
        if name not in body:
            _missing(name)
    for name, value in body.items():
        _check_value(name, value, params[name])


def _check_value(name: str, value: Any, param: Param) -> None:
    if value is None and param.null:
        return
    if not _is(value, _KINDS[param.kind]):
        _wrong_type(name, param.kind, value)
    if param.values and value not in param.values:
        _wrong_value(name, value, param.values)
    kind = param.kind.split()[-1]
    if param.low is not None and value < param.low:
        message = f"Invalid '{name}': {kind} below minimum value. Expected a value >= {param.low}"
        _refuse(f"{message}, but got {value} instead.", name, f"{kind}_below_min_value")
    if param.high is not None and value > param.high:
        message = f"Invalid '{name}': {kind} above maximum value. Expected a value <= {param.high}"
        _refuse(f"{message}, but got {value} instead.", name, f"{kind}_above_max_value")


def _check_sampling(body: JSON) -> None:
    """Refuse bad values of the fields that both kinds of completion share."""
    if body.get("stream_options") is not None and not body.get("stream"):
        _refuse("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    _check_stream_options(body.get("stream_options") or {})
    stops = body.get("stop")
    if isinstance(stops, list):
        if len(stops) > 4:
            _too_long("stop", 4, len(stops))
        if not _all(stops, str):
            _wrong_type("stop", "a string or an array of strings", stops)
    for token, bias in (body.get("logit_bias") or {}).items():
        _check_value(f"logit_bias.{token}", bias, Param("a decimal", low=-100, high=100))
    for key, value in (body.get("metadata") or {}).items():
        _check_value(f"metadata.{key}", value, _TEXT)
    for index, modality in enumerate(body.get("modalities") or []):
        _check_value(f"modalities[{index}]", modality, Param("a string", values=("text", "audio")))


def _check_stream_options(options: JSON) -> None:
    for key, value in options.items():
        param = f"stream_options.{key}"
        if key not in ("include_usage", "include_obfuscation"):
            _refuse(f"Unknown parameter: '{param}'.", param, "unknown_parameter")
        _check_value(param, value, _FLAG)


def _check_messages(messages: Sequence[Any]) -> None:
    if not messages:
        _empty("messages")
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        if not isinstance(message, dict):
            _wrong_type(path, "an object", message)
        _check_message(message, path)
    _check_tool_turns(messages)


def _check_message(message: JSON, path: str) -> None:
    role = _want(message, "role", path, str)
    if role not in _ROLES:
        _wrong_value(f"{path}.role", role, _ROLES)
    if message.get("name") is not None:
        _want(message, "name", path, str)
    if role == "tool":
        _want(message, "tool_call_id", path, str)
    if role == "function":
        _want(message, "name", path, str)
        return
    if role == "assistant" and "tool_calls" in message:
        _check_calls(message, path)
    _check_content(message, role, path)


def _check_content(message: JSON, role: str, path: str) -> None:
    """Refuse content that is missing or holds parts its role may not have."""
    stand_ins = ("tool_calls", "function_call", "refusal", "audio")
    if role == "assistant" and message.get("content") is None and any(message.get(key) for key in stand_ins):
        return
    content = _want(message, "content", path, str, list)
    if content == []:
        _empty(f"{path}.content")
    for index, part in enumerate(content if isinstance(content, list) else []):
        part_path = f"{path}.content[{index}]"
        if not isinstance(part, dict):
            _wrong_type(part_path, "an object", part)
        _check_part(part, role, part_path)


def _check_part(part: JSON, role: str, path: str) -> None:
    kind = _want(part, "type", path, str)
    if kind not in _PARTS[role]:
        _wrong_value(f"{path}.type", kind, _PARTS[role])
    if kind in ("text", "refusal"):
        _want(part, kind, path, str)
        return
    inner = _want(part, kind, path, dict)
    if kind == "image_url":
        _want(inner, "url", f"{path}.image_url", str)
    if kind == "input_audio":
        _want(inner, "data", f"{path}.input_audio", str)
        _check_value(
            f"{path}.input_audio.format",
            _want(inner, "format", f"{path}.input_audio", str),
            Param("a string", values=("wav", "mp3")),
        )
    if kind == "file" and not (inner.get("file_id") or inner.get("file_data")):
        _missing(f"{path}.file.file_id")


def _check_calls(message: JSON, path: str) -> None:
    """Refuse malformed tool calls in the history."""
    calls = _want(message, "tool_calls", path, list)
    if not calls:
        _empty(f"{path}.tool_calls")
    for index, call in enumerate(calls):
        call_path = f"{path}.tool_calls[{index}]"
        if not isinstance(call, dict):
            _wrong_type(call_path, "an object", call)
        _want(call, "id", call_path, str)
        kind = _want(call, "type", call_path, str)
        if kind not in ("function", "custom"):
            _wrong_value(f"{call_path}.type", kind, ("function", "custom"))
        inner = _want(call, kind, call_path, dict)
        _check_name(_want(inner, "name", f"{call_path}.{kind}", str), f"{call_path}.{kind}.name")
        _want(inner, "arguments" if kind == "function" else "input", f"{call_path}.{kind}", str)


def _check_tool_turns(messages: Sequence[JSON]) -> None:
    """Refuse tool messages that answer no call and calls without their tool messages."""
    called: set[str] = set()
    unanswered: list[str] = []
    for index, message in enumerate(messages):
        if message["role"] == "tool":
            if message["tool_call_id"] not in called:
                problem = "messages with role 'tool' must be a response to a preceding message with 'tool_calls'."
                _refuse(f"Invalid parameter: {problem}", f"messages.[{index}].role")
            unanswered = [one for one in unanswered if one != message["tool_call_id"]]
            continue
        _check_answered(unanswered, index)
        unanswered = [call["id"] for call in message.get("tool_calls") or [] if message["role"] == "assistant"]
        called = set(unanswered)
    _check_answered(unanswered, len(messages))


def _check_answered(unanswered: Sequence[str], index: int) -> None:
    if unanswered:
        message = "An assistant message with 'tool_calls' must be followed by tool messages responding to each"
        missing = f"The following tool_call_ids did not have response messages: {', '.join(unanswered)}"
        _refuse(f"{message} 'tool_call_id'. {missing}", f"messages.[{index}].role")


def _check_tools(body: JSON) -> None:
    names: set[str] = set()
    for index, tool in enumerate(body.get("tools", [])):
        names.add(_check_tool(tool, f"tools[{index}]"))
    for index, function in enumerate(body.get("functions", [])):
        names.add(_check_function(function, f"functions[{index}]"))
    if body.get("tools") == []:
        _empty("tools")
    for dependent in ("tool_choice", "parallel_tool_calls"):
        if dependent in body and "tools" not in body:
            message = f"Invalid value for '{dependent}': '{dependent}' is only allowed when 'tools' are specified."
            _refuse(message, dependent)
    if "tool_choice" in body:
        _check_tool_choice(body["tool_choice"], names)


def _check_tool(tool: Any, path: str) -> str:
    """Check one tool and give its name."""
    if not isinstance(tool, dict):
        _wrong_type(path, "an object", tool)
    kind = _want(tool, "type", path, str)
    if kind not in ("function", "custom"):
        _wrong_value(f"{path}.type", kind, ("function", "custom"))
    inner = _want(tool, kind, path, dict)
    if kind == "function":
        return _check_function(inner, f"{path}.function")
    name: str = _want(inner, "name", f"{path}.custom", str)
    _check_name(name, f"{path}.custom.name")
    return name


def _check_function(function: Any, path: str) -> str:
    if not isinstance(function, dict):
        _wrong_type(path, "an object", function)
    name: str = _want(function, "name", path, str)
    _check_name(name, f"{path}.name")
    for key, param in (("description", _TEXT_OR_NULL), ("strict", _FLAG_OR_NULL), ("parameters", _OBJECT_OR_NULL)):
        _check_value(f"{path}.{key}", function.get(key), param)
    if function.get("parameters") is not None:
        label = f"function '{name}'"
        where = (f"{path}.parameters", "invalid_function_parameters")
        _check_schema(function["parameters"], label, where, strict=bool(function.get("strict")))
    return name


def _check_name(name: str, path: str) -> None:
    if not _NAME.fullmatch(name):
        message = f"Invalid '{path}': string does not match pattern. Expected a string that matches the pattern"
        _refuse(f"{message} '{_NAME.pattern}'.", path, "invalid_value")


def _check_tool_choice(choice: str | JSON, names: set[str]) -> None:
    if isinstance(choice, str):
        if choice not in ("none", "auto", "required"):
            _wrong_value("tool_choice", choice, ("none", "auto", "required"))
        return
    kind = _want(choice, "type", "tool_choice", str)
    if kind not in ("function", "custom", "allowed_tools"):
        _wrong_value("tool_choice.type", kind, ("function", "custom", "allowed_tools"))
    inner = _want(choice, kind, "tool_choice", dict)
    if kind == "allowed_tools":
        mode = _want(inner, "mode", "tool_choice.allowed_tools", str)
        _check_value("tool_choice.allowed_tools.mode", mode, Param("a string", values=("auto", "required")))
        _want(inner, "tools", "tool_choice.allowed_tools", list)
        return
    if _want(inner, "name", f"tool_choice.{kind}", str) not in names:
        _refuse(f"Tool choice '{inner['name']}' not found in 'tools' parameter.", "tool_choice")


def _check_response_format(wanted: JSON) -> None:
    kind = _want(wanted, "type", "response_format", str)
    if kind not in ("text", "json_object", "json_schema"):
        _wrong_value("response_format.type", kind, ("text", "json_object", "json_schema"))
    if kind != "json_schema":
        return
    path = "response_format.json_schema"
    inner = _want(wanted, "json_schema", "response_format", dict)
    _check_name(_want(inner, "name", path, str), f"{path}.name")
    schema = _want(inner, "schema", path, dict)
    if inner.get("strict"):
        _check_schema(schema, f"response_format '{inner['name']}'", ("response_format", None), strict=True)


def _check_schema(schema: JSON, label: str, where: tuple[str, str | None], *, strict: bool) -> None:
    """Refuse a root that is no object and, if strict, objects that are open or have optional properties."""
    problem = _strict_problem(schema, ()) if strict else None
    if schema.get("type") != "object":
        problem = f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{schema.get('type')}\"'."
    if problem:
        _refuse(f"Invalid schema for {label}: {problem}", *where)


def _strict_problem(node: Any, context: tuple[str, ...]) -> str | None:
    """The first breach of OpenAI's strict mode in a schema, in its words."""
    if not isinstance(node, dict):
        return None
    properties = node.get("properties", {})
    if "object" in (node.get("type"), *_types(node)) or properties:
        absent = [name for name in properties if name not in node.get("required", [])]
        if node.get("additionalProperties") is not False:
            return f"In context={context}, 'additionalProperties' is required to be supplied and to be false."
        if absent:
            text = "'required' is required to be supplied and to be an array including every key in properties."
            return f"In context={context}, {text} Missing '{absent[0]}'."
    problems = (_strict_problem(child, (*context, *path)) for path, child in _children(node))
    return next((problem for problem in problems if problem), None)


def _types(node: JSON) -> Sequence[str]:
    kind = node.get("type")
    return kind if isinstance(kind, list) else ()


def _children(node: JSON) -> list[tuple[tuple[str, ...], Any]]:
    """The schemas directly under a schema, with the path to each."""
    named = [
        ((key, name), child)
        for key in ("properties", "$defs", "definitions")
        for name, child in node.get(key, {}).items()
    ]
    listed = [
        ((key, str(index)), child)
        for key in ("anyOf", "oneOf", "allOf", "prefixItems")
        for index, child in enumerate(node.get(key, []))
    ]
    return [*named, *listed, (("items",), node.get("items"))]
