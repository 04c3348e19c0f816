"""An Ollama upstream for tests: a real HTTP server on 127.0.0.1 that speaks Ollama's own API, and OpenAI's a little.

    with FakeOllama() as upstream:
        upstream.enqueue(Reply(text="Hi", thinking="A greeting."), Reply(status=503))
        httpx.post(upstream.url + "/api/chat", json={"model": "llama3.2", "messages": […], "stream": False})

Requests are checked as Ollama checks them: it minds the types of fields and passes over those that it does not know.
Scripted replies go, in order, to the requests that pass; without a script an obedient, deterministic model answers as
that of the OpenAI double does. ``python tests/fake_ollama.py --port 8004`` runs it as a process of its own.
"""

from __future__ import annotations

import struct
import sys
import weakref
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import orjson

if __package__ in (None, ""):
    # Run as a script, only this folder is importable, not the package it is.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests import fake_ollama_openai as openais
from tests.fake_ollama_rules import MODELS, ApiError, check_chat, check_model, check_shape, full_name
from tests.fake_openai_schema import ToolCall, answer, last_user_text, message_text, pieces_of, vector_of
from tests.fake_server import JSON, Delivery, Exchange, FakeServer, Received, run_as_script

__all__ = ["MODELS", "FakeOllama", "Received", "Reply", "ToolCall"]

SIZE = 8
"""Dimensions of the embeddings."""
_CREATED = "2026-01-02T03:04:05.678901Z"
_ERRORS = {
    400: "model is required",
    401: "unauthorized",
    404: "model not found",
    429: "you've reached your hourly usage limit, please upgrade to continue",
    503: "server busy, please try again.  maximum pending requests exceeded",
}


@dataclass(frozen=True)
class Reply(Delivery):
    """A scripted reply; with no text, chunks or tool_calls the default rules make the answer."""

    text: str | None = None
    chunks: Sequence[str] | None = None
    """The exact pieces of the stream; by default the words of the text."""
    tool_calls: Sequence[ToolCall] = ()
    calls_at_end: bool = False
    """In a stream: all of them in its last object, as models send them whose template llama.cpp reads."""
    thinking: str | None = None
    """By default a model that can think does so unless it is told not to; empty, it does not."""
    done_reason: str | None = None
    """Why a scripted answer ends; by default it is whole."""
    metrics: JSON | None = None
    """Merged over the counts and durations of the end; what is None is left out."""
    extra: JSON = field(default_factory=dict)
    """Merged into the message; in a stream, into that of the end."""

    @property
    def speaks(self) -> bool:
        """Tell whether the script says what the model answers."""
        return bool(self.tool_calls) or (self.text, self.chunks) != (None, None)


Handler = Callable[[Exchange, Reply], Awaitable[None]]


