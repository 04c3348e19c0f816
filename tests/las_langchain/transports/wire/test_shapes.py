"""Answers and chunks of any shape: read, or refused as what they are."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from las_langchain.errors import LASError
from las_langchain.providers import Target
from las_langchain.transports.wire import answers
from las_langchain.transports.wire.chunks import ChunkReader
from las_langchain.transports.wire.failures import read_from, refusal
from las_langchain.transports.wire.usage import usage_of

TARGET = Target("openai", "gpt-4o", "openai/gpt-4o", "http://127.0.0.1:9/v1")
SCALARS = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text(max_size=8)
ODD = st.recursive(
    SCALARS, lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=4), one, max_size=3)
)
NAMES = st.sampled_from(
    "id object created model choices usage error x_groq index delta message text finish_reason logprobs role content "
    "reasoning reasoning_content tool_calls function name arguments prompt_tokens completion_tokens total_tokens "
    "prompt_tokens_details cached_tokens data embedding".split()
)
SHAPES: Any = st.recursive(
    ODD, lambda one: st.lists(one, max_size=3) | st.dictionaries(NAMES, one, max_size=6), max_leaves=20
)
ANSWERS = (
    st.fixed_dictionaries({}, optional={"choices": st.lists(SHAPES, max_size=3) | SHAPES, "usage": SHAPES}) | SHAPES
)


@given(st.lists(ANSWERS, max_size=4), st.booleans())
def test_a_stream_of_any_shape_is_read_or_refused(said: list[Any], text: bool) -> None:
    reader = ChunkReader(TARGET, text=text)
    events, failure = reader.read_all([orjson.dumps(one) for one in said])
    assert failure is None or isinstance(failure, LASError)
    for event in events:
        assert event.chunk["choices"]
        assert event.raw is None or orjson.loads(event.raw) == event.chunk
    try:
        reader.end()
    except LASError:
        assert not reader.is_whole


@given(ANSWERS, st.sampled_from(["completion", "text_completion", "embeddings"]))
def test_an_answer_of_any_shape_is_read_or_refused(said: Any, kind: str) -> None:
    further = (None,) if kind == "embeddings" else ()
    with suppress(LASError), read_from(TARGET):
        answer = getattr(answers, kind)(orjson.dumps(said), TARGET, *further)
        assert answer["choices" if "completion" in kind else "data"]


@given(ANSWERS | st.fixed_dictionaries({"error": SHAPES}), st.integers(300, 599))
def test_an_error_of_any_shape_is_one_line(said: Any, status: int) -> None:
    error = refusal(status, {}, orjson.dumps(said), TARGET)
    assert str(error).startswith("OpenAI")
    assert len(str(error).splitlines()) == 1


@given(SHAPES)
def test_usage_of_any_shape_is_counted_or_not(said: Any) -> None:
    usage = usage_of({"usage": said, "x_groq": said}) or {}
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert not isinstance(usage.get(name, 0), (str, bool, list, dict))


@pytest.mark.parametrize("told", ["7", True, [7], {"a": 7}])
def test_what_is_no_number_is_no_count(told: Any) -> None:
    assert usage_of({"usage": {"prompt_tokens": told, "completion_tokens": 3}}) == {"completion_tokens": 3}
