"""The connections: who makes them, how long they are kept, and who closes them."""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
import ssl
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydantic import SecretStr

from las_langchain.errors import APIConnectionError, APIError, ConfigurationError, LASError
from las_langchain.providers import Target
from las_langchain.transports.wire.clients import CLIENTS
from las_langchain.transports.wire.transport import LARGEST_ANSWER, WireTransport
from tests.las_langchain.transports.blocking import Blocking, chunks_of
from tests.las_langchain.transports.wire.upstream import NOTHING, STREAM, Answer, Upstream, chunk

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "ping"}]}
ROOT = Path(__file__).parents[4]
BLOCKING = Blocking(WireTransport())


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A provider."""
    with Upstream() as provider:
        yield provider


def target(url: str, timeout: float = 20) -> Target:
    return Target("openai", "m", "openai/m", url, SecretStr("sk-test"), timeout=timeout, stream_timeout=timeout)


def said(answer: dict[str, Any]) -> str:
    return str(answer["choices"][0]["message"]["content"])


async def ask(upstream: Upstream) -> str:
    return said(await WireTransport().acomplete(target(upstream.url), CHAT))


async def stream(upstream: Upstream) -> str:
    chunks = [chunk async for chunk in chunks_of(WireTransport().astream(target(upstream.url), CHAT))]
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


def wait_until(is_so: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.005)


async def test_a_connection_serves_one_call_after_another(upstream: Upstream) -> None:
    for _ in range(5):
        assert await ask(upstream) == "pong"
        assert await stream(upstream) == "pong"
    assert (len(upstream.requests), upstream.connections) == (10, 1)


def test_synchronous_calls_of_all_threads_share_connections(upstream: Upstream) -> None:
    def call(_: int) -> str:
        return said(BLOCKING.complete(target(upstream.url), CHAT))

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(call, range(64))) == {"pong"}
    assert upstream.connections <= 8


def test_a_loop_has_one_client_and_closes_it_at_its_end(upstream: Upstream) -> None:
    async def ask_often() -> tuple[Any, set[str]]:
        answers = await asyncio.gather(*(ask(upstream) for _ in range(8)))
        return (await CLIENTS.here())[0], set(answers)

    clients = []
    for _ in range(2):
        client, answers = asyncio.run(ask_often())
        assert answers == {"pong"}
        assert client.closed
        clients.append(client)
    assert clients[0] is not clients[1]
    wait_until(lambda: upstream.open == 0)


def test_loops_of_several_threads_do_not_meet(upstream: Upstream) -> None:
    def run(_: int) -> tuple[str, int]:
        async def twice() -> tuple[str, int]:
            await ask(upstream)
            return await ask(upstream), id((await CLIENTS.here())[0])

        barrier.wait(10)
        with asyncio.Runner() as runner:
            found = runner.run(twice())
            barrier.wait(10)
        return found

    barrier = threading.Barrier(6)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(run, range(6)))
    assert {answer for answer, _ in found} == {"pong"}
    assert len({client for _, client in found}) == upstream.connections == 6


async def test_many_calls_at_the_same_time(upstream: Upstream) -> None:
    for _ in range(2):
        answers = await asyncio.gather(*(stream(upstream) for _ in range(256)))
        assert answers == ["pong"] * 256
    # The second ones found the connections of the first.
    assert upstream.connections <= 256


async def test_a_connection_that_was_closed_meanwhile_is_not_used(upstream: Upstream) -> None:
    assert await ask(upstream) == "pong"
    upstream.close_connections()
    await asyncio.sleep(0.05)
    assert await ask(upstream) == "pong"
    assert (len(upstream.requests), upstream.connections) == (2, 2)


async def test_a_connection_that_was_closed_unnoticed_is_not_the_callers_trouble(upstream: Upstream) -> None:
    assert await asyncio.gather(*(ask(upstream) for _ in range(3))) == ["pong"] * 3
    upstream.close_connections()
    # The loop has not heard of it yet.
    time.sleep(0.05)
    assert await ask(upstream) == "pong"
    assert upstream.connections == 4


async def test_a_connection_that_is_closed_while_it_is_used_is_not_the_callers_trouble(upstream: Upstream) -> None:
    assert await asyncio.gather(*(ask(upstream) for _ in range(3))) == ["pong"] * 3
    upstream.answers.extend([NOTHING] * 2)
    assert await ask(upstream) == "pong"
    # The third was good.
    assert (len(upstream.requests), upstream.connections) == (6, 3)
    upstream.answers.append(NOTHING)
    assert await stream(upstream) == "pong"
    # There was none left.
    assert (len(upstream.requests), upstream.connections) == (8, 4)


async def test_a_server_that_closes_every_connection_is_not_asked_for_ever(upstream: Upstream) -> None:
    assert await asyncio.gather(*(ask(upstream) for _ in range(8))) == ["pong"] * 8
    upstream.answers.extend([NOTHING] * 8)
    with pytest.raises(APIConnectionError, match="broke"):
        await ask(upstream)
    assert len(upstream.requests) == 8 + 3


async def test_a_server_that_breaks_off_after_a_while_is_not_asked_twice(upstream: Upstream) -> None:
    assert await ask(upstream) == "pong"
    upstream.answers.append(Answer(None, then="close late"))
    with pytest.raises(APIConnectionError, match="the connection broke before the answer was whole"):
        await ask(upstream)
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("status", [400, 401, 429, 500])
@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("call", [ask, stream])
async def test_an_error_leaves_its_connection_to_the_next_call(
    upstream: Upstream, status: int, chunked: bool, call: Callable[[Upstream], Awaitable[str]]
) -> None:
    for _ in range(2):
        upstream.answers.append(Answer(b'{"error": {"message": "no"}}', status=status, chunked=chunked))
        with pytest.raises(LASError, match="no"):
            await call(upstream)
    assert await call(upstream) == "pong"
    assert upstream.connections == 1


async def test_an_answer_without_end_is_refused(upstream: Upstream) -> None:
    packed = gzip.compress(b" " * (LARGEST_ANSWER + 1))
    upstream.answers.append(Answer(packed, {"content-encoding": "gzip"}))
    with pytest.raises(APIError, match="larger than 256 MB"):
        await ask(upstream)
    assert await ask(upstream) == "pong"


async def test_a_new_connection_that_is_closed_is_a_failure(upstream: Upstream) -> None:
    upstream.answers.append(NOTHING)
    with pytest.raises(APIConnectionError, match="the connection broke before the answer was whole"):
        await ask(upstream)
    assert len(upstream.requests) == 1


async def test_an_answer_that_has_begun_is_not_asked_for_again(upstream: Upstream) -> None:
    assert await ask(upstream) == "pong"
    upstream.answers.append(Answer(chunk("po"), chunked=True, then="close"))
    with pytest.raises(APIConnectionError, match="broke"):
        await stream(upstream)
    upstream.answers.append(Answer(b"{", {"content-length": "2"}, then="close"))
    with pytest.raises(LASError):
        await ask(upstream)
    assert len(upstream.requests) == 3


@pytest.mark.parametrize("then", ["before the answer", "in the middle"])
async def test_a_cancelled_call_closes_its_connection_at_once(upstream: Upstream, then: str) -> None:
    body = None if then == "before the answer" else chunk("po")
    upstream.answers.append(Answer(body, chunked=True, then="silence"))
    call = asyncio.create_task(stream(upstream))
    await asyncio.to_thread(wait_until, lambda: len(upstream.requests) == 1)
    await asyncio.sleep(0.02)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.to_thread(wait_until, lambda: upstream.open == 0)


async def test_closing_a_stream_closes_its_connection_at_once(upstream: Upstream) -> None:
    upstream.answers.append(Answer(chunk("po"), chunked=True, then="silence"))
    async with aclosing(WireTransport().astream(target(upstream.url), CHAT)) as events:
        await anext(events)
        assert upstream.open == 1
    await asyncio.to_thread(wait_until, lambda: upstream.open == 0)


def test_closing_a_synchronous_stream_closes_its_connection_at_once(upstream: Upstream) -> None:
    upstream.answers.append(Answer(chunk("po"), chunked=True, then="silence"))
    chunks = BLOCKING.stream(target(upstream.url), CHAT)
    next(chunks)
    chunks.close()
    wait_until(lambda: upstream.open == 0)


async def test_a_call_that_takes_too_long_closes_its_connection(upstream: Upstream) -> None:
    upstream.answers.append(Answer(None, then="silence"))
    with pytest.raises(LASError, match="did not answer in time"):
        await WireTransport().acomplete(target(upstream.url, timeout=0.1), CHAT)
    await asyncio.to_thread(wait_until, lambda: upstream.open == 0)


async def test_redirects_are_not_followed(upstream: Upstream) -> None:
    with Upstream() as elsewhere:
        for status in (301, 302, 303, 307, 308):
            upstream.answers.append(Answer(b"", {"location": f"{elsewhere.url}/chat/completions"}, status))
            with pytest.raises(APIConnectionError, match="sends the request elsewhere, which is not followed"):
                await ask(upstream)
        assert elsewhere.connections == 0


async def test_cookies_are_not_kept(upstream: Upstream) -> None:
    upstream.answers.append(Answer(headers={"set-cookie": "who=me; path=/"}))
    assert [await ask(upstream), await ask(upstream)] == ["pong", "pong"]
    assert not any("cookie" in head for head in upstream.requests)


async def test_an_answer_may_be_compressed_although_nobody_asked_for_it(upstream: Upstream) -> None:
    upstream.answers.append(Answer(gzip.compress(Answer().body or b""), {"content-encoding": "gzip"}))
    assert await ask(upstream) == "pong"
    upstream.answers.append(Answer(gzip.compress(STREAM), {"content-encoding": "gzip"}, chunked=True))
    assert await stream(upstream) == "pong"
    assert all("accept-encoding: identity\r\n" in head for head in upstream.requests)


async def test_an_answer_that_is_compressed_in_an_unknown_way_is_a_failure(upstream: Upstream) -> None:
    upstream.answers.append(Answer(b"?", {"content-encoding": "br"}))
    with pytest.raises(LASError) as failure:
        await ask(upstream)
    assert "\n" not in str(failure.value)


async def test_hosts_may_be_names_or_addresses_of_either_kind(upstream: Upstream) -> None:
    assert said(await WireTransport().acomplete(target(f"http://localhost:{upstream.port}/v1"), CHAT)) == "pong"
    with Upstream(host="::1") as newer:
        assert await ask(newer) == "pong"
        assert f"host: [::1]:{newer.port}\r\n" in newer.requests[0]


async def test_a_host_that_is_not_there_is_named() -> None:
    with pytest.raises(APIConnectionError, match=r"http://nobody\.invalid/v1 cannot be reached; OPENAI_BASE_URL sets"):
        await WireTransport().acomplete(target("http://nobody.invalid/v1"), CHAT)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """An authority that nobody knows."""
    return trustme.CA()


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[Upstream]:
    """A provider with its certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with Upstream(context) as provider:
        yield provider


