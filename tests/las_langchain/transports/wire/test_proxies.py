"""The proxies that the environment names."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from yarl import URL

from las_langchain.errors import APIConnectionError, ConfigurationError
from las_langchain.transports.wire.proxies import proxy_for
from tests.las_langchain.transports.wire.proxy import Proxy
from tests.las_langchain.transports.wire.test_clients import ask, stream
from tests.las_langchain.transports.wire.upstream import Upstream

ADDRESS = URL("https://api.example.com:8443/v1")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """A proxy."""
    with Proxy() as running:
        yield running


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A provider."""
    with Upstream() as provider:
        yield provider


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    """A provider with a certificate that is trusted."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    with Upstream(context) as provider:
        yield provider


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
async def test_a_proxy_is_asked(
    variable: str, upstream: Upstream, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, f"http://{proxy.address}")
    assert [await ask(upstream), await stream(upstream)] == ["pong", "pong"]
    assert proxy.heads == [f"post {upstream.url}/chat/completions http/1.1" + proxy.heads[0].partition("http/1.1")[2]]
    assert upstream.connections == 1


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
async def test_a_tunnel_leads_to_what_is_secure(
    variable: str, secure: Upstream, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, f"http://{proxy.address}")
    assert [await ask(secure), await stream(secure)] == ["pong", "pong"]
    (head,) = proxy.heads
    assert head.startswith(f"connect 127.0.0.1:{secure.port} ")
    # The proxy is told nothing but where to.
    assert "authorization" not in head
    assert secure.connections == 1


@pytest.mark.parametrize("kind", ["upstream", "secure"])
async def test_the_proxy_is_shown_its_own_credentials_alone(
    kind: str, request: pytest.FixtureRequest, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider: Upstream = request.getfixturevalue(kind)
    monkeypatch.setenv("ALL_PROXY", f"http://me:p%40ss@{proxy.address}")
    assert await ask(provider) == "pong"
    shown = base64.b64encode(b"me:p@ss").decode().lower()
    assert f"proxy-authorization: basic {shown}\r\n" in proxy.heads[0]
    assert "\r\nauthorization: bearer sk-test\r\n" in provider.requests[0]
    assert kind == "upstream" or "proxy-authorization" not in provider.requests[0]


async def test_a_proxy_needs_no_scheme(upstream: Upstream, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.address)
    assert await ask(upstream) == "pong"
    assert len(proxy.heads) == 1


@pytest.mark.parametrize("exception", ["127.0.0.1", "*", "other.example, 127.0.0.1", "127.0.0.1:{port}"])
async def test_some_are_asked_without_proxy(
    exception: str, upstream: Upstream, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.address}")
    monkeypatch.setenv("NO_PROXY", exception.format(port=upstream.port))
    assert await ask(upstream) == "pong"
    assert proxy.heads == []


@pytest.mark.parametrize(
    ("exceptions", "address", "is_asked"),
    [
        ("example.com", "https://api.example.com/v1", False),
        (".example.com", "https://api.example.com/v1", False),
        ("example.com", "https://example.com/v1", False),
        ("ample.com", "https://api.example.com/v1", True),
        ("api.example.com:8443", "https://api.example.com:8443/v1", False),
        ("api.example.com:8443", "https://api.example.com/v1", True),
        ("::1", "https://[::1]:8443/v1", False),
        ("EXAMPLE.com", "https://api.Example.COM/v1", False),
        ("", "https://api.example.com/v1", True),
    ],
)
def test_who_is_asked_without_proxy(
    exceptions: str, address: str, is_asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", exceptions)
    assert proxy_for(URL(address)) == (URL("http://proxy:3128") if is_asked else None)


def test_the_small_spelling_counts_and_may_be_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://large:3128")
    assert proxy_for(ADDRESS) == URL("http://large:3128")
    monkeypatch.setenv("https_proxy", "http://small:3128")
    assert proxy_for(ADDRESS) == URL("http://small:3128")
    monkeypatch.setenv("https_proxy", "")
    assert proxy_for(ADDRESS) is None
    monkeypatch.delenv("https_proxy")
    assert proxy_for(ADDRESS) == URL("http://large:3128")


def test_the_proxy_of_the_scheme_goes_before_that_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert proxy_for(ADDRESS) == URL("http://proxy:3128")


@pytest.mark.parametrize(
    "proxy", ["socks5://me:secret@127.0.0.1:1080", "socks5h://127.0.0.1:1080", "http://", "http://[:"]
)
async def test_other_proxies_are_refused_with_what_to_do(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(ConfigurationError) as failure:
        proxy_for(ADDRESS)
    said = str(failure.value)
    assert said.startswith("ALL_PROXY: expected a proxy such as http://host:3128, not ")
    assert said.endswith("; NO_PROXY=api.example.com goes without")
    assert "secret" not in said


async def test_a_proxy_that_is_not_there_is_named_without_its_password(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://me:secret@127.0.0.1:9")
    with pytest.raises(APIConnectionError) as failure:
        await ask(upstream)
    assert str(failure.value) == (
        "The proxy http://127.0.0.1:9 cannot be reached; HTTP_PROXY or ALL_PROXY names it, NO_PROXY=127.0.0.1 goes "
        "without"
    )
    assert failure.value.provider == "openai"


async def test_a_proxy_that_opens_no_tunnel_is_named(secure: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    with Proxy(407) as refusing:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{refusing.address}")
        with pytest.raises(APIConnectionError) as failure:
            await ask(secure)
    assert str(failure.value) == (
        f"The proxy http://{refusing.address} does not connect to 127.0.0.1: 407 No; HTTPS_PROXY or ALL_PROXY names "
        "it, NO_PROXY=127.0.0.1 goes without"
    )
