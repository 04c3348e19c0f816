"""Aliases: several deployments of one model, fallbacks, cooldowns, and LiteLLM Proxy's own file for them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from las_langchain import ChatLAS
from las_langchain.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ModelNotFoundError,
    RateLimitError,
    ServiceUnavailableError,
)
from las_langchain.service import LiteLLMService
from las_langchain.settings import load_settings
from tests.conftest import UPSTREAM_KEY
from tests.fake_anthropic import FakeAnthropic
from tests.fake_openai import FakeOpenAI, Reply

Json = dict[str, Any]
BODY: Json = {"messages": [{"role": "user", "content": "hello there"}]}


@pytest.fixture(scope="module")
def _second() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as double:
        yield double


@pytest.fixture
def second(_second: FakeOpenAI) -> FakeOpenAI:
    """Another place that serves OpenAI's models."""
    _second.reset()
    return _second


@pytest.fixture
def two(upstream: FakeOpenAI, second: FakeOpenAI) -> Json:
    """The alias ``fast`` with two deployments."""
    other = {"model": "openai/gpt-4o-mini", "base_url": second.url, "api_key": "sk-of-the-second-0123456789"}
    return {"fast": {"deployments": ["openai/gpt-4o", other]}}


def service_with(models: Json, **settings: Any) -> LiteLLMService:
    return LiteLLMService(load_settings(models=models, **settings))


def asked(*doubles: FakeOpenAI) -> list[int]:
    return [len(double.requests) for double in doubles]


def test_deployments_take_turns_each_with_its_own_key(two: Json, upstream: FakeOpenAI, second: FakeOpenAI) -> None:
    service = service_with(two)
    for _ in range(30):
        service.complete(service.target("fast"), BODY)
    assert sum(asked(upstream, second)) == 30
    assert min(asked(upstream, second)) > 3
    assert upstream.last.headers["authorization"] == f"Bearer {UPSTREAM_KEY}"
    assert second.last.headers["authorization"] == "Bearer sk-of-the-second-0123456789"
    assert (upstream.last.body["model"], second.last.body["model"]) == ("gpt-4o", "gpt-4o-mini")


def test_weights_share_the_calls_out(two: Json, upstream: FakeOpenAI, second: FakeOpenAI) -> None:
    first, other = two["fast"]["deployments"]
    service = service_with({"fast": {"deployments": [{"model": first, "weight": 1}, {**other, "weight": 99}]}})
    for _ in range(20):
        service.complete(service.target("fast"), BODY)
    assert len(second.requests) > len(upstream.requests)


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
def test_a_failing_deployment_hands_over_at_once(
    two: Json, upstream: FakeOpenAI, second: FakeOpenAI, status: int
) -> None:
    upstream.enqueue(*[Reply(status=status)] * 20)
    service = service_with(two, max_retries=1)
    for _ in range(6):
        assert service.complete(service.target("fast"), BODY)["choices"]


def test_what_is_wrong_with_the_request_is_not_asked_twice(two: Json, upstream: FakeOpenAI, second: FakeOpenAI) -> None:
    for double in (upstream, second):
        double.enqueue(Reply(status=400))
    service = service_with(two)
    with pytest.raises(BadRequestError):
        service.complete(service.target("fast"), BODY)
    assert sum(asked(upstream, second)) == 1


def test_a_failing_deployment_is_left_alone_for_a_while(two: Json, upstream: FakeOpenAI, second: FakeOpenAI) -> None:
    upstream.enqueue(*[Reply(status=500)] * 60)
    routing = {"allowed_fails": 1, "cooldown_time": 60}
    service = service_with(two, max_retries=1, routing=routing)
    for _ in range(40):
        service.complete(service.target("fast"), BODY)
    assert len(upstream.requests) <= 4
    assert len(second.requests) == 40


def test_all_left_alone_is_said(two: Json, upstream: FakeOpenAI, second: FakeOpenAI) -> None:
    for double in (upstream, second):
        double.enqueue(*[Reply(status=401)] * 60)
    service = service_with(two, max_retries=1, routing={"allowed_fails": 0, "cooldown_time": 60})
    with pytest.raises(AuthenticationError):
        service.complete(service.target("fast"), BODY)
    with pytest.raises(ServiceUnavailableError, match="Every deployment of 'fast' has failed lately") as error:
        service.complete(service.target("fast"), BODY)
    assert error.value.retry_after is not None
    assert 0 < error.value.retry_after <= 60


