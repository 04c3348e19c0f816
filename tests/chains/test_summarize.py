"""The chain ``summarize``: texts of any length."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.runnables import Runnable

from chains.splitting import parts_of
from chains.summarize import CHAIN, NOTES_PROMPT, PART_PROMPT, SummarizeInput
from las_langchain.errors import APIError, AuthenticationError, BadRequestError, ServiceUnavailableError
from las_langchain.settings import load_settings
from tests.fake_openai import FakeOpenAI, Reply

SENTENCE = "The river rises in the hills and the people of its banks grow rice in the wet fields. "
NOTE = "Rice grows there."


def paragraphs(count: int) -> str:
    """A text of so many paragraphs of about 60 tokens, each with a marker of its own."""
    return "\n\n".join(f"[P{index}] {SENTENCE * 3}" for index in range(count))


@pytest.fixture
def chain(upstream: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> Runnable[Any, Any]:
    """The chain with a model of the double that no list says the context of, so that it is taken to be small."""
    monkeypatch.setenv("LAS_MODEL", "openai/fake-model")
    return CHAIN.build(load_settings())


def prompts(upstream: FakeOpenAI, prompt: str) -> list[str]:
    """The texts of the calls that were made with *prompt*."""
    beginning = prompt.partition("{")[0]
    messages = [request.body["messages"] for request in upstream.requests]
    return [text["content"] for system, text in messages if system["content"].startswith(beginning)]


def progress(chunks: list[AIMessageChunk]) -> list[str]:
    return [line for chunk in chunks if (line := chunk.additional_kwargs.get("reasoning_content"))]


# Short texts


def test_a_short_text_is_one_call_that_streams(chain: Runnable[Any, Any], upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(content="Rice, mostly."))

    wanted = {"text": SENTENCE, "length": "short", "focus": "the\ncrops", "language": "Swedish"}
    chunks = list(chain.stream(wanted))

    assert [str(chunk.text) for chunk in chunks if chunk.text] == ["Rice,", " mostly."]
    (body,) = [request.body for request in upstream.requests]
    assert body["stream"] is True
    assert "max_tokens" not in body
    assert "at most 50 words, for a reader who wants to know: the crops, in Swedish." in body["messages"][0]["content"]
    assert body["messages"][1]["content"] == SENTENCE
    assert not progress(chunks)


def test_a_large_context_is_used(
    chain: Runnable[Any, Any], upstream: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAS_MODEL", "openai/gpt-4o")

    upstream.enqueue(Reply(content="Rice."))

    assert chain.invoke({"text": paragraphs(200)}).text == "Rice."
    assert len(upstream.requests) == 1


# Long texts


def test_every_paragraph_is_read_once_and_progress_comes_first(chain: Runnable[Any, Any], upstream: FakeOpenAI) -> None:
    text = paragraphs(150)
    upstream.enqueue(*(Reply(content=NOTE) for _ in range(8)))

    chunks = list(chain.stream({"text": text}))

    parts = prompts(upstream, PART_PROMPT)
    assert len(parts) >= 3
    found = re.findall(r"\[P(\d+)\]", "".join(parts))
    assert sorted(map(int, found)) == list(range(150))
    assert sum(map(len, parts)) == len(text)
    lines = progress(chunks)
    assert sorted(lines) == [f"Part {index + 1} of {len(parts)} is read\n" for index in range(len(parts))]
    kinds = ["progress" if chunk.additional_kwargs.get("reasoning_content") else "text" for chunk in chunks if chunk]
    assert kinds == sorted(kinds)


def test_all_calls_count_in_the_usage(chain: Runnable[Any, Any], upstream: FakeOpenAI) -> None:
    count = 4
    upstream.enqueue(*(Reply(content=NOTE) for _ in range(count)))
    usage = {"prompt_tokens": 1_000, "completion_tokens": 10}
    upstream.enqueue(Reply(content="Rice.", usage=usage))

    answer = chain.invoke({"text": paragraphs(140)})

    assert len(prompts(upstream, PART_PROMPT)) == count
    assert prompts(upstream, NOTES_PROMPT) == ["\n\n".join([NOTE] * count)]
    assert isinstance(answer, AIMessage)
    assert answer.text == "Rice."
    calls = upstream.requests[:count]
    words = sum(len(message["content"].split()) for call in calls for message in call.body["messages"])
    assert answer.usage_metadata
    assert answer.usage_metadata["input_tokens"] == words + 1_000
    assert answer.usage_metadata["output_tokens"] == count * len(NOTE.split()) + 10


def test_notes_stay_in_order_whatever_comes_first(chain: Runnable[Any, Any], upstream: FakeOpenAI) -> None:
    slow, *quick = (Reply(chunks=[f"note {index}"], delay=0.3 * (index == 0)) for index in range(4))
    upstream.enqueue(slow, *quick)

    chunks = list(chain.stream({"text": paragraphs(140)}))

    # The script is in the order of the calls that arrived.
    parts = prompts(upstream, PART_PROMPT)
    places = {f"note {index}": int(re.findall(r"\[P(\d+)\]", part)[0]) for index, part in enumerate(parts)}
    (notes,) = prompts(upstream, NOTES_PROMPT)
    assert notes.split("\n\n") == sorted(places, key=places.__getitem__)
    late = sorted(places.values()).index(places["note 0"]) + 1
    assert progress(chunks)[-1] == f"Part {late} of 4 is read\n"


def test_at_most_four_calls_are_made_at_a_time_and_cancelling_ends_them(
    chain: Runnable[Any, Any], upstream: FakeOpenAI
) -> None:
    upstream.enqueue(*(Reply(hang=True) for _ in range(8)))
    gone = upstream.disconnects

    async def run() -> None:
        task = asyncio.create_task(chain.ainvoke({"text": paragraphs(300)}))
        await _until(lambda: len(upstream.requests) >= 4)
        await asyncio.sleep(0.3)
        assert len(upstream.requests) == 4
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await _until(lambda: upstream.disconnects == gone + 4)

    asyncio.run(run())
    assert len(upstream.requests) == 4


def test_leaving_a_stream_early_ends_its_calls(chain: Runnable[Any, Any], upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(content=NOTE), *(Reply(hang=True) for _ in range(8)))
    gone = upstream.disconnects

    async def run() -> None:
        stream: Any = chain.astream({"text": paragraphs(300)})
        first = await anext(stream)
        assert first.additional_kwargs["reasoning_content"].startswith("Part ")
        # litellm warns of a call that is cancelled before it is sent.
        await _until(lambda: len(upstream.requests) == 5)
        await stream.aclose()
        await _until(lambda: upstream.disconnects == gone + 4)

    asyncio.run(run())


async def _until(condition: Any) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def test_a_part_that_fails_fails_the_run_and_ends_the_others(
    chain: Runnable[Any, Any], upstream: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAS_MAX_RETRIES", "0")
    upstream.enqueue(Reply(hang=True), Reply(status=503, delay=0.5), Reply(hang=True), Reply(hang=True))

    with pytest.raises(ServiceUnavailableError):
        chain.invoke({"text": paragraphs(300)})

    assert len(upstream.requests) == 4


def test_what_fails_once_is_tried_again(chain: Runnable[Any, Any], upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(status=503, headers={"retry-after": "0"}), *(Reply(content=NOTE) for _ in range(5)))

    assert chain.invoke({"text": paragraphs(140)}).text == NOTE


def test_a_model_that_only_repeats_comes_to_an_end(chain: Runnable[Any, Any], upstream: FakeOpenAI) -> None:
    """The double's own answer is all of the text, and a little more."""
    chunks = list(chain.stream({"text": paragraphs(150)}))

    rounds = prompts(upstream, NOTES_PROMPT)
    assert len(rounds) == 1
    assert any("of the notes" in line for line in progress(chunks))
    assert len(upstream.requests) < 40


