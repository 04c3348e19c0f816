"""A server with keys: nothing of it is there for those who have none."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Mount, Route

from las_langchain.settings import load_settings
from servers.app import create_app
from tests.attacks.conftest import HELLO, KEY, SECOND_KEY
from tests.attacks.upstream import FaultyUpstream
from tests.attacks.wire import ask, request
from tests.conftest import Server

Verdict = tuple[int, str | None, str | None, str | None]
REFUSED: Verdict = (401, "authentication_error", "invalid_api_key", None)
CHAT = "/v1/chat/completions"


def basic(text: str) -> str:
    """The header for HTTP's Basic scheme."""
    return "Authorization: Basic " + base64.b64encode(text.encode()).decode()


def routes() -> Iterator[tuple[str, str]]:
    """Every route of the application: its method, and a path of it."""
    app = create_app(load_settings())
    for route in _flat(app.routes):
        path = re.sub(r"{\w+(:path)?}", "chat", route.path)
        if isinstance(route, Mount):
            yield "GET", f"{path}/swagger-ui.css"
        elif isinstance(route, (Route, APIRoute)):
            for method in sorted(route.methods or ()):
                yield method, path


def _flat(found: list[BaseRoute]) -> Iterator[Any]:
    """The routes, those of routers too."""
    for route in found:
        inner = getattr(route, "original_router", None)
        if inner is not None and not isinstance(route, (Route, Mount)):
            yield from _flat(inner.routes)
        elif hasattr(route, "path"):
            yield route


def test_no_route_answers_without_a_key(attacked: Server, faulty: FaultyUpstream) -> None:
    found = {(method, path) for method, path in routes() if path != "/health"}
    named = {path for _, path in found}
    for path in ("/", "/docs", "/openapi.json", "/metrics", "/v1/models", "/chains/chat/invoke", "/chains"):
        assert path in named, "the list of routes is not whole"
    assert len(found) > 40
    with httpx.Client(base_url=attacked.url, timeout=30, trust_env=False) as client:
        for method, path in sorted(found):
            answer = client.request(method, path)
            assert answer.status_code == 401, (method, path)
            if "/v1/messages" in path:
                assert answer.json()["error"]["type"] == "authentication_error", (method, path)
            elif method != "HEAD":
                assert answer.json()["error"]["code"] == "invalid_api_key", (method, path)
    assert faulty.requests == []


PATHS = (
    "/nothing",
    "//health",
    "/health/",
    "/health/x",
    "/HEALTH",
    "/%68ealth/../v1/models",
    "/v1/models?/health",
    "*",
)


@pytest.mark.parametrize("path", PATHS)
def test_nothing_tells_without_a_key_what_there_is(attacked: Server, path: str) -> None:
    assert ask(attacked.url, request("GET", path)).verdict == REFUSED


GOOD: dict[str, list[str]] = {
    "bearer": [f"Authorization: Bearer {KEY}"],
    "another key": [f"Authorization: Bearer {SECOND_KEY}"],
    "bearer in capitals": [f"AUTHORIZATION: BEARER {KEY}"],
    "bearer with spaces": [f"Authorization: Bearer   {KEY} "],
    "x-api-key": [f"X-API-Key: {KEY}"],
    "api-key": [f"api-key: {KEY}"],
    "basic password": [basic(f"anybody:{KEY}")],
    "basic name": [basic(f"{KEY}:")],
    "a wrong one beside it": ["Authorization: Bearer wrong", f"x-api-key: {KEY}"],
}


@pytest.mark.parametrize("name", GOOD)
def test_keys_are_taken_where_clients_put_them(attacked: Server, name: str) -> None:
    assert ask(attacked.url, request("GET", "/v1/models", *GOOD[name])).status == 200


BAD: dict[str, list[str]] = {
    "none": [],
    "empty": ["Authorization: "],
    "empty bearer": ["Authorization: Bearer "],
    "wrong": ["Authorization: Bearer las-wrong-key"],
    "no scheme": [f"Authorization: {KEY}"],
    "another scheme": [f"Authorization: Token {KEY}"],
    "digest": [f'Authorization: Digest username="x", response="{KEY}"'],
    "begin of a key": [f"Authorization: Bearer {KEY[:-1]}"],
    "more than a key": [f"Authorization: Bearer {KEY}x"],
    "both keys": [f"Authorization: Bearer {KEY},{SECOND_KEY}"],
    "another case": [f"Authorization: Bearer {KEY.upper()}"],
    "a tab": [f"Authorization: Bearer\t{KEY}"],
    "two headers": ["Authorization: Bearer wrong", f"Authorization: Bearer {KEY}"],
    "the upstream's": ["Authorization: Bearer sk-upstream-attacked-0123456789"],
    "60 KB": ["Authorization: Bearer " + "a" * 60_000],
    "letters": ["Authorization: Bearer kéÿ-ключ"],
    "half base64": ["Authorization: Basic !!!"],
    "basic without a colon": [basic(KEY)],
    "basic of another key": [basic("x:wrong")],
    "basic, name and wrong password": [basic(f"{KEY}:wrong")],
    "cookie": [f"Cookie: api-key={KEY}; authorization=Bearer {KEY}"],
    "forwarded": [f"X-Forwarded-Authorization: Bearer {KEY}", "X-Forwarded-For: 127.0.0.1"],
    "proxy": [f"Proxy-Authorization: Bearer {KEY}"],
    "key of another header": [f"X-Goog-Api-Key: {KEY}"],
    "upgrade": ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: eHg="],
}


