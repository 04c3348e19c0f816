"""A Gemini upstream for tests: a real HTTP server on 127.0.0.1 that speaks Google's Gemini API.

    with FakeGemini() as upstream:
        upstream.enqueue(Reply(text="Hi", thinking="A greeting."), Reply(status=503))
        url = upstream.url + "/models/gemini-2.5-flash:generateContent"
        httpx.post(url, headers={"x-goog-api-key": KEY}, json={"contents": [{"parts": [{"text": "hello"}]}]})

Requests are checked as strictly as Google checks them; scripted replies go, in order, to the requests that pass;
without a script an obedient, deterministic model answers as that of the OpenAI double does, and shows its thoughts
where it is asked to. ``python tests/fake_gemini.py --port 8005`` runs it as a process of its own.
"""

from __future__ import annotations

import base64
import re
import struct
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

if __package__ in (None, ""):
    # Run as a script, only this folder is importable, not the package it is.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.fake_gemini_rules import (
    MODELS,
    STATUSES,
    ApiError,
    check_embeddings,
    check_generation,
    check_key,
    check_model,
    detail,
    parsed,
)
from tests.fake_openai_schema import ToolCall, answer, last_user_text, message_text, pieces_of, vector_of
from tests.fake_server import JSON, Delivery, Exchange, FakeServer, Received, run_as_script

__all__ = ["KEY", "MODELS", "FakeGemini", "Received", "Reply", "ToolCall", "detail"]

KEY = "AIzaSyD-0123456789abcdefghijklmnopqrstuv"
"""The only key that it takes."""
SIZE = 8
"""Dimensions of the embeddings where the request names none."""
_METHODS = {
    "generateContent": "GenerateContentRequest",
    "streamGenerateContent": "GenerateContentRequest",
    "embedContent": "EmbedContentRequest",
    "batchEmbedContents": "BatchEmbedContentsRequest",
}
_ERRORS = {
    400: "Request contains an invalid argument.",
    403: "The caller does not have permission",
    404: "Requested entity was not found.",
    429: "You exceeded your current quota, please check your plan and billing details.",
    500: "An internal error has occurred. Please retry or report in https://developers.generativeai.google/guide",
    503: "The model is overloaded. Please try again later.",
    504: "The request timed out. Please try again.",
}
_MODES = {"AUTO": "auto", "VALIDATED": "auto", "ANY": "required", "NONE": "none"}


@dataclass(frozen=True)
class Reply(Delivery):
    """A scripted reply; with no text, chunks, tool_calls or parts the default rules make the answer."""

    text: str | None = None
    chunks: Sequence[str] | None = None
    """The exact pieces of the stream; by default the words of the text."""
    tool_calls: Sequence[ToolCall] = ()
    """Their ids are sent only by models from Gemini 3 on."""
    calls_apart: bool = False
    """In a stream: each in an event of its own."""
    thinking: str | None = None
    """By default the model shows its thoughts where the request asks it to; empty, it does not."""
    parts: Sequence[JSON] | None = None
    """The exact content, instead of all the above."""
    finish_reason: str = "STOP"
    """Why a scripted answer ends; empty, it is not said."""
    blocked: str | None = None
    """Why the prompt is refused: there are no candidates then."""
    usage: JSON | None = None
    """Merged over the counted usage; what is None is left out."""
    extra: JSON = field(default_factory=dict)
    """Merged into the candidate; in a stream, into that of the end."""

    @property
    def speaks(self) -> bool:
        """Tell whether the script says what the model answers."""
        return bool(self.tool_calls) or (self.text, self.chunks, self.parts) != (None, None, None)


Handler = Callable[[Exchange, Reply], Awaitable[None]]


