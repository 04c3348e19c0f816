"""The rules of Anthropic's API for requests: what it refuses and with which error."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import jsonschema_rs

from tests.fake_anthropic_shapes import OutputFormat, Request, problem_of
from tests.fake_server import JSON, Refusal

_DOCS = "Please consult our documentation at https://docs.claude.com/en/docs/build-with-claude/extended-thinking"
_VERSIONS = ("2023-06-01", "2023-01-01")
_BETA = re.compile(r"[a-z0-9-]+-\d{4}-\d{2}-\d{2}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
# Fields of the request that exist only where the header names their beta.
_BETA_FIELDS: dict[str, tuple[str, ...]] = {
    "output_format": ("structured-outputs-",),
    "mcp_servers": ("mcp-client-",),
    "context_management": ("context-management-", "compact-"),
    "speed": ("fast-mode-",),
    "fallbacks": ("server-side-fallback-",),
}
_ONLY_IN = {
    "image": "user",
    "document": "user",
    "search_result": "user",
    "tool_result": "user",
    "container_upload": "user",
    "thinking": "assistant",
    "redacted_thinking": "assistant",
    "tool_use": "assistant",
    "server_tool_use": "assistant",
}
_UNSUPPORTED = {
    "object": ("minProperties", "maxProperties", "patternProperties", "propertyNames", "dependentRequired"),
    "array": ("maxItems", "uniqueItems", "contains", "minContains", "maxContains", "prefixItems"),
    "string": ("minLength", "maxLength"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}


class ApiError(Refusal):
    """A refusal in Anthropic's shape."""

    def __init__(self, message: str, *, status: int = 400, type_: str = "invalid_request_error") -> None:
        super().__init__(status, {"type": type_, "message": message})


@dataclass(frozen=True)
class Model:
    """What a model takes."""

    id: str
    most: int = 128_000
    """Tokens that it answers at most."""
    budget: bool = False
    """Thinks with a budget."""
    adaptive: bool = True
    """Thinks as it sees fit."""
    always: bool = False
    """Cannot be kept from thinking."""
    effort: bool = True
    sampling: bool = False
    prefill: bool = False
    """Goes on with the assistant's turn that ends the messages."""
    system_turns: bool = True
    forced: bool = True
    """Can be told to call a tool."""
    forced_thinking: bool = False
    """Can be told so even when it thinks."""


def _classic(id_: str, *, effort: bool = False) -> Model:
    return Model(
        id_, 64_000, budget=True, adaptive=False, effort=effort, sampling=True, prefill=True, system_turns=False
    )


_LISTED = {
    "claude-sonnet-4-5": _classic("claude-sonnet-4-5-20250929"),
    "claude-haiku-4-5": _classic("claude-haiku-4-5-20251001"),
    "claude-opus-4-5": _classic("claude-opus-4-5-20251101", effort=True),
    "claude-sonnet-4-6": Model("claude-sonnet-4-6", budget=True, sampling=True, system_turns=False),
    "claude-opus-4-6": Model("claude-opus-4-6", budget=True, sampling=True, system_turns=False),
    "claude-opus-4-7": Model("claude-opus-4-7", system_turns=False),
    "claude-opus-4-8": Model("claude-opus-4-8", forced_thinking=True),
    "claude-sonnet-5": Model("claude-sonnet-5", forced_thinking=True),
    "claude-opus-5": Model("claude-opus-5", forced_thinking=True),
    "claude-opus-5-5": Model("claude-opus-5-5", always=True, forced=False),
}
MODELS = {**_LISTED, **{model.id: model for model in _LISTED.values()}}


def check_key(headers: Mapping[str, str]) -> None:
    """Refuse a request without a good key or without a version."""
    token = headers.get("authorization", "").removeprefix("Bearer ").strip()
    key = headers.get("x-api-key", token).strip()
    if not key:
        _unauthorized("x-api-key header is required")
    if key in ("sk-wrong", "sk-ant-wrong"):
        _unauthorized("invalid x-api-key" if "x-api-key" in headers else "Invalid bearer token")
    version = headers.get("anthropic-version")
    if version is None:
        _refuse("anthropic-version: header is required")
    if version not in _VERSIONS:
        _refuse(f'anthropic-version: "{version}" is not a valid version.')


