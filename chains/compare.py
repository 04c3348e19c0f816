"""``compare``: one prompt to several models at once, their answers, waits and costs side by side."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from importlib import import_module
from typing import Annotated, Any

from langchain_core.callbacks import adispatch_custom_event
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import Runnable, RunnableConfig
from pydantic import BaseModel, ConfigDict, Field

from chains.chain import Chain
from chains.inputs import checked, last_text
from chains.streamed import Streamed
from las_langchain import ChatLAS
from las_langchain.errors import in_a_line
from las_langchain.service import get_litellm_service
from las_langchain.settings import LASSettings
from las_langchain.threads import in_thread
from las_langchain.transports.choice import choose

EVENT = "model_finished"
"""Name of the custom event that tells of each model's result as soon as it is there."""
_MOST_MODELS = 8


class CompareInput(BaseModel):
    """A prompt, and the models that it is put to."""

    model_config = ConfigDict(extra="forbid")

    prompt: str = Field(min_length=1, description="What all models are asked", examples=["Why is the sky blue?"])
    system: str | None = Field(None, description="What they are told before", examples=["Answer in one sentence."])
    models: list[Annotated[str, Field(min_length=1)]] = Field(
        default_factory=list,
        max_length=_MOST_MODELS,
        description="Their ids, as provider/model, or aliases; empty: the settings' model and the aliases of las.toml",
        examples=[["local/smollm2-135m-instruct", "openai/gpt-4o-mini"]],
    )
    temperature: float | None = Field(
        None, ge=0, le=2, description="Sampling temperature; empty: each model's own", examples=[0]
    )
    max_tokens: int | None = Field(
        None, ge=1, description="Longest answer, in tokens; empty: each model's own", examples=[200]
    )


class ModelResult(BaseModel):
    """What one model made of the prompt."""

    model: str = Field(description="The model as it was named")
    answered_by: str | None = Field(None, description="Which provider and model answered; maybe a fallback")
    answer: str | None = Field(None, description="Its answer")
    error: str | None = Field(None, description="Why there is no answer, in one line")
    seconds: float = Field(description="Time to the end of the answer, or to the failure")
    first_token_seconds: float | None = Field(None, description="Time to the first piece of the answer")
    prompt_tokens: int | None = Field(None, description="Tokens of the prompt")
    completion_tokens: int | None = Field(None, description="Tokens of the answer")
    cost_usd: float | None = Field(None, description="US dollars; empty: not known")
    finish_reason: str | None = Field(None, description="Why the answer ended, such as stop or length")


class Comparison(BaseModel):
    """The models' results, in the order in which they were named."""

    results: list[ModelResult]


async def _compare(given: CompareInput, config: RunnableConfig) -> AsyncGenerator[Comparison]:
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(_result(model, given, config)) for model in given.models or _usual_models()]
    yield Comparison(results=[task.result() for task in asked])


def _usual_models() -> list[str]:
    settings = get_litellm_service().settings
    names = [settings.model, *(alias for alias in settings.models if "*" not in alias)]
    return list(dict.fromkeys(names))[:_MOST_MODELS]


async def _result(model: str, given: CompareInput, config: RunnableConfig) -> ModelResult:
    began = time.perf_counter()
    try:
        await _prepare(model)
        began = time.perf_counter()
        result = await _answered(model, given, config, began)
    except Exception as error:  # One model's failure, of whatever kind, is no other's.
        result = ModelResult(model=model, error=in_a_line(error, None), seconds=_since(began))
    await adispatch_custom_event(EVENT, result.model_dump(), config=config)
    return result


def _since(began: float) -> float:
    """Seconds, no finer than they mean anything."""
    return round(time.perf_counter() - began, 3)


async def _prepare(model: str) -> None:
    """Make sure that *model* can be called.

    Raises:
        LASError: there is no such model, or no key for it.
    """
    if choose(get_litellm_service().target(model)).transport == "litellm":
        # Importing litellm takes seconds, once a process, which are not the model's.
        await in_thread(lambda: import_module("las_langchain.transports.litellm"))


