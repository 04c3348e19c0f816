"""The cache of answers: its keys, and the same behaviour in memory, in a file and in a real Redis."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import SecretStr

from las_langchain.caches import Cache, cache_key, open_cache
from las_langchain.caches.disk import PAUSE
from las_langchain.errors import BadRequestError, ConfigurationError
from las_langchain.providers import Target
from las_langchain.settings import load_settings

if TYPE_CHECKING:
    from tests.redis_server import RedisServer

pytest_plugins = ["tests.redis_server"]

TARGET = Target("openai", "gpt-4o", "openai/gpt-4o", api_key=SecretStr("sk-one"))
ANSWER = {
    "id": "chatcmpl-1",
    "choices": [{"message": {"content": "héllo 🌍 \u2028 \x00"}}],
    "n": 1,
    "p": 1.0,
    "x": None,
}

# Keys

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
DOCUMENTS = st.dictionaries(
    st.text(),
    st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)),
    max_size=5,
)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all scalars and empty containers."""
    if not value or not isinstance(value, dict | list):
        yield path
        return
    for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield from leaves(inner, (*path, name))


def with_leaf(value: Any, path: tuple[Any, ...], leaf: Any) -> Any:
    if not path:
        return leaf
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = with_leaf(value[path[0]], path[1:], leaf)
    return copy


def leaf_at(value: Any, path: tuple[Any, ...]) -> Any:
    return leaf_at(value[path[0]], path[1:]) if path else value


def reordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: reordered(value[name]) for name in reversed(value)}
    return [reordered(item) for item in value] if isinstance(value, list) else value


@given(DOCUMENTS)
def test_the_order_of_fields_does_not_change_the_key(body: dict[str, Any]) -> None:
    target = replace(TARGET, headers={"a": "1", "b": "2"}, options=body)
    other = replace(TARGET, headers={"b": "2", "a": "1"}, options=reordered(body))
    assert cache_key(target, "chat", body) == cache_key(other, "chat", reordered(body))


@given(DOCUMENTS, SCALARS, st.data())
def test_any_changed_leaf_changes_the_key(body: dict[str, Any], leaf: Any, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(list(leaves(body))))
    old = leaf_at(body, path)
    assume(path)
    assume((type(old), repr(old)) != (type(leaf), repr(leaf)))
    assert cache_key(TARGET, "chat", body) != cache_key(TARGET, "chat", with_leaf(body, path, leaf))


@given(DOCUMENTS, st.text())
def test_a_further_field_changes_the_key(body: dict[str, Any], name: str) -> None:
    assume(name not in body)
    assert cache_key(TARGET, "chat", body) != cache_key(TARGET, "chat", {**body, name: None})


@pytest.mark.parametrize(
    "change",
    [
        {"provider": "groq"},
        {"model": "gpt-4"},
        {"litellm_model": "azure/gpt-4o"},
        {"asked": "fast"},
        {"api_base": "http://127.0.0.1:1"},
        {"api_key": SecretStr("sk-two")},
        {"api_key": None},
        {"headers": {"x-tenant": "one"}},
        {"options": {"api_version": "2024-10-21"}},
    ],
)
def test_whatever_changes_the_answer_changes_the_key(change: dict[str, Any]) -> None:
    assert cache_key(replace(TARGET, **change), "chat", {}) != cache_key(TARGET, "chat", {})


def test_the_operation_changes_the_key_and_timeouts_do_not() -> None:
    keys = {cache_key(TARGET, operation, {}) for operation in ("chat", "stream", "embeddings")}
    assert len(keys) == 3
    assert cache_key(replace(TARGET, timeout=1, stream_timeout=2), "chat", {}) in keys
    assert all(re.fullmatch("[0-9a-f]{64}", key) for key in keys)


def test_two_halves_are_not_the_character_that_they_would_make() -> None:
    assert cache_key(TARGET, "chat", {"text": "\ud83d\ude00"}) != cache_key(TARGET, "chat", {"text": "😀"})


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


