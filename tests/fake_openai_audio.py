"""The sounds of the OpenAI double: speech that says which text it is, and transcriptions that know it again.

A sound is the bytes ``ID3``, ``fake sound:`` and the text; any other file is heard as its own length. Words of a stream
are its text's.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from email.message import Message
from email.parser import BytesParser
from typing import Any

from tests.fake_openai_rules import ApiError, check_model
from tests.fake_server import JSON, Received

SOUND = b"ID3fake sound:"
_VOICES = frozenset("alloy ash ballad coral echo fable nova onyx sage shimmer verse".split())
_FORMATS = {"mp3": "audio/mpeg", "opus": "audio/ogg", "aac": "audio/aac", "flac": "audio/flac", "wav": "audio/wav",
            "pcm": "audio/pcm"}  # fmt: skip
_SPEECH = frozenset("model input voice instructions response_format speed stream_format".split())
_TRANSCRIPTION = frozenset(
    "model file language languages[] prompt keywords[] response_format temperature include[] stream "
    "timestamp_granularities[] chunking_strategy chunking_strategy[type] chunking_strategy[threshold] "
    "known_speaker_names[] known_speaker_references[]".split()
)
_TEXTS = {
    "text": "{}\n",
    "srt": "1\n00:00:00,000 --> 00:00:02,000\n{}\n\n",
    "vtt": "WEBVTT\n\n00:00.000 --> 00:02.000\n{}\n",
}


def spoken(body: Any) -> tuple[bytes, str]:
    """The sound that answers a speech request, and its media type."""
    if not isinstance(body, dict):
        raise ApiError("We could not parse the JSON body of your request.")
    for name in body:
        if name not in _SPEECH:
            raise ApiError(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
    check_model(str(body.get("model")))
    if not isinstance(body.get("input"), str) or not body["input"]:
        raise ApiError("Invalid 'input': string too short.", param="input")
    voice = body.get("voice")
    if not (isinstance(voice, dict) and set(voice) == {"id"}) and voice not in _VOICES:
        raise ApiError(f"Invalid value: '{body.get('voice')}'.", param="voice", code="invalid_value")
    kind = body.get("response_format", "mp3")
    if kind not in _FORMATS:
        raise ApiError(f"Invalid value: '{kind}'.", param="response_format", code="invalid_value")
    return SOUND + body["input"].encode(), _FORMATS[kind]


def spoken_events(sound: bytes) -> Iterator[JSON]:
    """A sound as the events of a stream."""
    for start in range(0, len(sound), 8):
        yield {"type": "speech.audio.delta", "audio": base64.b64encode(sound[start : start + 8]).decode()}
    usage = {"input_tokens": 2, "output_tokens": 5, "total_tokens": 7}
    yield {"type": "speech.audio.done", "usage": usage}


def written_events(answer: JSON) -> Iterator[JSON]:
    """A transcription as the events of a stream."""
    text = answer["text"]
    for word in text.split():
        yield {"type": "transcript.text.delta", "delta": word if text.startswith(word) else f" {word}"}
    usage = {"type": "tokens", "input_tokens": 14, "output_tokens": 2, "total_tokens": 16}
    yield {"type": "transcript.text.done", "text": text, "usage": usage}


def written(request: Received) -> JSON | str:
    """The answer to a transcription request."""
    fields = form_of(request)
    for name in fields:
        if name not in _TRANSCRIPTION:
            raise ApiError(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
    for name in ("file", "model"):
        if name not in fields:
            raise ApiError(f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")
    check_model(fields["model"].decode())
    sound = fields["file"]
    text = sound.removeprefix(SOUND).decode() if sound.startswith(SOUND) else f"{len(sound)} bytes"
    answer: JSON = {"text": text, "usage": {"type": "duration", "seconds": 2}}
    wanted = fields.get("response_format", b"json").decode()
    if wanted in _TEXTS:
        return _TEXTS[wanted].format(text)
    if wanted == "diarized_json":
        segment = {
            "id": "seg_1",
            "type": "transcript.text.segment",
            "start": 0.0,
            "end": 2.0,
            "text": text,
            "speaker": "A",
        }
        answer |= {"task": "transcribe", "duration": 2.0, "segments": [segment]}
    if wanted == "verbose_json":
        answer |= {"task": "transcribe", "language": "english", "duration": 2.0, "segments": []}
    return answer


def form_of(request: Received) -> dict[str, bytes]:
    """The fields of a form."""
    head = f"content-type: {request.headers.get('content-type', '')}\r\n\r\n".encode()
    form = BytesParser().parsebytes(head + bytes(request.body))
    if not form.is_multipart():
        raise ApiError("Could not parse multipart form")
    return {_name(part): part.get_payload(decode=True) for part in form.get_payload()}


def _name(part: Message) -> str:
    return str(part.get_param("name", header="content-disposition"))
