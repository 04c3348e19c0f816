"""OpenAI's older completions, by the official client and plain HTTP: native, as chats, local and by chains."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI
from openai.types import Completion

from tests.conftest import Server
from tests.fake_openai import FakeOpenAI, Reply

NATIVE = "openai/fake-model"
CHATS = "openai/gpt-4o"
LOCAL = "local/smollm2-135m-instruct"


@pytest.fixture
def client(server: Server) -> OpenAI:
    return OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0)


@pytest.fixture
def http(server: Server) -> httpx.Client:
    with httpx.Client(base_url=f"{server.url}/v1", timeout=60, trust_env=False) as client:
        yield client


def events_of(http: httpx.Client, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of a streamed completion, the last of which is checked to be the end."""
    text = http.post("/completions", json={**body, "stream": True}).text
    *lines, last = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    assert last == "[DONE]", text
    return [json.loads(line) for line in lines]


def texts_of(events: list[dict[str, Any]]) -> dict[int, str]:
    """What each choice of a stream says, after the form of every event is checked."""
    texts: dict[int, str] = {}
    finished: dict[int, str] = {}
    for event in events:
        assert event["object"] == "text_completion"
        assert event["id"] == events[0]["id"]
        for choice in event["choices"]:
            assert choice.keys() == {"text", "index", "logprobs", "finish_reason"}
            assert isinstance(choice["text"], str)
            assert choice["index"] not in finished, "nothing comes after the end"
            texts[choice["index"]] = texts.get(choice["index"], "") + choice["text"]
            if choice["finish_reason"]:
                finished[choice["index"]] = choice["finish_reason"]
    assert finished.keys() == texts.keys()
    return texts