CIRCLE: dict[str, Any] = {}
CIRCLE["self"] = CIRCLE


@pytest.mark.parametrize(
    "body", [{"input": b"bytes"}, {"tools": {1, 2}}, {"x": {("a", 1): 2}}, {"x": deep(9999)}, CIRCLE]
)
def test_what_is_not_json_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError, match="The request, or an option of its provider, is not JSON: "):
        cache_key(TARGET, "chat", body)


# Every kind of cache


@dataclass
class Place:
    """Where one kind of cache is, which can be opened several times over."""

    kind: str
    settings: dict[str, Any] = field(default_factory=dict)

    def open(self, **settings: Any) -> Cache:
        cache = open_cache(load_settings(enable_caching=True, cache_type=self.kind, **self.settings, **settings))
        assert cache is not None
        return cache

    @property
    def variables(self) -> dict[str, str]:
        """The environment of another process that has the same cache."""
        given = {f"LAS_{name.upper()}": str(value) for name, value in self.settings.items()}
        return {**os.environ, "LAS_ENABLE_CACHING": "1", "LAS_CACHE_TYPE": self.kind, **given}


@pytest.fixture(params=["memory", "disk", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "redis":
        return Place("redis", {"redis_url": request.getfixturevalue("redis_server").url})
    return Place(request.param, {"data_dir": tmp_path / "data"} if request.param == "disk" else {})


@pytest.fixture
def warnings_of_caches(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.DEBUG, logger="las_langchain.caches")
    return lambda: [record.getMessage() for record in caplog.records if record.name.startswith("las_langchain.caches")]


def test_nothing_is_opened_where_caching_is_off(tmp_path: Path) -> None:
    assert open_cache(load_settings(cache_type="disk", data_dir=tmp_path)) is None
    assert open_cache(load_settings(enable_caching=True, cache_type="disk", data_dir=tmp_path)) is not None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [ANSWER, [ANSWER, ANSWER], "text", 0, 1.0, 1, False, [], {}])
async def test_a_value_comes_back_as_it_was(place: Place, value: Any) -> None:
    cache = place.open()
    assert await cache.get("key") is None
    await cache.set("key", value)
    found = await cache.get("key")
    assert (found, json.dumps(found)) == (value, json.dumps(value))
    assert await cache.get("KEY") is None


async def test_a_value_is_replaced_and_belongs_to_nobody(place: Place) -> None:
    cache = place.open()
    value = {"list": [1]}
    await cache.set("ключ 🔑", value)
    value["list"].append(2)
    (await cache.get("ключ 🔑"))["list"].append(3)
    assert await cache.get("ключ 🔑") == {"list": [1]}
    await cache.set("ключ 🔑", "another")
    assert await cache.get("ключ 🔑") == "another"


async def test_a_value_expires(place: Place) -> None:
    cache = place.open(cache_ttl=0.4)
    await cache.set("key", ANSWER)
    assert await cache.get("key") == ANSWER
    await asyncio.sleep(0.5)
    assert await cache.get("key") is None
    await cache.set("key", ANSWER)
    assert await cache.get("key") == ANSWER


@pytest.mark.parametrize("place", ["memory", "disk"], indirect=True)
async def test_the_oldest_make_room_within_the_bound(place: Place) -> None:
    cache = place.open(cache_max_mb=0.1)
    text = "x" * 9_998
    for number in range(25):
        await cache.set(str(number), text)
    found = [number for number in range(25) if await cache.get(str(number)) == text]
    assert found == list(range(15, 25))
    await cache.set("larger than all", "x" * 100_000)
    assert await cache.get("larger than all") is None
    await cache.set("24", "small")
    await cache.set("half", "x" * 49_998)
    kept = [number for number in range(25) if await cache.get(str(number)) is not None]
    assert len(kept) == 5
    assert await cache.get("half") == "x" * 49_998
    if place.kind == "disk":
        size = sum(path.stat().st_size for path in place.settings["data_dir"].glob("cache.sqlite3"))
        assert size < 300_000


@pytest.mark.parametrize("place", ["redis"], indirect=True)
async def test_a_full_redis_gives_what_it_has_and_takes_nothing(
    place: Place, redis_server: RedisServer, warnings_of_caches: Callable[[], list[str]]
) -> None:
    cache = place.open()
    await cache.set("kept", ANSWER)
    assert redis_server.ask("CONFIG", "SET", "maxmemory", "1").startswith(b"+OK")
    try:
        await cache.set("new", ANSWER)
        await cache.set("newer", ANSWER)
        assert await cache.get("kept") == ANSWER
        assert await cache.get("new") is None
    finally:
        redis_server.ask("CONFIG", "SET", "maxmemory", "64mb")
    assert len(warnings_of_caches()) == 1
    await cache.set("new", ANSWER)
    assert await cache.get("new") == ANSWER


async def test_a_value_that_is_not_json_is_not_kept(place: Place, warnings_of_caches: Callable[[], list[str]]) -> None:
    cache = place.open()
    for _ in range(3):
        await cache.set("key", {"number": 2**70})
    assert await cache.get("key") is None
    assert len(warnings_of_caches()) == 1


def test_threads_and_their_loops_share_a_cache(place: Place, warnings_of_caches: Callable[[], list[str]]) -> None:
    cache = place.open()

    async def use(name: int) -> None:
        await asyncio.gather(*[cache.set(f"{name}/{number}", [name, number]) for number in range(40)])
        found = await asyncio.gather(*[cache.get(f"{name}/{number}") for number in range(40)])
        assert found == [[name, number] for number in range(40)]

    in_threads([lambda name=name: asyncio.run(use(name)) for name in range(4)])

    async def all_found() -> bool:
        return all([await cache.get(f"{name}/{number}") == [name, number] for name in range(4) for number in range(40)])

    assert asyncio.run(all_found())
    assert asyncio.run(all_found())
    assert warnings_of_caches() == []


def in_threads(jobs: list[Callable[[], object]]) -> None:
    """Run *jobs* side by side; raises the first failure."""
    failures: list[BaseException] = []

    def run(job: Callable[[], object]) -> None:
        try:
            job()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=[job]) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    for failure in failures:
        raise failure


