"""How long a stream waits for its first token beside others, and how soon an upstream call ends with its client.

A server process is asked for 16 streams at once, of an upstream in another process whose whole answers are there at
once: a stream that is read without a pause keeps the others waiting. Then clients leave in the middle of answers.

    python benchmarks/fairness.py
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

STREAMS = 16
ROUNDS = 8
WORDS = 60
LEAVING = 20
BAR = 5.0
BAR_SECONDS = 0.2
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


def event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    """A chunk of the upstream's answers."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o", "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def upstream(ports: Any, ends: Any) -> None:
    """Answer at once, or, if the request is about something slow, never; tell when the client of such a one is gone."""
    words = b"".join(event({"content": "word "}) for _ in range(WORDS))
    whole = _HEAD + event({"role": "assistant", "content": ""}) + words + event({}, "stop") + b"data: [DONE]\n\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        request = json.loads(await reader.readexactly(length))
        if "slow" not in str(request["messages"]):
            writer.write(whole)
        elif request.get("stream"):
            writer.write(_HEAD + event({"role": "assistant", "content": "well "}))
        if "slow" in str(request["messages"]):
            await reader.read()
            ends.put(time.monotonic())
        writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        ports.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


@contextmanager
def serving(port: int) -> Iterator[int]:
    """A server whose provider is at *port*; gives its own port."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "LAS_DATA_DIR": folder,
            "LAS_MODEL": "openai/gpt-4o",
            "OPENAI_API_KEY": "sk-benchmark",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1",
        }
        command = [sys.executable, "-m", "servers", "serve", "--port", "0"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        ) as process:
            try:
                assert process.stdout is not None
                address = next(word for line in process.stdout for word in line.split() if word.endswith("/v1"))
                yield int(address.split(":")[2].split("/")[0])
            finally:
                process.terminate()


async def opened(port: int, text: str, *, stream: bool = True) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection with a request on it."""
    messages = [{"role": "user", "content": text}]
    body = json.dumps({"model": "openai/gpt-4o", "messages": messages, "stream": stream}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nConnection: close\r\n\r\n".encode() + body)
    return reader, writer


async def first_token(port: int) -> float:
    """Seconds until the first word of a stream, which is read to its end."""
    begun, first = time.perf_counter(), 0.0
    reader, writer = await opened(port, "hello")
    while line := await reader.readline():
        if not first and b'"word ' in line:
            first = time.perf_counter() - begun
    writer.close()
    assert first, "the stream has no words"
    return first


async def leave(port: int, ends: Any, *, stream: bool) -> float:
    """Seconds from a client's leaving to the end of the upstream call."""
    reader, writer = await opened(port, "slow", stream=stream)
    if stream:
        while b"well" not in await reader.readline():
            pass
    await asyncio.sleep(0.2)
    left = time.monotonic()
    writer.close()
    return float(await asyncio.to_thread(ends.get, timeout=30)) - left


async def measure(port: int, ends: Any) -> tuple[list[float], list[float], list[float]]:
    """The waits for first tokens, and the ends of plain calls and of streams that were left."""
    await first_token(port)  # imports what calls need
    waits: list[float] = []
    for _ in range(ROUNDS):
        waits += await asyncio.gather(*(first_token(port) for _ in range(STREAMS)))
    plain = [await leave(port, ends, stream=False) for _ in range(LEAVING)]
    return waits, plain, [await leave(port, ends, stream=True) for _ in range(LEAVING)]


def main() -> int:
    """Print the figures; return 1 if one misses its bar."""
    context = multiprocessing.get_context("spawn")
    ports, ends = context.Queue(), context.Queue()
    process = context.Process(target=upstream, args=(ports, ends), daemon=True)
    process.start()
    with serving(ports.get(timeout=30)) as port:
        waits, plain, streams = asyncio.run(measure(port, ends))
    process.kill()
    median, slowest = statistics.median(waits), statistics.quantiles(waits, n=100)[98]
    print(f"first token of {STREAMS} streams at once, {ROUNDS} rounds, {WORDS} words each")
    print(f"  median {median * 1000:7.1f} ms")
    print(f"  p99    {slowest * 1000:7.1f} ms   ratio {slowest / median:.2f} (bar: {BAR:g})")
    for name, seconds in (("plain", plain), ("stream", streams)):
        worst = f"worst {max(seconds) * 1000:.1f} ms (bar: {BAR_SECONDS * 1000:g} ms)"
        print(f"client gone to upstream closed, {name:6}  median {statistics.median(seconds) * 1000:5.1f} ms, {worst}")
    return int(slowest / median > BAR or max(*plain, *streams) > BAR_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
