"""An MCP server that does what it should not, on its standard streams."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

Json = dict[str, Any]
SCHEMAS: dict[str, Any] = {
    "untyped": {},
    "listed": {"type": "array"},
    "die": {"type": "object"},
    "files": {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/A"}},
        "$defs": {"A": {"type": ["string", "null"]}},
    },
    "broken": {"type": "object", "properties": {"x": True}},
    "sound": {"type": "object"},
    "": {"type": "object"},
}


def result(method: str, given: Json) -> Json:
    """The result of a request."""
    if method == "initialize":
        information = {"name": "odd", "version": "1"}
        return {
            "protocolVersion": given["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": information,
        }
    if method == "tools/list":
        return {"tools": [{"name": name, "inputSchema": schema} for name, schema in SCHEMAS.items()]}
    match given["name"]:
        case "die":
            os._exit(3)
        case "files":
            return {
                "content": [
                    {"type": "text", "text": "t" * 40_000},
                    {"type": "resource_link", "uri": "file:///notes.pdf", "name": "b", "mimeType": "application/pdf"},
                    {"type": "image", "data": "iVBORw0KGgo=", "mimeType": "image/png"},
                ]
            }
        case "broken":
            return {"content": "nonsense"}
        case "sound":
            return {"content": [{"type": "audio", "data": "AAAA", "mimeType": "audio/wav"}]}
    return {"content": [{"type": "text", "text": "done"}]}


if __name__ == "__main__":
    print("Starting", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if "id" in request:
            answer = result(request["method"], request.get("params") or {})
            print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": answer}), flush=True)
