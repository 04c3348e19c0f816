"""What clients may send about sounds: typed and capped fields, and no others."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictStr

from servers.extra_schemas import Number
from servers.schemas import MODEL, PROVIDER, ModelName, ProviderName

Json = dict[str, Any]
_Text = Annotated[StrictStr, Field(min_length=1, max_length=1_000_000)]
_Name = Annotated[StrictStr, Field(min_length=1, max_length=256)]
_Names = Annotated[list[Annotated[str, Field(max_length=1000)]], Field(max_length=100, fail_fast=True)]
_Sounds = Annotated[list[Annotated[str, Field(max_length=20_000_000)]], Field(max_length=16, fail_fast=True)]


class SpeechRequest(BaseModel):
    """Text to be spoken."""

    model_config = ConfigDict(
        extra="forbid",
        str_max_length=20_000_000,
        allow_inf_nan=False,
        json_schema_extra={"examples": [{"model": "openai/tts-1", "input": "Hello world", "voice": "alloy"}]},
    )

    model: ModelName = Field(description=MODEL)
    provider: ProviderName | None = Field(None, description=PROVIDER)
    input: Annotated[StrictStr, Field(min_length=1, max_length=100_000)] = Field(description="What to say")
    voice: _Name | dict[Literal["id"], _Name] = Field("alloy", description="Who says it: a name, or an own voice's id")
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] | None = Field(
        None, description="Form of the sound; default: mp3"
    )
    speed: Annotated[Number, Field(ge=0.25, le=4)] | None = Field(None, description="1 is normal")
    instructions: _Text | None = Field(None, description="How to say it, such as: cheerfully")
    stream_format: Literal["sse", "audio"] | None = Field(
        None, description="Whether the sound comes in server-sent events or alone"
    )

    def body(self) -> Json:
        """The fields of OpenAI's request, without ``model``."""
        return self.model_dump(exclude_none=True, exclude={"model", "provider"})


class TranscriptionRequest(BaseModel):
    """The fields of a form whose ``file`` is a sound."""

    model_config = ConfigDict(
        extra="forbid",
        str_max_length=20_000_000,
        allow_inf_nan=False,
        json_schema_extra={"examples": [{"model": "openai/whisper-1", "file": "(the sound)", "language": "en"}]},
    )

    model: ModelName = Field(description=MODEL)
    provider: ProviderName | None = Field(None, description=PROVIDER)
    language: Annotated[str, Field(max_length=16)] | None = Field(None, description="What is spoken, as ISO 639-1: en")
    languages: _Names | None = Field(None, description="What may be spoken, where it is several")
    prompt: _Text | None = Field(None, description="What was said before, or names that are hard to spell")
    keywords: _Names | None = Field(None, description="Words that may be said")
    response_format: Literal["json", "text", "srt", "verbose_json", "vtt", "diarized_json"] | None = Field(
        None, description="The text alone, or with its times, language and speakers"
    )
    temperature: Annotated[float, Field(ge=0, le=1)] | None = Field(None, description="Randomness; 0 is none")
    timestamp_granularities: list[Literal["word", "segment"]] | None = Field(
        None, description="What the times are of, with verbose_json"
    )
    include: _Names | None = Field(None, description="What else to tell: logprobs")
    chunking_strategy: Literal["auto"] | Annotated[dict[str, str], Field(max_length=8)] | None = Field(
        None, description="How the sound is divided"
    )
    known_speaker_names: _Names | None = Field(None, description="Names of those who speak")
    known_speaker_references: _Sounds | None = Field(None, description="A sound of each, as data URIs")
    stream: bool | None = Field(None, description="Whether the words come as server-sent events")

    def body(self) -> Json:
        """The fields of OpenAI's request, without ``model``, ``file`` and ``stream``."""
        return self.model_dump(exclude_none=True, exclude={"model", "provider", "stream"})
