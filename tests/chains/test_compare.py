"""The ``compare`` chain: all models at once, one result each, whatever becomes of the others."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.runnables import Runnable

from chains.chain import answer_message
from chains.compare import CHAIN, EVENT, Comparison, ModelResult, as_markdown
from las_langchain.errors import BadRequestError
from las_langchain.service import get_litellm_service
from las_langchain.settings import load_settings
from tests.conftest import UPSTREAM_KEY
from tests.fake_anthropic import FakeAnthropic
from tests.fake_openai import FakeOpenAI, Reply

Json = dict[str, Any]

FAST, SMALL = "openai/gpt-4o", "openai/gpt-4o-mini"


@pytest.fixture(autouse=True)
def _no_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAS_MAX_RETRIES", "0")


@pytest.fixture
def compare() -> Runnable[Any, Any]:
    """The chain."""
    return CHAIN.build(load_settings())


def ask(*models: str, **fields: Any) -> Json:
    """The chain's input."""
    return {"prompt": "Repeat: one two", "models": list(models), **fields}


async def test_each_models_answer_and_what_it_took(upstream: FakeOpenAI, compare: Runnable[Any, Any]) -> None:
    upstream.enqueue(*[Reply(delay=0.05, chunk_delay=0.05)] * 2)

    outputs = [output async for output in compare.astream(ask(SMALL, FAST))]

    assert len(outputs) == 1
    assert isinstance(outputs[0], Comparison)
    small, fast = outputs[0].results
    assert [small.model, fast.model] == [SMALL, FAST]
    for result in (small, fast):
        assert (result.answer, result.error, result.finish_reason) == ("one two", None, "stop")
        assert (result.prompt_tokens, result.completion_tokens) == (3, 2)
        assert result.first_token_seconds is not None
        # The first call of a process imports litellm, which is not the model's time.
        assert 0.05 < result.first_token_seconds < result.seconds < 2
        # The provider says which edition of it.
        assert result.answered_by is not None
        assert result.answered_by.startswith(result.model)
    assert small.cost_usd is not None
    assert fast.cost_usd == pytest.approx(3 * 2.5e-6 + 2 * 1e-5)
    assert small.cost_usd < fast.cost_usd


def test_synchronous_code(upstream: FakeOpenAI, compare: Runnable[Any, Any]) -> None:
    assert compare.invoke(ask(FAST)).results[0].answer == "one two"


async def test_all_of_them_at_once(upstream: FakeOpenAI, compare: Runnable[Any, Any]) -> None:
    await compare.ainvoke(ask(FAST))
    upstream.enqueue(*[Reply(delay=0.5)] * 6)

    began = time.perf_counter()
    comparison = await compare.ainvoke(ask(*[FAST] * 6))
    seconds = time.perf_counter() - began

    assert len(comparison.results) == 6
    assert seconds < 0.5 * 6 / 2
    assert seconds >= max(result.seconds for result in comparison.results)


async def test_what_is_asked(upstream: FakeOpenAI, compare: Runnable[Any, Any]) -> None:
    await compare.ainvoke(ask(FAST, system="Be brief", temperature=0.3, max_tokens=1))

    body = upstream.last.body
    assert [message["content"] for message in body["messages"]] == ["Be brief", "Repeat: one two"]
    assert (body["temperature"], body.get("max_tokens") or body["max_completion_tokens"]) == (0.3, 1)
    await compare.ainvoke(ask(FAST))
    assert not {"temperature", "max_tokens", "max_completion_tokens"} & upstream.last.body.keys()
    assert [message["role"] for message in upstream.last.body["messages"]] == ["user"]


async def test_one_models_failure_is_no_others(upstream: FakeOpenAI, compare: Runnable[Any, Any]) -> None:
    error = {"message": f"Out of | {UPSTREAM_KEY}", "type": "server_error", "code": None}
    upstream.enqueue(Reply(status=500, error=error))
    others = ["nonsense/model", "anthropic/claude-sonnet-4-5", "openai/", "nonsense\n/model"]
    refused = (await compare.ainvoke(ask(FAST))).results

    *results, last = (await compare.ainvoke(ask(*others, FAST))).results

    failed = [*refused, *results]
    for result in failed:
        assert result.answer is None
        assert result.error
        assert "\n" not in result.error
        assert result.seconds >= 0
    assert "Out of |" in str(failed[0].error)
    assert UPSTREAM_KEY not in str(failed[0].error)
    assert "Unknown provider 'nonsense'" in str(failed[1].error)
    assert "ANTHROPIC_API_KEY" in str(failed[2].error)
    assert last.answer == "one two"


async def test_a_fallbacks_answer_has_its_name(upstream: FakeOpenAI, compare: Runnable[Any, Any]) -> None:
    alias = {"deployments": [{"model": FAST}], "fallbacks": [SMALL]}
    get_litellm_service().update_config(models={"best": alias})
    upstream.enqueue(Reply(status=500))

    (result,) = (await compare.ainvoke(ask("best"))).results

    assert (result.model, result.answered_by, result.answer) == ("best", SMALL, "one two")


