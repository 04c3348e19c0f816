"""Responses that are kept: on both databases, for as long as they should, whatever happens."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from las_langchain.callers import calling
from las_langchain.errors import BadRequestError, ConfigurationError
from las_langchain.settings import LASSettings
from servers.app import create_app
from servers.responses.items import checked_items
from servers.responses.store import FILE, LIFE, ResponseStore
from servers.responses.tables import ITEMS, RESPONSES
from tests.conftest import Server

pytest_plugins = ["tests.postgres"]

Json = dict[str, Any]
HELLO: Json = {"model": "local/smollm2-135m-instruct", "input": "hello", "max_output_tokens": 3}


@pytest.fixture
def kept(database_url: str) -> Iterator[ResponseStore]:
    store = ResponseStore(database_url)
    yield store
    store.close()


def response(name: str, previous: str | None = None, text: str = "hi \u0000 😀") -> Json:
    part = {"type": "output_text", "text": text, "annotations": []}
    said = {"id": f"msg_{name}", "type": "message", "role": "assistant", "content": [part], "status": "completed"}
    return {"id": name, "previous_response_id": previous, "output": [said]}


def texts(items: list[Json]) -> list[str]:
    return [item["content"][0]["text"] for item in items]


async def test_a_conversation_is_kept_and_deleted(kept: ResponseStore) -> None:
    names = [f"resp_{number}" for number in range(5)]
    for before, name in zip([None, *names], names, strict=False):
        await kept.keep(response(name, before, f"answer of {name}"), checked_items(f"question of {name}"))
    assert await kept.response("resp_1") == response("resp_1", "resp_0", "answer of resp_1")
    history = texts(await kept.history("resp_4"))
    assert history == [f"{what} of {name}" for name in names for what in ("question", "answer")]
    assert texts(await kept.input_items("resp_4")) == history[:-1]
    assert texts([*(await kept.items(["msg_resp_2", "msg_x"])).values()]) == ["answer of resp_2"]
    await kept.delete("resp_3")
    with pytest.raises(BadRequestError, match="'resp_4' builds on one that is gone"):
        await kept.history("resp_4")
    assert len(await kept.history("resp_2")) == 6
    with pytest.raises(BadRequestError, match="not found"):
        await kept.delete("resp_3")


async def test_every_key_has_its_own(kept: ResponseStore) -> None:
    with calling(key_id="alice"):
        await kept.keep(response("resp_a"), checked_items("secret"))
    for key in ("bob", None):
        with calling(key_id=key) if key else calling():
            for ask in (kept.response, kept.history, kept.input_items, kept.delete):
                with pytest.raises(BadRequestError, match="not found") as error:
                    await ask("resp_a")
                # OpenAI's answers differ in that.
                assert error.value.status_code == (400 if ask == kept.history else 404)
            assert await kept.items(["msg_resp_a"]) == {}
            # What builds on another's cannot be gone on with either.
            await kept.keep(response(f"resp_{key}", "resp_a"), [])
            with pytest.raises(BadRequestError, match="is gone"):
                await kept.history(f"resp_{key}")
    with calling(key_id="alice"):
        assert texts(await kept.history("resp_a")) == ["secret", "hi \u0000 😀"]


async def test_what_is_not_built_on_is_gone_after_its_time(database_url: str) -> None:
    now = [1_000_000_000.0]
    kept = ResponseStore(database_url, clock=lambda: now[0])
    await kept.keep(response("resp_0"), checked_items("a"))
    await kept.keep(response("resp_alone"), checked_items("b"))
    now[0] += LIFE - 10
    await kept.keep(response("resp_1", "resp_0"), checked_items("c"))
    now[0] += 20
    assert len(await kept.history("resp_1")) == 4
    with pytest.raises(BadRequestError, match="not found"):
        await kept.response("resp_alone")
    now[0] += LIFE
    await kept.keep(response("resp_2"), [])
    rows = kept._database().read(
        lambda connection: [len(connection.execute(table.select()).all()) for table in (RESPONSES, ITEMS)]
    )
    assert rows == [1, 1]
    kept.close()


async def test_long_conversations_are_read_whole_and_too_long_ones_refused(database_url: str) -> None:
    kept, strict = ResponseStore(database_url), ResponseStore(database_url, most_items=39)
    for number in range(40):
        before = f"resp_{number - 1}" if number else None
        await kept.keep(response(f"resp_{number}", before, str(number)), [])
    assert texts(await kept.history("resp_39")) == [str(number) for number in range(40)]
    with pytest.raises(BadRequestError, match="more than 39 items"):
        await strict.history("resp_39")
    kept.close()
    strict.close()


async def test_many_write_at_once(database_url: str) -> None:
    stores = [ResponseStore(database_url) for _ in range(3)]
    keeping = [one.keep(response(f"resp_{place}_{n}"), []) for place, one in enumerate(stores) for n in range(10)]
    await asyncio.gather(*keeping)
    found = await asyncio.gather(*(stores[0].response(f"resp_{place}_{n}") for place in range(3) for n in range(10)))
    assert len(found) == 30
    for one in stores:
        one.close()


def test_a_forked_child_goes_on(tmp_path: Path) -> None:
    kept = ResponseStore.of(LASSettings(data_dir=tmp_path))
    asyncio.run(kept.keep(response("resp_parent"), []))
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(kept.keep(response("resp_child", "resp_parent"), []))
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert len(asyncio.run(kept.history("resp_child"))) == 2
    assert ResponseStore.of(LASSettings(data_dir=tmp_path)) is kept
    kept.close()


async def test_answers_are_given_though_they_cannot_be_kept(
    data_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "models").symlink_to(data_dir / "models")
    (tmp_path / FILE).mkdir()
    transport = httpx.ASGITransport(create_app(LASSettings(data_dir=tmp_path)), raise_app_exceptions=False)
    body = HELLO
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
        answer = await client.post("/v1/responses", json=body)
        streamed = await client.post("/v1/responses", json={**body, "stream": True})
        unkept = await client.post("/v1/responses", json={**body, "store": False})
        further = await client.post("/v1/responses", json={**body, "previous_response_id": answer.json()["id"]})
    assert (answer.status_code, answer.json()["store"], answer.headers["x-las-stored"]) == (200, False, "false")
    assert '"store":false' in streamed.text.rpartition("response.incomplete")[2]
    assert (unkept.status_code, "x-las-stored" in unkept.headers) == (200, False)
    assert further.status_code == 500
    assert "The store of responses cannot be used" in further.json()["error"]["message"]
    assert str(tmp_path) not in further.text
    said = [record.message for record in caplog.records if "not kept" in record.message]
    assert len(said) == 2
    assert str(tmp_path / FILE) in said[0]


@pytest.mark.parametrize("address", ["mysql://x/y", "postgresql://las@127.0.0.1:9/x"])
async def test_databases_that_cannot_be_used(address: str) -> None:
    kept = ResponseStore(address)
    with pytest.raises(ConfigurationError, match="LAS_DATABASE_URL"):
        await kept.response("resp_1")


@pytest.mark.slow
def test_no_answer_is_lost_when_the_server_is_killed(tmp_path: Path) -> None:
    database = tmp_path / "kept.sqlite3"
    body = HELLO
    with Server(environment={"LAS_DATABASE_URL": f"sqlite:///{database}"}) as server:
        path = f"{server.url}/v1/responses"
        ids = [httpx.post(path, json=body, trust_env=False, timeout=60).json()["id"]]
        with httpx.stream("POST", path, json={**body, "stream": True}, trust_env=False, timeout=60) as answer:
            for line in answer.iter_lines():
                if line == "event: response.incomplete":
                    server.process.send_signal(signal.SIGKILL)
                    break
        server.process.communicate(timeout=30)
    with sqlite3.connect(database) as connection:
        rows = connection.execute("select id from las_responses").fetchall()
        items = connection.execute("select count(*) from las_response_items").fetchone()
    connection.close()
    assert len(rows) == 2
    assert (ids[0],) in rows
    assert items == (4,)
