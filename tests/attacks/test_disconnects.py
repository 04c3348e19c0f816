"""Clients that leave, do not read, or come in crowds."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.attacks.conftest import BEARER, HELLO, KEY, client_of
from tests.attacks.upstream import FaultyUpstream
from tests.attacks.wire import request
from tests.conftest import Server

CHAT = "/v1/chat/completions"
LATEST = 1.0
"""Seconds after which an upstream call must have ended on a busy machine; on an idle one it takes milliseconds."""
STALLED = 3.0
"""Seconds that no ordinary call may take, whatever others do."""
PATIENCE = 20.0

# The path, the fault, and the request but for its messages.
LEFT: dict[str, tuple[str, str, dict[str, Any]]] = {
    "plain": (CHAT, "hang", {"model": "openai/gpt-4o"}),
    "stream before its first chunk": (CHAT, "hang", {"model": "openai/gpt-4o", "stream": True}),
    "stream": (CHAT, "trickle", {"model": "openai/gpt-4o", "stream": True}),
    "chain": (CHAT, "hang", {"model": "chains/chat"}),
    "stream of a chain": (CHAT, "trickle", {"model": "chains/chat", "stream": True}),
    "agent": (CHAT, "hang", {"model": "chains/agent"}),
    "stream of an agent": (CHAT, "trickle", {"model": "chains/agent", "stream": True}),
    "run of a chain": ("/chains/chat/invoke", "hang", {}),
    "streamed run of a chain": ("/chains/chat/stream", "trickle", {}),
    "streamed log of an agent": ("/chains/agent/stream_log", "trickle", {}),
}


def opened(server: Server, path: str, fault: str, fields: dict[str, Any]) -> socket.socket:
    """A connection with a request on it."""
    messages = [{"role": "user", "content": f"fault {fault}"}]
    body = {**fields, "messages": messages} if fields else {"input": {"messages": messages}}
    connection = socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=PATIENCE)
    raw = json.dumps(body).encode()
    connection.sendall(request("POST", path, BEARER, "Content-Type: application/json", body=raw))
    return connection


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("name", LEFT)
def test_a_client_that_leaves_ends_the_call(attacked: Server, faulty: FaultyUpstream, name: str) -> None:
    path, fault, fields = LEFT[name]
    connection, ended = opened(attacked, path, fault, fields), len(faulty.closed.get(fault, ()))
    wait_until(lambda: bool(faulty.asked(fault)))
    if fault == "trickle":
        # Some of the answer has come.
        assert connection.recv(65_536)
    time.sleep(0.1)
    left = time.monotonic()
    connection.close()
    wait_until(lambda: len(faulty.closed.get(fault, ())) > ended)
    seconds = faulty.closed[fault][-1] - left
    print(f"{name}: {seconds * 1000:.0f} ms")
    assert seconds < LATEST
    assert len(faulty.asked(fault)) == 1, "it was tried again for nobody"


@contextlib.contextmanager
def several(count: int, make: Callable[[], socket.socket]) -> Iterator[list[socket.socket]]:
    """As many connections."""
    connections = [make() for _ in range(count)]
    try:
        yield connections
    finally:
        for connection in connections:
            connection.close()


def answered(http: httpx.Client) -> float:
    """The seconds that an ordinary call takes."""
    begun = time.monotonic()
    answer = http.post(CHAT, json={"model": "openai/gpt-4o", "messages": HELLO})
    assert answer.status_code == 200
    return time.monotonic() - begun


def test_clients_that_do_not_read_stall_nobody(attacked: Server, http: httpx.Client, faulty: FaultyUpstream) -> None:
    fields = {"model": "openai/gpt-4o", "stream": True}
    with several(5, lambda: opened(attacked, CHAT, "giants", fields)):
        wait_until(lambda: len(faulty.asked("giants")) == 5)
        assert answered(http) < STALLED


def test_stuck_upstreams_stall_nobody(attacked: Server, http: httpx.Client, faulty: FaultyUpstream) -> None:
    with several(20, lambda: opened(attacked, CHAT, "hang", {"model": "openai/gpt-4o"})):
        wait_until(lambda: len(faulty.asked("hang")) >= 20)
        assert answered(http) < STALLED


def test_an_instant_stream_without_end_stalls_nobody(
    attacked: Server, http: httpx.Client, faulty: FaultyUpstream
) -> None:
    with several(1, lambda: opened(attacked, CHAT, "torrent", {"model": "openai/gpt-4o", "stream": True})) as (client,):
        assert client.recv(10)
        assert answered(http) < STALLED


def test_heads_that_do_not_end_stall_nobody(attacked: Server, http: httpx.Client) -> None:
    def half() -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", int(attacked.url.rpartition(":")[2])), timeout=PATIENCE)
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nX: ")
        return connection

    with several(200, half):
        assert answered(http) < STALLED


async def test_fifty_at_once_are_all_answered(attacked: Server, faulty: FaultyUpstream) -> None:
    limits = httpx.Limits(max_connections=None)
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(
        base_url=attacked.url, headers=headers, timeout=60, trust_env=False, limits=limits
    ) as client:

        async def call(number: int) -> str:
            messages = [{"role": "user", "content": f"call {number}"}]
            body = {"model": "openai/gpt-4o", "messages": messages, "stream": bool(number % 2)}
            answer = await client.post(CHAT, json=body)
            assert answer.status_code == 200, answer.text
            return answer.text

        answers = await asyncio.gather(*map(call, range(50)))
    for number, text in enumerate(answers):
        said = (
            text
            if number % 2 == 0
            else "".join(
                choice["delta"].get("content") or ""
                for line in text.split("\n")
                if line.startswith("data: {")
                for choice in json.loads(line[6:])["choices"]
            )
        )
        assert f"Echo: call {number}" in said
    assert len(faulty.requests) == 50


def test_requests_on_one_connection_are_answered_in_turn(attacked: Server, faulty: FaultyUpstream) -> None:
    with client_of(attacked) as http:
        assert [http.get("/v1/models").status_code for _ in range(5)] == [200] * 5
    port = int(attacked.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        # The second is not lost, and has an answer of its own.
        client.sendall(request("GET", "/health") + request("GET", "/nothing", "Connection: close"))
        raw = b""
        while more := client.recv(65_536):
            raw += more
    assert raw.index(b"HTTP/1.1 200 OK") < raw.index(b"HTTP/1.1 401 Unauthorized")
