"""What a chain tells of its own doing, told apart from what its model thinks."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk

STEPS = "steps"
"""Key of ``additional_kwargs`` under which the steps are, a line each, that ``reasoning_content`` beside it tells of.

They are a text since LangServe's pages cannot add up lists.
"""


def step_chunk(text: str, step: str | None = None, **fields: Any) -> AIMessageChunk:
    """A step of a chain, for clients that show what a model thinks.

    Args:
        text: what these show; the texts of a run are put together.
        step: the same in words that stand alone; None: *text*.
        fields: of the chunk.
    """
    line = " ".join((text if step is None else step).split())
    kwargs = {"reasoning_content": text, STEPS: f"{line}\n"}
    return AIMessageChunk(content="", additional_kwargs=kwargs, **fields)


def thought_of(message: AIMessage) -> str:
    """What the model, or the chain, thought, as text."""
    if isinstance(message.content, str):
        return message.additional_kwargs.get("reasoning_content") or ""
    return "".join(block.get("reasoning", "") for block in message.content_blocks if block["type"] == "reasoning")


def steps_of(message: AIMessage) -> list[str]:
    """The steps that *message* tells of."""
    return str(message.additional_kwargs.get(STEPS) or "").splitlines()
