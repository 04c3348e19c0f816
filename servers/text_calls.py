"""OpenAI's older completions: by the provider's own endpoint, or, of models that only chat, as chats."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from starlette.requests import Request

from las_langchain.catalog import model_info
from las_langchain.deployments import served_model
from las_langchain.errors import BadRequestError
from las_langchain.fields import OPENAI_COMPLETION_FIELDS
from las_langchain.provider_rows import PROVIDERS
from las_langchain.providers import Target, split_name
from las_langchain.settings import LASSettings
from las_langchain.texts import head, legacy_logprobs, prompts_of, summed, text_choice
from servers.chat_calls import CHAINS, ChatCall, ModelCall, chat_call
from servers.client_fields import for_model
from servers.deps import service_of

Json = dict[str, Any]

AT_ONCE = 8
"""Prompts of one request that are answered at the same time, where each is a chat of its own."""
_MOST = 256
"""Prompts that a request may have where each is a chat of its own."""
_AHEAD = 32
"""Chunks that the answers may be ahead of their reader."""
_NOT_OF_CHATS = ("prompt", "echo", "suffix", "best_of", "logprobs")


async def text_call(request: Request, model: str, body: Json) -> ChatCall:
    """A completion request to *model*, whose answers and chunks are ``text_completion`` objects.

    Args:
        request: says on whose behalf.
        model: its id, its bare name, an alias, or ``chains/<name>``.
        body: OpenAI's request without ``model`` and ``stream``, and fields beside it that the settings may allow.

    Raises:
        LASError: no such model or chain, no key for it, or a field that it does not take.
    """
    service = service_of(request)
    if not model.startswith(CHAINS):
        target = service.target(model)
        if _all_complete(target, service.settings):
            allowed = for_model(body, target, service.settings, OPENAI_COMPLETION_FIELDS)
            return ModelCall(service, target, allowed, "text_completion")
    prompts = _texts(body)
    fields = _chat_fields(body)
    chats = [
        await chat_call(request, model, {**fields, "messages": [{"role": "user", "content": prompt}]})
        for prompt in prompts
    ]
    return ChatTexts(chats, prompts if body.get("echo") else None, body.get("n") or 1)


def _all_complete(target: Target, settings: LASSettings) -> bool:
    """Whether *target*, and whoever else may answer in its place, goes on with texts."""
    entry = settings.models.get(target.alias or "")
    if entry is None:
        return _completes(target.provider, target.model, settings)
    name, alias = target.asked or "", target.alias or ""
    served = [served_model(deployment.model, name, alias) for deployment in entry.deployments]
    return all(_completes(*split_name(model, settings), settings) for model in (*served, *entry.fallbacks))


def _completes(provider: str, model: str, settings: LASSettings) -> bool:
    row, given = PROVIDERS.get(provider), settings.providers.get(provider)
    if row is None or not (row.completes or provider == "local"):
        return False
    # A model that was made of another is listed under that one's name.
    mode = model_info(provider, ":".join(model.split(":")[:2]) if model.startswith("ft:") else model).get("mode")
    if mode is not None:
        return bool(mode == "completion")
    own = (given and given.base_url) or any(map(settings.variable, row.base_url_variables))
    # OpenAI's newest models, which the list may not have yet, all chat.
    return provider != "openai" or bool(own)


def _texts(body: Json) -> list[str]:
    prompts: list[str] = []
    given = prompts_of(body["prompt"])
    if len(given) > _MOST:
        raise BadRequestError(f"prompt: of this model, which chats, at most {_MOST} at once", param="prompt")
    for prompt in given:
        if not isinstance(prompt, str):
            raise BadRequestError("prompt: this model takes texts, not tokens", param="prompt")
        prompts.append(prompt)
    return prompts


def _chat_fields(body: Json) -> Json:
    """A completion request as a chat's, without the messages.

    Raises:
        BadRequestError: it asks for what a chat cannot give.
    """
    if body.get("suffix"):
        raise BadRequestError("suffix: this model chats, it fills no gap in a text", param="suffix")
    if (body.get("best_of") or 1) > (body.get("n") or 1):
        raise BadRequestError("best_of: this model cannot choose among its answers; set n", param="best_of")
    if body.get("max_tokens") == 0:
        raise BadRequestError("max_tokens: this model chats, it says something; expected 1 or more", param="max_tokens")
    fields = {name: value for name, value in body.items() if name not in _NOT_OF_CHATS}
    if (likely := body.get("logprobs")) is not None:
        fields |= {"logprobs": True, "top_logprobs": likely}
    return fields


class ChatTexts:
    """A :class:`~servers.chat_calls.ChatCall` that answers each prompt by a chat, as completions.

    Args:
        chats: one for each prompt, not sent yet.
        echoed: the prompts, where the completions begin with them.
        count: how many answers each chat gives.
    """

    def __init__(self, chats: Sequence[ChatCall], echoed: Sequence[str] | None, count: int) -> None:
        self._chats, self._echoed, self._count = chats, echoed, count
        self._head = head(self.model)
        self._usages: list[Json] = []
        # By the index of the choice: letters that it has so far; it is in here once it has begun.
        self._letters: dict[int, int] = {}

    @property
    def model(self) -> str:
        """See :class:`~servers.chat_calls.ChatCall`."""
        return self._chats[0].model

    @property
    def cost(self) -> float | None:
        """See :class:`~servers.chat_calls.ChatCall`; the sum of all, if each is known."""
        costs = [chat.cost for chat in self._chats]
        return None if None in costs else sum(cost for cost in costs if cost is not None)

    @property
    def headers(self) -> Mapping[str, str]:
        """See :class:`~servers.chat_calls.ChatCall`."""
        return self._chats[0].headers

    async def complete(self) -> Json:
        """See :class:`~servers.chat_calls.ChatCall`."""
        slots = asyncio.Semaphore(AT_ONCE)

        async def answer(chat: ChatCall) -> Json:
            async with slots:
                return await chat.complete()

        tasks = [asyncio.create_task(answer(chat)) for chat in self._chats]
        try:
            answers = await asyncio.gather(*tasks)
        finally:
            await _cancel(tasks)
        choices = [self._whole(place, choice) for place, one in enumerate(answers) for choice in one["choices"]]
        own = {"created": answers[0]["created"], "model": answers[0]["model"]}
        usages = [one["usage"] for one in answers if one.get("usage")]
        return {**self._head, **own, "choices": choices, **({"usage": summed(usages)} if usages else {})}

    async def chunks(self) -> AsyncGenerator[Json]:
        """See :class:`~servers.chat_calls.ChatCall`."""
        async with aclosing(_merged([chat.chunks() for chat in self._chats])) as chunks:
            async for place, chunk in chunks:
                self._head |= {"created": chunk["created"], "model": chunk["model"]}
                if chunk.get("usage"):
                    self._usages.append(chunk["usage"])
                for choice in chunk["choices"]:
                    for said in self._said(place, choice):
                        yield {**self._head, "choices": [said]}
        if self._usages:
            yield {**self._head, "choices": [], "usage": summed(self._usages)}

    def _whole(self, place: int, choice: Json) -> Json:
        message, before = choice["message"], self._echoed[place] if self._echoed else ""
        logprobs = (choice.get("logprobs") or {}).get("content")
        return text_choice(
            place * self._count + choice["index"],
            before + (message.get("content") or message.get("refusal") or ""),
            _finish(choice),
            legacy_logprobs(logprobs, len(before)) if logprobs else None,
        )

    def _said(self, place: int, choice: Json) -> list[Json]:
        """What a chunk's *choice* says, as choices of a completion: none, one, or one after the echoed prompt."""
        index, delta, said = place * self._count + choice["index"], choice["delta"], []
        if index not in self._letters:
            before = self._echoed[place] if self._echoed else ""
            self._letters[index] = len(before)
            said = [text_choice(index, before)] if before else []
        text = (delta.get("content") or "") + (delta.get("refusal") or "")
        logprobs = (choice.get("logprobs") or {}).get("content")
        shown = legacy_logprobs(logprobs, self._letters[index]) if logprobs else None
        self._letters[index] += len(text)
        finish = _finish(choice)
        return [*said, text_choice(index, text, finish, shown)] if text or finish or shown else said


def _finish(choice: Json) -> str | None:
    finish: str | None = choice.get("finish_reason")
    return "stop" if finish in ("tool_calls", "function_call") else finish


async def _merged(streams: Sequence[AsyncGenerator[Json]]) -> AsyncGenerator[tuple[int, Json]]:
    """The items of all *streams* as they come, each with its stream's place; so many streams run at once."""
    queue: asyncio.Queue[tuple[int, Json | Exception | None]] = asyncio.Queue(_AHEAD)
    slots = asyncio.Semaphore(AT_ONCE)

    async def pump(place: int, stream: AsyncGenerator[Json]) -> None:
        outcome: Exception | None = None
        try:
            async with slots, aclosing(stream):
                async for item in stream:
                    await queue.put((place, item))
        except Exception as error:
            outcome = error
        await queue.put((place, outcome))

    tasks = [asyncio.create_task(pump(place, stream)) for place, stream in enumerate(streams)]
    try:
        running = len(tasks)
        while running:
            place, item = await queue.get()
            if isinstance(item, Exception):
                raise item
            if item is None:
                running -= 1
            else:
                yield place, item
    finally:
        await _cancel(tasks)


async def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel *tasks*, and wait until each has closed its connection."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
