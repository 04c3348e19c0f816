"""Both transports, side by side: what they send to each provider, and what becomes of its own way to answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from las_langchain.service import LiteLLMService
from las_langchain.settings import load_settings
from las_langchain.transports.choice import choose
from tests.fake_server import FakeServer
from tests.las_langchain.contracts.cases import WEATHER
from tests.las_langchain.transports.wire import provider_cases
from tests.las_langchain.transports.wire.cases import Case
from tests.las_langchain.transports.wire.provider_cases import (
    KEYS,
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
        assert choose(service.target(case.model), case.operation, body).transport == "wire", provider
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