async def test_a_stream_that_breaks_is_a_failure(upstream: FakeOpenAI, compare: Runnable[Any, Any]) -> None:
    upstream.enqueue(Reply(content="one two three", cut_after=3))

    (result,) = (await compare.ainvoke(ask(FAST))).results

    assert result.answer is None
    assert result.error


async def test_a_price_that_is_not_known(upstream: FakeOpenAI, compare: Runnable[Any, Any]) -> None:
    (result,) = (await compare.ainvoke(ask("openai/fake-model"))).results

    assert (result.answer, result.cost_usd) == ("one two", None)


async def test_models_of_several_providers(
    upstream: FakeOpenAI, anthropic_upstream: FakeAnthropic, compare: Runnable[Any, Any]
) -> None:
    names = ["anthropic/claude-sonnet-4-5", FAST, "local/smollm2-135m-instruct"]

    comparison = await compare.ainvoke(ask(*names, max_tokens=2))

    assert [result.error for result in comparison.results] == [None] * 3
    assert [result.model for result in comparison.results] == names
    assert comparison.results[2].answered_by == names[2]


async def test_no_models_are_those_of_the_settings(
    upstream: FakeOpenAI, compare: Runnable[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAS_MODEL", FAST)
    deployments = {"cheap": {"deployments": [{"model": SMALL}]}, "any-*": {"deployments": [{"model": "openai/*"}]}}
    get_litellm_service().update_config(models=deployments)

    comparison = await compare.ainvoke(ask())

    assert [result.model for result in comparison.results] == [FAST, "cheap"]
    assert comparison.results[1].answered_by == SMALL


async def test_progress_is_told(upstream: FakeOpenAI, compare: Runnable[Any, Any]) -> None:
    upstream.enqueue(Reply(delay=0.3))

    events = [event async for event in compare.astream_events(ask(FAST, "nonsense/model"), version="v2")]

    told = [event["data"] for event in events if event["event"] == "on_custom_event" and event["name"] == EVENT]
    assert [result["model"] for result in told] == ["nonsense/model", FAST]
    assert told[1]["answer"] == "one two"


async def test_a_cancelled_run_cancels_every_call(upstream: FakeOpenAI, compare: Runnable[Any, Any]) -> None:
    await compare.ainvoke(ask(FAST))
    upstream.reset()
    upstream.enqueue(*[Reply(hang=True)] * 3)
    gone = upstream.disconnects
    run = asyncio.create_task(compare.ainvoke(ask(FAST, SMALL, FAST)))
    while len(upstream.requests) < 3:
        await asyncio.sleep(0.01)

    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run

    async with asyncio.timeout(5):
        while upstream.disconnects < gone + 3:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({}, "prompt"),
        (ask(*[FAST] * 9), "models"),
        (ask(""), "models.0"),
        (ask(temperature=3), "temperature"),
        (ask(max_tokens=0), "max_tokens"),
        (ask(model=FAST), "model"),
        ({"prompt": "x", "models": FAST}, "models"),
    ],
)
def test_input_that_is_none(compare: Runnable[Any, Any], given: Json, param: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        compare.invoke(given)

    assert caught.value.param == param


# In a chat


def test_a_chats_last_words_are_the_prompt() -> None:
    messages = [SystemMessage("Be brief"), HumanMessage("One"), AIMessage("1"), HumanMessage("Two")]
    assert CHAIN.from_messages is not None
    assert CHAIN.from_messages(messages).prompt == "Two"
    with pytest.raises(BadRequestError):
        CHAIN.from_messages([HumanMessage([{"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}])])


def cells(row: str) -> list[str]:
    """The cells of a table's row, as Markdown reads them."""
    return [cell.strip() for cell in row.replace(r"\\", "\0").replace(r"\|", "\1").split("|")[1:-1]]


def test_the_answer_in_a_chat() -> None:
    comparison = Comparison(
        results=[
            ModelResult(
                model="openai/gpt-4o",
                answer="```\n| code\n### unclosed",
                seconds=1.234,
                first_token_seconds=0.5,
                prompt_tokens=3,
                completion_tokens=4,
                cost_usd=0.00012,
                finish_reason="stop",
            ),
            ModelResult(model="a|b\nc\\", error="bad | worse\nworst", seconds=0.1),
            ModelResult(model="silent", answer="", seconds=0.1),
        ]
    )

    text = str(as_markdown(comparison).content)

    head, rule, first, second, third, *_ = text.splitlines()
    assert {len(cells(row)) for row in (head, rule, first, second, third)} == {7}
    assert cells(first) == ["openai/gpt-4o", "1.23", "0.50", "3", "4", "0.000120", "stop"]
    assert cells(second) == ["a\1b c\0", "0.10", "", "", "", "", "error: bad \1 worse worst"]
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == ["### openai/gpt-4o", r"### a\|b c\\", "### silent"]
    assert "> ```\n> | code\n> ### unclosed" in text


def test_the_answer_is_json_too() -> None:
    message = answer_message(Comparison(results=[ModelResult(model="m", answer="a", seconds=1)]))
    assert '"model": "m"' in str(message.content)
