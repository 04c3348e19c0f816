"""An Amazon Bedrock upstream for tests: Converse and InvokeModel for embeddings, signed requests, binary streams.

    with FakeBedrock() as upstream:
        upstream.enqueue(Reply(text="Hi"), Reply(status=429))
        client = boto3.client("bedrock-runtime", endpoint_url=upstream.url, region_name=REGION, …)

Signatures are verified and requests checked against botocore's description of the service; scripted replies go, in
order, to the requests that pass; without a script an obedient, deterministic model answers as that of the OpenAI
double does. ``python tests/fake_bedrock.py --port 8005`` runs it as a process of its own.
"""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

import orjson

if __package__ in (None, ""):
    # Run as a script, only this folder is importable, not the package it is.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.fake_bedrock_rules import CHAT_MODELS, EMBEDDING_MODELS, check_converse, check_embedding
from tests.fake_bedrock_wire import (
    ACCESS_KEY,
    BEARER_KEY,
    REGION,
    SECRET_KEY,
    SESSION_TOKEN,
    AwsError,
    check_credentials,
    framed,
)
from tests.fake_openai_schema import ToolCall, answer, fragments_of, merged, message_text, pieces_of, vector_of
from tests.fake_server import JSON, Delivery, Exchange, FakeServer, Received, run_as_script

__all__ = [
    "ACCESS_KEY",
    "BEARER_KEY",
    "CHAT_MODELS",
    "EMBEDDING_MODELS",
    "REGION",
    "SECRET_KEY",
    "SESSION_TOKEN",
    "FakeBedrock",
    "Received",
    "Reply",
    "ToolCall",
]

_PATH = re.compile(r"/model/([^/]+)/(converse|converse-stream|invoke)")
_ERRORS = {
    400: ("ValidationException", "The request is not valid."),
    403: ("AccessDeniedException", "You don't have access to the model with the specified model ID."),
    404: ("ResourceNotFoundException", "This model version has reached the end of its life."),
    408: ("ModelTimeoutException", "The model took too long to answer."),
    424: ("ModelErrorException", "The model failed."),
    429: ("ThrottlingException", "Too many requests, please wait before trying again."),
    503: ("ServiceUnavailableException", "Bedrock is unable to process your request."),
}
_SERVER_ERROR = ("InternalServerException", "The system encountered an unexpected error during processing.")
_STOP_REASONS = {"length": "max_tokens", "stop": "end_turn", "tool_calls": "tool_use"}
_SIGNATURE = "c2lnbmF0dXJl"


@dataclass(frozen=True)
class Reply(Delivery):
    """A scripted reply; with no text, chunks or tool_calls the default rules make the answer."""

    text: str | None = None
    chunks: Sequence[str] | None = None
    """The exact pieces of the stream; by default the words of the text."""
    tool_calls: Sequence[ToolCall] = ()
    reasoning: str | None = None
    """Sent before the text."""
    stop_reason: str | None = None
    usage: JSON | None = None
    """Merged over the counted usage."""

    @property
    def speaks(self) -> bool:
        """Tell whether the script says what the model answers."""
        return bool(self.tool_calls) or (self.text, self.chunks) != (None, None)


Handler = Callable[[Exchange, Reply], Awaitable[None]]


