"""The rules of Google's Gemini API for requests: which fields there are, what it refuses and with which error.

Google reads JSON into protocol buffers: names may be in camelCase or snake_case, and what has no field is an error.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import orjson

from tests.fake_server import JSON, Refusal

STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
MODELS: dict[str, tuple[str, ...]] = {
    "gemini-2.0-flash": ("generateContent",),
    "gemini-2.5-flash": ("generateContent",),
    "gemini-3-pro-preview": ("generateContent",),
    "gemini-embedding-001": ("embedContent",),
}
"""The models, with the methods that they support."""
MOST_EMBEDDINGS = 100
SKIP_SIGNATURE = ("skip_thought_signature_validator", "context_engineering_is_the_way_to_go")
"""What the API takes in the place of a signature that a client does not have."""
_ANY = "any"
# Google's messages: fields and their types. "[]" makes a list and "{}" a map of them.
_MESSAGES: dict[str, dict[str, str]] = {
    "GenerateContentRequest": {
        "model": "string",
        "contents": "[]Content",
        "system_instruction": "Content",
        "tools": "[]Tool",
        "tool_config": "ToolConfig",
        "safety_settings": "[]SafetySetting",
        "generation_config": "GenerationConfig",
        "cached_content": "string",
        "service_tier": "string",
        "store": "bool",
    },
    "Content": {"role": "string", "parts": "[]Part"},
    "Part": {
        "text": "string",
        "inline_data": "Blob",
        "function_call": "FunctionCall",
        "function_response": "FunctionResponse",
        "file_data": "FileData",
        "executable_code": _ANY,
        "code_execution_result": _ANY,
        "thought": "bool",
        "thought_signature": "bytes",
        "video_metadata": _ANY,
        "media_resolution": _ANY,
    },
    "Blob": {"mime_type": "string", "data": "bytes"},
    "FileData": {"mime_type": "string", "file_uri": "string"},
    "FunctionCall": {"id": "string", "name": "string", "args": "struct"},
    "FunctionResponse": {
        "id": "string",
        "name": "string",
        "response": "struct",
        "parts": _ANY,
        "will_continue": "bool",
        "scheduling": "string",
    },
    "Tool": {
        "function_declarations": "[]FunctionDeclaration",
        **dict.fromkeys(("google_search", "google_search_retrieval", "code_execution", "url_context"), _ANY),
    },
    "FunctionDeclaration": {
        "name": "string",
        "description": "string",
        "parameters": "Schema",
        "parameters_json_schema": _ANY,
        "response": "Schema",
        "response_json_schema": _ANY,
        "behavior": "string",
    },
    "Schema": {
        **dict.fromkeys(("type", "format", "title", "description", "pattern"), "string"),
        **dict.fromkeys(
            ("max_items", "min_items", "max_length", "min_length", "max_properties", "min_properties"), "int64"
        ),
        **dict.fromkeys(("minimum", "maximum"), "double"),
        **dict.fromkeys(("enum", "required", "property_ordering"), "[]string"),
        **dict.fromkeys(("default", "example"), _ANY),
        "nullable": "bool",
        "items": "Schema",
        "any_of": "[]Schema",
        "properties": "{}Schema",
    },
    "ToolConfig": {
        "function_calling_config": "FunctionCallingConfig",
        "retrieval_config": _ANY,
        "include_server_side_tool_invocations": "bool",
    },
    "FunctionCallingConfig": {"mode": "string", "allowed_function_names": "[]string"},
    "SafetySetting": {"category": "string", "threshold": "string"},
    "GenerationConfig": {
        **dict.fromkeys(("candidate_count", "max_output_tokens", "top_k", "seed", "logprobs"), "int32"),
        **dict.fromkeys(("temperature", "top_p", "presence_penalty", "frequency_penalty"), "float"),
        **dict.fromkeys(("stop_sequences", "response_modalities"), "[]string"),
        **dict.fromkeys(("response_logprobs", "enable_enhanced_civic_answers"), "bool"),
        **dict.fromkeys(("response_mime_type", "media_resolution"), "string"),
        **dict.fromkeys(("response_json_schema", "speech_config", "image_config", "response_format"), _ANY),
        "response_schema": "Schema",
        "thinking_config": "ThinkingConfig",
    },
    "ThinkingConfig": {"include_thoughts": "bool", "thinking_budget": "int32", "thinking_level": "string"},
    "EmbedContentRequest": {
        "model": "string",
        "content": "Content",
        "task_type": "string",
        "title": "string",
        "output_dimensionality": "int32",
    },
    "BatchEmbedContentsRequest": {"model": "string", "requests": "[]EmbedContentRequest"},
}
_SCALARS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "bool": (bool,),
    "bytes": (str,),
    "int32": (int,),
    "int64": (int,),
    "float": (int, float),
    "double": (int, float),
}
_DATA = tuple(
    name for name, kind in _MESSAGES["Part"].items() if kind in _MESSAGES or name.startswith(("text", "exec", "code"))
)
_NAME_RULE = (
    "Must start with a letter or an underscore. Must be alphameric (a-z, A-Z, 0-9), underscores (_), dots (.), "
    "colons (:), or dashes (-), with a maximum length of 64."
)
_DOCS = "Please refer to https://ai.google.dev/gemini-api/docs/thought-signatures for more details."


class ApiError(Refusal):
    """A refusal in Google's shape."""

    def __init__(self, message: str, status: int = 400, details: Sequence[JSON] = ()) -> None:
        error: JSON = {"code": status, "message": message, "status": STATUSES[status]}
        super().__init__(status, {**error, "details": list(details)} if details else error)


