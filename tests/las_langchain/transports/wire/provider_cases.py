"""What both transports are to send to each provider that speaks OpenAI's format, for :mod:`.test_providers`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from las_langchain.records import Operation
from tests import fake_azure, fake_ollama, fake_openai_like
from tests.conftest import UPSTREAM_KEY
from tests.fake_openai import FakeOpenAI, Reply, ToolCall
from tests.fake_server import Delivery, FakeServer
from tests.las_langchain.contracts.cases import PNG, WEATHER
from tests.las_langchain.transports.wire.cases import CALL, HELLO, JSON_SCHEMA, SCHEMA

Json = dict[str, Any]

LIKE = tuple(fake_openai_like.DIALECTS)
"""The providers that litellm does not ask by OpenAI's package."""
SPEAKERS = ("openai", "azure", *LIKE)
MODELS = {
    "openai": "gpt-4o",
    "azure": "my-chat",
    "ollama": "qwen3",
    **{name: dialect.models[0] for name, dialect in fake_openai_like.DIALECTS.items()},
}
VECTORS = {
    "azure": "my-vectors",
    "together_ai": "BAAI/bge-base-en-v1.5",
    "vllm": "BAAI/bge-m3",
    "ollama": "nomic-embed-text",
    "openai": "text-embedding-3-small",
}
KEYS = {
    "openai": UPSTREAM_KEY,
    "azure": fake_azure.KEY,
    "ollama": None,
    **dict.fromkeys(fake_openai_like.DIALECTS, fake_openai_like.KEY),
}


def doubles() -> dict[str, FakeServer[Any]]:
    """A double of each provider, not started yet."""
    made: dict[str, FakeServer[Any]] = {"openai": FakeOpenAI(), "azure": fake_azure.FakeAzure()}
    made |= {name: fake_openai_like.FakeOpenAILike(name) for name in LIKE}
    return {**made, "ollama": fake_ollama.FakeOllama()}


@dataclass(frozen=True)
class Request:
    """A request to several providers.

    Attributes:
        name: the test's.
        messages: the chat.
        fields: what else it says.
        to: the providers that are asked without litellm.
        differs: the names of the differences that are to be seen, by provider.
        operation: what is asked for.
        options: of the settings' entry for the provider.
    """

    name: str
    messages: list[Json] = field(default_factory=lambda: HELLO)
    fields: Json = field(default_factory=dict)
    to: Sequence[str] = SPEAKERS
    differs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    operation: Operation = "chat"
    options: Json = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def but(*names: str) -> tuple[str, ...]:
    """All providers but these."""
    return tuple(name for name in SPEAKERS if name not in names)


def same(names: Sequence[str], *differences: str) -> dict[str, tuple[str, ...]]:
    """The same differences at several providers."""
    return dict.fromkeys(names, differences)


