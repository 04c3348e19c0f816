"""LangChain's standard suites for chat models, whole, on two upstreams and on the embedded model.

``test_stream_time`` replays a recorded stream from ``cassettes/``, which is also the exact request that makes it. After
a change of that request record it again: ``pytest tests/las_langchain/test_standard_chat_models.py -k stream_time
--record-mode=rewrite``.
"""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from las_langchain import ChatLAS
from tests import fake_anthropic, fake_openai
from tests.cassettes import readable_cassettes
from tests.fake_anthropic import FakeAnthropic
from tests.fake_openai import FakeOpenAI

# What the suite gives back to the model as its own.
THOUGHT = (
    "This is a simple greeting. I should respond warmly and professionally, and perhaps ask how I can help the person "
    "today."
)
SIGNATURE = (
    "ErUBCkYICBgCIkDCTQUXPc3O7nHXd302Zercaz8WrrpddpOqHITxBih5zeFPoJkwKBvkvZ8ID1aAfJftji6+ZI5gBYDo7XmNBIkzEgzVDHKopedAn/sc"
    "G80aDFDXVZrDOWgla7lEBiIwLq5kfFjQjvF/CyuL8J5V7dRwsJN5gQIXaMB6xXTs6T+2Zp0VdiyiMb/hcdrHt+7aKh0z2E1UnjiOCoTlofNFHzOnKk0q"
    "PIoPmfGgpPgGNRgC"
)
DETAILS = ["audio_input", "audio_output", "reasoning_output", "cache_read_input", "cache_creation_input"]


@pytest.fixture(scope="module")
def vcr_config() -> dict[str, Any]:
    """How vcr keeps the cassettes."""
    return readable_cassettes()


def whole(model: ChatLAS, prompt: str | list[BaseMessage], *, stream: bool) -> AIMessage:
    """The model's answer, asked for in one piece or as a stream that is put together."""
    if not stream:
        return model.invoke(prompt)
    first, *rest = model.stream(prompt)
    return sum(rest, start=first)


class Everything:
    """What a chat model can do: all that the suites have tests for."""

    @property
    def chat_model_class(self) -> type[ChatLAS]:
        return ChatLAS

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_image_inputs(self) -> bool:
        return True

    @property
    def supports_image_urls(self) -> bool:
        return True

    @property
    def supports_pdf_inputs(self) -> bool:
        return True

    @property
    def supports_audio_inputs(self) -> bool:
        return True

    @property
    def supports_video_inputs(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def supports_image_tool_message(self) -> bool:
        return True

    @property
    def supports_pdf_tool_message(self) -> bool:
        return True

    @property
    def enable_vcr_tests(self) -> bool:
        return True

    @property
    def supported_usage_metadata_details(self) -> Any:
        return {"invoke": DETAILS, "stream": DETAILS}


class OpenAI(Everything):
    """A model on the OpenAI double."""

    @pytest.fixture(autouse=True)
    def _double(self, upstream: FakeOpenAI) -> None:
        self.double = upstream

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "openai/gpt-4o"}

    @property
    def model_override_value(self) -> str:
        return "gpt-4o-mini"


class TestOpenAIUnit(OpenAI, ChatModelUnitTests):
    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"LAS_MODEL": "openai/gpt-4o", "OPENAI_API_KEY": "test"}, {}, {"model": "openai/gpt-4o"}


# Said while a cassette is recorded, when there is nothing to measure yet.
@pytest.mark.filterwarnings("ignore:Benchmark fixture was not used")
@pytest.mark.usefixtures("media")
class TestOpenAI(OpenAI, ChatModelIntegrationTests):
    def invoke_with_audio_input(self, *, stream: bool = False) -> AIMessage:
        return self._counted({"prompt_tokens_details": {"audio_tokens": 7}}, stream)

    def invoke_with_audio_output(self, *, stream: bool = False) -> AIMessage:
        return self._counted({"completion_tokens_details": {"audio_tokens": 5}}, stream)

    def invoke_with_reasoning_output(self, *, stream: bool = False) -> AIMessage:
        return self._counted({"completion_tokens_details": {"reasoning_tokens": 3}}, stream)

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        return self._counted({"prompt_tokens_details": {"cached_tokens": 11}}, stream)

    def invoke_with_cache_creation_input(self, *, stream: bool = False) -> AIMessage:
        return self._counted({"prompt_tokens_details": {"cache_creation_tokens": 9}}, stream)

    def _counted(self, details: dict[str, Any], stream: bool) -> AIMessage:
        usage = {"prompt_tokens": 20, "completion_tokens": 30, **details}
        self.double.enqueue(fake_openai.Reply(usage=usage))
        return whole(ChatLAS(**self.chat_model_params), "Hello", stream=stream)


