"""Pictures and sounds that callers give as addresses, bytes or files, checked before anything is sent."""

from __future__ import annotations

import base64
import mimetypes
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from las_langchain.errors import BadRequestError

Json = dict[str, Any]
Detail = Literal["auto", "low", "high"]
StrPath: TypeAlias = str | os.PathLike[str]
SoundFile: TypeAlias = StrPath | bytes | IO[bytes] | tuple[str, bytes] | tuple[str, bytes, str]
"""A path, the bytes, an open file, or a name with bytes and, if wanted, their media type."""

MAX_IMAGE_BYTES = 20_000_000
MAX_SOUND_BYTES = 100_000_000

_WEBP = b"WEBP"
_IMAGES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}
_KNOWN_KINDS = {*_IMAGES.values(), "image/webp", "image/jpg"}
_IMAGE_TYPE = re.compile(r"image/[\w.+-]+(;[\w.+-]+=[\w.+-]+)*", re.IGNORECASE | re.ASCII)
_NEVER_IN_URLS = re.compile(r"[\x00-\x20\x7f]")
_SOUNDS = {
    b"ID3": "mp3", b"\xff\xfb": "mp3", b"\xff\xf3": "mp3", b"\xff\xf2": "mp3", b"OggS": "ogg", b"fLaC": "flac",
    b"\x1aE\xdf\xa3": "webm",
}  # fmt: skip
_SOUND_TYPES = {"m4a": "audio/mp4", "mp4": "audio/mp4", "ogg": "audio/ogg", "wav": "audio/wav", "webm": "audio/webm",
                "flac": "audio/flac"}  # fmt: skip


def image_parts(
    image_url: str | Sequence[str] | None,
    images: Iterable[str | bytes],
    image_path: StrPath | Sequence[StrPath] | None,
    detail: Detail,
) -> list[Json]:
    """OpenAI's content parts, in the order of the arguments.

    Args:
        image_url: http(s) addresses or data URIs.
        images: the same, or the bytes of PNG, JPEG, GIF or WebP files.
        image_path: files of those kinds, of at most 20 MB each.
        detail: how closely the model is to look.

    Raises:
        BadRequestError: there is no image, or one is none; ``param`` names it.
    """
    if detail not in ("auto", "low", "high"):
        raise BadRequestError(f"detail: expected auto, low or high, not {detail!r}", param="detail")
    urls = [
        *(_address(url, where) for where, url in _named("image_url", image_url)),
        *(_image(image, where) for where, image in _named("images", images)),
        *(data_uri(read_file(path, where, MAX_IMAGE_BYTES), where) for where, path in _named("image_path", image_path)),
    ]
    if not urls:
        raise BadRequestError("image_url: expected an image, there or in images or image_path", param="image_url")
    return [{"type": "image_url", "image_url": {"url": url, "detail": detail}} for url in urls]


def _named(name: str, given: Any) -> list[tuple[str, Any]]:
    """The items of an argument that may hold one or many, each with what errors call it."""
    if given is None or given == "":
        return []
    if isinstance(given, (str, bytes, bytearray, os.PathLike)) or not isinstance(given, Iterable):
        return [(name, given)]
    return [(f"{name}[{index}]", item) for index, item in enumerate(given)]


def _image(image: Any, where: str) -> str:
    return data_uri(bytes(image), where) if isinstance(image, (bytes, bytearray)) else _address(image, where)


def _address(url: Any, where: str) -> str:
    if not isinstance(url, str):
        raise BadRequestError(f"{where}: expected an http(s) URL or a data URI, not {type(url).__name__}", param=where)
    if url[:5].lower() == "data:":
        return _checked_data_uri(url, where)
    if is_web_address(url):
        return url
    # Whoever passes on a text of somebody else's must not thereby read a file of this machine.
    raise BadRequestError(f"{where}: expected an http(s) URL or a data URI; a file goes into image_path", param=where)


def is_web_address(url: str) -> bool:
    """Whether *url* is an http(s) address."""
    if _NEVER_IN_URLS.search(url):
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme.lower() in ("http", "https") and bool(parts.hostname)