def detail(kind: str, **fields: Any) -> JSON:
    """An entry of an error's details."""
    return {"@type": f"type.googleapis.com/google.rpc.{kind}", **fields}


def check_key(headers: Mapping[str, str], query: Mapping[str, str], good: str) -> None:
    """Refuse a request without the one good key, in its header or in its query."""
    key = headers.get("x-goog-api-key") or query.get("key")
    if not key:
        problem = "Method doesn't allow unregistered callers (callers without established identity)."
        raise ApiError(f"{problem} Please use API Key or other form of API consumer identity to call this API.", 403)
    if key != good:
        message = "API key not valid. Please pass a valid API key."
        service = {"service": "generativelanguage.googleapis.com"}
        reason = detail("ErrorInfo", reason="API_KEY_INVALID", domain="googleapis.com", metadata=service)
        raise ApiError(message, details=[reason, detail("LocalizedMessage", locale="en-US", message=message)])


def check_model(name: str, method: str) -> None:
    """Refuse a model that does not exist or does not support a method."""
    plain = {"streamGenerateContent": "generateContent", "batchEmbedContents": "embedContent"}.get(method, method)
    if plain not in MODELS.get(name, ()):
        problem = f"models/{name} is not found for API version v1beta, or is not supported for {plain}."
        raise ApiError(
            f"{problem} Call ListModels to see the list of available models and their supported methods.", 404
        )


def parsed(body: JSON, message: str) -> JSON:
    """A body as that message, with all names in snake_case; refuses what has no place in it."""
    problems: list[tuple[str, str]] = []
    result: JSON = _read(body, message, "", problems)
    if problems:
        violations = [
            {"field": path, "description": text} if path else {"description": text} for path, text in problems
        ]
        text = "\n".join(text for _, text in problems)
        raise ApiError(text, details=[detail("BadRequest", fieldViolations=violations)])
    return result


