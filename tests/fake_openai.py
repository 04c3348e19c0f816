"""An OpenAI upstream for tests: a real HTTP server on 127.0.0.1 that speaks OpenAI's wire format.

    with FakeOpenAI() as upstream:
        upstream.enqueue(Reply(content="Hi"), Reply(status=429, headers={"retry-after": "1"}))
        client = openai.OpenAI(base_url=upstream.url, api_key="sk-test")

Requests are checked as strictly as OpenAI checks them; scripted replies go, in order, to the requests that
pass; without a script an obedient, deterministic model answers. ``python tests/fake_openai.py --port 8001``
runs it as a process of its own.
"""

from __future__ import annotations

import base64
import itertools
import struct
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

if __package__ in (None, ""):
    # Run as a script, only this folder is importable, not the package it is.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.fake_openai_audio import form_of, spoken, spoken_events, written, written_events
from tests.fake_openai_rules import ApiError, check_chat, check_completion, check_embedding, check_key, check_model
from tests.fake_openai_rules import inputs_of as texts_of
from tests.fake_openai_schema import (
    JSON,
    Answer,
    ToolCall,
    answer,
    fragments_of,
    legacy_logprobs_of,
    limited,
    logprobs_of,
    merged,
    message_text,
    pieces_of,
    reply_to,
    shares_of,
    suffix_of,
    usage_of,
    vector_of,
)
from tests.fake_server import Delivery, Exchange, FakeServer, Received, run_as_script

__all__ = ["MODELS", "FakeOpenAI", "Received", "Reply", "ToolCall"]

MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "o3-mini", "fake-model", "text-embedding-3-small")
FINGERPRINT = "fp_fa4e0fa4e0"
_DATED_MODELS = {"gpt-4o": "gpt-4o-2024-08-06"}
_SERVER_ERROR = ("The server had an error while processing your request. Sorry about that!", "server_error", None)
_ERRORS: dict[int, tuple[str, str, str | None]] = {
    400: ("The request is invalid.", "invalid_request_error", None),
    401: ("Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
    403: ("You are not allowed to sample from this model.", "invalid_request_error", "permission_denied"),
    404: ("The model does not exist or you do not have access to it.", "invalid_request_error", "model_not_found"),
    408: ("Request timed out.", "timeout", "timeout"),
    409: ("The resource was updated by another request.", "invalid_request_error", "conflict"),
    413: ("The request is too large.", "invalid_request_error", "request_too_large"),
    422: ("The request could not be processed.", "invalid_request_error", "unprocessable_entity"),
    429: ("Rate limit reached for requests. Please try again later.", "requests", "rate_limit_exceeded"),
    503: ("The engine is currently overloaded, please try again later.", "service_unavailable", None),
}

Delta = tuple[JSON, JSON | None]


@dataclass(frozen=True)
class Reply(Delivery):
    """A scripted reply; with no content, chunks, tool_calls or refusal the default rules make the answer."""

    content: str | None = None
    chunks: Sequence[str] | None = None
    """The exact pieces of the stream; by default the words of the content."""
    tool_calls: Sequence[ToolCall] = ()
    """Several are parallel calls."""
    reasoning: str | None = None
    """Sent as ``reasoning_content``, in a stream before the content."""
    refusal: str | None = None
    finish_reason: str | None = None
    usage: JSON | None = None
    """Merged, at every depth, over the counted usage."""
    system_fingerprint: str | None = FINGERPRINT
    """Left out when None, as is ``service_tier``."""
    service_tier: str | None = "default"
    logprobs: JSON | None = None
    annotations: Sequence[JSON] = ()
    extra: JSON = field(default_factory=dict)
    """Merged into the message, in a stream into the delta of the finish chunk; elsewhere into the body."""

    @property
    def speaks(self) -> bool:
        """Tell whether the script says what the model answers."""
        return bool(self.tool_calls) or (self.content, self.chunks, self.refusal) != (None, None, None)


Handler = Callable[[Exchange, Reply], Awaitable[None]]
_SPEECH, _TRANSCRIPTION = "/v1/audio/speech", "/v1/audio/transcriptions"


class FakeOpenAI(FakeServer[Reply]):
    """The server; start it with ``with`` or ``start()``. A stopped one starts again on the same port."""

    @property
    def url(self) -> str:
        """The base URL that an OpenAI client is given."""
        return f"{super().url}/v1"

    def route(self, request: Received) -> Handler:
        """Check a request; gives what answers it."""
        if request.path.startswith("/v1/"):
            check_key(request.headers)
        routes: dict[str, tuple[Callable[[JSON], None], Callable[[JSON, Reply, str], _Answering]]] = {
            "/v1/chat/completions": (check_chat, _ChatAnswering),
            "/v1/completions": (check_completion, _CompletionAnswering),
        }
        known = (*routes, "/v1/embeddings", "/v1/models", _SPEECH, _TRANSCRIPTION)
        if request.path not in known and not request.path.startswith("/v1/models/"):
            raise ApiError(f"Invalid URL ({request.method} {request.path})", status=404, code="unknown_url")
        if request.method != ("GET" if request.path.startswith("/v1/models") else "POST"):
            message = f"Not allowed to {request.method} on {request.path}."
            raise ApiError(message, status=405, code="method_not_supported")
        if request.method == "GET":
            models = _models_body(request.path)
            return lambda exchange, reply: self.send_body(exchange, reply, models)
        if request.path == _TRANSCRIPTION:
            return self._writer(request)
        if request.path == _SPEECH:
            sound, kind = spoken(request.body)
            if request.body.get("stream_format") == "sse":
                return lambda exchange, reply: self.send_events(exchange, reply, spoken_events(sound))
            return _speaker(sound, kind)
        body = _json_object(request.body)
        if request.path == "/v1/embeddings":
            check_embedding(body)
            return lambda exchange, reply: self.send_body(exchange, reply, _embeddings_body(body, reply))
        check, answering = routes[request.path]
        check(body)
        return self._completer(body, answering)

    def default_reply(self) -> Reply:
        """The reply to a request that none is scripted for."""
        return Reply()

    def stamps(self, exchange: Exchange) -> Mapping[str, str]:
        """The headers of every answer."""
        return {"x-request-id": exchange.request_id, "openai-processing-ms": str(exchange.milliseconds)}

    def scripted_error(self, reply: Reply) -> JSON:
        """The error that goes with the status of a scripted reply."""
        message, type_, code = _ERRORS.get(reply.status, _SERVER_ERROR)
        return {"message": message, "type": type_, "param": None, "code": code}

    def error_body(self, error: JSON, exchange: Exchange) -> JSON:
        """An error as the body of an answer or as the data of an event."""
        return {"error": error}

    def event(self, data: JSON) -> bytes:
        """A server-sent event."""
        return b"data: " + orjson.dumps(data) + b"\n\n"

    def last_event(self) -> bytes:
        """The event that ends a whole stream."""
        return b"data: [DONE]\n\n"

    def _writer(self, request: Received) -> Handler:
        words = written(request)
        if isinstance(words, str):
            text = words.encode()
            return lambda exchange, reply: exchange.respond(200, {"content-type": "text/plain; charset=utf-8"}, text)
        if form_of(request).get("stream") == b"true":
            return lambda exchange, reply: self.send_events(exchange, reply, written_events(words))
        return lambda exchange, reply: self.send_body(exchange, reply, words | reply.extra)

    def _completer(self, body: JSON, make: Callable[[JSON, Reply, str], _Answering]) -> Handler:
        async def complete(exchange: Exchange, reply: Reply) -> None:
            answering = make(body, reply, f"{self.next_id():024x}")
            if body.get("stream"):
                await self.send_events(exchange, reply, answering.events())
            else:
                await self.send_body(exchange, reply, answering.whole())

        return complete


def _speaker(sound: bytes, kind: str) -> Handler:
    async def speak(exchange: Exchange, reply: Reply) -> None:
        await exchange.respond(reply.status, {"content-type": kind, **reply.headers}, sound)

    return speak


@dataclass(frozen=True)
class _Choice:
    """One choice of a chat answer."""

    index: int
    text: str | None
    pieces: Sequence[str]
    calls: Sequence[ToolCall]
    finish_reason: str
    logprobs: JSON | None
    reply: Reply

    def message(self) -> JSON:
        """The choice as a whole message."""
        message: JSON = {"role": "assistant", "content": self.text, "refusal": self.reply.refusal}
        if self.reply.reasoning is not None:
            message["reasoning_content"] = self.reply.reasoning
        if self.calls:
            message["tool_calls"] = [_call_body(call, call.text) for call in self.calls]
        return {**message, "annotations": list(self.reply.annotations), **self.reply.extra}

    def deltas(self) -> Iterator[Delta]:
        """The choice as deltas with their logprobs, all but the finish."""
        content = "" if self.text is not None else None
        yield {"role": "assistant", "content": content, "refusal": None}, None
        for piece in pieces_of(self.reply.reasoning or ""):
            yield {"reasoning_content": piece}, None
        shares = shares_of(self.logprobs, self.pieces)
        yield from (({"content": piece}, share) for piece, share in zip(self.pieces, shares, strict=True))
        for piece in pieces_of(self.reply.refusal or ""):
            yield {"refusal": piece}, None
        for index, call in enumerate(self.calls):
            yield {"tool_calls": [{"index": index, **_call_body(call, "")}]}, None
            for fragment in fragments_of(call.text):
                yield {"tool_calls": [{"index": index, "function": {"arguments": fragment}}]}, None
        if self.reply.annotations:
            yield {"annotations": list(self.reply.annotations)}, None


class _Answering:
    """Builds the bodies that answer one completion request."""

    kind: str
    chunk_kind: str

    def __init__(self, body: JSON, reply: Reply, id_: str) -> None:
        self.body = body
        self.reply = reply
        self.head: JSON = {"id": id_, "created": int(time.time()), "model": _served_model(body["model"])}
        if reply.system_fingerprint is not None:
            self.head["system_fingerprint"] = reply.system_fingerprint

    def whole(self) -> JSON:
        """The answer in one piece."""
        return {**self.head, "object": self.kind, "choices": self.choices(), "usage": self.usage()}

    def events(self) -> Iterator[JSON]:
        """The answer as stream chunks, the choices interleaved."""
        wants_usage = (self.body.get("stream_options") or {}).get("include_usage")
        head: JSON = {**self.head, "object": self.chunk_kind, **({"usage": None} if wants_usage else {})}
        for turn in itertools.zip_longest(*self.streams()):
            for choice in turn:
                if choice is not None:
                    yield {**head, "choices": [choice]}
        if wants_usage:
            yield {**head, "choices": [], "usage": self.usage()}

    def choices(self) -> list[JSON]:
        """The choices of the whole answer."""
        raise NotImplementedError

    def streams(self) -> list[Iterator[JSON]]:
        """For each choice, its entries in the chunks of a stream."""
        raise NotImplementedError

    def usage(self) -> JSON:
        """The tokens of the request and the answer."""
        raise NotImplementedError


class _ChatAnswering(_Answering):
    kind = "chat.completion"
    chunk_kind = "chat.completion.chunk"

    def __init__(self, body: JSON, reply: Reply, id_: str) -> None:
        super().__init__(body, reply, f"chatcmpl-{id_}")
        if reply.service_tier is not None:
            self.head["service_tier"] = reply.service_tier
        self._choices = [self._choice(index) for index in range(body.get("n") or 1)]

    def choices(self) -> list[JSON]:
        """The choices of the whole answer."""
        return [
            {"index": one.index, "message": one.message(), "logprobs": one.logprobs, "finish_reason": one.finish_reason}
            for one in self._choices
        ]

    def streams(self) -> list[Iterator[JSON]]:
        """For each choice, its entries in the chunks of a stream."""
        return [self._stream(choice) for choice in self._choices]

    def usage(self) -> JSON:
        """The words of the messages and of the choices, under OpenAI's names."""
        reasoning = len((self.reply.reasoning or "").split()) * len(self._choices)
        said = sum(_words_said(choice) for choice in self._choices)
        prompt = sum(len(message_text(message).split()) for message in self.body["messages"])
        return usage_of(prompt, said + reasoning, reasoning, self.reply.usage)

    def _stream(self, choice: _Choice) -> Iterator[JSON]:
        for delta, logprobs in choice.deltas():
            yield {"index": choice.index, "delta": delta, "logprobs": logprobs, "finish_reason": None}
        end: JSON = {"index": choice.index, "delta": dict(self.reply.extra), "logprobs": None}
        yield {**end, "finish_reason": choice.finish_reason}

    def _choice(self, index: int) -> _Choice:
        reply = self.reply
        given = _scripted(reply, index) if reply.speaks else answer(self.body, index)
        pieces = pieces_of(given.text or "")
        if reply.chunks is not None:
            pieces = [*reply.chunks, *([suffix_of(index)] if index else [])]
        calls = [
            ToolCall(call.name, call.arguments, call.id or f"call_{self.head['id'][-18:]}{index:03d}{place:03d}")
            for place, call in enumerate(given.tool_calls)
        ]
        logprobs = reply.logprobs
        if logprobs is None and self.body.get("logprobs"):
            logprobs = logprobs_of(given.text or "", self.body.get("top_logprobs") or 0)
        finish = reply.finish_reason or given.finish_reason
        return _Choice(index, given.text, pieces, calls, finish, logprobs, reply)


class _CompletionAnswering(_Answering):
    kind = chunk_kind = "text_completion"

    def __init__(self, body: JSON, reply: Reply, id_: str) -> None:
        super().__init__(body, reply, f"cmpl-{id_}")
        self._prompts = texts_of(body["prompt"]) if body["prompt"] is not None else [""]
        count = body.get("n") or 1
        self._texts = [self._text(prompt, index) for prompt in self._prompts for index in range(count)]

    def choices(self) -> list[JSON]:
        """The choices of the whole answer: n for each prompt."""
        return [self._entry(index, text, finish) for index, (text, finish) in enumerate(self._texts)]

    def streams(self) -> list[Iterator[JSON]]:
        """For each choice, its entries in the chunks of a stream."""
        return [self._stream(index, text, finish) for index, (text, finish) in enumerate(self._texts)]

    def usage(self) -> JSON:
        """The words of the prompts and of the choices."""
        said = sum(len(text.split()) for text, _ in self._texts)
        return usage_of(sum(len(prompt.split()) for prompt in self._prompts), said, 0, self.reply.usage)

    def _text(self, prompt: str, index: int) -> tuple[str, str]:
        if self.reply.speaks:
            scripted = _scripted(self.reply, index)
            text, finish = scripted.text or "", "stop"
        else:
            text = reply_to(prompt) + suffix_of(index)
            text, finish = limited(text, self.body.get("stop"), self.body.get("max_tokens"))
        return (prompt + text if self.body.get("echo") else text), self.reply.finish_reason or finish

    def _stream(self, index: int, text: str, finish: str) -> Iterator[JSON]:
        chunks = self.reply.chunks
        for piece in pieces_of(text) if chunks is None or "".join(chunks) != text else chunks:
            yield self._entry(index, piece, None)
        yield {**self._entry(index, "", finish), "logprobs": None}

    def _entry(self, index: int, text: str, finish: str | None) -> JSON:
        top = self.body.get("logprobs")
        logprobs = self.reply.logprobs
        if logprobs is None and top is not None:
            logprobs = legacy_logprobs_of(text, top)
        return {"text": text, "index": index, "logprobs": logprobs, "finish_reason": finish}


def _json_object(body: Any) -> JSON:
    """The body if it is a JSON object."""
    if isinstance(body, dict):
        return body
    raise ApiError("We could not parse the JSON body of your request. The API expects a JSON payload.")


def _models_body(path: str) -> JSON:
    """The list of models, or one of them."""
    name = path.removeprefix("/v1/models").removeprefix("/")
    if not name:
        return {"object": "list", "data": [_model_body(model) for model in MODELS]}
    check_model(name, "model")
    return _model_body(name)


def _model_body(model: str) -> JSON:
    return {"id": model, "object": "model", "created": 1_715_367_049, "owned_by": "system"}


def _served_model(model: str) -> str:
    """The name that answers carry: a dated one for an alias."""
    return _DATED_MODELS.get(model, model)


def _call_body(call: ToolCall, arguments: str) -> JSON:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _scripted(reply: Reply, index: int) -> Answer:
    """What a script says in one choice."""
    text = reply.content
    if text is None and reply.chunks is not None:
        text = "".join(reply.chunks)
    finish = "tool_calls" if reply.tool_calls else "stop"
    return Answer(text if text is None else text + suffix_of(index), finish, reply.tool_calls)


def _words_said(choice: _Choice) -> int:
    """The words of a choice but for its reasoning."""
    calls = (f"{call.name} {call.text}" for call in choice.calls)
    return len(" ".join((choice.text or "", choice.reply.refusal or "", *calls)).split())


def _embeddings_body(body: JSON, reply: Reply) -> JSON:
    """The vectors of an embeddings request."""
    texts = texts_of(body["input"])
    as_text = body.get("encoding_format") == "base64"
    data: list[JSON] = []
    for index, text in enumerate(texts):
        packed = vector_of(text, body.get("dimensions", 8))
        vector = base64.b64encode(packed).decode() if as_text else struct.unpack(f"<{len(packed) // 4}f", packed)
        data.append({"object": "embedding", "index": index, "embedding": vector})
    tokens = sum(len(text.split()) for text in texts)
    usage = merged({"prompt_tokens": tokens, "total_tokens": tokens}, reply.usage or {})
    return {"object": "list", "data": data, "model": body["model"], "usage": usage, **reply.extra}


if __name__ == "__main__":
    run_as_script(FakeOpenAI, "Serve OpenAI's API with an obedient model.")