def check_model(name: str) -> Model:
    """Refuse a model that does not exist."""
    if name not in MODELS:
        raise ApiError(f"model: {name}", status=404, type_="not_found_error")
    return MODELS[name]


def check_message(body: JSON, headers: Mapping[str, str], is_genuine: Callable[[JSON], bool]) -> None:
    """Refuse a request for a message that Anthropic would refuse.

    Args:
        is_genuine: tells whether a thinking block is one that the server gave out.
    """
    betas = _betas(headers)
    plain = {name: value for name, value in body.items() if name not in _BETA_FIELDS or not _has(betas, name)}
    if problem := problem_of(Request, plain):
        _refuse(problem)
    model = check_model(body["model"])
    _check_sampling(body, model)
    _check_thinking(body, model, betas)
    _check_tools(body, model)
    _check_output(body, model)
    _check_caching(body)
    _check_files(body, betas)
    _check_texts(body)
    _check_turns(body, model)
    _check_tool_turns(body)
    _check_thoughts(body, is_genuine)


def is_thinking(body: JSON) -> bool:
    """Tell whether a request asks the model to think."""
    kind = (body.get("thinking") or {}).get("type")
    return kind in ("enabled", "adaptive") or MODELS[body["model"]].always


def output_format(body: JSON) -> JSON | None:
    """The format that the answer is to have, under its new name or its old one."""
    found: JSON | None = (body.get("output_config") or {}).get("format") or body.get("output_format")
    return found


def blocks_of(content: str | list[JSON]) -> list[JSON]:
    """A content as blocks; an empty string is none."""
    if not isinstance(content, str):
        return content
    return [{"type": "text", "text": content}] if content else []


def _refuse(message: str) -> NoReturn:
    raise ApiError(message)


def _unauthorized(message: str) -> NoReturn:
    raise ApiError(message, status=401, type_="authentication_error")


def _betas(headers: Mapping[str, str]) -> list[str]:
    """The betas that a request names."""
    betas = [beta.strip() for beta in headers.get("anthropic-beta", "").split(",") if beta.strip()]
    for beta in betas:
        if not _BETA.fullmatch(beta):
            _refuse(f"Unexpected value(s) `{beta}` for the `anthropic-beta` header.")
    return betas


def _has(betas: Sequence[str], field: str) -> bool:
    return any(beta.startswith(_BETA_FIELDS[field]) for beta in betas)


