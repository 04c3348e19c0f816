"""The agent on the upstream double: its tools, its limits, its memory, and people who approve."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from langchain.agents.middleware.types import ToolCallRequest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from chains.agent import build
from chains.tools.running import ToolLimits
from las_langchain.errors import APIConnectionError, APIError, BadRequestError, ContextWindowExceededError
from las_langchain.service import LiteLLMService, using
from las_langchain.settings import load_settings
from tests.chains.agents import ODD_SERVER, SERVER, agent, asked, mcp, results, sent, steps, thread
from tests.fake_openai import FakeOpenAI, Reply, ToolCall

Json = dict[str, Any]


def calls(*calls: tuple[str, Json], **fields: Any) -> Reply:
    """A reply that calls tools, with the ids c0, c1 and so on."""
    return Reply(tool_calls=[ToolCall(name, given, f"c{index}") for index, (name, given) in enumerate(calls)], **fields)


def sum_of(expression: str) -> tuple[str, Json]:
    return "calculator", {"expression": expression}


# Tools


def test_a_question_is_answered_in_several_steps_with_parallel_calls(upstream: FakeOpenAI) -> None:
    upstream.enqueue(
        calls(sum_of("2 + 2"), ("clock", {"timezone": "Asia/Tokyo"})),
        calls(sum_of("4 * 21")),
        Reply(content="It is 84."),
    )
    with agent() as chain:
        answer = chain.invoke(asked("How much?"))

    assert isinstance(answer, AIMessage)
    assert answer.text == "It is 84."
    assert answer.tool_calls == []
    assert answer.response_metadata["model_name"] == "gpt-4o-2024-08-06"
    first, second, third = sent(upstream)
    assert [one["role"] for one in first] == ["system", "user"]
    assert [one["content"] for one in second if one["role"] == "tool"][:1] == ["4"]
    assert "Asia/Tokyo" in second[-1]["content"]
    assert third[-1]["content"] == "84"
    assert "calculator(expression='4 * 21')\ncalculator: 84" in steps(answer)
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["total_tokens"] > 3


@pytest.mark.parametrize("tools", [["calculator"], ["clock", "web", "python_math", "documents"], []])
def test_the_settings_say_which_tools_there_are(upstream: FakeOpenAI, tools: list[str]) -> None:
    with agent(tools=tools) as chain:
        chain.invoke(asked("Hello"))

    assert [tool["function"]["name"] for tool in upstream.last.body.get("tools", ())] == tools


def test_a_failing_tool_is_told_to_the_model_in_a_line(upstream: FakeOpenAI) -> None:
    upstream.enqueue(
        calls(sum_of("1 / 0"), ("calculator", {"wrong": 1}), ("nothing", {}), sum_of("2 + 2")), Reply(content="Sorry.")
    )
    with agent() as chain:
        assert chain.invoke(asked("How much?")).text == "Sorry."

    told = results(upstream)
    assert told["c0"] == "Division by zero"
    assert "expression" in told["c1"]
    assert "nothing is not a valid tool" in told["c2"]
    assert told["c3"] == "4"
    assert "Traceback" not in str(told)


@pytest.mark.parametrize("arguments", ["[1]", "null", '"x"', '{"expression": "1 + 1', '{"expression": "1"} and more'])
def test_a_call_that_cannot_be_understood_is_no_silence(upstream: FakeOpenAI, arguments: str) -> None:
    upstream.enqueue(Reply(tool_calls=[ToolCall("calculator", arguments, "c0")]))
    with agent() as chain, pytest.raises(APIError, match="called calculator with arguments that are no JSON object"):
        chain.invoke(asked("How much?"))


async def test_a_tool_that_gives_itself_up_does_not_end_the_run() -> None:
    async def gives_up(request: ToolCallRequest) -> Any:
        raise asyncio.CancelledError

    call: Any = {"name": "find", "args": {}, "id": "c0"}
    request = ToolCallRequest(tool_call=call, tool=None, state={}, runtime=None)  # type: ignore[arg-type]
    with pytest.raises(APIConnectionError, match="find was given up"):
        await ToolLimits(5).awrap_tool_call(request, gives_up)


async def test_the_model_may_change_at_run_time(upstream: FakeOpenAI) -> None:
    settings = load_settings(model="openai/gpt-4o")
    with using(service := LiteLLMService(settings)):
        chain = build(settings)
        await chain.ainvoke(asked("Hello"))
        service.update_config(model="openai/gpt-4.1")
        await chain.ainvoke(asked("Hello"))

    assert [request.body["model"] for request in upstream.requests] == ["gpt-4o", "gpt-4.1"]


def test_a_run_ends_at_its_most_steps(upstream: FakeOpenAI) -> None:
    upstream.enqueue(*[calls(sum_of("1 + 1"))] * 9)
    with agent(max_steps=3) as chain:
        answer = chain.invoke(asked("Count for ever"))

    assert answer.text == "I am sorry: I could not finish this within 3 steps, which is the limit here."
    assert len(upstream.requests) == 3


def test_the_step_limit_is_one_of_each_run(upstream: FakeOpenAI) -> None:
    upstream.enqueue(*[calls(sum_of("1 + 1")), Reply(content="2")] * 2)
    with agent(max_steps=2) as chain:
        assert [chain.invoke(asked("Add"), thread("steps")).text for _ in range(2)] == ["2", "2"]


def test_many_steps_are_no_recursion_error(upstream: FakeOpenAI) -> None:
    upstream.enqueue(*[calls(sum_of("1 + 1"))] * 30, Reply(content="Done"))
    with agent(max_steps=40) as chain:
        assert chain.invoke(asked("Work")).text == "Done"


# MCP


@pytest.fixture(scope="module")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """One MCP server for all, since each takes seconds to start."""
    path = tmp_path_factory.mktemp("mcp") / "calls.log"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, SERVER, "--log", str(path), "--port", str(port)])
    try:
        _wait_for(port)
        yield f"http://127.0.0.1:{port}/mcp", path
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int) -> None:
    for _ in range(300):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.1)
    pytest.fail("the MCP server did not start")


@pytest.fixture
def url(_running: tuple[str, Path]) -> str:
    """The address of an MCP server."""
    return _running[0]


@pytest.fixture
def log(_running: tuple[str, Path]) -> Path:
    """Where that server writes what it was asked, empty."""
    _running[1].write_text("")
    return _running[1]


def test_tools_of_mcp_servers_are_used(upstream: FakeOpenAI, url: str, log: Path) -> None:
    upstream.enqueue(
        calls(
            ("shout", {"text": "héllo"}),
            ("fail", {"reason": "no luck"}),
            ("tests_calculator", {"expression": "1"}),
            ("repeat", {"text": "ab", "times": 40_000}),
        ),
        Reply(content="Done"),
    )
    with agent(mcp={"tests": {"url": url}}) as chain:
        assert chain.invoke(asked("Work")).text == "Done"

    told = results(upstream)
    assert told["c0"] == "HÉLLO"
    assert "no luck" in told["c1"]
    assert told["c2"] == "another 1"
    assert told["c3"].endswith("[Cut here: the result has 80,000 characters.]")
    assert len(told["c3"]) < 31_000
    assert sorted(log.read_text().splitlines()) == ["fail no luck", "shout héllo"]


def test_a_program_gets_its_own_variables_and_no_others(upstream: FakeOpenAI) -> None:
    upstream.enqueue(calls(("variables", {"names": "SECRET OPENAI_API_KEY"})), Reply(content="Done"))
    with agent(mcp={"tests": mcp(env={"SECRET": "s3cret"})}) as chain:
        chain.invoke(asked("Work"))

    assert results(upstream) == {"c0": "s3cret unset"}


def test_servers_that_do_not_start_do_not_keep_the_others_from_being_used(
    upstream: FakeOpenAI, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    silent = {"command": sys.executable, "args": ["-c", "import sys; sys.stdin.read()"]}
    servers = {
        "missing": {"command": "/nonexistent/program"},
        "ended": {"command": sys.executable, "args": ["-c", "raise SystemExit(3)"]},
        "nowhere": {"url": "http://127.0.0.1:9/mcp"},
        "silent": silent,
        "tests": {"url": url},
    }
    began = time.monotonic()
    with agent(mcp=servers, tool_timeout=4) as chain:
        assert time.monotonic() - began < 8
        chain.invoke(asked("Hello"))

    names = [tool["function"]["name"] for tool in upstream.last.body["tools"]]
    assert "shout" in names
    lines = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(lines) == 4
    assert all("\n" not in line for line in lines)
    assert any(line.startswith("The MCP server missing cannot be used: FileNotFoundError") for line in lines)
    assert "The MCP server silent cannot be used: it did not answer within 4 seconds" in lines
    assert any("The MCP server nowhere" in line for line in lines)
    assert any("The MCP server ended" in line for line in lines)


def test_a_server_that_does_what_it_should_not_ends_no_run(
    upstream: FakeOpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["untyped", "die", "files", "broken", "sound", "tool"]
    upstream.enqueue(calls(*[(name, {}) for name in names]), Reply(content="Done"))
    odd = {"command": sys.executable, "args": [ODD_SERVER], "env": {"TOKEN": "s3cr${et}x"}}
    with agent(mcp={"odd": odd}, tools=[]) as chain:
        assert chain.invoke(asked("Work")).text == "Done"

    assert [tool["function"]["name"] for tool in upstream.last.body["tools"]] == names
    assert "The tool listed of the MCP server odd is left out: its arguments are no object" in caplog.text
    assert "TOKEN" in caplog.text
    assert "s3cr" not in caplog.text
    told = results(upstream)
    assert told["c0"] == "done"
    assert told["c1"] == "McpError: Connection closed"
    assert "Input should be a valid list" in told["c3"]
    assert "AudioContent" in told["c4"]
    text = str(told["c2"])
    assert "[Cut here: the result has 40," in text
    assert len(text) < 31_000
    assert "image_url" in str(sent(upstream)[-1][-1])
    assert _children("odd_mcp_server.py") == []


def test_a_hanging_tool_is_cut(upstream: FakeOpenAI, url: str, log: Path) -> None:
    upstream.enqueue(calls(("wait", {"seconds": 60}), sum_of("1 + 1")), Reply(content="Too slow"))
    with agent(mcp={"tests": {"url": url}}, tool_timeout=3) as chain:
        began = time.monotonic()
        assert chain.invoke(asked("Wait")).text == "Too slow"

    assert time.monotonic() - began < 5
    assert results(upstream) == {"c0": "wait did not end within 3 seconds", "c1": "2"}


async def test_calls_of_one_step_run_together(upstream: FakeOpenAI, url: str, log: Path) -> None:
    upstream.enqueue(calls(*[("wait", {"seconds": 1})] * 4), Reply(content="Done"))
    with agent(mcp={"tests": {"url": url}}) as chain:
        await chain.ainvoke(asked("Wait"))

    # An earlier test's call may end here too.
    lines = log.read_text().splitlines()
    lines = lines[lines.index("wait 1.0") :]
    assert lines[:4] == ["wait 1.0"] * 4
    assert set(results(upstream).values()) == {"waited"}


async def test_cancelling_a_run_ends_the_program_of_its_tool(upstream: FakeOpenAI, log: Path) -> None:
    upstream.enqueue(calls(("wait", {"seconds": 60})), Reply(content="Hi."))
    with agent(mcp={"tests": mcp(log)}) as chain:
        run = asyncio.create_task(chain.ainvoke(asked("Wait"), thread("cancelled")))
        await _until(lambda: "wait 60" in log.read_text())
        began = time.monotonic()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert time.monotonic() - began < 2
        await _until(lambda: not _children("mcp_server.py"))

        answer = await chain.ainvoke(asked("Hello again"), thread("cancelled"))

    assert answer.text == "Hi."
    lost = [one["content"] for one in sent(upstream)[-1] if one["role"] == "tool"]
    assert lost == ["This call was given up before it had a result."]


async def test_cancelling_a_run_cancels_its_call_of_the_model(upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(hang=True))
    left = upstream.disconnects
    with agent() as chain:
        run = asyncio.create_task(chain.ainvoke(asked("Hello")))
        await _until(lambda: bool(upstream.requests))
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
    await _until(lambda: upstream.disconnects > left)


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.02)


def _children(name: str) -> list[str]:
    listed = subprocess.run(["ps", "-wweo", "ppid,args"], capture_output=True, text=True, check=True).stdout
    mine = [line for line in listed.splitlines() if line.split()[0] == str(os.getpid())]
    return [line for line in mine if name in line and "--port" not in line]


# Memory


def test_a_conversation_is_remembered(upstream: FakeOpenAI) -> None:
    upstream.enqueue(*[Reply(content="Well.")] * 4)
    with agent() as chain:
        chain.invoke(asked("I am Ada"), thread("one"))
        chain.invoke(asked("Who am I?"), thread("one"))
        chain.invoke(asked("And who am I?"), thread("two"))
        chain.invoke(asked("And here?"))

    texts = [[one["content"] for one in messages if one["role"] != "system"] for messages in sent(upstream)]
    assert texts[1] == ["I am Ada", "Well.", "Who am I?"]
    assert texts[2:] == [["And who am I?"], ["And here?"]]


def test_instructions_of_a_client_are_given_once_and_first(upstream: FakeOpenAI) -> None:
    upstream.enqueue(*[Reply(content="Oui.")] * 2)
    given = {"messages": [SystemMessage("Speak French"), HumanMessage("Hello")]}
    with agent() as chain:
        chain.invoke(given, thread("french"))
        chain.invoke(given, thread("french"))

    roles = [one["role"] for one in sent(upstream)[-1]]
    assert roles == ["system", "user", "assistant", "user"]
    assert sent(upstream)[-1][0]["content"].count("Speak French") == 1


# Approval


def approving(url: str) -> Any:
    return agent(mcp={"tests": {"url": url}}, approve=["delete_file", "tests_calculator"])


async def test_an_approved_call_is_run(upstream: FakeOpenAI, url: str, log: Path) -> None:
    upstream.enqueue(calls(("delete_file", {"name": "a.txt"}), sum_of("1 + 1"), content="I delete it."))
    upstream.enqueue(Reply(content="It is gone."))
    with approving(url) as chain:
        question = await chain.ainvoke(asked("Delete a.txt"), thread("yes"))
        assert log.read_text() == ""
        chunks = [chunk async for chunk in chain.astream(asked("Yes."), thread("yes"))]

    assert "Waiting for approval of delete_file({'name': 'a.txt'})" in question.text
    assert question.additional_kwargs["interrupts"][0]["action_requests"][0]["name"] == "delete_file"
    assert log.read_text() == "delete_file a.txt\n"
    assert "".join(str(chunk.text) for chunk in chunks) == "It is gone."
    assert results(upstream) == {"c0": "a.txt is deleted", "c1": "2"}


@pytest.mark.parametrize("said", ["No, keep it!", "approve nothing", "ünïcode ✗"])
def test_anything_else_rejects_a_call_and_is_the_reason(upstream: FakeOpenAI, url: str, log: Path, said: str) -> None:
    two = [("delete_file", {"name": "a"}), ("delete_file", {"name": "b"})]
    upstream.enqueue(calls(*two), Reply(content="I keep them."))
    with approving(url) as chain:
        chain.invoke(asked("Delete them"), thread(said))
        answer = chain.invoke(asked(said), thread(said))

    assert answer.text == "I keep them."
    assert log.read_text() == ""
    told = results(upstream)
    assert told.keys() == {"c0", "c1"}
    assert all(said in text for text in told.values())


def test_a_rejected_call_is_not_run_where_it_need_not_be_approved_any_more(
    upstream: FakeOpenAI, url: str, log: Path
) -> None:
    upstream.enqueue(calls(("delete_file", {"name": "a"})), Reply(content="I keep it."))
    with approving(url) as chain:
        chain.invoke(asked("Delete it"), thread("changed"))
    with agent(mcp={"tests": {"url": url}}) as chain:
        assert chain.invoke(asked("No"), thread("changed")).text == "I keep it."

    assert log.read_text() == ""
    assert results(upstream) == {"c0": "This call was given up before it had a result."}


def test_what_follows_a_decision_is_a_question_again(upstream: FakeOpenAI, url: str, log: Path) -> None:
    upstream.enqueue(calls(("delete_file", {"name": "a"})), Reply(content="Done."))
    with approving(url) as chain:
        for text in ("Delete it", "approve", "yes"):
            answer = chain.invoke(asked(text), thread("after"))

    assert answer.text == "Echo: yes"


def test_without_a_conversation_nothing_is_approved(upstream: FakeOpenAI, url: str, log: Path) -> None:
    upstream.enqueue(calls(("delete_file", {"name": "a"}), ("tests_calculator", {"expression": "1"})))
    upstream.enqueue(Reply(content="I may not."))
    with approving(url) as chain:
        assert chain.invoke(asked("Delete it")).text == "I may not."

    assert log.read_text() == ""
    assert all("needs a conversation with a thread_id" in text for text in results(upstream).values())


def test_a_renamed_tool_is_approved_under_its_own_name_too(upstream: FakeOpenAI, url: str) -> None:
    upstream.enqueue(calls(("tests_calculator", {"expression": "1"})), Reply(content="No."))
    with agent(mcp={"tests": {"url": url}}, approve=["calculator"]) as chain:
        chain.invoke(asked("Add"))

    assert "a person must approve it" in results(upstream)["c0"]


def test_approving_what_is_no_tool_is_said(upstream: FakeOpenAI, caplog: pytest.LogCaptureFixture) -> None:
    with agent(approve=["calculater"]):
        pass

    assert "approve names calculater, which is no tool now; did you mean 'calculator'?" in caplog.text


# What does not fit


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([], "messages"),
        ([SystemMessage("Be brief")], "messages"),
        ([AIMessage("Hello")], "messages"),
        ([HumanMessage("Hello"), ToolMessage("4", tool_call_id="c0")], "messages.1"),
        ("Hello", "messages"),
    ],
)
def test_bad_messages_are_refused(upstream: FakeOpenAI, messages: Any, param: str) -> None:
    with agent() as chain, pytest.raises(BadRequestError) as caught:
        chain.invoke({"messages": messages})

    assert caught.value.param == param
    assert upstream.requests == []


def test_calls_of_a_clients_history_are_kept_with_their_results(upstream: FakeOpenAI) -> None:
    call = {"type": "tool_call", "id": "c0", "name": "calculator", "args": {"expression": "1"}}
    history = [HumanMessage("Add"), AIMessage("", tool_calls=[call]), ToolMessage("1", tool_call_id="c0")]
    upstream.enqueue(Reply(content="You are welcome."))
    with agent() as chain:
        chain.invoke({"messages": [*history, AIMessage("1"), HumanMessage("Thanks ✓ 🙂")]})

    assert [one["role"] for one in sent(upstream)[-1]] == ["system", "user", "assistant", "tool", "assistant", "user"]


def test_half_a_character_is_refused(upstream: FakeOpenAI) -> None:
    with agent() as chain, pytest.raises(BadRequestError, match="cannot be sent as JSON"):
        chain.invoke(asked("\ud800"))


def test_a_long_conversation_is_trimmed(upstream: FakeOpenAI) -> None:
    with agent() as chain:
        for index in range(4):
            upstream.enqueue(Reply(content="Yes."))
            chain.invoke(asked(f"{index} " + "word " * 40_000), thread("long"))

    last = [one["content"] for one in sent(upstream)[-1]]
    assert last[-1].startswith("3 ")
    assert len(last) < 8
    assert not any(text.startswith("0 ") for text in last)


def test_a_huge_message_goes_to_the_model_whole(upstream: FakeOpenAI) -> None:
    too_long = {"message": "This model's maximum context length is 128000 tokens.", "code": "context_length_exceeded"}
    upstream.enqueue(Reply(status=400, error=too_long))
    with agent() as chain, pytest.raises(ContextWindowExceededError):
        chain.invoke(asked("x" * 1_000_000))

    assert len(sent(upstream)[-1][-1]["content"]) == 1_000_000


# On the embedded model


@pytest.mark.slow
@pytest.mark.parametrize(
    ("question", "number"),
    [("What is 12 times 7?", "84"), ("What is 25 * 4?", "100"), ("What is 50 - 8?", "42")],
)
def test_the_embedded_model_calculates(question: str, number: str) -> None:
    answer = _embedded(question)

    assert steps(answer).splitlines()[-1] == f"calculator: {number}"
    assert number in answer.text


@pytest.mark.slow
def test_the_embedded_model_needs_no_tool_for_small_talk() -> None:
    answer = _embedded("Hello, how are you?")

    assert steps(answer) == ""
    assert answer.text


def _embedded(question: str) -> AIMessage:
    settings = load_settings()
    with using(LiteLLMService(settings)):
        answer: AIMessage = build(settings).invoke(asked(question))
    return answer
