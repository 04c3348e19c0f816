"""Upstreams that speak OpenAI's wire format with an accent: Groq, OpenRouter, Hugging Face, Together, DeepSeek, vLLM.

    with FakeOpenAILike("groq") as upstream:
        upstream.enqueue(Reply(content="Hi", reasoning="A greeting."))
        client = openai.OpenAI(base_url=upstream.url, api_key=KEY)

They differ from OpenAI's double in a table: paths, keys, models, request fields, and what answers and errors look like.
``python tests/fake_openai_like.py groq --port 8003`` runs one as a process of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

if __package__ in (None, ""):
    # Run as a script, only this folder is importable, not the package it is.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.fake_openai import FakeOpenAI, Handler, Received, Reply, ToolCall
from tests.fake_server import JSON, Exchange, Refusal, run_as_script

__all__ = ["DIALECTS", "KEY", "FakeOpenAILike", "Received", "Reply", "ToolCall"]

KEY = "key-0123456789abcdef"
# OpenAI's double knows models by their prefix.
_NEUTRAL = "fake-"

Shape = Callable[[int, JSON], JSON]


def _openai_shape(status: int, error: JSON) -> JSON:
    return {"error": {"message": error["message"], "type": error["type"], "code": error["code"]}}


def _openrouter_shape(status: int, error: JSON) -> JSON:
    return {"error": {"message": error["message"], "code": status}, "user_id": "user_2aZ"}


def _huggingface_shape(status: int, error: JSON) -> JSON:
    return {"error": error["message"]} if status in (401, 403) else _openai_shape(status, error)


def _together_shape(status: int, error: JSON) -> JSON:
    return {"id": "nx-1", "error": {**_openai_shape(status, error)["error"], "param": None}}


def _deepseek_shape(status: int, error: JSON) -> JSON:
    return {
        "error": {"message": error["message"], "type": "unknown_error", "param": None, "code": "invalid_request_error"}
    }


def _vllm_shape(status: int, error: JSON) -> JSON:
    if status == 401:
        return {"error": "Unauthorized"}
    kind = {404: "NotFoundError", 400: "BadRequestError", 429: "RateLimitError"}.get(status, "InternalServerError")
    return {"error": {"message": error["message"], "type": kind, "param": None, "code": status}}


def _times(usage: JSON) -> JSON:
    return {"queue_time": 0.02, "prompt_time": 0.01, "completion_time": 0.03, "total_time": 0.04}


def _cost(usage: JSON) -> JSON:
    return {"cost": 0.0125, "is_byok": False, "cost_details": {"upstream_inference_cost": None}}


def _cache(usage: JSON) -> JSON:
    hit = min(1, usage["prompt_tokens"])
    return {"prompt_cache_hit_tokens": hit, "prompt_cache_miss_tokens": usage["prompt_tokens"] - hit}


def _nothing(usage: JSON) -> JSON:
    return {}


@dataclass(frozen=True)
class Dialect:
    """What tells one provider's API from OpenAI's."""

    base_path: str
    models: tuple[str, ...]
    error: Shape
    refused_key: str
    """What it says to a wrong key."""
    unknown_model: tuple[int, str]
    """The status and the text that refuse a model."""
    accepts: frozenset[str] = frozenset()
    """Request fields beyond OpenAI's."""
    refuses: frozenset[str] = frozenset()
    """Request fields of OpenAI's that it does not take."""
    head: JSON = field(default_factory=dict)
    """Merged into answers and chunks, as the next two are into their choices and messages."""
    choice: JSON = field(default_factory=dict)
    message: JSON = field(default_factory=dict)
    reasoning: str = "reasoning_content"
    """Where it puts the reasoning."""
    usage: Callable[[JSON], JSON] = _nothing
    """What it adds to the usage."""
    usage_with_finish: bool = False
    """Whether a stream's usage comes in the chunk of its finish."""
    comment: str | None = None
    """Sent before a stream's first event, as one that says nothing."""


