"""What other LangChain chat models get wrong, each by name: these tests fail on langchain-litellm 0.11.

Those marked so fail on langchain-openai 1.7 as well.
"""

from __future__ import annotations

import sqlite3
from functools import reduce
from operator import add, itemgetter
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.exceptions import ModelInvalidRequestError
from langchain_core.language_models.base import LangSmithParams
from langchain_core.load import dumpd, dumps, load, loads
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel, SecretStr

from las_langchain import ChatLAS, LASEmbeddings
from tests.fake_openai import FakeOpenAI, Reply, ToolCall

pytestmark = [
    pytest.mark.filterwarnings("ignore:The function `loads?` is in beta"),
    pytest.mark.filterwarnings("ignore:.*langchain-community.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The default value of `allowed_objects` will change"),
]


def chat(**kwargs: Any) -> Any:
    """The model under test."""
    return ChatLAS(model="openai/gpt-4o", **kwargs)


def embeddings(**kwargs: Any) -> Any:
    """The embeddings under test."""
    return LASEmbeddings(model="openai/text-embedding-3-small", **kwargs)


def total(chunks: Any) -> AIMessageChunk:
    result = reduce(add, chunks)
    assert isinstance(result, AIMessageChunk)
    return result


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


class Person(BaseModel):
    """A person."""

    name: str
    age: int | None = None


def test_model_of_one_call_is_reflected_in_model_name(upstream: FakeOpenAI) -> None:
    """langchain-litellm 0.11 names the constructor's model, whichever was asked."""
    answer = chat().invoke("hi", model="openai/gpt-4o-mini")
    assert upstream.last.body["model"] == "gpt-4o-mini"
    assert answer.response_metadata["model_name"] == "gpt-4o-mini"


def test_structured_output_format_is_bound_and_not_sent(upstream: FakeOpenAI) -> None:
    """langchain-litellm 0.11 never binds ``ls_structured_output_format``."""
    model = chat().with_structured_output(Person)
    assert "ls_structured_output_format" in model.first.kwargs
    model.invoke("hi")
    assert "ls_structured_output_format" not in upstream.last.body


def test_strict_schema_requires_optional_fields(upstream: FakeOpenAI) -> None:
    """langchain-litellm 0.11 leaves them out of ``required``, which OpenAI refuses."""
    upstream.enqueue(Reply(content='{"name": "Bob", "age": null}'))
    assert chat().with_structured_output(Person, method="json_schema", strict=True).invoke("hi") == Person(name="Bob")
    assert upstream.last.body["response_format"]["json_schema"]["schema"]["required"] == ["name", "age"]


def test_audio_tokens_are_counted(upstream: FakeOpenAI) -> None:
    """langchain-litellm 0.11 has no audio token details."""
    usage = {"prompt_tokens_details": {"audio_tokens": 3}, "completion_tokens_details": {"audio_tokens": 4}}
    upstream.enqueue(Reply(content="x", usage=usage), Reply(content="x", usage=usage))
    for answer in (chat().invoke("hi"), total(chat().stream("hi"))):
        assert answer.usage_metadata is not None
        assert answer.usage_metadata["input_token_details"]["audio"] == 3
        assert answer.usage_metadata["output_token_details"]["audio"] == 4


def test_images_in_anthropics_format_are_taken(upstream: FakeOpenAI) -> None:
    """langchain-litellm 0.11 passes them on as they are, and OpenAI refuses them."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    chat().invoke([HumanMessage([{"type": "text", "text": "What is this?"}, image])])
    assert upstream.last.body["messages"][0]["content"][1]["image_url"]["url"] == "data:image/png;base64,AAAA"


def test_the_model_is_serializable() -> None:
    """langchain-litellm 0.11 is not."""
    model = chat(temperature=0.5, api_key="sk-secret-0123456789")
    dumped = dumpd(model)
    assert dumped["kwargs"]["api_key"] == {"lc": 1, "type": "secret", "id": ["OPENAI_API_KEY"]}
    assert "sk-secret" not in str(dumped)
    secrets = {"OPENAI_API_KEY": "sk-secret-0123456789"}
    loaded = load(dumped, secrets_map=secrets, valid_namespaces=["las_langchain"], allowed_objects=[type(model)])
    assert loaded.model_dump() == model.model_dump()


def test_the_model_is_read_from_the_environment(upstream: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    """langchain-litellm 0.11 reads no settings but keys."""
    monkeypatch.setenv("LAS_MODEL", "openai/gpt-4o-mini")
    assert type(chat())().invoke("hi").response_metadata["model_name"] == "gpt-4o-mini"
    assert upstream.last.headers["authorization"].startswith("Bearer sk-upstream")


CITED = {"url": "https://x", "title": "t", "start_index": 0, "end_index": 1}
FULL = Reply(
    content="x",
    reasoning="hm",
    annotations=[{"type": "url_citation", "url_citation": CITED}],
    tool_calls=[ToolCall("multiply", {"a": 1, "b": 2})],
    logprobs={"content": [{"token": "x", "logprob": -0.1, "bytes": [120], "top_logprobs": []}]},
)


def test_messages_hold_plain_json(upstream: FakeOpenAI) -> None:
    """langchain-litellm 0.11 leaves litellm's objects in them, which come back as something else."""
    upstream.enqueue(FULL, FULL)
    for answer in (chat().invoke("hi"), total(chat().stream("hi"))):
        assert loads(dumps(answer), allowed_objects="core") == answer
        _check_plain(answer.model_dump())