class FakeGemini(FakeServer[Reply]):
    """The server; start it with ``with`` or ``start()``. A stopped one starts again on the same port."""

    @property
    def url(self) -> str:
        """The base URL that a client is given."""
        return f"{super().url}/v1beta"

    def route(self, request: Received) -> Handler:
        """Check a request; gives what answers it."""
        found = re.fullmatch(r"/v1beta/models(?:/([\w.-]+))?(?::(\w+))?", request.path)
        if not found or (found[2] is not None and found[2] not in _METHODS):
            raise ApiError(_ERRORS[404], 404)
        check_key(request.headers, request.query, KEY)
        name, method = found.groups()
        if request.method != ("POST" if method else "GET"):
            raise ApiError(_ERRORS[404], 404)
        if method is None:
            models = _models_body(name)
            return lambda exchange, reply: self.send_body(exchange, reply, models)
        if not isinstance(request.body, dict):
            raise ApiError("Invalid JSON payload received. Expected an object key or }.")
        body = parsed(request.body, _METHODS[method])
        check_model(name, method)
        if method.endswith("enerateContent"):
            return self._generator(body, name, stream=method.startswith("stream"))
        return self._embedder(body, name, batch=method.startswith("batch"))

    def default_reply(self) -> Reply:
        """The reply to a request that none is scripted for."""
        return Reply()

    def stamps(self, exchange: Exchange) -> Mapping[str, str]:
        """The headers of every answer."""
        return {"x-content-type-options": "nosniff", "server-timing": f"gfet4t7; dur={exchange.milliseconds}"}

    def scripted_error(self, reply: Reply) -> JSON:
        """The error that goes with the status of a scripted reply."""
        status = STATUSES.get(reply.status, "UNKNOWN")
        return {"code": reply.status, "message": _ERRORS.get(reply.status, _ERRORS[500]), "status": status}

    def error_body(self, error: JSON, exchange: Exchange) -> JSON:
        """An error as the body of an answer or as the data of an event."""
        return {"error": error}

    def event(self, data: JSON) -> bytes:
        """A server-sent event."""
        return b"data: " + orjson.dumps(data) + b"\r\n\r\n"

    def last_event(self) -> bytes:
        """Nothing: the event with the reason of the end is the last one."""
        return b""

    def _generator(self, body: JSON, model: str, *, stream: bool) -> Handler:
        check_generation(body, model)

        async def generate(exchange: Exchange, reply: Reply) -> None:
            answering = _Answering(body, reply, model, self.next_id())
            if stream:
                await self.send_events(exchange, reply, answering.events())
            else:
                await self.send_body(exchange, reply, answering.whole())

        return generate

    def _embedder(self, body: JSON, model: str, *, batch: bool) -> Handler:
        requests = (body.get("requests") or []) if batch else [{"model": f"models/{model}", **body}]
        check_embeddings(requests, model)
        values = [{"values": _vector(one)} for one in requests]
        answered = {"embeddings": values} if batch else {"embedding": values[0]}
        return lambda exchange, reply: self.send_body(exchange, reply, answered)


