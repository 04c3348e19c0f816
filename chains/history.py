"""What of a conversation goes to the model: as much as its context holds, and every call with its result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from las_langchain.threads import in_thread

if TYPE_CHECKING:
    from las_langchain import ChatLAS

Count = Callable[[Sequence[BaseMessage]], int]

_LOST = "This call was given up before it had a result."
_CUT = "\n[Cut here: the conversation is too long.]"
_ANSWER_SHARE = 4
"""An answer gets this fraction of the context at most."""
_LONG_TOKEN = 16
"""Bytes of a token, or fewer; only of blanks and the like there are longer ones."""
_PROBE = 5
"""Tokens of a message of one sign, or fewer."""
_OVERHEAD = 100
"""Bytes that a message counts beside its text."""


async def readable(
    model: ChatLAS, system: Sequence[BaseMessage], messages: Sequence[AnyMessage], tools: Sequence[Any] = ()
) -> list[AnyMessage]:
    """As much of *messages*, without system messages, as *model* can read after *system*; the newest first.

    What a person said last is there even if it is too long by itself: the model says so then. A model of unknown
    context gets everything.

    Args:
        model: which is to read them.
        system: what stands before them.
        messages: the conversation.
        tools: what the model may call.
    """
    parts = turns(messages)
    whole = [message for part in parts for message in part]
    profile = model.profile or {}
    context = profile.get("max_input_tokens")
    # No token is shorter than a byte, so most conversations need not be counted.
    size = sum(map(_bytes, whole))
    if context is None or size < context // 2:
        return whole
    answer = min(profile.get("max_output_tokens") or context, context // _ANSWER_SHARE)

    def cut() -> list[AnyMessage]:
        fixed = model.get_num_tokens_from_messages(list(system), tools) if system or tools else 0
        most = context - answer - fixed
        # Counting all of what is far too long would take many seconds.
        if size <= context * _LONG_TOKEN and _count(model, whole) <= most:
            return whole
        # Templates begin and end a prompt with words of their own, which are counted once and not with each part.
        probe = HumanMessage(".")
        base = _count(model, [probe])
        return fitting(parts, most - base + _PROBE, lambda some: _count(model, [*some, probe]) - base)

    return await in_thread(cut)


def _count(model: ChatLAS, messages: Sequence[BaseMessage]) -> int:
    return model.get_num_tokens_from_messages(list(messages))


def _bytes(message: BaseMessage) -> int:
    calls = str(message.tool_calls) if isinstance(message, AIMessage) and message.tool_calls else ""
    return len(str(message.content).encode(errors="replace")) + len(calls) + _OVERHEAD


def instructions(messages: Sequence[AnyMessage]) -> str:
    """The system messages among *messages*, each once: clients send theirs with every request."""
    return "\n\n".join(dict.fromkeys(str(one.text) for one in messages if isinstance(one, SystemMessage)))


def turns(messages: Sequence[AnyMessage]) -> list[list[AnyMessage]]:
    """*messages* in parts that must stay whole: a call with its results, any other message alone.

    A call without a result, of a run that was given up, gets one that says so, since providers refuse it else. System
    messages are left out, and results of no call.
    """
    parts: list[list[AnyMessage]] = []
    # Some models give the calls of every step the same ids, so a result is of the newest call that has none.
    waiting: dict[str, list[tuple[list[AnyMessage], int]]] = {}
    for message in messages:
        if isinstance(message, AIMessage) and message.tool_calls:
            calls = [str(call["id"]) for call in message.tool_calls]
            part: list[AnyMessage] = [message, *(ToolMessage(_LOST, tool_call_id=one, status="error") for one in calls)]
            waiting.update({one: [] for one in calls})
            for place, one in enumerate(calls, 1):
                waiting[one].append((part, place))
            parts.append(part)
        elif isinstance(message, ToolMessage):
            if waiting.get(message.tool_call_id):
                part, place = waiting[message.tool_call_id].pop(0)
                part[place] = message
        elif not isinstance(message, SystemMessage):
            parts.append([message])
    return parts


def fitting(parts: Sequence[Sequence[AnyMessage]], most: int, count: Count) -> list[AnyMessage]:
    """The newest of *parts* that fit, with the newest message of a person always among them.

    Args:
        parts: as :func:`turns` gives them.
        most: tokens.
        count: counts them.

    Returns:
        Their messages. The results of the newest call are cut where they alone are too long; a person's message that
        is too long stays as it is.
    """
    asked = max((index for index, part in enumerate(parts) if isinstance(part[0], HumanMessage)), default=None)
    kept = {} if asked is None else {asked: list(parts[asked])}
    left = most - sum(count(part) for part in kept.values())
    for index in range(len(parts) - 1, -1, -1):
        if index in kept:
            continue
        part = list(parts[index])
        size = count(part)
        if size > left and index == len(parts) - 1:
            part = _cut(part, left, size)
            size = count(part)
        elif size > left:
            break
        kept[index] = part
        left -= size
    return _begun([message for index in sorted(kept) for message in kept[index]])


def _begun(messages: list[AnyMessage]) -> list[AnyMessage]:
    """*messages* from the first one of a person on: many models take no others there."""
    first = next((index for index, one in enumerate(messages) if isinstance(one, HumanMessage)), 0)
    return messages[first:]


def _cut(part: list[AnyMessage], most: int, size: int) -> list[AnyMessage]:
    """*part* with the texts of its results as much shorter as it has more tokens than *most*."""
    share = max(0.0, 0.8 * most / size)
    return [
        one.model_copy(update={"content": str(one.text)[: int(len(str(one.text)) * share)] + _CUT})
        if isinstance(one, ToolMessage)
        else one
        for one in part
    ]
