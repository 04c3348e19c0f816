"""LiteLLM Proxy's own file: what of it is done here, and what is named as ignored."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from las_langchain.service import LiteLLMService
from las_langchain.settings import load_settings
from tests.conftest import UPSTREAM_KEY
from tests.fake_anthropic import FakeAnthropic
from tests.fake_openai import FakeOpenAI

Json = dict[str, Any]
BODY: Json = {"messages": [{"role": "user", "content": "hello there"}]}
GPT = "model_list: [{model_name: m, litellm_params: {model: openai/gpt-4o}}]\n"
Read = Callable[..., LiteLLMService]


@pytest.fixture
def read(tmp_path: Path, upstream: FakeOpenAI) -> Read:
    """Makes a service with a file of such a text."""

    def service(text: str, **settings: Any) -> LiteLLMService:
        path = tmp_path / "proxy.yaml"
        path.write_text(text)
        return LiteLLMService(load_settings(litellm_config=path, **settings))

    return service


@pytest.mark.parametrize(
    ("text", "ignored"),
    [
        (
            "router_settings: {routing_strategy: usage-based-routing-v2}",
            "router_settings.routing_strategy=usage-based-routing-v2",
        ),
        ("router_settings: {redis_host: os.environ/NOBODY_SET_THIS}", "router_settings.redis_host"),
        ("litellm_settings: {s3_callback_params: {bucket: os.environ/NOPE}}", "litellm_settings.s3_callback_params"),
        ("litellm_settings: {callbacks: custom.handler}", "litellm_settings.callbacks=custom.handler"),
        ("litellm_settings: {success_callback: [nobodys]}", "litellm_settings.callbacks=nobodys"),
        ("credential_list: []\ngeneral_settings: {master_key: os.environ/NOPE}", "general_settings"),
    ],
)
def test_what_is_not_done_here_is_named_and_hinders_no_call(
    read: Read, caplog: pytest.LogCaptureFixture, text: str, ignored: str
) -> None:
    service = read(GPT + text)
    assert f"without meaning here, and ignored: {ignored}" in caplog.text
    assert service.complete(service.target("m"), BODY)["choices"]


def test_limits_of_single_deployments_are_named(read: Read, caplog: pytest.LogCaptureFixture) -> None:
    limits = "max_budget: 0.5, budget_duration: 1d, max_parallel_requests: 1, order: 1, litellm_credential_name: x"
    service = read(f"model_list: [{{model_name: m, litellm_params: {{model: openai/gpt-4o, {limits}}}}}]")
    names = ("budget_duration", "litellm_credential_name=x", "max_budget", "max_parallel_requests")
    assert "ignored: " + ", ".join(f"litellm_params.{name}" for name in names) in caplog.text
    assert service.complete(service.target("m"), BODY)["choices"]


def test_no_cooldown_is_a_cooldown_of_0(read: Read) -> None:
    assert read(GPT + "router_settings: {cooldown_time: 0}").settings.routing.cooldown_time == 0


def test_parameters_that_a_provider_does_not_take_are_dropped(read: Read, anthropic_upstream: FakeAnthropic) -> None:
    service = read(
        "model_list: [{model_name: m, litellm_params: {model: anthropic/claude-sonnet-4-5}}]\n"
        "litellm_settings: {drop_params: true}"
    )
    service.complete(service.target("m"), {**BODY, "frequency_penalty": 0.5})
    assert "frequency_penalty" not in anthropic_upstream.last.body


def test_variables_of_the_file_are_seen_by_it_and_by_the_providers(
    read: Read, upstream: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment-0123456789")
    monkeypatch.setenv("ELSEWHERE", "of elsewhere")
    service = read(
        f"""
environment_variables:
  OPENAI_API_KEY: {UPSTREAM_KEY}
  TEAM: os.environ/ELSEWHERE
  UNSET: os.environ/NOBODY_SET_THIS
model_list:
  - model_name: m
    litellm_params: {{model: openai/gpt-4o, extra_headers: {{x-team: os.environ/TEAM}}}}
"""
    )
    service.update_config(temperature=0.5)
    service.complete(service.target("m"), BODY)
    assert upstream.last.headers["authorization"] == f"Bearer {UPSTREAM_KEY}"
    assert upstream.last.headers["x-team"] == "of elsewhere"
    assert "TEAM" not in os.environ


def test_included_files_are_read_after_the_one_that_names_them(read: Read, tmp_path: Path) -> None:
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "models.yaml").write_text(
        "include: [../proxy.yaml, rest.yaml]\n"
        "model_list: [{model_name: n, litellm_params: {model: openai/gpt-4o-mini}}]\n"
        "router_settings: {num_retries: 7}"
    )
    (folder / "rest.yaml").write_text("model_list: [{model_name: o, litellm_params: {model: openai/gpt-4.1}}]")
    settings = read("include: [more/models.yaml]\nrouter_settings: {num_retries: 1}\n" + GPT).settings
    assert list(settings.models) == ["m", "n", "o"]
    assert settings.max_retries == 7


def test_credentials_of_the_file_are_used_by_name(read: Read, upstream: FakeOpenAI) -> None:
    service = read(
        f"""
credential_list:
  - credential_name: ours
    credential_values: {{api_key: os.environ/SPECIAL_KEY, api_base: "http://127.0.0.1:9/v1"}}
environment_variables: {{SPECIAL_KEY: sk-special-0123456789}}
model_list:
  - model_name: m
    litellm_params: {{model: openai/gpt-4o, litellm_credential_name: ours, api_base: "{upstream.url}"}}
"""
    )
    service.complete(service.target("m"), BODY)
    assert upstream.last.headers["authorization"] == "Bearer sk-special-0123456789"