class _Answering:
    """The answer to one request for content, whole or as a stream."""

    def __init__(self, body: JSON, reply: Reply, model: str, number: int) -> None:
        self._reply = reply
        self._asked = _as_openai(body)
        self._newer = model.startswith("gemini-3")
        self._head = {"modelVersion": model, "responseId": f"resp{number:018d}"}
        self._number = number
        thinking = (body.get("generation_config") or {}).get("thinking_config") or {}
        self._thinking = reply.thinking
        if self._thinking is None:
            begins = thinking.get("include_thoughts") and self._asked["messages"][-1]["role"] == "user"
            self._thinking = f"The user says: {last_user_text(self._asked)}" if begins else ""
        self._text, calls, self._finish = self._scripted() if reply.speaks else self._obedient()
        self._calls = [self._call(call, place) for place, call in enumerate(calls)]

    def whole(self) -> JSON:
        """The answer in one piece."""
        if self._reply.blocked:
            return self._refused()
        texts = [{"text": self._text}] if self._text else []
        thoughts = [{"text": self._thinking, "thought": True}] if self._thinking else []
        parts: list[JSON] = [*thoughts, *texts, *self._calls]
        if self._reply.parts is not None:
            parts = list(self._reply.parts)
        return {"candidates": [self._last(parts)], "usageMetadata": self._usage(), **self._head}

    def events(self) -> Iterator[JSON]:
        """The events of the stream; the last one says why it ended."""
        if self._reply.blocked:
            yield self._refused()
            return
        groups = list(self._groups())
        prompt = self._usage()["promptTokenCount"]
        for parts in groups[:-1]:
            candidate = {"content": {"parts": parts, "role": "model"}, "index": 0}
            usage = {"promptTokenCount": prompt, "totalTokenCount": prompt}
            yield {"candidates": [candidate], "usageMetadata": usage, **self._head}
        yield {"candidates": [self._last(groups[-1])], "usageMetadata": self._usage(), **self._head}

    def _groups(self) -> Iterator[list[JSON]]:
        """The parts of each event."""
        if self._reply.parts is not None:
            yield from ([part] for part in self._reply.parts)
            return
        for piece in pieces_of(self._thinking or ""):
            yield [{"text": piece, "thought": True}]
        for piece in self._reply.chunks or pieces_of(self._text):
            yield [{"text": piece}]
        if self._calls:
            yield from ([call] for call in self._calls) if self._reply.calls_apart else (self._calls,)
        if self._calls or not self._text:
            yield [{"text": ""}]

    def _last(self, parts: list[JSON]) -> JSON:
        content = {"content": {"parts": parts, "role": "model"}} if parts else {"content": {"role": "model"}}
        reason = {"finishReason": self._finish} if self._finish else {}
        return {**content, **reason, "index": 0, **self._reply.extra}

    def _refused(self) -> JSON:
        """The answer to a prompt that is blocked."""
        usage = {"promptTokenCount": self._usage()["promptTokenCount"]}
        counts = {**usage, "totalTokenCount": usage["promptTokenCount"]}
        return {"promptFeedback": {"blockReason": self._reply.blocked}, "usageMetadata": counts, **self._head}

    def _scripted(self) -> tuple[str, Sequence[ToolCall], str]:
        reply = self._reply
        text = reply.text if reply.text is not None else "".join(reply.chunks or ())
        return text, reply.tool_calls, reply.finish_reason

    def _obedient(self) -> tuple[str, Sequence[ToolCall], str]:
        given = answer(self._asked)
        return given.text or "", given.tool_calls, "MAX_TOKENS" if given.finish_reason == "length" else "STOP"

    def _call(self, call: ToolCall, place: int) -> JSON:
        """A call as a part; from Gemini 3 on it has an id, and the first of a turn a signature."""
        function = {"name": call.name, "args": orjson.loads(call.text)}
        if not self._newer:
            return {"functionCall": function}
        id_ = call.id or f"call{self._number:04d}{place:02d}"
        signed = {"thoughtSignature": signature(id_)} if place == 0 else {}
        return {"functionCall": {"id": id_, **function}, **signed}

    def _usage(self) -> JSON:
        """The words of the request and the answer, under Google's names."""
        prompt = sum(len(message_text(message).split()) for message in self._asked["messages"])
        calls = " ".join(orjson.dumps(call["functionCall"]).decode() for call in self._calls)
        said, thought = len(f"{self._text} {calls}".split()), len((self._thinking or "").split())
        usage: JSON = {
            "promptTokenCount": prompt,
            "candidatesTokenCount": said,
            "totalTokenCount": prompt + said + thought,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}],
            "thoughtsTokenCount": thought or None,
            **(self._reply.usage or {}),
        }
        return {name: count for name, count in usage.items() if count is not None}


def signature(call_id: str) -> str:
    """The signature of the thoughts that led to a call."""
    return base64.b64encode(f"thoughts before {call_id}".encode()).decode()


