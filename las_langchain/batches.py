"""How many texts become requests of a fair size, how many of these run at a time, and what their answers hold."""

from __future__ import annotations

import asyncio
import base64
import re
import sys
from array import array
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from las_langchain.errors import APIError, BadRequestError

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one request may hold.

    Attributes:
        texts: texts.
        tokens: tokens of all its texts together.
    """

    texts: int = 256
    tokens: int = 300_000


LIMITS: dict[str, Limits] = {
    "bedrock": Limits(texts=96),
    "cohere": Limits(texts=96),
    "dashscope": Limits(texts=10),
    "gemini": Limits(texts=100),
    "mistral": Limits(tokens=16_384),
    "vertex_ai": Limits(texts=250, tokens=20_000),
    "voyage": Limits(tokens=120_000),
}
"""The limits of providers that take less than the default, which is OpenAI's in tokens."""


def checked_sizes(texts: Sequence[Any], name: str = "texts[{}]") -> list[int]:
    """The size of each text in bytes of UTF-8.

    That is also the most tokens that OpenAI's tokenizers make of it; others may add a few marks of their own to a text.

    Args:
        texts: what should be texts.
        name: what errors call them; ``{}`` is the index.

    Raises:
        BadRequestError: one is no text, is empty, or holds half a character; the message names its index.
    """
    return [_checked_size(text, name.format(index)) for index, text in enumerate(texts)]


def _checked_size(text: Any, name: str) -> int:
    if not isinstance(text, str):
        raise BadRequestError(f"{name}: expected a text, not {type(text).__name__}", param=name)
    if not text:
        raise BadRequestError(f"{name}: expected a text that is not empty; leave it out", param=name)
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        half = f"U+{ord(text[error.start]):04X} at position {error.start}"
        raise BadRequestError(f"{name}: {half} is half a character; decode the text anew", param=name) from None


def least_tokens(text: str) -> int:
    """A number of tokens that *text* has for certain: none of OpenAI's reaches from one word into the next."""
    return len(text.split())


def divided(sizes: Sequence[int], limits: Limits) -> Iterator[range]:
    """The indices of the texts of each request, in order, each request as full as *limits* allow.

    A text that is larger than the limit is a request of its own: *sizes* are upper bounds, so it may fit all the same.

    Args:
        sizes: from :func:`checked_sizes`.
        limits: the most of one request.
    """
    start = total = 0
    for index, size in enumerate(sizes):
        if index > start and (index - start == limits.texts or total + size > limits.tokens):
            yield range(start, index)
            start, total = index, 0
        total += size
    if sizes:
        yield range(start, len(sizes))


async def concurrently(
    call: Callable[[Job], Awaitable[Result]], jobs: Iterable[Job], limit: int
) -> AsyncGenerator[Result]:
    """Yield what *call* makes of each job, as the results come.

    The first error ends it. When it ends, by an error, by being cancelled or closed, the calls still running are
    cancelled and waited for.

    Args:
        call: what to do with a job.
        jobs: drawn only when there is room for another call.
        limit: most calls at a time.
    """
    waiting = iter(jobs)
    running: set[asyncio.Future[Result]] = set()
    try:
        while True:
            while len(running) < limit and (job := next(waiting, None)) is not None:
                running.add(asyncio.ensure_future(call(job)))
            if not running:
                return
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            # Failures last: whoever counts costs should hear of all that was answered.
            for task in sorted(done, key=lambda task: task.exception() is not None):
                running.discard(task)
                yield task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def in_base64_first(
    send: Callable[[str | None], Awaitable[dict[str, Any]]], asked: str | None, provider: str
) -> dict[str, Any]:
    """What *send* answers, asked for the encoding that the caller wants, else for the one that costs least.

    Args:
        send: makes the request with an ``encoding_format``.
        asked: the caller's; None: any.
        provider: numbers cost litellm's client for OpenAI fifty times the CPU time, and its event loop stands still
            meanwhile.
    """
    if asked is None and provider == "openai":
        try:
            return await send("base64")
        except BadRequestError as error:
            # Some servers with OpenAI's format know floats only.
            if error.param != "encoding_format" and not re.search("encoding|base64", error.message):
                raise
    return await send(asked)


def ordered(answer: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """The embeddings of an answer, in the order of the request's *count* texts.

    Raises:
        APIError: some are missing.
    """
    items = sorted(answer["data"], key=lambda item: item["index"])
    if [item["index"] for item in items] != list(range(count)):
        raise APIError(f"The provider answered {count} texts with {len(items)} embeddings, or numbered them wrongly")
    return items


def vectors_of(answer: dict[str, Any], count: int) -> list[list[float]]:
    """The vectors of an embeddings answer, in the order of the request's *count* texts.

    Raises:
        APIError: some are missing, or one is neither numbers nor base64 of little-endian 32-bit floats.
    """
    return [decoded(item["embedding"]) for item in ordered(answer, count)]


def decoded(vector: Any) -> list[float]:
    """A vector as it was sent, as a list of numbers.

    Raises:
        APIError: as :func:`vectors_of`.
    """
    if isinstance(vector, list) and vector:
        return vector
    floats = array("f")
    try:
        floats.frombytes(base64.b64decode(vector, validate=True))
    except (TypeError, ValueError):
        raise APIError("The provider sent an embedding that is neither numbers nor base64 of floats") from None
    if not floats:
        raise APIError("The provider sent an empty embedding")
    if sys.byteorder == "big":
        floats.byteswap()
    return floats.tolist()