class Anthropic(Everything):
    """A model on the Anthropic double; Anthropic's models neither hear nor speak, so they count no audio."""

    @pytest.fixture(autouse=True)
    def _double(self, anthropic_upstream: FakeAnthropic) -> None:
        self.double = anthropic_upstream

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "anthropic/claude-sonnet-4-5", "transport": "litellm"}

    @property
    def model_override_value(self) -> str:
        return "claude-haiku-4-5"

    @property
    def supported_usage_metadata_details(self) -> Any:
        details = [name for name in DETAILS if not name.startswith("audio")]
        return {"invoke": details, "stream": details}


class TestAnthropicUnit(Anthropic, ChatModelUnitTests):
    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        model = self.chat_model_params["model"]
        return {"LAS_MODEL": model, "ANTHROPIC_API_KEY": "test"}, {}, {"model": model}


@pytest.mark.filterwarnings("ignore:Benchmark fixture was not used")
@pytest.mark.usefixtures("media")
class TestAnthropic(Anthropic, ChatModelIntegrationTests):
    @pytest.fixture(autouse=True)
    def _past(self, _double: None, request: pytest.FixtureRequest) -> None:
        """Have the double say what the suite takes for granted of Anthropic's models."""
        if request.node.name == "test_json_mode":
            # There is no JSON mode: the models do as the prompt says, the obedient one does not.
            self.double.enqueue(*[fake_anthropic.Reply(text='{"setup": "Why?", "punchline": "Cats."}')] * 4)
        if request.node.name == "test_anthropic_inputs":
            # The suite hands back a thought, which a server accepts only if it has signed it.
            self.double.enqueue(fake_anthropic.Reply(thinking=THOUGHT, signature=SIGNATURE, text="Hello, how are you?"))
            ChatLAS(**self.chat_model_params).invoke("Hello")

    def invoke_with_reasoning_output(self, *, stream: bool = False) -> AIMessage:
        chat = ChatLAS(**self.chat_model_params, reasoning_effort="low", max_tokens=4_096)
        return whole(chat, "Hello", stream=stream)

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        return self._counted({"cache_read_input_tokens": 11}, stream)

    def invoke_with_cache_creation_input(self, *, stream: bool = False) -> AIMessage:
        return self._counted({"cache_creation_input_tokens": 9}, stream)

    def _counted(self, usage: dict[str, int], stream: bool) -> AIMessage:
        self.double.enqueue(fake_anthropic.Reply(usage=usage))
        return whole(ChatLAS(**self.chat_model_params), "Hello", stream=stream)


@pytest.mark.usefixtures("upstream")
class Embedded:
    """The model inside this process: no ears, no eyes, and no request that could be recorded.

    It is too small to answer with the keys that a prompt names, which the suite's test of JSON mode is about.
    """

    @property
    def chat_model_class(self) -> type[ChatLAS]:
        return ChatLAS

    @property
    def model_override_value(self) -> str:
        """A model of another provider."""
        return "gpt-4o-mini"

    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        return {"method": "function_calling"}


class TestEmbeddedUnit(Embedded, ChatModelUnitTests):
    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"OPENAI_API_KEY": "test"}, {}, {"model": "local/smollm2-135m-instruct"}


@pytest.mark.slow
class TestEmbedded(Embedded, ChatModelIntegrationTests):
    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"temperature": 0, "max_tokens": 200}
