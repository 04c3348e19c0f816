"""OpenAI's older completions through litellm, whose own form of a stream knows one choice and loses its logprobs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import litellm
from litellm.main import openai_chat_completions

from las_langchain import errors
from las_langchain.fields import COMPLETION_FIELDS
from las_langchain.providers import Target
from las_langchain.texts import prompts_of
from las_langchain.transports.checks import check_completes, refuse_unknown
from las_langchain.transports.clock import Clock
from las_langchain.transports.litellm.requests import call_arguments

Json = dict[str, Any]

_PREFIX = "text-completion-openai/"
_SEEN = frozenset("stream_options extra_headers".split())


async def complete_text(target: Target, body: Json) -> Json:
    """Answer a completion request.

    Raises:
        BadRequestError: the provider has no such endpoint, or a field is unknown.
        APIError: there is no answer in what it sent.
    """
    client = _Client(target)
    await litellm.atext_completion(**_arguments(target, body), client=client)
    answer: Json = client.answer.model_dump(exclude_unset=True)
    if not answer.get("choices"):
        raise errors.APIError("The provider's answer has no choices")
    return _whole(answer)


async def stream_text(target: Target, body: Json) -> AsyncGenerator[Json]:
    """Answer a completion request in chunks, the usage in a last one without choices; failures as above."""
    client, finishes = _Client(target), dict[int, Any]()
    with Clock(target) as clock:
        stream = await litellm.atext_completion(**_arguments(target, body), client=client, stream=True)
        try:
            while True:
                async with clock.patience():
                    chunk = await anext(stream, None)
                for said in client.taken():
                    for choice in said["choices"]:
                        finishes[choice["index"]] = choice["finish_reason"] or finishes.get(choice["index"])
                    with clock.stopped():
                        yield said
                    clock.heard(said)
                if chunk is None:
                    break
            if not finishes or not all(finishes.values()):
                raise errors.APIConnectionError("The stream ended before the answer was whole")
        finally:
            await client.close()


def _arguments(target: Target, body: Json) -> Json:
    check_completes(target)
    refuse_unknown(body, COMPLETION_FIELDS, target)
    prompts = prompts_of(body.get("prompt"))
    given = {name: value for name, value in body.items() if value is not None}
    seen = {name: value for name, value in given.items() if name in _SEEN}
    own = {name: value for name, value in given.items() if name not in seen and name != "extra_body"}
    arguments = call_arguments(target)
    return {
        **arguments,
        **seen,
        "api_key": arguments["api_key"] or "none",
        "model": _PREFIX + target.model,
        "prompt": prompts[0] if isinstance(prompts[0], str) else "",
        # What litellm does not see, it leaves as it is.
        "extra_body": {**own, **(given.get("extra_body") or {})},
    }


def openai_client(target: Target) -> Any:
    """OpenAI's own client, as litellm has it, with its connections."""
    return openai_chat_completions._get_openai_client(
        is_async=True,
        api_key=target.api_key.get_secret_value() if target.api_key else "none",
        api_base=target.api_base.rstrip("/") if target.api_base else None,
        timeout=target.timeout,
        max_retries=0,
    )


class _Client:
    """What litellm takes for OpenAI's client; remembers what the provider really sent.

    Args:
        target: where the real client sends requests.
    """

    def __init__(self, target: Target) -> None:
        self.completions = self.with_raw_response = self
        self._client = openai_client(target)
        self._taken: list[Json] = []
        self.answer: Any = None

    async def create(self, **fields: Any) -> _Client:
        """Send the request."""
        raw = await self._client.completions.with_raw_response.create(**fields)
        self.answer = raw.parse()
        return self

    def parse(self) -> Any:
        """The answer, or, of a stream, this in its place."""
        return self if hasattr(self.answer, "__anext__") else self.answer

    def __aiter__(self) -> _Client:
        return self

    async def __anext__(self) -> Any:
        chunk = await anext(self.answer)
        self._taken.append(_whole(chunk.model_dump(exclude_unset=True)))
        return chunk

    def taken(self) -> list[Json]:
        """The chunks that came since the last call."""
        taken, self._taken = self._taken, []
        return taken

    async def close(self) -> None:
        """Close the connection of a stream."""
        close = getattr(self.answer, "close", None)
        if close is not None:
            await close()


def _whole(answer: Json) -> Json:
    """*answer*, or a chunk, with the keys that OpenAI's choices always have."""
    choices = answer.get("choices") or ()
    answer["choices"] = [{"logprobs": None, "finish_reason": None, **choice} for choice in choices]
    for choice in answer["choices"]:
        choice["text"] = choice.get("text") or ""
    if answer.get("usage") is None:
        answer.pop("usage", None)
    return answer
