"""An Anthropic upstream for tests: a real HTTP server on 127.0.0.1 that speaks Anthropic's Messages API.

    with FakeAnthropic() as upstream:
        upstream.enqueue(Reply(text="Hi", thinking="A greeting."), Reply(status=529))
        httpx.post(upstream.url + "/v1/messages", headers={"x-api-key": "sk-ant", "anthropic-version": "2023-06-01"}, …)

Requests are checked as strictly as Anthropic checks them; scripted replies go, in order, to the requests that
pass; without a script an obedient, deterministic model answers as that of the OpenAI double does, and thinks where
it is asked to. ``python tests/fake_anthropic.py --port 8002`` runs it as a process of its own.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

if __package__ in (None, ""):
    # Run as a script, only this folder is importable, not the package it is.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.fake_anthropic_rules import (
    MODELS,
    ApiError,
    blocks_of,
    check_key,
    check_message,
    check_model,
    is_thinking,
    output_format,
)
from tests.fake_openai_schema import (
    ToolCall,
    answer,
    fragments_of,
    last_user_text,
    limited,
    merged,
    message_text,
    pieces_of,
)
from tests.fake_server import JSON, Delivery, Exchange, FakeServer, Received, run_as_script

__all__ = ["MODELS", "FakeAnthropic", "Received", "Reply", "ToolCall"]

_KEY = b"the server's own"
_ERRORS = {
    400: ("invalid_request_error", "The request is invalid."),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "Your credit balance is too low to access the Anthropic API."),
    403: ("permission_error", "Your API key does not have permission to use the specified resource."),
    404: ("not_found_error", "Not found"),
    408: ("timeout_error", "Request timed out"),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: ("rate_limit_error", "This request would exceed your organization's rate limit. Please try again later."),
    500: ("api_error", "Internal server error"),
    504: ("timeout_error", "The request timed out while processing."),
    529: ("overloaded_error", "Overloaded"),
}
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_THOUGHTS = ("thinking", "redacted_thinking")
_STOP_REASONS = {"length": "max_tokens", "stop": "end_turn", "tool_calls": "tool_use"}


@dataclass(frozen=True)
class Reply(Delivery):
    """A scripted reply; with no text, chunks, tool_calls or blocks the default rules make the answer."""

    text: str | None = None
    """Empty, there is no text block."""
    chunks: Sequence[str] | None = None
    """The exact pieces of the stream; by default the words of the text."""
    tool_calls: Sequence[ToolCall] = ()
    thinking: str | None = None
    """By default the model thinks where the request asks it to; empty, it does not."""
    signature: str | None = None
    """That of the thinking; by default the server signs it. Either is accepted when it comes back."""
    redacted_thinking: Sequence[str] = ()
    """The data of as many blocks, which come after the thinking."""
    citations: Sequence[JSON] = ()
    """Those of the text block."""
    blocks: Sequence[JSON] | None = None
    """The exact content, instead of all the above."""
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: JSON | None = None
    """Merged, at every depth, over the counted usage."""
    extra: JSON = field(default_factory=dict)
    """Merged into the message; in a stream, into the delta of its end."""

    @property
    def speaks(self) -> bool:
        """Tell whether the script says what the model answers."""
        return bool(self.tool_calls) or (self.text, self.chunks, self.blocks) != (None, None, None)


Handler = Callable[[Exchange, Reply], Awaitable[None]]


class FakeAnthropic(FakeServer[Reply]):
    """The server; start it with ``with`` or ``start()``. A stopped one starts again on the same port."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(port)
        self._proofs: set[tuple[str, str]] = set()

    def route(self, request: Received) -> Handler:
        """Check a request; gives what answers it."""
        is_models = request.path == "/v1/models" or request.path.startswith("/v1/models/")
        if request.path != "/v1/messages" and not is_models:
            raise ApiError("Not found", status=404, type_="not_found_error")
        if request.method != ("GET" if is_models else "POST"):
            raise ApiError("Method Not Allowed", status=405)
        check_key(request.headers)
        if is_models:
            models = _models_body(request.path)
            return lambda exchange, reply: self.send_body(exchange, reply, models)
        if not isinstance(request.body, dict):
            raise ApiError("The request body is not valid JSON")
        check_message(request.body, request.headers, self._is_genuine)
        return lambda exchange, reply: self._answer(exchange, reply, request.body)

    def default_reply(self) -> Reply:
        """The reply to a request that none is scripted for."""
        return Reply()

    def stamps(self, exchange: Exchange) -> Mapping[str, str]:
        """The headers of every answer."""
        return {
            "request-id": exchange.request_id,
            "anthropic-organization-id": "00000000-0000-4000-8000-000000000000",
        }

    def scripted_error(self, reply: Reply) -> JSON:
        """The error that goes with the status of a scripted reply."""
        type_, message = _ERRORS.get(reply.status, _ERRORS[500])
        return {"type": type_, "message": message}

    def error_body(self, error: JSON, exchange: Exchange) -> JSON:
        """An error as the body of an answer or as the data of an event."""
        return {"type": "error", "error": error, "request_id": exchange.request_id}

    def event(self, data: JSON) -> bytes:
        """A server-sent event."""
        return b"event: %b\ndata: %b\n\n" % (data["type"].encode(), orjson.dumps(data))

    def last_event(self) -> bytes:
        """The event that ends a whole stream."""
        return self.event({"type": "message_stop"})

    async def _answer(self, exchange: Exchange, reply: Reply, body: JSON) -> None:
        message = _Message(body, reply, f"{self.next_id():024d}")
        self._proofs |= {_proof(block) for block in message.blocks if block["type"] in _THOUGHTS}
        if body.get("stream"):
            await self.send_events(exchange, reply, message.events())
        else:
            await self.send_body(exchange, reply, message.whole())

    def _is_genuine(self, block: JSON) -> bool:
        """Tell whether a thinking block is one that this server gave out, or would."""
        own = block["type"] == "thinking" and hmac.compare_digest(block["signature"], _signature(block["thinking"]))
        return own or _proof(block) in self._proofs


