"""What the headers of an answer tell of the call behind it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from starlette.responses import Response

from las_langchain.records import CallRecord
from servers.chat_calls import transport_header
from tests.conftest import Server
from tests.fake_openai import FakeOpenAI

GPT = "openai/gpt-4o"
WIRE = "wire (OpenAI speaks OpenAI's format)"
HELLO = [{"role": "user", "content": "hello"}]
VECTOR = {"model": "openai/text-embedding-3-small", "input": "hello"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": HELLO}),
        ("/api/v1/litellm/chat/completions", {"messages": HELLO}),
        ("/v1/completions", {"prompt": "hello"}),
        ("/v1/responses", {"input": "hello"}),
        ("/v1/messages", {"messages": HELLO, "max_tokens": 20}),
    ],
)
def test_each_endpoint_tells_by_which_transport_the_model_was_asked(
    server: Server, upstream: FakeOpenAI, path: str, body: dict[str, Any], stream: bool
) -> None:
    answer = httpx.post(server.url + path, json={"model": GPT, "stream": stream, **body}, timeout=60, trust_env=False)
    assert answer.status_code == 200
    assert answer.headers["x-las-transport"] == WIRE


@pytest.mark.parametrize(
    ("path", "body", "transport"),
    [
        ("/v1/embeddings", VECTOR, WIRE),
        ("/api/v1/litellm/embeddings", VECTOR, WIRE),
        (
            "/v1/audio/speech",
            {"model": "openai/tts-1", "input": "hello", "voice": "alloy"},
            "litellm (sounds go through litellm)",
        ),
    ],
)
def test_so_do_those_that_do_not_chat(
    server: Server, upstream: FakeOpenAI, path: str, body: dict[str, Any], transport: str
) -> None:
    answer = httpx.post(server.url + path, json=body, timeout=60, trust_env=False)
    assert answer.status_code == 200
    assert answer.headers["x-las-transport"] == transport


@pytest.mark.parametrize("option", ["größe", "中", 'a\r\nset-cookie: "b"', "\ud800", "\x7f"])
def test_whatever_the_reason_names_fits_into_a_header(option: str) -> None:
    record = CallRecord("chat", GPT, GPT)
    assert transport_header(record) == {}
    record.transport = f"litellm (the option {option} is litellm's)"
    ((_, told), *_) = Response(headers=transport_header(record)).raw_headers
    assert told.decode("ascii").isprintable()
    assert len(told) == len(record.transport)
