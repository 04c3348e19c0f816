"""LangServe's routes over a socket: what LangServe alone gets wrong, and what clients may send."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langserve import RemoteRunnable

from servers.app import create_app
from servers.chain_requests import MOST_INPUTS
from tests.conftest import Server
from tests.fake_openai import FakeOpenAI, Reply, ToolCall

Json = dict[str, Any]
HELLO: Json = {"messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture
def http(chain_server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{chain_server.url}/chains", timeout=60, trust_env=False) as client:
        yield client


def post(http: httpx.Client, path: str, body: Json, **options: Any) -> Json:
    response = http.post(path, json=body, **options)
    assert response.status_code == 200, response.text
    return response.json()


def leave_once(request: httpx.Request, begun: Callable[[], bool]) -> None:
    """Send *request* and close the connection a little after *begun*."""
    head = f"{request.method} {request.url.path} HTTP/1.1\r\n" + "".join(
        f"{name}: {value}\r\n" for name, value in request.headers.items()
    )
    with socket.create_connection((request.url.host, request.url.port or 80)) as connection:
        connection.sendall(f"{head}\r\n".encode() + request.content)
        patience = time.perf_counter() + 20
        while not begun():
            assert time.perf_counter() < patience, "the call was not begun"
            time.sleep(0.01)
        time.sleep(0.2)


def events(text: str) -> list[tuple[str, Any]]:
    """The events of an answer: names and data."""
    found = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if "event" in lines:
            found.append((lines["event"], json.loads(lines["data"]) if lines.get("data") else None))
    return found


def streamed(http: httpx.Client, path: str, body: Json, **options: Any) -> list[Any]:
    response = http.post(path, json=body, **options)
    assert response.status_code == 200, response.text
    found = events(response.text)
    assert found[-1][0] == "end"
    return [data for name, data in found if name == "data"]


class TestWhatLangServeGetsWrong:
    def test_a_raw_agent_streams_tokens(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        upstream.enqueue(
            Reply(tool_calls=[ToolCall("weather", {"city": "Paris"})]), Reply(chunks=["It ", "is ", "sunny."])
        )
        chunks = streamed(http, "/clerk/stream", {"input": HELLO})
        assert [chunk["content"] for chunk in chunks if chunk["content"]] == ["It ", "is ", "sunny."]
        assert not any(chunk["tool_call_chunks"] for chunk in chunks)
        steps = "".join(chunk["additional_kwargs"].get("reasoning_content", "") for chunk in chunks)
        assert steps == "weather(city='Paris')\nweather: It is sunny in Paris.\n"

    def test_a_thread_is_remembered(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        config = {"configurable": {"thread_id": "remembered"}}
        post(http, "/clerk/invoke", {"input": HELLO, "config": config})
        post(http, "/clerk/invoke", {"input": HELLO, "config": config})
        roles = [message["role"] for message in upstream.requests[-1].body["messages"]]
        assert roles == ["user", "assistant", "user"]

    def test_without_a_thread_nothing_is(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        post(http, "/clerk/invoke", {"input": HELLO})
        post(http, "/clerk/invoke", {"input": HELLO, "config": {"configurable": {"thread_id": ""}}})
        assert len(upstream.requests[-1].body["messages"]) == 1

    def test_a_thread_of_another_key_is_not_visible(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        body = {"input": HELLO, "config": {"configurable": {"thread_id": "shared"}}}
        for key in ("alice", "bob", ""):
            post(http, "/clerk/invoke", body, headers={"authorization": f"Bearer {key}"} if key else {})
            assert len(upstream.requests[-1].body["messages"]) == 1
        post(http, "/clerk/batch", {"inputs": [HELLO], "config": [body["config"]]}, headers={"x-api-key": "carol"})
        assert len(upstream.requests[-1].body["messages"]) == 1
        streamed(http, "/clerk/stream_log", body, headers={"authorization": "Bearer dave"})
        assert len(upstream.requests[-1].body["messages"]) == 1
        post(http, "/clerk/invoke", body, headers={"authorization": "Bearer alice"})
        assert len(upstream.requests[-1].body["messages"]) == 3

    @pytest.mark.parametrize("chain", ["clerk", "model"])
    def test_roles_are_kept(self, http: httpx.Client, upstream: FakeOpenAI, chain: str) -> None:
        said = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": "Hi!"},
            {"role": "user", "content": "And now?"},
        ]
        post(http, f"/{chain}/invoke", {"input": {"messages": said}})
        sent = [(message["role"], message["content"]) for message in upstream.requests[-1].body["messages"]]
        assert sent == [(message["role"], message["content"]) for message in said]

    def test_tool_history_is_kept(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
        said = [
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        ]
        post(http, "/clerk/invoke", {"input": {"messages": said}})
        assert upstream.requests[-1].body["messages"][1]["tool_calls"][0]["function"]["name"] == "weather"

    def test_what_a_runnable_says_of_its_output_need_not_be_true(self, http: httpx.Client) -> None:
        answer = post(http, "/both/invoke", {"input": {"topic": "cats"}})
        assert answer["output"] == {"topic": "cats", "shout": "CATS"}

    def test_a_whole_message_is_streamed_as_a_chunk(self, http: httpx.Client) -> None:
        (chunk,) = streamed(http, "/whole/stream", {"input": "hi"})
        assert (chunk["type"], chunk["content"]) == ("AIMessageChunk", "You said hi")

    def test_an_object_is_shown_whole(self, http: httpx.Client) -> None:
        parts = streamed(http, "/fields/stream", {"input": "hey"})
        assert parts == [{"said": "h"}, {"said": "e"}, {"said": "y"}, {"length": "3"}]
        changes = streamed(http, "/fields/stream_log", {"input": "hey"})
        outputs = [op["value"] for change in changes for op in change["ops"] if op["path"] == "/streamed_output/-"]
        assert outputs == [{"said": "hey", "length": "3"}]

    def test_a_graph_without_messages_gives_its_last_state(self, http: httpx.Client) -> None:
        state = {"topic": "cats", "joke": "Two cats walk into a bar. Ha."}
        assert post(http, "/graph/invoke", {"input": {"topic": "cats"}})["output"] == state
        assert streamed(http, "/graph/stream", {"input": {"topic": "cats"}}) == [state]

    def test_a_stream_that_breaks_looks_broken(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        upstream.enqueue(*[Reply(chunks=["One ", "two ", "three"], cut_after=2)] * 3)
        received: list[bytes] = []
        with (
            http.stream("POST", "/model/stream", json={"input": HELLO}) as response,
            pytest.raises(httpx.RemoteProtocolError),
        ):
            received.extend(response.iter_raw())
        name, data = events(b"".join(received).decode())[-1]
        assert name == "error"
        assert data["status_code"] == 502
        assert "connection" in data["message"].lower()

    def test_an_error_before_the_first_chunk_has_a_status(self, http: httpx.Client, upstream: FakeOpenAI) -> None:
        for path in ("/model/invoke", "/model/stream", "/clerk/stream"):
            upstream.enqueue(*[Reply(status=401)] * 3)
            response = http.post(path, json={"input": HELLO})
            assert response.status_code == 401, response.text
            assert response.json()["error"]["type"] == "invalid_request_error"
            upstream.reset()

    def test_the_pages_find_their_files(self, http: httpx.Client) -> None:
        for page in ("/clerk/playground/", "/clerk/chat/playground/", "/clerk/c/N4XyA/playground/"):
            html = http.get(page).text
            (script,) = [part for part in html.split('"') if part.endswith(".js")]
            assert http.get(f"http://{http.base_url.host}:{http.base_url.port}{script}").status_code == 200

    def test_the_chat_page_is_told_of_messages_as_it_knows_them(self, http: httpx.Client) -> None:
        schema = http.get("/clerk/chat/c/N4XyA/output_schema").json()
        kinds = schema["$defs"]["AIMessage"]["properties"]["type"]
        assert {"const": "ai", "enum": ["ai"]}.items() <= kinds.items()
        assert "anyOf" in schema
        assert list(http.get("/clerk/chat/c/N4XyA/input_schema").json()["properties"]) == ["messages"]
        assert http.get("/joke/chat/playground/").status_code == 404

    def test_no_page_is_told_of_null(self, http: httpx.Client) -> None:
        assert '"null"' in http.get("/graph/input_schema").text
        assert '"null"' not in http.get("/graph/c/N4XyA/input_schema").text
        assert '"null"' not in http.get("/clerk/config_schema").text

    @pytest.mark.parametrize("path", ["/clerk/invoke", "/clerk/stream", "/joke/invoke", "/joke/stream_events"])
    def test_a_run_ends_with_its_client(self, http: httpx.Client, upstream: FakeOpenAI, path: str) -> None:
        upstream.enqueue(Reply(chunks=["a "] * 1000, chunk_delay=0.02))
        given = {"topic": "cats"} if "joke" in path else HELLO
        asked = httpx.Request("POST", f"{http.base_url}{path[1:]}", json={"input": given})
        leave_once(asked, lambda: bool(upstream.requests))
        waited = time.perf_counter() + 5
        while not upstream.disconnects:
            assert time.perf_counter() < waited, "the upstream call goes on"
            time.sleep(0.02)

    async def test_a_page_that_is_opened_first_keeps_no_chain_from_answering(self) -> None:
        transport = httpx.ASGITransport(create_app(chains=["tests.user_chains:shout", "tests.user_chains:whole"]))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost/chains") as client:
            await client.get("/shout/playground/")
            for path, field in (("/shout/invoke", "input"), ("/whole/batch", "inputs")):
                given = "hi" if field == "input" else ["hi"]
                answer = await client.post(path, json={field: given})
                assert answer.status_code == 200, answer.text

    async def test_streams_in_two_event_loops(self, upstream: FakeOpenAI) -> None:
        def stream_once() -> str:
            async def run() -> str:
                transport = httpx.ASGITransport(create_app(chains=["tests.user_chains:whole"]))
                async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                    return (await client.post("/chains/whole/stream", json={"input": "hi"})).text

            return asyncio.run(run())

        for _ in range(2):
            assert "You said hi" in await asyncio.to_thread(stream_once)


def test_calls_are_the_chains_in_the_ledger(chain_server: Server, http: httpx.Client, upstream: FakeOpenAI) -> None:
    def calls(chain: str) -> int:
        path = f"{chain_server.url}/api/v1/litellm/usage"
        rows = httpx.get(path, params={"by": "chain"}, trust_env=False).json()["rows"]
        return sum(row["calls"] for row in rows if row["group"] == chain)

    before = calls("joke"), calls("clerk")
    upstream.enqueue(Reply(tool_calls=[ToolCall("weather", {"city": "Rome"})]), Reply(content="Sunny."))
    post(http, "/clerk/invoke", {"input": HELLO})
    streamed(http, "/joke/stream", {"input": {"topic": "cats"}})
    assert (calls("joke"), calls("clerk")) == (before[0] + 1, before[1] + 2)


class TestWhatClientsMaySend:
    @pytest.mark.parametrize(
        ("path", "body", "param"),
        [
            ("/clerk/invoke", {}, "input"),
            ("/clerk/batch", {"input": HELLO}, "input"),
            ("/clerk/batch", {"inputs": HELLO}, "inputs"),
            ("/clerk/batch", {"inputs": [HELLO], "config": [{}, {}]}, "config"),
            ("/clerk/invoke", {"input": {"messages": []}}, "messages"),
            ("/clerk/invoke", {"input": {"messages": [{"role": "wizard", "content": "x"}]}}, "messages"),
            ("/clerk/invoke", {"input": {"messages": [7]}}, "messages"),
            ("/clerk/invoke", {"input": {"messages": "hello"}}, "messages"),
            ("/clerk/invoke", {"input": None}, "input"),
            ("/clerk/invoke", {"input": {**HELLO, "massages": []}}, "massages"),
            ("/joke/invoke", {"input": {}}, "topic"),
            ("/joke/batch", {"inputs": [{"topic": "cats"}, {}]}, "topic"),
            ("/clerk/batch", {"inputs": [{"messages": [7]}]}, "messages"),
            ("/configurable/invoke", {"input": HELLO}, "input"),
            ("/clerk/invoke", {"input": HELLO, "kwargs": {"stop": ["a"]}}, "kwargs"),
            ("/clerk/invoke", {"input": HELLO, "config": 7}, "config"),
            ("/clerk/invoke", {"input": HELLO, "config": {"configurable": []}}, "config"),
            ("/clerk/invoke", {"input": HELLO, "config": {"configurable": {"thread": "x"}}}, "thread"),
            ("/clerk/invoke", {"input": HELLO, "config": {"configurable": {"thread_id": 7}}}, "thread_id"),
            ("/clerk/invoke", {"input": HELLO, "config": {"configurable": {"thread_id": "x" * 201}}}, "thread_id"),
            ("/joke/invoke", {"input": {"topic": "x"}, "config": {"configurable": {"thread_id": "x"}}}, "thread_id"),
            (
                "/configurable/invoke",
                {"input": HELLO, "config": {"configurable": {"api_base": "http://evil"}}},
                "api_base",
            ),
            ("/clerk/stream_events", {"input": HELLO, "version": "v1"}, "version"),
            ("/clerk/stream_log", {"input": HELLO, "include_nams": []}, "include_nams"),
        ],
    )
    def test_what_is_wrong_is_named(self, http: httpx.Client, path: str, body: Json, param: str) -> None:
        response = http.post(path, json=body)
        assert response.status_code == 400, response.text
        assert response.json()["error"]["param"] == param

    def test_a_nearly_right_name_is_hinted_at(self, http: httpx.Client) -> None:
        response = http.post("/clrk/invoke", json={"input": HELLO})
        assert response.status_code == 404
        assert "did you mean 'clerk'" in response.json()["error"]["message"]

    @pytest.mark.parametrize("name", ["..%2f..", "x" * 5000, "%00", "ünïcode", "clerk%20"])
    def test_unknown_chains(self, http: httpx.Client, name: str) -> None:
        for path in ("invoke", "playground/", "input_schema"):
            response = (
                http.post(f"/{name}/{path}", json={"input": 1}) if path == "invoke" else http.get(f"/{name}/{path}")
            )
            assert response.status_code == 404
            assert response.json()["error"]["message"]

    @pytest.mark.parametrize(
        "file",
        [
            "..%2f..%2fserver.py",
            "../../server.py",
            "assets/../../../server.py",
            "nothing.js",
            "assets",
            "%00",
            "x" * 300,
        ],
    )
    def test_the_pages_have_no_other_files(self, http: httpx.Client, file: str) -> None:
        response = http.get(f"/clerk/playground/{file}")
        assert response.status_code in (404, 400)
        assert "import" not in response.text

    def test_only_json(self, http: httpx.Client) -> None:
        body = json.dumps({"input": HELLO})
        assert http.post("/clerk/invoke", content=body, headers={"content-type": "text/plain"}).status_code == 415
        for wrong in ("{", "[]", '{"input": NaN}', ""):
            response = http.post("/clerk/invoke", content=wrong, headers={"content-type": "application/json"})
            assert response.status_code == 400

    def test_too_much_at_once(self, http: httpx.Client) -> None:
        assert http.post("/clerk/invoke", json={"input": "x" * 1_100_000}).status_code == 413
        response = http.post("/whole/batch", json={"inputs": ["x"] * (MOST_INPUTS + 1)})
        assert response.status_code == 400
        assert "several batches" in response.json()["error"]["message"]

    def test_a_batch_runs_a_few_at_a_time(self, http: httpx.Client) -> None:
        begin = time.perf_counter()
        answer = post(http, "/slow/batch", {"inputs": [0.1] * 24})
        assert answer["output"] == [0.1] * 24
        assert 0.25 < time.perf_counter() - begin < 2.4

    def test_a_bug_in_a_chain_stays_in_the_log(self, http: httpx.Client) -> None:
        response = http.post("/broken/invoke", json={"input": "secret"})
        assert response.status_code == 500
        assert "secret" not in response.text


class TestRemoteRunnable:
    @pytest.fixture
    def remote(self, chain_server: Server) -> Callable[[str], Any]:
        return lambda name: RemoteRunnable(f"{chain_server.url}/chains/{name}/")

    def test_sync(self, remote: Any) -> None:
        assert remote("joke").invoke({"topic": "cats"})
        said = [HumanMessage("hello")]
        answer = remote("clerk").invoke({"messages": said})
        assert isinstance(answer, AIMessage)
        assert remote("model").batch([{"messages": said}, {"messages": said}])[1].content == answer.content
        chunks = list(remote("clerk").stream({"messages": said}))
        assert all(isinstance(chunk, AIMessageChunk) for chunk in chunks)
        assert "".join(chunk.content for chunk in chunks) == answer.content

    async def test_async(self, remote: Any) -> None:
        said = {"messages": [HumanMessage("hello")]}
        answer = await remote("clerk").ainvoke(said, {"configurable": {"thread_id": "remote"}, "tags": ["mine"]})
        assert (await remote("clerk").abatch([said, said]))[0].content == answer.content
        assert "".join([chunk.content async for chunk in remote("clerk").astream(said)]) == answer.content
        names = [event["event"] async for event in remote("clerk").astream_events(said, version="v2")]
        assert {"on_chain_start", "on_chat_model_stream", "on_chain_end"} <= set(names)
        patches = [patch async for patch in remote("clerk").astream_log(said)]
        assert len(patches) > 3


class TestTheList:
    def test_it_says_what_there_is(self, http: httpx.Client) -> None:
        listed = {chain["name"]: chain for chain in http.get(f"{http.base_url}".rstrip("/")).json()["chains"]}
        assert listed["clerk"]["chat_playground"] == "/chains/clerk/chat/playground/"
        assert listed["clerk"]["remembers"] is True
        assert listed["joke"]["chat_playground"] is None
        assert listed["model"]["error"] is None

    def test_chains_that_fail_are_named_and_the_others_served(self, chain_server: Server, http: httpx.Client) -> None:
        failed = {"missing", "no_chain"}
        listed = http.get(f"{http.base_url}".rstrip("/")).json()["chains"]
        assert {chain["name"] for chain in listed if chain["error"]} == failed
        health = httpx.get(f"{chain_server.url}/health", trust_env=False).json()
        assert health["status"] == "degraded"
        assert health["failed_chains"].keys() == failed
        assert "tests.nothing" in health["failed_chains"]["missing"]
        response = http.post("/missing/invoke", json={"input": 1})
        assert response.status_code == 500
        assert "missing" in response.json()["error"]["message"]

    def test_a_page_leads_on(self, http: httpx.Client) -> None:
        assert http.get("/clerk").headers["location"] == "/chains/clerk/playground/"
        assert http.get("/clerk/playground").headers["location"].endswith("/chains/clerk/playground/")