def test_the_next_order_is_asked_where_the_first_fails(two: Json, upstream: FakeOpenAI, second: FakeOpenAI) -> None:
    first, other = two["fast"]["deployments"]
    two["fast"]["deployments"] = [other, {"model": first, "routing": {"order": 1}}]
    upstream.enqueue(Reply(status=500))
    service = service_with(two, max_retries=1)
    for _ in range(4):
        service.complete(service.target("fast"), BODY)
    assert asked(upstream, second) == [4, 1]


def test_the_only_one_that_is_left_is_asked_again_when_it_says(two: Json, upstream: FakeOpenAI) -> None:
    # The other deployment has no key.
    models = {"any": {"deployments": ["openai/gpt-4o", "groq/llama-3.3-70b-versatile"]}}
    service = service_with(models, max_retries=2)
    service.complete(service.target("any"), BODY)
    upstream.enqueue(*[Reply(status=503, headers={"retry-after": "0.5"})] * 2)
    begun = time.monotonic()
    service.complete(service.target("any"), BODY)
    assert time.monotonic() - begun >= 1
    assert len(upstream.requests) == 4


def test_a_deployment_is_left_alone_until_it_says(two: Json, upstream: FakeOpenAI, second: FakeOpenAI) -> None:
    upstream.enqueue(Reply(status=429, headers={"retry-after": "60"}))
    service = service_with(two, max_retries=1, routing={"cooldown_time": 0.1})
    while not upstream.requests:
        service.complete(service.target("fast"), BODY)
    time.sleep(0.2)
    for _ in range(8):
        service.complete(service.target("fast"), BODY)
    assert len(upstream.requests) == 1


def test_a_deployment_has_a_cooldown_of_its_own(two: Json, upstream: FakeOpenAI, second: FakeOpenAI) -> None:
    first, other = two["fast"]["deployments"]
    two["fast"]["deployments"] = [{"model": first, "routing": {"cooldown_time": 60}}, other]
    upstream.enqueue(Reply(status=500))
    service = service_with(two, max_retries=1, routing={"allowed_fails": 0, "cooldown_time": 0.1})
    while not upstream.requests:
        service.complete(service.target("fast"), BODY)
    time.sleep(0.2)
    for _ in range(8):
        service.complete(service.target("fast"), BODY)
    assert len(upstream.requests) == 1


def test_without_a_cooldown_none_is_left_alone(two: Json, upstream: FakeOpenAI, second: FakeOpenAI) -> None:
    for double in (upstream, second):
        double.enqueue(*[Reply(status=429, headers={"retry-after": "60"})] * 60)
    service = service_with(two, max_retries=0, routing={"allowed_fails": 0, "cooldown_time": 0})
    for _ in range(4):
        with pytest.raises(RateLimitError):
            service.complete(service.target("fast"), BODY)
    assert sum(asked(upstream, second)) == 4


def test_fallbacks_are_asked_in_order(two: Json, upstream: FakeOpenAI, second: FakeOpenAI) -> None:
    for double in (upstream, second):
        double.enqueue(*[Reply(status=500)] * 4)
    two["fast"]["fallbacks"] = ["anthropic/claude-sonnet-4-5", "local/smollm2-135m-instruct"]
    service = service_with(two, max_retries=0)
    # The first fallback has no key here.
    answer = service.complete(service.target("fast"), {**BODY, "max_tokens": 3})
    assert answer["model"] == "local/smollm2-135m-instruct"


def test_a_fallback_that_does_not_take_the_request_hides_no_failure(upstream: FakeOpenAI) -> None:
    refusing = ["local/smollm2-135m-instruct", "openai/gpt-4.1"]
    body = {**BODY, "verbosity": "low"}
    upstream.enqueue(Reply(status=503), Reply(content="Here"), Reply(status=503, headers={"retry-after": "9"}))
    models = {"fast": {"deployments": ["openai/gpt-4o-mini"], "fallbacks": refusing}}
    service = service_with(models, max_retries=0, routing={"cooldown_time": 0})
    assert service.complete(service.target("fast"), body)["choices"][0]["message"]["content"] == "Here"
    models["fast"]["fallbacks"] = refusing[:1]
    service = service_with(models, max_retries=0, routing={"cooldown_time": 0})
    with pytest.raises(ServiceUnavailableError, match="overloaded") as caught:
        service.complete(service.target("fast"), body)
    assert caught.value.retry_after == 9


def test_default_fallbacks_serve_models_without_their_own(upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(status=500))
    service = service_with({}, max_retries=0, routing={"default_fallbacks": ["openai/gpt-4o-mini"]})
    service.complete(service.target("openai/gpt-4o"), BODY)
    assert [request.body["model"] for request in upstream.requests] == ["gpt-4o", "gpt-4o-mini"]