async def _answered(model: str, given: CompareInput, config: RunnableConfig, began: float) -> ModelResult:
    messages: list[BaseMessage] = [SystemMessage(given.system)] if given.system else []
    messages.append(HumanMessage(given.prompt))
    chat_model = ChatLAS(model=model, temperature=given.temperature, max_tokens=given.max_tokens)
    whole, first = AIMessageChunk(content=""), None
    async with aclosing(_chunks(chat_model, messages, config)) as chunks:
        async for chunk in chunks:
            if first is None and chunk.text:
                first = _since(began)
            whole += chunk
    return _measured(model, whole, _since(began), first)


async def _chunks(
    model: ChatLAS, messages: list[BaseMessage], config: RunnableConfig
) -> AsyncGenerator[AIMessageChunk]:
    async for chunk in model.astream(messages, config):
        yield chunk


def _measured(model: str, whole: AIMessageChunk, seconds: float, first: float | None) -> ModelResult:
    known, usage = whole.response_metadata, whole.usage_metadata
    provider, name = known.get("model_provider", ""), known.get("model_name", "")
    return ModelResult(
        model=model,
        answered_by=name if name.startswith(f"{provider}/") else f"{provider}/{name}",
        answer=str(whole.text),
        seconds=seconds,
        first_token_seconds=first,
        prompt_tokens=usage["input_tokens"] if usage else None,
        completion_tokens=usage["output_tokens"] if usage else None,
        cost_usd=known.get("cost"),
        finish_reason=known.get("finish_reason"),
    )


def _from_messages(messages: list[BaseMessage]) -> CompareInput:
    return checked(CompareInput, {"prompt": last_text(messages)})


def as_markdown(comparison: Comparison) -> AIMessage:
    """The comparison as an answer in a chat: a table, then each answer under its model's name."""
    rows = ["| Model | Seconds | First token | Tokens in | Tokens out | US$ | End |", "|---|--:|--:|--:|--:|--:|---|"]
    rows += [_row(result) for result in comparison.results]
    # Quoted, an answer cannot open a block, such as of code, that swallows the next one.
    answers = [
        f"### {_cell(result.model)}\n\n{_quoted(result.answer if result.error is None else _cell(result.error))}"
        for result in comparison.results
    ]
    return AIMessage(content="\n\n".join(["\n".join(rows), *answers]))


def _row(result: ModelResult) -> str:
    cost = "" if result.cost_usd is None else f"{result.cost_usd:.6f}"
    first = "" if result.first_token_seconds is None else f"{result.first_token_seconds:.2f}"
    counts = ["" if count is None else str(count) for count in (result.prompt_tokens, result.completion_tokens)]
    end = result.finish_reason or "" if result.error is None else f"error: {result.error}"
    return f"| {' | '.join([_cell(result.model), f'{result.seconds:.2f}', first, *counts, cost, _cell(end)])} |"


def _cell(text: str) -> str:
    return _line(text).replace("\\", "\\\\").replace("|", "\\|")


def _line(text: str) -> str:
    return " ".join(text.split())


def _quoted(text: str | None) -> str:
    return "\n".join(f"> {line}".rstrip() for line in (text or "").splitlines() or [""])


def build(settings: LASSettings) -> Runnable[Any, Any]:
    """The chain; it needs nothing of *settings*, since those of each run hold."""
    return Streamed(_compare, name="compare", input_type=CompareInput, output_type=Comparison)


CHAIN = Chain(
    name="compare",
    title="Compare models",
    description="Puts one prompt to several models at once and shows their answers, waits, tokens and costs.",
    build=build,
    input_type=CompareInput,
    output_type=Comparison,
    from_messages=_from_messages,
    to_message=as_markdown,
)