@pytest.mark.parametrize("name", BAD)
def test_everything_else_is_refused(attacked: Server, name: str) -> None:
    for path in ("/v1/models", "/", "/docs"):
        assert ask(attacked.url, request("GET", path, *BAD[name])).verdict == REFUSED


def test_a_key_of_a_megabyte_is_no_key(attacked: Server) -> None:
    answer = ask(attacked.url, request("GET", "/v1/models", "Authorization: Bearer " + "a" * 1_000_000))
    assert answer.verdict == (431, "invalid_request_error", None, None)


@pytest.mark.parametrize("where", ["?api_key={}", "?key={}", "?access_token={}", "?authorization=Bearer%20{}"])
def test_a_key_in_an_address_is_none(attacked: Server, where: str) -> None:
    assert ask(attacked.url, request("GET", "/v1/models" + where.format(KEY))).verdict == REFUSED


def test_a_body_without_a_key_is_not_read(attacked: Server) -> None:
    head = request("POST", CHAT, "Content-Type: application/json", "Content-Length: 900000")
    answer = ask(attacked.url, head)
    assert answer.verdict == REFUSED
    assert answer.closed


def test_health_tells_strangers_nothing_but_that_it_lives(attacked: Server) -> None:
    stranger, friend = (ask(attacked.url, request("GET", "/health", *given)) for given in ([], GOOD["bearer"]))
    assert stranger.body == b'{"status":"ok"}'
    assert b'"model"' in friend.body
    looked = ask(attacked.url, request("HEAD", "/health", "Connection: close"))
    assert (looked.status, looked.body) == (200, b"")


def test_browsers_ask_for_a_password_and_programs_do_not(attacked: Server) -> None:
    def challenge(*headers: str) -> str | None:
        return ask(attacked.url, request("GET", "/", *headers)).headers.get("www-authenticate")

    assert challenge("Accept: text/html,*/*") == 'Basic realm="las"'
    assert challenge("Accept: application/json") == "Bearer"
    assert challenge() == "Bearer"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([basic(f":{KEY}"), "Origin: http://evil.example"], 403),
        ([basic(f":{KEY}"), "Origin: null"], 403),
        ([basic(f":{KEY}"), "Origin: http://localhost"], 200),
        ([basic(f":{KEY}")], 200),
        ([f"Authorization: Bearer {KEY}", "Origin: http://evil.example"], 200),
    ],
)
def test_pages_of_other_sites_cannot_use_what_a_browser_remembers(
    attacked: Server, headers: list[str], status: int
) -> None:
    body = b'{"model": "openai/gpt-4o", "messages": [{"role": "user", "content": "hello"}]}'
    answer = ask(attacked.url, request("POST", CHAT, "Content-Type: application/json", *headers, body=body))
    assert answer.status == status
    assert "access-control-allow-origin" not in answer.headers


def test_threads_of_one_key_are_not_those_of_another(attacked: Server, faulty: FaultyUpstream) -> None:
    def said(key: str, text: str) -> list[str]:
        body = {"input": {"messages": [{"role": "user", "content": text}]}, "config": {"configurable": CONFIGURED}}
        headers = {"authorization": f"Bearer {key}"}
        answer = httpx.post(
            f"{attacked.url}/chains/chat/invoke", json=body, headers=headers, timeout=60, trust_env=False
        )
        assert answer.status_code == 200, answer.text
        return [message["content"] for message in faulty.last.body["messages"] if message["role"] == "user"]

    assert said(KEY, "one") == ["one"]
    assert said(KEY, "two") == ["one", "two"]
    assert said(SECOND_KEY, "three") == ["three"]


CONFIGURED = {"thread_id": "shared"}


def test_answers_do_not_repeat_keys(attacked: Server) -> None:
    # Nor does the log, which is read when the server has ended.
    body = {"model": f"openai/{KEY}", "messages": HELLO, "user": KEY}
    answers = [
        httpx.post(attacked.url + CHAT, json={**body, KEY: KEY}, headers={"x-api-key": KEY}, trust_env=False),
        httpx.get(f"{attacked.url}/{KEY}", headers={"x-api-key": "wrong"}, trust_env=False),
        httpx.get(f"{attacked.url}/v1/models?{KEY}", headers={"authorization": f"Basic {KEY}"}, trust_env=False),
    ]
    assert [answer.status_code for answer in answers] == [400, 401, 401]
    assert KEY not in "".join(answer.text for answer in answers[1:])
