"""What both transports are asked, and what the upstream answers, for :mod:`.test_differential`.

A case runs twice, and what its caller sees must be the same both times, save the differences that it names.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from las_langchain.records import Operation
from tests.fake_openai import FakeOpenAI, Reply, ToolCall
from tests.fake_server import Exchange
from tests.las_langchain.contracts.cases import PNG, WEATHER

Json = dict[str, Any]

HELLO: list[Json] = [{"role": "user", "content": "hello there"}]
BOTH, WHOLE, STREAM = ("whole", "stream"), ("whole",), ("stream",)
PYTHON, HTTP = ("python",), ("http",)
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": SCHEMA}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}
HEAD = {"id": "c-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "gpt-4o-2024-08-06"}
USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 10,
    "total_tokens": 30,
    "prompt_tokens_details": {"cached_tokens": 5, "audio_tokens": 1},
    "completion_tokens_details": {
        "reasoning_tokens": 4,
        "audio_tokens": 2,
        "accepted_prediction_tokens": 1,
        "rejected_prediction_tokens": 3,
    },
}
COUNTS = {
    "prompt_tokens": 2,
    "completion_tokens": 3,
    "total_tokens": 5,
    "completion_tokens_details": {"reasoning_tokens": 0},
}


@dataclass(frozen=True)
class Case:
    """A request and its answer.

    Attributes:
        name: the test's.
        reply: what the upstream is to answer.
        messages: the chat.
        fields: what else the request says.
        model: which is asked.
        operation: what is asked for.
        plain: whether the request goes to the service as it stands, in place of ``ChatLAS``.
        views: who asks: ``python`` is a user of the package, ``http`` a client of the server.
        ways: for a ``whole`` answer, for a ``stream``, or one after the other.
        own: what ``ChatLAS`` is made with.
        differs: the names of the differences that are to be seen.
    """

    name: str
    reply: Reply = field(default_factory=Reply)
    messages: list[Json] = field(default_factory=lambda: HELLO)
    fields: Json = field(default_factory=dict)
    model: str = "openai/gpt-4o"
    operation: Operation = "chat"
    plain: bool = False
    views: tuple[str, ...] = ("python", "http")
    ways: tuple[str, ...] = BOTH
    own: Json = field(default_factory=dict)
    differs: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Pieces(Reply):
    """A raw reply that is sent in pieces of so many bytes."""

    size: int = 1


class Upstream(FakeOpenAI):
    """OpenAI's double, which can send a reply in pieces."""

    async def send_body(self, exchange: Exchange, reply: Reply, body: Json) -> None:
        """Send a plain answer, or pieces of one."""
        if not isinstance(reply, Pieces) or reply.raw is None:
            await super().send_body(exchange, reply, body)
            return
        await exchange.start(reply.status, {"content-type": reply.raw_type})
        for begin in range(0, len(reply.raw), reply.size):
            await exchange.write(reply.raw[begin : begin + reply.size])
            await exchange.pause(0)
        await exchange.write(b"", last=True)


def whole(message: Json, finish: str | None = "stop", choice: Json | None = None, **head: Any) -> Reply:
    """A whole answer, as it stands."""
    one = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish, **(choice or {})}
    body = {**HEAD, "object": "chat.completion", "choices": [one], "usage": COUNTS, **head}
    return Reply(raw=json.dumps(body).encode())


def chunk(delta: Json, finish: str | None = None, index: int = 0, **head: Any) -> Json:
    """A chunk of a stream."""
    return {**HEAD, "choices": [{"index": index, "delta": delta, "finish_reason": finish}], **head}


def usage(counts: Json = COUNTS) -> Json:
    """The last chunk of a stream."""
    return {**HEAD, "choices": [], "usage": counts}


def events(*chunks: Json, end: str = "\n\n", done: bool = True, before: str = "") -> bytes:
    """The bytes of a stream."""
    said = [*(json.dumps(one) for one in chunks), *(["[DONE]"] if done else [])]
    return "".join(f"{before}data: {one}{end}" for one in said).encode()