DIALECTS: dict[str, Dialect] = {
    "groq": Dialect(
        "/openai/v1",
        ("llama-3.3-70b-versatile", "openai/gpt-oss-120b"),
        _openai_shape,
        "Invalid API Key",
        (404, "The model `{}` does not exist or you do not have access to it."),
        accepts=frozenset({"reasoning_format", "include_reasoning"}),
        refuses=frozenset({"logprobs", "logit_bias", "top_logprobs", "store"}),
        head={"service_tier": "on_demand", "x_groq": {"id": "req_01"}},
        reasoning="reasoning",
        usage=_times,
    ),
    "openrouter": Dialect(
        "/api/v1",
        ("anthropic/claude-3.5-sonnet", "openai/gpt-4o"),
        _openrouter_shape,
        "No auth credentials found",
        (400, "{} is not a valid model ID"),
        accepts=frozenset({"usage", "transforms", "models", "route", "provider", "reasoning", "top_k"}),
        head={"provider": "Anthropic"},
        choice={"native_finish_reason": "end_turn"},
        reasoning="reasoning",
        usage=_cost,
        comment="OPENROUTER PROCESSING",
    ),
    "huggingface": Dialect(
        "/v1",
        ("meta-llama/Llama-3.2-3B-Instruct", "Qwen/Qwen2.5-VL-7B-Instruct:together"),
        _huggingface_shape,
        "Invalid username or password.",
        (400, "The requested model '{}' does not exist"),
    ),
    "together_ai": Dialect(
        "/v1",
        ("meta-llama/Llama-3.3-70B-Instruct-Turbo", "BAAI/bge-base-en-v1.5"),
        _together_shape,
        "Invalid API key provided. You can find your API key at https://api.together.ai/settings/api-keys.",
        (404, "Unable to access model {}. Please visit https://api.together.ai/models to view the list of models."),
        accepts=frozenset({"reasoning", "top_k", "repetition_penalty", "chat_template_kwargs"}),
        head={"prompt": []},
        choice={"seed": 7_046_338_102_117_912_000, "text": ""},
        message={"tool_calls": []},
        reasoning="reasoning",
        usage_with_finish=True,
    ),
    "deepseek": Dialect(
        "/beta",
        ("deepseek-chat", "deepseek-reasoner"),
        _deepseek_shape,
        "Authentication Fails, Your api key: ****cdef is invalid",
        (400, "Model Not Exist"),
        accepts=frozenset({"thinking"}),
        refuses=frozenset({"n"}),
        usage=_cache,
        usage_with_finish=True,
        comment="keep-alive",
    ),
    "vllm": Dialect(
        "/v1",
        ("Qwen/Qwen3-8B", "llava-hf/llava-1.5-7b-hf", "BAAI/bge-m3"),
        _vllm_shape,
        "Unauthorized",
        (404, "The model `{}` does not exist."),
        accepts=frozenset({"top_k", "min_p", "chat_template_kwargs", "include_reasoning"}),
        head={"prompt_logprobs": None, "kv_transfer_params": None},
        choice={"stop_reason": None, "token_ids": None},
        message={"tool_calls": []},
    ),
}


