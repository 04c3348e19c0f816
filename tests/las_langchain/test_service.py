"""Retries, streams and the choice of the transport, over a real socket."""

from __future__ import annotations

import asyncio
import time

import pytest

from las_langchain import errors
from las_langchain.service import LiteLLMService, get_litellm_service
from las_langchain.settings import load_settings
from las_langchain.tries import LONGEST_DELAY, retry_delay
from tests.fake_openai import FakeOpenAI, Reply

BODY = {"messages": [{"role": "user", "content": "hello there"}]}
AGAIN = Reply(status=503, headers={"retry-after": "0"})


@pytest.fixture
def openai(upstream: FakeOpenAI) -> LiteLLMService:
    return LiteLLMService()


def test_a_retryable_failure_is_retried_as_often_as_set(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    upstream.enqueue(AGAIN, AGAIN)
    answer = openai.complete(openai.target("gpt-4o"), BODY)
    assert answer["choices"][0]["message"]["content"] == "Echo: hello there"
    assert len(upstream.requests) == 3


@pytest.mark.parametrize("max_retries", [0, 1, 3])
def test_max_retries_means_exactly_that(openai: LiteLLMService, upstream: FakeOpenAI, max_retries: int) -> None:
    upstream.enqueue(*[AGAIN] * 9)
    with pytest.raises(errors.ServiceUnavailableError):
        openai.complete(openai.target("gpt-4o"), BODY, max_retries=max_retries)
    assert len(upstream.requests) == max_retries + 1


async def test_async_calls_and_streams_retry_alike(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    upstream.enqueue(AGAIN, Reply(content="one"), AGAIN, Reply(content="two"), AGAIN, Reply(content="three"))
    target = openai.target("gpt-4o")
    answer = await openai.acomplete(target, BODY)
    assert answer["choices"][0]["message"]["content"] == "one"
    assert "".join(_texts([chunk async for chunk in openai.astream(target, BODY)])) == "two"
    assert "".join(_texts(list(openai.stream(target, BODY)))) == "three"
    assert len(upstream.requests) == 6


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_final_errors_are_not_retried(openai: LiteLLMService, upstream: FakeOpenAI, status: int) -> None:
    upstream.enqueue(Reply(status=status))
    with pytest.raises(errors.LASError) as error:
        openai.complete(openai.target("gpt-4o"), BODY)
    assert error.value.status_code == status
    assert len(upstream.requests) == 1


def test_a_stream_that_has_begun_is_not_retried(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(content="a b c d e f", cut_after=4))
    seen = []
    with pytest.raises(errors.APIConnectionError):
        seen.extend(openai.stream(openai.target("gpt-4o"), BODY))
    assert len(upstream.requests) == 1


def test_retry_after_is_waited_for(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    openai.complete(openai.target("gpt-4o"), BODY)  # so that importing litellm is not measured
    upstream.enqueue(Reply(status=429, headers={"retry-after": "0.5"}))
    begin = time.monotonic()
    openai.complete(openai.target("gpt-4o"), BODY)
    assert time.monotonic() - begin >= 0.5


def test_delays_grow_within_bounds_and_only_for_retryable_errors() -> None:
    error = errors.APIError("x")
    delays = [retry_delay(error, attempt) or 0 for attempt in range(12)]
    assert all(0.25 * 2**attempt <= delay <= 0.5 * 2**attempt for attempt, delay in enumerate(delays[:6]))
    assert max(delays) <= LONGEST_DELAY
    assert retry_delay(errors.BadRequestError("x"), 0) is None
    assert retry_delay(errors.APIError("x", provider="local"), 0) is None
    assert retry_delay(errors.RateLimitError("x", retry_after=4), 0) == 4
    assert retry_delay(errors.RateLimitError("x", retry_after=3600), 0) is None


async def test_closing_a_stream_closes_the_connection(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    target = openai.target("gpt-4o")
    for _ in range(2):
        upstream.enqueue(Reply(content="word " * 400, chunk_delay=0.01))
    stream = openai.astream(target, BODY)
    await anext(stream)
    await stream.aclose()
    sync_stream = openai.stream(target, BODY)
    next(sync_stream)
    sync_stream.close()
    await asyncio.sleep(0.3)
    sent = upstream.events_sent
    await asyncio.sleep(0.3)
    assert upstream.events_sent == sent
    assert upstream.open_streams == 0


async def test_cancelling_a_task_cancels_the_call(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(hang=True))
    before = upstream.disconnects
    task = asyncio.create_task(openai.acomplete(openai.target("gpt-4o"), BODY))
    for _ in range(600):
        if upstream.requests:
            break
        await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.3)
    assert upstream.disconnects == before + 1


def test_entries_of_unknown_providers_are_refused() -> None:
    with pytest.raises(
        errors.ConfigurationError, match=r"\[providers.opnai\]: unknown provider; did you mean 'openai'"
    ):
        LiteLLMService(load_settings(providers={"opnai": {"api_key": "k"}}))


def test_the_process_has_one_service() -> None:
    assert get_litellm_service() is get_litellm_service()


def _texts(chunks: list[dict]) -> list[str]:
    return [choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]]