def test_too_long_a_prompt_has_fallbacks_of_its_own(upstream: FakeOpenAI) -> None:
    error = {"message": "This model's maximum context length is 8 tokens", "code": "context_length_exceeded"}
    upstream.enqueue(Reply(status=400, error=error))
    entry = {
        "deployments": ["openai/gpt-4o"],
        "fallbacks": ["openai/gpt-4o-mini"],
        "context_window_fallbacks": ["openai/gpt-4.1"],
    }
    service = service_with({"short": entry})
    service.complete(service.target("short"), BODY)
    assert [request.body["model"] for request in upstream.requests] == ["gpt-4o", "gpt-4.1"]


def test_streams_are_handed_over_before_they_begin(two: Json, upstream: FakeOpenAI, second: FakeOpenAI) -> None:
    upstream.enqueue(*[Reply(status=500)] * 9)
    service = service_with(two, max_retries=1)
    for _ in range(5):
        chunks = list(service.stream(service.target("fast"), BODY))
        assert "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"]).startswith("Echo")


async def test_the_model_in_this_process_is_a_deployment_like_others(upstream: FakeOpenAI) -> None:
    upstream.enqueue(*[Reply(status=500)] * 5)
    models = {"any": {"deployments": ["openai/gpt-4o", "local/smollm2-135m-instruct"]}}
    service = service_with(models, max_retries=1)
    body = {**BODY, "max_tokens": 2}
    answers = await asyncio.gather(*[service.acomplete(service.target("any"), body) for _ in range(4)])
    assert {answer["model"] for answer in answers} == {"local/smollm2-135m-instruct"}


def test_each_provider_is_spoken_to_in_its_own_words(upstream: FakeOpenAI, anthropic_upstream: FakeAnthropic) -> None:
    models = {"any": {"deployments": ["openai/gpt-4o"], "fallbacks": ["anthropic/claude-sonnet-4-5"]}}
    upstream.enqueue(Reply(status=500))
    chat = ChatLAS(model="any", service=service_with(models, max_retries=0))
    answer = chat.invoke("hello there")
    assert isinstance(answer, AIMessage)
    assert answer.response_metadata["model_provider"] == "anthropic"
    assert anthropic_upstream.last.body["messages"][0]["role"] == "user"


def test_strategies_of_the_router(two: Json, upstream: FakeOpenAI, second: FakeOpenAI) -> None:
    for strategy in ("least-busy", "latency-based-routing", "cost-based-routing"):
        service = service_with(two, routing={"strategy": strategy})
        for _ in range(3):
            service.complete(service.target("fast"), BODY)
        list(service.stream(service.target("fast"), BODY))
    # The cheaper one took the last four.
    assert [second.requests[-n].body["model"] for n in range(1, 5)] == ["gpt-4o-mini"] * 4


async def test_the_least_busy_deployment_is_asked(two: Json, upstream: FakeOpenAI, second: FakeOpenAI) -> None:
    upstream.enqueue(*[Reply(delay=0.3)] * 20)
    second.enqueue(*[Reply(delay=0.3)] * 20)
    service = service_with(two, routing={"strategy": "least-busy"})
    await asyncio.gather(*[service.acomplete(service.target("fast"), BODY) for _ in range(10)])
    assert asked(upstream, second) == [5, 5]


def test_keys_and_addresses_are_the_deployments(two: Json) -> None:
    service = service_with(two)
    with pytest.raises(BadRequestError, match="the alias 'fast' has deployments with their own") as error:
        service.target("fast", api_base="http://127.0.0.1:9")
    assert error.value.param == "api_base"


