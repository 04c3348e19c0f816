"""Speech and transcription by the official client and over plain HTTP."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from tests.conftest import Server
from tests.fake_openai import FakeOpenAI, Reply
from tests.fake_openai_audio import SOUND, form_of

SPEAKS, LISTENS = "openai/tts-1", "openai/whisper-1"
HELLO = SOUND + b"hello big world"
PREFIXES = ["/v1", "/api/v1/litellm"]


@pytest.fixture
def client(server: Server) -> OpenAI:
    return OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0)


@pytest.fixture
def http(server: Server) -> httpx.Client:
    with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client:
        yield client


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(("kind", "media_type"), [("mp3", "audio/mpeg"), ("opus", "audio/ogg"), ("pcm", "audio/pcm")])
def test_every_field_of_speech(
    http: httpx.Client, upstream: FakeOpenAI, prefix: str, kind: str, media_type: str
) -> None:
    fields = {
        "input": "Hello", "voice": {"id": "voice_1"}, "speed": 1.5, "instructions": "cheerfully",
        "response_format": kind, "stream_format": "audio",
    }  # fmt: skip
    answer = http.post(f"{prefix}/audio/speech", json={"model": SPEAKS, **fields})
    assert (answer.status_code, answer.content) == (200, SOUND + b"Hello")
    assert answer.headers["content-type"] == media_type
    assert answer.headers["x-las-model"] == SPEAKS
    assert float(answer.headers["x-las-cost"]) > 0
    assert upstream.last.body == {"model": "tts-1", **fields}


def test_speech_by_the_official_client(client: OpenAI, upstream: FakeOpenAI) -> None:
    with client.audio.speech.with_streaming_response.create(model=SPEAKS, voice="alloy", input="Hello") as response:
        assert b"".join(response.iter_bytes()) == SOUND + b"Hello"
    assert client.audio.speech.create(model=SPEAKS, voice="alloy", input="Hi").read() == SOUND + b"Hi"


def test_speech_in_events(http: httpx.Client, upstream: FakeOpenAI) -> None:
    body = {"model": SPEAKS, "input": "Hello", "voice": "alloy", "stream_format": "sse"}
    answer = http.post("/v1/audio/speech", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    assert json.loads(events[0])["type"] == "speech.audio.delta"
    assert json.loads(events[-2])["type"] == "speech.audio.done"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("text", "hello big world\n"), ("srt", "00:00:02,000\nhello big world"), ("vtt", "WEBVTT\n\n00:00.000")],
)
def test_transcripts_that_are_texts(http: httpx.Client, upstream: FakeOpenAI, kind: str, expected: str) -> None:
    form = {"model": LISTENS, "response_format": kind}
    answer = http.post("/v1/audio/transcriptions", data=form, files={"file": ("a.mp3", HELLO, "audio/mpeg")})
    assert answer.headers["content-type"].startswith("text/plain")
    assert expected in answer.text


@pytest.mark.parametrize("kind", ["json", "verbose_json", "diarized_json"])
def test_transcripts_that_are_objects(client: OpenAI, upstream: FakeOpenAI, kind: Any) -> None:
    answer: Any = client.audio.transcriptions.create(model=LISTENS, file=("a.mp3", HELLO), response_format=kind)
    assert answer.text == "hello big world"
    if kind == "diarized_json":
        assert answer.segments[0].speaker == "A"
    if kind == "verbose_json":
        assert (answer.duration, answer.language) == (2.0, "english")


@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_field_of_transcription(server: Server, upstream: FakeOpenAI, prefix: str) -> None:
    with OpenAI(base_url=server.url + prefix, api_key="any", max_retries=0) as client:
        client.audio.transcriptions.create(
            model=LISTENS,
            file=("a.mp3", HELLO),
            language="en",
            prompt="before",
            temperature=0.5,
            response_format="verbose_json",
            timestamp_granularities=["word", "segment"],
            include=["logprobs"],
            chunking_strategy={"type": "server_vad", "threshold": 0.5},
            known_speaker_names=["ann", "bob"],
            known_speaker_references=["data:audio/wav;base64,UklGRg==", "data:audio/wav;base64,UklGRh=="],
        )
    form = form_of(upstream.last)
    assert form["file"] == HELLO
    told = {name: value.decode() for name, value in form.items() if name not in ("file", "model")}
    # Of a list the double keeps the last item.
    assert told == {
        "language": "en", "prompt": "before", "temperature": "0.5", "response_format": "verbose_json",
        "timestamp_granularities[]": "segment", "include[]": "logprobs", "chunking_strategy[type]": "server_vad",
        "chunking_strategy[threshold]": "0.5", "known_speaker_names[]": "bob",
        "known_speaker_references[]": "data:audio/wav;base64,UklGRh==",
    }  # fmt: skip


def test_a_transcript_in_events(client: OpenAI, upstream: FakeOpenAI) -> None:
    stream = client.audio.transcriptions.create(model=LISTENS, file=("a.mp3", HELLO), stream=True)
    events = list(stream)
    assert "".join(event.delta for event in events if event.type == "transcript.text.delta") == "hello big world"
    assert events[-1].type == "transcript.text.done"
    assert events[-1].text == "hello big world"


def test_a_transcript_that_breaks_says_so(client: OpenAI, upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(cut_after=1))
    with pytest.raises(openai.APIError):
        list(client.audio.transcriptions.create(model=LISTENS, file=("a.mp3", HELLO), stream=True))


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("speech", {"model": SPEAKS}, 400, "input"),
        ("speech", {"model": SPEAKS, "input": "a", "voice": {"url": "x"}}, 400, "voice"),
        ("speech", {"model": SPEAKS, "input": "a", "response_format": "ogg"}, 400, "response_format"),
        ("speech", {"model": SPEAKS, "input": "a", "api_base": "http://evil"}, 400, "api_base"),
        ("speech", {"model": "chains/joke", "input": "a"}, 400, "model"),
        ("speech", {"model": "local/smollm2-135m-instruct", "input": "a"}, 400, "model"),
        ("transcriptions", {"model": LISTENS, "response_format": "doc"}, 400, "response_format"),
        ("transcriptions", {"model": LISTENS, "temperature": "hot"}, 400, "temperature"),
        ("transcriptions", {"model": LISTENS, "timestamp_granularities[]": "page"}, 400, "timestamp_granularities"),
        ("transcriptions", {"model": LISTENS, "chunking_strategy": "never"}, 400, "chunking_strategy"),
        ("transcriptions", {"model": LISTENS, "api_base": "http://evil"}, 400, "api_base"),
        ("transcriptions", {"model": "chains/joke"}, 400, "model"),
        ("transcriptions", {"model": "local/smollm2-135m-instruct", "stream": "true"}, 400, "model"),
    ],
)
def test_bad_requests(
    http: httpx.Client, upstream: FakeOpenAI, path: str, body: dict[str, Any], status: int, param: str
) -> None:
    sent: dict[str, Any] = {"json": body} if path == "speech" else {"data": body, "files": {"file": ("a", HELLO)}}
    answer = http.post(f"/v1/audio/{path}", **sent)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param), answer.text
    assert not upstream.requests


@pytest.mark.parametrize("path", ["speech", "transcriptions"])
def test_the_providers_failures_are_told(http: httpx.Client, upstream: FakeOpenAI, path: str) -> None:
    upstream.enqueue(*[Reply(status=429, headers={"retry-after": "3600"})] * 2)
    sent: list[dict[str, Any]] = [{"json": {"model": SPEAKS, "input": "a"}}]
    if path == "transcriptions":
        sent = [
            {"data": {"model": LISTENS, **more}, "files": {"file": ("a.mp3", HELLO)}}
            for more in ({}, {"stream": "true"})
        ]
    for one in sent:
        answer = http.post(f"/v1/audio/{path}", **one)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "3600")
        assert answer.json()["error"]["message"] == "OpenAI: Rate limit reached for requests. Please try again later."
