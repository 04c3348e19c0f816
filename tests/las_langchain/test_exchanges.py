"""What every call leaves behind: its row in the ledger, its place in the cache, what it takes from a budget."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from las_langchain import ChatLAS, LASEmbeddings
from las_langchain.callers import calling
from las_langchain.errors import BudgetExceededError, LASError, RateLimitError
from las_langchain.records import CallRecord
from las_langchain.service import LiteLLMService
from las_langchain.settings import load_settings
from las_langchain.tools import ToolDefinition
from tests.conftest import UPSTREAM_KEY
from tests.fake_openai import FakeOpenAI, Reply, ToolCall

Json = dict[str, Any]
BODY: Json = {"messages": [{"role": "user", "content": "hello there"}]}
Make = Callable[..., LiteLLMService]


class Watch:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.began_: list[str] = []
        self.records: list[CallRecord] = []
        self.answers: list[Json | None] = []

    def began(self, record: CallRecord, request: Json) -> None:
        assert record.status == "running"
        self.began_.append(record.id)

    def ended(self, record: CallRecord, answer: Json | None) -> None:
        self.records.append(record)
        self.answers.append(answer)


@pytest.fixture
def make(upstream: FakeOpenAI, tmp_path: Path) -> Make:
    """Makes services with a ledger of the test's own."""

    def service(**settings: Any) -> LiteLLMService:
        database = f"sqlite:///{tmp_path / 'usage.sqlite3'}"
        return LiteLLMService(load_settings(**{"database_url": database, "max_retries": 0, **settings}))

    return service


def rows(service: LiteLLMService) -> list[Any]:
    assert service.ledger is not None
    return service.ledger.calls()


def test_a_call_has_a_row(make: Make) -> None:
    service = make()
    with calling(key_id="alice", chain="rag", request_id="r1"):
        answer = service.complete(service.target("gpt-4o"), BODY)
    (row,) = rows(service)
    assert (row["operation"], row["asked"], row["model"], row["provider"]) == (
        "chat",
        "openai/gpt-4o",
        "openai/gpt-4o",
        "openai",
    )
    assert (row["status"], row["status_code"], row["attempts"], row["stream"]) == ("ok", 200, 1, False)
    assert (row["key_id"], row["chain"], row["request_id"]) == ("alice", "rag", "r1")
    usage = answer["usage"]
    assert (row["prompt_tokens"], row["completion_tokens"]) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert row["cost_usd"] == pytest.approx(usage["prompt_tokens"] * 2.5e-6 + usage["completion_tokens"] * 1e-5)
    assert row["seconds"] > 0
    assert row["first_token_seconds"] is None


def test_a_stream_has_a_row_whether_or_not_its_usage_was_asked_for(make: Make) -> None:
    service = make()
    for options in ({}, {"stream_options": {"include_usage": True}}):
        chunks = list(service.stream(service.target("gpt-4o"), {**BODY, **options}))
        assert bool(options) == any(not chunk["choices"] for chunk in chunks)
    for row in rows(service):
        assert row["stream"]
        assert row["prompt_tokens"] > 0
        assert row["cost_usd"] > 0
        assert 0 < row["first_token_seconds"] <= row["seconds"]


def test_failures_have_rows_too(make: Make, upstream: FakeOpenAI) -> None:
    service = make(max_retries=1)
    upstream.enqueue(*[Reply(status=429, headers={"retry-after": "0"})] * 2)
    with pytest.raises(RateLimitError):
        service.complete(service.target("gpt-4o"), BODY)
    (row,) = rows(service)
    assert (row["status"], row["status_code"], row["attempts"], row["cost_usd"]) == ("error", 429, 2, None)
    assert row["error"] == "rate_limit_exceeded"


def test_unknown_prices_are_unknown_and_the_embedded_models_cost_nothing(make: Make, upstream: FakeOpenAI) -> None:
    service = make(vllm_base_url=upstream.url, vllm_api_key=UPSTREAM_KEY)
    service.complete(service.target("vllm/gpt-4o"), BODY)
    service.complete(service.target("local/smollm2-135m-instruct"), {**BODY, "max_tokens": 2})
    costs = {row["model"]: row["cost_usd"] for row in rows(service)}
    assert costs == {"vllm/gpt-4o": None, "local/smollm2-135m-instruct": 0.0}


def test_langchain_models_go_the_same_way(make: Make) -> None:
    service = make()
    ChatLAS(model="gpt-4o", service=service).invoke("hello")
    list(ChatLAS(model="gpt-4o", service=service, stream_usage=False).stream("hello"))
    LASEmbeddings(model="openai/text-embedding-3-small", service=service).embed_query("hello")
    assert [row["operation"] for row in rows(service)] == ["embeddings", "chat", "chat"]
    assert all(row["cost_usd"] > 0 for row in rows(service))


