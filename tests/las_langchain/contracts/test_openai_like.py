"""Groq, OpenRouter, Hugging Face, Together, DeepSeek and vLLM: what they get, and what the caller gets of theirs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from las_langchain import errors
from las_langchain.provider_rows import PROVIDERS
from las_langchain.providers import Target, resolve
from las_langchain.settings import load_settings
from tests.fake_openai_like import DIALECTS, KEY, FakeOpenAILike, Reply, ToolCall
from tests.las_langchain.contracts.cases import (
    PNG,
    WAYS,
    ask,
    asked,
    by,
    embed,
    failure,
    only_litellm,
    shown,
    target_of,
)
from tests.las_langchain.contracts.round_trips import (
    EMBEDDING_WAYS,
    FAULT_WAYS,
    STREAMS,
    TOOL_REQUEST,
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

SEES = [name for name in DIALECTS if "vision" in PROVIDERS[name].features]
EMBEDS = {"together_ai": "BAAI/bge-base-en-v1.5", "vllm": "BAAI/bge-m3"}
# litellm asks OpenRouter for the price with every request.
EXTRA: dict[str, dict[str, Any]] = {"openrouter": {"usage": {"include": True}}}
SCHEMA = {
    "name": "city",
    "schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture(scope="module", params=list(DIALECTS))
def running(request: pytest.FixtureRequest) -> Iterator[FakeOpenAILike]:
    with FakeOpenAILike(request.param) as double:
        yield double


@pytest.fixture
def double(running: FakeOpenAILike) -> FakeOpenAILike:
    running.reset()
    return running


def only(*names: str) -> pytest.MarkDecorator:
    """Run a test for these providers."""
    return pytest.mark.parametrize("running", names, indirect=True)


def of(double: FakeOpenAILike, model: str | None = None, **provider: Any) -> Target:
    """Where calls of a model of this double go; by default its first one, with its key."""
    given = {"api_key": KEY, "base_url": double.url, **provider}
    return target_of(f"{double.name}/{model or double.dialect.models[0]}", **given)


@pytest.mark.parametrize("way", WAYS)
async def test_a_plain_request_and_its_answer(double: FakeOpenAILike, way: str) -> None:
    said = await ask(of(double, headers={"x-team": "red"}), asked("hello there", temperature=0.5), way)
    assert (said.content, said.finish_reason, said.tokens) == ("Echo: hello there", "stop", (2, 3, 5))
    (got,) = double.requests
    assert (got.method, got.raw_path, got.query) == ("POST", f"{double.dialect.base_path}/chat/completions", {})
    assert (got.headers["authorization"], got.headers["x-team"]) == (f"Bearer {KEY}", "red")
    assert got.headers["content-type"] == "application/json"
    extra = {"model": double.dialect.models[0], **EXTRA.get(double.name, {})}
    assert got.body == sent(asked("hello there", temperature=0.5), way in STREAMS, **extra)


def test_a_stream_is_as_openai_sends_it(double: FakeOpenAILike) -> None:
    double.enqueue(Reply(content="a b c", reasoning="why not"))
    check_stream(stream(of(double), "hello"), "a b c")


@pytest.mark.parametrize("way", WAYS)
async def test_a_tool_is_called_and_its_result_sent(double: FakeOpenAILike, way: str) -> None:
    called, told = await use_tool(of(double), way)
    assert (called.calls, called.finish_reason) == ([("get_weather", {"city": "Oslo"})], "tool_calls")
    assert (told.content, told.finish_reason) == ("The result is: 4 degrees", "stop")
    first, second = double.requests
    assert first.body["tools"] == second.body["tools"] == TOOL_REQUEST["tools"]
    question, call, result = second.body["messages"]
    assert question == TOOL_REQUEST["messages"][0]
    assert call["tool_calls"] == called.message["tool_calls"]
    assert result == {"role": "tool", "tool_call_id": call["tool_calls"][0]["id"], "content": "4 degrees"}


@pytest.mark.parametrize("way", WAYS)
async def test_parallel_calls_keep_their_order(double: FakeOpenAILike, way: str) -> None:
    double.enqueue(Reply(tool_calls=[ToolCall("get_weather", {"city": name}, name) for name in ("Oslo", "Rome")]))
    said = await ask(of(double), {**TOOL_REQUEST, "tool_choice": "required"}, way)
    assert said.calls == [("get_weather", {"city": "Oslo"}), ("get_weather", {"city": "Rome"})]
    assert [call["id"] for call in said.message["tool_calls"]] == ["Oslo", "Rome"]
    assert double.last.body["tool_choice"] == "required"


@only(*SEES)
@pytest.mark.parametrize("way", WAYS)
async def test_an_image_is_sent_as_it_is(double: FakeOpenAILike, way: str) -> None:
    said = await ask(of(double), shown("What is this?"), way)
    assert said.content == "Echo: What is this? [image]"
    assert double.last.body["messages"] == shown("What is this?")["messages"]
    assert double.last.body["messages"][0]["content"][1]["image_url"]["url"] == PNG


@only(*(name for name in DIALECTS if name not in SEES))
async def test_an_image_is_never_left_out(double: FakeOpenAILike) -> None:
    try:
        await ask(of(double), shown("What is this?"), "acomplete")
    except errors.BadRequestError:
        assert not double.requests
    else:
        assert double.last.body["messages"] == shown("What is this?")["messages"]


@only(*EMBEDS)
@pytest.mark.parametrize("way", EMBEDDING_WAYS)
async def test_embeddings(double: FakeOpenAILike, way: str) -> None:
    target = of(double, EMBEDS[double.name], headers={"x-team": "red"})
    answer = await embed(target, {"input": ["one", "two words"]}, way)
    assert [(item["index"], len(item["embedding"])) for item in answer["data"]] == [(0, 8), (1, 8)]
    assert answer["data"][0]["embedding"] != answer["data"][1]["embedding"]
    assert (answer["model"], answer["usage"]["prompt_tokens"]) == (EMBEDS[double.name], 3)
    (got,) = double.requests
    assert got.raw_path == f"{double.dialect.base_path}/embeddings"
    assert (got.headers["authorization"], got.headers["x-team"]) == (f"Bearer {KEY}", "red")
    assert got.body == {"model": EMBEDS[double.name], "input": ["one", "two words"]}


def test_every_row_that_embeds_is_tested() -> None:
    assert set(EMBEDS) == {name for name in DIALECTS if "embeddings" in PROVIDERS[name].features}


@pytest.mark.parametrize("way", FAULT_WAYS)
async def test_a_wrong_key(double: FakeOpenAILike, way: str) -> None:
    error = await failure(of(double, api_key="wrong-key-0123456789"), asked("hello"), way)
    assert isinstance(error, errors.AuthenticationError)
    assert (error.status_code, len(double.requests)) == (401, 1)
    check_text(error, "wrong-key-0123456789")
    assert (PROVIDERS[double.name].key_variables[:1] or ("",))[0] in str(error)


@pytest.mark.parametrize("way", FAULT_WAYS)
async def test_an_unknown_model(double: FakeOpenAILike, way: str) -> None:
    error = await failure(of(double, "nobody/none"), asked("hello"), way)
    assert isinstance(error, errors.ModelNotFoundError)
    assert (error.status_code, error.code) == (404, "model_not_found")
    check_text(error)


FAULTS: list[tuple[int, type[errors.LASError]]] = [
    (400, errors.BadRequestError),
    (403, errors.PermissionDeniedError),
    (429, errors.RateLimitError),
    (500, errors.APIError),
    (503, errors.ServiceUnavailableError),
]


@pytest.mark.parametrize("way", FAULT_WAYS)
@pytest.mark.parametrize(("status", "kind"), FAULTS)
async def test_faults(double: FakeOpenAILike, status: int, kind: type[errors.LASError], way: str) -> None:
    double.enqueue(Reply(status=status, headers={"retry-after": "7"}))
    error = await failure(of(double), asked("hello"), way)
    assert type(error).__mro__[1] is kind
    assert (error.status_code, error.retry_after, len(double.requests)) == (status, 7, 1)
    check_text(error, KEY)


@pytest.mark.parametrize(("after", "way"), [(0, "astream"), (1, "stream"), (4, "astream")])
async def test_a_stream_that_is_cut(double: FakeOpenAILike, after: int, way: str) -> None:
    double.enqueue(Reply(content="a b c d e f", cut_after=after))
    error = await failure(of(double), asked("hello"), way)
    assert isinstance(error, errors.APIConnectionError)
    assert "start it" not in str(error)
    check_text(error)


@pytest.mark.parametrize(
    ("code", "kind"), [(429, errors.RateLimitError), (503, errors.ServiceUnavailableError), ("gone", errors.APIError)]
)
async def test_an_error_in_a_stream(double: FakeOpenAILike, code: Any, kind: type[errors.LASError]) -> None:
    fault = {"message": "The model fell over.", "type": "server_error", "code": code}
    double.enqueue(Reply(content="a b c d e f", cut_after=3, error_event=fault))
    error = await failure(of(double), asked("hello"), "astream")
    assert isinstance(error, kind)
    assert "The model fell over." in str(error)
    check_text(error)


async def test_keys_and_addresses_come_from_the_variables(
    double: FakeOpenAILike, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, model = PROVIDERS[double.name], f"{double.name}/{double.dialect.models[0]}"
    assert row.base_url_variables
    for base in row.base_url_variables:
        for key in row.key_variables or ("HOSTED_VLLM_API_KEY",):
            with monkeypatch.context() as variables:
                variables.setenv(base, double.url)
                variables.setenv(key, KEY)
                assert (await ask(target_of(model), asked("hello"), "acomplete")).content == "Echo: hello"
            assert double.requests.pop().headers["authorization"] == f"Bearer {KEY}"


async def test_settings_come_before_the_variables(double: FakeOpenAILike, monkeypatch: pytest.MonkeyPatch) -> None:
    row = PROVIDERS[double.name]
    for name in row.base_url_variables:
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in row.key_variables:
        monkeypatch.setenv(name, "another-key-0123456789")
    assert (await ask(of(double), asked("hello"), "acomplete")).content == "Echo: hello"


def test_a_missing_key_names_its_variable(double: FakeOpenAILike) -> None:
    row = PROVIDERS[double.name]
    if not row.keyless:
        with pytest.raises(errors.AuthenticationError, match=f"No key for {row.title}: set {row.key_variables[0]}"):
            target_of(row.example)


@pytest.mark.parametrize("way", WAYS)
async def test_reasoning_is_where_all_providers_have_it(double: FakeOpenAILike, way: str) -> None:
    double.enqueue(Reply(content="a b c", reasoning="why not"))
    said = await ask(of(double), asked("hello"), way)
    assert (said.message["reasoning_content"], said.content) == ("why not", "a b c")
    assert "reasoning" not in said.message


@only_litellm
@only("groq")
@pytest.mark.parametrize("way", WAYS)
async def test_groq_answers_a_schema(double: FakeOpenAILike, way: str) -> None:
    """Groq streams no structured output: litellm asks for it whole, through a tool where the model has no schemas."""
    wanted = asked("Say 'Oslo'", response_format={"type": "json_schema", "json_schema": SCHEMA})
    for model in double.dialect.models:
        said = await ask(of(double, model), wanted, way)
        assert (json.loads(said.content), said.finish_reason) == ({"city": "Oslo"}, "stop")
        assert said.usage
        assert "stream" not in double.last.body


@only("groq")
def test_groq_times_its_answers(double: FakeOpenAILike) -> None:
    chunks = stream(of(double), "hello")
    assert (chunks[-1]["usage"]["prompt_tokens"], chunks[-1]["usage"]["completion_tokens"]) == (1, 2)


@only("openrouter")
async def test_openrouter_is_told_who_calls(double: FakeOpenAILike) -> None:
    await ask(of(double), asked("hello"), "acomplete")
    assert "litellm" not in f"{double.last.headers['http-referer']} {double.last.headers['x-title']}".lower()
    own = {"HTTP-Referer": "https://example.com", "X-Title": "Example"}
    await ask(of(double, headers=own), asked("hello"), "acomplete")
    assert (double.last.headers["http-referer"], double.last.headers["x-title"]) == tuple(own.values())


@only("openrouter")
@pytest.mark.parametrize(
    ("code", "kind"), [(429, errors.RateLimitError), (502, errors.APIError), ("server_error", errors.APIError)]
)
async def test_openrouter_puts_errors_into_good_answers(
    double: FakeOpenAILike, code: Any, kind: type[errors.LASError]
) -> None:
    fault = {"message": "Provider fell over.", "code": code, "metadata": {"provider_name": "Anthropic"}}
    choice = {"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "error", "error": fault}
    head = {"id": "gen-1", "object": "chat.completion", "created": 1, "model": "m", "provider": "Anthropic"}
    for body in ({"error": fault, "user_id": "u"}, {**head, "choices": [choice]}):
        double.enqueue(Reply(raw=json.dumps(body).encode()))
        error = await failure(of(double), asked("hello"), "acomplete")
        assert isinstance(error, kind)
        assert "Provider fell over." in str(error)
        check_text(error)


@only("openrouter")
async def test_openrouter_ends_a_stream_with_an_error(double: FakeOpenAILike) -> None:
    fault = {"error": {"code": 429, "message": "Provider fell over."}}
    end = {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}
    shaped = {"id": "gen-1", "object": "chat.completion.chunk", "created": 1, "model": "m", **fault, "choices": [end]}
    double.enqueue(Reply(content="a b c d", cut_after=3, error_event={"shaped": shaped}))
    error = await failure(of(double), asked("hello"), "astream")
    assert isinstance(error, errors.RateLimitError)


@only("openrouter")
async def test_openrouter_says_what_an_answer_costs(double: FakeOpenAILike) -> None:
    said = await ask(of(double), asked("hello"), "acomplete")
    assert said.usage
    assert said.usage["cost"] == 0.0125


def test_hugging_face_is_not_asked_who_serves_a_model() -> None:
    """Without an address litellm asks the hub, in the way of the event loop, where a model's provider has it."""
    target = resolve(
        "huggingface/Qwen/Qwen2.5-VL-7B-Instruct:together", load_settings(providers={"huggingface": {"api_key": KEY}})
    )
    assert target.api_base == "https://router.huggingface.co/v1"


