"""The built-in chains as a server publishes them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langserve import RemoteRunnable

from tests.conftest import UPSTREAM_KEY, Server, WarmServer
from tests.fake_openai import FakeOpenAI, Reply, ToolCall
from tests.media import png

Json = dict[str, Any]
HELLO: Json = {"messages": [HumanMessage("hello")]}
PERSON: Json = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


@dataclass
class Case:
    """How a chain is used.

    Attributes:
        name: the chain's.
        given: its input.
        said: its text, or its output.
        replies: what the model says, if not what it says to everything.
    """

    name: str
    given: Json
    said: Any
    replies: list[Reply] = field(default_factory=list)


CASES = [
    Case("chat", HELLO, "Hi!", [Reply(content="Hi!")]),
    Case(
        "rag",
        {"messages": [HumanMessage("How long is the guarantee of the Zephyr kettle?")]},
        "It is three years [1].\n\nSources:\n[1] {documents}/kettle.md, line 1",
        [Reply(content="It is three years [1].")],
    ),
    Case(
        "agent",
        {"messages": [HumanMessage("What is 12 times 7?")]},
        "It is 84.",
        [Reply(tool_calls=[ToolCall("calculator", {"expression": "12 * 7"})]), Reply(content="It is 84.")],
    ),
    Case(
        "extract",
        {"text": "Bob is here.", "output_schema": PERSON},
        {"name": "Bob"},
        [Reply(content='{"name": "Bob"}')],
    ),
    Case("summarize", {"text": "Ada came. Ada left."}, "Ada came and left.", [Reply(content="Ada came and left.")]),
    Case("vision", {"image": base64.b64encode(png()).decode()}, "A square.", [Reply(content="A square.")]),
    Case("compare", {"prompt": "Hello?", "models": ["openai/gpt-4o"]}, None, [Reply(content="Hi!")]),
]


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture
def remote(chain_server: Server, case: Case, upstream: FakeOpenAI) -> Callable[[], RemoteRunnable]:
    """The chain from afar, its model's replies in place."""

    def ready() -> RemoteRunnable:
        upstream.reset()
        upstream.enqueue(*case.replies)
        return RemoteRunnable(f"{chain_server.url}/chains/{case.name}/")

    return ready


def check(output: Any, case: Case, documents: Path) -> None:
    if case.name == "compare":
        (result,) = output["results"]
        assert (result["model"], result["answer"]) == ("openai/gpt-4o", "Hi!")
        assert result["completion_tokens"] > 0
    elif isinstance(case.said, str):
        assert isinstance(output, AIMessage)
        assert output.content == case.said.replace("{documents}", str(documents))
    else:
        assert output == case.said


def test_from_afar(remote: Callable[[], RemoteRunnable], case: Case, documents: Path) -> None:
    check(remote().invoke(case.given), case, documents)
    check(remote().batch([case.given])[0], case, documents)
    check(summed(list(remote().stream(case.given))), case, documents)


async def test_from_afar_async(remote: Callable[[], RemoteRunnable], case: Case, documents: Path) -> None:
    check(await remote().ainvoke(case.given), case, documents)
    check((await remote().abatch([case.given]))[0], case, documents)
    check(summed([chunk async for chunk in remote().astream(case.given)]), case, documents)


def summed(chunks: list[Any]) -> Any:
    total = chunks[0]
    for chunk in chunks[1:]:
        total += chunk
    return total


def test_sources_and_steps_come_along(chain_server: Server, upstream: FakeOpenAI, documents: Path) -> None:
    rag, agent = CASES[1], CASES[2]
    upstream.enqueue(*rag.replies)
    answer = RemoteRunnable(f"{chain_server.url}/chains/rag/").invoke(rag.given)
    (source,) = answer.additional_kwargs["sources"]
    assert source["source"] == str(documents / "kettle.md")
    upstream.enqueue(*agent.replies)
    answer = RemoteRunnable(f"{chain_server.url}/chains/agent/").invoke(agent.given)
    assert answer.additional_kwargs["reasoning_content"] == "calculator(expression='12 * 7')\ncalculator: 84\n"
    assert answer.usage_metadata["input_tokens"] > 0


def test_the_schemas_have_descriptions_and_examples(chain_server: Server, case: Case) -> None:
    schema = httpx.get(f"{chain_server.url}/chains/{case.name}/input_schema", trust_env=False).json()
    assert all(field["description"] and field["examples"] for field in schema["properties"].values())


def read_until_killed(answer: httpx.Response, server: WarmServer) -> None:
    for _ in answer.iter_lines():
        server.kill()


@pytest.mark.usefixtures("warm_python")
def test_a_killed_server_goes_on_with_the_thread(tmp_path: Path, data_dir: Path, upstream: FakeOpenAI) -> None:
    (tmp_path / "data").mkdir()
    environment = {
        "LAS_DATA_DIR": str(tmp_path / "data"),
        "LAS_MODEL": "openai/gpt-4o",
        "OPENAI_API_KEY": UPSTREAM_KEY,
        "OPENAI_BASE_URL": upstream.url,
    }

    def body(text: str) -> Json:
        thread = {"configurable": {"thread_id": "t"}}
        return {"input": {"messages": [{"role": "user", "content": text}]}, "config": thread}

    with WarmServer(environment=environment) as server:
        upstream.enqueue(Reply(content="Hello Bob."), Reply(chunks=["word "] * 200, chunk_delay=0.1))
        chat = f"{server.url}/chains/chat"
        httpx.post(f"{chat}/invoke", json=body("I am Bob."), timeout=60, trust_env=False).raise_for_status()
        with (
            httpx.stream("POST", f"{chat}/stream", json=body("Tell me a story."), timeout=60, trust_env=False) as story,
            pytest.raises(httpx.RemoteProtocolError),
        ):
            read_until_killed(story, server)
    with WarmServer(environment=environment) as server:
        answer = httpx.post(f"{server.url}/chains/chat/invoke", json=body("Who am I?"), timeout=60, trust_env=False)
    assert answer.status_code == 200
    said = [message["content"] for message in upstream.last.body["messages"] if message["role"] != "system"]
    assert said == ["I am Bob.", "Hello Bob.", "Tell me a story.", "Who am I?"]


def test_an_error_of_the_model_is_the_chains(chain_server: Server, case: Case, upstream: FakeOpenAI) -> None:
    if case.name == "compare":
        pytest.skip("it tells of each model's error in its result")
    upstream.enqueue(*[Reply(status=401)] * 3)
    body = json.dumps({"input": _plain(case.given), "config": {}})
    path = f"{chain_server.url}/chains/{case.name}/invoke"
    response = httpx.post(path, content=body, headers={"content-type": "application/json"}, timeout=60, trust_env=False)
    assert response.status_code == 401, response.text
    assert response.json()["error"]["code"] == "invalid_api_key"


def _plain(given: Json) -> Json:
    if "messages" not in given:
        return given
    return {"messages": [{"role": "user", "content": message.content} for message in given["messages"]]}
