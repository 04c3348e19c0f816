"""litellm's callbacks, and LangChain's: who is told of a call, and what."""

from __future__ import annotations

import asyncio
import functools
import os
import subprocess
import textwrap
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import litellm
import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.outputs import LLMResult
from litellm.integrations.custom_logger import CustomLogger
from litellm.litellm_core_utils import logging_worker

from las_langchain import ChatLAS
from las_langchain.errors import ConfigurationError, LASError
from las_langchain.service import LiteLLMService
from las_langchain.settings import load_settings
from tests import warm
from tests.fake_openai import FakeOpenAI, Reply
from tests.fake_server import Delivery, Exchange, FakeServer, Received

BODY = {"messages": [{"role": "user", "content": "a private question"}]}


@pytest.fixture(autouse=True)
def lists() -> Iterator[None]:
    """litellm's lists of callbacks, as they were before the test."""
    names = ("success_callback", "failure_callback", "_async_success_callback", "_async_failure_callback", "callbacks")
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


class Witnesses:
    """Callbacks of every kind that litellm's users write; ``heard`` counts what each was called with."""

    def __init__(self) -> None:
        self.heard: Counter[str] = Counter()
        self.all = [
            self.four,
            self.one,
            self.async_four,
            self.async_one,
            functools.partial(self.four, name="partial of four"),
            functools.partial(self.one, name="partial of one"),
            functools.partial(self.async_four, name="async partial of four"),
            _OfFour(self),
            _OfOne(self),
            _Logger(self),
            _SyncLogger(self),
        ]

    def four(self, kwargs: Any, response: Any, start: Any, end: Any, *, name: str = "four") -> None:
        assert kwargs["model"] == "gpt-4o"
        assert end >= start
        self.heard[name] += 1

    def one(self, response: Any, *, name: str = "one") -> None:
        assert response is None or response.model.startswith("gpt-4o")
        self.heard[name] += 1

    async def async_four(self, kwargs: Any, response: Any, start: Any, end: Any, *, name: str = "async four") -> None:
        self.four(kwargs, response, start, end, name=name)

    async def async_one(self, response: Any) -> None:
        self.one(response, name="async one")


class _OfFour:
    def __init__(self, witnesses: Witnesses) -> None:
        self._witnesses = witnesses

    def __call__(self, kwargs: Any, response: Any, start: Any, end: Any) -> None:
        self._witnesses.heard["object of four"] += 1


class _OfOne:
    def __init__(self, witnesses: Witnesses) -> None:
        self._witnesses = witnesses

    def __call__(self, response: Any) -> None:
        self._witnesses.heard["object of one"] += 1


class _Logger(CustomLogger):
    def __init__(self, witnesses: Witnesses) -> None:
        super().__init__()
        self._witnesses = witnesses

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self._witnesses.heard["logger"] += 1

    log_failure_event = log_success_event

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self._witnesses.heard["logger"] += 1

    async_log_failure_event = async_log_success_event


class _SyncLogger(CustomLogger):
    def __init__(self, witnesses: Witnesses) -> None:
        super().__init__()
        self._witnesses = witnesses

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self._witnesses.heard["logger without async methods"] += 1

    log_failure_event = log_success_event


def make_call(service: LiteLLMService, way: str) -> None:
    """A call whose failure is nobody's concern."""
    target = service.target("gpt-4o")

    async def astream() -> None:
        async for _ in service.astream(target, BODY, max_retries=0):
            pass

    with suppress(LASError):
        match way:
            case "complete":
                service.complete(target, BODY, max_retries=0)
            case "acomplete":
                asyncio.run(service.acomplete(target, BODY, max_retries=0))
            case "stream":
                list(service.stream(target, BODY, max_retries=0))
            case "astream":
                asyncio.run(astream())


@pytest.mark.parametrize("way", ["complete", "acomplete", "stream", "astream"])
@pytest.mark.parametrize("outcome", ["success", "failure", "broken"])
def test_each_kind_is_told_once_of_each_call(
    upstream: FakeOpenAI, service: LiteLLMService, way: str, outcome: str
) -> None:
    witnesses = Witnesses()
    if outcome == "success":
        litellm.success_callback = list(witnesses.all)
    else:
        litellm.failure_callback = list(witnesses.all)
    for _ in range(2):
        if outcome != "success":
            upstream.enqueue(Reply(status=500) if outcome == "failure" else Reply(cut_after=2))
        make_call(service, way)
    soon(lambda: len(witnesses.heard) == len(witnesses.all) and min(witnesses.heard.values()) >= 2)
    asyncio.run(logging_worker.GLOBAL_LOGGING_WORKER.flush())
    assert set(witnesses.heard.values()) == {2}, witnesses.heard