async def test_a_caller_who_leaves_is_charged_what_was_streamed(make: Make, upstream: FakeOpenAI) -> None:
    service = make()
    upstream.enqueue(Reply(content="word " * 200, chunk_delay=0.002))
    stream = service.astream(service.target("gpt-4o"), BODY)
    for _ in range(100):
        await anext(stream)
    await stream.aclose()
    assert service.ledger is not None
    await asyncio.to_thread(service.ledger.close)
    (row,) = rows(service)
    assert (row["status"], row["tokens_estimated"]) == ("cancelled", True)
    assert 80 <= row["completion_tokens"] <= 150
    assert row["cost_usd"] > 0


async def test_a_stream_that_is_left_at_its_end_was_whole(make: Make, upstream: FakeOpenAI) -> None:
    service = make()
    upstream.enqueue(Reply(content="all of it", tool_calls=[]))
    async for chunk in (stream := service.astream(service.target("gpt-4o"), BODY)):
        if chunk["choices"][0].get("finish_reason"):
            break
    await stream.aclose()
    # Its row is there before the stream is closed.
    (row,) = rows(service)
    assert (row["status"], row["tokens_estimated"]) == ("ok", True)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(content="ok", reasoning="word " * 400, chunk_delay=0.002),
        Reply(tool_calls=[ToolCall("f", {"text": "word " * 400})], chunk_delay=0.002),
    ],
)
async def test_thoughts_and_arguments_are_paid_for(make: Make, upstream: FakeOpenAI, reply: Reply) -> None:
    service = make()
    upstream.enqueue(reply)
    tool = {
        "type": "function",
        "function": {"name": "f", "description": "word " * 200, "parameters": {"type": "object"}},
    }
    async for chunk in (stream := service.astream(service.target("gpt-4o"), {**BODY, "tools": [tool]})):
        if chunk["choices"][0].get("finish_reason"):
            break
    await stream.aclose()
    (row,) = rows(service)
    assert row["tokens_estimated"]
    assert row["completion_tokens"] > 400
    assert row["prompt_tokens"] > 200


async def test_the_tokens_of_a_transcription_are_counted(make: Make, upstream: FakeOpenAI) -> None:
    service = make()
    usage = {"type": "tokens", "input_tokens": 1014, "output_tokens": 45, "total_tokens": 1059,
             "input_token_details": {"audio_tokens": 1000, "text_tokens": 14}}  # fmt: skip
    upstream.enqueue(Reply(extra={"usage": usage}), Reply())
    for _ in range(2):
        await service.atranscription(b"ID3 sound", "openai/gpt-4o-transcribe")
    seconds, tokens = rows(service)
    assert (tokens["prompt_tokens"], tokens["completion_tokens"], tokens["audio_tokens"]) == (1014, 45, 1000)
    assert seconds["prompt_tokens"] is None


async def test_a_cancelled_call_has_a_row(make: Make, upstream: FakeOpenAI) -> None:
    service = make()
    upstream.enqueue(Reply(hang=True))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3):
            await service.acomplete(service.target("gpt-4o"), BODY)
    assert service.ledger is not None
    await asyncio.to_thread(service.ledger.close)
    assert [row["status"] for row in rows(service)] == ["cancelled"]


def test_observers_hear_of_begin_and_end(make: Make, upstream: FakeOpenAI) -> None:
    service, watch = make(), Watch()
    service.observe(watch)
    upstream.enqueue(Reply(content="one"), Reply(status=500))
    service.complete(service.target("gpt-4o"), BODY)
    with pytest.raises(LASError):
        service.complete(service.target("gpt-4o"), BODY)
    list(service.stream(service.target("gpt-4o"), BODY))
    assert watch.began_ == [record.id for record in watch.records]
    assert [record.status for record in watch.records] == ["ok", "error", "ok"]
    assert watch.answers[0] is not None
    assert watch.answers[0]["choices"][0]["message"]["content"] == "one"


def test_without_the_ledger_nothing_is_kept(make: Make, tmp_path: Path) -> None:
    service = make(enable_cost_tracking=False)
    service.complete(service.target("gpt-4o"), BODY)
    assert service.ledger is None
    assert not (tmp_path / "usage.sqlite3").exists()