def _check_plain(value: Any) -> None:
    if isinstance(value, dict):
        assert type(value) is dict
        for item in value.values():
            _check_plain(item)
    elif isinstance(value, list):
        for item in value:
            _check_plain(item)
    else:
        assert value is None or type(value) in (str, int, float, bool)


def test_answers_pass_through_an_sqlite_cache(upstream: FakeOpenAI, tmp_path: Path) -> None:
    """langchain-litellm 0.11 gets another message out of it than it put in."""
    from langchain_community.cache import SQLiteCache

    model = chat(cache=SQLiteCache(str(tmp_path / "cache.db")))
    upstream.enqueue(FULL)
    first, second = model.invoke("hi"), model.invoke("hi")
    assert len(upstream.requests) == 1
    assert second.content == first.content == "x"
    assert second.tool_calls == first.tool_calls
    assert second.additional_kwargs == first.additional_kwargs
    same = {"model_name", "model_provider", "finish_reason", "logprobs", "cost"}
    assert {key: second.response_metadata[key] for key in same} == {key: first.response_metadata[key] for key in same}
    with sqlite3.connect(tmp_path / "cache.db") as connection:
        assert "sk-upstream" not in str(connection.execute("select * from full_llm_cache").fetchall())


async def test_answers_pass_through_a_checkpoint(upstream: FakeOpenAI) -> None:
    """langchain-litellm 0.11's messages lose or change what litellm's objects held."""
    saver = InMemorySaver()
    agent = create_agent(chat(), [multiply], checkpointer=saver)
    upstream.enqueue(FULL)
    config: Any = {"configurable": {"thread_id": "1"}}
    answered = (await agent.ainvoke({"messages": [HumanMessage("hi")]}, config))["messages"]
    restored = (await agent.aget_state(config)).values["messages"]
    assert restored == answered
    for message in restored:
        kind, data = saver.serde.dumps_typed(message)
        assert saver.serde.loads_typed((kind, data)) == message


@pytest.mark.parametrize(
    "arguments", [{"max_tokens": 5}, {"model_kwargs": {"verbosity": "low"}}, {"api_base": "http://127.0.0.1:9"}]
)
def test_cache_keys_tell_models_apart(arguments: dict[str, Any]) -> None:
    """langchain-litellm 0.11 answers for one from the cache of the other."""
    assert chat()._get_llm_string() != chat(**arguments)._get_llm_string()
    assert chat(**arguments)._get_llm_string() == chat(**arguments)._get_llm_string()


def test_unknown_arguments_are_refused() -> None:
    """langchain-litellm 0.11 drops them."""
    with pytest.raises(ValueError, match="temprature"):
        chat(temprature=0)


def test_a_bad_request_is_a_model_error_and_tried_once(upstream: FakeOpenAI) -> None:
    """langchain-litellm 0.11 raises no ``ModelError``, and tries a 400 three times."""
    upstream.enqueue(*[Reply(status=400)] * 5)
    with pytest.raises(ModelInvalidRequestError):
        chat(max_retries=2).invoke("hi")
    assert len(upstream.requests) == 1


def test_the_profile_is_known() -> None:
    """langchain-litellm 0.11 has none."""
    assert chat().profile["max_input_tokens"] == 128_000


def test_tokens_are_counted_offline() -> None:
    """langchain-litellm 0.11 asks a hub for another model's tokenizer."""
    assert chat().get_num_tokens("hello there world") == 3
    assert chat().get_num_tokens_from_messages([HumanMessage("hello there world")]) > 3


def test_keys_are_secrets() -> None:
    """langchain-litellm 0.11 keeps them as texts and prints them."""
    model = chat(api_key="sk-secret-0123456789")
    assert isinstance(model.api_key, SecretStr)
    assert "sk-secret" not in repr(model) + str(model) + dumps(model) + str(model._identifying_params)


def test_strict_is_said_inside_the_function(upstream: FakeOpenAI) -> None:
    """langchain-litellm 0.11 sends it at the top of the request, where OpenAI refuses it."""
    chat().bind_tools([multiply], strict=True).invoke("hi")
    assert "strict" not in upstream.last.body
    assert upstream.last.body["tools"][0]["function"]["strict"] is True


