"""OpenAI's stream as LangChain's chunks: one state for synchronous and asynchronous loops."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import ToolCallChunk, tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk

from las_langchain.messages import blocks
from las_langchain.messages.answers import (
    answer_cost,
    choice_metadata,
    kept_fields,
    response_metadata,
    usage_metadata,
)
from las_langchain.providers import Target

Json = dict[str, Any]

# What LangChain's own reading of a chunk would miss: these are read by this package's, which the provider's name finds.
_SHOWN = frozenset(blocks.MOVED) - {"reasoning_content", "thinking_blocks"}


class StreamState:
    """Turns the chunks of one stream into LangChain's, which merge into the answer.

    With ``output_version`` ``v1``, what belongs together has an index of its own: LangChain merges blocks of equal
    index, and would otherwise join a text with the tool call after it. Of several choices the first is the answer; the
    others are kept whole under ``additional_kwargs["candidates"]``, as OpenAI's messages. Messages get their ids from
    LangChain, which gives all chunks of a stream, and the one that it adds itself, the same.

    LangChain takes what there is of a call's arguments for all of them, so the names of calls that are not whole are in
    ``response_metadata["broken_tool_calls"]``.

    Args:
        target: who was asked.
        output_version: as for :func:`~las_langchain.messages.answers.chat_result`.
    """

    def __init__(self, target: Target, output_version: str | None = None) -> None:
        blocks.register(target.provider)
        self._target = target
        self._version_1 = output_version == "v1"
        self._begun = self._priced = False
        self._block = ("", 0)
        self._thought: Json = {}
        self._calls: dict[int, tuple[int, str | None]] = {}
        self._written: dict[int, tuple[str, list[str]]] = {}
        self._count = 0

    def chunks(self, chunk: Json) -> Iterator[ChatGenerationChunk]:
        """What *chunk* adds to the answer."""
        for choice in chunk["choices"]:
            if choice.get("index"):
                yield self._candidate(choice, chunk)
            else:
                yield self._answer(choice, chunk)
        if not chunk["choices"] and chunk.get("usage"):
            yield self._generation(chunk, {}, usage=True)

    def _answer(self, choice: Json, chunk: Json) -> ChatGenerationChunk:
        info = choice_metadata(choice)
        ends = bool(info.get("finish_reason"))
        if ends:
            info |= response_metadata(chunk, self._target)
        return self._generation(chunk, choice.get("delta") or {}, info, ends=ends, usage=bool(chunk.get("usage")))

    def _generation(
        self, chunk: Json, delta: Json, info: Json | None = None, *, ends: bool = False, usage: bool = False
    ) -> ChatGenerationChunk:
        calls = [self._noted(self._tool_call(call)) for call in delta.get("tool_calls") or ()]
        if ends and (broken := self._broken()):
            info = {**(info or {}), "broken_tool_calls": broken}
        kept = kept_fields({**delta, "citations": delta.get("citations") or chunk.get("citations")})
        kept |= {"thinking_blocks": self._thoughts(delta, ends)}
        kept = {key: value for key, value in kept.items() if value}
        text = delta.get("content") or ""
        message = AIMessageChunk(
            content=self._blocks(delta, text, kept, calls) if self._version_1 else text,
            additional_kwargs={} if self._version_1 else kept,
            tool_call_chunks=calls,
            response_metadata=self._metadata(chunk, usage=usage, tagged=not _SHOWN.isdisjoint(kept)),
            usage_metadata=self._usage(chunk) if usage else None,
        )
        self._priced |= usage
        return ChatGenerationChunk(message=message, generation_info=info or None)

    def _usage(self, chunk: Json) -> UsageMetadata | None:
        # Merging adds the usages up, and some providers say theirs more than once.
        return None if self._priced else usage_metadata(chunk["usage"])

    def _metadata(self, chunk: Json, *, usage: bool = False, tagged: bool = False) -> Json:
        result: Json = {"output_version": "v1"} if self._version_1 else {}
        if tagged or not self._begun:
            result |= {"model_provider": self._target.provider, "cost": None}
            self._begun = True
        if chunk.get("cache_hit"):
            result["cache_hit"] = True
        if (usage and not self._priced) or chunk.get("cache_hit"):
            result["cost"] = answer_cost(chunk, self._target)
        return result

    def _tool_call(self, call: Json) -> ToolCallChunk:
        function, given = call.get("function") or {}, call.get("id")
        place = call.get("index")
        if place is None:
            # Some providers send whole calls and leave out their places, ...
            place = -1
        index, begun = self._calls.get(place, (-1, None))
        if index < 0 or (given and given != begun):
            # ... give all calls the same one, or leave out their ids.
            index, begun = self._count, given or f"call_{uuid.uuid4().hex}"
            self._calls[place] = (index, begun)
            self._count += 1
            return tool_call_chunk(name=function.get("name"), args=function.get("arguments"), id=begun, index=index)
        # A name that is repeated would be joined to the first.
        return tool_call_chunk(name=None, args=function.get("arguments"), id=None, index=index)

    def _noted(self, call: ToolCallChunk) -> ToolCallChunk:
        _, pieces = self._written.setdefault(call["index"] or 0, (call["name"] or "", []))
        pieces.append(call["args"] or "")
        return call

    def _broken(self) -> list[str]:
        """The names of the calls whose arguments are no JSON object."""
        return [name for name, pieces in self._written.values() if not _is_object("".join(pieces) or "{}")]

    def _thoughts(self, delta: Json, ends: bool) -> list[Json]:
        """The thoughts that are complete with *delta*: signed, or followed by something else."""
        done: list[Json] = []
        for piece in delta.get("thinking_blocks") or ():
            if piece.get("type") == "redacted_thinking":
                done += [*self._thought_so_far(), piece]
                continue
            self._thought = {
                "type": "thinking",
                "thinking": self._thought.get("thinking", "") + (piece.get("thinking") or ""),
                **({"signature": piece["signature"]} if piece.get("signature") else {}),
            }
            if "signature" in self._thought:
                done += self._thought_so_far()
        if ends or delta.get("content") or delta.get("tool_calls"):
            done += self._thought_so_far()
        return done

    def _thought_so_far(self) -> list[Json]:
        thought, self._thought = self._thought, {}
        return [thought] if thought else []

    def _blocks(self, delta: Json, text: str, kept: Json, calls: list[ToolCallChunk]) -> list[Json]:
        result = [*self._reasoning(delta, kept)]
        if text or "annotations" in kept or "citations" in kept:
            result.append(self._indexed(blocks.text_block(text, kept), "txt"))
        result += [self._indexed(blocks.image_block(image), "img", new=True) for image in kept.get("images", ())]
        if "audio" in kept:
            result.append(self._indexed(blocks.audio_block(kept["audio"]), "aud"))
        if "refusal" in kept:
            result.append(self._indexed(blocks.refusal_block(kept["refusal"]), "ref"))
        for call in calls:
            self._block = ("tc", self._block[1])
            result.append({**call, "type": "tool_call_chunk", "index": f"lc_tc_{call['index']}"})
        return result

    def _reasoning(self, delta: Json, kept: Json) -> Iterator[Json]:
        if said := delta.get("reasoning_content"):
            yield self._indexed({"type": "reasoning", "reasoning": said}, "rs")
        for thought in kept.get("thinking_blocks", ()):
            if thought.get("type") == "redacted_thinking":
                yield self._indexed(blocks.thinking_block(thought), "rt", new=True)
            elif thought.get("signature"):
                # The text was said as it came; what is left is the signature, after which a new thought begins.
                signed = {"type": "reasoning", "reasoning": "", "extras": {"signature": thought["signature"]}}
                yield self._indexed(signed, "rs")
                self._block = ("", self._block[1])

    def _indexed(self, block: Json, kind: str, *, new: bool = False) -> Json:
        last, count = self._block
        if new or last != kind:
            self._block = (kind, count + 1)
        return {**block, "index": f"lc_{kind}_{self._block[1]}"}

    def _candidate(self, choice: Json, chunk: Json) -> ChatGenerationChunk:
        """A further choice: LangChain's merging of dicts by index puts its deltas together."""
        delta = {key: value for key, value in (choice.get("delta") or {}).items() if value}
        candidate = {"index": choice["index"], **delta, **choice_metadata(choice)}
        message = AIMessageChunk(
            content=[] if self._version_1 else "",
            additional_kwargs={"candidates": [candidate]},
            response_metadata=self._metadata(chunk),
        )
        return ChatGenerationChunk(message=message)


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