def _proof(block: JSON) -> tuple[str, str]:
    """What of a thinking block must come back unchanged."""
    return (block["thinking"], block["signature"]) if block["type"] == "thinking" else ("", block["data"])


def _signature(thinking: str) -> str:
    return base64.b64encode(hmac.digest(_KEY, thinking.encode(), hashlib.sha512)).decode()


class _Message:
    """The answer to one request, whole or as a stream."""

    def __init__(self, body: JSON, reply: Reply, id_: str) -> None:
        self._id = id_
        self._body = body
        self._reply = reply
        self._asked = _as_openai(body)
        self._stop: tuple[str, str | None] = ("end_turn", None)
        self.blocks = list(self._content() if reply.blocks is None else reply.blocks)
        self._stop = (reply.stop_reason or self._stop[0], reply.stop_sequence or self._stop[1])

    def whole(self) -> JSON:
        """The message in one piece."""
        return {**self._head([_whole(block) for block in self.blocks]), **self._end(), "usage": self._usage()}

    def events(self) -> Iterator[JSON]:
        """The events of the message, all but the last."""
        usage = self._usage()
        unsaid = {"stop_reason": None, "stop_sequence": None, "usage": {**usage, "output_tokens": 1}}
        yield {"type": "message_start", "message": {**self._head([]), **unsaid}}
        for index, block in enumerate(self.blocks):
            yield {"type": "content_block_start", "index": index, "content_block": _opening(block)}
            if index == 0:
                yield {"type": "ping"}
            for delta in self._deltas(block):
                yield {"type": "content_block_delta", "index": index, "delta": delta}
            yield {"type": "content_block_stop", "index": index}
        counted = {name: count for name, count in usage.items() if name.endswith("_tokens")}
        details = {name: usage[name] for name in ("output_tokens_details", "server_tool_use") if name in usage}
        yield {"type": "message_delta", "delta": self._end(), "usage": {**counted, **details}}

    def _head(self, content: list[JSON]) -> JSON:
        model = MODELS[self._body["model"]].id
        return {"model": model, "id": f"msg_01{self._id}", "type": "message", "role": "assistant", "content": content}

    def _end(self) -> JSON:
        return {"stop_reason": self._stop[0], "stop_sequence": self._stop[1], **self._reply.extra}

    def _content(self) -> Iterator[JSON]:
        yield from self._thoughts()
        text, calls = self._scripted() if self._reply.speaks else self._obedient()
        if text:
            cited = {"citations": list(self._reply.citations)} if self._reply.citations else {}
            yield {"type": "text", "text": text, **cited}
        for place, call in enumerate(calls):
            id_ = call.id or f"toolu_01{self._id[-19:]}{place:03d}"
            yield {
                "type": "tool_use",
                "id": id_,
                "name": call.name,
                "input": call.arguments,
                "caller": {"type": "direct"},
            }

    def _thoughts(self) -> Iterator[JSON]:
        thinking = self._reply.thinking
        if thinking is None:
            thinking = f"The user says: {last_user_text(self._asked)}" if self._begins_to_think() else ""
        if thinking:
            shown = "" if (self._body.get("thinking") or {}).get("display") == "omitted" else thinking
            yield {"type": "thinking", "thinking": shown, "signature": self._reply.signature or _signature(shown)}
        for data in self._reply.redacted_thinking:
            yield {"type": "redacted_thinking", "data": data}

    def _begins_to_think(self) -> bool:
        """Tell whether the model is asked to think and has not done so before its calls."""
        return is_thinking(self._body) and self._asked["messages"][-1]["role"] == "user"

    def _scripted(self) -> tuple[str, Sequence[ToolCall]]:
        reply = self._reply
        self._stop = ("tool_use" if reply.tool_calls else "end_turn", None)
        return reply.text if reply.text is not None else "".join(reply.chunks or ()), reply.tool_calls

    def _obedient(self) -> tuple[str, Sequence[ToolCall]]:
        given = answer(self._asked)
        stops = self._body.get("stop_sequences") or []
        text, finish = limited(given.text or "", stops, self._body["max_tokens"])
        if given.tool_calls:
            finish = given.finish_reason
        met = [stop for stop in stops if stop in (given.text or "")]
        if met and finish == "stop":
            self._stop = ("stop_sequence", min(met, key=(given.text or "").index))
        else:
            self._stop = (_STOP_REASONS[finish], None)
        return text, given.tool_calls

    def _deltas(self, block: JSON) -> Iterator[JSON]:
        if block["type"] == "text":
            for piece in self._reply.chunks or pieces_of(block["text"]):
                yield {"type": "text_delta", "text": piece}
            for citation in block.get("citations") or ():
                yield {"type": "citations_delta", "citation": citation}
        if block["type"] == "thinking":
            for piece in pieces_of(block["thinking"]):
                yield {"type": "thinking_delta", "thinking": piece}
            yield {"type": "signature_delta", "signature": block["signature"]}
        if block["type"] in ("tool_use", "server_tool_use"):
            for piece in ("", *fragments_of(_input_text(block["input"]))):
                yield {"type": "input_json_delta", "partial_json": piece}

    def _usage(self) -> JSON:
        """The words of the request and the answer, under Anthropic's names."""
        said = sum(len(_said(block).split()) for block in self.blocks)
        usage: JSON = {
            "input_tokens": sum(len(message_text(message).split()) for message in self._asked["messages"]),
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": said,
            "service_tier": "standard",
        }
        return merged(usage, self._reply.usage or {})


