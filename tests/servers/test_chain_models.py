"""Chains as models: the OpenAI endpoint before chains, over a socket, with the double as every model behind."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel

from servers.chain_models import chain_models
from tests.conftest import ROOT, UPSTREAM_KEY, Server, WarmServer
from tests.fake_openai import FakeOpenAI, Reply, ToolCall
from tests.servers.model_chains import NAMES

Json = dict[str, Any]
HELLO: list[Any] = [{"role": "user", "content": "cats"}]
USAGE: Json = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}
PRICE = 10 * 2.5e-6 + 4 * 1e-5
"""What that costs with gpt-4o."""
CALL = ToolCall("get_time", {"zone": "UTC"}, "c1")
TOOL: Json = {
    "type": "function",
    "function": {
        "name": "get_time",
        "description": "The time.",
        "parameters": {"type": "object", "properties": {"zone": {"type": "string"}}},
    },
}


@pytest.fixture(scope="session")
def model_server(
    data_dir: Path, tmp_path_factory: pytest.TempPathFactory, _upstream: FakeOpenAI, warm_python: None
) -> Iterator[Server]:
    folder, data = tmp_path_factory.mktemp("models"), tmp_path_factory.mktemp("models-data")
    (data / "models").symlink_to(data_dir / "models")
    named = "\n".join(f'{name} = "tests.servers.model_chains:{name}"' for name in NAMES)
    agent = '[agent]\ntools = ["calculator"]\napprove = ["calculator"]\n'
    toml = f'model = "openai/gpt-4o"\nmax_retries = 0\n[chains]\n{named}\nmissing = "tests.nothing:here"\n{agent}'
    (folder / "las.toml").write_text(toml)
    environment = {
        "LAS_DATA_DIR": str(data),
        "OPENAI_API_KEY": UPSTREAM_KEY,
        "OPENAI_BASE_URL": _upstream.url,
        "PYTHONPATH": str(ROOT),
    }
    with WarmServer(environment=environment, cwd=folder) as running:
        yield running


@pytest.fixture
def http(model_server: Server, _upstream: FakeOpenAI) -> Iterator[httpx.Client]:
    _upstream.reset()
    with httpx.Client(base_url=model_server.url, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture
def client(model_server: Server, _upstream: FakeOpenAI) -> Iterator[OpenAI]:
    _upstream.reset()
    with OpenAI(base_url=f"{model_server.url}/v1", api_key="any", max_retries=0) as client:
        yield client


def asked(http: httpx.Client, chain: str, messages: list[Any] = HELLO, headers: Any = None, **fields: Any) -> Json:
    """The whole answer of a chain."""
    body = {"model": f"chains/{chain}", "messages": messages, **fields}
    response = http.post("/v1/chat/completions", json=body, headers=headers)
    assert response.status_code == 200, response.text
    answer: Json = response.json()
    return {**answer, "headers": response.headers, **answer["choices"][0]}


def streamed(http: httpx.Client, chain: str, messages: list[Any] = HELLO, headers: Any = None, **fields: Any) -> Any:
    """The chunks of a chain's answer, checked for what all streams owe."""
    options = {"stream": True, "stream_options": {"include_usage": True}}
    body = {"model": f"chains/{chain}", "messages": messages, **options, **fields}
    response = http.post("/v1/chat/completions", json=body, headers=headers)
    assert response.status_code == 200, response.text
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    if "error" in chunks[-1]:
        return chunks
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    ends = [chunk["choices"][0]["finish_reason"] for chunk in chunks if chunk["choices"]]
    assert ends[:-1] == [None] * (len(ends) - 1)
    assert ends[-1] is not None
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] is not None
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    return chunks


def joined(chunks: list[Json], field: str = "content") -> str:
    return "".join(chunk["choices"][0]["delta"].get(field) or "" for chunk in chunks if chunk["choices"])


def refused(http: httpx.Client, chain: str, status: int = 400, messages: Any = HELLO, **fields: Any) -> Json:
    """The error of a request that must fail, the same streaming or not."""
    body = {"model": f"chains/{chain}", "messages": messages, **fields}
    errors = []
    for stream in (False, True):
        response = http.post("/v1/chat/completions", json={**body, "stream": stream})
        assert response.status_code == status, response.text
        errors.append(response.json()["error"])
    assert errors[0] == errors[1]
    assert "secret" not in str(errors)
    return errors[0]


def sent(upstream: FakeOpenAI, index: int = -1) -> list[tuple[str, Any]]:
    return [(one["role"], one["content"]) for one in upstream.requests[index].body["messages"]]


