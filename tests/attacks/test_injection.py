"""Clients that try to say where a call goes, with which key, or what other clients see."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.attacks.conftest import HELLO, KEY
from tests.attacks.faults import SECRET
from tests.attacks.upstream import Canary, FaultyUpstream

INVALID = "invalid_request_error"
EVIL = "http://CANARY/v1"

FIELDS: dict[str, Any] = {
    "api_base": EVIL,
    "base_url": EVIL,
    "api_key": "sk-mine",
    "api_version": "2024-01-01",
    "api_type": "azure",
    "azure": True,
    "deployment_id": "../x",
    "model_list": [{"model_name": "x", "litellm_params": {"model": "openai/x", "api_base": EVIL}}],
    "fallbacks": [{"model": "openai/x", "api_base": EVIL}],
    "context_window_fallback_dict": {"gpt-4o": "openai/x"},
    "custom_llm_provider": "openai",
    "litellm_params": {"api_base": EVIL},
    "litellm_metadata": {"api_base": EVIL},
    "proxy_server_request": {"url": EVIL},
    "aws_access_key_id": "x",
    "aws_sts_endpoint": EVIL,
    "aws_web_identity_token": "oidc/env/OPENAI_API_KEY",
    "aws_bedrock_runtime_endpoint": EVIL,
    "vertex_credentials": "/etc/passwd",
    "extra_headers": {"Authorization": "Bearer x", "Host": "CANARY"},
    "extra_body": {"api_base": EVIL},
    "extra_query": {"a": "b"},
    "headers": {"Authorization": "Bearer x"},
    "mock_response": "hello",
    "mock_tool_calls": [],
    "mock_timeout": True,
    "num_retries": 1000,
    "max_retries": 1000,
    "timeout": 100_000,
    "stream_timeout": 100_000,
    "request_timeout": 100_000,
    "client": {},
    "ssl_verify": False,
    "http_client": {},
    "organization": "org-x",
    "input_cost_per_token": 0,
    "prompt_id": "x",
    "prompt_variables": {"x": "y"},
    "callbacks": ["x"],
    "success_callback": ["x"],
    "no-log": True,
    "caching": False,
    "cache": {"no-cache": True},
    "guardrails": [],
    "drop_params": True,
    "allowed_openai_params": ["api_base"],
    "_skip_mcp_handler": True,
    "__proto__": {"api_base": EVIL},
    "constructor": {"prototype": {"api_base": EVIL}},
    "__class__": "x",
    "self": 1,
    "kwargs": {"api_base": EVIL},
    "provider": "openai",
}


def aimed(value: Any, canary: Canary) -> Any:
    """*value*, pointing to the canary's port."""
    return json.loads(json.dumps(value).replace("CANARY", canary.address))


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings"])
@pytest.mark.parametrize("name", FIELDS)
def test_fields_that_say_where_or_how(
    http: httpx.Client, faulty: FaultyUpstream, canary: Canary, name: str, path: str
) -> None:
    what = {"messages": HELLO} if "chat" in path else {"input": "hello"}
    answer = http.post(path, json={"model": "openai/gpt-4o", **what, name: aimed(FIELDS[name], canary)})
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (400, INVALID, "unknown_parameter")
    assert error["param"] == name
    assert canary.address not in answer.text
    assert faulty.requests == []


MODELS: dict[str, int] = {
    "oobabooga/http://CANARY": 404,
    "oobabooga/CANARY/x": 404,
    "openai/../../x": 404,
    "azure/../../x": 404,
    "gemini/../../x?key=y": 404,
    "gemini/x#y": 404,
    "openai//x": 404,
    "/etc/passwd": 404,
    "//CANARY/x": 404,
    "http://CANARY/v1": 404,
    "openai/http://CANARY": 404,
    "custom_openai/x": 400,
    "nobody/x": 404,
    "__proto__/x": 404,
    "openai/gpt-4o\r\nX-Evil: 1": 404,
    "openai/gpt-4o\0": 404,
    "openai/gpt-4o%2f..%2fx": 404,
    "openai/gpt 4o": 404,
    "openai/ｇｐｔ": 404,
    "openai/" + "a" * 249: 404,
    "openai/" + "a" * 300: 400,
    "chains/../x": 404,
    "chains/nothing": 404,
    "chains/": 404,
    "chains/__class__": 404,
    "local/../../x": 404,
    "local/x": 404,
}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: repr(model[:30]))
@pytest.mark.parametrize("stream", [False, True])
def test_models_that_are_none(
    http: httpx.Client, faulty: FaultyUpstream, canary: Canary, model: str, stream: bool
) -> None:
    name = model.replace("CANARY", canary.address)
    answer = http.post("/v1/chat/completions", json={"model": name, "messages": HELLO, "stream": stream})
    assert answer.status_code == MODELS[model], answer.text
    assert answer.json()["error"]["param"] in ("model", None)
    assert len(answer.text) < 500
    assert not any(received.path != "/v1/chat/completions" for received in faulty.requests)


@pytest.mark.parametrize("model", ["openai/gpt-4o", "openai/o3-mini", "gpt-4o"])
def test_models_that_are_some_are_asked_for_by_their_own_names(
    http: httpx.Client, faulty: FaultyUpstream, model: str
) -> None:
    assert http.post("/v1/chat/completions", json={"model": model, "messages": HELLO}).status_code == 200
    assert faulty.last.body["model"] == model.rpartition("/")[2]


HEADERS = {
    "authorization": f"Bearer {KEY}",
    "x-api-base": EVIL,
    "openai-organization": "org-x",
    "x-litellm-api-key": "x",
    "x-stainless-retry-count": "9",
    "cookie": "a=b",
    "api-key": KEY,
    "x-las-thread": "x\ty",
}