class FakeBedrock(FakeServer[Reply]):
    """The server; start it with ``with`` or ``start()``. A stopped one starts again on the same port."""

    def route(self, request: Received) -> Handler:
        """Check a request; gives what answers it."""
        found = _PATH.fullmatch(request.raw_path)
        if not found:
            raise AwsError(404, "UnknownOperationException", "")
        check_credentials(request)
        model, operation = unquote(found[1]), found[2]
        if operation == "invoke":
            check_embedding(model, request.body)
            return lambda exchange, reply: self._embed(exchange, reply, model, request.body)
        check_converse(model, request.body)
        return lambda exchange, reply: self._converse(exchange, reply, request.body, operation)

    def default_reply(self) -> Reply:
        """The reply to a request that none is scripted for."""
        return Reply()

    def stamps(self, exchange: Exchange) -> Mapping[str, str]:
        """The headers of every answer."""
        return {"x-amzn-requestid": exchange.request_id}

    def scripted_error(self, reply: Reply) -> JSON:
        """The error that goes with the status of a scripted reply."""
        type_, message = _ERRORS.get(reply.status, _SERVER_ERROR)
        return {"type": type_, "message": message}

    def error_body(self, error: JSON, exchange: Exchange) -> JSON:
        """An error as the body of an answer, its type in a header; or as an exception of a stream."""
        exchange.stamps = lambda: {**self.stamps(exchange), "x-amzn-errortype": f"{error['type']}:http://amazon.com/"}
        return {"message": error["message"], **({"exception": error["type"]} if error["type"][0].islower() else {})}

    def event(self, data: JSON) -> bytes:
        """A message of an event stream."""
        if "exception" in data:
            return framed("exception", data["exception"], {"message": data["message"]})
        ((name, payload),) = data.items()
        return framed("event", name, {**payload, "p": "abcdefghij"})

    def last_event(self) -> bytes:
        """Nothing: a stream's last event is its metadata."""
        return b""

    async def send_events(self, exchange: Exchange, reply: Reply, events: Iterator[JSON]) -> None:
        """Send a stream."""
        headers = {"content-type": "application/vnd.amazon.eventstream", **reply.headers}
        await super().send_events(exchange, replace(reply, headers=headers), events)

    async def _converse(self, exchange: Exchange, reply: Reply, body: JSON, operation: str) -> None:
        message = _Message(body, reply, f"{self.next_id():022d}")
        if operation == "converse-stream":
            await self.send_events(exchange, reply, message.events())
        else:
            await self.send_body(exchange, reply, message.whole(exchange.milliseconds))

    async def _embed(self, exchange: Exchange, reply: Reply, model: str, body: JSON) -> None:
        texts = body["texts"] if model.startswith("cohere.") else [body["inputText"]]
        vectors = [_vector(text, body.get("dimensions", 1024)) for text in texts]
        count = sum(len(text.split()) for text in texts)
        headers = {"x-amzn-bedrock-input-token-count": str(count), **reply.headers}
        answered: JSON = {"embedding": vectors[0], "inputTextTokenCount": count}
        if model.startswith("cohere."):
            answered = {"id": exchange.request_id, "texts": texts, "embeddings": vectors}
            answered["response_type"] = "embeddings_floats"
        await self.send_body(exchange, replace(reply, headers=headers), answered)


class _Message:
    """The answer to one Converse request, whole or as a stream."""

    def __init__(self, body: JSON, reply: Reply, id_: str) -> None:
        self._id = id_
        self._reply = reply
        self._asked = _as_openai(body)
        given = answer(self._asked)
        text, calls, finish = given.text, given.tool_calls, given.finish_reason
        if reply.speaks:
            text = reply.text if reply.chunks is None else "".join(reply.chunks)
            calls, finish = reply.tool_calls, "tool_calls" if reply.tool_calls else "stop"
        self._blocks = list(self._content(text, calls))
        self._stop = reply.stop_reason or _STOP_REASONS[finish]

    def whole(self, milliseconds: int) -> JSON:
        """The message in one piece."""
        message = {"role": "assistant", "content": [_whole(block) for block in self._blocks]}
        end = {"stopReason": self._stop, "usage": self._usage(), "metrics": {"latencyMs": milliseconds}}
        return {"output": {"message": message}, **end}

    def events(self) -> Iterator[JSON]:
        """The events of the message."""
        yield {"messageStart": {"role": "assistant"}}
        for index, block in enumerate(self._blocks):
            at = {"contentBlockIndex": index}
            if "toolUse" in block:
                start = {name: block["toolUse"][name] for name in ("toolUseId", "name")}
                yield {"contentBlockStart": {**at, "start": {"toolUse": start}}}
            for delta in self._deltas(block):
                yield {"contentBlockDelta": {**at, "delta": delta}}
            yield {"contentBlockStop": at}
        yield {"messageStop": {"stopReason": self._stop}}
        yield {"metadata": {"usage": self._usage(), "metrics": {"latencyMs": 1}}}

    def _content(self, text: str | None, calls: Sequence[ToolCall]) -> Iterator[JSON]:
        if self._reply.reasoning:
            yield {"reasoningContent": {"reasoningText": {"text": self._reply.reasoning, "signature": _SIGNATURE}}}
        if text:
            yield {"text": text}
        for place, call in enumerate(calls):
            id_ = call.id or f"tooluse_{self._id[-19:]}{place:03d}"
            yield {"toolUse": {"toolUseId": id_, "name": call.name, "input": call.text}}

    def _deltas(self, block: JSON) -> Iterator[JSON]:
        if "toolUse" in block:
            yield from ({"toolUse": {"input": piece}} for piece in ("", *fragments_of(block["toolUse"]["input"])))
        elif "text" in block:
            yield from ({"text": piece} for piece in self._reply.chunks or pieces_of(block["text"]))
        else:
            yield {"reasoningContent": {"text": block["reasoningContent"]["reasoningText"]["text"]}}
            yield {"reasoningContent": {"signature": _SIGNATURE}}

    def _usage(self) -> JSON:
        """The words of the request and the answer, under Bedrock's names."""
        read = sum(len(message_text(message).split()) for message in self._asked["messages"])
        said = sum(len(orjson.dumps(block).split()) for block in self._blocks)
        counted = {"inputTokens": read, "outputTokens": said, "cacheReadInputTokens": 0, "cacheWriteInputTokens": 0}
        usage = merged(counted, self._reply.usage or {})
        return {"totalTokens": sum(usage.values()), **usage}


