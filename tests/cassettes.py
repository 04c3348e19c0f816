"""How the cassettes of LangChain's standard suites are kept: so that people can read them."""

from __future__ import annotations

from typing import Any

from vcr.request import Request


def readable_cassettes() -> dict[str, Any]:
    """The configuration of cassettes that hold neither keys nor the port that a server had."""
    return {
        "serializer": "json",
        "match_on": ["method", "path", "body"],
        "before_record_request": _asked,
        "before_record_response": _answered,
        "allow_playback_repeats": True,
    }


def _asked(request: Request) -> Request:
    request.uri = f"http://upstream{request.path}"
    request.headers = {"content-type": "application/json"}
    return request


def _answered(response: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in response["headers"].items() if name.lower() == "content-type"}
    return {**response, "headers": kept}
