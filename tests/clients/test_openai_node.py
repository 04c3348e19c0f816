"""A session of OpenAI's own client for Node."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients.cases import (
    ABOUT_LYON,
    AGENT,
    BROKEN,
    CHAT,
    COUNT,
    EMBEDDINGS,
    FOUND,
    JOKE,
    LOCAL,
    LOCAL_EMBEDDINGS,
    LYON,
    LYON_REPLY,
    MODEL,
    SAID,
    WEATHER,
    WEATHER_CALL,
    WEATHER_TOOL,
    ChainCase,
)
from tests.clients.conftest import NodeClient, NodeSession
from tests.fake_openai import FakeOpenAI, Reply


@pytest.fixture
def step(node_client: NodeClient) -> NodeSession:
    return node_client("openai_node.mjs")


def test_models(step: NodeSession) -> None:
    listed = {model["id"]: model for model in step("models")}
    assert {LOCAL, LOCAL_EMBEDDINGS, MODEL} <= listed.keys()
    described = step("model", model=MODEL)
    assert (described["id"], described["object"], described["owned_by"]) == (MODEL, "model", "openai")


def test_chats(step: NodeSession) -> None:
    whole = step("create", Reply(usage=COUNT), model=MODEL, prompt="hello")
    assert whole["message"]["content"] == "Echo: hello"
    assert whole["message"]["refusal"] is None
    assert (whole["finish_reason"], whole["object"]) == ("stop", "chat.completion")
    assert counted(whole["usage"]) == (10, 5, 15)
    assert step("helper", model=MODEL, prompt="hello") == {
        "content": "Echo: hello",
        "events": ["Echo:", " hello"],
        "finish": "stop",
    }
    assert step("parse", model=MODEL, prompt=ABOUT_LYON) == LYON


def test_headers(step: NodeSession) -> None:
    headers = step("create", Reply(usage=COUNT), model=MODEL, prompt="hello")["headers"]
    assert headers["x-request-id"]
    assert int(headers["openai-processing-ms"]) >= 0
    assert headers["x-las-model"] == MODEL
    assert float(headers["x-las-cost"]) == pytest.approx(10 * 2.5e-6 + 5 * 10e-6)
    assert headers["x-las-thread"] is None


@pytest.mark.parametrize("usage", [True, False])
def test_streams(step: NodeSession, usage: bool) -> None:
    streamed = step("chunks", Reply(content="one two", usage=COUNT), model=MODEL, prompt="hello", usage=usage)
    assert streamed["first"]["role"] == "assistant"
    assert streamed["content"] == "one two"
    assert (streamed["finishes"], streamed["ids"], streamed["toolCalls"]) == (["stop"], 1, False)
    if usage:
        assert (streamed["last"], counted(streamed["usage"]), streamed["counted"]) == ([], (10, 5, 15), 1)
    else:
        assert streamed["counted"] == 0


def test_tools(step: NodeSession) -> None:
    assert step("tools", model=MODEL, prompt=WEATHER) == {"contents": [FOUND, FOUND], "called": ["Lyon", "Lyon"]}
    assert step("handed", model=MODEL, prompt=WEATHER) == {
        "finish": "tool_calls",
        "call": {"name": "get_weather", "arguments": '{"location":"Lyon"}'},
        "content": FOUND,
        "second": "stop",
    }


@pytest.mark.parametrize(("model", "length"), [(EMBEDDINGS, 8), (LOCAL_EMBEDDINGS, 384)])
def test_embeddings(step: NodeSession, model: str, length: int) -> None:
    answer = step("embeddings", model=model)
    assert (answer["lengths"], answer["same"]) == ([length, length], True)
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] > 0


def test_the_embedded_model(step: NodeSession) -> None:
    streamed = step("chunks", model=LOCAL, prompt="What is the capital of France?", temperature=0, max_tokens=12)
    assert "Paris" in streamed["content"]
    assert streamed["last"] == []
    assert streamed["usage"]["completion_tokens"] > 0


@pytest.mark.parametrize(
    ("status", "kind", "seen"),
    [
        (400, "BadRequestError", 400),
        (401, "AuthenticationError", 401),
        (403, "PermissionDeniedError", 403),
        (404, "NotFoundError", 404),
        (422, "BadRequestError", 400),
        (429, "RateLimitError", 429),
        (500, "InternalServerError", 500),
        (503, "InternalServerError", 503),
    ],
)
def test_upstream_errors(step: NodeSession, status: int, kind: str, seen: int) -> None:
    reply = Reply(status=status, headers={"retry-after": "3600"})
    for stream in (False, True):
        error = step("fails", reply, reply, reply, model=MODEL, stream=stream)
        assert (error["kind"], error["status"]) == (kind, seen)


def test_other_errors(step: NodeSession) -> None:
    hot = step("fails", model=MODEL, temperature=9)
    assert (hot["kind"], hot["param"], hot["code"]) == ("BadRequestError", "temperature", "invalid_value")
    unknown = step("fails", model="nobody/x")
    assert (unknown["kind"], unknown["param"], unknown["code"]) == ("NotFoundError", "model", "model_not_found")
    assert step("late", Reply(delay=1), model=MODEL)["kind"] == "APIConnectionTimeoutError"
    assert step("nobody", model=MODEL)["kind"] == "APIConnectionError"
    broken = step("breaks", BROKEN, model=MODEL)
    assert (broken["said"], broken["error"]["kind"]) == (SAID, "APIError")


def test_chains_as_models(step: NodeSession, case: ChainCase) -> None:
    whole = step("create", *case.replies, model=case.model, prompt=case.prompt)
    assert whole["message"]["content"] == case.text
    assert whole["message"].get("reasoning_content") or case.reasoning == ""
    assert "tool_calls" not in whole["message"]
    assert (whole["finish_reason"], whole["model"]) == ("stop", case.model)
    assert counted(whole["usage"]) == case.tokens
    assert whole["headers"]["x-las-model"] == case.model
    streamed = step("chunks", *case.replies, model=case.model, prompt=case.prompt)
    assert streamed["first"]["role"] == "assistant"
    assert (streamed["content"], streamed["reasoning"]) == (case.text, case.reasoning)
    assert (streamed["finishes"], streamed["ids"], streamed["toolCalls"]) == (["stop"], 1, False)
    assert (streamed["last"], counted(streamed["usage"])) == ([], case.tokens)


def test_chains_are_listed(step: NodeSession) -> None:
    listed = {model["id"]: model for model in step("models")}
    assert listed[AGENT]["name"] == "Agent"
    assert listed[AGENT]["description"].startswith("Answers with the help of tools")
    assert listed[JOKE]["name"]


def test_chains_answer_in_a_schema(step: NodeSession, case: ChainCase) -> None:
    assert step("parse", *case.replies, LYON_REPLY, model=case.model, prompt=case.prompt) == LYON


def test_an_agent_takes_tools_of_the_client(step: NodeSession) -> None:
    asked, told = Reply(tool_calls=[WEATHER_CALL]), Reply(content=FOUND)
    answer = step("handed", asked, told, model=AGENT, prompt=WEATHER)
    assert answer["finish"] == "tool_calls"
    assert answer["call"]["name"] == "get_weather"
    assert (answer["content"], answer["second"]) == (FOUND, "stop")
    runs = step("tools", asked, told, asked, told, model=AGENT, prompt=WEATHER)
    assert runs == {"contents": [FOUND, FOUND], "called": ["Lyon", "Lyon"]}
    refused = step("fails", model=JOKE, tools=[{"type": "function", "function": WEATHER_TOOL}])
    assert (refused["kind"], refused["param"]) == ("BadRequestError", "tools")


def test_a_chain_remembers_a_thread(step: NodeSession, upstream: FakeOpenAI) -> None:
    given: Any = {"model": CHAT, "metadata": {"thread_id": "node"}}
    first = step("create", prompt="My name is Ada.", **given)
    assert first["headers"]["x-las-thread"] == "node"
    step("create", prompt="What is my name?", **given)
    said = [message["content"] for message in upstream.last.body["messages"] if message["role"] != "system"]
    assert said == ["My name is Ada.", "Echo: My name is Ada.", "What is my name?"]


def test_responses(step: NodeSession) -> None:
    answer = step("response", model=MODEL, input="hello")
    assert (answer["object"], answer["status"], answer["text"]) == ("response", "completed", "Echo: hello")
    assert (answer["usage"], answer["follows"], answer["again"]) == (True, True, "Echo: And again?")
    assert step("responseStream", model=MODEL, input="hello") == {
        "begins": ["response.created", "response.in_progress"],
        "ends": "response.completed",
        "text": "Echo: hello",
        "numbered": True,
    }
    assert step("responseParse", model=MODEL, input=ABOUT_LYON) == LYON
    tools = step("responseTools", model=MODEL, input=WEATHER)
    assert tools == {"call": {"name": "get_weather", "arguments": '{"location":"Lyon"}'}, "text": FOUND}


def test_responses_of_chains(step: NodeSession, case: ChainCase) -> None:
    streamed = step("responseStream", *case.replies, model=case.model, input=case.prompt)
    assert (streamed["text"], streamed["ends"], streamed["numbered"]) == (case.text, "response.completed", True)


def test_legacy_completions(step: NodeSession) -> None:
    assert step("completions", model=MODEL, prompt="hello") == {
        "object": "text_completion",
        "text": "Echo: hello",
        "finish_reason": "stop",
        "streamed": "Echo: hello",
    }


def test_audio(step: NodeSession) -> None:
    answer = step("audio", speech="openai/tts-1", transcription="openai/whisper-1", input="hello")
    assert (answer["type"], answer["text"]) == ("audio/mpeg", "hello")
    assert answer["bytes"] > 5


def counted(usage: Any) -> tuple[int, int, int]:
    return usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]
