"""Pictures that people upload or name, as parts of a message."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from chains.inputs import OptionalText
from las_langchain.attachments import MAX_IMAGE_BYTES, data_uri, is_web_address
from las_langchain.errors import BadRequestError

Json = dict[str, Any]

MOST_PICTURES = 16
_WEB = re.compile(r"https?:", re.IGNORECASE)


Picture = Annotated[
    OptionalText,
    Field(
        description="A PNG, JPEG, GIF or WebP of up to 20 MB, as base64, data URL or http(s) URL",
        examples=["https://example.com/cat.png"],
        json_schema_extra={"extra": {"widget": {"type": "base64file"}}},
    ),
]
"""One picture; an upload in the playground."""


def picture_parts(image: str, images: Sequence[str] = ()) -> list[Json]:
    """OpenAI's content parts for pictures.

    The media type is that of the bytes, whatever a data URL says. Nothing is fetched: an http(s) address is handed on.

    Args:
        image: base64 (line breaks are fine), a data URL or an http(s) URL; empty: none.
        images: more of these.

    Raises:
        BadRequestError: one is no picture, or there are more than 16; ``param`` names it.
    """
    named = [("image", image)] if image else []
    named += [(f"images[{index}]", one) for index, one in enumerate(images)]
    if len(named) > MOST_PICTURES:
        raise BadRequestError(
            f"images: {len(named)} pictures are too many: send at most {MOST_PICTURES}", param="images"
        )
    return [{"type": "image_url", "image_url": {"url": _url(one, where)}} for where, one in named]


def _url(given: str, where: str) -> str:
    if _WEB.match(given):
        if is_web_address(given):
            return given
        raise BadRequestError(f"{where}: not an http(s) URL: it needs a host, and no spaces", param=where)
    if given[:5].lower() == "data:":
        head, separator, data = given.partition(",")
        if not separator or not head.lower().endswith(";base64"):
            raise BadRequestError(f"{where}: expected data:image/…;base64,…", param=where)
        return data_uri(_decoded(data, where), where)
    return data_uri(_decoded(given, where), where)


def _decoded(data: str, where: str) -> bytes:
    # Before anything is copied.
    if len(data) > 2 * MAX_IMAGE_BYTES:
        raise BadRequestError(f"{where}: larger than {MAX_IMAGE_BYTES / 1e6:g} MB", param=where)
    packed = "".join(data.split())
    if not packed:
        raise BadRequestError(f"{where}: it is empty", param=where)
    try:
        return base64.b64decode(packed, validate=True)
    except ValueError as error:
        raise BadRequestError(
            f"{where}: expected an image as base64, data URL or http(s) URL: {error}", param=where
        ) from None
