"""Sounds as callers give them; pictures are tested where they are sent."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from las_langchain.attachments import MAX_SOUND_BYTES, sound_file
from las_langchain.errors import BadRequestError
from tests.media import wav


@pytest.mark.parametrize(
    ("content", "name", "kind"),
    [
        (wav(), "audio.wav", "audio/wav"),
        (b"ID3" + bytes(9), "audio.mp3", "audio/mpeg"),
        (b"\xff\xfb" + bytes(9), "audio.mp3", "audio/mpeg"),
        (b"OggS" + bytes(9), "audio.ogg", "audio/ogg"),
        (b"fLaC" + bytes(9), "audio.flac", "audio/flac"),
        (b"\x1aE\xdf\xa3" + bytes(9), "audio.webm", "audio/webm"),
        (bytes(4) + b"ftypM4A " + bytes(9), "audio.m4a", "audio/mp4"),
    ],
)
def test_bytes_get_a_name_by_what_they_are(content: bytes, name: str, kind: str) -> None:
    assert sound_file(content) == (name, content, kind)
    assert sound_file(io.BytesIO(content)) == (name, content, kind)


def test_files_and_tuples_have_their_names(tmp_path: Path) -> None:
    path = tmp_path / "hello.wav"
    path.write_bytes(wav())
    expected = ("hello.wav", wav(), "audio/wav")
    assert sound_file(path) == sound_file(str(path)) == sound_file(("hello.wav", wav())) == expected
    with path.open("rb") as file:
        assert sound_file(file) == expected
    assert sound_file(("a.bin", bytearray(b"x"), "audio/x-own")) == ("a.bin", b"x", "audio/x-own")  # type: ignore[arg-type]
    assert sound_file(("a.nothing-known", b"x"))[2] == "application/octet-stream"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (b"", "empty"),
        (("a.wav", b""), "empty"),
        (b"hello", "no known sound format"),
        (io.BytesIO(b"hello"), "no known sound format"),
        (io.StringIO("hello"), "expected a path"),
        (None, "expected a path"),
        (3, "expected a path"),
        ((), "expected a path"),
        (("a.wav",), "expected a path"),
        (("a.wav", "text"), "expected a path"),
        ((3, b"x"), "expected a path"),
        ("", "no such file"),
        ("missing.wav", "no such file"),
        (".", "no such file"),
        ("/dev/zero", "no such file"),
        (("a.wav", bytes(MAX_SOUND_BYTES + 1)), "larger than 100 MB"),
    ],
)
def test_what_is_no_sound_is_named(given: Any, reason: str) -> None:
    with pytest.raises(BadRequestError, match=r"^file: ") as caught:
        sound_file(given)
    assert caught.value.param == "file"
    assert reason in str(caught.value)