def stream(*chunks: Json, **shape: Any) -> Reply:
    """A stream of these chunks."""
    return raw_stream(events(*chunks, **shape))


def raw_stream(raw: bytes) -> Reply:
    """A stream of these bytes."""
    return Reply(raw=raw, raw_type="text/event-stream")


START = chunk({"role": "assistant", "content": "", "refusal": None})
SAID = (START, chunk({"content": "Hello"}), chunk({"content": " you"}))
END = chunk({}, "stop")
SIMPLE = (*SAID, END, usage())


def call_chunk(arguments: str, head: Json | None = None, **call: Any) -> Json:
    """A chunk with a piece of a call."""
    return chunk({"tool_calls": [{"function": {**(head or {}), "arguments": arguments}, **call}]})


def refused(status: int, *, text: str = "It does not work.", code: Any = None, **delivery: Any) -> Reply:
    """A refusal in OpenAI's form."""
    error = {"message": text, "type": "some_error", "param": "messages", "code": code}
    return Reply(status=status, error=error, **delivery)


def _later() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)


ANSWERS = [
    Case("plain"),
    Case("unicode", Reply(content='Grüße, 👩‍👩‍👧 \u2028\u0085 日本語 \t"quoted" \\ back')),
    Case("surrogates in escapes", stream(START, chunk({"content": "\ud83d\ude00 ok"}), END, usage()), ways=STREAM),
    Case("empty content", Reply(content="")),
    Case(
        "a tool", Reply(tool_calls=[ToolCall("get_weather", {"city": "Oslo"}, "call_1")]), fields={"tools": [WEATHER]}
    ),
    Case(
        "parallel tools",
        Reply(tool_calls=[ToolCall("get_weather", {"city": name}, name) for name in ("Oslo", "Rome")]),
        fields={"tools": [WEATHER], "tool_choice": "required", "parallel_tool_calls": True},
    ),
    Case(
        "a call that is no JSON",
        Reply(tool_calls=[ToolCall("get_weather", '{"city": ', "call_1")]),
        fields={"tools": [WEATHER]},
    ),
    Case(
        "text beside a tool",
        Reply(content="Let me see", tool_calls=[ToolCall("get_weather", {"city": "Oslo"}, "call_1")]),
        fields={"tools": [WEATHER]},
    ),
    Case(
        "the result of a tool",
        messages=[
            *HELLO,
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "call_1", "content": "4 degrees"},
        ],
        fields={"tools": [WEATHER]},
    ),
    Case("a schema", Reply(content='{"city": "Oslo"}'), fields={"response_format": JSON_SCHEMA}),
    Case(
        "an object",
        Reply(content='{"a": 1}'),
        [{"role": "user", "content": "Say it in JSON"}],
        {"response_format": {"type": "json_object"}},
    ),
    Case(
        "a picture",
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
                ],
            }
        ],
    ),
    Case("instructions", messages=[{"role": "system", "content": "Be brief."}, *HELLO]),
    Case("a developer's instructions", messages=[{"role": "developer", "content": "Be brief."}, *HELLO]),
    Case("two answers", Reply(content="a b"), fields={"n": 2}, differs=("order",)),
    Case("log probabilities", Reply(content="a b"), fields={"logprobs": True, "top_logprobs": 2}),
    Case("all counts", Reply(content="a b", usage=USAGE)),
    Case("no counts", whole({"role": "assistant", "content": "Hello"}, usage=None), ways=WHOLE, differs=("counts",)),
    Case("no counts in a stream", stream(*SAID, END), ways=STREAM, differs=("counts",)),
    Case("a length", Reply(content="a b", finish_reason="length"), fields={"max_completion_tokens": 2}),
    Case("a filter", Reply(content="a b", finish_reason="content_filter")),
    Case("a stop", Reply(content="a b"), fields={"stop": ["c"], "temperature": 0.5, "seed": 7, "top_p": 0.5}),
    Case("a refusal", Reply(refusal="I will not")),
    Case("reasoning_content", Reply(content="a b", reasoning="why not")),
    Case("reasoning", whole({"role": "assistant", "content": "a b", "reasoning": "why not"}), ways=WHOLE),
    Case(
        "reasoning in a stream",
        stream(START, chunk({"reasoning": "why"}), chunk({"reasoning": " not"}), chunk({"content": "a"}), END, usage()),
        ways=STREAM,
    ),
    Case("a thought in the text", whole({"role": "assistant", "content": "<think>why</think>\n\na b"}), ways=WHOLE),
    Case(
        "a thought in the text of a stream",
        stream(START, chunk({"content": "<think>why</think>"}), chunk({"content": "a b"}), END, usage()),
        ways=STREAM,
    ),
    Case(
        "pictures in the answer",
        whole(
            {
                "role": "assistant",
                "content": "Here",
                "images": [{"type": "image_url", "image_url": {"url": PNG}, "index": 0}],
            }
        ),
        ways=WHOLE,
    ),
    Case(
        "pictures in a stream",
        stream(
            START,
            chunk({"content": "Here", "images": [{"type": "image_url", "image_url": {"url": PNG}, "index": 0}]}),
            END,
            usage(),
        ),
        ways=STREAM,
    ),
    Case(
        "a sound",
        whole(
            {
                "role": "assistant",
                "content": None,
                "audio": {"id": "audio_1", "data": "AAAA", "expires_at": 9, "transcript": "Hi"},
            }
        ),
        ways=WHOLE,
    ),
    Case(
        "a citation",
        Reply(
            content="a b",
            annotations=[
                {
                    "type": "url_citation",
                    "url_citation": {"start_index": 0, "end_index": 1, "title": "A", "url": "https://example.com"},
                }
            ],
        ),
    ),
    Case("a tier", Reply(service_tier="flex"), fields={"service_tier": "flex"}),
    Case("no fingerprint", Reply(system_fingerprint=None, service_tier=None)),
    Case("metadata", fields={"metadata": {"trace": "1"}, "store": True, "user": "me"}, views=HTTP),
    Case("metadata of a chat", own={"model_kwargs": {"metadata": {"trace": "1"}}}, views=PYTHON),
    Case("further fields", fields={"extra_body": {"prompt_cache_key": "k", "temperature": 0.1}}, views=PYTHON),
    Case("further headers", own={"extra_headers": {"X-Team": "red"}}, views=PYTHON),
    Case("an organization", own={"organization": "org-1"}, views=PYTHON),
    Case("the limit of a model that reasons", fields={"max_tokens": 50}, model="openai/o3-mini"),
    Case("how hard to think", fields={"reasoning_effort": "low"}, model="openai/o3-mini"),
    Case(
        "a custom tool",
        fields={"tools": [{"type": "custom", "custom": {"name": "say", "description": "Says it."}}]},
        views=HTTP,
    ),
    Case(
        "unknown keys",
        whole({"role": "assistant", "content": "a", "odd": 1}, choice={"odd": 2}, odd=3),
        ways=WHOLE,
        differs=("keys",),
    ),
    Case("an end of another name", whole({"role": "assistant", "content": "a"}, "eos_token"), ways=WHOLE),
    Case("no end", whole({"role": "assistant", "content": "a"}, None), ways=WHOLE),
    Case("a word that nobody knows for an end", whole({"role": "assistant", "content": "a"}, "weird"), ways=WHOLE),
    Case("an aborted answer", whole({"role": "assistant", "content": "a"}, "abort"), ways=WHOLE, differs=("ends",)),
    Case(
        "calls of another server",
        whole(
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {"index": 0, "id": "x", "function": {"name": "get_weather", "arguments": {"city": "Oslo"}}}
                ],
            }
        ),
        fields={"tools": [WEATHER]},
        ways=WHOLE,
    ),
]

