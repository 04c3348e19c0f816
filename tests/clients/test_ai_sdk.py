"""A session of the Vercel AI SDK, with its provider for OpenAI-compatible endpoints."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients.cases import (
    ABOUT_LYON,
    AGENT,
    BROKEN,
    COUNT,
    EMBEDDINGS,
    FOUND,
    LOCAL_EMBEDDINGS,
    LYON,
    LYON_REPLY,
    MODEL,
    SAID,
    WEATHER,
    WEATHER_CALL,
    ChainCase,
)
from tests.clients.conftest import NodeClient, NodeSession
from tests.fake_openai import Reply


@pytest.fixture
def step(node_client: NodeClient) -> NodeSession:
    return node_client("ai_sdk.mjs")


def test_texts(step: NodeSession) -> None:
    answer = step("generate", Reply(reasoning="I think", usage=COUNT), model=MODEL, prompt="hello")
    assert answer == {
        "text": "Echo: hello",
        "reasoning": "I think",
        "finishReason": "stop",
        "usage": usage(10, 5, 15),
        "toolCalls": 0,
    }
    streamed = step("stream", Reply(reasoning="I think", usage=COUNT), model=MODEL, prompt="hello")
    assert (streamed["text"], streamed["reasoning"], streamed["pieces"]) == ("Echo: hello", "I think", 2)
    assert (streamed["finishReason"], streamed["usage"]) == ("stop", usage(10, 5, 15))
    assert "error" not in streamed["kinds"]


def test_tools(step: NodeSession) -> None:
    assert step("tools", model=MODEL, prompt=WEATHER) == {
        "text": FOUND,
        "steps": ["tool-calls", "stop"],
        "streamed": FOUND,
        "streamedSteps": ["tool-calls", "stop"],
        "called": ["Lyon", "Lyon"],
    }


def test_objects(step: NodeSession) -> None:
    assert step("object", model=MODEL, prompt=ABOUT_LYON) == {"object": LYON, "output": LYON}


@pytest.mark.parametrize(("model", "length"), [(EMBEDDINGS, 8), (LOCAL_EMBEDDINGS, 384)])
def test_embeddings(step: NodeSession, model: str, length: int) -> None:
    answer = step("embed", model=model)
    assert answer["lengths"] == [length, length]
    assert answer["usage"]["tokens"] > 0


@pytest.mark.parametrize(
    ("reply", "status", "code"),
    [
        (Reply(status=401), 401, "invalid_api_key"),
        (Reply(status=429, headers={"retry-after": "3600"}), 429, "rate_limit_exceeded"),
    ],
)
def test_errors(step: NodeSession, reply: Reply, status: int, code: str) -> None:
    error = step("fails", reply, reply, model=MODEL)
    assert (error["kind"], error["status"], error["code"]) == ("APICallError", status, code)


def test_more_errors(step: NodeSession) -> None:
    unknown = step("fails", model="nobody/x")
    assert (unknown["kind"], unknown["status"], unknown["code"]) == ("APICallError", 404, "model_not_found")
    assert step("fails", model=MODEL, temperature=9)["status"] == 400
    broken = step("breaks", BROKEN, model=MODEL)
    assert broken["text"] == SAID
    assert ["broke" in error for error in broken["errors"]] == [True]


def test_chains_as_models(step: NodeSession, case: ChainCase) -> None:
    answer = step("generate", *case.replies, model=case.model, prompt=case.prompt)
    assert (answer["text"], answer.get("reasoning") or "") == (case.text, case.reasoning)
    assert (answer["finishReason"], answer["toolCalls"]) == ("stop", 0)
    assert answer["usage"] == usage(*case.tokens)
    streamed = step("stream", *case.replies, model=case.model, prompt=case.prompt)
    assert (streamed["text"], streamed.get("reasoning") or "") == (case.text, case.reasoning)
    assert (streamed["finishReason"], streamed["usage"]) == ("stop", usage(*case.tokens))
    assert not {"error", "tool-call", "tool-error"} & set(streamed["kinds"])


def test_chains_answer_in_a_schema(step: NodeSession, case: ChainCase) -> None:
    replies = (*case.replies, LYON_REPLY) * 2
    assert step("object", *replies, model=case.model, prompt=case.prompt) == {"object": LYON, "output": LYON}


def test_an_agent_takes_tools_of_the_client(step: NodeSession) -> None:
    replies = [Reply(tool_calls=[WEATHER_CALL]), Reply(content=FOUND)] * 2
    answer = step("tools", *replies, model=AGENT, prompt=WEATHER)
    assert (answer["text"], answer["streamed"], answer["called"]) == (FOUND, FOUND, ["Lyon", "Lyon"])
    assert answer["steps"] == answer["streamedSteps"] == ["tool-calls", "stop"]


def test_legacy_completions(step: NodeSession) -> None:
    answer = step("completion", Reply(content="Hi"), model=MODEL, prompt="hello")
    assert answer == {"text": "Hi", "finishReason": "stop"}


def usage(given: int, made: int, both: int) -> dict[str, Any]:
    return {"inputTokens": given, "outputTokens": made, "totalTokens": both}