def _whole(block: JSON) -> JSON:
    """A block with its input read; what a script left unfinished is none."""
    if not isinstance(block.get("input"), str):
        return block
    try:
        return {**block, "input": orjson.loads(block["input"])}
    except orjson.JSONDecodeError:
        return {**block, "input": {}}


def _opening(block: JSON) -> JSON:
    """A block as its stream begins; what has no deltas is there at once."""
    empty: dict[str, JSON] = {
        "text": {"text": "", **({"citations": []} if "citations" in block else {})},
        "thinking": {"thinking": "", "signature": ""},
        "tool_use": {"input": {}},
        "server_tool_use": {"input": {}},
    }
    return {**block, **empty.get(block["type"], {})}


def _input_text(value: str | JSON) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _said(block: JSON) -> str:
    """The words of a block."""
    words = (block.get("text", ""), block.get("thinking", ""), block.get("name", ""))
    return " ".join((*words, _input_text(block["input"]) if "input" in block else ""))


def _as_openai(body: JSON) -> JSON:
    """A request as OpenAI's, as far as the obedient model looks at it."""
    system = [{"role": "system", "content": _parts(blocks_of(body["system"]))}] if body.get("system") else []
    turns = [turn for message in body["messages"] for turn in _turns(message)]
    asked: JSON = {"model": body["model"], "messages": [*system, *turns]}
    tools = [tool for tool in body.get("tools") or () if "input_schema" in tool]
    if tools:
        asked["tools"] = [{"type": "function", "function": _function(tool)} for tool in tools]
    choice = body.get("tool_choice") or {"type": "auto"}
    asked["tool_choice"] = _CHOICES.get(choice["type"]) or {"type": "function", "function": {"name": choice["name"]}}
    asked["parallel_tool_calls"] = not choice.get("disable_parallel_tool_use")
    if wanted := output_format(body):
        asked["response_format"] = {"type": "json_schema", "json_schema": {"schema": wanted["schema"], "strict": True}}
    return asked


