"""Upstreams that fail, before their answer and in the middle of it: what clients are told, and what they never are."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import pytest

from tests.attacks.conftest import HELLO, KEY, STREAM_TIMEOUT, TIMEOUT, TOTAL_TIMEOUT, client_of
from tests.attacks.faults import SECRET
from tests.attacks.upstream import Canary, FaultyUpstream
from tests.conftest import Server

Json = dict[str, Any]
AT_ONCE = 6
DONE = "data: [DONE]"
PATIENCE = 3.0
"""Seconds that a busy machine may add."""


@dataclass(frozen=True)
class Outcome:
    """What a client saw of one call.

    Attributes:
        status: HTTP's.
        error: the type of the error that it was told, by the status or at the end of the stream.
        code: that error's.
        message: that error's.
        text: what the model said.
        finish: the reasons that the answer gives for its end.
        done: whether the stream ended as it should.
        retry_after: the header.
        tries: requests that the upstream got.
        seconds: how long it took.
        raw: the whole body.
    """

    status: int
    error: str | None
    code: str | None
    message: str
    text: str
    finish: list[str]
    done: bool
    retry_after: str | None
    tries: int
    seconds: float
    raw: str

    @property
    def verdict(self) -> tuple[int, str | None, str | None, int]:
        """Status, type and code of the error, tries."""
        return self.status, self.error, self.code, self.tries


# Those that are the same whether or not a stream was asked for: status, type, code, tries.
REFUSED: dict[str, tuple[int, str, str | None, int]] = {
    "status-400": (400, "some_error", None, 1),
    "status-401": (401, "some_error", "invalid_api_key", 1),
    "status-402": (402, "some_error", None, 1),
    "status-403": (403, "some_error", None, 1),
    "status-404": (404, "some_error", "model_not_found", 1),
    "status-408": (408, "some_error", None, 2),
    "status-409": (409, "some_error", None, 1),
    "status-413": (413, "some_error", None, 1),
    "status-418": (418, "some_error", None, 1),
    "status-422": (400, "some_error", None, 1),
    "status-429": (429, "some_error", "rate_limit_exceeded", 2),
    "status-500": (500, "some_error", None, 2),
    "status-501": (501, "some_error", None, 2),
    "status-502": (502, "some_error", None, 2),
    "status-503": (503, "some_error", None, 2),
    "status-504": (408, "some_error", None, 2),
    "status-529": (529, "some_error", None, 2),
    "status-599": (599, "some_error", None, 2),
    "html-502": (502, "api_error", None, 2),
    "cut-at-once": (502, "api_connection_error", None, 2),
    "cut-head": (502, "api_connection_error", None, 2),
    "no-http": (502, "api_connection_error", None, 2),
    "tls": (502, "api_connection_error", None, 2),
    "huge-head": (502, "api_connection_error", None, 2),
    "gzip-lie": (502, "api_connection_error", None, 2),
    "short": (502, "api_connection_error", None, 2),
    "redirect": (502, "api_connection_error", None, 2),
    "moved": (502, "api_connection_error", None, 2),
    "echo-key": (401, "some_error", "invalid_api_key", 1),
    "echo-all": (500, "some_error", None, 2),
    "error-text": (400, "invalid_request_error", None, 1),
    "error-odd": (400, "invalid_request_error", None, 1),
    "error-huge": (400, "some_error", None, 1),
    "slow-429": (429, "some_error", "rate_limit_exceeded", 1),
    "after-3600": (429, "some_error", "rate_limit_exceeded", 1),
    "after-date": (429, "some_error", "rate_limit_exceeded", 1),
    "after-ms": (429, "some_error", "rate_limit_exceeded", 1),
    "after-503": (503, "some_error", None, 1),
    "after-minus": (429, "some_error", "rate_limit_exceeded", 2),
    "after-garbage": (429, "some_error", "rate_limit_exceeded", 2),
    "after-nan": (429, "some_error", "rate_limit_exceeded", 2),
}
# What is no answer: as a whole one, and where a stream was asked for.
NO_ANSWER: dict[str, tuple[int, int]] = {
    "text": (500, 502),
    "html": (500, 502),
    "empty": (500, 502),
    "empty-object": (500, 502),
    "null": (500, 502),
    "list": (500, 502),
    "no-choices": (500, 502),
    "null-choices": (500, 502),
    "no-message": (500, 502),
    "truncated": (500, 502),
    "deep": (500, 502),
    "error-200": (500, 502),
    "bad-utf8": (500, 502),
}
# Streams that never began.
NO_STREAM = ("cut-before", "only-done", "no-events")
# What is told of those that the upstream broke off itself; of the others the connection broke.
INSIDE = ("error-event", "error-event-key", "event-garbage", "event-utf8", "event-list")
# Streams that break, and what was said before.
BROKEN: dict[str, str] = {
    "cut-role": "",
    "cut-mid": "one two ",
    "cut-event": "one ",
    "no-finish": "one ",
    "error-event": "one ",
    "error-event-key": "one ",
    "event-garbage": "one ",
    "event-utf8": "one ",
    "event-list": "one ",
}
# Streams that are odd, and whole all the same.
WHOLE: dict[str, str] = {
    "none": "Fine.",
    "once": "Fine.",
    "wrong-type": "Fine.",
    "no-done": "one ",
    "cut-finish": "one ",
    "twice": "one",
    "after-finish": "one more",
    "flood": "x" * 200,
    "giant": "x" * 500_000,
    "breaks": "a\n\ndata: [DONE]\n\nevent: x\r\n: ping\r\r\u2028\u0085 b",
}
WHOLE_PLAIN = ("none", "once", "wrong-type", "giant")
# Upstreams that never end.
ENDLESS_PLAIN = ("hang", "hang-head", "hang-body", "drip-head", "drip-body")
ENDLESS_START = ("hang", "hang-head", "drip-head", "drip-pings", "drip-empty")
ENDLESS_MIDDLE = ("hang-mid", "drip-mid-pings", "drip-mid-empty")
ENDLESS_TOTAL = ("drip-words", "trickle")

SLOW = {(name, False) for name in ENDLESS_PLAIN} | {
    (name, True) for name in (*ENDLESS_START, *ENDLESS_MIDDLE, *ENDLESS_TOTAL)
}
# When to come back, by the answer's header; None: the upstream has said nothing that could be understood.
RETRY_AFTER: dict[str, str | None] = {
    "after-3600": "3600",
    "after-ms": "3600",
    "after-503": "7200",
    "after-minus": "0",
    "after-garbage": None,
    "after-nan": None,
    "slow-429": "3600",
    "status-429": None,
}
FAST = (
    {(name, stream) for name in (*REFUSED, *NO_ANSWER) for stream in (False, True)}
    | {(name, True) for name in (*NO_STREAM, *BROKEN, *WHOLE)}
    | {(name, False) for name in WHOLE_PLAIN}
)
Outcomes = dict[tuple[str, bool], Outcome]


async def _outcomes(attacked: Server, upstream: FaultyUpstream) -> Outcomes:
    gate = asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(base_url=attacked.url, timeout=60, trust_env=False) as client:

        async def fast(name: str, stream: bool) -> Outcome:
            async with gate:
                return await _call(client, upstream, name, stream)

        found: Outcomes = {}
        for cases, call in ((sorted(FAST), fast), (sorted(SLOW), functools.partial(_call, client, upstream))):
            found |= zip(cases, await asyncio.gather(*(call(*case) for case in cases)), strict=True)
        return found


@pytest.fixture(scope="module")
def outcomes(_attacked: Server, _faulty: FaultyUpstream, canary: Canary) -> Iterator[Outcomes]:
    """What became of every call; those that take their time to fail are made at once."""
    _faulty.requests.clear()
    found = asyncio.run(_outcomes(_attacked, _faulty))
    assert {request.headers.get("authorization") for request in _faulty.requests} == {f"Bearer {SECRET}"}
    yield found
    assert canary.visitors == []


async def _call(client: httpx.AsyncClient, upstream: FaultyUpstream, name: str, stream: bool) -> Outcome:
    before, begun = len(upstream.asked(name, stream)), time.monotonic()
    body = {"model": "openai/gpt-4o", "messages": [{"role": "user", "content": f"fault {name}"}], "stream": stream}
    answer = await client.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {KEY}"})
    seconds, tries = time.monotonic() - begun, len(upstream.asked(name, stream)) - before
    events = [orjson.loads(line[6:]) for line in answer.text.split("\n") if line.startswith("data: {")]
    said = events if answer.headers["content-type"].startswith("text/event-stream") else [answer.json()]
    error = next((one["error"] for one in said if "error" in one), {})
    choices = [choice for one in said for choice in one.get("choices", ())]
    parts = [choice.get("delta") or choice.get("message") or {} for choice in choices]
    return Outcome(
        status=answer.status_code,
        error=error.get("type"),
        code=error.get("code"),
        message=error.get("message", ""),
        text="".join(part.get("content") or "" for part in parts),
        finish=[choice["finish_reason"] for choice in choices if choice.get("finish_reason")],
        done=answer.text.rstrip().endswith(DONE),
        retry_after=answer.headers.get("retry-after"),
        tries=tries,
        seconds=seconds,
        raw=answer.text,
    )


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", REFUSED)
def test_what_an_upstream_says_instead_of_an_answer(outcomes: Outcomes, name: str, stream: bool) -> None:
    found = outcomes[name, stream]
    assert found.verdict == REFUSED[name]
    assert (found.text, found.finish) == ("", [])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", NO_ANSWER)
def test_what_is_no_answer_is_not_passed_off_as_one(outcomes: Outcomes, name: str, stream: bool) -> None:
    found = outcomes[name, stream]
    error = "api_connection_error" if stream else "server_error" if name == "error-200" else "api_error"
    assert found.verdict == (NO_ANSWER[name][stream], error, None, 2)
    assert (found.text, found.finish) == ("", [])


@pytest.mark.parametrize("name", NO_STREAM)
def test_a_stream_that_does_not_begin_is_an_error_with_a_status(outcomes: Outcomes, name: str) -> None:
    assert outcomes[name, True].verdict == (502, "api_connection_error", None, 2)


@pytest.mark.parametrize("name", BROKEN)
def test_a_stream_that_breaks_ends_with_one_error_and_no_reason_to_finish(outcomes: Outcomes, name: str) -> None:
    found = outcomes[name, True]
    assert found.verdict == (200, "api_error" if name in INSIDE else "api_connection_error", None, 1)
    assert (found.text, found.finish, found.done) == (BROKEN[name], [], True)
    assert found.raw.count('"error"') == 1


@pytest.mark.parametrize("name", WHOLE)
def test_an_odd_stream_that_is_whole_is_passed_on(outcomes: Outcomes, name: str) -> None:
    found = outcomes[name, True]
    assert (found.status, found.error, found.finish, found.done) == (200, None, ["stop"], True)
    assert found.text == WHOLE[name]
    # What a model says cannot become an event of its own.
    assert found.raw.count("\n\n") == found.raw.count("\ndata: ") + 1
    assert found.raw.splitlines().count(DONE) == 1


@pytest.mark.parametrize("name", WHOLE_PLAIN)
def test_an_odd_answer_that_is_whole_is_passed_on(outcomes: Outcomes, name: str) -> None:
    found = outcomes[name, False]
    text = "x" * 500_000 if name == "giant" else "Fine."
    assert (found.status, found.text, found.finish) == (200, text, ["stop"])
    assert found.tries == (2 if name == "once" else 1)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", RETRY_AFTER)
def test_when_to_come_back_is_passed_on(outcomes: Outcomes, name: str, stream: bool) -> None:
    assert outcomes[name, stream].retry_after == RETRY_AFTER[name]


@pytest.mark.parametrize("stream", [False, True])
def test_a_date_to_come_back_at_is_told_in_seconds(outcomes: Outcomes, stream: bool) -> None:
    assert int(outcomes["after-date", stream].retry_after or 0) > 10**9


@pytest.mark.parametrize("name", ENDLESS_PLAIN)
def test_nothing_stretches_the_wait_for_a_whole_answer(outcomes: Outcomes, name: str) -> None:
    found = outcomes[name, False]
    assert found.verdict == (408, "timeout_error", None, 2), found.message
    assert found.seconds < TOTAL_TIMEOUT + PATIENCE


@pytest.mark.parametrize("name", ENDLESS_START)
def test_nothing_stretches_the_wait_for_the_first_chunk(outcomes: Outcomes, name: str) -> None:
    found = outcomes[name, True]
    assert found.verdict == (408, "timeout_error", None, 2), found.message
    assert 2 * TIMEOUT <= found.seconds < TOTAL_TIMEOUT + PATIENCE


@pytest.mark.parametrize("name", ENDLESS_MIDDLE)
def test_nothing_stretches_the_silence_between_two_chunks(outcomes: Outcomes, name: str) -> None:
    found = outcomes[name, True]
    assert found.verdict == (200, "timeout_error", None, 1)
    assert (found.text, found.finish, found.done) == ("one ", [], True)
    assert "LAS_STREAM_TIMEOUT" in found.message
    assert STREAM_TIMEOUT <= found.seconds < TOTAL_TIMEOUT


@pytest.mark.parametrize("name", ENDLESS_TOTAL)
def test_nothing_stretches_the_whole_answer(outcomes: Outcomes, name: str) -> None:
    found = outcomes[name, True]
    assert found.verdict == (200, "timeout_error", None, 1)
    assert (found.finish, found.done) == ([], True)
    assert found.text.startswith("one more more ")
    assert "LAS_TOTAL_TIMEOUT" in found.message
    assert TOTAL_TIMEOUT <= found.seconds < TOTAL_TIMEOUT + PATIENCE


def test_no_answer_has_a_key_or_a_traceback(outcomes: Outcomes) -> None:
    for case, found in outcomes.items():
        for secret in (SECRET, KEY, "Traceback", ".py", "litellm.", SECRET[:12]):
            assert secret not in found.raw, case
        assert "\n" not in found.message, case
        assert len(found.message) < 700, case


def test_an_upstream_that_is_not_there_is_named(attacked: Server) -> None:
    with client_of(attacked) as http:
        body = {"model": "ollama/llama3.2", "messages": HELLO}
        for stream in (False, True):
            answer = http.post("/v1/chat/completions", json={**body, "stream": stream})
            error = answer.json()["error"]
            assert (answer.status_code, error["type"], error["code"]) == (502, "api_connection_error", None)
