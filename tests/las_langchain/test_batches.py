"""Dividing texts, running calls side by side, reading vectors: the parts that need no provider."""

from __future__ import annotations

import asyncio
import base64
import struct
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from las_langchain.batches import Limits, checked_sizes, concurrently, decoded, divided, least_tokens, vectors_of
from las_langchain.errors import APIError, BadRequestError

LIMITS = st.builds(Limits, texts=st.integers(1, 9), tokens=st.integers(1, 60))
SIZES = st.lists(st.integers(1, 100), max_size=60)


@given(SIZES, LIMITS)
def test_every_text_is_in_one_batch_in_order(sizes: list[int], limits: Limits) -> None:
    assert [index for batch in divided(sizes, limits) for index in batch] == list(range(len(sizes)))


@given(SIZES, LIMITS)
def test_batches_keep_both_limits_but_for_a_text_that_is_too_large_alone(sizes: list[int], limits: Limits) -> None:
    for batch in divided(sizes, limits):
        assert 1 <= len(batch) <= limits.texts
        assert len(batch) == 1 or sum(sizes[index] for index in batch) <= limits.tokens


@given(SIZES, LIMITS)
def test_batches_are_as_full_as_can_be(sizes: list[int], limits: Limits) -> None:
    for batch in divided(sizes, limits):
        if batch.stop < len(sizes) and len(batch) < limits.texts:
            assert sum(sizes[index] for index in batch) + sizes[batch.stop] > limits.tokens


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_a_text_has_as_many_tokens_as_words_and_as_bytes_at_most(text: str) -> None:
    assert checked_sizes([text]) == [len(text.encode())]
    assert least_tokens(text) <= len(text.encode())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "texts[1]: expected a text, not NoneType"),
        (7, "texts[1]: expected a text, not int"),
        (b"bytes", "texts[1]: expected a text, not bytes"),
        (["tokens"], "texts[1]: expected a text, not list"),
        ("", "texts[1]: expected a text that is not empty; leave it out"),
        ("caf\ud83d!", "texts[1]: U+D83D at position 3 is half a character; decode the text anew"),
    ],
)
def test_what_is_no_text_is_named_by_its_index(text: Any, message: str) -> None:
    with pytest.raises(BadRequestError) as error:
        checked_sizes(["fine", text])
    assert (str(error.value), error.value.param) == (message, "texts[1]")
    with pytest.raises(BadRequestError, match=r"^text: "):
        checked_sizes([text], "text")


class Calls:
    """Calls that count each other and answer with their job doubled, the first ones last."""

    def __init__(self, failing: int | None = None) -> None:
        self.running = self.most = self.begun = self.cancelled = 0
        self.failing = failing

    async def __call__(self, job: int) -> int:
        self.begun += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0.02 if job == 0 else 0)
            if job == self.failing:
                raise ValueError(f"job {job}")
            return job * 2
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1


@pytest.mark.parametrize(("jobs", "limit"), [(0, 3), (1, 3), (2, 3), (50, 1), (50, 3)])
async def test_calls_run_side_by_side_within_the_limit(jobs: int, limit: int) -> None:
    calls = Calls()
    results = [result async for result in concurrently(calls, range(jobs), limit)]
    assert sorted(results) == [2 * job for job in range(jobs)]
    assert calls.most == min(jobs, limit)


async def test_jobs_are_drawn_only_when_there_is_room() -> None:
    calls, drawn = Calls(), iter(range(100_000))
    async with aclosing(concurrently(calls, drawn, 4)) as results:
        assert await anext(results) in (2, 4, 6)
        assert len(asyncio.all_tasks()) <= 5
    assert next(drawn) <= 8
    assert calls.running == 0


async def test_the_first_error_ends_and_cancels_the_others() -> None:
    calls = Calls(failing=3)
    with pytest.raises(ValueError, match="job 3"):
        [result async for result in concurrently(calls, range(1000), 4)]
    assert calls.begun < 10
    assert (calls.cancelled, calls.running) == (1, 0)


async def test_cancelling_cancels_all_calls() -> None:
    begun = asyncio.Event()
    cancelled: list[int] = []

    async def waits(job: int) -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(job)
            raise

    async def all_results() -> None:
        async for _ in concurrently(waits, range(9), 3):
            pass

    task = asyncio.create_task(all_results())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(cancelled) == [0, 1, 2]


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20))
def test_base64_is_read_exactly(vector: list[float]) -> None:
    text = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    assert decoded(text) == vector
    assert all(type(number) is float for number in decoded(text))
    assert decoded(vector) == vector


@pytest.mark.parametrize("vector", ["", "AAAA", "AAAAAA", "not base64!", "AAAA\nAAAAAA==", "é", None, 7, [], {}])
def test_what_is_no_vector_is_refused(vector: Any) -> None:
    with pytest.raises(APIError, match="The provider sent an"):
        decoded(vector)


def test_vectors_are_put_into_the_order_of_the_texts() -> None:
    data = [{"index": 1, "embedding": [1.0]}, {"index": 0, "embedding": [0.0]}]
    assert vectors_of({"data": data}, 2) == [[0.0], [1.0]]


@pytest.mark.parametrize("indices", [[], [0], [0, 0], [0, 2], [1, 2], [0, 1, 2]])
def test_missing_vectors_are_noticed(indices: list[int]) -> None:
    with pytest.raises(APIError, match="answered 2 texts"):
        vectors_of({"data": [{"index": index, "embedding": [1.0]} for index in indices]}, 2)
