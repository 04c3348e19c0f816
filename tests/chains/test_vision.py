"""The chain ``vision``: questions about pictures."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import Runnable

from chains.pictures import picture_parts
from chains.vision import CHAIN, DEFAULT_QUESTION, VisionInput
from las_langchain.attachments import MAX_IMAGE_BYTES
from las_langchain.errors import BadRequestError, RateLimitError
from las_langchain.settings import load_settings
from tests.fake_openai import FakeOpenAI, Reply
from tests.media import pdf, png

PICTURE = base64.b64encode(png()).decode()
URI = f"data:image/png;base64,{PICTURE}"
WEB = "https://example.com/cat.png"
COLOUR = {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}
HEADS = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff\xe0",
    "image/gif": b"GIF89a",
    "image/webp": b"RIFF\x10\x00\x00\x00WEBP",
}


@pytest.fixture
def chain(upstream: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> Runnable[Any, Any]:
    """The chain with a model of the double."""
    monkeypatch.setenv("LAS_MODEL", "openai/gpt-4o")
    return CHAIN.build(load_settings())


def sent(upstream: FakeOpenAI) -> list[str]:
    """The addresses of the pictures that were sent."""
    content = upstream.last.body["messages"][-1]["content"]
    return [part["image_url"]["url"] for part in content if part["type"] == "image_url"]


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


# What comes out


def test_it_answers_in_a_stream(chain: Runnable[Any, Any], upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(content="A red pixel."))

    chunks = list(chain.stream({"question": "What colour?", "image": PICTURE}))

    assert len([chunk for chunk in chunks if chunk.content]) > 1
    assert "".join(str(chunk.text) for chunk in chunks) == "A red pixel."
    assert upstream.last.body["stream"] is True
    assert upstream.last.body["messages"][-1]["content"][0] == {"type": "text", "text": "What colour?"}
    assert sent(upstream) == [URI]


def test_all_pictures_go_in_their_order(chain: Runnable[Any, Any], upstream: FakeOpenAI) -> None:
    answer = asyncio.run(chain.ainvoke({"image": PICTURE, "images": [WEB, URI, PICTURE]}))

    assert isinstance(answer, AIMessage)
    assert answer.usage_metadata
    assert sent(upstream) == [URI, WEB, URI, URI]
    assert upstream.last.body["messages"][-1]["content"][0]["text"] == DEFAULT_QUESTION


@pytest.mark.parametrize("empty", ["", "  ", None])
def test_an_empty_form_asks_the_usual_question(chain: Runnable[Any, Any], upstream: FakeOpenAI, empty: Any) -> None:
    chain.invoke({"question": empty, "image": PICTURE, "images": [], "output_schema": empty})

    assert upstream.last.body["messages"][-1]["content"][0]["text"] == DEFAULT_QUESTION
    assert "response_format" not in upstream.last.body


@pytest.mark.parametrize("schema", [COLOUR, json.dumps(COLOUR)], ids=["object", "text"])
def test_data_is_the_text_and_an_object_beside_it(chain: Runnable[Any, Any], upstream: FakeOpenAI, schema: Any) -> None:
    upstream.enqueue(Reply(content='{"colour": 1}'), Reply(content='{"colour": "röd"}'))

    (chunk,) = list(chain.stream({"image": PICTURE, "output_schema": schema}))

    assert isinstance(chunk, AIMessageChunk)
    assert json.loads(str(chunk.text)) == chunk.additional_kwargs["parsed"] == {"colour": "röd"}
    assert "röd" in chunk.text
    # Of both calls.
    assert chunk.usage_metadata
    assert chunk.usage_metadata["output_tokens"] == 4
    assert upstream.requests[0].body["messages"] == upstream.last.body["messages"][:2]


def test_a_long_question_goes_to_the_model(chain: Runnable[Any, Any], upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(content="Yes."))

    assert chain.invoke({"question": "♥ why " * 120_000, "image": PICTURE}).text == "Yes."


def test_an_error_of_the_provider_stays_what_it_is(
    chain: Runnable[Any, Any], upstream: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAS_MAX_RETRIES", "0")
    upstream.enqueue(Reply(status=429))

    with pytest.raises(RateLimitError):
        chain.invoke({"image": PICTURE})


@pytest.mark.parametrize("schema", [None, COLOUR], ids=["words", "data"])
def test_the_embedded_model_says_that_it_cannot_see(schema: Any) -> None:
    with pytest.raises(BadRequestError, match="takes no images; set LAS_LOCAL_MODEL and LAS_LOCAL_MMPROJ"):
        CHAIN.build(load_settings()).invoke({"image": PICTURE, "output_schema": schema})


# What cannot go in


@pytest.mark.parametrize(
    ("picture", "fault"),
    [
        ("§§§", "expected an image as base64"),
        (PICTURE[:-1], "expected an image as base64"),
        (encoded(pdf()), "not an image of a known kind"),
        (f"data:image/png;base64,{encoded(pdf())}", "not an image of a known kind"),
        (f"data:image/svg+xml;base64,{encoded(b'<svg/>')}", "not an image of a known kind"),
        ("data:image/png;base64,", "empty"),
        (f"data:image/png,{PICTURE}", "expected data:image"),
        ("data:image/png", "expected data:image"),
        ("   ", "empty"),
        ("file:///etc/passwd", "expected an image as base64"),
        ("/etc/passwd0", "not an image of a known kind"),
        ("https://", "not an http"),
        ("https://exa mple.com/a.png", "not an http"),
        ("http://[::1/a.png", "not an http"),
        ("ftp://example.com/a.png", "expected an image as base64"),
        ("\ud800", "expected an image as base64"),
        (encoded(png() + bytes(MAX_IMAGE_BYTES)), "larger than 20 MB"),
        ("A" * (2 * MAX_IMAGE_BYTES + 1), "larger than 20 MB"),
    ],
    ids=range(18),
)
@pytest.mark.parametrize("field", ["image", "images"])
def test_what_is_no_picture_is_refused(
    chain: Runnable[Any, Any], upstream: FakeOpenAI, field: str, picture: str, fault: str
) -> None:
    with pytest.raises(BadRequestError, match=fault) as caught:
        chain.invoke({field: picture} if field == "image" else {field: [PICTURE, picture]})

    assert caught.value.param == ("image" if field == "image" else "images[1]")
    assert len(caught.value.message) < 300
    assert not upstream.requests


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({}, "image"),
        ({"image": None, "images": []}, "image"),
        ({"images": [""]}, "images[0]"),
        ({"images": [PICTURE] * 17}, "images"),
        ({"image": PICTURE, "images": [PICTURE] * 16}, "images"),
        ({"images": PICTURE}, "images"),
        ({"images": [7]}, "images.0"),
        ({"image": PICTURE, "output_schema": "{"}, "output_schema"),
        ({"image": PICTURE, "detail": "low"}, "detail"),
    ],
)
def test_what_is_wrong_is_named(
    chain: Runnable[Any, Any], upstream: FakeOpenAI, given: dict[str, Any], param: str
) -> None:
    with pytest.raises(BadRequestError) as caught:
        chain.invoke(given)

    assert caught.value.param == param
    assert not upstream.requests


@given(kind=st.sampled_from(sorted(HEADS)), rest=st.binary(max_size=200), width=st.integers(1, 100))
def test_the_kind_is_that_of_the_bytes(kind: str, rest: bytes, width: int) -> None:
    content = HEADS[kind] + rest
    plain = encoded(content)
    wrapped = "\r\n".join(plain[start : start + width] for start in range(0, len(plain), width))
    claimed = f"DATA:application/octet-stream;BASE64,{plain}"

    for picture in (plain, wrapped, claimed):
        (part,) = picture_parts(picture)
        head, data = part["image_url"]["url"].split(",")
        assert head == f"data:{kind};base64"
        assert base64.b64decode(data) == content


@given(st.text() | st.binary().map(encoded) | st.text().map("https://{}".format))
def test_anything_is_a_picture_or_refused(picture: str) -> None:
    parts: list[Any] = []
    with suppress(BadRequestError):
        parts = picture_parts(picture)
    assert all(part["image_url"]["url"].startswith(("data:image/", "https://")) for part in parts)


# Chats


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text", "text": "Which?"}, {"type": "image_url", "image_url": {"url": URI}}],
        [{"type": "text", "text": "Which?"}, {"type": "image_url", "image_url": URI}],
        [{"type": "text", "text": "Which?"}, {"type": "image", "base64": PICTURE, "mime_type": "image/png"}],
        [
            {"type": "text", "text": "Which?"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}},
        ],
    ],
    ids=["openai", "bare", "langchain", "anthropic"],
)
def test_the_last_message_of_a_chat_is_the_question(
    chain: Runnable[Any, Any], upstream: FakeOpenAI, content: list[str | dict[Any, Any]]
) -> None:
    assert CHAIN.from_messages
    messages: list[BaseMessage] = [SystemMessage("Be kind."), HumanMessage("Before"), HumanMessage(content)]

    chain.invoke(CHAIN.from_messages([*messages, AIMessage("…")]))

    assert sent(upstream) == [URI]
    assert upstream.last.body["messages"][-1]["content"][0]["text"] == "Which?"


def test_a_chat_without_pictures_is_told_so(chain: Runnable[Any, Any]) -> None:
    assert CHAIN.from_messages

    with pytest.raises(BadRequestError, match="messages: expected a picture"):
        chain.invoke(CHAIN.from_messages([HumanMessage("What do you see?")]))


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "image"},
    ],
    ids=["sound", "file", "nothing"],
)
def test_a_chat_with_something_else_is_refused(part: dict[Any, Any]) -> None:
    assert CHAIN.from_messages

    with pytest.raises(BadRequestError) as caught:
        CHAIN.from_messages([HumanMessage([part])])

    assert caught.value.param == "messages"


def test_the_form_has_an_upload() -> None:
    fields = VisionInput.model_json_schema()["properties"]

    assert (fields["image"]["type"], fields["image"]["extra"]["widget"]["type"]) == ("string", "base64file")
    assert (fields["output_schema"]["type"], fields["output_schema"]["default"]) == ("string", "")
    once = VisionInput(image=PICTURE, output_schema=json.dumps(COLOUR))
    assert VisionInput(**{name: getattr(once, name) for name in VisionInput.model_fields}) == once
