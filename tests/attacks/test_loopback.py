"""A server without keys: only programs of this machine are answered, and no web page of another site."""

from __future__ import annotations

import json

import pytest

from tests.attacks.upstream import Canary
from tests.attacks.wire import ask, request
from tests.conftest import Server
from tests.fake_openai import FakeOpenAI

FORBIDDEN = (403, "permission_error", None, None)
BODY = json.dumps({"model": "openai/gpt-4o", "messages": [{"role": "user", "content": "hello"}]}).encode()
JSON = "Content-Type: application/json"

HOSTS: dict[str, bool] = {
    "localhost": True,
    "LocalHost": True,
    "localhost:7777": True,
    "127.0.0.1": True,
    "127.8.9.10:1": True,
    "[::1]": True,
    "[::1]:7777": True,
    "[::ffff:127.0.0.1]": True,
    "": False,
    "localhost.": False,
    "localhost.evil.example": False,
    "sub.localhost": False,
    "evil.example": False,
    "127.0.0.1.evil.example": False,
    "127.0.0.1.nip.io": False,
    "localhost@evil.example": False,
    "evil.example:80@localhost": False,
    "user@localhost": False,
    "localhost:evil": False,
    "localhost:123456": False,
    "localhost/evil": False,
    "localhost#evil": False,
    "localhost?evil": False,
    "localhost evil.example": False,
    "localhost\\@evil.example": False,
    "localhost,evil.example": False,
    "0.0.0.0": False,
    "0": False,
    "127.1": False,
    "2130706433": False,
    "0x7f.0.0.1": False,
    "0177.0.0.1": False,
    "[::]": False,
    "[::1": False,
    "[::1]evil.example": False,
    "[::1%25lo]": False,
    "[::ffff:8.8.8.8]": False,
    "169.254.169.254": False,
    "10.0.0.1": False,
    "①②⑦.0.0.1": False,
}


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("path", ["/v1/models", "/docs"])
def test_hosts(server: Server, host: str, path: str) -> None:
    answer = ask(server.url, request("GET", path, f"Host: {host}"))
    assert answer.verdict == ((200, None, None, None) if HOSTS[host] else FORBIDDEN)


def test_programs_need_no_host(server: Server) -> None:
    assert ask(server.url, b"GET /v1/models HTTP/1.0\r\n\r\n").status == 200
    assert ask(server.url, b"GET /v1/models HTTP/1.1\r\n\r\n").status == 200


@pytest.mark.parametrize("hosts", [("localhost", "evil.example"), ("evil.example", "localhost")])
def test_every_host_of_several_counts(server: Server, hosts: tuple[str, str]) -> None:
    answer = ask(server.url, request("GET", "/v1/models", *(f"Host: {host}" for host in hosts)))
    assert answer.verdict == FORBIDDEN


HANDED_ON = (
    "X-Forwarded-For: 127.0.0.1",
    "X-Forwarded-For: 8.8.8.8",
    # Servers take the client's address from this header, which then is no address.
    "X-Forwarded-For: somebody",
    "X-Forwarded-For: unix:",
    "X-Forwarded-Host: localhost",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Server: x",
    "Forwarded: for=127.0.0.1;host=localhost",
    "Via: 1.1 proxy",
    "X-Real-IP: 127.0.0.1",
    "X-Client-IP: 127.0.0.1",
    "True-Client-IP: 127.0.0.1",
    "CF-Connecting-IP: 127.0.0.1",
    "X-Original-URL: /health",
    "X-Rewrite-URL: /health",
)


@pytest.mark.parametrize("header", HANDED_ON)
@pytest.mark.parametrize("host", ["localhost", "evil.example"])
def test_what_was_handed_on_is_not_from_here(server: Server, header: str, host: str) -> None:
    assert ask(server.url, request("GET", "/v1/models", f"Host: {host}", header)).verdict == FORBIDDEN


def test_the_target_of_a_proxy_request_makes_nothing_local(server: Server) -> None:
    data = request("GET", "http://localhost/v1/models", "Host: evil.example")
    assert ask(server.url, data).verdict == FORBIDDEN


def test_only_health_says_a_word_to_others(server: Server) -> None:
    answer = ask(server.url, request("GET", "/health", "Host: evil.example"))
    assert answer.body == b'{"status":"ok"}'


ORIGINS: dict[str, bool] = {
    "http://localhost": True,
    "https://localhost": True,
    "http://localhost:3000": False,
    "http://127.0.0.1": False,
    "http://localhost.evil.example": False,
    "http://evil.example": False,
    "http://localhost@evil.example": False,
    "null": False,
    "": False,
    "file://": False,
    "chrome-extension://abc": False,
    "http://[": False,
}


@pytest.mark.parametrize("origin", ORIGINS)
def test_pages_of_other_sites(server: Server, upstream: FakeOpenAI, origin: str) -> None:
    answer = ask(server.url, request("POST", "/v1/chat/completions", JSON, f"Origin: {origin}", body=BODY))
    assert answer.verdict == ((200, None, None, None) if ORIGINS[origin] else FORBIDDEN)
    assert len(upstream.requests) == ORIGINS[origin]
    assert "access-control-allow-origin" not in answer.headers


FORM = (
    b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nopenai/whisper-1\r\n--x\r\n'
    b'Content-Disposition: form-data; name="file"; filename="a.mp3"\r\n\r\nsound\r\n--x--\r\n'
)
SIMPLE: dict[str, tuple[str, bytes]] = {
    "/api/v1/litellm/audio/transcriptions": ("multipart/form-data; boundary=x", FORM),
    "/v1/chat/completions": ("text/plain", BODY),
    "/chains/chat/invoke": ("text/plain", b'{"input": {"messages": []}}'),
    "/api/v1/litellm/providers/openai/test": ("text/plain", b""),
}


@pytest.mark.parametrize("path", SIMPLE)
def test_what_a_page_can_send_without_asking(server: Server, upstream: FakeOpenAI, path: str) -> None:
    kind, body = SIMPLE[path]
    data = request("POST", path, f"Content-Type: {kind}", "Origin: http://evil.example", body=body)
    assert ask(server.url, data).verdict == FORBIDDEN
    assert upstream.requests == []


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/v1/litellm/config"])
def test_a_page_that_asks_first_is_not_allowed(server: Server, path: str) -> None:
    asked = ("Origin: http://evil.example", "Access-Control-Request-Method: POST")
    answer = ask(server.url, request("OPTIONS", path, *asked))
    assert answer.status == 405
    assert not any(name.startswith("access-control") for name in answer.headers)


def test_settings_are_not_for_whoever_came_by_another_name(server: Server, canary: Canary) -> None:
    address = {"providers": {"openai": {"base_url": f"http://{canary.address}/v1"}}}
    for header in ("Host: evil.example", "X-Forwarded-For: 127.0.0.1", "Origin: http://evil.example"):
        data = request("PATCH", "/api/v1/litellm/config", JSON, header, body=json.dumps(address).encode())
        assert ask(server.url, data).verdict == FORBIDDEN
    assert canary.visitors == []