async def test_a_caller_that_leaves_disturbs_nobody(place: Place) -> None:
    cache = place.open()
    await cache.set("key", ANSWER)
    for delay in (0, 0.0005, 0.001, 0.002):
        asking = [asyncio.create_task(cache.get("key")) for _ in range(10)]
        await asyncio.sleep(delay)
        for task in asking[::2]:
            task.cancel()
        found = await asyncio.gather(*asking, return_exceptions=True)
        assert found[1::2] == [ANSWER] * 5
    assert await cache.get("key") == ANSWER


FORKING = """
import asyncio, os, signal, sys, threading
from las_langchain.caches import open_cache
from las_langchain.settings import load_settings

cache = open_cache(load_settings())
asyncio.run(cache.set("before", 1))
stopped = threading.Event()

def busy():
    async def turns():
        while not stopped.is_set():
            await cache.set("busy", "x" * 1000)
            await cache.get("busy")
    asyncio.run(turns())

async def in_child(number):
    assert await cache.get("before") == 1
    await cache.set(f"child {number}", number)
    assert await cache.get(f"child {number}") == number

thread = threading.Thread(target=busy)
thread.start()
failed = 0
for number in range(20):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            asyncio.run(in_child(number))
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    failed += os.waitpid(child, 0)[1] != 0
stopped.set()
thread.join()
assert asyncio.run(cache.get("before")) == 1
print(failed, [asyncio.run(cache.get(f"child {number}")) for number in range(20)])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_forked_children_use_the_cache_while_their_parent_does(place: Place) -> None:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING]
    done = subprocess.run(command, env=place.variables, capture_output=True, text=True, timeout=120)
    shared = [None] * 20 if place.kind == "memory" else list(range(20))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"0 {shared}\n", "")


# The file

SHARING = """
import asyncio, sys
from las_langchain.caches import open_cache
from las_langchain.settings import load_settings

