"""The parts of which messages and tool results consist: checked, and as a chat's parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from servers.responses.reading import a_list, a_text, an_object, one_of, optional_text, wrong

Json = dict[str, Any]

OF_PEOPLE = ("input_text", "input_image", "input_file", "input_audio")
OF_MODELS = ("output_text", "refusal")
OF_TOOLS = ("input_text", "input_image", "input_file")

_COMMON = frozenset({"type", "prompt_cache_breakpoint"})
_FIELDS: dict[str, frozenset[str]] = {
    "input_text": _COMMON | {"text"},
    "input_image": _COMMON | {"image_url", "file_id", "detail"},
    "input_file": _COMMON | {"file_data", "file_id", "file_url", "filename", "detail"},
    "input_audio": _COMMON | {"input_audio"},
    "output_text": _COMMON | {"text", "annotations", "logprobs", "parsed"},
    "refusal": _COMMON | {"refusal"},
}
_DETAILS = ("auto", "low", "high", "original")
_NO_FILES = "files are not kept here: send"


def checked_content(holder: Json, name: str, kinds: Sequence[str], where: str) -> list[Json]:
    """The parts in the field *name* of *holder*; a text is one part of the first of *kinds*.

    Raises:
        BadRequestError: there are none, or one is malformed; ``param`` names it.
    """
    if isinstance(holder.get(name), str):
        return [_text_part(kinds[0], holder[name])]
    if holder.get(name) is None:
        a_text(holder, name, where)
    parts = a_list(holder, name, where)
    if not parts:
        raise wrong(f"{where}.{name}", "expected at least one part")
    return [_checked(part, kinds, f"{where}.{name}[{index}]") for index, part in enumerate(parts)]


def _text_part(kind: str, text: str) -> Json:
    return {"type": kind, "text": text, **({"annotations": []} if kind == "output_text" else {})}


def _checked(part: Any, kinds: Sequence[str], where: str) -> Json:
    kind = one_of(an_object(part, where).get("type"), kinds, f"{where}.type")
    an_object(part, where, _FIELDS[kind])
    return _CHECKS[kind](part, where)


def _checked_text(part: Json, where: str) -> Json:
    return _text_part("input_text", a_text(part, "text", where))


def _checked_output(part: Json, where: str) -> Json:
    said = {**_text_part("output_text", a_text(part, "text", where)), "annotations": a_list(part, "annotations", where)}
    logprobs = a_list(part, "logprobs", where, most=1_000_000)
    return {**said, "logprobs": logprobs} if logprobs else said


def _checked_refusal(part: Json, where: str) -> Json:
    return {"type": "refusal", "refusal": a_text(part, "refusal", where)}


def _checked_image(part: Json, where: str) -> Json:
    if part.get("file_id") is not None:
        raise wrong(f"{where}.file_id", f"{_NO_FILES} the image in image_url, as a data:image/… URL")
    url = a_text(part, "image_url", where, empty=False)
    if not url.startswith(("data:", "http://", "https://")):
        raise wrong(f"{where}.image_url", "expected a data:image/… or an https:// URL")
    detail = one_of(part.get("detail") or "auto", _DETAILS, f"{where}.detail")
    return {"type": "input_image", "image_url": url, "detail": detail}


def _checked_file(part: Json, where: str) -> Json:
    for name in ("file_id", "file_url"):
        if part.get(name) is not None:
            raise wrong(f"{where}.{name}", f"{_NO_FILES} it in file_data, as a data:application/pdf;base64,… URL")
    data = a_text(part, "file_data", where, empty=False)
    filename = optional_text(part, "filename", where, most=1_000)
    return {"type": "input_file", "file_data": data, **({"filename": filename} if filename else {})}


def _checked_audio(part: Json, where: str) -> Json:
    place = f"{where}.input_audio"
    sound = an_object(part.get("input_audio"), place, ("data", "format"))
    kind = one_of(sound.get("format"), ("mp3", "wav"), f"{place}.format")
    return {"type": "input_audio", "input_audio": {"data": a_text(sound, "data", place, empty=False), "format": kind}}


_CHECKS = {
    "input_text": _checked_text,
    "input_image": _checked_image,
    "input_file": _checked_file,
    "input_audio": _checked_audio,
    "output_text": _checked_output,
    "refusal": _checked_refusal,
}


def chat_content(parts: Sequence[Json]) -> str | list[Json]:
    """Checked *parts* as the content of a chat's message; a single text as such, which every provider takes."""
    if len(parts) == 1 and "text" in parts[0]:
        return str(parts[0]["text"])
    return [chat_part(part) for part in parts]


def chat_part(part: Json) -> Json:
    """A checked *part* as a chat's."""
    match part["type"]:
        case "input_image":
            detail = {"original": "high"}.get(part["detail"], part["detail"])
            return {"type": "image_url", "image_url": {"url": part["image_url"], "detail": detail}}
        case "input_file":
            # OpenAI asks for a name even where the client has none.
            named = {"filename": part.get("filename") or "file.pdf", "file_data": part["file_data"]}
            return {"type": "file", "file": named}
        case "input_audio":
            return {"type": "input_audio", "input_audio": part["input_audio"]}
    return {"type": "text", "text": said(part)}


def said(part: Json) -> str:
    """The words of a checked *part*."""
    return str(part.get("text") or part.get("refusal") or "")
