"""Bodies that cost more to refuse than they cost to send, and numbers that JSON does not have."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import BaseModel, ValidationError

from las_langchain.errors import BadRequestError
from servers.json_bodies import decoded
from servers.las_schemas import ChatRequest, EmbeddingsRequest, VisionRequest
from servers.requests import validated
from tests.conftest import Server

API = "/api/v1/litellm"
MANY = 200_000
HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url + API, timeout=60, trust_env=False) as client:
        yield client


@pytest.mark.parametrize(
    ("schema", "fields"),
    [
        (EmbeddingsRequest, {"input": [{}] * 90_000}),
        (EmbeddingsRequest, {"input": [[""] * MANY]}),
        (ChatRequest, {"messages": [1] * 9_000}),
        (ChatRequest, {"messages": HELLO, "tools": [1] * 128}),
        (ChatRequest, {"messages": HELLO, "stop": [1] * 16}),
        (ChatRequest, {"messages": HELLO, "modalities": [1] * MANY}),
        (ChatRequest, {"messages": HELLO, "metadata": {str(number): 1 for number in range(MANY)}}),
        (ChatRequest, {"messages": HELLO, "logit_bias": {str(number): "x" for number in range(MANY)}}),
        (VisionRequest, {"prompt": "x", "images": [1] * MANY}),
    ],
)
def test_the_first_mistakes_of_many_are_enough(schema: type[BaseModel], fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as error:
        schema.model_validate(fields)
    assert error.value.error_count() < 10


def test_a_million_unknown_fields_are_one_mistake() -> None:
    fields = {f"f{number}": 1 for number in range(MANY)}
    with pytest.raises(BadRequestError, match=r"^Unrecognized request argument supplied: f0$") as error:
        validated(ChatRequest, {"messages": HELLO, **fields})
    assert error.value.param == "f0"


@pytest.mark.parametrize(("method", "path"), [("POST", "/chat/completions"), ("PATCH", "/config")])
def test_a_long_name_is_repeated_only_in_part(http: httpx.Client, method: str, path: str) -> None:
    answer = http.request(method, path, json={"messages": HELLO, "a" * 900_000: 1, "b": "c" * 10_000})
    assert answer.status_code == 400
    assert len(answer.text) < 500
    assert len(answer.json()["error"]["param"]) <= 100


def test_a_long_role_is_repeated_only_in_part(http: httpx.Client) -> None:
    answer = http.post("/chat/completions", json={"messages": [{"role": "x" * 900_000, "content": "x"}]})
    assert answer.json()["error"]["param"] == "messages[0].role"
    assert len(answer.text) < 500


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e+0999", "1" * 400 + ".0", "9" * 400])
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ('"temperature": {}', "temperature"),
        ('"logit_bias": {{"1": {}}}', "logit_bias.1"),
        ('"tools": [{{}}, {{"é": [[{}, 1], 2]}}], "n": 1', "tools[1].é[0][0]"),
    ],
)
def test_numbers_that_are_not_finite_are_named(http: httpx.Client, number: str, fields: str, param: str) -> None:
    content = '{"messages": [{"role": "user", "content": "NaN 1e999"}], ' + fields.format(number) + "}"
    answer = http.post("/chat/completions", content=content, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text
    assert "finite number" in answer.json()["error"]["message"]


def test_settings_take_no_such_numbers_either(http: httpx.Client) -> None:
    content = '{"providers": {"openai": {"options": {"x": NaN}}}}'
    answer = http.patch("/config", content=content, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "providers.openai.options.x")


def test_texts_may_look_like_such_numbers() -> None:
    body = {"a": "NaN Infinity 1e999" + "0" * 400, "b": 1e308, "c": 10**25}
    assert decoded(json.dumps(body).encode()) == body


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("/chat/completions", {"messages": HELLO, "seed": 10**30}, "seed"),
        ("/chat/completions", {"messages": HELLO, "max_tokens": 2**31}, "max_tokens"),
        ("/embeddings", {"input": [10**30]}, "input"),
        ("/embeddings", {"input": [[1, -1]]}, "input"),
        ("/embeddings", {"input": "a", "dimensions": 2**40}, "dimensions"),
    ],
)
def test_integers_that_no_engine_can_hold_are_named(http: httpx.Client, path: str, fields: Any, param: str) -> None:
    answer = http.post(path, json=fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text


def test_a_test_of_a_provider_may_come_in_pieces(http: httpx.Client) -> None:
    def pieces() -> Iterator[bytes]:
        yield b'{"model": "gpt'
        yield b'-4o-mini"}'

    answer = http.post("/providers/openai/test", content=pieces(), headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["model"]) == (200, "openai/gpt-4o-mini")
    assert http.post("/providers/openai/test", content=b"{}").status_code == 415


@pytest.mark.parametrize("model", ["openai/gpt-4o", "local/smollm2-135m-instruct"])
@pytest.mark.parametrize(
    "part",
    [
        5,
        {"type": "text"},
        {"type": "text", "text": 5},
        {"type": "image_url"},
        {"type": "image_url", "image_url": 5},
        {"type": "image_url", "image_url": {"url": 5}},
        {"type": "input_audio", "input_audio": {}},
        {"type": "file", "file": 5},
        {"type": "file", "file": {"name": "a"}},
    ],
)
def test_parts_without_what_they_are_about_are_named(http: httpx.Client, model: str, part: Any) -> None:
    messages = [*HELLO, {"role": "user", "content": [{"type": "text", "text": "see"}, part]}]
    answer = http.post("/chat/completions", json={"model": model, "messages": messages})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "messages[1].content[1]"), answer.text


@pytest.mark.parametrize("path", ["/chat/completions", "/nowhere"])
def test_a_body_without_end_is_not_read_after_its_refusal(server: Server, path: str) -> None:
    head = (
        f"POST {API}{path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    piece = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=20) as client:
        client.sendall(head.encode())
        with pytest.raises(ConnectionError):
            client.sendall(piece * 4000)


def test_a_connection_goes_on_after_a_refusal_of_what_was_read(http: httpx.Client) -> None:
    answer = http.post("/chat/completions", json={})
    assert answer.status_code == 400
    assert "connection" not in answer.headers
