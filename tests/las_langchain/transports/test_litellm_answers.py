"""litellm's chunks and requests, made with less work than litellm's own way: they are the same."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import Any

import litellm
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from litellm.main import responses_api_bridge_check
from litellm.types.utils import ModelResponseStream

from las_langchain.errors import LASError
from las_langchain.providers import resolve
from las_langchain.settings import load_settings
from las_langchain.transports.litellm import LiteLLMTransport
from las_langchain.transports.litellm.answers import chunk_of, clean_chunk
from las_langchain.transports.litellm.requests import chat_arguments
from tests.conftest import UPSTREAM_KEY
from tests.fake_openai import FakeOpenAI, Reply

TOKEN = {"token": "a", "bytes": [97], "logprob": -1.0, "top_logprobs": []}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "prompt_tokens_details": {"cached_tokens": 1}}
CALLS: list[Any] = [
    [{"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{"}}],
    [{"index": 1, "id": None, "function": {"name": None, "arguments": "}"}}],
    [{"index": 0, "id": "c2", "type": "custom", "custom": {"name": "g", "input": "x"}}],
]
TEXTS = st.sampled_from([None, "", "word", "ü\n"])


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


DELTAS = some(
    content=TEXTS,
    role=st.sampled_from([None, "assistant"]),
    refusal=TEXTS,
    reasoning_content=TEXTS,
    reasoning=TEXTS,
    tool_calls=st.sampled_from([None, [], *CALLS]),
    function_call=st.sampled_from([None, {"name": "f", "arguments": ""}, {"arguments": "{}"}]),
    audio=st.sampled_from([None, {"id": "a", "data": "AAAA", "transcript": "hm"}]),
    images=st.sampled_from([None, [], [{"type": "image_url", "index": 0, "image_url": {"url": "data:,"}}]]),
    annotations=st.sampled_from([None, [], [{"type": "url_citation", "url_citation": {"url": "u", "title": "t"}}]]),
    thinking_blocks=st.sampled_from([None, [], [{"type": "thinking", "thinking": "hm", "signature": "s"}]]),
    provider_specific_fields=st.sampled_from([None, {}, {"citation": {"url": "u"}}, {"refusal": None}]),
    further=st.sampled_from([None, "x", 1, 0.5, True, [], {"deep": None}]),
)
CHOICES = some(
    delta=DELTAS,
    finish_reason=st.sampled_from([None, "stop", "tool_calls", "eos"]),
    index=st.integers(0, 2),
    logprobs=st.sampled_from([None, {"content": [TOKEN], "refusal": None}]),
    enhancements=st.sampled_from([None, {"a": 1}]),
    content_filter_results=st.sampled_from([None, {}, {"hate": {"filtered": False}}]),
)
CHUNKS = some(
    choices=st.lists(CHOICES, max_size=2),
    id=TEXTS,
    created=st.integers(0, 2**31),
    model=TEXTS,
    system_fingerprint=TEXTS,
    service_tier=TEXTS,
    citations=st.sampled_from([None, [], ["u"]]),
    usage=st.sampled_from([None, USAGE]),
    provider_specific_fields=st.sampled_from([None, {}, {"a": 1}]),
    vertex_ai_grounding_metadata=st.sampled_from([None, [], [{"a": None}]]),
    hidden_params=st.sampled_from([None, {"a": 1}]),
    obfuscation=TEXTS,
)


@given(CHUNKS, TEXTS)
def test_a_chunk_is_what_it_would_be_of_its_dump(fields: dict[str, Any], model: str | None) -> None:
    chunk = ModelResponseStream(**fields)
    assert _typed(chunk_of(chunk, model)) == _typed(clean_chunk(chunk.model_dump(), model))


STREAMS = [
    *[{"delta": {"content": "a", "tool_calls": calls}} for calls in CALLS],
    {"delta": {"role": "assistant", "content": ""}},
    {"delta": {"content": "a"}, "logprobs": {"content": [TOKEN], "refusal": None}},
    {"delta": {"content": "a", "reasoning_content": "b", "reasoning": "b"}},
    {"delta": {"refusal": "no"}},
    {"delta": {"content": "a", "annotations": [{"type": "url_citation"}]}},
    {"delta": {"content": "a"}, "content_filter_results": {}},
]


@pytest.mark.parametrize("model", ["openai/gpt-4o", "hosted_vllm/gpt-4o"])
@pytest.mark.parametrize("choice", STREAMS)
async def test_so_is_each_chunk_of_a_stream(upstream: FakeOpenAI, model: str, choice: Any) -> None:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "service_tier": "flex"}
    sent = [{"delta": {"role": "assistant", "content": "Hi"}}, choice, {"delta": {}, "finish_reason": "stop"}]
    events = [{**head, "choices": [{"index": 0, **one}]} for one in sent] + [{**head, "choices": [], "usage": USAGE}]
    raw = b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in events)
    upstream.enqueue(Reply(raw=raw + b"data: [DONE]\n\n", raw_type="text/event-stream"))
    chunks = await litellm.acompletion(
        model,
        [{"role": "user", "content": "Hi"}],
        stream=True,
        stream_options={"include_usage": True},
        api_base=upstream.url,
        api_key=UPSTREAM_KEY,
    )
    compared = 0
    async for chunk in chunks:
        assert _typed(chunk_of(chunk, "m")) == _typed(clean_chunk(chunk.model_dump(), "m"))
        compared += 1
    assert compared >= 3


def _typed(chunk: dict[str, Any]) -> str:
    """*chunk* with the types of what is in it, whatever the order of its keys."""
    return repr(_sorted(chunk))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def test_whether_a_request_is_translated_is_litellms_word() -> None:
    settings = load_settings(openai_api_key="sk-test")
    for known in (*litellm.open_ai_chat_completion_models, "responses/gpt-4o", "unknown", "ft:gpt-4o:a"):
        target = resolve(f"openai/{known}", settings)
        info, _ = responses_api_bridge_check(target.model, "openai", api_base=target.api_base)
        given = chat_arguments(target, {"messages": [{"role": "user", "content": "Hi"}], "seed": 1})
        assert ("extra_body" in given) == (info.get("mode") != "responses"), known


def test_a_model_that_is_registered_meanwhile_is_looked_up_again() -> None:
    target = resolve("openai/las-test-model", load_settings(openai_api_key="sk-test"))
    body = {"messages": [{"role": "user", "content": "Hi"}], "seed": 1}
    assert "extra_body" in chat_arguments(target, body)
    litellm.register_model({"las-test-model": {"litellm_provider": "openai", "mode": "responses"}})
    try:
        assert "extra_body" not in chat_arguments(target, body)
    finally:
        del litellm.model_cost["las-test-model"]


def test_litellm_gets_tools_of_its_own() -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"enum": [[1], {"a": None}]}}}]
    target = resolve("openai/gpt-4o", load_settings(openai_api_key="sk-test"))
    given = chat_arguments(target, {"messages": [{"role": "user", "content": "Hi"}], "tools": tools})["tools"]
    assert given == copy.deepcopy(tools)
    given[0]["function"]["parameters"]["enum"][1]["a"] = 1
    assert tools[0]["function"] == {"name": "f", "parameters": {"enum": [[1], {"a": None}]}}


@pytest.mark.parametrize("model", ["groq/m", "vllm/m", "xai/m"])
async def test_the_next_try_has_the_messages_as_they_were(upstream: FakeOpenAI, model: str) -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi", **mark}], **mark}]}
    given = copy.deepcopy(body)
    provider = {model.partition("/")[0]: {"base_url": upstream.url, "api_key": UPSTREAM_KEY}}
    with suppress(LASError):
        await LiteLLMTransport().acomplete(resolve(model, load_settings(providers=provider)), given)
    assert upstream.requests
    assert given == body
