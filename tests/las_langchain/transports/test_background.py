"""Synchronous calls on a loop in the background."""

from __future__ import annotations

import asyncio
import contextvars
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor

import pytest

from las_langchain.transports.background import BACKGROUND

ORIGIN = contextvars.ContextVar("ORIGIN", default="nowhere")
closed = threading.Event()


async def count(upto: int) -> AsyncGenerator[int]:
    closed.clear()
    try:
        for number in range(upto):
            yield number
            await asyncio.sleep(0.001)
    finally:
        closed.set()


async def fail() -> None:
    raise LookupError("as it was raised")


async def origin() -> str:
    return ORIGIN.get()


def test_results_and_errors_come_through() -> None:
    assert BACKGROUND.run(asyncio.sleep(0, "done")) == "done"
    assert list(BACKGROUND.iterate(count(5))) == [0, 1, 2, 3, 4]
    with pytest.raises(LookupError, match="as it was raised"):
        BACKGROUND.run(fail())


def test_an_error_comes_after_what_was_before_it() -> None:
    async def broken() -> AsyncGenerator[int]:
        yield 1
        raise LookupError

    items = BACKGROUND.iterate(broken())
    assert next(items) == 1
    with pytest.raises(LookupError):
        next(items)


def test_closing_the_iterator_closes_what_it_reads() -> None:
    items = BACKGROUND.iterate(count(1_000_000))
    assert next(items) == 0
    items.close()
    assert closed.is_set()


def test_another_thread_closes_the_iterator_of_one_that_waits() -> None:
    async def silent() -> AsyncGenerator[int]:
        yield 1
        await asyncio.sleep(60)

    items = BACKGROUND.iterate(silent())
    assert next(items) == 1
    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(list, items) for _ in range(2)]
        items.close()
        assert [reader.result(30) for reader in waiting] == [[], []]
    assert list(items) == []


def test_what_is_not_wanted_any_more_is_closed() -> None:
    items = BACKGROUND.iterate(count(1_000_000))
    assert next(items) == 0
    del items
    assert closed.wait(30)


def test_closing_does_not_wait_for_ever() -> None:
    released = threading.Event()

    async def stubborn() -> AsyncGenerator[int]:
        try:
            yield 1
            await asyncio.sleep(60)
        finally:
            await asyncio.to_thread(released.wait)

    items = BACKGROUND.iterate(stubborn())
    assert next(items) == 1
    begun = time.monotonic()
    items.close()
    released.set()
    assert time.monotonic() - begun < 30


def test_an_interrupted_wait_leaves_nothing_running() -> None:
    began, ended = threading.Event(), threading.Event()

    async def long() -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    def interrupt() -> None:
        began.wait()
        # The wait itself is to be interrupted.
        time.sleep(0.5)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        BACKGROUND.run(long())
    assert ended.is_set()


def test_an_exit_inside_a_call_ends_that_call_alone() -> None:
    async def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        BACKGROUND.run(leave())
    assert BACKGROUND.run(asyncio.sleep(0, "still here")) == "still here"


def test_a_call_after_the_end_begins_anew_and_one_before_it_is_given_up() -> None:
    code = """
import asyncio, atexit, threading
from las_langchain.errors import APIConnectionError
from las_langchain.transports.background import BACKGROUND
atexit.register(lambda: print(BACKGROUND.run(asyncio.sleep(0, "late"))))
def wait():
    try:
        BACKGROUND.run(asyncio.sleep(60))
    except APIConnectionError as error:
        print(error)
waiting = threading.Thread(target=wait, daemon=True)
waiting.start()
BACKGROUND.run(asyncio.sleep(0.1))
atexit.register(lambda: waiting.join(10))
BACKGROUND._stop()
"""
    command = [sys.executable, "-W", "error", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (result.stdout, result.stderr) == ("The call was given up: this process is ending\nlate\n", "")


def test_context_variables_of_the_caller_are_seen() -> None:
    ORIGIN.set("the caller")
    assert BACKGROUND.run(origin()) == "the caller"


async def test_it_works_while_a_loop_runs_in_this_thread() -> None:
    assert BACKGROUND.run(asyncio.sleep(0, 1)) == 1


def test_waiting_for_itself_is_refused() -> None:
    async def inside() -> None:
        BACKGROUND.run(asyncio.sleep(0))

    with pytest.raises(RuntimeError, match="use its async form there"):
        BACKGROUND.run(inside())


def test_many_threads_share_it() -> None:
    results: list[list[int]] = []
    threads = [threading.Thread(target=lambda: results.append(list(BACKGROUND.iterate(count(20))))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [list(range(20))] * 20


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this system has no fork")
def test_a_forked_child_starts_its_own_and_every_process_ends_silently() -> None:
    code = """
import asyncio, os, sys
from las_langchain.transports.background import BACKGROUND
BACKGROUND.run(asyncio.sleep(0))
child = os.fork()
if child == 0:
    sys.exit(BACKGROUND.run(asyncio.sleep(0, 7)))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
async def endless():
    while True:
        yield 1
        await asyncio.sleep(0.01)
items = BACKGROUND.iterate(endless())
next(items)
"""
    command = [sys.executable, "-X", "dev", "-W", "ignore::DeprecationWarning", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "7\n", "")
