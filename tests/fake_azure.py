"""An Azure OpenAI upstream for tests: deployments, API versions, keys or Entra ID tokens, and content filters.

    with FakeAzure() as upstream:
        upstream.enqueue(Reply(content="Hi"), Reply(status=429, headers={"retry-after": "1"}))
        client = openai.AzureOpenAI(azure_endpoint=upstream.url, api_key=KEY, api_version="2024-10-21")

Beyond that it is OpenAI's double: its checks, its scripts and its obedient model. ``python tests/fake_azure.py
--port 8004`` runs it as a process of its own.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

if __package__ in (None, ""):
    # Run as a script, only this folder is importable, not the package it is.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.fake_openai import FakeOpenAI, Handler, Received, Reply, ToolCall
from tests.fake_server import JSON, Exchange, Refusal, run_as_script

__all__ = ["CONTENT_FILTERED", "DEPLOYMENTS", "KEY", "TOKEN", "FakeAzure", "Received", "Reply", "ToolCall"]

KEY = "0123456789abcdef0123456789abcdef"
TOKEN = "entra-id-token-0123456789"
DEPLOYMENTS = {"gpt-4": "gpt-4-0613", "my-chat": "gpt-4o-2024-08-06", "my-vectors": "text-embedding-3-small"}
"""The deployments with the models behind them."""
_PATH = re.compile(r"/openai/deployments/([^/]+)(/chat/completions|/completions|/embeddings)")
_VERSION = re.compile(r"20\d\d-\d\d-\d\d(-preview)?")
_STREAM_OPTIONS_SINCE = "2024-09-01"
_SAFE = {
    name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")
}  # in the order in which Azure names them
_PROMPT_RESULTS = [{"prompt_index": 0, "content_filter_results": {**_SAFE, "jailbreak": {"filtered": False}}}]
CONTENT_FILTERED: JSON = {
    "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
    "type": None,
    "param": "prompt",
    "code": "content_filter",
    "status": 400,
    "innererror": {
        "code": "ResponsibleAIPolicyViolation",
        "content_filter_result": {**_SAFE, "violence": {"filtered": True, "severity": "high"}},
    },
}
"""The error of a prompt that the filter stops, for a reply with status 400."""
_ERRORS = {
    401: "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key.",
    403: "Access denied due to Virtual Network/Firewall rules.",
    408: "The operation was timeout.",
    429: "Requests to the ChatCompletions_Create Operation have exceeded the call rate limit of your tier.",
    500: "The server had an error while processing your request. Sorry about that!",
    503: "The service is temporarily unable to process your request. Please try again later.",
}


class FakeAzure(FakeOpenAI):
    """The server; start it with ``with`` or ``start()``. A stopped one starts again on the same port."""

    @property
    def url(self) -> str:
        """The endpoint of the resource."""
        return f"http://127.0.0.1:{self.port}"

    def route(self, request: Received) -> Handler:
        """Check a request; gives what answers it."""
        _check_credentials(request.headers)
        found = _PATH.fullmatch(request.path)
        version = request.query.get("api-version", "")
        if not found or not _VERSION.fullmatch(version):
            raise _refusal(404, "404", "Resource not found")
        deployment, path = found.groups()
        if deployment not in DEPLOYMENTS:
            raise _refusal(404, "DeploymentNotFound", "The API deployment for this resource does not exist.")
        body = request.body
        if isinstance(body, dict):
            _check_version(body, version)
            body = {**body, "model": DEPLOYMENTS[deployment]}
        headers = {**request.headers, "authorization": "Bearer any"}
        return super().route(replace(request, path=f"/v1{path}", headers=headers, body=body))

    def stamps(self, exchange: Exchange) -> Mapping[str, str]:
        """The headers of every answer."""
        return {"apim-request-id": exchange.request_id, "x-ms-region": "Sweden Central"}

    def scripted_error(self, reply: Reply) -> JSON:
        """The error that goes with the status of a scripted reply."""
        if reply.status in _ERRORS:
            return {"code": str(reply.status), "message": _ERRORS[reply.status]}
        return super().scripted_error(reply)

    async def send_body(self, exchange: Exchange, reply: Reply, body: JSON) -> None:
        """Send a plain answer with what the content filter says of it."""
        if "choices" in body:
            choices = [{**choice, "content_filter_results": _SAFE} for choice in body["choices"]]
            body = {**body, "choices": choices, "prompt_filter_results": _PROMPT_RESULTS}
        await super().send_body(exchange, reply, body)

    async def send_events(self, exchange: Exchange, reply: Reply, events: Iterator[JSON]) -> None:
        """Send a stream after what the content filter says of the prompt."""
        await super().send_events(exchange, reply, _filtered(events))


def _filtered(events: Iterator[JSON]) -> Iterator[JSON]:
    empty = {"id": "", "object": "", "created": 0, "model": "", "choices": []}
    yield {**empty, "prompt_filter_results": _PROMPT_RESULTS}
    for event in events:
        yield {**event, "choices": [_with_results(choice) for choice in event["choices"]]}


def _with_results(choice: JSON) -> JSON:
    return {**choice, "content_filter_results": _SAFE if choice["delta"].get("content") else {}}


def _check_credentials(headers: Mapping[str, str]) -> None:
    """Refuse a request with neither the resource's key nor a good token."""
    if headers.get("api-key") == KEY:
        return
    if "api-key" in headers or not headers.get("authorization", "").startswith("Bearer "):
        raise _refusal(401, "401", _ERRORS[401])
    if headers["authorization"] != f"Bearer {TOKEN}":
        raise _refusal(401, "Unauthorized", "Access token is missing, invalid, audience is incorrect, or have expired.")


def _check_version(body: JSON, version: str) -> None:
    """Refuse what an API version does not know."""
    if "stream_options" in body and version[:10] < _STREAM_OPTIONS_SINCE:
        raise _refusal(400, "unknown_parameter", "Unrecognized request argument supplied: stream_options")


def _refusal(status: int, code: str, message: str) -> Refusal:
    return Refusal(status, {"code": code, "message": message})


if __name__ == "__main__":
    run_as_script(FakeAzure, "Serve Azure OpenAI's API with an obedient model.")
