"""Chains as models on Anthropic's endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic

from tests.conftest import Server
from tests.fake_openai import FakeOpenAI, Reply, ToolCall

Json = dict[str, Any]
ASK: Json = {"max_tokens": 500, "messages": [{"role": "user", "content": "What is 12 times 7?"}]}


@pytest.fixture
def client(chain_server: Server) -> Iterator[Anthropic]:
    with Anthropic(base_url=chain_server.url, api_key="any", max_retries=0) as client:
        yield client


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("chain", ["agent", "clerk"])
def test_agents(client: Anthropic, upstream: FakeOpenAI, chain: str, streams: bool) -> None:
    tool = (
        ToolCall("calculator", {"expression": "12 * 7"}) if chain == "agent" else ToolCall("weather", {"city": "Rome"})
    )
    upstream.enqueue(Reply(tool_calls=[tool]), Reply(content="It is 84."))
    fields = {**ASK, "model": f"chains/{chain}"}
    if streams:
        with client.messages.stream(**fields) as stream:
            answer: Any = stream.get_final_message()
    else:
        answer = client.messages.create(**fields)
    assert answer.content[-1].text == "It is 84."
    assert {block.type for block in answer.content[:-1]} <= {"thinking"}
    assert (answer.model, answer.stop_reason) == (f"chains/{chain}", "end_turn")
    # What it did on its way comes back with the next question, and does no harm.
    history = [
        *ASK["messages"],
        {"role": "assistant", "content": [block.to_dict() for block in answer.content]},
        {"role": "user", "content": "Thanks."},
    ]
    assert client.messages.create(**{**fields, "messages": history}).content


def test_chains_of_other_kinds(client: Anthropic) -> None:
    answer = client.messages.create(**ASK, model="chains/whole", system="Be brief.", extra_body={"temperature": 0.5})
    assert "12 times 7" in answer.content[-1].text  # type: ignore[union-attr]
    with pytest.raises(anthropic.BadRequestError, match="model: chains/extract takes no chat"):
        client.messages.create(**ASK, model="chains/extract")
    with pytest.raises(anthropic.NotFoundError, match="nothing"):
        client.messages.create(**ASK, model="chains/nothing")


@pytest.mark.parametrize("streams", [False, True])
def test_bugs_of_chains_stay_in_the_log(client: Anthropic, streams: bool) -> None:
    with pytest.raises(anthropic.APIStatusError, match="internal error") as error:
        for _ in client.messages.create(**ASK, model="chains/broken", stream=streams):
            pass
    body: Any = error.value.body
    assert (body["type"], body["error"]["type"]) == ("error", "api_error")
    assert "KeyError" not in str(body)


def test_tokens_for_a_chain_are_those_for_the_default_model(client: Anthropic) -> None:
    messages = ASK["messages"]
    counts = {
        client.messages.count_tokens(model=model, messages=messages).input_tokens
        for model in ("chains/agent", "gpt-4o")
    }
    assert len(counts) == 1


def test_chains_are_asked_for_no_longer_answer_than_their_model_has(client: Anthropic, upstream: FakeOpenAI) -> None:
    """Coding assistants ask for what Claude can, which OpenAI refuses."""
    with client.messages.stream(**{**ASK, "max_tokens": 64_000}, model="chains/chat") as stream:
        assert stream.get_final_message().content
    assert upstream.last.body["max_tokens"] == 16_384


def test_arguments_have_as_many_digits_as_the_model_writes(client: Anthropic, upstream: FakeOpenAI) -> None:
    tool: Any = {"name": "pay", "input_schema": {"type": "object", "properties": {"cents": {"type": "integer"}}}}
    upstream.enqueue(Reply(tool_calls=[ToolCall("pay", '{"cents": 123456789012345678901234567890}', "c1")]))
    (call,) = client.messages.create(**ASK, model="chains/agent", tools=[tool]).content
    assert call.input == {"cents": 123456789012345678901234567890}  # type: ignore[union-attr]


@pytest.mark.parametrize("chain", ["agent", "chat", "clerk"])
def test_refusals_are_told(client: Anthropic, upstream: FakeOpenAI, chain: str) -> None:
    upstream.enqueue(Reply(refusal="I will not."))
    answer = client.messages.create(**ASK, model=f"chains/{chain}")
    assert answer.content[-1].text == "I will not."  # type: ignore[union-attr]
    assert answer.stop_reason == "refusal"