def test_structured_output_keeps_its_tools(upstream: FakeOpenAI) -> None:
    """langchain-litellm 0.11 drops them."""
    upstream.enqueue(Reply(content='{"name": "Bob", "age": 1}'))
    chat().with_structured_output(Person, method="json_schema", tools=[multiply]).invoke("hi")
    assert upstream.last.body["tools"][0]["function"]["name"] == "multiply"
    assert "response_format" in upstream.last.body


def test_names_of_people_are_sent(upstream: FakeOpenAI) -> None:
    """langchain-litellm 0.11 drops them."""
    chat().invoke([HumanMessage("hi", name="bob")])
    assert upstream.last.body["messages"][0]["name"] == "bob"


def test_embeddings_are_batched(upstream: FakeOpenAI) -> None:
    """langchain-litellm 0.11 sends all texts at once, more than OpenAI takes."""
    vectors = embeddings().embed_documents([str(number) for number in range(2100)])
    assert len(vectors) == 2100
    assert len(upstream.requests) > 1
    assert max(len(request.body["input"]) for request in upstream.requests) <= 2048


def test_streams_of_several_answers_keep_them_apart(upstream: FakeOpenAI) -> None:
    """langchain-litellm 0.11 interleaves them; so does langchain-openai."""
    streamed = total(chat(n=2).stream("one two"))
    assert streamed.content == "Echo: one two"
    assert streamed.additional_kwargs["candidates"][0]["content"] == "Echo: one two #1"


def test_version_1_streams_keep_text_and_tool_calls_apart(upstream: FakeOpenAI) -> None:
    """langchain-litellm 0.11 loses the tool call's block; so does langchain-openai."""
    upstream.enqueue(Reply(content="a b", reasoning="hm ho", tool_calls=[ToolCall("f", {"a": 1}), ToolCall("g", "{}")]))
    blocks = total(chat(output_version="v1").stream("hi")).content_blocks
    assert [block["type"] for block in blocks] == ["reasoning", "text", "tool_call", "tool_call"]
    assert [block.get("reasoning", block.get("text", block.get("args"))) for block in blocks] == [
        "hm ho",
        "a b",
        {"a": 1},
        {},
    ]


@pytest.mark.parametrize("output_version", [None, "v1"])
def test_generated_images_are_kept(upstream: FakeOpenAI, output_version: str | None) -> None:
    """langchain-litellm 0.11 loses them; so does langchain-openai."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}, "index": 0}
    reply = Reply(content="here", extra={"images": [image]})
    upstream.enqueue(reply, reply)
    for answer in (
        chat(output_version=output_version).invoke("hi"),
        total(chat(output_version=output_version).stream("hi")),
    ):
        images = [block for block in answer.content_blocks if block["type"] == "image"]
        assert list(map(itemgetter("base64", "mime_type"), images)) == [("AAAA", "image/png")]


@pytest.mark.parametrize("output_version", [None, "v1"])
def test_refusals_are_kept(upstream: FakeOpenAI, output_version: str | None) -> None:
    """langchain-litellm 0.11 loses them; langchain-openai loses the streamed ones."""
    upstream.enqueue(Reply(refusal="I will not"), Reply(refusal="I will not"))
    for answer in (
        chat(output_version=output_version).invoke("hi"),
        total(chat(output_version=output_version).stream("hi")),
    ):
        values: list[Any] = [block["value"] for block in answer.content_blocks if block["type"] == "non_standard"]
        assert values == [{"type": "refusal", "refusal": "I will not"}]


def test_provider_has_one_name(upstream: FakeOpenAI) -> None:
    """langchain-litellm 0.11 gives an answer none, so LangChain's summarisation does not trust its token counts."""
    params: LangSmithParams = chat()._get_ls_params()
    assert chat().invoke("hi").response_metadata["model_provider"] == params["ls_provider"] == "openai"
    assert total(chat().stream("hi")).response_metadata["model_provider"] == "openai"


def test_usage_callbacks_count_streams_too(upstream: FakeOpenAI) -> None:
    """langchain-litellm 0.11 gives streams no ``model_name``, without which the handler skips them."""
    counter = UsageMetadataCallbackHandler()
    total(chat().stream("hi", config={"callbacks": [counter]}))
    assert counter.usage_metadata["gpt-4o-2024-08-06"]["total_tokens"] > 0


def test_broken_calls_go_back(upstream: FakeOpenAI) -> None:
    """langchain-litellm 0.11 drops them, as langchain-core's own conversion does, and the tool's answer is refused."""
    broken: Any = {"name": "f", "args": "{bro", "id": "1", "error": None, "type": "invalid_tool_call"}
    chat().invoke([HumanMessage("hi"), AIMessage("", invalid_tool_calls=[broken]), ToolMessage("no", tool_call_id="1")])
    assert upstream.last.body["messages"][1]["tool_calls"][0]["function"]["arguments"] == "{bro"
