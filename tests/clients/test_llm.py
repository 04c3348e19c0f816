"""A session of Simon Willison's ``llm``: its library in this process, and its command in one of its own."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import llm
import openai
import pytest
import yaml
from click.testing import CliRunner
from llm.cli import cli
from pydantic import BaseModel

from tests.clients.cases import (
    ABOUT_LYON,
    AGENT,
    BROKEN,
    CHAT,
    COUNT,
    FOUND,
    JOKE,
    LYON,
    LYON_REPLY,
    MODEL,
    RAG,
    SAID,
    WEATHER,
    WEATHER_CALL,
    ChainCase,
)
from tests.conftest import Server
from tests.fake_openai import FakeOpenAI, Reply

RESPONSES, LEGACY = "responses", "legacy"


class City(BaseModel):
    city: str
    population: int


def get_weather(location: str) -> str:
    """Get the current weather"""
    return "22 degrees" if location == "Lyon" else "nothing is known"


@pytest.fixture(autouse=True)
def user_path(chain_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user folder of ``llm``, in which the server's models are written down."""
    known = {"api_base": f"{chain_server.url}/v1", "supports_schema": True, "supports_tools": True, "vision": True}
    models = [{"model_id": name, "model_name": name, **known} for name in (MODEL, AGENT, RAG, JOKE, CHAT)]
    models.append({"model_id": RESPONSES, "model_name": MODEL, "responses": True, **known})
    models.append({"model_id": LEGACY, "model_name": MODEL, "completion": True, **known})
    folder = tmp_path / "llm"
    folder.mkdir()
    (folder / "extra-openai-models.yaml").write_text(yaml.safe_dump(models))
    monkeypatch.setenv("LLM_USER_PATH", str(folder))
    return folder


@pytest.mark.parametrize("stream", [False, True])
def test_prompts(upstream: FakeOpenAI, stream: bool) -> None:
    upstream.enqueue(Reply(usage=COUNT))
    response = llm.get_model(MODEL).prompt("hello", system="Be brief.", stream=stream, temperature=0.5)
    assert list(response) == (["Echo:", " hello"] if stream else ["Echo: hello"])
    assert (response.usage().input, response.usage().output) == (10, 5)
    assert upstream.last.body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert upstream.last.body["temperature"] == 0.5


async def test_prompts_asynchronously(upstream: FakeOpenAI) -> None:
    assert await llm.get_async_model(MODEL).prompt("hello").text() == "Echo: hello"


def test_schemas(upstream: FakeOpenAI) -> None:
    response = llm.get_model(MODEL).prompt(ABOUT_LYON, schema=City)
    assert json.loads(response.text()) == LYON


@pytest.mark.parametrize("stream", [False, True])
def test_tools(upstream: FakeOpenAI, stream: bool) -> None:
    answer = llm.get_model(MODEL).chain(WEATHER, tools=[get_weather], stream=stream)
    assert answer.text() == FOUND


def test_conversations(upstream: FakeOpenAI) -> None:
    conversation = llm.get_model(MODEL).conversation()
    assert conversation.prompt("one").text() == "Echo: one"
    assert conversation.prompt("two").text() == "Echo: two"
    assert [message["content"] for message in upstream.last.body["messages"]] == ["one", "Echo: one", "two"]


def test_attachments(upstream: FakeOpenAI) -> None:
    picture = llm.Attachment(content=b"\x89PNG\r\n\x1a\n", type="image/png")
    assert llm.get_model(MODEL).prompt("What is it?", attachments=[picture]).text() == "Echo: What is it? [image]"


def test_embeddings(chain_server: Server, upstream: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"{chain_server.url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    model = llm.get_embedding_model("text-embedding-3-small")
    assert len(model.embed("a cat")) == 8
    assert [len(vector) for vector in model.embed_multi(["a cat", "a dog"])] == [8, 8]


def test_errors(upstream: FakeOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="max_tokens"):
        llm.get_model(MODEL).prompt("hello", max_tokens=0).text()
    upstream.enqueue(BROKEN)
    pieces = iter(llm.get_model(MODEL).prompt("hello"))
    assert "".join(itertools.islice(pieces, 3)) == SAID
    with pytest.raises(openai.APIError, match="broke"):
        next(pieces)


def test_the_command(chain_server: Server, upstream: FakeOpenAI) -> None:
    command = [sys.executable, "-m", "llm", "-m", MODEL, "hello"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("Echo: hello\n", 0), done.stderr


def test_the_command_goes_on(run: Callable[..., str], upstream: FakeOpenAI) -> None:
    assert run("-m", MODEL, "hello") == "Echo: hello"
    assert run("-c", "--no-stream", "again") == "Echo: again"
    assert [message["content"] for message in upstream.last.body["messages"]] == ["hello", "Echo: hello", "again"]


def test_the_command_on_an_address(run: Callable[..., str], chain_server: Server, upstream: FakeOpenAI) -> None:
    url = f"{chain_server.url}/v1"
    assert MODEL in run("openai", "endpoint", url, "--models").split()
    assert run("openai", "endpoint", url, "-m", MODEL, "hello") == "Echo: hello"


def test_the_command_runs_chains(
    run: Callable[..., str], chain_server: Server, upstream: FakeOpenAI, case: ChainCase
) -> None:
    upstream.enqueue(*case.replies)
    assert run("openai", "endpoint", f"{chain_server.url}/v1", "-m", case.model, case.prompt) == case.text


@pytest.fixture
def run() -> Callable[..., str]:
    """The command in this process, of which each start would take seconds."""

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output.strip()

    return run


@pytest.mark.parametrize("stream", [False, True])
def test_chains_as_models(upstream: FakeOpenAI, case: ChainCase, stream: bool) -> None:
    upstream.enqueue(*case.replies)
    response = llm.get_model(case.model).prompt(case.prompt, stream=stream)
    assert response.text() == case.text
    assert (response.usage().input, response.usage().output) == case.tokens[:2]
    assert response.tool_calls() == []


def test_chains_answer_in_a_schema(upstream: FakeOpenAI, case: ChainCase) -> None:
    upstream.enqueue(*case.replies, LYON_REPLY)
    assert json.loads(llm.get_model(case.model).prompt(case.prompt, schema=City).text()) == LYON


def test_an_agent_takes_tools_of_the_client(upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(tool_calls=[WEATHER_CALL]), Reply(content=FOUND))
    assert llm.get_model(AGENT).chain(WEATHER, tools=[get_weather]).text() == FOUND


def test_responses(upstream: FakeOpenAI) -> None:
    model = llm.get_model(RESPONSES)
    assert "".join(model.prompt("hello")) == "Echo: hello"
    assert model.prompt("hello", stream=False).text() == "Echo: hello"
    assert json.loads(model.prompt(ABOUT_LYON, schema=City).text()) == LYON
    assert model.chain(WEATHER, tools=[get_weather]).text() == FOUND


def test_legacy_completions(upstream: FakeOpenAI) -> None:
    assert llm.get_model(LEGACY).prompt("hello").text() == "Echo: hello"
