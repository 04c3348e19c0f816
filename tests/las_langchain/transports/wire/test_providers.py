"""Both transports, side by side: what they send to each provider, and what becomes of its own way to answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from las_langchain.service import LiteLLMService
from las_langchain.settings import load_settings
from las_langchain.transports.choice import choose
from las_langchain.transports.wire.dialects import put_right
from las_langchain.transports.wire.transport import WireTransport
from tests.fake_server import FakeServer
from tests.las_langchain.contracts.cases import WEATHER
from tests.las_langchain.transports.wire import provider_cases
from tests.las_langchain.transports.wire.cases import CALL, HELLO, Case
from tests.las_langchain.transports.wire.provider_cases import (
    KEYS,
    MARKED,
    MODELS,
    REQUESTS,
    SPEAKERS,
    VECTORS,
    Request,
    replies,
)
from tests.las_langchain.transports.wire.seen import by_upstream, differing, in_python, normalised
from tests.las_langchain.transports.wire.test_differential import TRANSPORTS, check

Doubles = dict[str, FakeServer[Any]]


@pytest.fixture(scope="module")
def doubles() -> Iterator[Doubles]:
    with ExitStack() as running:
        yield {name: running.enter_context(double) for name, double in provider_cases.doubles().items()}


@pytest.mark.parametrize("request_", REQUESTS, ids=str)
async def test_the_same_is_sent(request_: Request, doubles: Doubles) -> None:
    body = {"messages": request_.messages, **request_.fields} if request_.operation == "chat" else request_.fields
    for provider in request_.to:
        double, models = doubles[provider], VECTORS if request_.operation == "embeddings" else MODELS
        entry = {"base_url": double.url, "api_key": KEYS[provider], "options": request_.options}
        service = LiteLLMService(load_settings(providers={provider: entry}))
        case = Case(
            request_.name,
            messages=request_.messages,
            fields=request_.fields,
            model=f"{provider}/{models[provider]}",
            operation=request_.operation,
            plain=True,
        )
        assert choose(service.target(case.model), case.operation, body)[0] == "wire", provider
        sent, refused = [], []
        for transport in TRANSPORTS:
            double.reset()
            said = await in_python(case, "whole", transport, service)
            sent.append(normalised(by_upstream(double, transport)))
            refused.append(normalised(said.get("error")))
        found = [*differing(*sent, f"{provider} sent"), *differing(*refused, f"{provider} refused")]
        check(request_.differs.get(provider, ()), found)


# By provider and way.
ANSWERS_DIFFER: dict[tuple[str, str], tuple[str, ...]] = {
    **dict.fromkeys([(name, "whole") for name in ("huggingface", "together_ai", "deepseek")], ("codes",)),
    **dict.fromkeys([(name, "stream") for name in ("huggingface", "together_ai", "deepseek")], ("codes", "heads")),
    **dict.fromkeys([(name, "stream") for name in ("vllm", "openrouter")], ("heads",)),
    **dict.fromkeys([("groq", "whole"), ("groq", "stream"), ("ollama", "whole")], ("codes", "heads")),
    ("ollama", "stream"): ("codes", "heads", "counts"),
}


@pytest.mark.parametrize("way", ["whole", "stream"])
@pytest.mark.parametrize("provider", [*SPEAKERS, "ollama"])
async def test_the_same_is_answered(provider: str, way: str, doubles: Doubles) -> None:
    double = doubles[provider]
    service = LiteLLMService(load_settings(providers={provider: {"base_url": double.url, "api_key": KEYS[provider]}}))
    fields = {"tools": [WEATHER], "temperature": 0.5, "top_p": 0.5}
    case = Case("", fields=fields, model=f"{provider}/{MODELS[provider]}")
    found = []
    for name, reply in replies(provider).items():
        seen = []
        for transport in TRANSPORTS:
            double.reset()
            double.enqueue(reply)
            seen.append(normalised(await in_python(case, way, transport, service)))
        found += differing(*seen, f"{name} {way}")
    check(ANSWERS_DIFFER.get((provider, way), ()), found)


async def test_ollama_is_asked_in_openais_words_as_it_reads_them(doubles: Doubles) -> None:
    double = doubles["ollama"]
    double.reset()
    target = LiteLLMService(load_settings(providers={"ollama": {"base_url": double.url}})).target("ollama/llama3.2")
    asked = {
        "messages": [
            {"role": "developer", "content": [{"type": "text", "text": "Be"}, {"type": "text", "text": "brief."}]},
            *HELLO,
            {"role": "assistant", "content": None, "tool_calls": [CALL], "reasoning_content": "why"},
            {"role": "tool", "tool_call_id": "call_1", "content": "4 degrees"},
            *HELLO,
        ],
        "max_completion_tokens": 2,
        "temperature": 0,
        "top_p": 1,
        "metadata": {"trace": "1"},
    }
    assert choose(target, "chat", asked) == ("wire", "Ollama speaks OpenAI's format")
    answer = await WireTransport().acomplete(target, asked)
    (choice,) = answer["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("Echo: hello", "length")
    assert (double.last.path, double.last.body) == (
        "/v1/chat/completions",
        {
            "model": "llama3.2",
            "messages": [
                {"role": "system", "content": "Be\nbrief."},
                *HELLO,
                {"role": "assistant", "tool_calls": [CALL], "reasoning_content": "why", "reasoning": "why"},
                {"role": "tool", "tool_call_id": "call_1", "content": "4 degrees"},
                *HELLO,
            ],
            "max_tokens": 2,
            "temperature": 0,
            "top_p": 1,
        },
    )


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-5", "max_completion_tokens"),
        ("o3-mini", "max_completion_tokens"),
        ("my-o3", "max_completion_tokens"),
        ("gpt-5-chat", "max_completion_tokens"),
        ("demo1", "max_tokens"),
        ("my-chat", "max_tokens"),
    ],
)
def test_azures_deployments_that_reason(model: str, name: str) -> None:
    target = LiteLLMService(load_settings(providers={"azure": {"api_key": "x"}})).target(f"azure/{model}")
    sent = put_right(target, {"messages": [{"role": "developer", "content": "Be brief."}], "max_tokens": 9})
    assert {key for key, value in sent.items() if value == 9} == {name}
    assert sent["messages"][0]["role"] == ("developer" if name == "max_completion_tokens" else "system")


def test_marks_of_a_cache_go_where_they_may_lead_to_anthropic() -> None:
    settings = load_settings(providers={name: {"api_key": "x"} for name in ("openai", "openrouter", "groq")})
    service = LiteLLMService(settings)
    targets = {
        name: service.target(name, api_base=base)
        for name, base in (
            ("openai/gpt-4o", None),
            ("openai/gpt-4.1", "http://127.0.0.1:9/v1"),
            ("openrouter/anthropic/claude-3.5-sonnet", None),
            ("openrouter/openai/gpt-4o", None),
            ("groq/llama-3.3-70b-versatile", None),
        )
    }
    sent = {name: str(put_right(target, {"messages": MARKED})) for name, target in targets.items()}
    kept = [name for name, body in sent.items() if "cache_control" in body]
    assert kept == ["openai/gpt-4.1", "openrouter/anthropic/claude-3.5-sonnet"]


@pytest.mark.parametrize("provider", ["openai", "azure"])
async def test_a_name_and_a_password_in_an_address_are_sent(provider: str, doubles: Doubles) -> None:
    """By litellm nothing is sent to such an address."""
    double = doubles[provider]
    entry = {"base_url": double.url.replace("://", "://me:p%40ss@"), "api_key": KEYS[provider]}
    service = LiteLLMService(load_settings(providers={provider: entry}))
    double.reset()
    await in_python(Case("", model=f"{provider}/{MODELS[provider]}"), "whole", "wire", service)
    (sent,) = by_upstream(double, "wire")
    assert sent["headers"]["authorization"] == "Basic bWU6cEBzcw=="
