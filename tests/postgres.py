"""A real PostgreSQL server, and the fixtures that run a test on SQLite and on it.

A test module that wants them says ``pytest_plugins = ["tests.postgres"]``.
"""

from __future__ import annotations

import getpass
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

START_SECONDS = 30
INSTALL = "apt-get install postgresql"


class Postgres:
    """A server with a folder of its own, reached through a Unix socket; use it in a with statement, which ends it.

    Started by root, it runs as an unprivileged user, since PostgreSQL refuses to run as root.

    Args:
        programs: the folder of ``initdb`` and ``postgres``.
    """

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._user = unprivileged_user()
        self._numbers = itertools.count()
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, schema: str = "public") -> str:
        """The address of *schema*, with a password that the server does not ask for."""
        return f"postgresql://las:s3cret%40word@/postgres?host={self._folder}&options=-csearch_path%3D{schema}"

    def new_schema(self) -> str:
        """Create an empty schema, in which no other's tables are seen, and return its address."""
        name = f"test{next(self._numbers)}"
        self.execute(f"CREATE SCHEMA {name}")
        return self.url(name)

    def execute(self, statement: str, url: str | None = None) -> list[Any]:
        """Run *statement* by itself and return its rows."""
        import psycopg

        with psycopg.connect(url or self.url(), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [self._programs / "postgres", "-D", self._folder / "data", "-k", self._folder, *_options()]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self._folder, env=_environment(), **self._user
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"PostgreSQL did not start: {(self._folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it and its connections."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(20)
            finally:
                self._process.kill()
                self._process.wait()
                self._process = None

    def __enter__(self) -> Postgres:
        # Not pytest's folder: the path of a Unix socket has 107 characters at most.
        self._folder = Path(tempfile.mkdtemp(prefix="las-pg-", dir="/tmp"))
        try:
            if self._user:
                os.chown(self._folder, self._user["user"], self._user["group"])
            initdb = [self._programs / "initdb", "-D", self._folder / "data", "-U", "las", "--auth=trust", "--no-sync"]
            subprocess.run(
                [*initdb, "--encoding=UTF8", "--locale=C"],
                check=True,
                capture_output=True,
                timeout=60,
                cwd=self._folder,
                env=_environment(),
                **self._user,
            )
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            self.stop()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        import psycopg

        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


def programs() -> Path | None:
    """The folder of PostgreSQL's programs; None: it is not installed."""
    folders = [Path(found).resolve().parent for name in ("postgres",) if (found := shutil.which(name))]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next(
        (folder for folder in folders if all((folder / name).is_file() for name in ("initdb", "postgres"))), None
    )


def unprivileged_user() -> dict[str, Any]:
    """Arguments for subprocess that give up root's rights; none where there are none to give up."""
    if os.geteuid() != 0:
        return {}
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = known.get("postgres") or known["nobody"]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _options() -> Iterator[str]:
    # Nothing here has to survive a power failure.
    for option in (
        "listen_addresses=",
        "fsync=off",
        "shared_buffers=16MB",
        "max_connections=50",
        "timezone=Asia/Tokyo",
    ):
        yield from ("-c", option)


def _environment() -> dict[str, str]:
    """The environment without what would send the programs elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running server; skips where PostgreSQL is not installed."""
    folder = programs()
    if folder is None:
        pytest.skip(f"PostgreSQL is not installed (looked as {getpass.getuser()}): {INSTALL}")
    with Postgres(folder) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database: a SQLite file, then a schema of :func:`postgres`."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger' / 'usage.sqlite3'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_schema()