class TestText:
    def test_an_lcel_chain_streams_its_text(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        upstream.enqueue(Reply(chunks=["Why ", "do ", "cats?"]), Reply(content="Why do cats?"))
        chunks = streamed(http, "lcel")
        pieces = [chunk["choices"][0]["delta"].get("content") for chunk in chunks if chunk["choices"]]
        assert [piece for piece in pieces if piece] == ["Why ", "do ", "cats?"]
        assert chunks[0]["model"] == "chains/lcel"
        answer = asked(http, "lcel")
        assert answer["message"] == {"role": "assistant", "content": "Why do cats?", "refusal": None}
        assert (answer["finish_reason"], answer["model"]) == ("stop", "chains/lcel")
        assert sent(upstream) == [("user", "Tell a joke about cats")]

    def test_the_first_piece_does_not_wait_for_the_last(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        upstream.enqueue(Reply(chunks=["a ", "b "], chunk_delay=1.5))
        body = {"model": "chains/lcel", "messages": HELLO, "stream": True}
        began = time.perf_counter()
        with http.stream("POST", "/v1/chat/completions", json=body) as answer:
            next(answer.iter_lines())
            assert time.perf_counter() - began < 1.2

    @pytest.mark.parametrize(
        ("chain", "said"),
        [
            ("answer_object", {"name": "cats", "people": 2}),
            ("parts", {"said": "cats!", "more": "yes"}),
        ],
    )
    def test_objects_are_told_as_json_at_the_end(self, http: httpx.Client, chain: str, said: Json) -> None:
        assert json.loads(joined(streamed(http, chain))) == said
        assert json.loads(asked(http, chain)["message"]["content"]) == said

    def test_a_whole_message_and_its_finish_reason(self, http: httpx.Client) -> None:
        answer = asked(http, "whole_message")
        assert answer["message"]["content"] == "You said cats"
        assert answer["message"]["reasoning_content"] == "What was said?"
        assert answer["finish_reason"] == "length"
        chunks = streamed(http, "whole_message")
        assert (joined(chunks), joined(chunks, "reasoning_content")) == ("You said cats", "What was said?")
        assert chunks[-2]["choices"][0]["finish_reason"] == "length"

    @pytest.mark.parametrize("chain", ["lcel", "bare", "busy", "prompted"])
    @pytest.mark.parametrize("reason", ["length", "content_filter"])
    def test_what_is_cut_off_says_so(self, http: httpx.Client, upstream: FakeOpenAI, chain: str, reason: str) -> None:
        reply = Reply(content="Half of", finish_reason=reason)
        upstream.enqueue(reply, reply)
        assert asked(http, chain)["finish_reason"] == reason
        assert streamed(http, chain)[-2]["choices"][0]["finish_reason"] == reason

    def test_nothing_is_an_answer(self, http: httpx.Client) -> None:
        assert asked(http, "silent")["message"]["content"] == ""
        assert streamed(http, "silent")[-2]["choices"][0]["finish_reason"] == "stop"

    def test_a_missing_picture_is_missed_in_the_messages(self, http: httpx.Client) -> None:
        assert refused(http, "vision")["param"] == "messages"

    def test_a_refusal_is_one(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        upstream.enqueue(Reply(refusal="I will not."), Reply(refusal="I will not."))
        message = asked(http, "bare")["message"]
        assert (message["content"], message["refusal"]) == (None, "I will not.")
        assert joined(streamed(http, "bare"), "refusal") == "I will not."

    def test_a_model_that_thinks(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        upstream.enqueue(Reply(content="Yes.", reasoning="Hm."), Reply(content="Yes.", reasoning="Hm."))
        assert joined(streamed(http, "bare"), "reasoning_content") == "Hm."
        assert asked(http, "bare")["message"]["reasoning_content"] == "Hm."


class TestMessages:
    def test_every_role_and_part_arrives(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "ö"}'}}
        broken = {"id": "c2", "type": "function", "function": {"name": "look", "arguments": '{"at": '}}
        picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}}
        sound = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
        file = {"type": "file", "file": {"file_id": "file-1"}}
        messages: list[Any] = [
            {"role": "developer", "content": "Be brief.", "name": "boss"},
            {"role": "system", "content": [{"type": "text", "text": "Be kind."}], "name": "boss"},
            {"role": "user", "name": "ada", "content": [{"type": "text", "text": "Look"}, picture, sound, file]},
            {"role": "assistant", "content": None, "tool_calls": [call, broken]},
            {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "A cat."}]},
            {"role": "tool", "tool_call_id": "c2", "content": "What?"},
            {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]},
            {"role": "user", "content": "And?"},
        ]
        asked(http, "prompted", messages)
        # What providers without the role of a developer are sent in its place is the transport's affair.
        assert [{"content": None, **message} for message in upstream.last.body["messages"][1:]] == messages[1:]
        assert upstream.last.body["messages"][0]["content"] == "Be brief."

    @pytest.mark.parametrize(
        ("message", "param"),
        [
            ({"content": "x"}, "messages[0].role"),
            ({"role": "wizard", "content": "x"}, "messages[0].role"),
            ({"role": "user", "content": None}, "messages[0].content"),
            ({"role": "user", "content": 7}, "messages[0].content"),
            ({"role": "user", "content": [{"text": "x"}]}, "messages[0].content[0]"),
            ({"role": "user", "content": [{"type": "image_url"}]}, "messages[0].content[0]"),
            ({"role": "user", "content": "x", "name": 7}, "messages[0].name"),
            ({"role": "tool", "content": "x"}, "messages[0].tool_call_id"),
            ({"role": "function", "content": "x"}, "messages[0].name"),
            ({"role": "assistant", "tool_calls": [{"function": {}}]}, "messages[0].tool_calls[0].id"),
            ({"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": 7}}]}, "messages[0].tool_calls[0]"),
            ({"role": "assistant", "function_call": 7}, "messages[0].function_call"),
        ],
    )
    def test_what_is_wrong_is_named(self, http: httpx.Client, message: Json, param: str) -> None:
        assert refused(http, "bare", messages=[message])["param"] == param