def test_loggers_in_litellms_list_for_everything_hear_once(upstream: FakeOpenAI, service: LiteLLMService) -> None:
    witnesses = Witnesses()
    litellm.callbacks = [_Logger(witnesses), _SyncLogger(witnesses)]
    for _ in range(3):
        make_call(service, "complete")
    asyncio.run(logging_worker.GLOBAL_LOGGING_WORKER.flush())
    assert witnesses.heard == {"logger": 3, "logger without async methods": 3}


def test_what_is_taken_out_of_litellms_lists_hears_no_more(upstream: FakeOpenAI, service: LiteLLMService) -> None:
    before, after = Witnesses(), Witnesses()
    litellm.success_callback = [before.four, before.one, _Logger(before), _SyncLogger(before)]
    make_call(service, "complete")
    asyncio.run(logging_worker.GLOBAL_LOGGING_WORKER.flush())
    litellm.success_callback = [after.one]
    make_call(service, "complete")
    asyncio.run(logging_worker.GLOBAL_LOGGING_WORKER.flush())
    assert set(before.heard.values()) == {1}
    assert after.heard == {"one": 1}


def test_a_callback_that_fails_keeps_nobody_from_hearing(
    upstream: FakeOpenAI, service: LiteLLMService, caplog: pytest.LogCaptureFixture
) -> None:
    witnesses = Witnesses()

    def log_success(response: Any) -> None:
        raise ValueError(f"cannot store {response.choices[0].message.content}")

    litellm.success_callback = [log_success, witnesses.one]
    make_call(service, "complete")
    asyncio.run(logging_worker.GLOBAL_LOGGING_WORKER.flush())
    assert witnesses.heard == {"one": 1}
    assert "litellm's callback log_success raised ValueError" in caplog.messages
    assert "a private question" not in caplog.text


@pytest.mark.usefixtures("warm_python")
def test_nobody_is_forgotten_where_event_loops_come_and_go(upstream: FakeOpenAI) -> None:
    script = """
        import asyncio, os, threading
        import litellm
        from las_langchain import LiteLLMService

        service = LiteLLMService()
        litellm.success_callback = [lambda response: os.write(1, f"{response.id} ".encode())]
        body = {"messages": [{"role": "user", "content": "hello"}]}
        target = service.target("gpt-4o")

        async def stream():
            async for chunk in service.astream(target, body):
                pass

        def loops():
            for _ in range(3):
                asyncio.run(service.acomplete(target, body))

        threads = [threading.Thread(target=loops) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for _ in range(3):
            service.complete(target, body)
            asyncio.run(service.acomplete(target, body))
            list(service.stream(target, body))
            asyncio.run(stream())
    """
    environment = {**os.environ, "LAS_ENABLE_COST_TRACKING": "false"}
    done = subprocess.run(
        warm.command("-c", textwrap.dedent(script)),
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert len(set(done.stdout.split())) == len(done.stdout.split()) == len(upstream.requests) == 9 + 12
    assert done.stderr == ""


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


def test_a_missing_variable_is_named(upstream: FakeOpenAI, service: LiteLLMService) -> None:
    needed = r"^litellm's callback 'datadog' cannot be set up: DD_API_KEY is not set"
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=needed) as refused:
            LiteLLMService(load_settings(callbacks="datadog")).complete(service.target("gpt-4o"), BODY)
        assert refused.value.param == "callbacks"
    with pytest.raises(ConfigurationError, match="'dynamodb' needs the variable AWS_REGION_NAME, which is not set"):
        service.update_config(callbacks=["dynamodb"])
    assert service.settings.callbacks == []
    litellm.failure_callback = ["openmeter"]
    with pytest.raises(ConfigurationError, match=r"'openmeter' cannot be set up: Missing keys=.'OPENMETER_API_KEY'"):
        service.complete(service.target("gpt-4o"), BODY)


def test_a_name_whose_callback_is_a_class_is_taken_back_too(
    upstream: FakeOpenAI, service: LiteLLMService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRAINTRUST_API_KEY", "sk-braintrust-0123456789")
    monkeypatch.setenv("BRAINTRUST_API_BASE", upstream.url)
    names = ("success_callback", "failure_callback", "_async_success_callback", "_async_failure_callback")

    def listed() -> list[str]:
        return [type(item).__name__ for name in names for item in getattr(litellm, name)]

    service.update_config(callbacks=["braintrust"])
    assert listed().count("BraintrustLogger") >= 3
    service.update_config(callbacks=[])
    assert "BraintrustLogger" not in listed()


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
