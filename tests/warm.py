"""Processes that start warm: each is a fork of one that has imported already what takes seconds to import.

A test that wants a process, but not its imports, runs :func:`command` instead of ``sys.executable``. What it gets is a
process of its own, with the environment, the folder and the three streams that the test gives it; signals reach it, and
its end is the end that the test sees. :func:`pid` is the process itself, for who wants to kill it at once.

The tests of the README run every command of ``las`` cold, as a user does.
"""

from __future__ import annotations

import array
import atexit
import gc
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import types
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

Request = tuple[dict[str, Any], list[int]]
"""What is wanted of a process, and its streams."""
ROOT = Path(__file__).parents[1]
PLACE = "TESTS_WARM_PLACE"
"""The variable that holds the address of the process that is forked."""
MODULES = (
    "servers.cli",
    "servers.app",
    "servers.langserve_api",
    "las_langchain.transports.litellm",
    "las_langchain.usage",
    "chains.chat",
    "chains.rag",
    "chains.agent",
    "langchain.agents",
    "langserve",
    "sqlalchemy",
    "rich.progress",
    "uvicorn",
)
COVERAGE = "COVERAGE_PROCESS"
"""How the variables begin that say that processes are measured."""
START_SECONDS = 120


def command(*arguments: str) -> list[str]:
    """The command line of ``python`` with *arguments*, which begin with ``-m`` or ``-c``."""
    return [sys.executable, "-IS", __file__, os.environ[PLACE], *arguments]


