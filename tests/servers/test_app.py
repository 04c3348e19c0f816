"""The application around the endpoints: page, health, documentation, and the process itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
from fastapi import FastAPI

import las_langchain
from las_langchain.settings import load_settings
from servers import app as app_module
from servers.app import create_app
from tests import warm
from tests.conftest import Server, WarmServer


class Links(HTMLParser):
    """The addresses and resources that a page names."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("href", "src") and value]


def test_the_page_lists_what_is_served_and_every_link_works(server: Server) -> None:
    page = httpx.get(server.url, trust_env=False, timeout=60)
    assert page.headers["content-type"].startswith("text/html")
    for text in ("local/smollm2-135m-instruct", "local/all-minilm-l6-v2", "/v1/chat/completions", "curl", "ChatLAS"):
        assert text in page.text
    links = Links(page.text).found
    assert links
    assert all(link.startswith("/") for link in links), "nothing comes from elsewhere"
    for link in links:
        assert httpx.get(server.url + link, trust_env=False, timeout=60).status_code == 200


def test_the_api_documentation_needs_nothing_from_elsewhere(server: Server) -> None:
    page = httpx.get(f"{server.url}/docs", trust_env=False, timeout=60).text
    assert "://" not in page
    resources = [link for link in Links(page).found if link.endswith((".js", ".css"))]
    assert len(resources) == 2
    assert all(httpx.get(server.url + link, trust_env=False, timeout=60).status_code == 200 for link in resources)


def test_what_settings_say_is_escaped_on_the_page() -> None:
    from servers.web import index_page

    evil = "<script>alert(1)</script>"
    assert "<script>alert" not in index_page(load_settings(model=f"local/{evil}"), [{"name": "x", "error": evil}])


def test_health_names_version_and_model(server: Server) -> None:
    answer = httpx.get(f"{server.url}/health", trust_env=False, timeout=60).json()
    model = "local/smollm2-135m-instruct"
    assert answer == {"status": "ok", "version": las_langchain.__version__, "model": model, "failed_chains": {}}


