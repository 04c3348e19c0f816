"""A real Redis on this machine, for the tests that need one.

A test module that wants it says ``pytest_plugins = ["tests.redis_server"]`` and takes the fixture ``redis_server``.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

PASSWORD = "redis-secret-0123456789"


class RedisServer:
    """A ``redis-server`` process that keeps nothing on disk; use it in a with statement, which ends it.

    A stopped one starts again on the same port, empty.
    """

    def __init__(self, folder: Path) -> None:
        self.port = _free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address, with the password."""
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped since."""
        return self._process is not None

    def start(self) -> Self:
        """Start it; returns once it answers."""
        options = {"port": self.port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": self._folder}
        options |= {"requirepass": PASSWORD, "maxmemory": "64mb", "logfile": self._folder / "redis.log"}
        arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        self._process = subprocess.Popen(["redis-server", *arguments])
        self._wait(10)
        return self

    def stop(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def ask(self, *words: str) -> bytes:
        """The first bytes that it answers to a command."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(_command("AUTH", PASSWORD))
            connection.recv(64)
            connection.sendall(_command(*words))
            return connection.recv(65_536)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                assert self.ask("PING").startswith(b"+PONG")
            except OSError:
                assert self._process is not None
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return


def _command(*words: str) -> bytes:
    parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
    return f"*{len(words)}\r\n{''.join(parts)}".encode()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def _redis_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is missing: apt-get install redis-server")
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def redis_server(_redis_process: RedisServer) -> RedisServer:
    """A running, empty Redis."""
    if not _redis_process.is_running:
        _redis_process.start()
    assert _redis_process.ask("FLUSHALL").startswith(b"+OK")
    return _redis_process