def _turns(message: JSON) -> Iterator[JSON]:
    """A turn as OpenAI's, each tool result being one of its own."""
    rest: list[JSON] = []
    for block in blocks_of(message["content"]):
        if block["type"] == "tool_result":
            yield {"role": "tool", "content": _parts(blocks_of(block.get("content") or []))}
        else:
            rest.append(block)
    if rest or not message["content"]:
        yield {"role": message["role"], "content": _parts(rest)}


def _parts(blocks: Sequence[JSON]) -> list[JSON]:
    """The blocks that say something as OpenAI's parts."""
    kinds = {"image": "image_url", "document": "file", "container_upload": "file"}
    said = [block for block in blocks if block["type"] in ("text", "search_result", *kinds)]
    return [_part(block) if block["type"] not in kinds else {"type": kinds[block["type"]]} for block in said]


def _part(block: JSON) -> JSON:
    text = block["text"] if block["type"] == "text" else " ".join(part["text"] for part in block["content"])
    return {"type": "text", "text": text}


def _function(tool: JSON) -> JSON:
    about = {"description": tool.get("description"), "strict": tool.get("strict")}
    return {"name": tool["name"], "parameters": tool["input_schema"], **about}


def _models_body(path: str) -> JSON:
    """The list of models, or one of them."""
    name = path.removeprefix("/v1/models").removeprefix("/")
    if name:
        return _model_body(check_model(name).id)
    ids = list(dict.fromkeys(model.id for model in MODELS.values()))
    return {"data": [_model_body(one) for one in ids], "has_more": False, "first_id": ids[0], "last_id": ids[-1]}


def _model_body(id_: str) -> JSON:
    return {"type": "model", "id": id_, "display_name": id_.title(), "created_at": "2025-09-29T00:00:00Z"}


if __name__ == "__main__":
    run_as_script(FakeAnthropic, "Serve Anthropic's Messages API with an obedient model.")
