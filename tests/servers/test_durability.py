"""A server that is killed right after its answer: the ledger has the row."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import httpx
import pytest

from tests.conftest import WarmServer
from tests.fake_openai import FakeOpenAI


@pytest.mark.slow
@pytest.mark.usefixtures("warm_python")
def test_no_answer_is_without_its_row_when_the_server_is_killed(upstream: FakeOpenAI, tmp_path: Path) -> None:
    database = tmp_path / "usage.sqlite3"
    body = {"model": "openai/gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
    for round_ in range(1, 3):
        with WarmServer(environment={"LAS_DATABASE_URL": f"sqlite:///{database}"}) as server:
            path = f"{server.url}/v1/chat/completions"
            if round_ % 2:
                answer = httpx.post(path, json=body, trust_env=False, timeout=60)
                server.kill()
                assert answer.status_code == 200
            else:
                with httpx.stream("POST", path, json={**body, "stream": True}, trust_env=False, timeout=60) as answer:
                    for line in answer.iter_lines():
                        if line == "data: [DONE]":
                            server.kill()
                            break
            server.process.communicate(timeout=30)
        with sqlite3.connect(database) as connection:
            assert connection.execute("select count(*) from calls where status = 'ok'").fetchone() == (round_,)