STRICT = {
    "type": "function",
    "function": {**WEATHER["function"], "strict": True, "parameters": SCHEMA},
}
HISTORY: list[Json] = [
    {"role": "system", "content": "Be brief."},
    *HELLO,
    {"role": "assistant", "content": None, "tool_calls": [CALL], "refusal": None},
    {"role": "tool", "tool_call_id": "call_1", "content": "4 degrees"},
]
PARTS: list[Json] = [
    {"role": "user", "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "Two"}]},
    {"role": "assistant", "content": [{"type": "text", "text": "Three"}, {"type": "text", "text": "Four"}]},
    *HELLO,
]
MARKED = [{"role": "user", "content": [{"type": "text", "text": "One", "cache_control": {"type": "ephemeral"}}]}]


def shown(image: Any) -> list[Json]:
    """A chat about a picture."""
    return [
        {
            "role": "user",
            "content": [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": image}],
        }
    ]


REQUESTS: Sequence[Request] = [
    Request("plain"),
    Request("fields", fields={"temperature": 0.5, "top_p": 0.9, "seed": 3, "stop": ["z"], "max_tokens": 50}),
    Request("a limit", fields={"max_completion_tokens": 50}, differs={"groq": ("sent",)}),
    Request("penalties", fields={"frequency_penalty": 0.5, "presence_penalty": 0.5}),
    Request("metadata", fields={"metadata": {"trace": "1"}}),
    Request("tools", fields={"tools": [WEATHER], "tool_choice": "auto", "parallel_tool_calls": False}),
    Request("a choice of no tools", fields={"tool_choice": "auto"}, to=but("openai")),
    Request("a strict tool", fields={"tools": [STRICT]}, differs=same(("vllm", "huggingface"), "sent")),
    Request("a marked tool", fields={"tools": [{**WEATHER, "cache_control": {"type": "ephemeral"}}]}, to=LIKE),
    Request("the result of a tool", HISTORY, {"tools": [WEATHER]}),
    Request("a developer", [{"role": "developer", "content": "Be brief."}, *HELLO]),
    Request("texts in parts", PARTS, differs=same(("vllm", "huggingface"), "sent")),
    Request("a mark for the cache", MARKED),
    Request("a picture", shown({"url": PNG, "detail": "low"}), differs={"deepseek": ("refused",)}),
    Request("a picture's address", shown(PNG), to=but("deepseek")),
    Request("a picture with its type", shown({"url": PNG, "format": "image/png"}), to=but("deepseek")),
    Request("thoughts", [*HELLO, {"role": "assistant", "content": "Hi", "reasoning_content": "why"}, *HELLO]),
    Request(
        "thoughts of Anthropic's",
        [*HELLO, {"role": "assistant", "content": "Hi", "thinking_blocks": [{"type": "thinking"}]}, *HELLO],
    ),
    Request("a schema", fields={"response_format": JSON_SCHEMA}, to=but("groq")),
    Request("a user", fields={"user": "me"}, differs=same(LIKE, "sent")),
    Request(
        "how hard to think",
        fields={"reasoning_effort": "low"},
        to=but("together_ai", "deepseek"),
        differs=same(("azure", "groq"), "refused"),
    ),
    Request("two answers", fields={"n": 2}, differs={"deepseek": ("codes",)}),
    Request("log probabilities", fields={"logprobs": True, "top_logprobs": 2}, differs={"groq": ("codes",)}),
    Request("further fields", fields={"extra_body": {"seed": 3}, "extra_headers": {"X-Team": "red"}}),
    Request("headers of the settings", options={"extra_headers": {"X-Team": "red"}}),
    Request("a tier", fields={"service_tier": "auto"}, differs={"azure": ("refused",)}),
    *(
        Request(name, fields={"input": given, **fields}, to=tuple(VECTORS), operation="embeddings", differs=differs)
        for name, given, fields, differs in (
            ("a vector", "one", {}, {"azure": ("sent",), "vllm": ("sent",), "ollama": ("ollama",)}),
            ("vectors in texts", ["one", "two"], {"encoding_format": "base64"}, {"ollama": ("ollama",)}),
            ("short vectors", ["one", "two"], {"dimensions": 4, "encoding_format": "float"}, {"ollama": ("ollama",)}),
        )
    ),
]


def replies(provider: str) -> dict[str, Delivery]:
    """What the double of a provider is to answer, in its own words."""
    calls = [ToolCall("get_weather", {"city": name}, name) for name in ("Oslo", "Rome")]
    if provider == "ollama":
        own = fake_ollama.Reply
        return {
            "thoughts": own(text="a b", thinking="why not"),
            "calls": own(tool_calls=calls, thinking=""),
            "an end": own(text="a b", thinking="", done_reason="length"),
            "a refusal": own(status=503, headers={"retry-after": "7"}),
        }
    return {
        "thoughts": Reply(content="a b", reasoning="why not"),
        "calls": Reply(tool_calls=calls),
        "an end": Reply(content="a b", finish_reason="length"),
        "a refusal": Reply(status=429, headers={"retry-after": "7"}),
    }