def check_generation(body: JSON, model: str) -> None:
    """Refuse what Google would refuse of a request that it could read."""
    contents = body.get("contents") or []
    if not contents:
        _invalid("GenerateContentRequest.contents", "contents is not specified")
    for index, content in enumerate(contents):
        _check_content(content, f"GenerateContentRequest.contents[{index}]")
    _check_turns(contents)
    if model.startswith("gemini-3"):
        _check_signatures(contents)
    for place, tool in enumerate(body.get("tools") or ()):
        for index, function in enumerate(tool.get("function_declarations") or ()):
            path = f"GenerateContentRequest.tools[{place}].function_declarations[{index}]"
            if not re.fullmatch(r"[a-zA-Z_][\w.:-]{0,63}", function.get("name", "")):
                _invalid(f"{path}.name", f"Invalid function name. {_NAME_RULE}")
            _check_schema(function.get("parameters") or {}, f"{path}.parameters")
    _check_schema((body.get("generation_config") or {}).get("response_schema") or {}, "response_schema")


def check_embeddings(requests: Sequence[JSON], model: str) -> None:
    """Refuse embeddings requests that Google would refuse."""
    path = "BatchEmbedContentsRequest.requests"
    if not requests:
        _invalid(path, "requests is not specified")
    if len(requests) > MOST_EMBEDDINGS:
        _invalid(path, f"at most {MOST_EMBEDDINGS} requests can be in one batch")
    for index, one in enumerate(requests):
        if one.get("model") != f"models/{model}":
            _invalid(f"{path}[{index}].model", "model must match the model specified in the batch request")
        if not (one.get("content") or {}).get("parts"):
            _invalid(f"{path}[{index}].content", "content is empty")


def _read(value: Any, kind: str, path: str, problems: list[tuple[str, str]]) -> Any:
    """A value as that type; what is wrong with it is added to *problems*."""
    if kind == _ANY or value is None:
        return value
    if kind.startswith("[]"):
        items = value if isinstance(value, list) else [value]
        return [_read(item, kind[2:], f"{path}[{index}]", problems) for index, item in enumerate(items)]
    if kind.startswith("{}") and isinstance(value, dict):
        pairs = enumerate(value.items())
        return {key: _read(item, kind[2:], f"{path}[{index}].value", problems) for index, (key, item) in pairs}
    if kind in _MESSAGES and isinstance(value, dict):
        return _read_message(value, kind, path, problems)
    if isinstance(value, list):
        parent, _, name = path.rpartition(".")
        text = f"Unknown name \"{name}\" at '{parent}': Proto field is not repeating, cannot start list."
        problems.append((parent, f"Invalid JSON payload received. {text}"))
        return None
    return _read_scalar(value, kind, path, problems)


def _read_message(value: JSON, kind: str, path: str, problems: list[tuple[str, str]]) -> JSON:
    result: JSON = {}
    for given, item in value.items():
        name = re.sub(r"(?<=[a-z0-9])([A-Z])", lambda match: f"_{match[1].lower()}", given)
        if name not in _MESSAGES[kind]:
            where = f" at '{path}'" if path else ""
            text = f'Unknown name "{given}"{where}: Cannot find field.'
            problems.append((path, f"Invalid JSON payload received. {text}"))
            continue
        result[name] = _read(item, _MESSAGES[kind][name], f"{path}.{name}" if path else name, problems)
    data = [name for name in _DATA if name in result] if kind == "Part" else []
    if len(data) > 1:
        text = f"oneof field 'data' is already set. Cannot set '{data[1]}'"
        problems.append((path, f"Invalid value at '{path}' (oneof), {text}"))
    return result


def _read_scalar(value: Any, kind: str, path: str, problems: list[tuple[str, str]]) -> Any:
    shown = orjson.dumps(value).decode()
    right: tuple[type, ...] = (dict,) if kind == "struct" else _SCALARS.get(kind, ())
    if not isinstance(value, right) or (isinstance(value, bool) and kind != "bool"):
        name = "google.protobuf.Struct" if kind == "struct" else f"google.ai.generativelanguage.v1beta.{kind}"
        type_ = f"TYPE_{kind.upper()}" if kind in _SCALARS else f"type.googleapis.com/{name}"
        problems.append((path, f"Invalid value at '{path}' ({type_}), {shown}"))
    elif kind == "bytes" and not _is_base64(str(value)):
        problems.append((path, f"Invalid value at '{path}' (TYPE_BYTES), Base64 decoding failed for {shown}"))
    return value