async def test_authorities_of_a_file(
    secure: Upstream, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    assert [await ask(secure), await stream(secure)] == ["pong", "pong"]
    assert secure.connections == 1


async def test_authorities_of_a_folder(
    secure: Upstream, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    made = subprocess.run(
        ["openssl", "x509", "-hash", "-noout", "-in", "authority.pem"], cwd=tmp_path, capture_output=True, text=True
    )
    (tmp_path / f"{made.stdout.strip()}.0").symlink_to("authority.pem")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert await ask(secure) == "pong"


@pytest.mark.parametrize("name", ["OPENAI", "VLLM"])
async def test_a_certificate_of_nobody_known_is_named_with_its_remedy(
    secure: Upstream, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    provider = name.lower()
    title = {"openai": "OpenAI", "vllm": "vLLM"}[provider]
    with pytest.raises(APIConnectionError) as failure:
        await WireTransport().acomplete(Target(provider, "m", f"{provider}/m", secure.url), CHAT)
    assert str(failure.value) == (
        f"{title} at https://127.0.0.1:{secure.port} has no certificate that is trusted here: unable to get local "
        "issuer certificate; SSL_CERT_FILE names the authorities to trust"
    )
    assert secure.requests == []


@pytest.mark.parametrize(
    ("variable", "content", "message"),
    [
        ("SSL_CERT_FILE", None, "SSL_CERT_FILE: {path}: No such file or directory"),
        ("SSL_CERT_FILE", "no certificate", "SSL_CERT_FILE: no certificates in PEM format in {path}"),
        ("SSL_CERT_DIR", None, "SSL_CERT_DIR: no such folder: {path}"),
    ],
)
async def test_authorities_that_are_not_there_are_named(
    variable: str, content: str | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "authorities"
    if content:
        path.write_text(content)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv(variable, str(path))
    with pytest.raises(ConfigurationError) as failure:
        await WireTransport().acomplete(target("https://127.0.0.1:9/v1"), CHAT)
    assert str(failure.value) == message.format(path=path)


ASKING = """
import asyncio, os, sys, threading
from tests.las_langchain.transports.wire.test_clients import BLOCKING, CHAT, CLIENTS, WireTransport, said, target

WHERE = target(sys.argv[1])

async def ask():
    answers = [await WireTransport().acomplete(WHERE, CHAT) for _ in range(2)]
    async for _ in WireTransport().astream(WHERE, CHAT):
        pass
    print(*map(said, answers), flush=True)

"""


def run(script: str, upstream: Upstream, *, strict: bool = True) -> str:
    """What a process prints that runs *script*, and complains about nothing; strictly: not even about warnings."""
    warnings = ["-X", "dev", "-W", "error::ResourceWarning", "-W", "error::RuntimeWarning"] if strict else []
    result = subprocess.run(
        [sys.executable, *warnings, "-c", ASKING + textwrap.dedent(script), upstream.url],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert result.stderr == ""
    assert result.returncode == 0
    return result.stdout


@pytest.fixture(params=["plain", "secure"])
def either(request: pytest.FixtureRequest) -> Any:
    """A provider with or without TLS, whom processes trust."""
    provider: Upstream = request.getfixturevalue("upstream" if request.param == "plain" else "secure")
    return provider


@pytest.fixture
def trusting(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the authority."""
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))


@pytest.mark.usefixtures("trusting")
def test_loops_that_end_leave_nothing_open(either: Upstream) -> None:
    script = """
        import uvloop
        asyncio.run(ask())
        asyncio.run(ask())
        uvloop.run(ask())
        print(said(BLOCKING.complete(WHERE, CHAT)), len(list(BLOCKING.stream(WHERE, CHAT))))
        thread = threading.Thread(target=asyncio.run, args=[ask()])
        thread.start()
        thread.join()
    """
    assert run(script, either) == "pong pong\n" * 3 + "pong 2\n" + "pong pong\n"
    assert either.connections == 5
    wait_until(lambda: either.open == 0)


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize("end", ["loop.close()", "pass", "loop.close(); asyncio.run(ask())"])
def test_loops_that_are_not_ended_in_order_are_not_complained_about(either: Upstream, end: str) -> None:
    printed = run(f"loop = asyncio.new_event_loop()\nloop.run_until_complete(ask())\n{end}", either, strict=False)
    assert set(printed.split()) == {"pong"}
    wait_until(lambda: either.open == 0)


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize(
    ("loop", "leave"),
    [
        ("asyncio", "sys.exit()"),
        ("asyncio", "os._exit(0)"),
        # At sys.exit, a child breaks down whose parent's uvloop has looked up any address.
        ("uvloop", "os._exit(0)"),
    ],
)
def test_a_forked_child_has_connections_of_its_own(either: Upstream, loop: str, leave: str) -> None:
    script = f"""
        import uvloop
        loop = {loop}.new_event_loop()
        loop.run_until_complete(ask())
        print(said(BLOCKING.complete(WHERE, CHAT)), flush=True)
        child = os.fork()
        if not child:
            asyncio.run(ask())
            print(said(BLOCKING.complete(WHERE, CHAT)), flush=True)
            {leave}
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        # On the connections of before.
        loop.run_until_complete(ask())
        print(said(BLOCKING.complete(WHERE, CHAT)))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
    """
    assert run(script, either, strict=False) == "pong pong\npong\n" * 3
    assert either.connections == 4
    wait_until(lambda: either.open == 0)


def test_an_interrupted_synchronous_call_closes_its_connection_at_once(upstream: Upstream) -> None:
    upstream.answers.append(Answer(None, then="silence"))
    script = """
        import time
        try:
            BLOCKING.complete(WHERE, CHAT)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            time.sleep(60)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", ASKING + textwrap.dedent(script), upstream.url],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with process:
        try:
            wait_until(lambda: len(upstream.requests) == 1, 30)
            time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            assert process.stdout is not None
            assert process.stdout.readline() == "interrupted\n"
            wait_until(lambda: upstream.open == 0)
        finally:
            process.kill()