def _checked_data_uri(uri: str, where: str) -> str:
    head, separator, data = uri.partition(";base64,")
    if not separator or not _IMAGE_TYPE.fullmatch(head[5:]):
        raise BadRequestError(f"{where}: expected data:image/…;base64,…", param=where)
    _check_size(len(data) * 3 // 4, where, MAX_IMAGE_BYTES)
    try:
        content = base64.b64decode(data, validate=True)
    except ValueError as error:
        raise BadRequestError(f"{where}: its base64 is broken: {error}", param=where) from None
    if not content:
        raise BadRequestError(f"{where}: not an image: it is empty", param=where)
    # Some providers take further kinds, whose first bytes are not known here.
    kind = head[5:].lower().partition(";")[0]
    if kind in _KNOWN_KINDS and _kind_of(content) not in _KNOWN_KINDS:
        raise BadRequestError(f"{where}: not an image, though it says {kind}", param=where)
    return uri


def data_uri(content: bytes, where: str) -> str:
    """The data URI of an image.

    Args:
        content: the bytes of a PNG, JPEG, GIF or WebP file.
        where: what errors call it.

    Raises:
        BadRequestError: it is none of these, or larger than 20 MB.
    """
    _check_size(len(content), where, MAX_IMAGE_BYTES)
    kind = _kind_of(content)
    if kind is None:
        raise BadRequestError(f"{where}: not an image of a known kind: PNG, JPEG, GIF or WebP", param=where)
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _kind_of(content: bytes) -> str | None:
    if content.startswith(b"RIFF") and content[8:12] == _WEBP:
        return "image/webp"
    return next((kind for magic, kind in _IMAGES.items() if content.startswith(magic)), None)


def sound_file(given: SoundFile) -> tuple[str, bytes, str]:
    """Name, bytes and media type of a sound.

    Raises:
        BadRequestError: there is no sound, it cannot be read, or has neither a name nor a known format.
    """
    name, content, kind = _named_sound(given)
    if not isinstance(content, bytes) or not isinstance(name, str):
        raise BadRequestError("file: expected a path, bytes, (name, bytes) or a file opened for bytes", param="file")
    if not content:
        raise BadRequestError("file: it is empty", param="file")
    _check_size(len(content), "file", MAX_SOUND_BYTES)
    if not name:
        name = f"audio.{_sound_format(content)}"
    extension = name.rpartition(".")[2].lower()
    guessed = _SOUND_TYPES.get(extension) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return name, content, kind or guessed


def _named_sound(given: Any) -> tuple[Any, Any, str | None]:
    if isinstance(given, (str, os.PathLike)):
        return Path(given).name, read_file(given, "file", MAX_SOUND_BYTES), None
    if isinstance(given, tuple) and len(given) in (2, 3):
        name, content, *kind = given
        return name, _content_of(content), kind[0] if kind else None
    name = getattr(given, "name", "")
    return Path(name).name if isinstance(name, str) else "", _content_of(given), None


def _content_of(given: Any) -> Any:
    if isinstance(given, (bytearray, memoryview)):
        return bytes(given)
    return given.read(MAX_SOUND_BYTES + 1) if hasattr(given, "read") else given


def _sound_format(content: bytes) -> str:
    if content.startswith(b"RIFF") and content[8:12] == b"WAVE":
        return "wav"
    if content[4:8] == b"ftyp":
        return "m4a"
    found = next((format_ for magic, format_ in _SOUNDS.items() if content.startswith(magic)), None)
    if found is None:
        raise BadRequestError("file: bytes of no known sound format: give (name, bytes)", param="file")
    return found


def read_file(path: StrPath, where: str, limit: int) -> bytes:
    """The bytes of a file.

    Args:
        path: the file.
        where: the argument that names it.
        limit: most bytes that it may have.

    Raises:
        BadRequestError: it is no file, cannot be read, or is too large.
    """
    try:
        # Anything else, such as a device, may have no end.
        content = _read(Path(path), limit) if Path(path).is_file() else None
    except (OSError, TypeError, ValueError) as error:
        raise BadRequestError(f"{where}: cannot be read", param=where, detail=f"{path}: {error}") from None
    if content is None:
        raise BadRequestError(f"{where}: no such file", param=where, detail=str(path))
    _check_size(len(content), where, limit)
    return content


def _read(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        return file.read(limit + 1)


def _check_size(size: int, where: str, limit: int) -> None:
    if size > limit:
        raise BadRequestError(f"{where}: larger than {limit / 1e6:g} MB", param=where)