class FakeOllama(FakeServer[Reply]):
    """The server; start it with ``with`` or ``start()``. A stopped one starts again on the same port.

    Args:
        key: the only key that it takes, as ollama.com does; None: it asks for none, as on a machine of one's own.
        port: the port on 127.0.0.1; a free one by default.
    """

    def __init__(self, key: str | None = None, port: int = 0) -> None:
        super().__init__(port)
        self._key = key
        self._as_openai: weakref.WeakSet[Exchange] = weakref.WeakSet()
        self.lookups: list[Received] = []
        """Requests about the models and the server, which are neither in ``requests`` nor answered by the script."""

    def reset(self) -> None:
        """Forget the requests and the replies still scripted; the counters go on."""
        super().reset()
        self.lookups.clear()

    def route(self, request: Received) -> Handler:
        """Check a request; gives what answers it."""
        if self._key is not None and request.headers.get("authorization") != f"Bearer {self._key}":
            raise ApiError("unauthorized", 401)
        posts: dict[str, Callable[[JSON], Handler]] = {
            "/api/chat": self._chat,
            "/api/embed": self._embed,
            "/api/show": self._show,
            openais.CHAT: self._openais_chat,
            openais.EMBEDDINGS: self._openais_embed,
        }
        gets: dict[str, Callable[[], JSON]] = {"/api/tags": _tags, "/api/version": lambda: {"version": "0.20.4"}}
        if request.path not in (*posts, *gets):
            raise ApiError("404 page not found", 404)
        if request.method != ("POST" if request.path in posts else "GET"):
            raise ApiError("405 method not allowed", 405)
        if request.path in gets:
            return self._body(gets[request.path]())
        if not isinstance(request.body, dict):
            raise ApiError("missing request body" if request.body == b"" else "invalid character in request body")
        return posts[request.path](request.body)

    def default_reply(self) -> Reply:
        """The reply to a request that none is scripted for."""
        return Reply()

    def stamps(self, exchange: Exchange) -> Mapping[str, str]:
        """The headers of every answer."""
        return {}

    def scripted_error(self, reply: Reply) -> JSON:
        """The error that goes with the status of a scripted reply."""
        message = _ERRORS.get(reply.status, "an error was encountered while running the model")
        return {"message": message, "status": reply.status}

    def error_body(self, error: JSON, exchange: Exchange) -> JSON:
        """An error as the body of an answer or as a line of a stream."""
        if exchange in self._as_openai:
            return openais.error(error["message"], error.get("status", 500))
        return {"error": error["message"]}

    def event(self, data: JSON) -> bytes:
        """A line of a stream, or an event of one in OpenAI's format."""
        if "object" in data:
            return b"data: " + (b"[DONE]" if data is openais.DONE else orjson.dumps(data)) + b"\n\n"
        return orjson.dumps(data) + b"\n"

    def last_event(self) -> bytes:
        """Nothing: the object that says "done" is the last one of the answer."""
        return b""

    async def _respond(self, exchange: Exchange, request: Received) -> None:
        if request.path.startswith("/v1/"):
            self._as_openai.add(exchange)
        if request.path in ("/api/chat", "/api/embed", openais.CHAT, openais.EMBEDDINGS):
            await super()._respond(exchange, request)
            return
        if request.path != "/healthz":
            self.lookups.append(request)
        await self.route(request)(exchange, self.default_reply())

    def _chat(self, body: JSON) -> Handler:
        check_chat(body)
        if not body.get("messages"):
            loaded = {"role": "assistant", "content": ""}
            return self._body({**_head(body), "message": loaded, "done_reason": "load", "done": True})

        async def complete(exchange: Exchange, reply: Reply) -> None:
            answering = _Answering(body, reply, self.next_id())
            if body.get("stream") is False:
                await self.send_body(exchange, reply, answering.whole())
            else:
                lines = replace(reply, headers={"content-type": "application/x-ndjson", **reply.headers})
                await self.send_events(exchange, lines, answering.objects())

        return complete

    def _embed(self, body: JSON) -> Handler:
        return self._body(_embedded(body))

    def _openais_chat(self, body: JSON) -> Handler:
        own = openais.native_chat(body)
        check_chat(own)
        tells = bool((body.get("stream_options") or {}).get("include_usage"))

        async def complete(exchange: Exchange, reply: Reply) -> None:
            number = self.next_id()
            answering = _Answering(own, reply, number)
            if body.get("stream"):
                await self.send_events(exchange, reply, openais.chunks(answering.objects(), number, with_usage=tells))
            else:
                await self.send_body(exchange, reply, openais.whole(answering.whole(), number))

        return complete

    def _openais_embed(self, body: JSON) -> Handler:
        return self._body(openais.embeddings(_embedded(body), body.get("encoding_format")))

    def _show(self, body: JSON) -> Handler:
        check_shape(body, "ShowRequest", "ShowRequest")
        name = body.get("model") or body.get("name") or ""
        capabilities = check_model(name, "model {} not found", "'")
        info = {"general.architecture": "llama", "llama.context_length": 131_072}
        return self._body({"details": _details(), "model_info": info, "capabilities": list(capabilities)})

    def _body(self, body: JSON) -> Handler:
        return lambda exchange, reply: self.send_body(exchange, reply, body)