async def main(me):
    cache = open_cache(load_settings())
    for number in range(150):
        await cache.set(f"{me}/{number}", [me, number])
        assert await cache.get(f"{me}/{number}") == [me, number]

sys.stdin.readline()
asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize("place", ["disk", "redis"], indirect=True)
def test_processes_share_a_cache_from_its_beginning(place: Place) -> None:
    others = [
        subprocess.Popen(
            [sys.executable, "-c", SHARING, name],
            env=place.variables,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("a", "b")
    ]
    try:
        # They wait for a line, so that both make the file at once.
        errors = [other.communicate("go\n", timeout=120)[1] for other in others]
    finally:
        for other in others:
            other.kill()
    assert errors == ["", ""]

    async def all_found() -> bool:
        cache = place.open()
        return all([await cache.get(f"{name}/{number}") == [name, number] for name in "ab" for number in range(150)])

    assert asyncio.run(all_found())


@pytest.fixture
def disk(tmp_path: Path) -> Place:
    return Place("disk", {"data_dir": tmp_path / "new" / "data"})


def file_of(disk: Place) -> Path:
    path: Path = disk.settings["data_dir"] / "cache.sqlite3"
    return path


async def test_only_the_owner_can_read_the_file(disk: Place) -> None:
    cache = disk.open()
    await cache.set("key", ANSWER)
    modes = {path.name: path.stat().st_mode & 0o777 for path in file_of(disk).parent.iterdir()}
    assert modes == dict.fromkeys(["cache.sqlite3", "cache.sqlite3-wal", "cache.sqlite3-shm"], 0o600)


async def test_the_file_outlives_its_cache_and_serves_several(disk: Place) -> None:
    one = disk.open()
    await one.set("key", ANSWER)
    other = disk.open(cache_ttl=1)
    assert await other.get("key") == ANSWER
    del one
    gc.collect()
    await other.set("other", 2)
    assert await disk.open().get("other") == 2


def overwritten(disk: Place, start: int) -> None:
    with contextlib.closing(sqlite3.connect(file_of(disk))) as connection:
        # Else what is written over is read from the log.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = file_of(disk).read_bytes()
    file_of(disk).write_bytes(content[:start] + os.urandom(max(len(content) - start, 5_000)))


@pytest.mark.parametrize("start", [0, 100, 4096])
async def test_a_broken_file_is_replaced(disk: Place, start: int, warnings_of_caches: Callable[[], list[str]]) -> None:
    cache = disk.open()
    for number in range(50):
        await cache.set(str(number), [ANSWER] * 20)
    overwritten(disk, start)
    cache = disk.open()
    assert [await cache.get(str(number)) for number in range(50)] == [None] * 50
    await cache.set("key", ANSWER)
    await cache.set("key", ANSWER)
    assert await cache.get("key") == ANSWER
    assert [warning.partition(": ")[0] for warning in warnings_of_caches()] == [
        f"The cache in {file_of(disk)} does not work, so calls go on without it"
    ]


async def test_a_file_that_is_deleted_in_use_fails_nobody(disk: Place) -> None:
    cache = disk.open()
    await cache.set("key", ANSWER)
    for path in file_of(disk).parent.iterdir():
        path.unlink()
    await cache.set("key", ANSWER)
    assert await cache.get("key") in (ANSWER, None)
    assert await disk.open().get("key") is None


async def test_a_broken_entry_is_no_entry(disk: Place, warnings_of_caches: Callable[[], list[str]]) -> None:
    cache = disk.open()
    await cache.set("key", ANSWER)
    with contextlib.closing(sqlite3.connect(file_of(disk))) as connection, connection:
        connection.execute("UPDATE answers SET value = ?", (b'{"cut": ',))
    assert await cache.get("key") is None
    assert len(warnings_of_caches()) == 1
    await cache.set("key", ANSWER)
    assert await cache.get("key") == ANSWER


async def test_a_folder_that_cannot_be_is_warned_of_once(
    disk: Place, tmp_path: Path, warnings_of_caches: Callable[[], list[str]]
) -> None:
    cache = disk.open()
    (tmp_path / "new").write_text("a file, no folder")
    for _ in range(3):
        await cache.set("key", ANSWER)
        assert await cache.get("key") is None
    assert len(warnings_of_caches()) == 1


async def test_a_file_that_another_process_locks_is_waited_for_but_not_long(
    disk: Place, warnings_of_caches: Callable[[], list[str]]
) -> None:
    cache = disk.open()
    await cache.set("key", ANSWER)
    with contextlib.closing(sqlite3.connect(file_of(disk), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        await cache.set("key", "new")
        assert 0.9 < time.monotonic() - began < 5
        assert await cache.get("key") == ANSWER
        assert len(warnings_of_caches()) == 1
        await asyncio.sleep(PAUSE)
        asking = asyncio.create_task(cache.set("key", "newer"))
        await asyncio.sleep(0.1)
        other.execute("ROLLBACK")
        await asking
        assert await cache.get("key") == "newer"
        other.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        await asyncio.gather(*[cache.set("key", number) for number in range(30)])
        assert time.monotonic() - began < 10, "only one of them waits"
        assert await cache.get("key") == "newer"


FULL = """
import asyncio, resource
from las_langchain.caches import open_cache
from las_langchain.settings import load_settings

async def main():
    cache = open_cache(load_settings())
    await cache.set("small", 1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    for number in range(40):
        await cache.set(str(number), "x" * 20_000)
    print(await cache.get("small"), await cache.get("39"))

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no limits for files")
def test_a_full_disk_fails_nobody(disk: Place) -> None:
    done = subprocess.run([sys.executable, "-c", FULL], env=disk.variables, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "1 None\n")
    assert len(done.stderr.splitlines()) == 1
    assert "does not work, so calls go on without it" in done.stderr


# Redis


@pytest.fixture
def redis(redis_server: RedisServer) -> Place:
    return Place("redis", {"redis_url": redis_server.url})


async def test_entries_are_kept_under_a_prefix_and_expire_by_themselves(
    redis: Place, redis_server: RedisServer
) -> None:
    await redis.open(cache_ttl=90.5).set("key", ANSWER)
    assert redis_server.ask("KEYS", "*").split() == [b"*1", b"$15", b"las:cache:1:key"]
    assert 89_000 < int(redis_server.ask("PTTL", "las:cache:1:key")[1:]) <= 90_500


async def test_a_redis_that_goes_and_comes_back_fails_nobody(
    redis: Place, redis_server: RedisServer, warnings_of_caches: Callable[[], list[str]]
) -> None:
    cache = redis.open()
    await cache.set("key", ANSWER)
    redis_server.stop()
    began = time.monotonic()
    for _ in range(5):
        assert await cache.get("key") is None
        await cache.set("key", ANSWER)
    assert time.monotonic() - began < 3
    redis_server.start()
    async with asyncio.timeout(20):
        while await cache.get("key") is None:
            await cache.set("key", ANSWER)
            await asyncio.sleep(0.05)
    assert await cache.get("key") == ANSWER
    assert len(warnings_of_caches()) == 1
    assert f"Redis at 127.0.0.1:{redis_server.port} does not work" in warnings_of_caches()[0]


async def test_a_redis_that_restarts_between_two_calls_is_not_noticed(
    redis: Place, redis_server: RedisServer, warnings_of_caches: Callable[[], list[str]]
) -> None:
    cache = redis.open()
    await cache.set("key", ANSWER)
    redis_server.stop()
    redis_server.start()
    await cache.set("key", ANSWER)
    assert await cache.get("key") == ANSWER
    assert warnings_of_caches() == []


async def test_a_silent_redis_is_waited_for_once(warnings_of_caches: Callable[[], list[str]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        cache = Place("redis", {"redis_url": f"redis://:secret@127.0.0.1:{silent.getsockname()[1]}"}).open()
        began = time.monotonic()
        assert await asyncio.gather(*[cache.get("key") for _ in range(100)]) == [None] * 100
        assert 0.5 < time.monotonic() - began < 3
        began = time.monotonic()
        await cache.set("key", ANSWER)
        assert time.monotonic() - began < 0.3
    assert len(warnings_of_caches()) == 1


async def test_a_password_is_never_logged(
    redis_server: RedisServer, warnings_of_caches: Callable[[], list[str]]
) -> None:
    for url in (
        f"redis://user:wr0ngsecret@127.0.0.1:{redis_server.port}/0",
        "redis://:wr0ngsecret@127.0.0.1:1/0",
        "redis://:wr0ngsecret@no-such-host.invalid/0",
        "redis://127.0.0.1:1/0?password=wr0ngsecret",
        "unix:///no/such.socket?password=wr0ngsecret",
    ):
        cache = Place("redis", {"redis_url": url}).open()
        assert await cache.get("key") is None
    assert len(warnings_of_caches()) == 5
    assert "wr0ngsecret" not in " ".join(warnings_of_caches())


@pytest.mark.parametrize(
    "url",
    [
        "localhost:6379",
        "http://wr0ngsecret@localhost",
        "redis://:wr0ng/secret@localhost:6379/0",
        "redis://:wr0ngsecret@localhost:99999999",
        "redis://localhost?wr0ngsecret=1",
        "redis://localhost?socket_timeout=wr0ngsecret",
    ],
)
def test_what_is_no_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigurationError, match="LAS_REDIS_URL is not the address of a Redis; expected") as error:
        Place("redis", {"redis_url": url}).open()
    assert "wr0ng" not in str(error.value)


def test_a_missing_address_is_named() -> None:
    with pytest.raises(ConfigurationError, match="set LAS_REDIS_URL, such as redis://localhost:6379/0"):
        Place("redis").open()


def test_a_missing_package_is_named() -> None:
    script = """
import sys
sys.modules["redis"] = None
from las_langchain.caches import open_cache
from las_langchain.errors import ConfigurationError
from las_langchain.settings import load_settings
try:
    open_cache(load_settings())
except ConfigurationError as error:
    print(error)
"""
    variables = Place("redis", {"redis_url": "redis://localhost"}).variables
    done = subprocess.run([sys.executable, "-c", script], env=variables, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert 'pip install "las-langchain[redis]"' in done.stdout


def clients_of(redis_server: RedisServer) -> int:
    return redis_server.ask("CLIENT", "LIST").count(b"addr=127") // 2


async def wait_for_clients(redis_server: RedisServer, count: int) -> None:
    async with asyncio.timeout(10):
        while clients_of(redis_server) != count:
            await asyncio.sleep(0.02)


def test_connections_end_with_their_loop(redis: Place, redis_server: RedisServer) -> None:
    cache = redis.open()

    async def use() -> int:
        await asyncio.gather(*[cache.set(str(number), number) for number in range(50)])
        return clients_of(redis_server)

    assert clients_of(redis_server) == 1
    in_loops = [asyncio.run(use()) for _ in range(3)]
    assert all(2 <= count <= 9 for count in in_loops)
    asyncio.run(wait_for_clients(redis_server, 1))


async def test_connections_end_with_their_cache(redis: Place, redis_server: RedisServer) -> None:
    circle: list[Any] = [redis.open()]
    await circle[0].set("key", ANSWER)
    await wait_for_clients(redis_server, 2)
    # Only the garbage collector ends a circle, in no particular order.
    circle.append(circle)
    del circle
    gc.collect()
    await wait_for_clients(redis_server, 1)
