"""A session of LangChain's ``ChatOpenAI`` for JavaScript."""

from __future__ import annotations

import pytest

from tests.clients.cases import (
    ABOUT_LYON,
    AGENT,
    COUNT,
    EMBEDDINGS,
    FOUND,
    LOCAL_EMBEDDINGS,
    LYON,
    LYON_REPLY,
    MODEL,
    WEATHER,
    WEATHER_CALL,
    ChainCase,
)
from tests.clients.conftest import NodeClient, NodeSession
from tests.fake_openai import Reply

CALL = {"name": "get_weather", "args": {"location": "Lyon"}}


@pytest.fixture
def step(node_client: NodeClient) -> NodeSession:
    return node_client("langchain_js.mjs")


def test_chats(step: NodeSession) -> None:
    assert step("invoke", Reply(usage=COUNT), model=MODEL, prompt="hello") == {
        "content": "Echo: hello",
        "tool_calls": [],
        "usage": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15},
        "finish_reason": "stop",
    }
    assert step("stream", Reply(usage=COUNT), model=MODEL, prompt="hello") == {
        "content": "Echo: hello",
        "pieces": True,
        "total_tokens": 15,
        "finish_reason": "stop",
        "tool_call_chunks": [],
    }


def test_tools(step: NodeSession) -> None:
    answer = step("tools", model=MODEL, prompt=WEATHER)
    assert answer == {"call": CALL, "isResult": True, "final": FOUND, "streamed": [CALL]}


def test_structured_outputs(step: NodeSession) -> None:
    assert step("structured", model=MODEL, prompt=ABOUT_LYON) == LYON
    assert step("functionCalling", model=MODEL, prompt=ABOUT_LYON) == LYON


@pytest.mark.parametrize(("model", "length"), [(EMBEDDINGS, 8), (LOCAL_EMBEDDINGS, 384)])
def test_embeddings(step: NodeSession, model: str, length: int) -> None:
    assert step("embeddings", model=model) == {"lengths": [length, length], "query": length}


@pytest.mark.parametrize(
    ("reply", "status"),
    [(Reply(status=401), 401), (Reply(status=429, headers={"retry-after": "3600"}), 429), (Reply(status=400), 400)],
)
def test_errors(step: NodeSession, reply: Reply, status: int) -> None:
    assert step("fails", reply, reply, model=MODEL)["status"] == status


def test_more_errors(step: NodeSession) -> None:
    unknown = step("fails", model="nobody/x")
    assert (unknown["status"], unknown["code"]) == (404, "model_not_found")
    hot = step("fails", model=MODEL, temperature=9)
    assert (hot["status"], hot["param"]) == (400, "temperature")


def test_chains_as_models(step: NodeSession, case: ChainCase) -> None:
    given, made, both = case.tokens
    assert step("invoke", *case.replies, model=case.model, prompt=case.prompt) == {
        "content": case.text,
        "tool_calls": [],
        "usage": {"input_tokens": given, "output_tokens": made, "total_tokens": both},
        "finish_reason": "stop",
    }
    assert step("stream", *case.replies, model=case.model, prompt=case.prompt) == {
        "content": case.text,
        "pieces": True,
        "total_tokens": both,
        "finish_reason": "stop",
        "tool_call_chunks": [],
    }


def test_chains_answer_in_a_schema(step: NodeSession, case: ChainCase) -> None:
    assert step("structured", *case.replies, LYON_REPLY, model=case.model, prompt=case.prompt) == LYON


def test_an_agent_takes_tools_of_the_client(step: NodeSession) -> None:
    call = Reply(tool_calls=[WEATHER_CALL])
    answer = step("tools", call, Reply(content=FOUND), call, model=AGENT, prompt=WEATHER)
    assert answer == {"call": CALL, "isResult": True, "final": FOUND, "streamed": [CALL]}


def test_responses(step: NodeSession) -> None:
    answer = step("responses", model=MODEL, prompt="hello")
    assert answer == {"text": "Echo: hello", "streamed": "Echo: hello"}