ODD_STREAMS = [
    Case("the time of an answer", stream(*({**one, "created": 1} for one in SIMPLE)), ways=STREAM, differs=("clock",)),
    Case(
        "plain counts",
        stream(*SAID, END, usage({"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5})),
        ways=STREAM,
        differs=("counts",),
    ),
    Case("carriage returns", stream(*SIMPLE, end="\r\n\r\n"), ways=STREAM),
    Case("carriage returns alone", stream(*SIMPLE, end="\r\r"), ways=STREAM),
    Case("comments", stream(*SIMPLE, before=": ping\n\n: pong\n"), ways=STREAM),
    Case("named events", stream(*SIMPLE, before="event: chunk\nid: 1\n"), ways=STREAM),
    Case("no space", raw_stream(events(*SIMPLE).replace(b"data: ", b"data:")), ways=STREAM),
    Case(
        "an event of two lines",
        raw_stream(events(*SIMPLE).replace(b'"object"', b'\ndata: "object"')),
        ways=STREAM,
    ),
    Case("single bytes", Pieces(raw=events(*SIMPLE), raw_type="text/event-stream"), ways=STREAM),
    Case(
        "single bytes with carriage returns",
        Pieces(raw=events(*SIMPLE, end="\r\n\r\n"), raw_type="text/event-stream"),
        ways=STREAM,
    ),
    Case("all at once", Pieces(raw=events(*SIMPLE), raw_type="text/event-stream", size=10**6), ways=STREAM),
    Case("no [DONE]", stream(*SIMPLE, done=False), ways=STREAM),
    Case("no empty line at the end", raw_stream(events(*SIMPLE)[:-2]), ways=STREAM),
    Case(
        "no ids",
        stream(*({k: v for k, v in one.items() if k not in ("id", "created", "model")} for one in SIMPLE)),
        ways=STREAM,
    ),
    Case("no object", stream(*({k: v for k, v in one.items() if k != "object"} for one in SIMPLE)), ways=STREAM),
    Case(
        "repeated roles",
        stream(
            chunk({"role": "assistant", "content": "a"}), chunk({"role": "assistant", "content": " b"}), END, usage()
        ),
        ways=STREAM,
    ),
    Case("no role", stream(chunk({"content": "a"}), chunk({"content": " b"}), END, usage()), ways=STREAM),
    Case(
        "empty chunks",
        stream(START, chunk({}), chunk({"content": ""}), *SAID[1:], chunk({"content": ""}), END, usage()),
        ways=STREAM,
    ),
    Case(
        "an end with a text", stream(*SAID, chunk({"content": "!"}, "stop"), usage()), ways=STREAM, differs=("pieces",)
    ),
    Case("the counts with the end", stream(*SAID, {**END, "usage": COUNTS}), ways=STREAM),
    Case(
        "the counts in every chunk",
        stream(*({**one, "usage": COUNTS} for one in (*SAID, END)), usage()),
        ways=STREAM,
    ),
    Case(
        "counts that nobody asks for",
        stream(*({**one, "usage": None} for one in (*SAID, END)), usage()),
        fields={"stream_options": {"include_usage": False}},
        views=HTTP,
        ways=STREAM,
    ),
    Case("no counts wanted", own={"stream_usage": False}, views=PYTHON, ways=STREAM),
    Case("null counts in every chunk", stream(*({**one, "usage": None} for one in (*SAID, END)), usage()), ways=STREAM),
    Case("a choice beside the counts", stream(*SAID, END, {**chunk({}), "usage": COUNTS}), ways=STREAM),
    Case("an end of another name in a stream", stream(*SAID, chunk({}, "eos_token"), usage()), ways=STREAM),
    Case("no end in a stream", stream(*SAID, usage()), ways=STREAM),
    Case("two ends", stream(*SAID, END, chunk({}, "stop"), usage()), ways=STREAM),
    Case("nothing but [DONE]", stream(), ways=STREAM),
    Case("nothing", raw_stream(b""), ways=STREAM),
    Case(
        "whole calls",
        stream(
            START,
            chunk({"tool_calls": [{**CALL, "index": 0}]}),
            chunk({"tool_calls": [{**CALL, "id": "call_2", "index": 1}]}),
            chunk({}, "tool_calls"),
            usage(),
        ),
        fields={"tools": [WEATHER]},
        ways=STREAM,
    ),
    Case(
        "a call in pieces that repeat its id",
        stream(
            START,
            call_chunk("", {"name": "get_weather"}, index=0, id="call_1", type="function"),
            call_chunk('{"city": ', index=0, id="call_1", type="function"),
            call_chunk('"Oslo"}', index=0, id="call_1", type="function"),
            chunk({}, "tool_calls"),
            usage(),
        ),
        fields={"tools": [WEATHER]},
        ways=STREAM,
    ),
    Case(
        "a call without a place",
        stream(START, chunk({"tool_calls": [CALL]}), chunk({}, "tool_calls"), usage()),
        fields={"tools": [WEATHER]},
        ways=STREAM,
    ),
    Case(
        "a call that merely stops",
        stream(START, chunk({"tool_calls": [{**CALL, "index": 0}]}), END, usage()),
        fields={"tools": [WEATHER]},
        ways=STREAM,
        differs=("ends",),
    ),
    Case(
        "ends in another order",
        stream(
            chunk({"role": "assistant", "content": "b"}, index=1),
            chunk({"role": "assistant", "content": "a"}),
            chunk({}, "length", index=1),
            END,
            usage(),
        ),
        fields={"n": 2},
        ways=STREAM,
        differs=("order",),
    ),
    Case(
        "an error in a stream",
        stream(*SAID, {"error": {"message": "It fell over.", "type": "server_error", "code": None}}),
        ways=STREAM,
        differs=("faults",),
    ),
    Case(
        "an error with a status in a stream",
        stream(*SAID, {"error": {"message": "It fell over.", "type": "x", "code": 503}}),
        ways=STREAM,
        differs=("faults",),
    ),
    Case(
        "an error that begins a stream",
        stream({"error": {"message": "It fell over.", "type": "server_error", "code": None}}),
        ways=STREAM,
        differs=("faults",),
    ),
    Case(
        "an event that is no JSON",
        raw_stream(events(*SAID, done=False) + b"data: {oops\n\n"),
        ways=STREAM,
        differs=("faults",),
    ),
    Case("a page for a stream", Reply(raw=b"<html>Hi</html>", raw_type="text/html"), ways=STREAM),
    Case("a whole answer for a stream", whole({"role": "assistant", "content": "a"}), ways=STREAM),
    Case("a cut stream", Reply(content="a b c d", cut_after=3), ways=STREAM),
    Case("a stream that is cut at once", Reply(content="a b c d", cut_after=0), ways=STREAM),
    Case(
        "a stream that falls silent",
        Reply(content="a b c d", cut_after=3, hang=True),
        ways=STREAM,
        own={"stream_timeout": 0.3},
        views=PYTHON,
    ),
]

_REFUSALS = [
    *(Case(f"{status}", refused(status)) for status in (400, 403, 409, 413, 422, 500, 502, 503, 529)),
    Case("401", refused(401, code="invalid_api_key")),
    Case("404", refused(404, code="model_not_found")),
    Case("408", refused(408)),
    Case("504", refused(504)),
    Case("no model by code", refused(400, code="model_not_found")),
    Case("too long by code", refused(400, code="context_length_exceeded")),
    Case("too long by its words", refused(400, text="This model's maximum context length is 9 tokens.")),
    Case(
        "no room for an answer",
        refused(400, text="Could not finish the message because max_tokens or model output limit was reached."),
        differs=("room",),
    ),
    Case("429 in seconds", refused(429, code="rate_limit_exceeded", headers={"retry-after": "7"})),
    Case("429 until a date", refused(429, headers={"retry-after": _later()})),
    Case("429 in milliseconds", refused(429, headers={"retry-after-ms": "1500", "retry-after": "9"})),
    Case("no money", refused(429, code="insufficient_quota")),
    Case("a rate limit with another status", refused(400, text="Rate limit reached for TPM")),
    Case("a refusal without a body", Reply(status=500, raw=b""), differs=("words",)),
    Case(
        "a page for a refusal",
        Reply(status=502, raw=b"<html>\nBad gateway</html>", raw_type="text/html"),
        differs=("words",),
    ),
    Case("FastAPI's refusal", Reply(status=422, raw=b'{"detail": "Too odd"}'), differs=("words",)),
    Case("a text for a refusal", Reply(status=500, raw=b'{"error": "Too odd"}'), differs=("words",)),
    Case("a message of several lines", refused(400, text="First.\nSecond.")),
    Case("a redirect", Reply(status=302, headers={"location": "http://127.0.0.1:9/"}, raw=b""), differs=("words",)),
    Case("a secret in a refusal", refused(400, text="Your key sk-upstream-secret-0123456789 is odd.")),
    Case("no answer", whole({}, choice=None, choices=[]), ways=WHOLE),
    Case("null for an answer", whole({}, choices=None), ways=WHOLE),
    Case("a page for an answer", Reply(raw=b"<html>Hi</html>", raw_type="text/html"), ways=WHOLE, differs=("words",)),
    Case("an error for an answer", Reply(raw=b'{"error": {"message": "It fell over.", "code": 503}}'), ways=WHOLE),
    Case("a cut answer", Reply(cut_after=1), ways=WHOLE),
    Case("an answer that is cut at once", Reply(cut_after=0), ways=WHOLE),
    Case("no answer in time", Reply(hang=True), own={"timeout": 0.3}, views=PYTHON),
    Case("nobody there", own={"api_base": "http://127.0.0.1:9/v1"}, views=PYTHON),
    Case("a field that OpenAI refuses", fields={"temperature": 9}),
    Case("a wrong key", own={"api_key": "sk-wrong-key-0123456789"}, views=PYTHON),
    Case("no such model", model="openai/missing-model"),
]
# A refusal is the same where a stream was wanted: two of them are asked for both ways.
REFUSALS = [case if case.name in ("400", "429 in seconds") else replace(case, ways=WHOLE) for case in _REFUSALS]

OTHERS = [
    Case(
        "vectors and nothing else",
        Reply(raw=b'{"data": [{"index": 0, "embedding": [0.5]}]}'),
        fields={"input": "one"},
        model="openai/text-embedding-3-small",
        operation="embeddings",
        ways=WHOLE,
        differs=("counts", "heads"),
    ),
    *(
        Case(
            name,
            fields={"input": "one", **fields},
            model="openai/text-embedding-3-small",
            operation="embeddings",
            ways=WHOLE,
        )
        for name, fields in {
            "a vector": {},
            "vectors": {"input": ["one", "two words"], "user": "me"},
            "a vector in numbers": {"encoding_format": "float"},
            "a vector in a text": {"encoding_format": "base64"},
            "a short vector": {"dimensions": 4},
            "a vector of tokens": {"input": [1, 2, 3]},
            "vectors of tokens": {"input": [[1, 2], [3]]},
        }.items()
    ),
    *(
        Case(
            name,
            reply,
            fields={"input": "one"},
            model="openai/text-embedding-3-small",
            operation="embeddings",
            ways=WHOLE,
        )
        for name, reply in {
            "no vectors": Reply(raw=b'{"object": "list", "data": [], "model": "m"}'),
            "no vectors but a refusal": refused(429, headers={"retry-after": "7"}),
            "a page for vectors": Reply(raw=b"<html>", raw_type="text/html"),
        }.items()
    ),
    *(
        Case(name, reply, fields={"prompt": "Once", **fields}, model="openai/fake-model", operation="text_completion")
        for name, reply, fields in (
            ("a text", Reply(), {}),
            ("several texts", Reply(content="a b"), {"prompt": ["One", "Two"], "n": 2}),
            ("a text with log probabilities", Reply(content="a b"), {"logprobs": 2}),
            ("an echo", Reply(content=" upon"), {"echo": True, "max_tokens": 9, "stop": ["z"], "suffix": "end"}),
            ("no text but a refusal", refused(400, text="Too odd"), {}),
            ("a text that fails", refused(503), {}),
            ("a cut text", Reply(content="a b c d", cut_after=2), {}),
        )
    ),
]
CASES: Sequence[Case] = [*ANSWERS, *ODD_STREAMS, *REFUSALS, *OTHERS]