class TestSteps:
    REPLIES = (
        Reply(content="I look.", reasoning="Hm.", tool_calls=[ToolCall("wait", {"seconds": 0})]),
        Reply(chunks=["It ", "is."]),
    )

    def test_they_are_reasoning_and_no_tool_calls(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        upstream.enqueue(*self.REPLIES, *self.REPLIES)
        chunks = streamed(http, "busy")
        assert "tool_calls" not in str(chunks)
        assert joined(chunks) == "I look.\n\nIt is."
        assert joined(chunks, "reasoning_content") == "Hm.wait(seconds=0)\nwait: waited\n"
        message = asked(http, "busy")["message"]
        assert message["reasoning_content"] == "Hm.wait(seconds=0)\nwait: waited\n"
        assert (message["content"], "tool_calls" in message) == ("I look.\n\nIt is.", False)

    def test_off_leaves_the_models_thoughts(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        with setting(http, chain_steps="off"):
            upstream.enqueue(*self.REPLIES, *self.REPLIES)
            chunks = streamed(http, "busy")
            assert joined(chunks, "reasoning_content") == "Hm."
            assert asked(http, "busy")["message"]["reasoning_content"] == "Hm."

    def test_status_events(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        with setting(http, chain_steps="status"):
            upstream.enqueue(*self.REPLIES, *self.REPLIES)
            chunks = streamed(http, "busy")
            assert joined(chunks, "reasoning_content") == "Hm."
            told = [chunk["event"] for chunk in chunks if "event" in chunk]
            assert all(event["type"] == "status" for event in told)
            assert [event["data"]["description"] for event in told][:2] == ["wait(seconds=0)", "wait: waited"]
            assert [event["data"]["done"] for event in told] == [False, False, True]
            assert asked(http, "busy")["message"]["reasoning_content"] == "Hm.wait(seconds=0)\nwait: waited\n"

    def test_calls_that_nobody_carries_out_are_steps_too(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        upstream.enqueue(Reply(tool_calls=[ToolCall("wait", {"seconds": 1})]))
        chunks = streamed(http, "bound")
        assert "tool_calls" not in str(chunks)
        assert joined(chunks, "reasoning_content") == 'wait({"seconds":1})\n'
        message = asked(http, "odd_calls")["message"]
        assert (message["content"], message["reasoning_content"]) == ("Done.", 'own({"a": 1})\n')


class setting:  # noqa: N801 - reads as a verb
    """Settings of the server for a while."""

    def __init__(self, http: httpx.Client, **changes: Any) -> None:
        self._http, self._changes = http, changes

    def __enter__(self) -> None:
        self._change(self._changes)

    def __exit__(self, *exc_info: object) -> None:
        self._change({"chain_steps": "reasoning", "model": "openai/gpt-4o"})

    def _change(self, changes: Json) -> None:
        answer = self._http.patch("/api/v1/litellm/config", json=changes)
        assert answer.status_code == 200, answer.text


class TestUsage:
    def test_it_is_that_of_all_calls(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        reply = Reply(content="x", usage=USAGE)
        upstream.enqueue(*[reply] * 6)
        for answer in (asked(http, "lcel"), streamed(http, "lcel")[-1]):
            assert {**answer["usage"], **USAGE} == answer["usage"]
            assert answer["usage"]["cost"] == pytest.approx(PRICE)
        answer = asked(http, "deep")
        assert answer["usage"]["total_tokens"] == 28
        assert float(answer["headers"]["x-las-cost"]) == pytest.approx(2 * PRICE)
        assert streamed(http, "deep")[-1]["usage"]["total_tokens"] == 28

    def test_of_an_agent_and_the_model_in_its_tool(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        details = {"completion_tokens_details": {"reasoning_tokens": 3}, "prompt_tokens_details": {"cached_tokens": 2}}
        upstream.enqueue(
            Reply(tool_calls=[ToolCall("think_about", {"text": "cats"})], usage={**USAGE, **details}),
            Reply(content="Nice.", usage=USAGE),
            Reply(content="They are nice.", usage=USAGE),
        )
        usage = streamed(http, "busy")[-1]["usage"]
        assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (30, 12, 42)
        assert usage["completion_tokens_details"]["reasoning_tokens"] == 3
        assert usage["prompt_tokens_details"]["cached_tokens"] == 2
        assert usage["cost"] > 0

    def test_of_another_packages_model(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        upstream.enqueue(Reply(content="Hi", usage=USAGE))
        answer = asked(http, "foreign")
        assert (answer["usage"]["total_tokens"], answer["usage"]["cost"]) == (14, pytest.approx(PRICE))

    def test_embeddings_cost_and_count_no_tokens_of_the_chat(self, http: httpx.Client) -> None:
        answer = asked(http, "embedding")
        assert answer["usage"]["total_tokens"] == 0
        assert answer["usage"]["cost"] > 0

    def test_an_unknown_price_is_no_price(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        with setting(http, model="openai/fake-model"):
            answer = asked(http, "threaded")
        assert "cost" not in answer["usage"]
        assert "x-las-cost" not in answer["headers"]


class TestMemory:
    def test_a_header_or_metadata_names_the_conversation(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        thread = {"x-las-thread": "größe".encode()}
        history: list[Any] = [{"role": "system", "content": "Be brief."}, *HELLO]
        answer = asked(http, "chat", history, thread)
        assert answer["headers"].multi_items().count(("x-las-thread", "größe")) == 1
        history += [answer["message"], {"role": "user", "content": "And dogs?"}]
        asked(http, "chat", history, metadata={"thread_id": "größe"})
        assert [role for role, _ in sent(upstream)] == ["system", "user", "assistant", "user"]
        given = {"input": {"messages": [{"role": "user", "content": "Still?"}]}}
        config = {"configurable": {"thread_id": "größe"}}
        assert http.post("/chains/chat/invoke", json={**given, "config": config}).status_code == 200
        assert [role for role, _ in sent(upstream)] == ["system", "user", "assistant", "user", "assistant", "user"]

    @pytest.mark.parametrize("chain", ["chat", "agent", "busy"])
    def test_a_conversation_that_is_named_late_is_remembered_whole(
        self, http: httpx.Client, upstream: FakeOpenAI, chain: str
    ) -> None:
        thread = {"x-las-thread": f"late-{chain}"}
        history: list[Any] = [{"role": "system", "content": "Be brief."}, *HELLO]
        for question in ("And dogs?", "And birds?"):
            history += [{"role": "assistant", "content": "Yes."}, {"role": "user", "content": question}]
            upstream.enqueue(Reply(content="Yes."))
            asked(http, chain, history, thread)
            assert [one for one in sent(upstream) if one[0] != "system"] == [
                (message["role"], message["content"]) for message in history[1:]
            ]

    def test_the_header_goes_first_and_none_is_none(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        asked(http, "chat", HELLO, {"x-las-thread": "one"}, metadata={"thread_id": "two"})
        asked(http, "chat", HELLO, metadata={"thread_id": "two"})
        assert [role for role, _ in sent(upstream)] == ["system", "user"]
        answer = asked(http, "chat", HELLO, {"x-las-thread": ""}, metadata={"thread_id": ""})
        assert "x-las-thread" not in answer["headers"]

    def test_chains_without_memory_do_not_mind(self, http: httpx.Client) -> None:
        for chain in ("lcel", "bare"):
            answer = asked(http, chain, HELLO, {"x-las-thread": "x" * 300}, metadata={"thread_id": "one"})
            assert "x-las-thread" not in answer["headers"]

    def test_an_agent_in_memory_of_its_own(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        for _ in range(2):
            streamed(http, "busy", HELLO, {"x-las-thread": "busy"})
        assert [role for role, _ in sent(upstream)] == ["user", "assistant", "user"]

    def test_bad_names_and_nothing_new(self, http: httpx.Client) -> None:
        assert refused(http, "chat", metadata={"thread_id": "x" * 201})["param"] == "thread_id"
        history = [*HELLO, {"role": "assistant", "content": "Hi"}]
        assert refused(http, "chat", messages=history, metadata={"thread_id": "x"})["param"] == "messages"

    def test_line_breaks_make_no_headers(self, http: httpx.Client) -> None:
        answer = asked(http, "chat", metadata={"thread_id": "a\r\nx-evil: 1"})
        assert not {"x-evil", "x-las-thread"} & set(answer["headers"])

    def test_people_approve_in_a_conversation(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        call = ToolCall("calculator", {"expression": "6 * 7"}, "c1")
        upstream.enqueue(Reply(tool_calls=[call]), Reply(content="It is 42."))
        thread = {"x-las-thread": "approval"}
        answer = asked(http, "agent", HELLO, thread)
        assert "Waiting for approval of calculator" in answer["message"]["content"]
        assert answer["finish_reason"] == "stop"
        history = [*HELLO, answer["message"], {"role": "user", "content": "approve"}]
        chunks = streamed(http, "agent", history, thread)
        assert joined(chunks) == "It is 42."
        assert "calculator: 42" in joined(chunks, "reasoning_content")


ASKED: Json = {"temperature": 0.5, "top_p": 0.9, "max_completion_tokens": 9, "stop": ["END"], "seed": 7}


class TestSampling:
    @pytest.mark.parametrize("chain", ["lcel", "bare", "busy", "agent", "chat", "deep", "threaded", "prompted"])
    def test_it_reaches_the_chains_model(self, http: httpx.Client, upstream: FakeOpenAI, chain: str) -> None:
        more = {"presence_penalty": 0.5, "frequency_penalty": -0.5, "logit_bias": {"5": -1}}
        asked(http, chain, **ASKED, **more)
        for request in upstream.requests:
            body = request.body
            assert (body["temperature"], body["top_p"], body["stop"], body["seed"]) == (0.5, 0.9, ["END"], 7)
            assert body.get("max_tokens", body.get("max_completion_tokens")) == 9
            assert {**body, **more} == body

    def test_the_authors_word_goes_first(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        asked(http, "warm", **ASKED)
        body = upstream.last.body
        assert (body["temperature"], body.get("max_tokens", body.get("max_completion_tokens"))) == (0.25, 7)
        assert body["top_p"] == 0.9

    def test_what_nothing_takes_has_no_effect(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        labels = {"user": "u", "store": True, "service_tier": "auto", "safety_identifier": "s", "metadata": {"a": "b"}}
        asked(http, "lcel", reasoning_effort="low", verbosity="low", prompt_cache_key="k", **labels)
        assert not upstream.last.body.keys() & {"reasoning_effort", "verbosity"}
        assert asked(http, "answer_object", **ASKED)["finish_reason"] == "stop"
        asked(http, "foreign", **ASKED)

    @pytest.mark.parametrize(
        "fields",
        [
            {"n": 2},
            {"logprobs": True},
            {"audio": {"voice": "alloy", "format": "wav"}},
            {"modalities": ["text", "audio"]},
            {"prediction": {"type": "content", "content": "x"}},
            {"web_search_options": {}},
            {"functions": [{"name": "f"}]},
            {"function_call": {"name": "f"}},
            {"response_format": {"type": "yaml"}},
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": 7}}}},
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"$ref": "http://evil/"}}}},
            {"tool_choice": "required"},
        ],
    )
    def test_what_no_chain_can_do(self, http: httpx.Client, upstream: FakeOpenAI, fields: Json) -> None:
        error = refused(http, "lcel", **fields)
        assert error["param"] == next(iter(fields))
        assert not upstream.requests

    def test_what_asks_for_nothing_is_taken(self, http: httpx.Client) -> None:
        asked(http, "lcel", n=1, logprobs=False, modalities=["text"], tools=[], tool_choice="auto", functions=None)


class City(BaseModel):
    name: str
    people: int


CITY: Json = {"type": "json_schema", "json_schema": {"name": "city", "schema": City.model_json_schema()}}


class TestStructure:
    def test_an_answer_that_fits_is_left_as_it_is(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        said = '{"name":"Rome",  "people": 3}'
        upstream.enqueue(Reply(content=said), Reply(content=f"Here:\n```json\n{said}\n```"))
        assert asked(http, "lcel", response_format=CITY)["message"]["content"] == said
        assert json.loads(joined(streamed(http, "lcel", response_format=CITY))) == json.loads(said)
        assert len(upstream.requests) == 2
        assert json.loads(asked(http, "answer_object", response_format=CITY)["message"]["content"])["people"] == 2
        assert len(upstream.requests) == 2

    def test_any_other_is_put_into_the_schema(self, client: OpenAI, upstream: FakeOpenAI) -> None:
        made = Reply(content='{"name": "Rome", "people": 3}', usage=USAGE)
        upstream.enqueue(Reply(content="Rome has three people.", usage=USAGE), made)
        answer = client.chat.completions.parse(
            model="chains/lcel", messages=HELLO, response_format=City, max_tokens=5, stop=["x"]
        )
        assert answer.choices[0].message.parsed == City(name="Rome", people=3)
        assert answer.usage is not None
        assert answer.usage.total_tokens == 28
        assert "Rome has three people." in str(upstream.last.body["messages"])
        assert not upstream.last.body.keys() & {"max_tokens", "max_completion_tokens", "stop"}

    def test_only_the_json_is_streamed(self, client: OpenAI, upstream: FakeOpenAI) -> None:
        upstream.enqueue(Reply(chunks=["Rome ", "has three."]), Reply(content='{"name": "Rome", "people": 3}'))
        with client.chat.completions.stream(model="chains/lcel", messages=HELLO, response_format=City) as stream:
            assert stream.get_final_completion().choices[0].message.parsed == City(name="Rome", people=3)

    def test_any_object(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        upstream.enqueue(Reply(content="Rome."), Reply(content='{"answer": {"city": "Rome"}}'))
        answer = asked(http, "lcel", response_format={"type": "json_object"})
        assert json.loads(answer["message"]["content"]) == {"city": "Rome"}

    def test_steps_are_still_told(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        upstream.enqueue(*TestSteps.REPLIES, Reply(content='{"name": "Rome", "people": 3}'))
        chunks = streamed(http, "busy", response_format=CITY)
        assert json.loads(joined(chunks)) == {"name": "Rome", "people": 3}
        assert "wait: waited" in joined(chunks, "reasoning_content")

    def test_what_cannot_be_put_is_an_error(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        upstream.enqueue(Reply(content="Rome."), *[Reply(content='{"name": 7}')] * 2)
        body = {"model": "chains/lcel", "messages": HELLO, "response_format": CITY}
        assert http.post("/v1/chat/completions", json=body).status_code == 502
        upstream.enqueue(*[Reply(content="Rome.")] * 3)
        error = http.post("/v1/chat/completions", json=body).json()["error"]
        assert error["message"].endswith("The answer is not JSON: Rome.")

    def test_on_the_embedded_model(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        schema = {"type": "object", "properties": {"colour": {"enum": ["red", "blue"]}}, "required": ["colour"]}
        wanted = {"type": "json_schema", "json_schema": {"name": "c", "schema": schema, "strict": True}}
        with setting(http, model="local/smollm2-135m-instruct"):
            answer = asked(http, "answer_object", response_format=wanted)
        assert json.loads(answer["message"]["content"])["colour"] in ("red", "blue")


class TestClientsTools:
    @pytest.mark.parametrize("chain", ["agent", "asking", "bare"])
    @pytest.mark.parametrize("thread", [None, "tools"])
    def test_a_call_pauses_the_run_and_its_result_goes_on(
        self, http: httpx.Client, upstream: FakeOpenAI, chain: str, thread: str | None
    ) -> None:
        headers = {"x-las-thread": f"{thread}-{chain}"} if thread else None
        upstream.enqueue(Reply(content="Let me see.", tool_calls=[CALL]), Reply(content="It is noon."))
        answer = asked(http, chain, HELLO, headers, tools=[TOOL], parallel_tool_calls=False)
        assert answer["finish_reason"] == "tool_calls"
        (call,) = answer["message"]["tool_calls"]
        assert (call["id"], call["function"]["name"]) == ("c1", "get_time")
        assert json.loads(call["function"]["arguments"]) == {"zone": "UTC"}
        assert TOOL in upstream.last.body["tools"]
        assert upstream.last.body["parallel_tool_calls"] is False
        result = {"role": "tool", "tool_call_id": "c1", "content": "12:00"}
        history = [*HELLO, answer["message"], result]
        assert joined(streamed(http, chain, history, headers, tools=[TOOL])) == "It is noon."
        said = [message for message in upstream.last.body["messages"] if message["role"] != "system"]
        assert [message["role"] for message in said] == ["user", "assistant", "tool"]
        assert said[1]["tool_calls"][0]["id"] == said[2]["tool_call_id"] == "c1"

    @pytest.mark.parametrize("chain", ["agent", "asking", "bare"])
    def test_it_is_streamed_as_openai_does(self, client: OpenAI, upstream: FakeOpenAI, chain: str) -> None:
        upstream.enqueue(Reply(tool_calls=[CALL, ToolCall("get_time", {"zone": "CET"}, "c2")]))
        tools: Any = [TOOL]
        with client.chat.completions.stream(model=f"chains/{chain}", messages=HELLO, tools=tools) as stream:
            choice = stream.get_final_completion().choices[0]
        assert choice.finish_reason == "tool_calls"
        calls = choice.message.tool_calls or []
        assert [(call.id, json.loads(call.function.arguments)["zone"]) for call in calls] == [
            ("c1", "UTC"),
            ("c2", "CET"),
        ]

    def test_of_both_sides_the_servers_come_first(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        upstream.enqueue(Reply(tool_calls=[ToolCall("wait", {"seconds": 0}, "s1"), CALL]), Reply(tool_calls=[CALL]))
        answer = asked(http, "asking", tools=[TOOL])
        assert [call["function"]["name"] for call in answer["message"]["tool_calls"]] == ["get_time"]
        assert answer["message"]["reasoning_content"] == "wait(seconds=0)\nwait: waited\n"
        told = upstream.last.body["messages"]
        assert [call["id"] for call in told[-2]["tool_calls"]] == ["s1"]

    @pytest.mark.parametrize("thread", [None, "both-sides"])
    def test_what_the_servers_found_is_not_asked_for_again(
        self, http: httpx.Client, upstream: FakeOpenAI, thread: str | None
    ) -> None:
        headers = {"x-las-thread": thread} if thread else None
        own = [ToolCall("wait", {"seconds": 0}, f"s{number}") for number in (1, 2)]
        again = ToolCall("get_time", {"zone": "CET"}, "c2")
        upstream.enqueue(Reply(tool_calls=[own[0]]), Reply(tool_calls=[CALL]))
        upstream.enqueue(Reply(tool_calls=[own[1]]), Reply(tool_calls=[again]), Reply(content="Noon."))
        history = list(HELLO)
        for identifier in ("c1", "c2"):
            answer = asked(http, "asking", history, headers, tools=[TOOL])
            (call,) = answer["message"]["tool_calls"]
            history += [answer["message"], {"role": "tool", "tool_call_id": identifier, "content": "12:00"}]
            assert call["id"] == identifier
        assert asked(http, "asking", history, headers, tools=[TOOL])["message"]["content"] == "Noon."
        told = upstream.last.body["messages"]
        made = [call["id"] for message in told for call in message.get("tool_calls", ())]
        assert made == ["s1", "c1", "s2", "c2"]
        assert [message["tool_call_id"] for message in told if message["role"] == "tool"] == made

    def test_they_are_not_put_into_another_conversation(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        upstream.enqueue(Reply(tool_calls=[ToolCall("wait", {"seconds": 0}, "s1")]), Reply(tool_calls=[CALL]))
        call = asked(http, "asking", tools=[TOOL])["message"]
        result = {"role": "tool", "tool_call_id": "c1", "content": "12:00"}
        asked(http, "asking", [{"role": "user", "content": "dogs"}, call, result], tools=[TOOL])
        assert [message["role"] for message in upstream.last.body["messages"]] == ["user", "assistant", "tool"]

    def test_a_choice_that_must_be_made_is_made_in_the_end(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        # The double calls the first tool there is, which is the server's.
        answer = asked(http, "asking", tools=[TOOL], tool_choice="required")
        assert [call["function"]["name"] for call in answer["message"]["tool_calls"]] == ["get_time"]
        assert [tool["function"]["name"] for tool in upstream.last.body["tools"]] == ["get_time"]
        assert len(upstream.requests) < 10

    def test_choices(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        named = {"type": "function", "function": {"name": "get_time"}}
        for choice, expected in ((named, named), ("required", "required"), ("auto", None)):
            upstream.enqueue(Reply(tool_calls=[CALL]))
            asked(http, "asking", tools=[TOOL], tool_choice=choice)
            assert upstream.last.body.get("tool_choice") == expected
        asked(http, "asking", tools=[TOOL], tool_choice="none")
        assert [tool["function"]["name"] for tool in upstream.last.body["tools"]] == ["wait"]
        allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [named]}}
        asked(http, "asking", tools=[TOOL, _named("other")], tool_choice=allowed)
        assert [tool["function"]["name"] for tool in upstream.last.body["tools"]] == ["wait", "get_time"]

    def test_a_forced_choice_is_made_once(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        named = {"type": "function", "function": {"name": "get_time"}}
        upstream.enqueue(Reply(tool_calls=[ToolCall("wait", {"seconds": 0}, "s1")]), Reply(content="Done."))
        asked(http, "asking", tools=[TOOL], tool_choice=named)
        assert "tool_choice" not in upstream.last.body

    @pytest.mark.parametrize("chain", ["lcel", "busy", "bound", "rag", "chat", "answer_object"])
    def test_chains_that_cannot_say_so(self, http: httpx.Client, chain: str) -> None:
        error = refused(http, chain, tools=[TOOL])
        assert error["param"] == "tools"
        assert "takes no tools" in error["message"]

    @pytest.mark.parametrize(("chain", "own"), [("agent", "calculator"), ("asking", "wait")])
    def test_a_name_of_the_servers_own(self, http: httpx.Client, chain: str, own: str) -> None:
        error = refused(http, chain, tools=[TOOL, _named(own)])
        assert error["param"] == "tools"
        assert own in error["message"]

    @pytest.mark.parametrize(
        ("tools", "choice", "param"),
        [
            ([{"type": "custom", "custom": {"name": "x"}}], None, "tools[0]"),
            ([{"type": "function"}], None, "tools[0]"),
            ([TOOL, {"type": "function", "function": {"name": ""}}], None, "tools[1].function.name"),
            ([{"type": "function", "function": {"name": "x", "parameters": 7}}], None, "tools[0].function.parameters"),
            ([TOOL], "always", "tool_choice"),
            ([TOOL], {"type": "function", "function": {"name": "wait"}}, "tool_choice"),
            ([TOOL], {"type": "allowed_tools", "allowed_tools": 7}, "tool_choice"),
            ([TOOL], {}, "tool_choice"),
        ],
    )
    def test_what_is_wrong_is_named(self, http: httpx.Client, tools: Any, choice: Any, param: str) -> None:
        assert refused(http, "asking", tools=tools, tool_choice=choice)["param"] == param

    def test_a_result_of_no_call(self, http: httpx.Client) -> None:
        result = {"role": "tool", "tool_call_id": "nobody", "content": "x"}
        assert refused(http, "agent", messages=[*HELLO, result])["param"] == "messages.1"
        assert refused(http, "agent", messages=[result], metadata={"thread_id": "empty"})["param"] == "messages.0"


def _named(name: str) -> Json:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}


class TestFailures:
    def test_what_is_no_model(self, http: httpx.Client) -> None:
        error = refused(http, "lcell", 404)
        assert (error["code"], error["param"]) == ("model_not_found", "model")
        assert "lcel" in error["message"]
        error = refused(http, "extract")
        assert error["param"] == "model"
        assert "/chains/extract/invoke" in error["message"]
        assert refused(http, "no_chat")["param"] == "model"
        for name in ("missing", "unbuilt"):
            error = refused(http, name, 500)
            assert "secret" not in error["message"]
            assert name in error["message"]

    @pytest.mark.parametrize("chain", ["lcel", "bare", "busy", "threaded", "foreign"])
    @pytest.mark.parametrize("status", [401, 429])
    def test_an_error_before_the_first_output_has_a_status(
        self, http: httpx.Client, upstream: FakeOpenAI, chain: str, status: int
    ) -> None:
        upstream.enqueue(*[Reply(status=status)] * 2)
        error = refused(http, chain, 500 if chain == "foreign" else status)
        assert UPSTREAM_KEY not in str(error)

    def test_a_chains_own_failure_is_not_told(self, http: httpx.Client) -> None:
        assert "internal error" in refused(http, "failing", 500)["message"]
        assert http.post("/v1/chat/completions", json={"model": "chains/late", "messages": HELLO}).status_code == 500
        chunks = streamed(http, "late")
        assert joined(chunks[:-1]) == "So far so good"
        assert "internal error" in chunks[-1]["error"]["message"]
        assert "secret" not in str(chunks)

    def test_a_failure_in_the_middle_of_the_model(self, client: OpenAI, upstream: FakeOpenAI) -> None:
        upstream.enqueue(Reply(chunks=["a ", "b ", "c "], cut_after=3))
        with pytest.raises(openai.APIError):
            list(client.chat.completions.create(model="chains/lcel", messages=HELLO, stream=True))


class TestLeaving:
    SLOW = Reply(chunks=["a "] * 1000, chunk_delay=0.02)

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("chain", ["lcel", "bare", "busy", "threaded", "agent"])
    def test_the_models_connection_is_closed(
        self, http: httpx.Client, upstream: FakeOpenAI, chain: str, stream: bool
    ) -> None:
        # The one in a thread asks its model for the whole answer.
        upstream.enqueue(self.SLOW if stream and chain != "threaded" else Reply(hang=True))
        assert self.left(http, chain, stream, lambda: bool(upstream.requests), upstream) < 0.2

    @pytest.mark.parametrize("stream", [False, True])
    def test_in_the_middle_of_a_tool(self, http: httpx.Client, upstream: FakeOpenAI, stream: bool) -> None:
        upstream.enqueue(Reply(tool_calls=[ToolCall("think_about", {"text": "x"})]), Reply(hang=True))
        assert self.left(http, "busy", stream, lambda: len(upstream.requests) == 2, upstream) < 0.2

    def left(
        self, http: httpx.Client, chain: str, stream: bool, begun: Callable[[], bool], upstream: FakeOpenAI
    ) -> float:
        """Seconds from the client's leaving to the end of the upstream call."""
        body = {"model": f"chains/{chain}", "messages": HELLO, "stream": stream}
        request = http.build_request("POST", "/v1/chat/completions", json=body)
        head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        with socket.create_connection((request.url.host, request.url.port or 80)) as connection:
            connection.sendall(f"POST {request.url.path} HTTP/1.1\r\n{head}\r\n".encode() + request.content)
            self.wait(begun)
            time.sleep(0.1)
            before = upstream.disconnects
        gone = time.perf_counter()
        self.wait(lambda: upstream.disconnects > before)
        return time.perf_counter() - gone

    def wait(self, until: Callable[[], bool]) -> None:
        patience = time.perf_counter() + 20
        while not until():
            assert time.perf_counter() < patience, "it goes on"
            time.sleep(0.002)


def test_chains_are_listed_as_models(service: Any) -> None:
    from chains.registry import ChainRegistry

    registry = ChainRegistry(service, [f"tests.servers.model_chains:{name}" for name in ("lcel", "no_chat", "unbuilt")])
    listed = {model["id"]: model for model in chain_models(registry)}
    assert {"chains/chat", "chains/rag", "chains/agent", "chains/lcel", "chains/unbuilt"} <= listed.keys()
    assert not {"chains/extract", "chains/no_chat"} & listed.keys()
    assert listed["chains/agent"]["name"] == "Agent"
    assert all(model["description"] for model in listed.values())