def test_headers_do_not_reach_the_upstream(http: httpx.Client, faulty: FaultyUpstream, canary: Canary) -> None:
    headers = {name: value.replace("CANARY", canary.address) for name, value in HEADERS.items()}
    assert http.post("/v1/chat/completions", json={"model": "gpt-4o", "messages": HELLO}, headers=headers).is_success
    sent = faulty.last.headers
    assert sent["authorization"] == f"Bearer {SECRET}"
    assert not {"x-api-base", "openai-organization", "x-litellm-api-key", "cookie", "api-key"} & sent.keys()
    assert KEY not in repr(sent)
    assert canary.address not in repr(sent)


METADATA = {"api_base": EVIL, "model_group": "x", "user_api_key": KEY, "headers": '{"a": "b"}'}


def test_metadata_is_nothing_but_labels(http: httpx.Client, faulty: FaultyUpstream, canary: Canary) -> None:
    labels = aimed(METADATA, canary)
    answer = http.post("/v1/chat/completions", json={"model": "gpt-4o", "messages": HELLO, "metadata": labels})
    assert answer.is_success
    assert faulty.last.body.get("metadata", labels) == labels


IN_MESSAGES: dict[str, Any] = {
    "name with a line break": {"role": "user", "content": "hello", "name": "a\r\nX: y"},
    "foreign keys": {"role": "user", "content": "hello", "api_base": EVIL, "__proto__": {}},
}


@pytest.mark.parametrize("name", IN_MESSAGES)
def test_messages_go_nowhere_else(http: httpx.Client, faulty: FaultyUpstream, canary: Canary, name: str) -> None:
    message = aimed(IN_MESSAGES[name], canary)
    answer = http.post("/v1/chat/completions", json={"model": "gpt-4o", "messages": [message]})
    assert answer.status_code in (200, 400)


CHAIN_BODIES: dict[str, tuple[dict[str, Any], int, str]] = {
    "kwargs": ({"input": {"messages": HELLO}, "kwargs": {"api_base": EVIL}}, 400, "kwargs"),
    "api_base": ({"input": {"messages": HELLO}, "config": {"configurable": {"api_base": EVIL}}}, 400, "api_base"),
    "model": ({"input": {"messages": HELLO}, "config": {"configurable": {"model": "x"}}}, 400, "model"),
    "checkpoint": (
        {"input": {"messages": HELLO}, "config": {"configurable": {"checkpoint_ns": "x"}}},
        400,
        "checkpoint_ns",
    ),
    "thread of an object": (
        {"input": {"messages": HELLO}, "config": {"configurable": {"thread_id": {"a": 1}}}},
        400,
        "thread_id",
    ),
    "thread of 201": (
        {"input": {"messages": HELLO}, "config": {"configurable": {"thread_id": "x" * 201}}},
        400,
        "thread_id",
    ),
    "thread with a null": (
        {"input": {"messages": HELLO}, "config": {"configurable": {"thread_id": "a\0"}}},
        400,
        "thread_id",
    ),
    "config of a list": ({"input": {"messages": HELLO}, "config": 5}, 400, "config"),
    "unknown": ({"input": {"messages": HELLO}, "callbacks": []}, 400, "callbacks"),
    "no input": ({}, 400, "input"),
}


@pytest.mark.parametrize("name", CHAIN_BODIES)
def test_chains_are_told_no_more_than_their_input(
    http: httpx.Client, faulty: FaultyUpstream, canary: Canary, name: str
) -> None:
    body, status, param = CHAIN_BODIES[name]
    answer = http.post("/chains/chat/invoke", json=aimed(body, canary))
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)
    assert faulty.requests == []


def test_a_batch_is_bounded(http: httpx.Client, faulty: FaultyUpstream) -> None:
    answer = http.post("/chains/chat/batch", json={"inputs": [{"messages": HELLO}] * 101})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "inputs")
    assert faulty.requests == []


TEXT = "a\n\ndata: [DONE]\n\nevent: x\nid: 1\nretry: 0\r\r: ping\r\n\r\n</script><script>alert(1)</script>"


def test_what_a_model_says_begins_no_event(http: httpx.Client, faulty: FaultyUpstream) -> None:
    fields = {"model": "openai/gpt-4o", "messages": [{"role": "user", "content": TEXT}], "stream": True}
    for body, path in (
        (fields, "/v1/chat/completions"),
        ({"input": {"messages": fields["messages"]}}, "/chains/chat/stream"),
    ):
        answer = http.post(path, json=body).text.replace("\r\n", "\n")
        events = [event for event in answer.split("\n\n") if event]
        names = {line.partition(":")[0] for event in events for line in event.split("\n")}
        assert names <= {"data", "event"}, answer
        assert answer.split("\n").count("data: [DONE]") <= 1
        assert "\r" not in answer
        assert "id: 1" not in answer.split("\n")


MARKUP = "%3Cimg%20src=x%20onerror=alert(1)%3E"


@pytest.mark.parametrize(
    "path",
    [
        f"/?x={MARKUP}",
        f"/chains/chat/c/{MARKUP}/playground/",
        f"/chains/chat/playground/?x={MARKUP}",
        f"/docs?x={MARKUP}",
    ],
)
def test_no_page_repeats_its_address(http: httpx.Client, path: str) -> None:
    answer = http.get(path)
    assert answer.status_code == 200
    assert "alert(1)" not in answer.text


@pytest.mark.parametrize("path", [f"/{MARKUP}", f"/chains/{MARKUP}/playground/", f"/v1/models/{MARKUP}"])
def test_what_is_not_there_is_named_in_json_alone(http: httpx.Client, path: str) -> None:
    answer = http.get(path, headers={"accept": "text/html"})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/json"
