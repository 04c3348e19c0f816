"""OpenAI's older completions by the engine: the prompt as it is, without a chat template."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from las_langchain.errors import APIConnectionError, BadRequestError
from las_langchain.fields import COMPLETION_FIELDS
from las_langchain.settings import nearest
from las_langchain.texts import Prompt, head, legacy_logprobs, prompts_of, text_choice
from las_langchain.transports.local.requests import ALIASES, ENGINE_FIELDS, LABELS, check_stop

Json = dict[str, Any]

# Of a completion request, not for the engine.
_OWN = frozenset("prompt echo best_of suffix extra_body".split())
_NOT_HERE = frozenset("response_format chat_template_kwargs top_logprobs".split())


class TextCompletion:
    """One completion request, prompt after prompt: what to ask the engine, and what to pass on of its chunks.

    Args:
        model: the model's id.
        body: the request.

    Attributes:
        prompts: its prompts.

    Raises:
        BadRequestError: a field is unknown, or asks for what the engine cannot do.
    """

    def __init__(self, model: str, body: Json) -> None:
        self.prompts: list[Prompt] = prompts_of(body.get("prompt"))
        self._fields = _engine_fields(body)
        self._echoes, self._count = bool(body.get("echo")), body.get("n") or 1
        self._head = head(model)
        self._finished: set[int] = set()
        self._offsets: dict[int, int] = {}
        self._read: dict[int, int] = {}
        self._written = 0

    def body(self, prompt: Prompt) -> Json:
        """What to ask the engine for one prompt."""
        return {**self._fields, "prompt": prompt}

    def echo(self, place: int, text: str) -> Iterator[Json]:
        """What goes before the answers to the prompt at *place*, which reads *text*."""
        self._offsets = dict.fromkeys(range(self._count), len(text) if self._echoes else 0)
        if self._echoes and text:
            for index in range(self._count):
                yield self._chunk(text_choice(place * self._count + index, text))

    def feed(self, place: int, chunk: Json) -> Iterator[Json]:
        """What to pass on for one *chunk* of the engine's, about the prompt at *place*."""
        if usage := chunk.get("usage"):
            # Each of several answers tells what was read for all.
            self._read[place] = usage["prompt_tokens"]
            self._written += usage["completion_tokens"]
        for choice in chunk.get("choices", ()):
            own, text, finish = choice.get("index", 0), choice.get("text") or "", choice.get("finish_reason")
            logprobs = (choice.get("logprobs") or {}).get("content")
            shown = legacy_logprobs(logprobs, self._offsets[own]) if logprobs else None
            self._offsets[own] += len(text)
            if text or finish:
                yield self._chunk(text_choice(place * self._count + own, text, finish, shown))
            if finish:
                self._finished.add(place * self._count + own)

    def end(self) -> Json:
        """The last chunk: the usage of all.

        Raises:
            APIConnectionError: the engine stopped before the answer was whole.
        """
        if len(self._finished) != len(self.prompts) * self._count:
            raise APIConnectionError("The local engine stopped before the answer was whole", provider="local")
        read, written = sum(self._read.values()), self._written
        usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
        return {**self._head, "choices": [], "usage": usage}

    def _chunk(self, choice: Json) -> Json:
        return {**self._head, "choices": [choice]}


def _engine_fields(body: Json) -> Json:
    known = ((ENGINE_FIELDS | ALIASES.keys()) - _NOT_HERE) | _OWN
    if body.get("suffix"):
        raise BadRequestError("suffix: the local model only goes on with a text", param="suffix")
    if (body.get("best_of") or 1) > (body.get("n") or 1):
        raise BadRequestError("best_of: the local model gives the answers that it has; set n", param="best_of")
    if body.get("max_tokens") == 0:
        # The engine would give one token all the same.
        raise BadRequestError("max_tokens: the local model gives at least one", param="max_tokens")
    result: Json = {}
    for name, value in {**body, **(body.get("extra_body") or {})}.items():
        if value is None or name in LABELS or name in _OWN:
            continue
        if name not in known:
            hint = nearest(name, known | COMPLETION_FIELDS)
            raise BadRequestError(f"The local model does not know the parameter {name!r}{hint}", param=name)
        result[ALIASES.get(name, name)] = value
    if "stop" in result:
        check_stop(result["stop"])
    return result
