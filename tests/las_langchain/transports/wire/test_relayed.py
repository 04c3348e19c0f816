"""What a provider wrote is given to clients as it is only where it is what OpenAI would have written."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from las_langchain.errors import APIError, BadRequestError
from las_langchain.providers import Target
from las_langchain.transports.wire.answers import completion, decoded, embeddings, text_completion
from las_langchain.transports.wire.chunks import ChunkReader
from las_langchain.transports.wire.failures import read_from
from las_langchain.transports.wire.requests import text_request

TARGET = Target("openai", "m", "openai/m", "http://127.0.0.1:9/v1")


def written(delta: dict[str, Any], **fields: Any) -> bytes:
    """A chunk."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
    said = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return orjson.dumps({**said, **fields})


FIRST = written({"role": "assistant", "content": "a"})


def test_a_chunk_in_openais_form_stays_as_it_came() -> None:
    for said in ("b", "\u2028data: x", "\x00", "\n\ndata: [DONE]\n\n"):
        (_, event), failure = ChunkReader(TARGET).read_all([FIRST, written({"content": said})])
        assert failure is None
        assert event.raw == written({"content": said})
        assert b"\n" not in event.raw


@pytest.mark.parametrize(
    "fields", [{"object": "error"}, {"object": None}, {"id": None}, {"id": ""}, {"model": None}, {"created": None}]
)
def test_another_is_put_into_it(fields: dict[str, Any]) -> None:
    (_, event), _ = ChunkReader(TARGET).read_all([FIRST, written({"content": "b"}, **fields)])
    assert event.raw is None
    assert orjson.dumps(event.chunk) == written({"content": "b"})


@pytest.mark.parametrize("usage", [{}, {"prompt_tokens": "many"}, [], 7])
def test_usage_that_counts_nothing_is_not_told(usage: Any) -> None:
    (_, event), _ = ChunkReader(TARGET).read_all([FIRST, written({"content": "b"}, usage=usage)])
    assert (event.raw, "usage" in event.chunk) == (None, False)


def test_azures_first_chunk_gives_no_name_to_the_others() -> None:
    reader = ChunkReader(TARGET)
    first = orjson.dumps(
        {"id": "", "object": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": []}
    )
    end = written({"content": "b"}, usage={"prompt_tokens": 1, "completion_tokens": 1}).replace(
        b'"finish_reason":null', b'"finish_reason":"stop"'
    )
    reader.read_all([first, FIRST, end])
    last = reader.end()
    assert last is not None
    assert (last.chunk["id"], last.chunk["model"], last.chunk["created"]) == ("c", "m", 1)


@pytest.mark.parametrize(
    "said",
    [
        written({"content": 7}),
        written({"content": {"text": "b"}}),
        written({"tool_calls": [{"index": 0, "function": "f"}]}),
        FIRST.replace(b'"a"', b'"\\ud83d"').replace(b'"created":1', b'"created":NaN'),
        b'{"a":"\\ud83d","b":' + b"[" * 100_000,
    ],
)
def test_what_is_no_chunk_ends_the_stream(said: bytes) -> None:
    events, failure = ChunkReader(TARGET).read_all([FIRST, said])
    assert len(events) == 1
    assert isinstance(failure, APIError)


@pytest.mark.parametrize("choice", [{"text": 7}, {"text": "a", "finish_reason": {"why": "stop"}}, {"text": ["a"]}])
def test_a_text_is_a_text(choice: dict[str, Any]) -> None:
    said = orjson.dumps({"choices": [choice]})
    assert isinstance(ChunkReader(TARGET, text=True).read_all([said])[1], APIError)
    with pytest.raises(APIError), read_from(TARGET):
        text_completion(said, TARGET)


@pytest.mark.parametrize("message", [{"content": 7}, {"tool_calls": [{"id": "c", "function": "f"}]}])
def test_a_message_is_a_message(message: dict[str, Any]) -> None:
    with pytest.raises(APIError), read_from(TARGET):
        completion(orjson.dumps({"choices": [{"message": message}]}), TARGET)


@pytest.mark.parametrize("vector", ["AAAA", "no vector", ["a"], [1e300], [None]])
@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_a_vector_is_a_vector(vector: Any, encoding: str) -> None:
    said = orjson.dumps({"data": [{"embedding": vector}]})
    if isinstance(vector, str) is (encoding == "float"):
        with pytest.raises(APIError, match="no answer"), read_from(TARGET):
            embeddings(said, TARGET, encoding)


def test_half_of_a_letter_is_read() -> None:
    assert decoded(b'{"a": "\\ud83d"}') == {"a": "\ud83d"}


def test_a_prompt_goes_only_where_prompts_are_taken() -> None:
    with pytest.raises(BadRequestError, match="groq/m takes no prompt"):
        text_request(Target("groq", "m", "groq/m"), {"prompt": "Once"})