@only("huggingface")
async def test_hugging_face_takes_the_provider_behind_the_model(double: FakeOpenAILike) -> None:
    model = "Qwen/Qwen2.5-VL-7B-Instruct:together"
    assert (await ask(of(double, model), asked("hello"), "acomplete")).content == "Echo: hello"
    assert double.last.body["model"] == model


@only("deepseek")
@pytest.mark.parametrize("way", WAYS)
async def test_deepseek_counts_what_its_cache_gave(double: FakeOpenAILike, way: str) -> None:
    said = await ask(of(double), asked("hello there"), way)
    assert said.usage
    assert said.usage["prompt_tokens_details"]["cached_tokens"] == 1


@only_litellm
@only("deepseek")
async def test_deepseek_is_asked_to_think(double: FakeOpenAILike) -> None:
    await ask(of(double, "deepseek-reasoner"), asked("hello", reasoning_effort="high"), "acomplete")
    assert double.last.body["thinking"] == {"type": "enabled"}


def test_deepseek_is_reached_at_its_beta_address_by_default() -> None:
    """litellm's own default; it is where DeepSeek takes strict tools and prefixes."""
    assert target_of("deepseek/deepseek-chat", api_key=KEY).api_base is None


@pytest.mark.parametrize("way", [*WAYS, *EMBEDDING_WAYS])
async def test_vllm_without_a_key(way: str) -> None:
    with FakeOpenAILike("vllm", key=None) as double:
        target = target_of("vllm/Qwen/Qwen3-8B", base_url=double.url)
        if way in WAYS:
            assert (await ask(target, asked("hello"), way)).content == "Echo: hello"
        else:
            assert len((await embed(target, {"input": "hello"}, way))["data"]) == 1
        assert double.last.headers.get("authorization", "Bearer fake-api-key") == "Bearer fake-api-key"


async def test_vllm_that_does_not_run_says_what_to_start() -> None:
    error = await failure(target_of("vllm/m", base_url="http://127.0.0.1:9/v1"), asked("hello"), "astream")
    assert isinstance(error, errors.APIConnectionError)
    assert str(error) == "vLLM does not answer at http://127.0.0.1:9/v1: start it, or set VLLM_BASE_URL"
