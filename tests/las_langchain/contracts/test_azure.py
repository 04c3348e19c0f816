"""Azure OpenAI: what a deployment gets, and what the caller gets of its answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from las_langchain import errors
from las_langchain.provider_rows import PROVIDERS
from las_langchain.providers import Target
from tests.fake_azure import CONTENT_FILTERED, KEY, TOKEN, FakeAzure, Reply, ToolCall
from tests.las_langchain.contracts.cases import PNG, WAYS, ask, asked, by, embed, failure, shown, target_of
from tests.las_langchain.contracts.round_trips import (
    EMBEDDING_WAYS,
    FAULT_WAYS,
    STREAMS,
    TOOL_REQUEST,
    call,
    check_stream,
    check_text,
    no_variables,
    nobody_else_asked,
    sent,
    stream,
    use_tool,
)

__all__ = ["by", "no_variables", "nobody_else_asked"]

pytestmark = pytest.mark.usefixtures("by")

VERSION = "2024-10-21"
CHAT = "azure/my-chat"
VECTORS = "azure/my-vectors"
MODELS = {**dict.fromkeys(WAYS, CHAT), **dict.fromkeys(EMBEDDING_WAYS, VECTORS)}


@pytest.fixture(scope="module")
def running() -> Iterator[FakeAzure]:
    with FakeAzure() as double:
        yield double


@pytest.fixture
def double(running: FakeAzure) -> FakeAzure:
    running.reset()
    return running


def of(double: FakeAzure, model: str = CHAT, **provider: Any) -> Target:
    """Where calls of a deployment of the double go."""
    given = {"api_key": KEY, "base_url": double.url, "options": {"api_version": VERSION}, **provider}
    return target_of(model, **given)


@pytest.mark.parametrize("way", WAYS)
async def test_a_plain_request_and_its_answer(double: FakeAzure, way: str) -> None:
    body = asked("hello there", temperature=0.5, metadata={"trace": "1"})
    said = await ask(of(double, headers={"x-team": "red"}), body, way)
    assert (said.content, said.finish_reason, said.tokens) == ("Echo: hello there", "stop", (2, 3, 5))
    (got,) = double.requests
    assert (got.method, got.raw_path) == ("POST", "/openai/deployments/my-chat/chat/completions")
    assert got.query == {"api-version": VERSION}
    assert (got.headers["api-key"], got.headers["x-team"]) == (KEY, "red")
    assert "authorization" not in got.headers
    assert got.body == sent(body, way in STREAMS, model="my-chat")


def test_a_stream_is_as_openai_sends_it(double: FakeAzure) -> None:
    """Though Azure begins it with what its filter says of the prompt, in a chunk without an id and a choice."""
    double.enqueue(Reply(content="a b c"))
    check_stream(stream(of(double), "hello"), "a b c")


@pytest.mark.parametrize("way", WAYS)
async def test_a_tool_is_called_and_its_result_sent(double: FakeAzure, way: str) -> None:
    called, told = await use_tool(of(double), way)
    assert (called.calls, called.finish_reason) == ([("get_weather", {"city": "Oslo"})], "tool_calls")
    assert (told.content, told.finish_reason) == ("The result is: 4 degrees", "stop")
    assert double.last.body["tools"] == TOOL_REQUEST["tools"]
    _, call, result = double.last.body["messages"]
    assert call["tool_calls"] == called.message["tool_calls"]
    assert result == {"role": "tool", "tool_call_id": call["tool_calls"][0]["id"], "content": "4 degrees"}


@pytest.mark.parametrize("way", WAYS)
async def test_parallel_calls_keep_their_order(double: FakeAzure, way: str) -> None:
    double.enqueue(Reply(tool_calls=[ToolCall("get_weather", {"city": name}, name) for name in ("Oslo", "Rome")]))
    said = await ask(of(double), {**TOOL_REQUEST, "tool_choice": "required"}, way)
    assert [call["id"] for call in said.message["tool_calls"]] == ["Oslo", "Rome"]
    assert said.calls == [("get_weather", {"city": "Oslo"}), ("get_weather", {"city": "Rome"})]
    assert double.last.body["tool_choice"] == "required"


@pytest.mark.parametrize("way", WAYS)
async def test_an_image_is_sent_as_it_is(double: FakeAzure, way: str) -> None:
    said = await ask(of(double), shown("What is this?"), way)
    assert said.content == "Echo: What is this? [image]"
    assert double.last.body["messages"][0]["content"][1] == {"type": "image_url", "image_url": {"url": PNG}}


@pytest.mark.parametrize("way", EMBEDDING_WAYS)
async def test_embeddings(double: FakeAzure, way: str) -> None:
    target = of(double, VECTORS, headers={"x-team": "red"})
    answer = await embed(target, {"input": ["one", "two words"], "dimensions": 4}, way)
    assert [(item["index"], len(item["embedding"])) for item in answer["data"]] == [(0, 4), (1, 4)]
    assert answer["usage"]["prompt_tokens"] == 3
    (got,) = double.requests
    assert (got.raw_path, got.query) == ("/openai/deployments/my-vectors/embeddings", {"api-version": VERSION})
    assert (got.headers["api-key"], got.headers["x-team"]) == (KEY, "red")
    assert (got.body["input"], got.body["dimensions"]) == (["one", "two words"], 4)


async def test_the_version_is_litellms_newest_unless_one_is_set(
    double: FakeAzure, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(of(double, options={}), asked("hello"), "astream")
    assert double.last.query["api-version"] >= "2024-10-21"
    monkeypatch.setenv("AZURE_API_VERSION", "2024-12-01-preview")
    await ask(of(double, options={}), asked("hello"), "acomplete")
    assert double.last.query == {"api-version": "2024-12-01-preview"}
    await embed(of(double, VECTORS, options={}), {"input": "x"}, "aembed")
    assert double.last.query == {"api-version": "2024-12-01-preview"}


@pytest.mark.parametrize("way", [*WAYS, *EMBEDDING_WAYS])
async def test_a_token_of_entra_id_in_place_of_a_key(double: FakeAzure, way: str) -> None:
    options = {"api_version": VERSION, "azure_ad_token": TOKEN}
    target = of(double, MODELS[way], api_key=None, options=options)
    await call(target, way)
    assert double.last.headers["authorization"] == f"Bearer {TOKEN}"
    assert "api-key" not in double.last.headers
    assert TOKEN not in str(double.last.body)
    assert TOKEN not in repr(target)


@pytest.mark.parametrize("way", [*FAULT_WAYS, "aembed"])
async def test_a_wrong_key(double: FakeAzure, way: str) -> None:
    wrong = "wrong-key-0123456789"
    with pytest.raises(errors.AuthenticationError, match="refused the key in AZURE_API_KEY: Access denied") as info:
        await call(of(double, MODELS[way], api_key=wrong), way)
    assert (info.value.status_code, len(double.requests)) == (401, 1)
    check_text(info.value, wrong)


@pytest.mark.parametrize("way", [*FAULT_WAYS, "aembed"])
async def test_an_unknown_deployment(double: FakeAzure, way: str) -> None:
    with pytest.raises(errors.ModelNotFoundError, match="The API deployment for this resource does not") as info:
        await call(of(double, "azure/nobody"), way)
    assert info.value.status_code == 404
    check_text(info.value)


FAULTS: list[tuple[int, type[errors.LASError]]] = [
    (403, errors.PermissionDeniedError),
    (408, errors.APITimeoutError),
    (429, errors.RateLimitError),
    (500, errors.APIError),
    (503, errors.ServiceUnavailableError),
]


@pytest.mark.parametrize("way", [*FAULT_WAYS, "aembed"])
@pytest.mark.parametrize(("status", "kind"), FAULTS)
async def test_faults(double: FakeAzure, status: int, kind: type[errors.LASError], way: str) -> None:
    double.enqueue(Reply(status=status, headers={"retry-after": "7"}))
    with pytest.raises(kind) as info:
        await call(of(double, MODELS[way]), way)
    error = info.value
    assert (error.status_code, error.retry_after, len(double.requests)) == (status, 7, 1)
    check_text(error, KEY)


@pytest.mark.parametrize("way", FAULT_WAYS)
async def test_a_prompt_that_the_filter_stops(double: FakeAzure, way: str) -> None:
    double.enqueue(Reply(status=400, error=CONTENT_FILTERED))
    error = await failure(of(double), asked("hello"), way)
    assert isinstance(error, errors.BadRequestError)
    assert (error.status_code, error.code) == (400, "content_filter")
    check_text(error)


@pytest.mark.parametrize(("after", "way"), [(0, "astream"), (1, "stream"), (2, "astream"), (4, "astream")])
async def test_a_stream_that_is_cut(double: FakeAzure, after: int, way: str) -> None:
    double.enqueue(Reply(content="a b c d e f", cut_after=after))
    error = await failure(of(double), asked("hello"), way)
    assert isinstance(error, errors.APIConnectionError)
    check_text(error)


async def test_an_answer_that_the_filter_stops_says_so(double: FakeAzure) -> None:
    double.enqueue(*[Reply(content="a b", finish_reason="content_filter")] * 2)
    for way in ("acomplete", "astream"):
        assert (await ask(of(double), asked("hello"), way)).finish_reason == "content_filter"


async def test_keys_and_addresses_come_from_the_variables(double: FakeAzure, monkeypatch: pytest.MonkeyPatch) -> None:
    row = PROVIDERS["azure"]
    for base in row.base_url_variables:
        for key in row.key_variables:
            with monkeypatch.context() as variables:
                variables.setenv(base, double.url)
                variables.setenv(key, KEY)
                assert (await ask(target_of(CHAT), asked("hello"), "acomplete")).content == "Echo: hello"
                assert len((await embed(target_of(VECTORS), {"input": "x"}, "aembed"))["data"]) == 1
            assert {request.headers["api-key"] for request in double.requests} == {KEY}
            double.reset()


async def test_settings_come_before_the_variables(double: FakeAzure, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROVIDERS["azure"].base_url_variables:
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in PROVIDERS["azure"].key_variables:
        monkeypatch.setenv(name, "another-key-0123456789")
    assert (await ask(of(double), asked("hello"), "acomplete")).content == "Echo: hello"


@pytest.mark.parametrize("way", [*FAULT_WAYS, "aembed"])
async def test_a_missing_address_names_its_variable(way: str) -> None:
    target = target_of(CHAT, api_key=KEY)
    with pytest.raises(errors.LASError, match="No address for Azure OpenAI: set AZURE_API_BASE") as info:
        await call(target, way)
    assert info.value.status_code == 400
