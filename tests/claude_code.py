"""A request as the coding assistant Claude Code sends it, in its shape: big, cached, thinking, and full of betas."""

from __future__ import annotations

import json
from typing import Any

Json = dict[str, Any]

HEADERS = {
    "anthropic-version": "2023-06-01",
    "anthropic-beta": (
        "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27,"
        "prompt-caching-scope-2026-01-05,effort-2025-11-24"
    ),
    "anthropic-dangerous-direct-browser-access": "true",
    "user-agent": "claude-cli/2.1.0 (external, cli)",
    "x-app": "cli",
    "x-stainless-lang": "js",
    "x-stainless-retry-count": "0",
}
_CACHED: Json = {"cache_control": {"type": "ephemeral"}}
_STRING: Json = {"type": "string"}
# Names of tools, with their parameters.
_TOOLS: dict[str, Json] = {
    "Agent": {"description": _STRING, "prompt": _STRING, "subagent_type": _STRING},
    "Bash": {"command": _STRING, "timeout": {"type": "number"}, "run_in_background": {"type": "boolean"}},
    "Edit": {"file_path": _STRING, "old_string": _STRING, "new_string": _STRING, "replace_all": {"type": "boolean"}},
    "Glob": {"pattern": _STRING, "path": _STRING},
    "Grep": {"pattern": _STRING, "output_mode": {"type": "string", "enum": ["content", "files_with_matches", "count"]}},
    "Read": {"file_path": _STRING, "offset": {"type": "number"}, "limit": {"type": "number"}},
    "TodoWrite": {"todos": {"type": "array", "items": {"type": "object", "properties": {"content": _STRING}}}},
    "WebFetch": {"url": {"type": "string", "format": "uri"}, "prompt": _STRING},
    "Write": {"file_path": _STRING, "content": _STRING},
    "mcp__a_server_with_quite_a_long_name__a_tool_with_an_even_longer_name_than_that": {"query": _STRING},
}
LONG_TOOL = list(_TOOLS)[-1]


def request(model: str, *, thinking: Json, signature: str = "", effort: str | None = "medium") -> Json:
    """A request in the middle of the work, with a tool's result at its end.

    Args:
        model: whom to ask.
        thinking: how the model is to think.
        signature: that of its last thought.
        effort: how much to think; None: not said.
    """
    reminder = "<system-reminder>\nAs you answer, keep the instructions of CLAUDE.md in mind.\n</system-reminder>"
    thought = {"type": "thinking", "thinking": "I list the files.", "signature": signature}
    call = {"type": "tool_use", "id": "toolu_01A", "name": "Bash", "input": {"command": "ls"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_01A", "content": "main.py\ntests", "is_error": False}
    return {
        "model": model,
        "max_tokens": 32_000,
        "stream": True,
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.0; cc_entrypoint=cli;"},
            {"type": "text", "text": "You are Claude Code, a command line tool.", **_CACHED},
            {"type": "text", "text": "You help people with software. " * 600, **_CACHED},
        ],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": reminder}, {"type": "text", "text": "List it."}]},
            {"role": "assistant", "content": [thought, {"type": "text", "text": "I look."}, call]},
            {"role": "user", "content": [{**result, **_CACHED}]},
        ],
        "tools": [_tool(name, properties) for name, properties in _TOOLS.items()],
        "thinking": thinking,
        "metadata": {
            "user_id": json.dumps({"device_id": "d" * 64, "account_uuid": "", "session_id": "5" * 36}),
        },
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        **({"output_config": {"effort": effort}} if effort else {}),
    }


def _tool(name: str, properties: Json) -> Json:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": properties,
        "required": list(properties)[:1],
        "additionalProperties": False,
    }
    return {"name": name, "description": f"{name} does its work. " * 100, "input_schema": schema}