def test_a_misspelt_alias_is_told(two: Json) -> None:
    with pytest.raises(ModelNotFoundError, match="did you mean 'fast'"):
        service_with(two).target("fst/x")


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"deployments": []}, "at least 1 item"),
        ({"deployments": ["openia/gpt-4o"]}, "did you mean 'openai'"),
        ({"deployments": ["openai/gpt-4o"], "fallbacks": ["openia/gpt-4o"]}, "did you mean 'openai'"),
        ({"deployments": [{"model": "openai/gpt-4o", "wieght": 1}]}, "wieght"),
        ({"deployments": [{"model": "openai/gpt-4o", "routing": {"model_info": 5}}]}, "routing.model_info"),
        ({"deployments": [{"model": "openai/gpt-4o", "options": {"input_cost_per_token": "x"}}]}, "expected a price"),
        ({"deployments": [{"model": "openai/gpt-4o", "routing": {"max_budget": 1}}]}, "routing.max_budget"),
        ({"deployments": [{"model": "openai/gpt-4o", "api_key": "sk-1\n"}]}, "api_key: has a line break"),
        ({"deployments": [{"model": "openai/gpt-4o", "base_url": "http://host:99999"}]}, "expected an address"),
        ({"deployments": [{"model": "openai/gpt-4o", "options": {"extra_headers": {"x": "\n"}}}]}, "line break"),
    ],
)
def test_wrong_entries_are_refused_at_the_start(entry: Json, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        service_with({"fast": entry})


def test_one_deployment_leaves_nothing_to_choose(upstream: FakeOpenAI) -> None:
    """Such an alias needs no Router, and so nothing of litellm."""
    service = service_with({"fast": {"deployments": ["openai/gpt-4o"]}})
    upstream.enqueue(Reply(status=500, headers={"retry-after": "0"}), Reply(content="Again."))
    answer = service.complete(service.target("fast"), BODY)
    assert answer["choices"][0]["message"]["content"] == "Again."
    assert not service._setup.has_router


def test_what_litellms_router_does_not_take_is_said_in_one_line() -> None:
    named = {"model": "local/smollm2-135m-instruct", "routing": {"model_info": {"tier": "gold"}}}
    service = service_with({"fast": {"deployments": [named, named]}})
    with pytest.raises(ConfigurationError, match=r"^models: litellm makes no Router of the aliases: .* tier .*$"):
        service.complete(service.target("fast"), BODY)


def test_default_fallbacks_are_checked_too() -> None:
    with pytest.raises(ConfigurationError, match=r"\[routing\]: Unknown provider 'openia'.*did you mean 'openai'"):
        service_with({}, routing={"default_fallbacks": ["openia/gpt-4o"]})


YAML = """
model_list:
  - model_name: fast
    litellm_params:
      model: openai/gpt-4o
      api_key: os.environ/OPENAI_API_KEY
      temperature: 0.25
      rpm: 60
  - model_name: fast
    litellm_params:
      model: openai/gpt-4o-mini
      api_base: os.environ/SECOND_BASE
      api_key: sk-of-the-second-0123456789
      rpm: 60
    model_info: {id: second}
  - model_name: openai/*
    litellm_params: {model: openai/*}
router_settings:
  routing_strategy: simple-shuffle
  num_retries: 1
  model_group_alias: {quick: fast}
litellm_settings:
  fallbacks: [{fast: [local/smollm2-135m-instruct]}]
  drop_params: true
general_settings: {master_key: sk-1234}
"""


@pytest.fixture
def yaml_file(tmp_path: Path, second: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SECOND_BASE", second.url)
    path = tmp_path / "proxy.yaml"
    path.write_text(YAML)
    monkeypatch.setenv("LAS_LITELLM_CONFIG", str(path))
    return path


def test_litellms_own_file_is_read_as_it_is(
    yaml_file: Path, upstream: FakeOpenAI, second: FakeOpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    service = LiteLLMService(load_settings())
    assert service.settings.max_retries == 1
    assert "ignored: general_settings" in caplog.text
    for name in ("fast", "quick"):
        for _ in range(12):
            service.complete(service.target(name), BODY)
    assert Counter(r.body["model"] for r in (*upstream.requests, *second.requests)).keys() == {"gpt-4o", "gpt-4o-mini"}
    assert upstream.last.body["temperature"] == 0.25
    assert "temperature" not in second.last.body
    service.complete(service.target("openai/gpt-4.1"), {**BODY, "temperature": 1})
    assert upstream.last.body["model"] == "gpt-4.1"


def test_a_request_overrules_a_deployments_defaults(yaml_file: Path, upstream: FakeOpenAI) -> None:
    service = LiteLLMService(load_settings())
    for _ in range(12):
        service.complete(service.target("fast"), {**BODY, "temperature": 0.75})
    assert upstream.last.body["temperature"] == 0.75


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model_list: [", "is not valid YAML"),
        ("- a", "must be a table"),
        ("model_list: [{model_name: x}]", r"model_list\[0\]: needs model_name and litellm_params.model"),
        ("model_list: [{model_name: x, litellm_params: {model: openai/a, api_key: os.environ/NOPE}}]", "set NOPE"),
        ("router_settings: {model_group_alias: {a: b}}", "'b' is not in model_list"),
        ("model_list: [{model_name: x, litellm_params: {model: a}, model_info: 5}]", "model_info: expected a table"),
        ("include: other.yaml", "include: expected a list of files"),
        ("include: [missing.yaml]", "missing.yaml cannot be read"),
    ],
)
def test_what_is_wrong_with_the_file_is_said(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "proxy.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=expected):
        LiteLLMService(load_settings(litellm_config=path))


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"LAS_LITELLM_CONFIG: .* cannot be read"):
        load_settings(litellm_config=tmp_path / "none.yaml")


def test_changes_of_keys_and_addresses_reach_aliases(upstream: FakeOpenAI, second: FakeOpenAI) -> None:
    service = service_with({"fast": {"deployments": ["openai/gpt-4o"]}})
    service.complete(service.target("fast"), BODY)
    service.update_config(openai_base_url=second.url, openai_api_key="sk-rotated-0123456789", temperature=0.5)
    service.complete(service.target("fast"), BODY)
    assert asked(upstream, second) == [1, 1]
    assert second.last.headers["authorization"] == "Bearer sk-rotated-0123456789"
    assert second.last.body["temperature"] == 0.5


def test_default_fallbacks_are_for_chats_alone(upstream: FakeOpenAI) -> None:
    upstream.enqueue(Reply(status=500))
    service = service_with({}, max_retries=0, routing={"default_fallbacks": ["openai/text-embedding-3-large"]})
    with pytest.raises(APIError):
        service.embed(service.target("openai/text-embedding-3-small"), {"input": "x"})
    assert len(upstream.requests) == 1


def test_what_is_a_providers_own_stays_with_it(upstream: FakeOpenAI, second: FakeOpenAI) -> None:
    service = service_with(
        {"any": {"deployments": ["openai/gpt-4o"], "fallbacks": ["vllm/gpt-4o"]}},
        max_retries=0,
        vllm_base_url=second.url,
        vllm_api_key="sk-vllm-0123456789",
    )
    upstream.enqueue(Reply(status=500))
    chat = ChatLAS(model="any", service=service, extra_body={"store": True}, extra_headers={"x-secret": "s3cret"})
    chat.invoke("hello")
    assert upstream.last.body["store"]
    assert upstream.last.headers["x-secret"] == "s3cret"
    assert "store" not in second.last.body
    assert "x-secret" not in second.last.headers


def test_a_deployment_without_a_key_is_passed_over(upstream: FakeOpenAI) -> None:
    service = service_with({"any": {"deployments": ["anthropic/claude-sonnet-4-5", "openai/gpt-4o"]}})
    for _ in range(6):
        assert service.complete(service.target("any"), BODY)["model"] == "gpt-4o-2024-08-06"
    service = service_with({"any": {"deployments": ["anthropic/claude-sonnet-4-5", "groq/llama-3.3-70b-versatile"]}})
    with pytest.raises(AuthenticationError, match="No key for"):
        service.complete(service.target("any"), BODY)


def test_a_star_stands_for_what_it_matched(upstream: FakeOpenAI) -> None:
    service = service_with({"my-*": {"deployments": ["openai/*"]}, "team/openai/*": {"deployments": ["openai/*"]}})
    for name in ("my-gpt-4o", "team/openai/gpt-4o"):
        service.complete(service.target(name), BODY)
        assert upstream.last.body["model"] == "gpt-4o"


def test_each_star_stands_for_its_own_part(upstream: FakeOpenAI) -> None:
    service = service_with({"the-*-of-*": {"deployments": ["openai/*-*"]}})
    service.complete(service.target("the-gpt-of-4o"), BODY)
    assert upstream.last.body["model"] == "gpt-4o"


def test_a_cached_answer_is_of_the_deployments_that_there_are(upstream: FakeOpenAI) -> None:
    service = service_with({"f": {"deployments": ["openai/gpt-4o-mini"]}}, enable_caching=True)
    service.complete(service.target("f"), BODY)
    service.update_config(models={"f": {"deployments": ["openai/gpt-4o"]}})
    assert "cache_hit" not in service.complete(service.target("f"), BODY)
    assert upstream.last.body["model"] == "gpt-4o"


def test_references_are_followed_wherever_they_are(tmp_path: Path, upstream: FakeOpenAI) -> None:
    path = tmp_path / "proxy.yaml"
    path.write_text(
        """
model_list:
  - model_name: a
    litellm_params: {model: openai/gpt-4o, extra_headers: {x-token: os.environ/OPENAI_API_KEY}}
litellm_settings: {success_callback: null, fallbacks: [{b: [openai/gpt-4.1]}]}
router_settings: {model_group_alias: {b: a}}
"""
    )
    service = LiteLLMService(load_settings(litellm_config=path, max_retries=0))
    upstream.enqueue(Reply(status=500))
    service.complete(service.target("b"), BODY)
    assert [request.body["model"] for request in upstream.requests] == ["gpt-4o", "gpt-4.1"]
    assert upstream.requests[0].headers["x-token"] == UPSTREAM_KEY
    assert not service.settings.models["a"].fallbacks
