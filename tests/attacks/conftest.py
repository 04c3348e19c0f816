"""The server under attack: one process with keys, short limits and a faulty upstream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.attacks.faults import FAULTS, SECRET
from tests.attacks.upstream import Canary, FaultyUpstream
from tests.conftest import Server

KEY, SECOND_KEY = "las-first-key-0123456789", "las-second-key-9876543210"
BEARER = f"Authorization: Bearer {KEY}"
HELLO: list[dict[str, Any]] = [{"role": "user", "content": "hello"}]
TIMEOUT, STREAM_TIMEOUT, TOTAL_TIMEOUT = 1.5, 1.0, 4.0


@pytest.fixture(scope="session")
def canary() -> Iterator[Canary]:
    """The port that nobody may reach; at the end of the session it is checked that nobody did."""
    with Canary() as port:
        yield port
        assert port.visitors == []


@pytest.fixture(scope="session")
def _faulty(canary: Canary) -> Iterator[FaultyUpstream]:
    with FaultyUpstream(FAULTS, canary.address) as upstream:
        yield upstream


@pytest.fixture
def faulty(_faulty: FaultyUpstream, canary: Canary) -> Iterator[FaultyUpstream]:
    """The upstream, which in every test is asked with the server's own key; and nobody reaches the canary's port."""
    _faulty.requests.clear()
    yield _faulty
    assert {request.headers.get("authorization") for request in _faulty.requests} <= {f"Bearer {SECRET}"}
    assert not any("api-key" in name for request in _faulty.requests for name in request.headers)
    assert canary.visitors == []


@pytest.fixture(scope="session")
def _attacked(data_dir: Path, tmp_path_factory: pytest.TempPathFactory, _faulty: FaultyUpstream) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("attacked")
    (folder / "models").symlink_to(data_dir / "models")
    environment = {
        "LAS_DATA_DIR": str(folder),
        "LAS_MODEL": "openai/gpt-4o",
        "LAS_API_KEYS": f"{KEY},{SECOND_KEY}",
        "LAS_MAX_BODY_MB": "1",
        "LAS_MAX_RETRIES": "1",
        "LAS_TIMEOUT": str(TIMEOUT),
        "LAS_STREAM_TIMEOUT": str(STREAM_TIMEOUT),
        "LAS_TOTAL_TIMEOUT": str(TOTAL_TIMEOUT),
        "OPENAI_API_KEY": SECRET,
        "OPENAI_BASE_URL": _faulty.url,
        "OLLAMA_BASE_URL": "http://127.0.0.1:9",
    }
    with Server(environment=environment, cwd=folder) as running:
        _warm(running)
        yield running
    for secret in (KEY, SECOND_KEY, SECRET):
        assert secret not in running.errors
    # Nothing that a client or an upstream has done was a bug of the server's.
    assert "Traceback" not in running.errors
    assert "Unhandled error" not in running.errors


def _warm(server: Server) -> None:
    """Have imported what calls import, which takes longer than the limits let an answer take."""
    with client_of(server) as client:
        for model in ("openai/gpt-4o", "chains/agent"):
            for stream in (False, True):
                _until_answered(client, {"model": model, "messages": HELLO, "stream": stream})
        # litellm takes seconds to be imported, for the first provider that needs it.
        while (
            client.post("/v1/chat/completions", json={"model": "custom_openai/x", "messages": HELLO}).status_code == 408
        ):
            pass


def _until_answered(client: httpx.Client, body: dict[str, Any]) -> None:
    for _ in range(10):
        answer = client.post("/v1/chat/completions", json=body)
        if answer.status_code == 200 and '"error"' not in answer.text:
            return
    raise AssertionError("the server does not answer")


def client_of(server: Server, **options: Any) -> httpx.Client:
    """A client with a key."""
    headers = {"authorization": f"Bearer {KEY}", **options.pop("headers", {})}
    return httpx.Client(base_url=server.url, headers=headers, timeout=30, trust_env=False, **options)


@pytest.fixture
def attacked(_attacked: Server, faulty: FaultyUpstream) -> Server:
    """The running server."""
    return _attacked


@pytest.fixture
def http(attacked: Server) -> Iterator[httpx.Client]:
    """A client with a key."""
    with client_of(attacked) as client:
        yield client
