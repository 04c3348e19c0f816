"""ChatLAS on Anthropic's wire, through litellm: thoughts and their signatures, citations, caches, media, structure."""

from __future__ import annotations

import asyncio
from functools import reduce
from operator import add
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from pydantic import BaseModel

from las_langchain import ChatLAS
from las_langchain.errors import BadRequestError, RateLimitError, ServiceUnavailableError
from tests.fake_anthropic import FakeAnthropic, Reply
from tests.fake_openai import ToolCall
from tests.las_langchain.test_tools import weather

Json = dict[str, Any]
CLAUDE = "anthropic/claude-sonnet-4-5"
THINKING = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABh6FO1AAAAABJRU5ErkJggg=="
PDF = "JVBERi0xLjQKJSVFT0YK"
CITATION: Json = {
    "type": "char_location",
    "cited_text": "The grass is green.",
    "document_index": 0,
    "document_title": "Colours",
    "start_char_index": 0,
    "end_char_index": 19,
}


def thinker(**fields: Any) -> ChatLAS:
    return ChatLAS(model=CLAUDE, max_tokens=2000, model_kwargs=THINKING, **fields)


def ask(model: Any, messages: list[BaseMessage], way: str) -> AIMessage:
    """The answer, whole or out of a stream."""
    answer = model.invoke(messages) if way == "invoke" else reduce(add, model.stream(messages))
    assert isinstance(answer, AIMessage)
    return answer


@pytest.mark.parametrize("way", ["invoke", "stream"])
@pytest.mark.parametrize("output_version", [None, "v1"])
def test_thoughts_and_their_signatures_go_back(
    anthropic_upstream: FakeAnthropic, way: str, output_version: str | None
) -> None:
    model = thinker(output_version=output_version).bind_tools([weather])
    question = HumanMessage("What is the weather in Rome?")
    call = ToolCall("weather", {"city": "Rome"})
    anthropic_upstream.enqueue(Reply(thinking="hm ho", redacted_thinking=["zzz"], text="Let me see", tool_calls=[call]))
    answer = ask(model, [question], way)
    blocks: list[Any] = answer.content_blocks
    assert [block["type"] for block in blocks] == ["reasoning", "non_standard", "text", "tool_call"]
    assert blocks[0]["reasoning"] == "hm ho"
    assert blocks[0]["extras"]["signature"]
    assert blocks[1]["value"]["type"] == "redacted_thinking"
    answered = ToolMessage("sunny", tool_call_id=answer.tool_calls[0]["id"])
    assert "sunny" in ask(model, [question, answer, answered], way).text
    sent = anthropic_upstream.last.body["messages"][1]["content"]
    assert [block["type"] for block in sent] == ["thinking", "redacted_thinking", "text", "tool_use"]
    assert sent[0]["signature"] == blocks[0]["extras"]["signature"]


@pytest.mark.parametrize("way", ["invoke", "stream"])
@pytest.mark.parametrize("output_version", [None, "v1"])
def test_citations(anthropic_upstream: FakeAnthropic, way: str, output_version: str | None) -> None:
    anthropic_upstream.enqueue(Reply(text="Green", citations=[CITATION]))
    answer = ask(ChatLAS(model=CLAUDE, output_version=output_version), [HumanMessage("Which colour?")], way)
    (block,) = answer.content_blocks
    (cited,) = block["annotations"]  # type: ignore[typeddict-item]
    assert (cited["type"], cited["cited_text"], cited["title"]) == ("citation", "The grass is green.", "Colours")


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_caches_are_asked_for_counted_and_priced(anthropic_upstream: FakeAnthropic, way: str) -> None:
    cached = {"cache_control": {"type": "ephemeral"}}
    usage = {"input_tokens": 10, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 200, "output_tokens": 7}
    anthropic_upstream.enqueue(Reply(text="x", usage=usage))
    messages: list[BaseMessage] = [
        SystemMessage([{"type": "text", "text": "Long rules", **cached}]),
        HumanMessage([{"type": "text", "text": "hi", **cached}]),
    ]
    answer = ask(ChatLAS(model=CLAUDE), messages, way)
    sent = anthropic_upstream.last.body
    assert (
        sent["system"][0]["cache_control"]
        == sent["messages"][0]["content"][0]["cache_control"]
        == {"type": "ephemeral"}
    )
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["input_tokens"] == 310
    details = answer.usage_metadata["input_token_details"]
    assert (details["cache_read"], details["cache_creation"]) == (100, 200)
    assert answer.response_metadata["cost"] == pytest.approx(10 * 3e-6 + 100 * 3e-7 + 200 * 3.75e-6 + 7 * 15e-6)


IMAGES: list[Json] = [
    {"type": "image", "base64": PNG, "mime_type": "image/png"},
    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
    {"type": "image", "source_type": "base64", "data": PNG, "mime_type": "image/png"},
]
FILES: list[Json] = [
    {"type": "file", "base64": PDF, "mime_type": "application/pdf"},
    {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}},
]


