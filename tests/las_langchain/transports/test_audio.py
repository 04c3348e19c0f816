"""Speech and transcription: what goes upstream, what comes back, what is wrong and said to be."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from las_langchain.errors import APIError, AuthenticationError, BadRequestError, ModelNotFoundError
from las_langchain.service import LiteLLMService
from las_langchain.settings import load_settings
from tests.conftest import UPSTREAM_KEY
from tests.fake_openai import FakeOpenAI, Reply
from tests.fake_openai_audio import SOUND, form_of

SPEECH = {"input": "Hello world", "voice": "alloy"}


def test_what_is_spoken_is_understood(upstream: FakeOpenAI, service: LiteLLMService) -> None:
    sound = service.speech("Good morning, Zürich", voice="nova", model="tts-1", provider="openai", speed=1.5)
    assert (sound.content, sound.content_type) == (SOUND + "Good morning, Zürich".encode(), "audio/mpeg")
    assert upstream.last.path == "/v1/audio/speech"
    assert upstream.last.headers["authorization"] == f"Bearer {UPSTREAM_KEY}"
    assert upstream.last.body == {"model": "tts-1", "input": "Good morning, Zürich", "voice": "nova", "speed": 1.5}
    heard = service.transcription(("a.mp3", sound.content), model="whisper-1", provider="openai", language="de")
    assert heard.text == "Good morning, Zürich"
    form = form_of(upstream.last)
    assert (form["model"], form["language"], form["file"]) == (b"whisper-1", b"de", sound.content)


async def test_async_forms(upstream: FakeOpenAI, service: LiteLLMService) -> None:
    sound = await service.aspeech("Hi", voice="echo", model="openai/tts-1", response_format="wav")
    assert sound.content_type == "audio/wav"
    heard = await service.atranscription(io.BytesIO(sound.content), model="openai/whisper-1")
    assert heard.text == "Hi"


async def test_a_server_of_ones_own_needs_no_key(upstream: FakeOpenAI) -> None:
    service = LiteLLMService(load_settings(providers={"vllm": {"base_url": upstream.url}}))
    assert (await service.aspeech("Hi", voice="echo", model="vllm/tts-1")).content == SOUND + b"Hi"
    assert (await service.atranscription(("a.mp3", SOUND + b"Hi"), model="vllm/whisper-1")).text == "Hi"


def test_files_are_read_and_written(upstream: FakeOpenAI, service: LiteLLMService, tmp_path: Path) -> None:
    path = tmp_path / "hello.mp3"
    service.speech("Hello", voice="alloy", model="openai/tts-1").write_to_file(path)
    assert service.transcription(path, model="openai/whisper-1").text == "Hello"


def test_costs_are_known_by_the_letter_and_by_the_second(upstream: FakeOpenAI, service: LiteLLMService) -> None:
    service.speak(service.target("openai/tts-1"), SPEECH)
    service.transcribe(service.target("openai/whisper-1"), {"file": ("a.mp3", b"abc", "audio/mpeg")})
    assert service.ledger is not None
    heard, spoken = service.ledger.calls(limit=2)
    assert (spoken["operation"], spoken["cost_usd"]) == ("speech", pytest.approx(11 * 1.5e-5))
    assert (heard["operation"], heard["cost_usd"]) == ("transcription", pytest.approx(2 * 1e-4))


@pytest.mark.parametrize(
    ("changes", "param"),
    [({"input": ""}, "input"), ({"input": 7}, "input"), ({"speeed": 2}, "speeed")],
)
def test_wrong_speech_requests(
    upstream: FakeOpenAI, service: LiteLLMService, changes: dict[str, Any], param: str
) -> None:
    with pytest.raises(BadRequestError) as error:
        service.speak(service.target("openai/tts-1"), {**SPEECH, **changes})
    assert error.value.param == param
    assert not upstream.requests


def test_failures_upstream(upstream: FakeOpenAI, service: LiteLLMService) -> None:
    for status, kind in ((401, AuthenticationError), (500, APIError)):
        upstream.enqueue(Reply(status=status), Reply(status=status))
        with pytest.raises(kind):
            service.speak(service.target("openai/tts-1"), SPEECH, max_retries=0)
        with pytest.raises(kind):
            service.transcribe(
                service.target("openai/whisper-1"), {"file": ("a.mp3", b"abc", "audio/mpeg")}, max_retries=0
            )
    assert len(upstream.requests) == 4
    with pytest.raises(ModelNotFoundError):
        service.speak(service.target("openai/missing-model"), SPEECH)


def test_the_embedded_models_neither_speak_nor_listen(service: LiteLLMService) -> None:
    target = service.target("local/smollm2-135m-instruct")
    with pytest.raises(BadRequestError, match="does not speak; name a model that does, such as openai/tts-1"):
        service.speak(target, SPEECH)
    with pytest.raises(BadRequestError, match="does not transcribe; name a model that does, such as openai/whisper-1"):
        service.transcribe(target, {"file": ("a.mp3", b"abc", "audio/mpeg")})