def test_a_ledger_that_cannot_be_written_does_not_take_the_answer(
    upstream: FakeOpenAI, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    service = LiteLLMService(load_settings(database_url=f"sqlite:///{tmp_path}/file/usage.sqlite3"))
    assert service.complete(service.target("gpt-4o"), BODY)["choices"]
    assert '"model":"openai/gpt-4o"' in caplog.text.replace(" ", "")


# The cache


def test_equal_requests_are_asked_once(make: Make, upstream: FakeOpenAI) -> None:
    service = make(enable_caching=True)
    first, again = (service.complete(service.target("gpt-4o"), BODY) for _ in range(2))
    other = service.complete(service.target("gpt-4o"), {**BODY, "temperature": 0.1})
    assert len(upstream.requests) == 2
    assert again == {**first, "cache_hit": True}
    assert "cache_hit" not in other
    hit = rows(service)[1]
    assert (hit["cache_hit"], hit["cost_usd"], hit["attempts"]) == (True, 0.0, 0)


def test_streams_are_kept_whole_and_replayed(make: Make, upstream: FakeOpenAI) -> None:
    service = make(enable_caching=True)
    body = {**BODY, "stream_options": {"include_usage": True}}
    first, again = (list(service.stream(service.target("gpt-4o"), body)) for _ in range(2))
    assert len(upstream.requests) == 1
    assert again == [*first[:-1], {**first[-1], "cache_hit": True}]
    assert rows(service)[0]["prompt_tokens"] == rows(service)[1]["prompt_tokens"] > 0


def test_a_letter_in_two_pieces_breaks_no_stream(make: Make, upstream: FakeOpenAI) -> None:
    service = make(enable_caching=True)
    head = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,'
    pieces = [b'"delta":{"role":"assistant","content":"\\ud83d"}}]}', b'"delta":{"content":"\\ude00"}}]}']
    end = b'"delta":{},"finish_reason":"stop"}]}'
    raw = b"".join(head + piece + b"\n\n" for piece in (*pieces, end)) + b"data: [DONE]\n\n"
    upstream.enqueue(Reply(raw=raw, raw_type="text/event-stream"))
    chunks = list(service.stream(service.target("gpt-4o"), BODY))
    said = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert said == "\ud83d\ude00"


def test_what_was_cut_is_not_kept(make: Make, upstream: FakeOpenAI) -> None:
    service = make(enable_caching=True)
    # Each comes by itself: a stream that breaks before it has begun is tried again.
    cut, left = Reply(content="a b c d", cut_after=2, chunk_delay=0.1), Reply(content="a b c d", chunk_delay=0.1)
    upstream.enqueue(cut, Reply(status=500), left)
    with pytest.raises(LASError):
        list(service.stream(service.target("gpt-4o"), BODY))
    with pytest.raises(LASError):
        service.complete(service.target("gpt-4o"), BODY)
    stream = service.stream(service.target("gpt-4o"), BODY)
    next(stream)
    stream.close()
    assert len(list(service.stream(service.target("gpt-4o"), BODY))) > 2
    assert len(upstream.requests) == 4


def test_a_fallbacks_answer_is_not_kept_for_the_model(make: Make, upstream: FakeOpenAI) -> None:
    service = make(enable_caching=True, routing={"default_fallbacks": ["openai/gpt-4o-mini"]})
    upstream.enqueue(Reply(status=500), Reply(content="the fallback's"), Reply(content="its own"))
    answers = [service.complete(service.target("gpt-4o"), BODY) for _ in range(3)]
    texts = [answer["choices"][0]["message"]["content"] for answer in answers]
    assert texts == ["the fallback's", "its own", "its own"]
    assert answers[2]["cache_hit"]


def test_messages_say_that_they_come_out_of_the_cache(make: Make, upstream: FakeOpenAI) -> None:
    chat = ChatLAS(model="gpt-4o", service=make(enable_caching=True))
    first, again = chat.invoke("hello"), chat.invoke("hello")
    assert "cache_hit" not in first.response_metadata
    assert (again.response_metadata["cache_hit"], again.response_metadata["cost"]) == (True, 0.0)
    assert (again.content, again.usage_metadata) == (first.content, first.usage_metadata)
    answers = []
    for _ in range(2):
        answer = None
        for chunk in chat.stream("hello"):
            answer = chunk if answer is None else answer + chunk
        assert isinstance(answer, AIMessage)
        answers.append(answer)
    assert (answers[1].response_metadata["cache_hit"], answers[1].response_metadata["cost"]) == (True, 0.0)
    assert answers[0].content == answers[1].content
    assert len(upstream.requests) == 2


# Budgets


def test_a_spent_budget_refuses_calls_and_says_so(make: Make, upstream: FakeOpenAI) -> None:
    service = make(budget=1e-6)
    service.complete(service.target("gpt-4o"), BODY)
    for call in (service.complete, lambda *args: list(service.stream(*args))):
        with pytest.raises(BudgetExceededError, match="The budget of all calls is spent") as error:
            call(service.target("gpt-4o"), BODY)
        assert error.value.status_code == 429
        assert error.value.retry_after is not None
    assert len(upstream.requests) == 1


def test_each_key_has_a_budget_of_its_own(make: Make) -> None:
    service = make(budget_per_key=1e-6, budgets={"rich": 100})
    for key, allowed in (("alice", 1), ("bob", 1), ("rich", 3), (None, 3)):
        done = 0
        for _ in range(3):
            try:
                with calling(key_id=key):
                    service.complete(service.target("gpt-4o"), BODY)
                done += 1
            except BudgetExceededError:
                break
        assert done == allowed, key


def test_a_spent_budget_is_final(make: Make, upstream: FakeOpenAI) -> None:
    service = make(budget=0.0, max_retries=5, routing={"default_fallbacks": ["local/smollm2-135m-instruct"]})
    chat = ChatLAS(model="gpt-4o", service=service, fallbacks=["openai/gpt-4o-mini"])
    with pytest.raises(BudgetExceededError):
        chat.invoke("hello")
    assert not upstream.requests


# Changes at run time


async def test_no_call_sees_half_a_configuration(make: Make, upstream: FakeOpenAI) -> None:
    service = make(default_provider="openai", default_model="gpt-4o", temperature=0.0, max_tokens=100)
    states = {("gpt-4o", 0.0, 100), ("gpt-4o-mini", 1.0, 200)}
    upstream.enqueue(*[Reply(content="x", delay=random.random() / 20) for _ in range(500)])

    async def call() -> None:
        for _ in range(8):
            await service.acomplete(service.target(), BODY)

    async def change() -> None:
        for step in range(200):
            model, temperature, max_tokens = sorted(states)[step % 2]
            await asyncio.to_thread(
                service.update_config, default_model=model, temperature=temperature, max_tokens=max_tokens
            )

    await asyncio.gather(change(), *[call() for _ in range(50)])
    seen = {(r.body["model"], r.body["temperature"], r.body["max_tokens"]) for r in upstream.requests}
    assert len(upstream.requests) == 400
    assert seen == states


@pytest.mark.parametrize("way", ["tools", "key"])
async def test_a_call_keeps_its_configuration_while_it_waits(make: Make, upstream: FakeOpenAI, way: str) -> None:
    service = make(default_provider="openai", default_model="gpt-4o", temperature=0.0)

    def change() -> str:
        service.update_config(default_model="gpt-4o-mini", temperature=1.0)
        return UPSTREAM_KEY

    if way == "key":
        await service.achat_completion("hi", api_key=change)
    else:
        upstream.enqueue(Reply(tool_calls=[ToolCall("change", "{}")]), Reply(content="done"))
        await service.achat_with_tools("hi", [ToolDefinition("change")], {"change": change})
    seen = {(request.body["model"], request.body["temperature"]) for request in upstream.requests}
    assert seen == {("gpt-4o", 0.0)}


def test_a_wrong_change_changes_nothing(make: Make) -> None:
    service = make()
    before = service.settings
    for changes, text in [
        ({"temperature": 1, "max_tokens": -1}, "LAS_MAX_TOKENS"),
        ({"temperatur": 1}, "did you mean 'temperature'"),
        ({"temperature": 1, "port": 80}, "port is fixed when the process starts"),
        ({"temperature": 1, "opnai_api_key": "k"}, "did you mean 'openai'"),
    ]:
        with pytest.raises(LASError, match=text):
            service.update_config(**changes)
        assert service.settings is before


async def test_a_call_in_flight_keeps_the_configuration_that_it_began_with(make: Make, upstream: FakeOpenAI) -> None:
    service = make(max_retries=1, temperature=0.25)
    upstream.enqueue(Reply(status=503, delay=0.5, headers={"retry-after": "0"}))
    call = asyncio.create_task(service.acomplete(service.target("gpt-4o"), BODY))
    while not upstream.requests:
        await asyncio.sleep(0.01)
    service.update_config(max_retries=0, temperature=0.75, openai_base_url="http://127.0.0.1:9")
    await call
    assert [request.body["temperature"] for request in upstream.requests] == [0.25, 0.25]


def test_the_cache_outlives_other_changes(make: Make, upstream: FakeOpenAI) -> None:
    service = make(enable_caching=True)
    service.complete(service.target("gpt-4o"), BODY)
    service.update_config(max_retries=4)
    assert service.complete(service.target("gpt-4o"), BODY)["cache_hit"]
    service.update_config(enable_caching=False)
    assert "cache_hit" not in service.complete(service.target("gpt-4o"), BODY)


def test_requests_without_temperature_and_length_get_the_settings(make: Make, upstream: FakeOpenAI) -> None:
    service = make(temperature=0.25, max_tokens=9)
    service.complete(service.target("gpt-4o"), BODY)
    assert (upstream.last.body["temperature"], upstream.last.body["max_tokens"]) == (0.25, 9)
    service.complete(service.target("gpt-4o"), {**BODY, "temperature": 0, "max_completion_tokens": 3})
    assert upstream.last.body["temperature"] == 0
    assert "max_tokens" not in upstream.last.body
    service.embed(service.target("openai/text-embedding-3-small"), {"input": "x"})
    assert "temperature" not in upstream.last.body


def test_entries_are_taken_away_and_files_are_not_read_again(make: Make, tmp_path: Path) -> None:
    Path("las.toml").write_text('[providers.openai]\napi_key = "sk-of-the-file-0123456789"\n')
    service = make(models={"fast": {"deployments": ["openai/gpt-4o"]}}, budgets={"alice": 1.0})
    Path("las.toml").write_text("[budgets]\nbob = 2.0\n")
    settings = service.update_config(models={"fast": None}, budgets={"alice": None}, providers={"openai": None})
    assert (settings.models, settings.budgets, settings.providers) == ({}, {}, {})
    settings = service.update_config(routing={"cooldown_time": 5})
    assert settings.routing.cooldown_time == 5
    assert settings.routing.allowed_fails == 2


def test_a_refused_callback_is_not_set(make: Make, upstream: FakeOpenAI) -> None:
    service = make()
    with pytest.raises(LASError, match="litellm knows no 'nonsense'"):
        service.update_config(callbacks=["nonsense"], temperature=0.5)
    assert (service.settings.callbacks, service.settings.temperature) == ([], None)
    service.complete(service.target("gpt-4o"), BODY)


def test_what_a_reader_does_with_chunks_does_not_reach_the_cache(make: Make) -> None:
    service = make(enable_caching=True)
    for chunk in service.stream(service.target("gpt-4o"), BODY):
        chunk["choices"] = []
    again = list(service.stream(service.target("gpt-4o"), BODY))
    assert again[-1]["cache_hit"]
    assert "".join(c["choices"][0]["delta"].get("content") or "" for c in again) == "Echo: hello there"


def test_a_stream_that_breaks_is_charged_what_came(make: Make, upstream: FakeOpenAI) -> None:
    service = make()
    upstream.enqueue(Reply(content="word " * 100, cut_after=80))
    with pytest.raises(LASError):
        list(service.stream(service.target("gpt-4o"), BODY))
    (row,) = rows(service)
    assert (row["status"], row["tokens_estimated"]) == ("error", True)
    assert row["cost_usd"] > 0


PRICED: dict[str, Json] = {
    "in options": {"options": {"input_cost_per_token": "1e-3", "output_cost_per_token": 2e-3}},
    "in model_info": {"routing": {"model_info": {"input_cost_per_token": 1e-3, "output_cost_per_token": 2e-3}}},
}


@pytest.mark.parametrize("own", PRICED.values(), ids=PRICED)
def test_a_deployment_has_prices_of_its_own(make: Make, own: Json) -> None:
    service = make(models={"dear": {"deployments": [{"model": "openai/gpt-4o", **own}]}}, budget=0.001)
    answer = ChatLAS(model="dear", service=service).invoke("hello there")
    assert answer.usage_metadata is not None
    cost = answer.usage_metadata["input_tokens"] * 1e-3 + answer.usage_metadata["output_tokens"] * 2e-3
    assert answer.response_metadata["cost"] == pytest.approx(cost)
    assert [row["cost_usd"] for row in rows(service)] == [pytest.approx(cost)]
    with pytest.raises(BudgetExceededError):
        service.complete(service.target("dear"), BODY)


def test_a_base_model_says_what_an_unlisted_one_costs(make: Make) -> None:
    named = {"model": "openai/fake-model", "routing": {"model_info": {"base_model": "gpt-4o"}}}
    service = make(models={"based": {"deployments": [named]}, "plain": {"deployments": ["openai/fake-model"]}})
    for alias in ("plain", "based"):
        service.complete(service.target(alias), BODY)
        list(service.stream(service.target(alias), BODY))
    assert sorted(row["cost_usd"] is None for row in rows(service)) == [False, False, True, True]