def test_parts_without_notes_are_left_out(chain: Runnable[Any, Any], upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(content=""), Reply(content=NOTE), Reply(content=" "), Reply(content=""), Reply(content="R."))

    assert chain.invoke({"text": paragraphs(140)}).text == "R."
    assert prompts(upstream, NOTES_PROMPT) == [NOTE]


def test_no_notes_at_all_are_an_error(chain: Runnable[Any, Any], upstream: FakeOpenAI) -> None:
    upstream.enqueue(*(Reply(content="") for _ in range(4)))

    with pytest.raises(APIError, match="nothing to note"):
        chain.invoke({"text": paragraphs(140)})


# What cannot go in


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"text": ""}, "text"),
        ({"text": " \n\t"}, "text"),
        ({}, "text"),
        ({"text": None}, "text"),
        ({"text": 7}, "text"),
        ({"text": "a", "length": "huge"}, "length"),
        ({"text": "a", "focus": "x" * 1_001}, "focus"),
        ({"text": "a", "language": "x" * 101}, "language"),
        ({"text": "a", "words": 10}, "words"),
    ],
)
def test_what_is_wrong_is_named(
    chain: Runnable[Any, Any], upstream: FakeOpenAI, wrong: dict[str, Any], param: str
) -> None:
    with pytest.raises(BadRequestError) as caught:
        chain.invoke(wrong)

    assert caught.value.param == param
    assert not upstream.requests


