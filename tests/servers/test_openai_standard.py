"""LangChain's standard suite for chat models, whole, through ``langchain_openai.ChatOpenAI`` pointed at the server.

``test_stream_time`` replays a recorded stream from ``cassettes/``, which is also the exact request that makes it. After
a change of that request record it again: ``pytest tests/servers/test_openai_standard.py -k stream_time
--record-mode=rewrite``.
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from langchain_core.messages import AIMessage
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests

from tests.cassettes import readable_cassettes
from tests.conftest import Server
from tests.fake_openai import FakeOpenAI, Reply

DETAILS = ["audio_input", "audio_output", "reasoning_output", "cache_read_input", "cache_creation_input"]


@pytest.fixture(scope="module")
def vcr_config() -> dict[str, Any]:
    """How vcr keeps the cassettes."""
    return readable_cassettes()


# Said while a cassette is recorded, when there is nothing to measure yet.
@pytest.mark.filterwarnings("ignore:Benchmark fixture was not used")
# What ChatOpenAI says of the suite's own cases.
@pytest.mark.filterwarnings("ignore:Received a Pydantic BaseModel V1 schema", "ignore:OpenAI may require a filename")
@pytest.mark.usefixtures("media")
class TestChatOpenAI(ChatModelIntegrationTests):
    """A provider's model behind the server."""

    @pytest.fixture(autouse=True)
    def _served(self, server: Server, upstream: FakeOpenAI) -> None:
        self.url, self.double = f"{server.url}/v1", upstream

    @property
    def chat_model_class(self) -> type[ChatOpenAI]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        # ChatOpenAI's own asynchronous client is kept for all instances, and with it the event loops of past tests.
        options = {"max_retries": 0, "stream_usage": True, "http_async_client": httpx.AsyncClient()}
        return {"model": "openai/gpt-4o", "base_url": self.url, "api_key": "any", **options}

    @property
    def model_override_value(self) -> str:
        return "gpt-4o-mini"

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
        self.double.enqueue(Reply(usage={"prompt_tokens": 20, "completion_tokens": 30, **details}))
        model = ChatOpenAI(**self.chat_model_params)
        if not stream:
            return model.invoke("Hello")
        first, *rest = model.stream("Hello")
        return sum(rest, start=first)
