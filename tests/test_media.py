"""The proxy that serves media in the place of other hosts."""

from __future__ import annotations

import io
import os
import ssl
import wave
import zlib

import certifi
import httpx
import pytest
from langchain_core.messages import HumanMessage

from las_langchain import ChatLAS
from las_langchain.errors import LASError
from tests.fake_anthropic import FakeAnthropic
from tests.fake_openai import FakeOpenAI
from tests.media import FILES, HOSTS, MediaProxy

PICTURE = "https://raw.githubusercontent.com/any/picture.png"


@pytest.mark.parametrize(("extension", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF-"), ("wav", b"RIFF")])
@pytest.mark.parametrize("host", HOSTS)
def test_httpx_downloads_a_file_by_its_extension(media: MediaProxy, host: str, extension: str, start: bytes) -> None:
    url = f"https://{host}/some/folder/name.{extension}"

    response = httpx.get(url)

    assert response.status_code == 200
    assert response.headers["content-type"] == FILES[f".{extension}"][0]
    assert response.content.startswith(start)
    assert media.requests == [url]


async def test_an_async_client_downloads_several_over_one_connection(media: MediaProxy) -> None:
    async with httpx.AsyncClient() as client:
        answers = [await client.get(PICTURE) for _ in range(3)]

    assert {answer.content for answer in answers} == {FILES[".png"][1]}


def test_a_file_without_a_known_extension_is_missing(media: MediaProxy) -> None:
    assert httpx.get("https://www.w3.org/").status_code == 404


@pytest.mark.parametrize("url", ["https://example.com/a.png", "https://www.w3.org:8443/a.png"])
def test_a_tunnel_to_another_host_is_refused(media: MediaProxy, url: str) -> None:
    with pytest.raises(httpx.ProxyError, match="502"):
        httpx.get(url)


def test_plain_http_to_another_host_is_refused(media: MediaProxy) -> None:
    assert httpx.get("http://example.com/a.png").status_code == 502
    assert httpx.get("http://www.w3.org/a.png").content == FILES[".png"][1]


def test_a_client_that_does_not_know_the_authority_refuses(media: MediaProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")

    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(PICTURE)


def test_the_usual_authorities_stay_known(media: MediaProxy) -> None:
    usual = ssl.create_default_context(cafile=certifi.where()).cert_store_stats()["x509_ca"]

    known = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"]).cert_store_stats()["x509_ca"]

    assert known == usual + 1


def test_it_listens_on_this_machine_only(media: MediaProxy) -> None:
    assert httpx.URL(media.url).host == "127.0.0.1"


def test_calls_to_this_machine_do_not_go_through_it(media: MediaProxy, upstream: FakeOpenAI) -> None:
    assert ChatLAS(model="openai/gpt-4o").invoke("Hello").content == "Echo: Hello"
    assert len(upstream.requests) == 1
    assert media.requests == []


def test_the_address_of_a_picture_goes_to_the_provider(
    media: MediaProxy, upstream: FakeOpenAI, anthropic_upstream: FakeAnthropic
) -> None:
    message = HumanMessage([{"type": "text", "text": "Describe it"}, {"type": "image", "url": PICTURE}])

    for model in ("openai/gpt-4o", "anthropic/claude-sonnet-4-5"):
        ChatLAS(model=model).invoke([message])

    openai, anthropic = upstream.last.body["messages"][0], anthropic_upstream.last.body["messages"][0]
    assert openai["content"][1]["image_url"]["url"] == PICTURE
    assert anthropic["content"][1]["source"] == {"type": "url", "url": PICTURE}
    assert media.requests == []


def test_no_picture_is_fetched_from_this_machine(
    media: MediaProxy, upstream: FakeOpenAI, anthropic_upstream: FakeAnthropic
) -> None:
    """Anthropic takes no plain http addresses, so litellm fetches these itself, but only from public hosts."""
    picture = {"type": "image", "url": f"{upstream.url}/picture.png"}

    with pytest.raises(LASError):
        ChatLAS(model="anthropic/claude-sonnet-4-5", max_retries=0).invoke([HumanMessage([picture])])

    assert upstream.requests == anthropic_upstream.requests == media.requests == []


def test_what_is_kept_of_such_a_call_does_no_harm(upstream: FakeOpenAI, request: pytest.FixtureRequest) -> None:
    """The clients that litellm keeps are made inside the fixture's environment, and used after it."""
    chat = ChatLAS(model="openai/gpt-4o")
    with pytest.MonkeyPatch.context() as patch:
        proxy: MediaProxy = request.getfixturevalue("_media_proxy")
        for name, value in proxy.variables.items():
            patch.setenv(name, value)
        chat.invoke("Hello")

    assert chat.invoke("Hello again").content == "Echo: Hello again"
    assert [one.headers["host"] for one in upstream.requests] == [httpx.URL(upstream.url).netloc.decode()] * 2


def test_the_files_are_valid() -> None:
    picture, document, sound = (FILES[extension][1] for extension in (".png", ".pdf", ".wav"))

    start = picture.index(b"IDAT")
    length = int.from_bytes(picture[start - 4 : start], "big")
    assert zlib.decompress(picture[start + 4 : start + 4 + length]) == b"\0\xff\0\0"
    place = int(document.split(b"startxref\n")[1].split()[0])
    assert document[place:].startswith(b"xref\n0 5\n")
    lines = document[place:].splitlines()[3:7]
    assert all(document[int(line.split()[0]) :].startswith(b"%d 0 obj" % n) for n, line in enumerate(lines, 1))
    with wave.open(io.BytesIO(sound)) as read:
        assert read.getnframes() == 800
