"""Chats whose tool calls are carried out, over a real socket."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import datetime
import json
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from decimal import Decimal
from functools import partial
from typing import Annotated, Any

import numpy as np
import pytest
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.tools import BaseTool, InjectedToolCallId, StructuredTool, ToolException, tool
from pydantic import BaseModel, Field

from las_langchain.errors import AuthenticationError, BadRequestError, LASError, ModelNotFoundError
from las_langchain.prices import cost_of
from las_langchain.service import LiteLLMService
from las_langchain.settings import load_settings
from las_langchain.tool_handlers import MAX_RESULT, Toolbox
from las_langchain.tool_loop import MAX_PARALLEL
from las_langchain.tools import ToolDefinition, openai_tool
from tests.fake_anthropic import FakeAnthropic
from tests.fake_anthropic import Reply as AnthropicReply
from tests.fake_openai import FakeOpenAI, Reply, ToolCall
from tests.las_langchain.test_completions import wait_until
from tests.media import png

Json = dict[str, Any]
GPT = "openai/gpt-4o"
CLAUDE = "anthropic/claude-sonnet-4-5"
CITY: Json = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = ToolDefinition("weather", "Tell the weather of a city.", CITY)
NOTHING = ToolDefinition("nothing")
HELLO: list[Json] = [{"role": "user", "content": "hello there"}]


@pytest.fixture
def openai(upstream: FakeOpenAI) -> LiteLLMService:
    return LiteLLMService()


def calls(*given: ToolCall) -> Reply:
    return Reply(tool_calls=given)


def in_city(city: Any, identifier: str = "call_1") -> ToolCall:
    return ToolCall("weather", {"city": city}, identifier)


def told(upstream: FakeOpenAI) -> list[str]:
    """What the model was told of its last calls."""
    messages = upstream.last.body["messages"]
    last = max(index for index, message in enumerate(messages) if message["role"] == "assistant")
    return [message["content"] for message in messages[last + 1 :]]


def sunny(city: str) -> str:
    return f"sunny in {city}"


def ask(service: LiteLLMService, handler: Callable[..., Any] = sunny, **options: Any) -> Any:
    return service.chat_with_tools(HELLO, [WEATHER], {"weather": handler}, GPT, **options)


# How it goes


def test_a_call_is_carried_out_and_answered(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    messages = [{"role": "user", "content": 'What is the weather in "Tokyo"?'}]
    result = openai.chat_with_tools(messages, [WEATHER], {"weather": sunny}, "gpt-4o", "openai", temperature=0)
    assert result["response"] == result.response == "The result is: sunny in Tokyo"
    assert (result.rounds, result.stopped) == (1, "answer")
    (call,) = result.tool_calls
    assert (call["name"], call["arguments"], call["result"]) == ("weather", {"city": "Tokyo"}, "sunny in Tokyo")
    assert 0 <= call["seconds"] < 5
    assert [message["role"] for message in result.messages] == ["user", "assistant", "tool", "assistant"]
    assert result.messages[0] == messages[0]
    assert result.messages[1]["tool_calls"][0]["id"] == result.messages[2]["tool_call_id"] == call["id"]
    assert result.messages[3] == {"role": "assistant", "content": result.response}
    sent = upstream.last.body["messages"]
    # litellm leaves out what is None.
    assert sent == [{k: v for k, v in message.items() if v is not None} for message in result.messages[:-1]]
    assert [request.body["temperature"] for request in upstream.requests] == [0, 0]
    assert json.loads(json.dumps(result)) == result
    with pytest.raises(AttributeError, match="response"):
        result.answer  # noqa: B018


async def test_the_async_form_does_alike(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    async def weather(city: str) -> str:
        await asyncio.sleep(0)
        return f"rain in {city}"

    upstream.enqueue(calls(in_city("Rome")))
    result = await openai.achat_with_tools("hello there", [WEATHER], {"weather": weather}, GPT)
    assert result.response == "The result is: rain in Rome"
    assert result.messages[0] == {"role": "user", "content": "hello there"}


def test_without_a_call_it_is_a_plain_chat(openai: LiteLLMService) -> None:
    result = ask(openai)
    assert (result.response, result.rounds, result.tool_calls) == ("Echo: hello there", 0, [])


def test_usage_and_cost_are_summed(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    def used(prompt: int, cached: int) -> Json:
        return {
            "prompt_tokens": prompt, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": cached},
        }  # fmt: skip

    upstream.enqueue(Reply(tool_calls=[in_city("Rome")], usage=used(100, 64)), Reply(content="x", usage=used(200, 0)))
    result = ask(openai)
    assert result.usage["prompt_tokens"] == 300
    assert result.usage["total_tokens"] == 320
    assert result.usage["prompt_tokens_details"]["cached_tokens"] == 64
    assert result.cost == pytest.approx((cost_of(GPT, used(100, 64)) or 0) + (cost_of(GPT, used(200, 0)) or 0))


def test_the_cost_is_unknown_if_one_is(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    upstream.enqueue(calls(in_city("Rome")))
    result = openai.chat_with_tools(HELLO, [WEATHER], {"weather": sunny}, "openai/fake-model")
    assert result.cost is None
    assert result.usage["total_tokens"] > 0


def test_tools_may_be_an_iterator(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    upstream.enqueue(calls(in_city("Rome")))
    result = openai.chat_with_tools(HELLO, iter([WEATHER]), {"weather": sunny}, GPT)
    assert result.response == "The result is: sunny in Rome"


def test_several_rounds_follow_each_other(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    upstream.enqueue(calls(in_city("Rome")), calls(in_city("Oslo", "call_2")))
    result = ask(openai)
    assert [call["arguments"]["city"] for call in result.tool_calls] == ["Rome", "Oslo"]
    assert result.rounds == 2
    assert result.response == "The result is: sunny in Oslo"


def test_langchains_messages_and_the_settings_model_are_taken(upstream: FakeOpenAI) -> None:
    service = LiteLLMService(load_settings(model=GPT))
    upstream.enqueue(calls(in_city("Rome")))
    result = service.chat_with_tools([SystemMessage("Be brief."), HumanMessage("hi")], [WEATHER], {"weather": sunny})
    assert [message["role"] for message in result.messages[:2]] == ["system", "user"]
    assert result.response == "The result is: sunny in Rome"


def test_the_embedded_model_uses_tools(service: LiteLLMService) -> None:
    result = service.chat_with_tools("What is the weather in Tokyo?", [WEATHER], {"weather": sunny})
    assert result.tool_calls[0]["result"] == "sunny in Tokyo"
    assert result.response
    assert result.cost == 0


def test_thoughts_go_back_to_their_provider(anthropic_upstream: FakeAnthropic) -> None:
    anthropic_upstream.enqueue(
        AnthropicReply(thinking="hm", text="Let me see", tool_calls=[in_city("Rome", "toolu_1")])
    )
    result = LiteLLMService().chat_with_tools(
        HELLO, [WEATHER], {"weather": sunny}, CLAUDE, max_tokens=2000,
        thinking={"type": "enabled", "budget_tokens": 1024},
    )  # fmt: skip
    blocks = anthropic_upstream.last.body["messages"][1]["content"]
    assert [block["type"] for block in blocks] == ["thinking", "text", "tool_use"]
    assert blocks[0]["signature"]
    assert "sunny in Rome" in result.response


def test_a_missing_id_is_made_up(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    call = {"type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [{"id": "", **call}, {"id": "", **call}]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    body = {"id": "x", "object": "chat.completion", "created": 1, "model": "gpt-4o", "choices": [choice]}
    upstream.enqueue(Reply(raw=json.dumps(body).encode()))
    result = ask(openai)
    first, second = (call["id"] for call in result.tool_calls)
    assert first
    assert first != second
    assert result.response == "The result is: sunny in Rome, sunny in Rome"


# Out of rounds, and forced calls


def test_out_of_rounds_the_model_has_to_answer(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    upstream.enqueue(*[calls(in_city("Rome", f"call_{number}")) for number in range(2)])
    result = ask(openai, max_rounds=2)
    assert (result.rounds, result.stopped, len(result.tool_calls)) == (2, "max_rounds", 2)
    assert result.response == "The result is: sunny in Rome"
    assert [request.body.get("tool_choice") for request in upstream.requests] == [None, None, "none"]


def test_calls_that_it_makes_all_the_same_are_left_out(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    upstream.enqueue(calls(in_city("Rome")), Reply(content="so far", tool_calls=[in_city("Oslo", "call_2")]))
    result = ask(openai, max_rounds=1)
    assert (result.response, len(result.tool_calls)) == ("so far", 1)
    assert result.messages[-1] == {"role": "assistant", "content": "so far"}


@pytest.mark.parametrize("choice", ["required", "weather", True])
def test_a_forced_call_is_forced_once(openai: LiteLLMService, upstream: FakeOpenAI, choice: Any) -> None:
    result = ask(openai, tool_choice=choice)
    first, second = (request.body["tool_choice"] for request in upstream.requests)
    assert first in ("required", {"type": "function", "function": {"name": "weather"}})
    assert second == "auto"
    assert result.rounds == 1


# Tools of every form


class Area(BaseModel):
    """Measure an area."""

    width: int
    height: int = Field(2, description="How high")


@tool
def doubled(number: int) -> int:
    """Double a number."""
    return 2 * number


@tool
async def halved(number: int) -> float:
    """Halve a number."""
    return number / 2


class Shout(BaseTool):
    """A tool with methods of its own."""

    name: str = "shout"
    description: str = "Shout a word."

    def _run(self, word: str) -> str:
        return word.upper()


def add_days(day: datetime.date, days: int = 1) -> datetime.date:
    """Add days to a date."""
    return day + datetime.timedelta(days=days)


async def measure(area: Area) -> int:
    """Measure an area."""
    return area.width * area.height


@pytest.mark.parametrize(
    ("given", "handler", "arguments", "result"),
    [
        (openai_tool(WEATHER), sunny, {"city": "Rome"}, "sunny in Rome"),
        ({"name": "weather", "input_schema": CITY}, sunny, {"city": "Rome"}, "sunny in Rome"),
        ({"type": "function", "name": "weather", "parameters": CITY}, sunny, {"city": "Rome"}, "sunny in Rome"),
        (Area, lambda width, height: width * height, {"width": 3}, "6"),
        (doubled, None, {"number": 4}, "8"),
        (halved, None, {"number": 5}, "2.5"),
        (Shout(), None, {"word": "hey"}, "HEY"),
        (doubled, lambda number: 3 * number, {"number": 4}, "12"),
        (ToolDefinition("doubled", parameters=doubled.get_input_jsonschema()), doubled, {"number": 4}, "8"),
        (add_days, None, {"day": "2026-01-31"}, '"2026-02-01"'),
        (measure, None, {"area": {"width": 4}}, "8"),
        (WEATHER, partial(sunny, city="Oslo"), {"city": "Rome"}, "sunny in Rome"),
        (NOTHING, lambda: None, {}, "null"),
        (NOTHING, lambda: asyncio.sleep(0, "later"), {}, "later"),
    ],
)
def test_tools_and_handlers_of_every_form(
    openai: LiteLLMService, upstream: FakeOpenAI, given: Any, handler: Any, arguments: Json, result: str
) -> None:
    name = openai_tool(given)["function"]["name"]
    upstream.enqueue(calls(ToolCall(name, arguments)))
    chat = openai.chat_with_tools(HELLO, [given], {name: handler} if handler else None, GPT)
    assert chat.tool_calls[0].get("result") == result, chat.tool_calls
    assert chat.response == f"The result is: {result}"


def test_a_langchain_tool_knows_the_calls_id_and_may_show_a_picture(
    openai: LiteLLMService, upstream: FakeOpenAI
) -> None:
    @tool
    def look(identifier: Annotated[str, InjectedToolCallId]) -> list[Json]:
        """Look."""
        image = {"type": "image", "base64": base64.b64encode(png()).decode(), "mime_type": "image/png"}
        return [{"type": "text", "text": identifier}, image]

    upstream.enqueue(calls(ToolCall("look", {}, "call_7"), in_city("Rome")), Reply(content="A red dot."))
    chat = openai.chat_with_tools(HELLO, [look, WEATHER], {"weather": sunny}, GPT)
    assert chat.response == "A red dot."
    roles = [message["role"] for message in upstream.last.body["messages"]]
    assert roles == ["user", "assistant", "tool", "tool", "user"]
    assert upstream.last.body["messages"][2]["content"][0]["text"] == "call_7"
    assert upstream.last.body["messages"][4]["content"][1]["type"] == "image_url"


def test_what_a_provider_runs_needs_no_handler(anthropic_upstream: FakeAnthropic) -> None:
    search = {"type": "web_search_20250305", "name": "web_search"}
    result = LiteLLMService().chat_with_tools(HELLO, [search], None, CLAUDE, max_tokens=50)
    assert result.response == "Echo: hello there"
    assert anthropic_upstream.last.body["tools"][0]["name"] == "web_search"


# Results


@dataclasses.dataclass
class Point:
    x: int
    when: datetime.datetime


class Odd:
    def __str__(self) -> str:
        return "odd"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        ("", ""),
        (3, "3"),
        ({"a": [1, None, True]}, '{"a":[1,null,true]}'),
        (["é", "水"], '["é","水"]'),
        (Area(width=1), '{"width":1,"height":2}'),
        (Point(1, datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)), '{"x":1,"when":"2026-01-02T00:00:00Z"}'),
        ({"price": Decimal("1.50"), "tags": {"a"}, "raw": b"\xff"}, '{"price":"1.50","tags":["a"],"raw":"_w=="}'),
        ({"odd": Odd()}, '{"odd":"odd"}'),
        (np.int64(3), "3"),
        ({"all": np.arange(2000)}, f'{{"all":[{",".join(map(str, range(2000)))}]}}'),
        ("caf\udce9.txt", "caf?.txt"),
    ],
)
def test_results_are_text_or_json(openai: LiteLLMService, upstream: FakeOpenAI, value: Any, text: str) -> None:
    upstream.enqueue(calls(in_city("Rome")))
    assert ask(openai, lambda city: value).tool_calls[0]["result"] == text
    assert told(upstream) == [text]


def test_an_argument_may_have_any_name(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    upstream.enqueue(calls(ToolCall("call", {"function": "f", "self": "s"})))
    tool = ToolDefinition("call", parameters={"type": "object"})
    result = openai.chat_with_tools("hi", [tool], {"call": lambda **given: given}, model="openai/gpt-4o")
    assert json.loads(result.tool_calls[0]["result"]) == {"function": "f", "self": "s"}


def test_a_long_result_is_cut_and_says_so(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    upstream.enqueue(calls(in_city("Rome")), Reply(content="long"))
    ask(openai, lambda city: "x" * (MAX_RESULT + 1))
    (text,) = told(upstream)
    assert text.startswith("x" * MAX_RESULT)
    assert text.endswith("[Cut here: the result has 100,001 characters, the first 100,000 are above.]")


# What goes wrong with a call is told to the model


def failing(error: BaseException) -> Callable[..., Any]:
    def handler(**arguments: Any) -> Any:
        raise error

    return handler


@tool
def refusing(city: str) -> str:
    """Refuse."""
    raise ToolException(f"nothing known of {city}")


BAD_CALLS: list[tuple[ToolCall, Any, str]] = [
    (ToolCall("wether", "{}"), sunny, "Error: There is no tool 'wether'. The tools are: weather."),
    (ToolCall("weather", '{"city": '), sunny, "Error: The arguments are not valid JSON (Expecting value"),
    (ToolCall("weather", '["Rome"]'), sunny, "Error: The arguments must be one JSON object."),
    (ToolCall("weather", "null"), sunny, "Error: The arguments must be one JSON object."),
    (ToolCall("weather", ""), sunny, 'Error: The arguments do not fit the schema of weather: arguments: "city" is a'),
    (in_city(3), sunny, 'Error: The arguments do not fit the schema of weather: city: 3 is not of type "string"'),
    (in_city("Rome"), failing(ValueError("no such\ncity")), "Error: weather failed: ValueError: no such city"),
    (in_city("Rome"), failing(KeyError("key sk-0123456789abcdef")), "Error: weather failed: KeyError: 'key ***'"),
    (in_city("Rome"), failing(StopIteration()), "Error: weather failed: RuntimeError"),
    (in_city("Rome"), failing(TimeoutError("upstream")), "Error: weather failed: TimeoutError: upstream"),
    (in_city("Rome"), failing(asyncio.CancelledError()), "Error: weather failed: it was cancelled."),
    (in_city("Rome"), failing(ExceptionGroup("two", [ValueError()])), "Error: weather failed: ExceptionGroup: two"),
    (in_city("Rome"), lambda town: town, "Error: weather failed: TypeError"),
    (in_city("Rome"), lambda city: ["\ud800"], "Error: The result cannot be written as JSON: Pydantic"),
    (in_city("Rome"), refusing, "Error: weather failed: ToolException: nothing known of Rome"),
    (in_city("Rome"), doubled, "Error: weather failed: number: Field required"),
]


@pytest.mark.parametrize(("call", "handler", "text"), BAD_CALLS)
def test_a_failed_call_is_told_to_the_model(
    openai: LiteLLMService, upstream: FakeOpenAI, call: ToolCall, handler: Any, text: str
) -> None:
    upstream.enqueue(calls(call), Reply(content="I am sorry."))
    result = ask(openai, handler)
    assert result.response == "I am sorry."
    (executed,) = result.tool_calls
    assert "result" not in executed
    assert executed["error"].startswith(text)
    assert told(upstream) == [executed["error"]]
    assert "Traceback" not in executed["error"]
    assert "\n" not in executed["error"]
    assert len(executed["error"]) < 600


@pytest.mark.parametrize("said", ["[" * 100_000, 3, None, {"city": "Rome"}])
async def test_arguments_of_no_sort_are_told_too(said: Any) -> None:
    toolbox = Toolbox.of([WEATHER], {"weather": sunny}, 1)
    executed = await toolbox.execute({"id": "call_1", "function": {"name": "weather", "arguments": said}})
    assert executed.error
    assert executed.error.startswith("Error: The arguments ")
    assert (await toolbox.execute({"id": "call_2"})).error == "Error: There is no tool 'None'. The tools are: weather."


def test_the_model_may_mend_its_call(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    upstream.enqueue(calls(in_city(3)), calls(in_city("Rome", "call_2")))
    result = ask(openai)
    assert [list(call) for call in result.tool_calls] == [
        ["id", "name", "arguments", "error", "seconds"],
        ["id", "name", "arguments", "result", "seconds"],
    ]
    assert result.response == "The result is: sunny in Rome"


def test_broken_arguments_are_kept_as_they_were_written(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    upstream.enqueue(calls(ToolCall("weather", '{"city": ')), Reply(content="Oh."))
    result = ask(openai)
    assert result.tool_calls[0]["arguments"] == '{"city": '
    assert upstream.last.body["messages"][1]["tool_calls"][0]["function"]["arguments"] == '{"city": '


def test_a_langchain_tool_that_handles_its_errors_has_failed_too(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    mild = StructuredTool.from_function(refusing.func, name="weather", handle_tool_error=True)  # type: ignore[attr-defined]
    upstream.enqueue(calls(in_city("Rome")), Reply(content="Oh."))
    result = openai.chat_with_tools(HELLO, [mild], None, GPT)
    assert result.tool_calls[0]["error"] == "nothing known of Rome"


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_handler_has_its_time(openai: LiteLLMService, upstream: FakeOpenAI, kind: str) -> None:
    ended = threading.Event()

    async def wait(city: str) -> str:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return city

    upstream.enqueue(calls(in_city("Rome"), in_city("Oslo", "call_2")), Reply(content="Too slow."))
    begun = time.monotonic()
    result = ask(openai, wait if kind == "async" else lambda city: ended.wait(60), handler_timeout=0.2)
    assert time.monotonic() - begun < 5
    assert [call["error"] for call in result.tool_calls] == ["Error: weather did not finish within 0.2 seconds."] * 2
    assert ended.is_set() == (kind == "async")
    ended.set()


# How handlers run


def test_calls_of_one_round_run_at_the_same_time_and_keep_their_order(
    openai: LiteLLMService, upstream: FakeOpenAI
) -> None:
    meeting = threading.Barrier(3, timeout=10)

    def meet(city: str) -> str:
        meeting.wait()
        time.sleep(0.1 if city == "a" else 0)
        return city

    upstream.enqueue(calls(*[in_city(city, f"call_{city}") for city in "abc"]))
    result = ask(openai, meet)
    assert [call["result"] for call in result.tool_calls] == ["a", "b", "c"]
    assert result.response == "The result is: a, b, c"


@pytest.mark.parametrize("kind", ["function", "langchain"])
def test_as_many_handlers_may_wait_for_each_other_as_there_are_places(
    openai: LiteLLMService, upstream: FakeOpenAI, kind: str
) -> None:
    meeting = threading.Barrier(MAX_PARALLEL, timeout=10)

    @tool
    def meet(city: str) -> str:
        """Meet the others."""
        meeting.wait()
        return city

    upstream.enqueue(calls(*[ToolCall("meet", {"city": "x"}, f"call_{number}") for number in range(MAX_PARALLEL)]))
    handlers = {"meet": meet.func} if kind == "function" else None  # type: ignore[attr-defined]
    result = openai.chat_with_tools(HELLO, [meet], handlers, GPT)
    assert [call.get("result") for call in result.tool_calls] == ["x"] * MAX_PARALLEL


def test_or_one_after_the_other(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    running: list[str] = []

    async def alone(city: str) -> int:
        running.append(city)
        await asyncio.sleep(0.02)
        running.remove(city)
        return len(running)

    upstream.enqueue(calls(*[in_city(city, f"call_{city}") for city in "abc"]))
    assert ask(openai, alone, parallel=False).response == "The result is: 0, 0, 0"


def test_no_more_run_at_a_time_than_there_are_places(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    running, most = 0, 0

    async def count(city: str) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1
        return city

    upstream.enqueue(calls(*[in_city("x", f"call_{number}") for number in range(3 * MAX_PARALLEL)]))
    assert len(ask(openai, count).tool_calls) == 3 * MAX_PARALLEL
    assert most == MAX_PARALLEL


def test_a_sync_handler_may_call_the_service(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    def ask_another(city: str) -> Any:
        return openai.chat_completion(f"Repeat: it rains in {city}", GPT).choices[0].message.content

    upstream.enqueue(calls(*[in_city(str(number), f"call_{number}") for number in range(MAX_PARALLEL)]))
    result = ask(openai, ask_another)
    assert [call["result"] for call in result.tool_calls] == [f"it rains in {number}" for number in range(MAX_PARALLEL)]


def test_chats_with_tools_may_be_nested(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    upstream.enqueue(calls(in_city("Rome")), calls(in_city("Oslo")))
    result = ask(openai, lambda city: ask(openai).response if city == "Rome" else city)
    assert result.response == "The result is: The result is: sunny in Oslo"


async def test_a_sync_handler_does_not_hold_up_the_loop(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    ticked, waiting = threading.Event(), threading.Event()

    def wait(city: str) -> bool:
        waiting.set()
        return ticked.wait(10)

    async def tick() -> None:
        await asyncio.to_thread(waiting.wait, 10)
        ticked.set()

    upstream.enqueue(calls(in_city("Rome")))
    result, _ = await asyncio.gather(openai.achat_with_tools(HELLO, [WEATHER], {"weather": wait}, GPT), tick())
    assert result.response == "The result is: true"


WHO: ContextVar[str] = ContextVar("who")


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_handlers_know_their_context(openai: LiteLLMService, upstream: FakeOpenAI, kind: str) -> None:
    async def who(city: str) -> str:
        return WHO.get()

    handler = who if kind == "async" else lambda city: WHO.get()
    WHO.set("alice")
    upstream.enqueue(calls(in_city("Rome")), Reply(content="x"), calls(in_city("Rome")), Reply(content="x"))
    result = await openai.achat_with_tools(HELLO, [WEATHER], {"weather": handler}, GPT)
    assert result.tool_calls[0]["result"] == "alice"
    result = await asyncio.to_thread(ask, openai, handler)
    assert result.tool_calls[0]["result"] == "alice"


@pytest.mark.parametrize("error", [KeyboardInterrupt("stop"), SystemExit(3)])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_interruption_reaches_the_caller(
    openai: LiteLLMService, upstream: FakeOpenAI, error: BaseException, kind: str
) -> None:
    async def interrupt(city: str) -> str:
        raise error

    handler = interrupt if kind == "async" else failing(error)
    upstream.enqueue(calls(in_city("Rome"), in_city("Oslo", "call_2")))
    with pytest.raises(type(error)) as caught:
        ask(openai, handler)
    assert caught.value is error
    # The loop of all synchronous calls goes on.
    assert ask(openai).response == "Echo: hello there"


async def test_cancelling_cancels_its_handlers(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(city: str) -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    upstream.enqueue(calls(in_city("Rome")))
    chat = asyncio.create_task(openai.achat_with_tools(HELLO, [WEATHER], {"weather": wait}, GPT))
    await asyncio.wait_for(begun.wait(), 10)
    chat.cancel()
    with pytest.raises(asyncio.CancelledError):
        await chat
    assert cancelled.is_set()
    assert len(upstream.requests) == 1


def test_a_thread_that_outlives_its_loop_harms_nobody(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    leave, left = threading.Event(), threading.Event()

    def wait(city: str) -> None:
        leave.wait(10)
        left.set()

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(openai.achat_with_tools(HELLO, [WEATHER], {"weather": wait}, GPT), 1)

    upstream.enqueue(calls(in_city("Rome")))
    asyncio.run(give_up())
    leave.set()
    wait_until(left.is_set)


def test_a_request_that_fails_is_raised(openai: LiteLLMService, upstream: FakeOpenAI) -> None:
    upstream.enqueue(calls(in_city("Rome")), Reply(status=401))
    with pytest.raises(AuthenticationError):
        ask(openai)


# What is wrong with the arguments

BAD_CHATS: list[tuple[Json, type[LASError], str, str]] = [
    ({"messages": []}, BadRequestError, "messages", "at least one"),
    ({"messages": None}, BadRequestError, "messages", "at least one"),
    ({"tools": []}, BadRequestError, "tools", "at least one"),
    ({"tools": None}, BadRequestError, "tools", "list of tools"),
    ({"tools": WEATHER}, BadRequestError, "tools", "list of tools"),
    ({"tools": [3]}, BadRequestError, "tools[0]", "not a tool"),
    ({"tools": [WEATHER, {"type": "function"}]}, BadRequestError, "tools[1]", "not a tool"),
    ({"tools": [{"type": "function", "function": 3}]}, BadRequestError, "tools[0]", "its name"),
    ({"tools": [{"type": "function", "function": {"description": "x"}}]}, BadRequestError, "tools[0]", "its name"),
    ({"tools": [WEATHER, WEATHER]}, BadRequestError, "tools[1]", "'weather' too"),
    ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, BadRequestError, "tools[0]", "custom"),
    ({"tools": [{"name": "weather", "parameters": {"type": "objekt"}}]}, BadRequestError, "tools[0]", "JSON schema"),
    ({"tools": [WEATHER, NOTHING]}, BadRequestError, "tool_handlers", "'nothing' needs a handler"),
    ({"tools": [Area], "tool_handlers": None}, BadRequestError, "tool_handlers", "'Area' needs a handler"),
    ({"tool_handlers": None}, BadRequestError, "tool_handlers", "'weather' needs a handler"),
    ({"tool_handlers": {"wether": sunny, "weather": sunny}}, BadRequestError, "tool_handlers", "'weather'?"),
    ({"tool_handlers": {"weather": "sunny"}}, BadRequestError, "tool_handlers", "not a function"),
    ({"tool_handlers": [sunny]}, BadRequestError, "tool_handlers", "each tool's name"),
    ({"max_rounds": 0}, BadRequestError, "max_rounds", "from 1"),
    ({"max_rounds": True}, BadRequestError, "max_rounds", "from 1"),
    ({"max_rounds": None}, BadRequestError, "max_rounds", "from 1"),
    ({"handler_timeout": 0}, BadRequestError, "handler_timeout", "above 0"),
    ({"handler_timeout": "1"}, BadRequestError, "handler_timeout", "above 0"),
    ({"n": 2}, BadRequestError, "n", "one answer"),
    ({"stream": True}, BadRequestError, "stream", "Unknown argument"),
    ({"temprature": 1}, BadRequestError, "temprature", "'temperature'?"),
    ({"tool_choice": "wether"}, BadRequestError, "tool_choice", "'wether'"),
    ({"timeout": 0}, BadRequestError, "timeout", "above 0"),
    ({"model": "opnai/gpt-4o"}, ModelNotFoundError, "model", "'openai'?"),
    ({"provider": "opnai"}, ModelNotFoundError, "provider", "'openai'?"),
    ({"api_key": ""}, AuthenticationError, "api_key", "empty"),
]


@pytest.mark.parametrize(("arguments", "kind", "param", "reason"), BAD_CHATS)
def test_a_wrong_argument_is_named_and_nothing_is_sent(
    openai: LiteLLMService, upstream: FakeOpenAI, arguments: Json, kind: type[LASError], param: str, reason: str
) -> None:
    given = {"messages": HELLO, "tools": [WEATHER], "tool_handlers": {"weather": sunny}, "model": GPT, **arguments}
    with pytest.raises(kind) as caught:
        openai.chat_with_tools(**given)
    assert caught.value.param == param
    assert reason in str(caught.value)
    with pytest.raises(kind):
        asyncio.run(openai.achat_with_tools(**given))
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": "get weather"}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"name": "wetter\n"}, "name"),
        ({"name": None}, "name"),
        ({"name": "x", "description": None}, "description"),
        ({"name": "x", "parameters": None}, "parameters"),
        ({"name": "x", "parameters": {}}, "parameters"),
        ({"name": "x", "parameters": {"type": "string"}}, "parameters"),
        ({"name": "x", "parameters": {"type": "object", "properties": 3}}, "parameters"),
        ({"name": "x", "parameters": {"type": "object", "properties": {"a": {"type": "text"}}}}, "parameters"),
        ({"name": "x", "parameters": {"type": "object", "$ref": "http://127.0.0.1/a"}}, "parameters"),
        ({"name": "x", "parameters": {"type": "object", "properties": {"a": {"pattern": "("}}}}, "parameters"),
    ],
)
def test_a_wrong_definition_is_named(fields: Json, param: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        ToolDefinition(**fields)
    assert caught.value.param == param
    assert "\n" not in str(caught.value)