def _is_base64(text: str) -> bool:
    if text in SKIP_SIGNATURE:
        return True
    try:
        base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        return False
    return True


def _invalid(path: str, problem: str) -> NoReturn:
    raise ApiError(f"* {path}: {problem}\n")


def _check_content(content: JSON, path: str) -> None:
    if content.get("role", "user") not in ("user", "model", "function"):
        raise ApiError("Please use a valid role: user, model.")
    if not content.get("parts"):
        _invalid(f"{path}.parts", "contents.parts must not be empty.")
    for index, part in enumerate(content["parts"]):
        data = [name for name in _DATA if part.get(name) is not None]
        if not data:
            _invalid(f"{path}.parts[{index}].data", "required oneof field 'data' must have one initialized field")
        for name in ("function_call", "function_response"):
            if name in data and not part[name].get("name"):
                _invalid(f"{path}.parts[{index}].{name}.name", "Name cannot be empty.")
        if "inline_data" in data and not part["inline_data"].get("mime_type"):
            _invalid(f"{path}.parts[{index}].inline_data.mime_type", "mime_type cannot be empty.")


def _check_turns(contents: Sequence[JSON]) -> None:
    """Refuse calls that do not follow a user's turn, and results that do not fit the calls just before them."""
    for index, content in enumerate(contents):
        calls, results = _count(content, "function_call"), _count(content, "function_response")
        before = contents[index - 1] if index else {}
        if calls and before.get("role") not in ("user", "function"):
            rule = "Please ensure that function call turn comes immediately after a user turn or after a function"
            raise ApiError(f"{rule} response turn.")
        if results and not _count(before, "function_call"):
            raise ApiError("Please ensure that function response turn comes immediately after a function call turn.")
        after = contents[index + 1] if index + 1 < len(contents) else {}
        if calls and _count(after, "function_response") != calls:
            rule = "Please ensure that the number of function response parts is equal to the number of function call"
            raise ApiError(f"{rule} parts of the function call turn.")


def _count(content: JSON, name: str) -> int:
    return sum(name in part for part in content.get("parts") or ())


def _check_signatures(contents: Sequence[JSON]) -> None:
    """Refuse calls of the turn under way whose first one lost its signature."""
    asked = [index for index, content in enumerate(contents) if _is_question(content)]
    for index, content in enumerate(contents[asked[-1] if asked else 0 :], asked[-1] if asked else 0):
        calls = [part for part in content["parts"] if "function_call" in part]
        if calls and not calls[0].get("thought_signature"):
            lost = "Function call is missing a thought_signature in functionCall parts."
            need = "This is required for tools to work correctly, and missing thought_signature may lead to degraded"
            name = calls[0]["function_call"]["name"]
            where = f"Additional data, function call `default_api:{name}` , position {index + 1}."
            raise ApiError(f"{lost} {need} model performance. {where} {_DOCS}")


def _is_question(content: JSON) -> bool:
    return content.get("role", "user") == "user" and not _count(content, "function_response")


def _check_schema(schema: JSON, path: str) -> None:
    kind = schema.get("type", "").upper()
    properties = schema.get("properties") or {}
    if kind == "ARRAY" and not schema.get("items"):
        _invalid(f"{path}.items", "missing field.")
    if schema.get("enum") and kind != "STRING":
        _invalid(f"{path}.enum", "only allowed for STRING type")
    for index, name in enumerate(schema.get("required") or ()):
        if name not in properties:
            _invalid(f"{path}.required[{index}]", "property is not defined")
    children = {f"properties[{name}]": child for name, child in properties.items()}
    children |= {f"any_of[{index}]": child for index, child in enumerate(schema.get("any_of") or ())}
    children |= {"items": schema["items"]} if schema.get("items") else {}
    for name, child in children.items():
        _check_schema(child, f"{path}.{name}")