def test_openapi_describes_every_field(server: Server) -> None:
    document = httpx.get(f"{server.url}/openapi.json", trust_env=False, timeout=60).json()
    body = document["paths"]["/v1/chat/completions"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert {"model", "messages", "temperature", "tools"} <= body["properties"].keys()
    assert "/api/v1/litellm/v1/models" not in document["paths"]


def test_every_route_is_documented_with_examples(server: Server) -> None:
    text = httpx.get(f"{server.url}/openapi.json", trust_env=False, timeout=60).text
    # No route answers in FastAPI's own form.
    assert "HTTPValidationError" not in text
    paths = json.loads(text)["paths"]
    assert len([path for path in paths if path.startswith("/api/v1/litellm/")]) == 12
    for path, methods in paths.items():
        for method, route in methods.items():
            assert len(route["description"]) > 10, path
            good = next(iter(route["responses"]["200"]["content"].values()))
            assert good["example"], path
            if method in ("post", "patch"):
                assert next(iter(route["requestBody"]["content"].values()))["examples"], path


def _bodies(paths: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Every documented request: its route, the whole route, and its content."""
    for path, methods in paths.items():
        for method, route in methods.items():
            for content in route.get("requestBody", {}).get("content", {}).values():
                yield f"{method} {path}", route, content


def test_documented_requests_fit_their_documented_form(server: Server) -> None:
    paths = httpx.get(f"{server.url}/openapi.json", trust_env=False, timeout=60).json()["paths"]
    bodies = list(_bodies(paths))
    assert len(bodies) == 22
    for route, _, content in bodies:
        form = jsonschema_rs.validator_for(content["schema"])
        for example in content["examples"].values():
            assert [error.message for error in form.iter_errors(example["value"])] == [], route
        undescribed = [
            name for name, field in content["schema"].get("properties", {}).items() if not field.get("description")
        ]
        assert undescribed == [], route


def test_documented_mistakes_are_about_a_field_of_the_route(server: Server) -> None:
    paths = httpx.get(f"{server.url}/openapi.json", trust_env=False, timeout=60).json()["paths"]
    for route, whole, content in _bodies(paths):
        error = whole["responses"]["400"]["content"]["application/json"]["example"]["error"]
        fields = content["schema"]["properties"] or {"temperature": "any setting"}
        # Anthropic's errors have no place for it but the message.
        assert error.get("param", error["message"].partition(".")[0]) in fields, route
    names = [parameter["name"] for parameter in paths["/api/v1/litellm/usage"]["get"]["parameters"]]
    usage = paths["/api/v1/litellm/usage"]["get"]["responses"]["400"]["content"]["application/json"]["example"]
    assert usage["error"]["param"] in names


def test_uploads_streams_and_optional_bodies_are_documented(server: Server) -> None:
    paths = httpx.get(f"{server.url}/openapi.json", trust_env=False, timeout=60).json()["paths"]
    api = "/api/v1/litellm"
    upload = paths[f"{api}/audio/transcriptions"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert upload["properties"]["file"]["format"] == "binary"
    assert {"file", "model"} <= set(upload["required"])
    for path in ("/v1/chat/completions", f"{api}/chat/completions"):
        events = paths[path]["post"]["responses"]["200"]["content"]["text/event-stream"]["example"]
        assert events.startswith("data: {")
        assert events.endswith("data: [DONE]\n\n")
    assert not paths[f"{api}/providers/{{name}}/test"]["post"]["requestBody"]["required"]


def test_bugs_are_hidden_from_clients_and_shown_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    application = create_app(load_settings())

    @application.get("/bug")
    async def bug() -> None:
        raise RuntimeError("a secret detail")

    import asyncio

    transport = httpx.ASGITransport(application, raise_app_exceptions=False)

    async def get() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get("/bug")

    response = asyncio.run(get())
    assert response.status_code == 500
    assert "secret" not in response.text
    assert response.json()["error"]["message"] == "The server had an internal error; its log says which"
    assert "a secret detail" in caplog.text


def test_the_module_has_an_application_for_uvicorn() -> None:
    assert isinstance(app_module.app, FastAPI)
    assert app_module.app is app_module.app
    with pytest.raises(AttributeError):
        app_module.nothing  # noqa: B018


def test_uvicorn_serves_it_by_name(data_dir: Path, warm_python: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        warm.command("-m", "uvicorn", "servers.app:app", "--port", str(port), "--log-level", "warning")
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


# Each waits for seconds, so that the signals and the numbers are not combined.
@pytest.mark.parametrize(("number", "streams"), [(signal.SIGINT, 12), (signal.SIGTERM, 1)])
async def test_the_server_ends_cleanly_in_the_middle_of_answers(
    data_dir: Path, tmp_path: Path, warm_python: None, streams: int, number: signal.Signals
) -> None:
    messages = [{"role": "user", "content": "Tell a very long story about a dragon"}]
    body = {"model": "local/smollm2-135m-instruct", "messages": messages, "max_tokens": 8000, "stream": True}
    begun = asyncio.Event()

    async def read(client: httpx.AsyncClient) -> None:
        with contextlib.suppress(httpx.HTTPError):
            async with client.stream("POST", "/v1/chat/completions", json=body) as response:
                async for _ in response.aiter_bytes():
                    begun.set()

    database = tmp_path / "usage.sqlite3"
    with WarmServer(environment={"LAS_DATABASE_URL": f"sqlite:///{database}"}) as server:
        async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=60) as client:
            tasks = [asyncio.create_task(read(client)) for _ in range(streams)]
            await begun.wait()
            begin = time.monotonic()
            status = await asyncio.to_thread(server.stop, number)
            await asyncio.gather(*tasks)
    assert time.monotonic() - begin < 20
    assert "Traceback" not in server.errors
    assert status in (0, -number)
    with contextlib.closing(sqlite3.connect(database)) as connection:
        assert connection.execute("select count(*) from calls").fetchone() == (streams,)


def test_litellm_is_not_imported_for_a_local_model(data_dir: Path) -> None:
    code = """
import asyncio, sys, httpx
from servers.app import create_app
async def main():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(create_app()), base_url="http://localhost") as client:
        messages = [{"role": "user", "content": "hi"}]
        body = {"model": "local/smollm2-135m-instruct", "messages": messages, "max_tokens": 2}
        assert (await client.post("/v1/chat/completions", json=body)).status_code == 200
        assert (await client.get("/v1/models")).status_code == 200
asyncio.run(main())
print("litellm" in sys.modules, "langserve" in sys.modules, "langgraph" in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    assert result.stdout == "False False False\n"


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            assert httpx.get(url, trust_env=False, timeout=60).status_code == 200
            return
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