class _Answering:
    """The answer to one chat request, whole or as a stream."""

    def __init__(self, body: JSON, reply: Reply, number: int) -> None:
        self._body = body
        self._reply = reply
        asked = _as_openai(body)
        self._prompt = sum(len(message_text(message).split()) for message in asked["messages"])
        self._thinking = reply.thinking if reply.thinking is not None else _thought(body, asked)
        self._text, calls, self._done_reason = self._scripted() if reply.speaks else _obedient(asked)
        self._calls = [_call(call, place, f"call_{number:06d}{place:02d}") for place, call in enumerate(calls)]

    def whole(self) -> JSON:
        """The answer in one piece."""
        thinking = {"thinking": self._thinking} if self._thinking else {}
        calls = {"tool_calls": self._calls} if self._calls else {}
        return self._last({"content": self._text, **thinking, **calls})

    def objects(self) -> Iterator[JSON]:
        """The objects of the stream."""
        for piece in pieces_of(self._thinking):
            yield self._object({"content": "", "thinking": piece})
        for piece in self._reply.chunks or pieces_of(self._text):
            yield self._object({"content": piece})
        late = {"tool_calls": self._calls} if self._calls and self._reply.calls_at_end else {}
        if not late:
            for call in self._calls:
                yield self._object({"content": "", "tool_calls": [call]})
        yield self._last({"content": "", **late})

    def _object(self, message: JSON) -> JSON:
        return {**_head(self._body), "message": {"role": "assistant", **message}, "done": False}

    def _last(self, message: JSON) -> JSON:
        counts: JSON = {
            "done_reason": self._done_reason,
            "total_duration": 182_242_375,
            "load_duration": 41_295_167,
            "prompt_eval_count": self._prompt,
            "prompt_eval_duration": 24_573_166,
            "eval_count": self._said(),
            "eval_duration": 115_959_084,
            **(self._reply.metrics or {}),
        }
        end = self._object({**message, **self._reply.extra})
        return {**end, "done": True, **{name: count for name, count in counts.items() if count is not None}}

    def _said(self) -> int:
        """The words of the answer."""
        calls = (orjson.dumps(call["function"]).decode() for call in self._calls)
        return len(" ".join((self._thinking, self._text, *calls)).split())

    def _scripted(self) -> tuple[str, Sequence[ToolCall], str]:
        reply = self._reply
        text = reply.text if reply.text is not None else "".join(reply.chunks or ())
        return text, reply.tool_calls, reply.done_reason or "stop"


def _embedded(body: JSON) -> JSON:
    """The answer to an embeddings request."""
    check_shape(body, "EmbedRequest", "EmbedRequest")
    check_model(body.get("model") or "", "model {} not found, try pulling it first", '"')
    texts = [body["input"]] if isinstance(body.get("input"), str) else body.get("input") or []
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ApiError("invalid input type")
    size = min(body.get("dimensions") or SIZE, SIZE)
    vectors = [struct.unpack(f"<{size}f", vector_of(text, size)) for text in texts]
    counts = {"total_duration": 14_143_917, "load_duration": 1_019_500}
    tokens = sum(len(text.split()) for text in texts)
    return {"model": body["model"], "embeddings": vectors, **counts, "prompt_eval_count": tokens}


def _as_openai(body: JSON) -> JSON:
    """A request as OpenAI's, as far as the obedient model looks at it; one that cannot see gets no images."""
    sees = "vision" in check_model(body["model"], "", "")
    options = body.get("options") or {}
    asked: JSON = {"messages": [_message(message, sees) for message in body["messages"]], "stop": options.get("stop")}
    if options.get("num_predict", -1) >= 0:
        asked["max_tokens"] = options["num_predict"]
    if body.get("tools"):
        asked["tools"] = body["tools"]
    if body.get("format") == "json":
        asked["response_format"] = {"type": "json_object"}
    elif body.get("format"):
        asked["response_format"] = {"type": "json_schema", "json_schema": {"schema": body["format"], "strict": True}}
    return asked


def _message(message: JSON, sees: bool) -> JSON:
    images = [{"type": "image_url"} for _ in message.get("images") or () if sees]
    return {
        "role": message.get("role") or "",
        "content": [{"type": "text", "text": message.get("content") or ""}, *images],
    }


def _obedient(asked: JSON) -> tuple[str, Sequence[ToolCall], str]:
    given = answer(asked)
    return given.text or "", given.tool_calls, "length" if given.finish_reason == "length" else "stop"


def _thought(body: JSON, asked: JSON) -> str:
    """What a model that can think does so by itself, unless it is told not to or has called a tool."""
    able = "thinking" in check_model(body["model"], "", "") and body.get("think") is not False
    return f"The user says: {last_user_text(asked)}" if able and asked["messages"][-1]["role"] == "user" else ""


def _call(call: ToolCall, index: int, id_: str) -> JSON:
    function = {"index": index, "name": call.name, "arguments": orjson.loads(call.text)}
    return {"id": call.id or id_, "function": function}


def _head(body: JSON) -> JSON:
    return {"model": body["model"], "created_at": _CREATED}


def _details() -> JSON:
    return {"format": "gguf", "family": "llama", "parameter_size": "3.2B", "quantization_level": "Q4_K_M"}


def _tags() -> JSON:
    names = [full_name(name) for name in MODELS]
    about = {"modified_at": _CREATED, "size": 2_019_393_189, "digest": "a80c4f17acd5", "details": _details()}
    return {"models": [{"name": name, "model": name, **about} for name in names]}


if __name__ == "__main__":
    run_as_script(lambda port: FakeOllama(port=port), "Serve Ollama's API with an obedient model.")
