"""litellm's callbacks, and LangChain's: who is told of a call, and what."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import litellm
import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.outputs import LLMResult

from las_langchain import ChatLAS
from las_langchain.errors import ConfigurationError
from las_langchain.service import LiteLLMService
from las_langchain.settings import load_settings
from tests.fake_openai import FakeOpenAI
from tests.fake_server import Delivery, Exchange, FakeServer, Received

BODY = {"messages": [{"role": "user", "content": "a private question"}]}


@pytest.fixture(autouse=True)
def lists() -> Iterator[None]:
    """litellm's lists of callbacks, as they were before the test."""
    names = ("success_callback", "failure_callback", "_async_success_callback", "_async_failure_callback")
    before = {name: list(getattr(litellm, name)) for name in names}
    silent = litellm.turn_off_message_logging
    yield
    for name, callbacks in before.items():
        setattr(litellm, name, callbacks)
    litellm.turn_off_message_logging = silent


def soon(found: Callable[[], Any]) -> Any:
    """What *found* returns, once it is something; litellm calls back in a thread of its own."""
    for _ in range(200):
        if result := found():
            return result
        time.sleep(0.05)
    raise AssertionError("nobody was told")


@pytest.mark.parametrize("way", ["complete", "stream"])
def test_a_function_of_the_answer_alone_is_called(upstream: FakeOpenAI, service: LiteLLMService, way: str) -> None:
    seen: list[Any] = []

    def log_success(response: Any) -> None:
        seen.append((response.model, response.usage.total_tokens))

    litellm.success_callback = [log_success]
    answer = getattr(service, way)(service.target("gpt-4o"), BODY)
    if way == "stream":
        list(answer)
    # litellm may still be telling of earlier tests' calls.
    ((_, tokens),) = soon(lambda: [told for told in seen if "gpt-4o" in told[0]])
    assert tokens > 0


def test_functions_as_litellm_documents_them_are_called_too(upstream: FakeOpenAI, service: LiteLLMService) -> None:
    seen: list[Any] = []

    def log_all(kwargs: Any, completion_response: Any, start_time: Any, end_time: Any) -> None:
        seen.append((kwargs["model"], end_time >= start_time))

    litellm.success_callback = [log_all]
    service.complete(service.target("gpt-4o"), BODY)
    assert soon(lambda: [told for told in seen if told[0] == "gpt-4o"]) == [("gpt-4o", True)]


class FakeHelicone(FakeServer[Delivery]):
    """The place that litellm's callback ``helicone`` reports to."""

    def route(self, request: Received) -> Callable[[Exchange, Delivery], Awaitable[None]]:
        return lambda exchange, reply: self.send_body(exchange, reply, {})

    def default_reply(self) -> Delivery:
        return Delivery()

    def stamps(self, exchange: Exchange) -> Mapping[str, str]:
        return {}


@pytest.fixture(scope="module")
def _helicone() -> Iterator[FakeHelicone]:
    with FakeHelicone(0) as double:
        yield double


@pytest.fixture
def helicone(_helicone: FakeHelicone, monkeypatch: pytest.MonkeyPatch) -> FakeHelicone:
    # litellm reads these once.
    monkeypatch.setenv("HELICONE_API_BASE", _helicone.url)
    monkeypatch.setenv("HELICONE_API_KEY", "sk-helicone-0123456789")
    _helicone.reset()
    return _helicone


@pytest.mark.parametrize("log_prompts", [False, True])
def test_services_are_named_in_the_settings(upstream: FakeOpenAI, helicone: FakeHelicone, log_prompts: bool) -> None:
    service = LiteLLMService(load_settings(callbacks="helicone", log_prompts=log_prompts))
    service.complete(service.target("gpt-4o"), BODY)
    told = soon(lambda: helicone.requests)[0]
    assert told.path == "/oai/v1/log"
    assert ("a private question" in str(told.body)) is log_prompts
    service.update_config(callbacks=[])
    assert "helicone" not in litellm.success_callback


def test_unknown_callbacks_are_refused(upstream: FakeOpenAI) -> None:
    service = LiteLLMService(load_settings(callbacks="langfus"))
    with pytest.raises(ConfigurationError, match="litellm knows no 'langfus'; did you mean 'langfuse'"):
        service.complete(service.target("gpt-4o"), BODY)
    service = LiteLLMService(load_settings())
    with pytest.raises(ConfigurationError, match="litellm knows no 'helicon'; did you mean 'helicone'"):
        service.update_config(callbacks=["helicon"])


def test_a_missing_package_is_named(upstream: FakeOpenAI, service: LiteLLMService) -> None:
    with pytest.raises(ConfigurationError, match="'langfuse' needs a package that is missing: pip install langfuse"):
        LiteLLMService(load_settings(callbacks="langfuse")).complete(service.target("gpt-4o"), BODY)
    litellm.success_callback = ["langfuse"]
    with pytest.raises(ConfigurationError, match="pip install langfuse"):
        service.complete(service.target("gpt-4o"), BODY)


def test_langchains_callbacks_hear_of_each_token_and_the_cost(upstream: FakeOpenAI, service: LiteLLMService) -> None:
    class Handler(BaseCallbackHandler):
        def __init__(self) -> None:
            self.tokens: list[str] = []
            self.results: list[LLMResult] = []

        def on_llm_new_token(self, token: str, **kwargs: Any) -> None:
            self.tokens.append(token)

        def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:
            self.results.append(response)

    handler = Handler()
    list(ChatLAS(model="gpt-4o", service=service, callbacks=[handler]).stream("hello"))
    assert "".join(handler.tokens) == "Echo: hello"
    message = handler.results[0].generations[0][0].message  # type: ignore[union-attr]
    assert message.response_metadata["cost"] > 0
    assert message.usage_metadata["total_tokens"] > 0