def test_a_missing_key_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAS_MODEL", "openai/gpt-4o")

    with pytest.raises(AuthenticationError, match="OPENAI_API_KEY"):
        CHAIN.build(load_settings()).invoke({"text": paragraphs(1)})


# Splitting


@given(st.text() | st.text(alphabet=" \n.aé漢。"), st.integers(1, 30))
def test_parts_cover_the_text_and_fit(text: str, most: int) -> None:
    def count(part: str) -> int:
        return len(part.encode(errors="replace"))

    parts = parts_of(text, most, count)

    assert "".join(parts) == text
    assert all(parts) or not text
    assert all(count(part) <= most or len(part) == 1 for part in parts)


@pytest.mark.parametrize(
    ("border", "text"),
    [
        ("\n\n", "One line.\nTwo lines. And more\n\nThree more"),
        ("\n", "One line. Two, and.\nThree more lines. And"),
        (". ", "One line and two. Three more lines and so on"),
        ("。", "一二三四五六七八九十一二三四五六七八九十一二三四五。六七八九十一二三四五六七八九十一二三四"),
        (" ", "one line and two three more lines"),
    ],
)
def test_the_best_border_is_cut_at(border: str, text: str) -> None:
    first, *_ = parts_of(text, 10, lambda part: len(part) // 3)

    assert first.endswith(border)


@pytest.mark.parametrize(
    "piece",
    ["x", "a ", "\n", "\n\n", SENTENCE, "漢", "x" * 99 + "\n"],
    ids=["x", "a", "n", "nn", "prose", "han", "lines"],
)
def test_ten_megabytes_take_a_moment(piece: str) -> None:
    text = piece * (10_000_000 // len(piece))
    started = time.process_time()

    parts = parts_of(text, 1_000, lambda part: len(part) // 3)

    assert time.process_time() - started < 5
    assert "".join(parts) == text


# How it is published


def test_the_last_message_of_a_chat_is_the_text() -> None:
    assert CHAIN.from_messages
    chat = [HumanMessage("Before"), AIMessage("…"), HumanMessage([{"type": "text", "text": "All of this"}])]

    assert CHAIN.from_messages(chat) == SummarizeInput(text="All of this")


def test_the_form_shows_every_field() -> None:
    fields = SummarizeInput.model_json_schema()["properties"]

    assert {name: field["type"] for name, field in fields.items()} == dict.fromkeys(fields, "string")
    assert all(field["description"] and field["examples"] for field in fields.values())


def test_the_embedded_model_summarizes() -> None:
    chunks = list(CHAIN.build(load_settings()).stream({"text": SENTENCE, "length": "short"}))

    assert len([chunk for chunk in chunks if chunk.text]) > 3
    assert sum(chunk.usage_metadata["output_tokens"] for chunk in chunks if chunk.usage_metadata) > 3