def _as_openai(body: JSON) -> JSON:
    """A request as OpenAI's, as far as the obedient model looks at it."""
    config = body.get("generation_config") or {}
    system = body.get("system_instruction")
    turns = [turn for content in body["contents"] for turn in _turns(content)]
    asked: JSON = {"messages": [{"role": "system", "content": _parts(system["parts"])}, *turns] if system else turns}
    asked["stop"], asked["max_tokens"] = config.get("stop_sequences"), config.get("max_output_tokens")
    if config.get("response_mime_type") == "application/json":
        asked["response_format"] = {"type": "json_object"}
        if schema := config.get("response_json_schema") or _json_schema(config.get("response_schema")):
            asked["response_format"] = {"type": "json_schema", "json_schema": {"schema": schema, "strict": True}}
    calling = (body.get("tool_config") or {}).get("function_calling_config") or {}
    allowed = calling.get("allowed_function_names")
    functions = [one for tool in body.get("tools") or () for one in tool.get("function_declarations") or ()]
    if functions:
        wanted = [one for one in functions if not allowed or one["name"] in allowed]
        asked["tools"] = [{"type": "function", "function": _function(one)} for one in wanted]
        asked["tool_choice"] = _MODES[calling.get("mode", "AUTO").upper()]
    return asked


def _turns(content: JSON) -> Iterator[JSON]:
    """A content as OpenAI's messages, each result of a function being one of its own."""
    results = [part["function_response"] for part in content["parts"] if "function_response" in part]
    yield from ({"role": "tool", "content": _result(one.get("response") or {})} for one in results)
    rest = [part for part in content["parts"] if "function_response" not in part]
    if rest:
        role = "assistant" if content.get("role") == "model" else "user"
        yield {"role": role, "content": _parts(rest)}


def _parts(parts: Sequence[JSON]) -> list[JSON]:
    """The parts that say something as OpenAI's."""
    kinds = {"inline_data": "image_url", "file_data": "file"}
    said = [{"type": "text", "text": part["text"]} for part in parts if "text" in part and not part.get("thought")]
    return said + [{"type": kind} for part in parts for name, kind in kinds.items() if name in part]


def _result(response: JSON) -> str:
    """What a function said: its only text, or all of it."""
    values = list(response.values())
    return values[0] if len(values) == 1 and isinstance(values[0], str) else orjson.dumps(response).decode()


def _function(declared: JSON) -> JSON:
    schema = declared.get("parameters_json_schema") or _json_schema(declared.get("parameters"))
    about = {"name": declared["name"], "description": declared.get("description")}
    return {**about, "parameters": schema or {"type": "object"}}


def _json_schema(schema: JSON | None) -> JSON | None:
    """Google's kind of schema as a JSON schema."""
    if not schema:
        return None
    found = {name: value for name, value in schema.items() if name in ("enum", "required", "minimum", "maximum")}
    if "type" in schema:
        found["type"] = schema["type"].lower()
    if "properties" in schema:
        found["properties"] = {name: _json_schema(child) or {} for name, child in schema["properties"].items()}
    if "items" in schema:
        found["items"] = _json_schema(schema["items"]) or {}
    if "any_of" in schema:
        found["anyOf"] = [_json_schema(child) or {} for child in schema["any_of"]]
    return found


def _vector(request: JSON) -> tuple[float, ...]:
    text = " ".join(part.get("text", "") for part in request["content"]["parts"])
    size = request.get("output_dimensionality") or SIZE
    return struct.unpack(f"<{size}f", vector_of(text, size))


def _models_body(name: str | None) -> JSON:
    """The list of models, or one of them."""
    if name is not None and name not in MODELS:
        raise ApiError(f"Model is not found: models/{name} for api version v1beta", 404)
    models = [
        {
            "name": f"models/{model}",
            "version": "001",
            "displayName": model.title(),
            "inputTokenLimit": 1_048_576,
            "outputTokenLimit": 65_536,
            "supportedGenerationMethods": [*methods],
        }
        for model, methods in MODELS.items()
        if name in (None, model)
    ]
    return {"models": models} if name is None else models[0]


if __name__ == "__main__":
    run_as_script(FakeGemini, "Serve Google's Gemini API with an obedient model.")