FIELDS: dict[str, Any] = {
    "best_of": 3, "echo": True, "frequency_penalty": 0.1, "logit_bias": {"50256": -100}, "logprobs": 2, "max_tokens": 9,
    "n": 2, "presence_penalty": 0.2, "seed": 7, "stop": ["x", "y"], "suffix": "after", "temperature": 0.3, "top_p": 0.4,
    "user": "me",
}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("prompt", ["one", ["one", "two"], [1, 2, 3], [[1, 2], [3]]])
def test_every_field_goes_to_the_providers_own_endpoint(
    client: OpenAI, upstream: FakeOpenAI, prompt: Any, stream: bool
) -> None:
    options = {"stream_options": {"include_usage": True, "include_obfuscation": False}} if stream else {}
    answer = client.completions.create(model=NATIVE, prompt=prompt, stream=stream, **FIELDS, **options)
    list(answer) if stream else None
    assert upstream.last.path == "/v1/completions"
    streamed = {"stream": True, **options} if stream else {}
    assert upstream.last.body == {"model": "fake-model", "prompt": prompt, **FIELDS, **streamed}
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("model", [NATIVE, CHATS])
@pytest.mark.parametrize("echo", [False, True])
def test_several_prompts_with_several_answers_each(
    http: httpx.Client, upstream: FakeOpenAI, model: str, echo: bool
) -> None:
    body = {"model": model, "prompt": ["one two", "three"], "n": 2, "echo": echo, "logprobs": 1}
    answer = http.post("/completions", json=body)
    whole = answer.json()
    Completion.model_validate(whole)
    before = ["one two", "three"] if echo else ["", ""]
    told = ["Echo: one two", "Echo: one two #1", "Echo: three", "Echo: three #1"]
    expected = {index: before[index // 2] + text for index, text in enumerate(told)}
    assert {choice["index"]: choice["text"] for choice in whole["choices"]} == expected
    assert [choice["index"] for choice in whole["choices"]] == [0, 1, 2, 3]
    assert all(len(choice["logprobs"]["tokens"]) > 1 for choice in whole["choices"])
    assert whole["usage"]["prompt_tokens"] == 3
    assert answer.headers["x-las-model"] == model
    events = events_of(http, body)
    assert texts_of(events) == expected
    assert all("usage" not in event for event in events)
    shown = [choice["logprobs"] for event in events for choice in event["choices"] if choice["logprobs"]]
    assert all(set(one) == {"tokens", "token_logprobs", "top_logprobs", "text_offset"} for one in shown)
    assert shown


@pytest.mark.parametrize("model", [NATIVE, CHATS])
def test_usage_comes_last_and_alone_where_it_is_asked_for(http: httpx.Client, upstream: FakeOpenAI, model: str) -> None:
    events = events_of(http, {"model": model, "prompt": ["a b", "c"], "stream_options": {"include_usage": True}})
    *others, last = events
    assert last["choices"] == []
    assert last["usage"]["prompt_tokens"] == 3
    assert all(event["usage"] is None and event["choices"] for event in others)


def test_a_chat_models_prompts_are_messages(client: OpenAI, upstream: FakeOpenAI) -> None:
    client.completions.create(model=CHATS, prompt="hi", temperature=0.3, max_tokens=5, logprobs=2, stop="x", user="me")
    assert upstream.last.path == "/v1/chat/completions"
    assert upstream.last.body == {
        "model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.3, "max_tokens": 5,
        "logprobs": True, "top_logprobs": 2, "stop": "x", "user": "me",
    }  # fmt: skip


CASES: list[tuple[dict[str, Any], int, str | None, str]] = [
    ({"model": CHATS}, 400, "prompt", "Missing required parameter: prompt"),
    ({"model": CHATS, "prompt": []}, 400, "prompt", "at least 1 item"),
    ({"model": CHATS, "prompt": {"a": 1}}, 400, "prompt", "valid list"),
    ({"model": CHATS, "prompt": ["a", 1]}, 400, "prompt", "valid"),
    ({"model": CHATS, "prompt": [1, 2]}, 400, "prompt", "takes texts, not tokens"),
    ({"model": CHATS, "prompt": ["a"] * 257}, 400, "prompt", "at most 256 at once"),
    ({"model": CHATS, "prompt": "a", "max_tokens": 0}, 400, "max_tokens", "expected 1 or more"),
    ({"model": LOCAL, "prompt": "a", "max_tokens": 0}, 400, "max_tokens", "at least one"),
    ({"model": CHATS, "prompt": "a", "suffix": "b"}, 400, "suffix", "fills no gap"),
    ({"model": CHATS, "prompt": "a", "best_of": 2}, 400, "best_of", "set n"),
    ({"model": NATIVE, "prompt": "a", "n": 0}, 400, "n", "greater than or equal to 1"),
    ({"model": NATIVE, "prompt": "a", "best_of": 1, "n": 2}, 400, "best_of", "more choices"),
    ({"model": NATIVE, "prompt": "a", "stream": {}}, 400, "stream", "boolean"),
    ({"model": NATIVE, "prompt": "a", "stream_options": {}}, 400, "stream_options", "only allowed when 'stream'"),
    ({"model": NATIVE, "prompt": "a", "api_base": "http://evil"}, 400, "api_base", "the server's alone"),
    ({"model": NATIVE, "prompt": "a", "extra_body": {"a": 1}}, 400, "extra_body", "the server's alone"),
    ({"model": NATIVE, "prompt": "a", "top_k": 4}, 400, "top_k", "Unrecognized request argument"),
    ({"model": NATIVE, "prompt": "a", "echoo": True}, 400, "echoo", "did you mean 'echo'"),
    ({"model": NATIVE, "messages": [], "prompt": "a"}, 400, "messages", "Unrecognized request argument"),
    ({"model": "openai/missing-model", "prompt": "a"}, 404, None, "does not exist"),
    ({"model": "nobody/x", "prompt": "a"}, 404, "model", "Unknown provider"),
    ({"model": "chains/nothing", "prompt": "a"}, 404, "model", "nothing"),
    ({"model": LOCAL, "prompt": "a", "suffix": "b"}, 400, "suffix", "only goes on"),
    ({"model": LOCAL, "prompt": [10**9]}, 400, None, "invalid tokens"),
    ({"model": LOCAL, "prompt": "a", "n": 100}, 400, "n", "1 to 4"),
]


@pytest.mark.parametrize(("body", "status", "param", "message"), CASES)
def test_bad_requests(
    http: httpx.Client, upstream: FakeOpenAI, body: dict[str, Any], status: int, param: str | None, message: str
) -> None:
    response = http.post("/completions", json=body)
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert (error["param"], message in error["message"]) == (param, True), error


@pytest.mark.parametrize("model", [NATIVE, CHATS])
def test_the_providers_failures_are_told(http: httpx.Client, upstream: FakeOpenAI, model: str) -> None:
    upstream.enqueue(Reply(status=429, headers={"retry-after": "3600"}))
    answer = http.post("/completions", json={"model": model, "prompt": ["a", "b"]})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3600")
    assert answer.json()["error"]["code"] == "rate_limit_exceeded"


BROKEN = {"message": "We broke.", "type": "api_connection_error", "param": None, "code": None}


@pytest.mark.parametrize("model", [NATIVE, CHATS])
@pytest.mark.parametrize("broken", [Reply(content="a b c d", cut_after=4), Reply(error_event=BROKEN, cut_after=4)])
def test_a_stream_that_breaks_says_so(http: httpx.Client, upstream: FakeOpenAI, model: str, broken: Reply) -> None:
    upstream.enqueue(broken)
    text = http.post("/completions", json={"model": model, "prompt": "a", "n": 2, "stream": True}).text
    *_, error, done = [line for line in text.splitlines() if line]
    assert (json.loads(error.removeprefix("data: "))["error"]["type"], done) == ("api_connection_error", "data: [DONE]")
    assert '"finish_reason":"stop"' not in text


def test_leaving_a_stream_ends_the_upstream_call(server: Server, upstream: FakeOpenAI) -> None:
    left = upstream.disconnects
    upstream.enqueue(Reply(content="word " * 400, chunk_delay=0.02))
    with OpenAI(base_url=f"{server.url}/v1", api_key="any") as client:
        stream = client.completions.create(model=NATIVE, prompt="a", stream=True)
        next(iter(stream))
        stream.close()
    for _ in range(200):
        if upstream.disconnects > left:
            return
        httpx.get(f"{server.url}/health", trust_env=False)
    pytest.fail("the upstream call goes on")


def test_the_embedded_model_goes_on_with_the_text_itself(http: httpx.Client) -> None:
    body = {"model": LOCAL, "prompt": "The capital of France is", "max_tokens": 3, "temperature": 0, "logprobs": 2}
    whole = http.post("/completions", json=body).json()
    (choice,) = whole["choices"]
    assert choice["text"].startswith(" Paris")
    assert choice["logprobs"]["tokens"][0] == " Paris"
    assert len(choice["logprobs"]["top_logprobs"][0]) == 2
    assert (choice["finish_reason"], whole["model"]) == ("length", LOCAL)
    assert whole["usage"] == {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    tokens = [504, 3575, 282, 4649, 314]
    for prompt in (["The capital of France is"] * 2, [tokens, tokens]):
        texts = texts_of(events_of(http, {**body, "prompt": prompt, "echo": True, "n": 2}))
        assert sorted(texts) == [0, 1, 2, 3]
        assert all(text.startswith("The capital of France is Paris") for text in texts.values()), texts


def test_a_chain_takes_the_prompt_as_a_message(chain_server: Server) -> None:
    with OpenAI(base_url=f"{chain_server.url}/v1", api_key="any", max_retries=0) as client:
        answer = client.completions.create(model="chains/joke", prompt=["tea", "cake"])
        assert [choice.index for choice in answer.choices] == [0, 1]
        assert all(choice.text for choice in answer.choices)
        with pytest.raises(openai.BadRequestError, match="fills no gap"):
            client.completions.create(model="chains/joke", prompt="tea", suffix="x")