class FakeOpenAILike(FakeOpenAI):
    """The server; start it with ``with`` or ``start()``. A stopped one starts again on the same port.

    Args:
        name: the provider, a key of ``DIALECTS``.
        key: the only key that it takes; None: it asks for none.
        port: the port on 127.0.0.1; a free one by default.
    """

    def __init__(self, name: str, key: str | None = KEY, port: int = 0) -> None:
        super().__init__(port)
        self.name = name
        self.dialect = DIALECTS[name]
        self._key = key

    @property
    def url(self) -> str:
        """The base URL that a client is given."""
        return f"http://127.0.0.1:{self.port}{self.dialect.base_path}"

    def route(self, request: Received) -> Handler:
        """Check a request; gives what answers it."""
        path = request.path.removeprefix(self.dialect.base_path)
        if path == request.path:
            raise self._refusal(404, f"Unknown request URL: {request.method} {request.path}.", "unknown_url")
        if self._key is not None and request.headers.get("authorization") != f"Bearer {self._key}":
            raise self._refusal(401, self.dialect.refused_key, "invalid_api_key")
        headers = {**request.headers, "authorization": "Bearer any"}
        body = self._neutral(request.body) if isinstance(request.body, dict) else request.body
        try:
            return super().route(replace(request, path=f"/v1{path}", headers=headers, body=body))
        except Refusal as refusal:
            raise self._refusal(refusal.status, str(refusal), refusal.error["code"]) from None

    def stamps(self, exchange: Exchange) -> Mapping[str, str]:
        """The headers of every answer."""
        return {"x-request-id": exchange.request_id}

    def scripted_error(self, reply: Reply) -> JSON:
        """The error that goes with the status of a scripted reply."""
        return {"shaped": self.dialect.error(reply.status, super().scripted_error(reply))}

    def error_body(self, error: JSON, exchange: Exchange) -> JSON:
        """An error as the body of an answer or as the data of an event; a scripted one is sent as it is."""
        shaped: JSON = error.get("shaped", {"error": error})
        return shaped

    def event(self, data: JSON) -> bytes:
        """A server-sent event, or a comment."""
        return b": " + data["comment"].encode() + b"\n\n" if "comment" in data else super().event(data)

    async def send_body(self, exchange: Exchange, reply: Reply, body: JSON) -> None:
        """Send a plain answer in the provider's shape."""
        await super().send_body(exchange, reply, self._spoken(body, "message") if "model" in body else body)

    async def send_events(self, exchange: Exchange, reply: Reply, events: Iterator[JSON]) -> None:
        """Send a stream in the provider's shape."""
        await super().send_events(exchange, reply, self._chunks(list(events)))

    def _neutral(self, body: JSON) -> JSON:
        """A request as OpenAI's double takes it."""
        for name in body.keys() & self.dialect.refuses:
            raise self._refusal(400, f"property '{name}' is unsupported", "unsupported_property")
        model = body.get("model")
        if isinstance(model, str) and model not in self.dialect.models:
            status, text = self.dialect.unknown_model
            raise self._refusal(status, text.format(model), "model_not_found")
        kept = {name: value for name, value in body.items() if name not in self.dialect.accepts}
        return {**kept, "model": f"{_NEUTRAL}{model}"} if isinstance(model, str) else kept

    def _refusal(self, status: int, message: str, code: str | None) -> Refusal:
        error = {"message": message, "type": "invalid_request_error", "code": code}
        return Refusal(status, {"message": message, "shaped": self.dialect.error(status, error)})

    def _chunks(self, chunks: list[JSON]) -> Iterator[JSON]:
        if self.dialect.comment:
            yield {"comment": self.dialect.comment}
        if self.dialect.usage_with_finish and chunks[-1].get("usage"):
            usage = chunks.pop()["usage"]
            chunks[-1] = {**chunks[-1], "usage": usage}
        yield from (self._spoken(chunk, "delta") for chunk in chunks)

    def _spoken(self, body: JSON, part: str) -> JSON:
        """An answer or a chunk with the provider's accent."""
        kept = {name: value for name, value in body.items() if name != "service_tier"}
        own: JSON = {**kept, "model": body["model"].removeprefix(_NEUTRAL)}
        if "choices" in body:
            own |= {**self.dialect.head, "choices": [self._choice(choice, part) for choice in body["choices"]]}
        if body.get("usage"):
            own["usage"] = {**body["usage"], **self.dialect.usage(body["usage"])}
        if body.get("usage") and part == "delta" and "x_groq" in own:
            own["x_groq"] = {**own["x_groq"], "usage": own["usage"]}
        return own

    def _choice(self, choice: JSON, part: str) -> JSON:
        said = {name: value for name, value in choice[part].items() if value not in (None, []) or name == "content"}
        if "reasoning_content" in said:
            said[self.dialect.reasoning] = said.pop("reasoning_content")
        return {**choice, **self.dialect.choice, part: {**self.dialect.message, **said}}


if __name__ == "__main__":
    provider = sys.argv.pop(1)
    run_as_script(lambda port: FakeOpenAILike(provider, port=port), "Serve an OpenAI-like API with an obedient model.")