def las(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``las`` with *arguments*, to its end."""
    return subprocess.run(
        command("-m", "servers", *arguments),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=60,
        check=False,
    )


def pid(process: subprocess.Popen[Any]) -> int:
    """The process that *process*, which was started with :func:`command`, stands for."""
    return int(Path(f"{os.environ[PLACE]}.{process.pid}").read_text())


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """The process that is forked; gives its address.

    Args:
        folder: where its socket may be.
    """
    place = f"{folder}/warm"
    hidden = ("LAS_", "OPENAI_", "ANTHROPIC_", "OLLAMA_", COVERAGE)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    environment |= {"LAS_LOCAL_BATCH_THREADS": "1", "PYTHONPATH": str(ROOT)}
    program = "import sys; from tests.warm import serve; serve(sys.argv[1])"
    with subprocess.Popen(
        [sys.executable, "-c", program, place], cwd=folder, env=environment, stdin=subprocess.PIPE
    ) as process:
        try:
            yield place
        finally:
            process.kill()


def serve(place: str) -> None:
    """Import everything, then fork for whoever connects to *place*; ends with its parent."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(place)
    listener.listen(64)
    for name in MODULES:
        __import__(name)
    # Else each child would copy every page when it first collects.
    gc.collect()
    gc.freeze()
    if wanted := _Parent(place, listener).first_wanted():
        _become(*wanted)


class _Parent:
    """Forks for each client, kills for those who are killed, and tells the others how theirs ended."""

    def __init__(self, place: str, listener: socket.socket) -> None:
        self._place = place
        self._listener = listener
        self._clients: dict[int, socket.socket] = {}
        self._dead, woken = socket.socketpair()
        for end in (self._dead, woken):
            end.setblocking(False)
        self._mine = [listener, self._dead, woken]
        signal.set_wakeup_fd(woken.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._waiting = selectors.DefaultSelector()
        self._waiting.register(listener, selectors.EVENT_READ, self._fork)
        self._waiting.register(self._dead, selectors.EVENT_READ, self._tell_of_the_dead)
        self._waiting.register(sys.stdin, selectors.EVENT_READ, lambda: os._exit(0))

    def first_wanted(self) -> Request:
        """Serve; comes back in each child, with what is wanted of it."""
        while True:
            for key, _ in self._waiting.select():
                if wanted := key.data():
                    return wanted  # type: ignore[no-any-return]

    def _fork(self) -> Request | None:
        client, _ = self._listener.accept()
        request, streams = _request(client)
        if (child := os.fork()) == 0:
            self._waiting.close()
            for held in (*self._mine, *self._clients.values(), client):
                held.close()
            return request, streams
        for stream in streams:
            os.close(stream)
        Path(f"{self._place}.{request['pid']}").write_text(str(child))
        client.sendall(f"{child}\n".encode())
        self._clients[child] = client
        self._waiting.register(client, selectors.EVENT_READ, partial(self._kill, child))
        return None

    def _kill(self, child: int) -> None:
        # Whoever stood for it was killed.
        if child in self._clients:
            self._waiting.unregister(self._clients[child])
            os.kill(child, signal.SIGKILL)

    def _tell_of_the_dead(self) -> None:
        with suppress(BlockingIOError):
            self._dead.recv(4096)
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                client = self._clients.pop(ended[0])
                with suppress(KeyError):
                    self._waiting.unregister(client)
                with client, suppress(OSError):
                    client.sendall(f"{os.waitstatus_to_exitcode(ended[1])}\n".encode())


def _request(client: socket.socket) -> Request:
    """What a client wants, and its streams."""
    streams: array.array[int] = array.array("i")
    head, ancillary, _, _ = client.recvmsg(8, socket.CMSG_LEN(3 * streams.itemsize))
    for _, _, data in ancillary:
        streams.frombytes(data)
    content = b""
    while len(content) < int(head):
        content += client.recv(65_536)
    return json.loads(content), list(streams)


def _become(request: dict[str, Any], streams: list[int]) -> None:
    """Be the process that was asked for, until it ends."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    _reopen(os.environ.get("PYTHONIOENCODING"))
    option, what, *arguments = request["arguments"]
    sys.argv = ["-c" if option == "-c" else what, *arguments]
    sys.path[0] = "" if option == "-c" else str(Path.cwd())
    if any(name.startswith(COVERAGE) for name in os.environ):
        import coverage

        coverage.process_startup()
    code = 0
    try:
        if option == "-m":
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            sys.modules["__main__"] = types.ModuleType("__main__")
            exec(compile(what, "<string>", "exec"), sys.modules["__main__"].__dict__)
    except SystemExit as end:
        code = _code_of(end)
    except BaseException:
        traceback.print_exc()
        code = 1
    _end(code)


def _code_of(end: SystemExit) -> int:
    if isinstance(end.code, str):
        print(end.code, file=sys.stderr)
        return 1
    return end.code or 0


def _end(code: int) -> None:
    """All that an interpreter does at its end, but for taking modules apart, which takes as long as importing them."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _reopen(encoding: str | None) -> None:
    """The standard streams as a new process has them."""
    sys.stdin = sys.__stdin__ = open(0, encoding=encoding or "utf-8", closefd=False)  # type: ignore[misc]  # noqa: SIM115
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = open(number, "w", encoding=encoding or "utf-8", closefd=False)  # noqa: SIM115
        stream.reconfigure(
            line_buffering=name == "stderr" or os.isatty(number),
            errors="backslashreplace" if name == "stderr" else "strict",
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _stand_for(place: str, *arguments: str) -> None:
    """Ask for a process, hand signals on to it, and end as it ends."""
    client = _connected(place)
    request = {"arguments": arguments, "environment": dict(os.environ), "folder": str(Path.cwd()), "pid": os.getpid()}
    content = json.dumps(request).encode()
    socket.send_fds(client, [f"{len(content):8}".encode()], [0, 1, 2])
    client.sendall(content)
    answers = client.makefile()
    child = int(answers.readline())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: os.kill(child, number))
    for number in range(3):
        os.close(number)
    code = int(answers.readline() or "1")
    if code < 0:
        with suppress(OSError):  # Nobody handles SIGKILL.
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _connected(place: str) -> socket.socket:
    deadline = time.monotonic() + START_SECONDS
    while True:
        client = socket.socket(socket.AF_UNIX)
        try:
            client.connect(place)
            return client
        except OSError:
            client.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


if __name__ == "__main__":
    _stand_for(*sys.argv[1:])
