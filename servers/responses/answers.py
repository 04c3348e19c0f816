"""A chat's answer as a response."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from servers.responses.custom_inputs import custom_input
from servers.responses.ids import item_id, new_id
from servers.responses.items import sealed
from servers.responses.requests import Reading, Thoughts
from servers.responses.schemas import ResponseRequest
from servers.responses.tools import Tools

Json = dict[str, Any]

_CUT = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Why an answer ends before its end, by the chat's finish_reason."""


def response_shell(read: Reading, asked: ResponseRequest) -> Json:
    """A response that has just begun, with every key that OpenAI sends.

    Args:
        read: the request.
        asked: the same.
    """
    return {
        "id": new_id("resp"),
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "background": False,
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "instructions": asked.instructions,
        "max_output_tokens": asked.max_output_tokens,
        "max_tool_calls": asked.max_tool_calls,
        "model": asked.model,
        "output": [],
        "parallel_tool_calls": asked.parallel_tool_calls is not False,
        "previous_response_id": asked.previous_response_id,
        "prompt_cache_key": asked.prompt_cache_key,
        "prompt_cache_retention": asked.prompt_cache_retention,
        "reasoning": {"effort": read.reasoning.get("effort"), "summary": read.summary},
        "safety_identifier": asked.safety_identifier,
        "service_tier": asked.service_tier or "auto",
        "store": asked.store is not False,
        "temperature": asked.temperature,
        "text": {"format": {"type": "text"}, "verbosity": "medium", **_given(read.text)},
        "tool_choice": asked.tool_choice or "auto",
        "tools": read.tools.shown,
        "top_logprobs": asked.top_logprobs or 0,
        "top_p": asked.top_p,
        "truncation": asked.truncation or "disabled",
        "usage": None,
        "user": asked.user,
        "metadata": asked.metadata or {},
    }


def _given(holder: Json) -> Json:
    return {name: value for name, value in holder.items() if value is not None}


def with_answer(shell: Json, read: Reading, answer: Json) -> Json:
    """The finished response.

    Args:
        shell: of :func:`response_shell`.
        read: the request.
        answer: a ``chat.completion``.
    """
    choice = answer["choices"][0]
    output = output_of(choice, read.tools, read.thoughts)
    told = {"model": answer.get("model"), "service_tier": answer.get("service_tier")}
    return finished({**shell, **_given(told)}, output, choice.get("finish_reason"), answer.get("usage"))


def finished(shell: Json, output: Sequence[Json], finish_reason: str | None, usage: Json | None) -> Json:
    """The response that consists of *output*."""
    reason = _CUT.get(finish_reason or "")
    status = "incomplete" if reason else "completed"
    return {
        **shell,
        "status": status,
        "completed_at": None if reason else int(time.time()),
        "incomplete_details": {"reason": reason} if reason else None,
        "output": with_cut(output) if reason else [*output],
        "usage": usage_of(usage),
    }


def with_cut(output: Sequence[Json]) -> list[Json]:
    """The items of an answer that was cut, which was in the last."""
    return [*output[:-1], *({**item, "status": "incomplete"} for item in output[-1:])]


def is_cut(finish_reason: str | None) -> bool:
    """Whether the answer ends before its end."""
    return finish_reason in _CUT


def output_of(choice: Json, tools: Tools, told: Thoughts) -> list[Json]:
    """The items of which a chat's *choice* consists: what it thinks, says and calls."""
    message = choice["message"]
    output = []
    if thoughts := message.get("reasoning_content"):
        output.append(reasoning_item(str(thoughts), told))
    logprobs = (choice.get("logprobs") or {}).get("content")
    notes = message.get("annotations") or ()
    content: list[Json] = []
    if text := message.get("content"):
        content.append(text_part(text, notes, logprobs_of(logprobs)))
    if refusal := message.get("refusal"):
        content.append({"type": "refusal", "refusal": refusal})
    calls = message.get("tool_calls") or ()
    if not content and not calls and not output:
        # An empty answer is one all the same.
        content.append(text_part("", notes, []))
    if content:
        output.append(message_item(content))
    return [*output, *(call_item(call, tools) for call in calls)]


def reasoning_item(text: str, told: Thoughts) -> Json:
    """What a model thought, as an item."""
    return {"id": item_id("reasoning"), "type": "reasoning", "status": "completed", **reasoning_fields(text, told)}


def reasoning_fields(text: str, told: Thoughts) -> Json:
    """Where in an item it stands what a model thought."""
    part = {"type": "summary_text" if told.in_summary else "reasoning_text", "text": text}
    summary, content = ([part], []) if told.in_summary else ([], [part])
    return {"summary": summary, "content": content, "encrypted_content": sealed(text) if told.sealed else None}


def message_item(content: Sequence[Json]) -> Json:
    """What a model said, as an item."""
    head = {"id": item_id("message"), "type": "message", "status": "completed"}
    return {**head, "role": "assistant", "content": [*content]}


def text_part(text: str, notes: Sequence[Json], logprobs: Sequence[Json]) -> Json:
    """A text with a chat's citations."""
    annotations = [*filter(None, map(citation, notes))]
    return {"type": "output_text", "text": text, "annotations": annotations, "logprobs": [*logprobs]}


def citation(note: Json) -> Json | None:
    """A chat's ``url_citation`` as this API has it."""
    cited = note.get("url_citation")
    if not isinstance(cited, dict) or not cited.get("url"):
        return None
    numbers = {name: cited.get(name) or 0 for name in ("start_index", "end_index")}
    return {"type": "url_citation", "url": cited["url"], "title": cited.get("title") or cited["url"], **numbers}


def call_item(call: Json, tools: Tools) -> Json:
    """A chat's *call*, as an item."""
    function = call["function"]
    tool = tools.called(function.get("name") or "")
    arguments = function.get("arguments") or ""
    kind = "custom_tool_call" if tool.kind == "custom" else "function_call"
    said = {"input": custom_input(arguments)} if tool.kind == "custom" else {"arguments": arguments}
    head = {"id": item_id(kind), "type": kind, "status": "completed"}
    head |= {"call_id": call.get("id") or new_id("call"), "name": tool.name, **said}
    return {**head, "namespace": tool.namespace} if tool.namespace else head


def logprobs_of(entries: Sequence[Json] | None) -> list[Json]:
    """A chat's log probabilities as this API has them."""
    return [{**_likely(entry), "top_logprobs": [*map(_likely, entry.get("top_logprobs") or ())]}
            for entry in entries or ()]  # fmt: skip


def _likely(entry: Json) -> Json:
    token = entry["token"]
    known = entry.get("bytes")
    spelled = known if known is not None else list(str(token).encode(errors="replace"))
    return {"token": token, "bytes": spelled, "logprob": entry["logprob"]}


def usage_of(usage: Json | None) -> Json | None:
    """A chat's usage under this API's names; None: it is not known."""
    if usage is None:
        return None
    read = usage.get("prompt_tokens_details") or {}
    wrote = usage.get("completion_tokens_details") or {}
    tokens = {
        "input_tokens": usage.get("prompt_tokens") or 0,
        "input_tokens_details": {
            "cached_tokens": read.get("cached_tokens") or 0,
            "cache_write_tokens": read.get("cache_write_tokens") or read.get("cache_creation_tokens") or 0,
        },
        "output_tokens": usage.get("completion_tokens") or 0,
        "output_tokens_details": {"reasoning_tokens": wrote.get("reasoning_tokens") or 0},
        "total_tokens": usage.get("total_tokens") or 0,
    }
    return {**tokens, "cost": usage["cost"]} if usage.get("cost") is not None else tokens