@pytest.mark.parametrize("block", [*IMAGES, *FILES])
def test_media_from_people_and_from_tools(anthropic_upstream: FakeAnthropic, block: Json) -> None:
    kind = "image" if block in IMAGES else "document"
    model = ChatLAS(model=CLAUDE)
    model.invoke([HumanMessage([{"type": "text", "text": "What is this?"}, block])])
    sent = anthropic_upstream.last.body["messages"][0]["content"][1]
    assert (sent["type"], sent["source"]["data"]) == (kind, PNG if kind == "image" else PDF)
    call: Any = {"name": "weather", "args": {"city": "Rome"}, "id": "toolu_1"}
    history = [HumanMessage("hi"), AIMessage("", tool_calls=[call]), ToolMessage([block], tool_call_id="toolu_1")]
    model.bind_tools([weather]).invoke(history)
    result = anthropic_upstream.last.body["messages"][2]["content"][0]
    assert result["type"] == "tool_result"
    assert result["content"][0]["type"] == kind


def test_anthropics_own_tools_and_choices(anthropic_upstream: FakeAnthropic) -> None:
    tool = {
        "name": "weather",
        "description": "Tell the weather",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        "cache_control": {"type": "ephemeral"},
    }
    answer = (
        ChatLAS(model=CLAUDE).bind_tools([tool], tool_choice={"type": "tool", "name": "weather"}).invoke("In Rome?")
    )
    assert answer.tool_calls[0]["args"] == {"city": "Rome"}
    sent = anthropic_upstream.last.body
    assert sent["tools"][0]["cache_control"] == {"type": "ephemeral"}
    assert sent["tool_choice"] == {"type": "tool", "name": "weather"}


class Person(BaseModel):
    """A person."""

    name: str
    nickname: str | None = None


@pytest.mark.parametrize("way", ["invoke", "stream"])
@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output(anthropic_upstream: FakeAnthropic, way: str, method: Any) -> None:
    model = ChatLAS(model=CLAUDE).with_structured_output(Person, method=method)
    answer = model.invoke("hi 'Bob'") if way == "invoke" else list(model.stream("hi 'Bob'"))[-1]
    assert answer.name == "Bob"


async def test_streams_in_several_loops_leave_each_other_alone(anthropic_upstream: FakeAnthropic) -> None:
    words = "word " * 40
    anthropic_upstream.enqueue(*[Reply(text=words, chunk_delay=0.02)] * 4)
    model = ChatLAS(model=CLAUDE, stream_timeout=10)

    async def stream() -> str:
        return "".join([chunk.text async for chunk in model.astream("hi")])

    async def later(work: Any, *arguments: Any) -> str:
        await asyncio.sleep(0.2)
        return str(await asyncio.to_thread(work, *arguments))

    def in_a_loop_of_its_own() -> str:
        return asyncio.run(stream())

    def synchronously() -> str:
        return "".join(chunk.text for chunk in model.stream("hi"))

    answers = await asyncio.gather(stream(), later(synchronously), later(in_a_loop_of_its_own), stream())
    assert [answer.strip() for answer in answers] == [words.strip()] * 4


def test_json_mode_is_asked_for_in_words(anthropic_upstream: FakeAnthropic) -> None:
    anthropic_upstream.enqueue(Reply(text='{"name": "Bob"}'))
    model = ChatLAS(model=CLAUDE).with_structured_output(Person, method="json_mode")
    assert model.invoke([SystemMessage("Be brief."), HumanMessage("hi")]) == Person(name="Bob")
    told = [block["text"] for block in anthropic_upstream.last.body["system"]]
    assert told == ["Answer with one JSON object and nothing else, without a code fence.", "Be brief."]


@pytest.mark.parametrize(
    ("status", "kind"), [(400, BadRequestError), (429, RateLimitError), (529, ServiceUnavailableError)]
)
def test_errors_keep_their_meaning(anthropic_upstream: FakeAnthropic, status: int, kind: type[Exception]) -> None:
    anthropic_upstream.enqueue(*[Reply(status=status)] * 3)
    with pytest.raises(kind) as error:
        ChatLAS(model=CLAUDE, max_retries=0).invoke("hi")
    assert "litellm" not in str(error.value).lower()
    assert "{" not in str(error.value)
    assert len(anthropic_upstream.requests) == 1


@pytest.mark.parametrize(
    ("ask_wrongly", "text"),
    [
        (lambda: ChatLAS(model=CLAUDE).invoke([SystemMessage("x")]), "at least one non-system message"),
        (lambda: ChatLAS(model=CLAUDE, seed=3).invoke("hi"), "seed"),
        (lambda: ChatLAS(model="anthropic/claude-opus-5-5", temperature=0).invoke("hi"), "temperature"),
    ],
)
def test_what_is_refused_beforehand_says_why_without_advice_about_litellm(
    anthropic_upstream: FakeAnthropic, ask_wrongly: Any, text: str
) -> None:
    with pytest.raises(BadRequestError, match=text) as error:
        ask_wrongly()
    assert "litellm" not in str(error.value)
    assert anthropic_upstream.requests == []


def test_anthropics_own_fields(anthropic_upstream: FakeAnthropic) -> None:
    own: Json = {"output_config": {"effort": "low"}, "cache_control": {"type": "ephemeral"}}
    assert ChatLAS(model="anthropic/claude-opus-4-6", extra_body=own).invoke("hi").text
    assert {name: anthropic_upstream.last.body[name] for name in own} == own
    with pytest.raises(BadRequestError, match=r"extra_body\.api_base: not a field of Anthropic's"):
        ChatLAS(model=CLAUDE, extra_body={"api_base": "http://127.0.0.1:9"}).invoke("hi")
    assert len(anthropic_upstream.requests) == 1
