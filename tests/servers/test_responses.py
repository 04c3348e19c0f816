"""``/v1/responses``, asked by the official client and by hand, over a socket."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from tests.conftest import Server
from tests.fake_openai import FakeOpenAI, Reply, ToolCall
from tests.servers.responses.wire import checked_events, checked_response, folded, parsed

Json = dict[str, Any]

LOCAL, REMOTE = "local/smollm2-135m-instruct", "openai/gpt-4o"
FRANCE = "What is the capital of France?"
WEATHER: Json = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the current weather",
    "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
}
PATCH: Json = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edit files",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
}


@pytest.fixture
def client(server: Server) -> OpenAI:
    return OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0)


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client:
        yield client


def ask(http: httpx.Client, key: str = "", **fields: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return http.post("/v1/responses", json={"model": REMOTE, "input": "hello", **fields}, headers=headers)


def whole(http: httpx.Client, key: str = "", **fields: Any) -> Json:
    answer = ask(http, key, **fields)
    assert answer.status_code == 200, answer.text
    return checked_response(answer.json())


def events(http: httpx.Client, **fields: Any) -> list[Json]:
    answer = ask(http, stream=True, **fields)
    assert answer.headers["content-type"].startswith("text/event-stream"), answer.text
    sent = checked_events(parsed(answer.text))
    if sent[-1]["type"] != "response.failed":
        assert folded(sent) == sent[-1]["response"]["output"]
    return sent


def refused(answer: httpx.Response, status: int, param: str | None, message: str, code: str | None = None) -> None:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["param"] == param, error
    assert message in error["message"]
    assert code in (None, error["code"])
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("prefix", ["/v1", "/api/v1/litellm/v1"])
async def test_the_official_client_in_all_four_forms(server: Server, prefix: str) -> None:
    options: Json = {"model": LOCAL, "input": FRANCE, "temperature": 0, "store": False}
    with OpenAI(base_url=server.url + prefix, api_key="any") as client:
        answer = client.responses.create(**options)
        with client.responses.stream(**options) as stream:
            pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
            final = stream.get_final_response()
    async with AsyncOpenAI(base_url=server.url + prefix, api_key="any") as aclient:
        aanswer = await aclient.responses.create(**options)
        async with aclient.responses.stream(**options) as astream:
            apieces = [event.delta async for event in astream if event.type == "response.output_text.delta"]
    assert "Paris" in answer.output_text
    assert len(pieces) > 3
    texts = [answer.output_text, "".join(pieces), final.output_text, aanswer.output_text, "".join(apieces)]
    assert len(set(texts)) == 1
    assert answer.usage is not None
    assert final.usage is not None
    assert answer.usage.output_tokens == final.usage.output_tokens > 0


class Weather(BaseModel):
    location: str


def test_parsing_with_pydantic(client: OpenAI, upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(content='{"location": "Rome"}'), Reply(content='{"location": "Rome"}'))
    answer = client.responses.parse(model=REMOTE, input="where?", text_format=Weather)
    assert answer.output_parsed == Weather(location="Rome")
    with client.responses.stream(model=REMOTE, input="where?", text_format=Weather) as stream:
        assert stream.get_final_response().output_parsed == Weather(location="Rome")
    sent = upstream.last.body["response_format"]
    assert sent["type"] == "json_schema"
    assert sent["json_schema"]["schema"]["properties"].keys() == {"location"}
    assert sent["json_schema"]["strict"] is True


def test_everything_that_a_model_sends(http: httpx.Client, upstream: FakeOpenAI) -> None:
    note = {
        "type": "url_citation",
        "url_citation": {"url": "https://a.example", "title": "A", "start_index": 0, "end_index": 3},
    }
    calls = [ToolCall("get_weather", '{"location": "Rome"}', "c1"), ToolCall("apply_patch", '{"input": "+ä\\n"}', "c2")]
    usage = {"prompt_tokens_details": {"cached_tokens": 1}, "completion_tokens_details": {"reasoning_tokens": 3}}
    reply = Reply(content="Two calls", reasoning="Let me think", tool_calls=calls, usage=usage, annotations=[note])
    upstream.enqueue(reply, reply)
    fields = {"tools": [WEATHER, PATCH], "include": ["message.output_text.logprobs"], "top_logprobs": 2}
    answer = whole(http, **fields)
    streamed = events(http, **fields)[-1]["response"]
    thought, said, weather, patch = answer["output"]
    assert (thought["summary"], thought["content"][0]["text"]) == ([], "Let me think")
    assert said["content"][0]["text"] == "Two calls"
    assert len(said["content"][0]["logprobs"][0]["top_logprobs"]) == 2
    assert said["content"][0]["annotations"][0]["url"] == "https://a.example"
    assert (weather["type"], weather["call_id"], weather["arguments"]) == (
        "function_call",
        "c1",
        '{"location": "Rome"}',
    )
    assert (patch["type"], patch["call_id"], patch["input"]) == ("custom_tool_call", "c2", "+ä\n")
    assert answer["usage"]["input_tokens_details"]["cached_tokens"] == 1
    assert answer["usage"]["output_tokens_details"]["reasoning_tokens"] == 3
    assert answer["usage"]["cost"] > 0
    for one in (answer, streamed):
        for item in one["output"]:
            del item["id"]
    assert answer["output"] == streamed["output"]
    assert answer["usage"] == streamed["usage"]


def test_thoughts_as_a_summary(client: OpenAI, http: httpx.Client, upstream: FakeOpenAI) -> None:
    """Clients that ask for one show nothing else, and send it back."""
    reply = Reply(content="Hi", reasoning="Let me think")
    upstream.enqueue(reply, reply)
    answer = client.responses.create(model=REMOTE, input="hello", reasoning={"summary": "auto"})
    assert answer.output[0].summary[0].text == "Let me think"  # type: ignore[union-attr]
    sent = events(http, reasoning={"summary": "detailed"})
    assert [event["delta"] for event in sent if event["type"].endswith("summary_text.delta")] == [
        "Let",
        " me",
        " think",
    ]
    assert not [event for event in sent if "reasoning_text" in event["type"]]


def test_langchains_own_client(server: Server, upstream: FakeOpenAI) -> None:
    from langchain_openai import ChatOpenAI

    upstream.enqueue(*[Reply(content="Hi", tool_calls=[ToolCall("f", '{"a": 1}', "c1")])] * 2)
    model = ChatOpenAI(model=REMOTE, base_url=f"{server.url}/v1", api_key="any", use_responses_api=True)  # type: ignore[arg-type]
    answer = model.invoke("hello")
    *_, last = model.stream("hello")
    pieces = list(model.stream("hello again"))
    assert answer.text == "Hi"
    assert answer.tool_calls[0]["args"] == {"a": 1}
    assert answer.usage_metadata is not None
    assert last.chunk_position == "last"  # type: ignore[union-attr]
    assert "".join(piece.text for piece in pieces) == "Echo: hello again"


def test_refusals(client: OpenAI, http: httpx.Client, upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(refusal="I will not"), Reply(refusal="I will not"))
    (item,) = client.responses.create(model=REMOTE, input="hello").output
    assert item.content[0].refusal == "I will not"  # type: ignore[union-attr]
    kinds = [event["type"] for event in events(http)]
    assert "response.refusal.delta" in kinds
    assert "response.refusal.done" in kinds


@pytest.mark.parametrize(("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_answers_that_are_cut(http: httpx.Client, upstream: FakeOpenAI, finish: str, reason: str) -> None:
    upstream.enqueue(Reply(content="Once upon", finish_reason=finish), Reply(content="Once upon", finish_reason=finish))
    for answer in (whole(http), events(http)[-1]["response"]):
        assert answer["status"] == answer["output"][0]["status"] == "incomplete"
        assert answer["incomplete_details"] == {"reason": reason}
        assert answer["completed_at"] is None


def test_what_is_sent_upstream(http: httpx.Client, upstream: FakeOpenAI) -> None:
    answer = whole(
        http,
        instructions="Be brief",
        tools=[WEATHER, {**WEATHER, "name": "other", "strict": None}, PATCH],
        tool_choice={"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "other"}]},
        parallel_tool_calls=False,
        max_output_tokens=50,
        temperature=0.5,
        top_p=0.9,
        user="u",
        safety_identifier="s",
        prompt_cache_key="k",
        service_tier="default",
        metadata={"a": "b"},
        truncation="disabled",
        max_tool_calls=3,
        prompt_cache_retention="24h",
        client_metadata={"from": "me"},
        background=False,
    )
    sent = upstream.last.body
    assert sent["messages"] == [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "hello"}]
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["other"]
    expected = {
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "max_completion_tokens": 50,
        "temperature": 0.5,
        "top_p": 0.9,
        "user": "u",
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "service_tier": "default",
    }
    assert {name: sent.get(name) for name in expected} == expected
    assert not {"store", "metadata", "include", "truncation"} & sent.keys()
    echoed = ("instructions", "temperature", "top_p", "user", "metadata", "max_output_tokens", "tool_choice")
    assert answer["metadata"] == {"a": "b"}
    assert all(answer[name] for name in echoed)
    assert [tool["name"] for tool in answer["tools"]] == ["get_weather", "other", "apply_patch"]
    asked = {"text": {"format": {"type": "json_object"}, "verbosity": "low"}, "reasoning": {"effort": "low"}}
    answer = whole(http, model="openai/gpt-5", input="as json", **asked)
    sent = upstream.last.body
    assert (sent["verbosity"], sent["reasoning_effort"], sent["response_format"]["type"]) == (
        "low",
        "low",
        "json_object",
    )
    assert (answer["text"], answer["reasoning"]["effort"]) == (asked["text"], "low")


def test_items_of_every_kind(http: httpx.Client, upstream: FakeOpenAI) -> None:
    image = "data:image/png;base64,iVBORw0KGgo="
    parts = [
        {"type": "input_text", "text": "look"},
        {"type": "input_image", "image_url": image, "detail": "original"},
        {"type": "input_file", "file_data": "data:application/pdf;base64,JVBERg==", "filename": "a.pdf"},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    ]
    items = [
        {"role": "developer", "content": "Be kind"},
        {"type": "message", "role": "user", "content": parts},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"type": "reasoning", "summary": [], "encrypted_content": "of somebody else"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "I call", "annotations": []}]},
        {"type": "function_call", "call_id": "c1", "name": "see", "arguments": "{}", "status": "completed"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "apply_patch", "input": "+1"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "done"},
        {"type": "function_call_output", "call_id": "c1", "output": [parts[0], parts[1]]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No more"}]},
        {"role": "user", "content": "and now?"},
    ]
    whole(http, input=items)
    developer, user, assistant, first, second, moved, refusal, last = upstream.last.body["messages"]
    # OpenAI's older models know no developers.
    assert developer == {"role": "developer", "content": "Be kind"}
    assert [part["type"] for part in user["content"]] == ["text", "image_url", "file", "input_audio"]
    assert user["content"][1]["image_url"] == {"url": image, "detail": "high"}
    assert "reasoning_content" not in assistant
    assert assistant["content"] == "I call"
    assert [call["id"] for call in assistant["tool_calls"]] == ["c1", "c2"]
    assert json.loads(assistant["tool_calls"][1]["function"]["arguments"]) == {"input": "+1"}
    assert (first["tool_call_id"], first["content"]) == ("c1", "look")
    assert (second["tool_call_id"], second["content"]) == ("c2", "done")
    assert (moved["role"], moved["content"][1]["type"]) == ("user", "image_url")
    assert (refusal["content"], last["content"]) == ("No more", "and now?")


async def test_tools_turn_by_turn(server: Server, upstream: FakeOpenAI) -> None:
    """With the history kept by the server, and with all of it sent again."""
    call = Reply(reasoning="I need it", tool_calls=[ToolCall("get_weather", '{"location": "Rome"}', "c1")])
    upstream.enqueue(call, Reply(content="Sunny"), call, Reply(content="Sunny"))
    result: Any = {"type": "function_call_output", "call_id": "c1", "output": "sun"}
    tools: Any = [WEATHER]
    include: Any = ["reasoning.encrypted_content"]
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any") as client:
        first = await client.responses.create(model=REMOTE, input="weather?", tools=tools, instructions="Old")
        second = await client.responses.create(
            model=REMOTE, input=[result], tools=tools, previous_response_id=first.id, instructions="New"
        )
        kept = upstream.last.body["messages"]
        again = await client.responses.create(model=REMOTE, input="weather?", tools=tools, store=False, include=include)
        history: Any = [{"role": "user", "content": "weather?"}, *again.output, result]
        await client.responses.create(
            model=REMOTE, input=history, tools=tools, store=False, include=include, instructions="New"
        )
    assert second.output_text == "Sunny"
    assert second.previous_response_id == first.id
    assert [message["role"] for message in kept] == ["system", "user", "assistant", "tool"]
    assert kept[0]["content"] == "New"
    assert upstream.last.body["messages"] == kept


def test_a_tool_is_called_by_the_embedded_model(client: OpenAI) -> None:
    tools: Any = [WEATHER]
    first = client.responses.create(
        model=LOCAL, input="What's the weather in Tokyo?", tools=tools, tool_choice="required"
    )
    (call,) = [item for item in first.output if item.type == "function_call"]
    assert json.loads(call.arguments) == {"location": "Tokyo"}
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny, 20 degrees"}
    second = client.responses.create(
        model=LOCAL, input=[result], tools=tools, tool_choice="none", previous_response_id=first.id
    )
    assert second.output_text


def test_chains_answer_and_remember(chain_server: Server, upstream: FakeOpenAI) -> None:
    with httpx.Client(base_url=chain_server.url, timeout=60, trust_env=False) as http:
        first = whole(http, model="chains/agent", input="hello")
        sent = events(http, model="chains/agent", input="and you?", previous_response_id=first["id"])
        said = [message["content"] for message in upstream.last.body["messages"] if message["role"] != "system"]
        clash = ask(http, model="chains/agent", previous_response_id=first["id"], metadata={"thread_id": "responses-1"})
    assert first["model"] == "chains/agent"
    assert sent[-1]["type"] == "response.completed"
    assert said == ["hello", first["output"][-1]["content"][0]["text"], "and you?"]
    refused(clash, 400, "previous_response_id", "the thread has the history already")


def test_a_thread_knows_the_calls_of_the_clients_tools(chain_server: Server, upstream: FakeOpenAI) -> None:
    """Their results come alone, since the history may not be sent with a thread."""
    fields: Json = {"model": "chains/agent", "tools": [WEATHER], "metadata": {"thread_id": "responses-2"}}
    upstream.enqueue(Reply(tool_calls=[ToolCall("get_weather", '{"location": "Rome"}', "c1")]), Reply(content="Sunny"))
    with httpx.Client(base_url=chain_server.url, timeout=60, trust_env=False) as http:
        (call,) = whole(http, **fields)["output"]
        last = whole(http, **fields, input=[{**OUTPUT, "call_id": call["call_id"]}])
        said = [message["role"] for message in upstream.last.body["messages"]]
        unknown = ask(http, **fields, input=[{**OUTPUT, "call_id": "other"}])
    assert last["output"][-1]["content"][0]["text"] == "Sunny"
    assert said[-3:] == ["user", "assistant", "tool"]
    refused(unknown, 400, "input", "a call that is not among the messages")


def test_chains_without_memory_go_on_from_responses(chain_server: Server) -> None:
    """A thread means nothing to them, so it has no history that would be read twice."""
    with httpx.Client(base_url=chain_server.url, timeout=60, trust_env=False) as http:
        first = whole(http, model="chains/summarize", metadata={"thread_id": "responses-3"})
        fields: Json = {"model": "chains/summarize", "previous_response_id": first["id"]}
        assert whole(http, **fields, metadata={"thread_id": "responses-3"})["previous_response_id"] == first["id"]
        counted = http.post("/v1/responses/input_tokens", json={"model": "chains/nothing", "input": "hello"})
        wrong = ask(http, model="chains/agent", input=[{"role": "assistant", "content": "hello"}])
    refused(counted, 404, "model", "There is no chain", "model_not_found")
    refused(wrong, 400, "input", "input: expected a message of a person")


def test_halves_of_letters_are_replaced(chain_server: Server, upstream: FakeOpenAI) -> None:
    """Some providers cut an answer within a letter, whose halves no client could read."""
    said = {"id": "x", "object": "chat.completion", "created": 1, "model": "gpt-4o"}
    choice = {"index": 0, "finish_reason": "stop"}
    whole_answer = {**said, "choices": [{**choice, "message": {"role": "assistant", "content": "a\ud83d"}}]}
    chunk = {**said, "object": "chat.completion.chunk", "choices": [{**choice, "delta": {"content": "a\ud83d"}}]}
    as_json = Reply(raw=json.dumps(whole_answer).encode(), raw_type="application/json")
    as_events = Reply(raw=b"data: %b\n\ndata: [DONE]\n\n" % json.dumps(chunk).encode(), raw_type="text/event-stream")
    with httpx.Client(base_url=chain_server.url, timeout=60, trust_env=False) as http:
        upstream.enqueue(as_json, as_events, as_events)
        kept = whole(http)
        assert kept["output"][0]["content"][0]["text"] == "a\ufffd"
        assert http.get(f"/v1/responses/{kept['id']}").json()["output"] == kept["output"]
        for model in (REMOTE, "chains/chat"):
            last = events(http, model=model)[-1]["response"]
            assert last["output"][0]["content"][0]["text"] == "a\ufffd"
            assert last["status"] == "completed"


def test_what_coding_assistants_send(http: httpx.Client, upstream: FakeOpenAI) -> None:
    """A search that they offer whatever the server, their own tools, namespaces, and thoughts kept by them."""
    namespace = {
        "type": "namespace",
        "name": "mcp__files",
        "description": "Files",
        "tools": [{**WEATHER, "name": "read"}],
    }
    fields: Json = {
        "instructions": "You are a coding agent",
        "input": [
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Sandbox"}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Fix it"}]},
        ],
        "tools": [WEATHER, PATCH, {"type": "web_search", "external_web_access": False}, namespace],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "session",
        "client_metadata": {"x": "y"},
    }
    upstream.enqueue(
        Reply(tool_calls=[ToolCall("mcp__files__read", '{"location": "a"}', "c1")], reasoning="Read first")
    )
    answer = ask(http, **fields)
    assert answer.headers["x-las-tools-left-out"] == "web_search"
    thought, call = checked_events(parsed(answer.text))[-1]["response"]["output"]
    assert (call["namespace"], call["name"]) == ("mcp__files", "read")
    sent = upstream.last.body
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["get_weather", "apply_patch", "mcp__files__read"]
    assert "lark" in sent["tools"][1]["function"]["parameters"]["properties"]["input"]["description"]
    # They send back what is sealed, without the text.
    thought = {"type": "reasoning", "summary": [], "encrypted_content": thought["encrypted_content"]}
    result = {"type": "function_call_output", "call_id": "c1", "output": "text"}
    ask(http, **{**fields, "input": [*fields["input"], thought, call, result]})
    assert upstream.last.body["messages"][-2]["tool_calls"][0]["function"]["name"] == "mcp__files__read"


def test_a_response_is_kept_listed_and_deleted(client: OpenAI, http: httpx.Client) -> None:
    first = client.responses.create(model=LOCAL, input="hello", max_output_tokens=3, instructions="Kind")
    items: Any = [{"role": "user", "content": "more"}, {"type": "item_reference", "id": first.output[0].id}]
    second = client.responses.create(model=LOCAL, input=items, max_output_tokens=3, previous_response_id=first.id)
    assert checked_response(http.get(f"/v1/responses/{first.id}", headers={"authorization": "Bearer any"}).json())
    assert client.responses.retrieve(first.id).output_text == first.output_text
    listed = list(client.responses.input_items.list(second.id, order="asc", limit=1))
    assert [item.role for item in listed] == ["user", "assistant", "user", "assistant"]  # type: ignore[union-attr]
    newest = client.responses.input_items.list(second.id, limit=2)
    assert [item.id for item in newest.data] == [item.id for item in reversed(listed[2:])]
    assert newest.has_more
    with pytest.raises(openai.BadRequestError, match="Cannot cancel a synchronous response"):
        client.responses.cancel(first.id)
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError, match="not found") as error:
        client.responses.retrieve(first.id)
    assert error.value.code == "response_not_found"
    with pytest.raises(openai.BadRequestError, match="builds on one that is gone") as gone:
        client.responses.create(model=LOCAL, input="hello", previous_response_id=second.id)
    assert gone.value.code == "previous_response_not_found"


def test_what_is_kept_is_its_owners(http: httpx.Client) -> None:
    fields: Json = {"model": LOCAL, "max_output_tokens": 2}
    mine = whole(http, "key-of-alice", **fields)
    path, bob = f"/v1/responses/{mine['id']}", {"authorization": "Bearer key-of-bob"}
    answer = ask(http, "key-of-bob", previous_response_id=mine["id"], **fields)
    refused(answer, 400, "previous_response_id", "not found", "previous_response_not_found")
    reference = {"type": "item_reference", "id": mine["output"][0]["id"]}
    answer = ask(http, "key-of-bob", input=[{"role": "user", "content": "x"}, reference], **fields)
    refused(answer, 404, "input[1].id", "no stored item", "item_not_found")
    for method, at in (("GET", path), ("DELETE", path), ("GET", f"{path}/input_items"), ("POST", f"{path}/cancel")):
        refused(http.request(method, at, headers=bob), 404, "response_id", "not found", "response_not_found")
    assert http.get(path, headers={"authorization": "Bearer key-of-alice"}).status_code == 200
    unkept = whole(http, store=False, **fields)
    refused(ask(http, previous_response_id=unkept["id"], **fields), 400, "previous_response_id", "not found")


def test_tokens_are_counted(client: OpenAI, http: httpx.Client) -> None:
    short = client.responses.input_tokens.count(model=LOCAL, input="hello")
    long = client.responses.input_tokens.count(
        model=LOCAL, input=[{"role": "user", "content": "hello " * 50}], instructions="Be kind"
    )
    assert (short.object, long.input_tokens > short.input_tokens + 20) == ("response.input_tokens", True)
    assert client.responses.input_tokens.count(input="hello").input_tokens > 0
    refused(http.post("/v1/responses/input_tokens", json={"model": LOCAL}), 400, "input", "expected a text")
    refused(http.post("/v1/responses/input_tokens", json={"stream": True}), 400, "stream", "Unrecognized")


def user(*parts: Any) -> list[Json]:
    return [{"role": "user", "content": list(parts)}]


CALL: Json = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
OUTPUT: Json = {"type": "function_call_output", "call_id": "c", "output": "x"}
CASES: list[tuple[Json, str | None, str]] = [
    ({"input": None}, "input", "at least one item"),
    ({"input": []}, "input", "at least one item"),
    ({"input": 5}, "input", "valid"),
    ({"input": ["hello"]}, "input", "valid"),
    ({"input": [{}]}, "input[0].type", "Missing required parameter"),
    ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role", "expected one of user"),
    ({"input": [{"role": "user"}]}, "input[0].content", "Missing required parameter"),
    ({"input": [{"role": "user", "content": 5}]}, "input[0].content", "expected a list"),
    ({"input": [{"role": "user", "content": []}]}, "input[0].content", "at least one part"),
    ({"input": [{"role": "user", "content": "x", "colour": 1}]}, "input[0].colour", "unknown parameter"),
    ({"input": [{"role": "user", "content": "x", "id": "a\u0000b"}]}, "input[0].id", "letters, digits"),
    ({"input": [{"role": "user", "content": "x", "status": "odd"}]}, "input[0].status", "expected one of"),
    ({"input": user("x")}, "input[0].content[0]", "expected an object"),
    ({"input": user({"type": "output_text", "text": "x"})}, "input[0].content[0].type", "expected one of input_text"),
    ({"input": user({"type": "input_text"})}, "input[0].content[0].text", "Missing"),
    ({"input": user({"type": "input_text", "text": 5})}, "input[0].content[0].text", "expected a text"),
    (
        {"input": user({"type": "input_image", "file_id": "f"})},
        "input[0].content[0].file_id",
        "files are not kept here",
    ),
    ({"input": user({"type": "input_image", "image_url": "ftp://x"})}, "input[0].content[0].image_url", "https://"),
    (
        {"input": user({"type": "input_image", "image_url": {"url": "x"}})},
        "input[0].content[0].image_url",
        "expected a text",
    ),
    ({"input": user({"type": "input_file", "file_url": "https://x"})}, "input[0].content[0].file_url", "file_data"),
    ({"input": user({"type": "input_audio", "input_audio": {}})}, "input[0].content[0].input_audio.format", "mp3"),
    (
        {"input": [{"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}]},
        "input[0].content[0].type",
        "",
    ),
    ({"input": [{**CALL, "arguments": {}}, OUTPUT]}, "input[0].arguments", "expected a text"),
    ({"input": [{**CALL, "call_id": ""}, OUTPUT]}, "input[0].call_id", "not empty"),
    ({"input": [CALL]}, "input", "no output was found for the tool call c"),
    ({"input": [OUTPUT]}, "input", "no tool call was found for the output with call_id c"),
    ({"input": [CALL, OUTPUT, OUTPUT]}, "input", "no tool call was found"),
    ({"input": [CALL, {**OUTPUT, "output": {"a": 1}}]}, "input[1].output", "expected a list"),
    ({"input": [{"type": "reasoning", "summary": "x"}]}, "input[0].summary", "expected a list"),
    ({"input": [{"type": "reasoning", "content": [{"type": "x"}]}]}, "input[0].content[0].type", "reasoning_text"),
    ({"input": [{"type": "web_search_call", "id": "x"}]}, "input[0].type", "expected one of message"),
    ({"input": [{"type": "item_reference"}]}, "input[0].id", "Missing"),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type", "runs at OpenAI only"),
    ({"tools": [WEATHER, {"type": "file_search", "vector_store_ids": []}]}, "tools[1].type", "runs at OpenAI only"),
    ({"tools": [{"type": "mcp", "server_url": "http://evil"}]}, "tools[0].type", "runs at OpenAI only"),
    ({"tools": [{"type": "odd"}]}, "tools[0].type", "expected one of function"),
    ({"tools": [{"type": "function"}]}, "tools[0].name", "Missing"),
    ({"tools": [{"type": "function", "function": {"name": "chat"}}]}, "tools[0].function", "unknown parameter"),
    ({"tools": [WEATHER, WEATHER]}, "tools[1].name", "two tools"),
    ({"tools": [{**WEATHER, "parameters": "x"}]}, "tools[0].parameters", "expected an object"),
    ({"tools": [{**WEATHER, "strict": "x"}]}, "tools[0].strict", "true or false"),
    ({"tools": [{**PATCH, "format": {"type": "x"}}]}, "tools[0].format.type", "expected one of text"),
    ({"tools": [{"type": "namespace", "name": "n", "tools": [PATCH, {"type": "mcp"}]}]}, "tools[0].tools[1].type", ""),
    ({"tool_choice": "required"}, "tool_choice", "no tools to call"),
    ({"tool_choice": "often"}, "tool_choice", "expected one of none"),
    ({"tool_choice": {"type": "function", "name": "f"}}, "tool_choice.name", "no tool 'f'"),
    ({"tool_choice": {"type": "web_search_preview"}}, "tool_choice.type", "expected one of function"),
    ({"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [5]}}, "tool_choice.tools[0]", "an object"),
    ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema", "expected an object"),
    ({"text": {"format": {"type": "xml"}}}, "text.format.type", "expected one of text"),
    ({"text": {"verbosity": "loud"}}, "text.verbosity", "expected one of low"),
    ({"text": {"colour": "red"}}, "text.colour", "unknown parameter"),
    ({"reasoning": {"effort": 5}}, "reasoning.effort", "expected a text"),
    ({"reasoning": {"summary": "long"}}, "reasoning.summary", "expected one of auto"),
    ({"include": ["everything"]}, "include[0]", "expected one of"),
    ({"stream_options": {}}, "stream_options", "only allowed with stream"),
    ({"background": True}, "background", "answered at once"),
    ({"conversation": "conv_1"}, "conversation", "previous_response_id"),
    ({"prompt": {"id": "p"}}, "prompt", "instructions and input"),
    ({"moderation": {"model": "x"}}, "moderation", "not available"),
    ({"context_management": [{"type": "compaction"}]}, "context_management", "not available"),
    ({"previous_response_id": "../x"}, "previous_response_id", "pattern"),
    ({"temperature": 3}, "temperature", "less than or equal to 2"),
    ({"max_output_tokens": 0}, "max_output_tokens", "greater than or equal to 1"),
    ({"top_logprobs": 21}, "top_logprobs", "less than or equal to 20"),
    ({"metadata": {"a": 5}}, "metadata", "string"),
    ({"truncation": "some"}, "truncation", "auto"),
    ({"messages": []}, "messages", "Unrecognized request argument"),
    ({"api_base": "http://evil"}, "api_base", "Unrecognized request argument"),
    ({"extra_headers": {"a": "b"}}, "extra_headers", "Unrecognized request argument"),
    ({"max_tokens": 5}, "max_tokens", "Unrecognized request argument"),
    ({"model": None}, "model", "string"),
]


@pytest.mark.parametrize(("fields", "param", "message"), CASES)
def test_bad_requests(http: httpx.Client, fields: Json, param: str | None, message: str) -> None:
    for stream in (False, True):
        more = {"stream": True} if stream and "stream_options" not in fields else {}
        refused(ask(http, **{"model": LOCAL, **fields, **more}), 400, param, message)


def test_other_bad_requests(http: httpx.Client) -> None:
    refused(http.post("/v1/responses", json={"input": "x"}), 400, "model", "Missing required parameter")
    refused(http.post("/v1/responses", content=b"{}"), 415, None, "application/json")
    refused(ask(http, input="x" * 1_100_000), 413, None, "larger than 1 MB")
    refused(ask(http, model="nobody/x"), 404, "model", "Unknown provider")
    refused(ask(http, model="chains/nothing"), 404, "model", "nothing")
    refused(ask(http, model=LOCAL, reasoning={"effort": "low"}), 400, "reasoning.effort", "")
    refused(ask(http, previous_response_id="resp_unknown"), 400, "previous_response_id", "not found")
    huge = {**WEATHER, "parameters": {"type": "object", "minProperties": 10**30}}
    refused(ask(http, tools=[huge]), 400, None, "too large")
    refused(http.get("/v1/responses/resp_1%00"), 404, "response_id", "not found")
    refused(http.get("/v1/responses/resp_1"), 404, "response_id", "not found")
    kept = whole(http, model=LOCAL, max_output_tokens=2)["id"]
    refused(http.get(f"/v1/responses/{kept}?stream=true"), 400, "stream", "given whole")
    refused(http.get(f"/v1/responses/{kept}/input_items?limit=0"), 400, "limit", "greater than")
    refused(http.get(f"/v1/responses/{kept}/input_items?order=odd"), 400, "order", "asc")
    refused(http.get(f"/v1/responses/{kept}/input_items?after=odd"), 400, "after", "no item")


@pytest.mark.parametrize(
    ("reply", "kind", "code"),
    [
        (Reply(status=401), openai.AuthenticationError, "invalid_api_key"),
        (Reply(status=429, headers={"retry-after": "3600"}), openai.RateLimitError, "rate_limit_exceeded"),
    ],
)
def test_errors_before_the_first_chunk_have_their_status(
    client: OpenAI, upstream: FakeOpenAI, reply: Reply, kind: type[openai.APIStatusError], code: str
) -> None:
    upstream.enqueue(reply, reply)
    for stream in (False, True):
        with pytest.raises(kind) as error:
            client.responses.create(model=REMOTE, input="hello", stream=stream)
        assert error.value.code == code
        assert error.value.response.headers.get("retry-after") == reply.headers.get("retry-after")


def test_the_upstreams_complaints_name_our_fields(http: httpx.Client, upstream: FakeOpenAI) -> None:
    def complaint(param: str) -> Reply:
        return Reply(
            status=400, error={"message": "Bad", "type": "invalid_request_error", "param": param, "code": None}
        )

    for theirs, ours in (
        ("messages[3].content", "input"),
        ("max_completion_tokens", "max_output_tokens"),
        ("response_format", "text.format"),
        ("tools[0].function.parameters", "tools[0].parameters"),
        ("temperature", "temperature"),
    ):
        upstream.enqueue(complaint(theirs), complaint(theirs))
        refused(ask(http), 400, ours, "Bad")
        refused(ask(http, stream=True), 400, ours, "Bad")


def test_a_stream_that_breaks_fails_the_response(client: OpenAI, http: httpx.Client, upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(content="a b c d e f", cut_after=4), Reply(content="a b c d e f", cut_after=4))
    *_, error, failed = events(http)
    assert (error["type"], error["code"]) == ("error", "api_connection_error")
    assert failed["type"] == "response.failed"
    assert failed["response"]["error"]["code"] == "server_error"
    assert failed["response"]["output"][0]["content"][0]["text"] == "a b c"
    refused(http.get(f"/v1/responses/{failed['response']['id']}"), 404, "response_id", "not found")
    kinds = [event.type for event in client.responses.create(model=REMOTE, input="hello", stream=True)]
    assert kinds[-2:] == ["error", "response.failed"]


def test_what_is_too_long_loses_its_oldest_turns(http: httpx.Client, upstream: FakeOpenAI) -> None:
    error = {
        "message": "Too long",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    }
    too_long = Reply(status=400, error=error)
    items = [{"role": "user", "content": f"{number}"} for number in range(4)]
    for stream in (False, True):
        upstream.enqueue(too_long, too_long)
        answer = ask(http, input=items, instructions="Kind", truncation="auto", stream=stream)
        assert answer.status_code == 200
        assert [message["content"] for message in upstream.last.body["messages"]] == ["Kind", "3"]
        upstream.enqueue(too_long)
        refused(ask(http, input=items, stream=stream), 400, "input", "Too long", "context_length_exceeded")
    upstream.enqueue(too_long)
    refused(ask(http, truncation="auto"), 400, "input", "Too long", "context_length_exceeded")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_ends_the_upstream_call(server: Server, upstream: FakeOpenAI, stream: bool) -> None:
    upstream.enqueue(Reply(content="word " * 400, chunk_delay=0.02) if stream else Reply(hang=True))
    left = upstream.disconnects
    body = {"model": REMOTE, "input": "hello", "stream": stream}
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        task = asyncio.create_task(client.post(f"{server.url}/v1/responses", json=body))
        while not upstream.requests:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        task.cancel()
        begin = time.monotonic()
        while upstream.disconnects == left:
            await asyncio.sleep(0.01)
            assert time.monotonic() - begin < 5, "the upstream call goes on"


async def test_many_at_once_each_go_on_from_their_own(server: Server, upstream: FakeOpenAI) -> None:
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any") as client:

        async def talk(name: str) -> str:
            first = await client.responses.create(model=REMOTE, input=f"I am {name}")
            second = await client.responses.create(model=REMOTE, input="Who?", previous_response_id=first.id)
            page = await client.responses.input_items.list(second.id, order="asc")
            return str(page.data[0].content[0].text)  # type: ignore[union-attr]

        names = [f"n{index}" for index in range(12)]
        assert await asyncio.gather(*map(talk, names)) == [f"I am {name}" for name in names]