def _check_sampling(body: JSON, model: Model) -> None:
    if body["max_tokens"] > model.most:
        limit = f"which is the maximum allowed number of output tokens for {model.id}"
        _refuse(f"max_tokens: {body['max_tokens']} > {model.most}, {limit}")
    for name in ("temperature", "top_p", "top_k"):
        if not model.sampling and body.get(name) is not None and (name, body[name]) != ("temperature", 1):
            _refuse(f"`{name}` is deprecated for this model.")
    if body.get("temperature") is not None and body.get("top_p") is not None:
        _refuse("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
    if any(not stop.strip() for stop in body.get("stop_sequences") or ()):
        _refuse("stop_sequences: each stop sequence must contain non-whitespace")
    if _EMAIL.search((body.get("metadata") or {}).get("user_id") or ""):
        _refuse("metadata.user_id: user_id appears to contain an email address")


def _check_thinking(body: JSON, model: Model, betas: Sequence[str]) -> None:
    thinking = body.get("thinking") or {}
    kind = thinking.get("type")
    if kind == "adaptive" and not model.adaptive:
        _refuse("adaptive thinking is not supported on this model")
    if kind == "enabled" and not model.budget:
        instead = 'Use "thinking.type.adaptive" and "output_config.effort" to control thinking behavior.'
        _refuse(f'"thinking.type.enabled" is not supported for this model. {instead}')
    if kind == "disabled" and model.always:
        _refuse('"thinking.type.disabled" is not supported for this model.')
    if "block_binding" in thinking and not any(beta.startswith("thinking-binding-controls-") for beta in betas):
        _refuse("thinking.adaptive.block_binding: Extra inputs are not permitted")
    # With interleaved thinking the budget is that of all the turn's answers.
    interleaved = any(beta.startswith("interleaved-thinking-") for beta in betas)
    if kind == "enabled" and thinking["budget_tokens"] >= body["max_tokens"] and not interleaved:
        _refuse(f"`max_tokens` must be greater than `thinking.budget_tokens`. {_DOCS}")
    if is_thinking(body):
        _check_beside_thinking(body, model)


def _check_beside_thinking(body: JSON, model: Model) -> None:
    """Refuse what does not go with thinking."""
    if body.get("temperature") not in (None, 1):
        _refuse(f"`temperature` may only be set to 1 when thinking is enabled. {_DOCS}")
    if body.get("top_p") is not None and body["top_p"] < 0.95:
        _refuse(f"`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled. {_DOCS}")
    if body.get("top_k") is not None:
        _refuse(f"`top_k` must be unset when thinking is enabled. {_DOCS}")
    forced = (body.get("tool_choice") or {}).get("type") in ("any", "tool")
    if forced and model.forced and not model.forced_thinking:
        _refuse("Thinking may not be enabled when tool_choice forces tool use.")


def _check_tools(body: JSON, model: Model) -> None:
    tools = body.get("tools") or []
    names = [tool["name"] for tool in tools if "name" in tool]
    if len(set(names)) < len(names):
        _refuse("tools: Tool names must be unique.")
    for index, tool in enumerate(tools):
        if "input_schema" in tool:
            _check_input_schema(tool, f"tools.{index}.custom")
    choice = body.get("tool_choice")
    if choice is None:
        return
    if not tools:
        _refuse("tool_choice may only be specified while providing tools.")
    if choice["type"] in ("any", "tool") and not model.forced:
        _refuse('tool_choice: type "tool" and "any" are not supported for this model.')
    if choice["type"] == "tool" and choice["name"] not in names:
        _refuse(f"Tool '{choice['name']}' not found in provided tools")


def _check_input_schema(tool: JSON, path: str) -> None:
    schema = tool["input_schema"]
    if any(key in schema for key in ("oneOf", "allOf", "anyOf")):
        _refuse(f"{path}.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level")
    if not jsonschema_rs.meta.is_valid({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}):
        draft = "It must match JSON Schema draft 2020-12 (https://json-schema.org/draft/2020-12)."
        _refuse(f"{path}.input_schema: JSON schema is invalid. {draft}")
    if tool.get("strict") and (problem := _grammar_problem(schema, schema)):
        _refuse(f"{path}: {problem}")


def _check_output(body: JSON, model: Model) -> None:
    config = body.get("output_config") or {}
    if config.get("effort") is not None and not model.effort:
        _refuse("This model does not support the effort parameter.")
    if "output_format" in body:
        if problem := problem_of(OutputFormat, body["output_format"]):
            _refuse(f"output_format.{problem}")
        if config.get("format"):
            _refuse("output_format: Cannot be set together with output_config.format")
    wanted = output_format(body)
    if wanted and (problem := _grammar_problem(wanted["schema"], wanted["schema"])):
        name = "output_format" if "output_format" in body else "output_config.format"
        _refuse(f"{name}.schema: {problem}")


def _grammar_problem(node: Any, root: JSON, above: tuple[str, ...] = ()) -> str | None:
    """What keeps a schema from being made a grammar, in Anthropic's words."""
    if not isinstance(node, dict):
        return None
    if (pointer := node.get("$ref")) is not None:
        return _reference_problem(str(pointer), root, above)
    kind = node.get("type", "")
    kinds: list[str] = kind if isinstance(kind, list) else [kind]
    if "object" in kinds and node.get("additionalProperties") is not False:
        return "For 'object' type, 'additionalProperties' must be explicitly set to false"
    for keyword in ("oneOf", "not", "if"):
        if keyword in node:
            return f"Schema type '{keyword}' is not supported"
    for one in kinds:
        if found := sorted(key for key in _UNSUPPORTED.get(one, ()) if key in node):
            plural = f"properties {', '.join(found)} are" if len(found) > 1 else f"property '{found[0]}' is"
            return f"For '{one}' type, {plural} not supported"
    if node.get("minItems", 0) not in (0, 1):
        return "For 'array' type, 'minItems' values other than 0 or 1 are not supported"
    problems = (_grammar_problem(child, root, above) for child in _children(node))
    return next((problem for problem in problems if problem), None)


def _reference_problem(pointer: str, root: JSON, above: tuple[str, ...]) -> str | None:
    if pointer in above:
        return f"Circular reference detected in schema definitions: {' -> '.join((*above, pointer))}"
    found: Any = root
    for key in pointer.split("/")[1:]:
        found = found.get(key) if isinstance(found, dict) else None
    if not pointer.startswith("#") or found is None:
        return f"Invalid schema reference '{pointer}'"
    return _grammar_problem(found, root, (*above, pointer))


def _children(node: JSON) -> Iterator[Any]:
    """The schemas directly under a schema."""
    yield from (node.get("properties") or {}).values()
    for key in ("anyOf", "allOf"):
        yield from node.get(key) or ()
    yield node.get("items")


def _check_caching(body: JSON) -> None:
    marks = [block["cache_control"] for block in _cacheable(body) if block.get("cache_control")]
    marks += [body["cache_control"]] if body.get("cache_control") else []
    if len(marks) > 4:
        _refuse(f"A maximum of 4 blocks with cache_control may be provided. Found {len(marks)}.")
    lives = [mark.get("ttl", "5m") for mark in marks]
    if "1h" in lives[lives.index("5m") :] if "5m" in lives else False:
        order = "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block."
        _refuse(f"{order} Note that blocks are processed in the following order: `tools`, `system`, `messages`.")


def _cacheable(body: JSON) -> Iterator[JSON]:
    """Everything that may carry a cache point, in the order of the prompt."""
    yield from body.get("tools") or ()
    yield from blocks_of(body.get("system") or [])
    yield from _blocks(body)


def _blocks(body: JSON) -> Iterator[JSON]:
    """Every block of the messages, those of tool results too."""
    for message in body["messages"]:
        for block in blocks_of(message["content"]):
            yield block
            if block["type"] == "tool_result":
                yield from blocks_of(block.get("content") or [])


def _check_files(body: JSON, betas: Sequence[str]) -> None:
    for block in _blocks(body):
        source = block.get("source")
        uploaded = isinstance(source, dict) and source["type"] == "file"
        if uploaded and not any(beta.startswith("files-api-") for beta in betas):
            tags = "'base64', 'url'" if block["type"] == "image" else "'base64', 'content', 'text', 'url'"
            _refuse(f"messages: Input tag 'file' found using 'type' does not match any of the expected tags: {tags}")


def _check_texts(body: JSON) -> None:
    """Refuse texts that say nothing."""
    holders = [("system", block) for block in body.get("system") or () if isinstance(body["system"], list)]
    holders += [("messages", block) for block in _blocks(body)]
    for name, block in holders:
        if block["type"] != "text":
            continue
        if not block["text"]:
            _refuse(f"{name}: text content blocks must be non-empty")
        if not block["text"].strip():
            _refuse(f"{name}: text content blocks must contain non-whitespace text")


def _check_turns(body: JSON, model: Model) -> None:
    messages = body["messages"]
    if not messages:
        _refuse("messages: at least one message is required")
    for index, message in enumerate(messages):
        _check_turn(message, index, model, is_last=index == len(messages) - 1)
    if messages[0]["role"] != "user":
        _refuse('messages: first message must use the "user" role')
    last = messages[-1]
    if last["role"] == "assistant" and not model.prefill:
        problem = "This model does not support assistant message prefill."
        _refuse(f"{problem} The conversation must end with a user message.")
    final = blocks_of(last["content"])[-1:]
    if last["role"] == "assistant" and final and final[0].get("text", "") != final[0].get("text", "").rstrip():
        _refuse("messages: final assistant content cannot end with trailing whitespace")


def _check_turn(message: JSON, index: int, model: Model, *, is_last: bool) -> None:
    role = message["role"]
    if role == "system" and not model.system_turns:
        _refuse("role 'system' is not supported on this model")
    if not message["content"] and not (is_last and role == "assistant"):
        exception = "except for the optional final assistant message"
        _refuse(f"messages.{index}: all messages must have non-empty content {exception}")
    for place, block in enumerate(blocks_of(message["content"])):
        kind = block["type"]
        if _ONLY_IN.get(kind, role) != role:
            _refuse(f"messages.{index}.content.{place}: `{kind}` blocks can only be in `{_ONLY_IN[kind]}` messages")
        results = blocks_of(block.get("content") or []) if kind == "tool_result" and block.get("is_error") else []
        if any(one["type"] != "text" for one in results):
            path = f"messages.{index}.content.{place}.tool_result"
            _refuse(f"{path}: all content must be type `text` if `is_error` is true")


def _check_tool_turns(body: JSON) -> None:
    """Refuse calls without their results right after them, and results without their calls."""
    messages = body["messages"]
    seen: set[str] = set()
    for index, message in enumerate(messages):
        _check_results(messages, index)
        calls = _ids(message, "tool_use", "id")
        if seen & set(calls) or len(set(calls)) < len(calls):
            _refuse(f"messages.{index}: `tool_use` ids must be unique")
        seen |= set(calls)
        following = _leading_results(messages[index + 1]) if index + 1 < len(messages) else []
        if missing := [one for one in calls if one not in following]:
            problem = f"`tool_use` ids were found without `tool_result` blocks immediately after: {', '.join(missing)}"
            rule = "Each `tool_use` block must have a corresponding `tool_result` block in the next message."
            _refuse(f"messages.{index}: {problem}. {rule}")
    if body.get("tools") is None and any(block["type"] in ("tool_use", "tool_result") for block in _blocks(body)):
        _refuse("Requests which include `tool_use` or `tool_result` blocks must define `tools`.")


def _check_results(messages: Sequence[JSON], index: int) -> None:
    calls = _ids(messages[index - 1], "tool_use", "id") if index else []
    results = _ids(messages[index], "tool_result", "tool_use_id")
    for place, one in enumerate(results):
        if one not in calls:
            rule = "Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
            problem = f"unexpected `tool_use_id` found in `tool_result` blocks: {one}."
            _refuse(f"messages.{index}.content.{place}: {problem} {rule}")
        if one in results[:place]:
            problem = "each tool_use must have a single result."
            found = f"Found multiple `tool_result` blocks with id: {one}"
            _refuse(f"messages.{index}.content.{place}: {problem} {found}")


def _ids(message: JSON, kind: str, key: str) -> list[str]:
    return [block[key] for block in blocks_of(message["content"]) if block["type"] == kind]


def _leading_results(message: JSON) -> list[str]:
    """The ids of the results that a message begins with."""
    ids: list[str] = []
    for block in blocks_of(message["content"]):
        if block["type"] != "tool_result":
            break
        ids.append(block["tool_use_id"])
    return ids


def _check_thoughts(body: JSON, is_genuine: Callable[[JSON], bool]) -> None:
    """Refuse thoughts that the server did not give out, and a turn under way that began otherwise than it goes on."""
    for index, message in enumerate(body["messages"]):
        for place, block in enumerate(blocks_of(message["content"])):
            proof = {"thinking": "signature", "redacted_thinking": "data"}.get(block["type"])
            if proof and not is_genuine(block):
                _refuse(f"messages.{index}.content.{place}: Invalid `{proof}` in `{block['type']}` block")
    begin = _open_turn(body["messages"])
    if begin is not None and not MODELS[body["model"]].adaptive:
        _check_open_turn(body, begin)


def _check_open_turn(body: JSON, index: int) -> None:
    first = blocks_of(body["messages"][index]["content"])[0]["type"]
    thought = first in ("thinking", "redacted_thinking")
    if thought and not is_thinking(body):
        problem = f"When thinking is disabled, an `assistant` message in the final position cannot contain `{first}`."
        _refuse(f"messages.{index}.content.0: {problem} To use thinking blocks, enable `thinking` in your request.")
    if is_thinking(body) and not thought:
        rule = (
            "When `thinking` is enabled, a final `assistant` message must start with a thinking block (preceeding the "
            "lastmost set of `tool_use` and `tool_result` blocks). We recommend you include thinking blocks from "
            "previous turns. To avoid this requirement, disable `thinking`."
        )
        problem = f"Expected `thinking` or `redacted_thinking`, but found `{first}`."
        _refuse(f"messages.{index}.content.0.type: {problem} {rule} {_DOCS}")


def _open_turn(messages: Sequence[JSON]) -> int | None:
    """Where the assistant's turn that the request goes on with begins: before its calls, or as a prefill."""
    begin = None
    for index in range(len(messages) - 1, -1, -1):
        message = messages[index]
        if message["role"] == "assistant" and message["content"]:
            begin = index
        elif not _leading_results(message):
            break
    return begin