def _whole(block: JSON) -> JSON:
    if "toolUse" not in block:
        return block
    return {"toolUse": {**block["toolUse"], "input": orjson.loads(block["toolUse"]["input"])}}


def _vector(text: str, size: int) -> list[float]:
    return list(struct.unpack(f"<{size}f", vector_of(text, size)))


def _as_openai(body: JSON) -> JSON:
    """A request as OpenAI's, as far as the obedient model looks at it."""
    system = [{"role": "system", "content": block["text"]} for block in body.get("system") or () if "text" in block]
    turns = [turn for message in body["messages"] for turn in _turns(message)]
    limits = body.get("inferenceConfig") or {}
    asked: JSON = {"messages": [*system, *turns], "max_tokens": limits.get("maxTokens")}
    asked["stop"] = limits.get("stopSequences")
    config = body.get("toolConfig") or {}
    specs = [tool["toolSpec"] for tool in config.get("tools", ()) if "toolSpec" in tool]
    if specs:
        asked["tools"] = [{"type": "function", "function": _function(spec)} for spec in specs]
    choice = config.get("toolChoice") or {"auto": {}}
    named = {"type": "function", "function": choice.get("tool", {})}
    asked["tool_choice"] = named if "tool" in choice else "required" if "any" in choice else "auto"
    return asked


def _function(spec: JSON) -> JSON:
    about = {"description": spec.get("description"), "strict": spec.get("strict")}
    return {"name": spec["name"], "parameters": spec["inputSchema"]["json"], **about}


def _turns(message: JSON) -> Iterator[JSON]:
    """A turn as OpenAI's, each tool result being one of its own."""
    rest: list[JSON] = []
    for block in message["content"]:
        if "toolResult" in block:
            yield {"role": "tool", "content": _parts(block["toolResult"]["content"])}
        else:
            rest.append(block)
    if rest:
        yield {"role": message["role"], "content": _parts(rest)}


def _parts(blocks: Sequence[JSON]) -> list[JSON]:
    """The blocks that say something as OpenAI's parts."""
    kinds = {"image": "image_url", "document": "file"}
    said: list[JSON] = [{"type": kinds[kind]} for block in blocks for kind in kinds if kind in block]
    said += [{"type": "text", "text": orjson.dumps(block["json"]).decode()} for block in blocks if "json" in block]
    return [*({"type": "text", "text": block["text"]} for block in blocks if "text" in block), *said]


if __name__ == "__main__":
    run_as_script(FakeBedrock, "Serve Amazon Bedrock's API with an obedient model.")
