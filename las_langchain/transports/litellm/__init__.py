"""Every provider, through litellm.

This is the only package that imports it, which takes seconds; so import this one lazily.
"""

from __future__ import annotations

import os
import warnings
from typing import Any

# Read by litellm while it is imported: no price map from the network, no .env of parent folders, no chatter.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS", "True")
os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
os.environ.setdefault("LITELLM_LOG", "ERROR")

import litellm
from litellm.llms.custom_httpx.http_handler import get_async_httpx_client
from litellm.llms.ollama.common_utils import OllamaModelInfo
from litellm.llms.openai.chat.gpt_5_transformation import OpenAIGPT5Config
from litellm.llms.openai.chat.gpt_audio_transformation import OpenAIGPTAudioConfig
from litellm.llms.openai.chat.gpt_transformation import OpenAIGPTConfig, OpenAIUnknownModelConfig
from litellm.llms.openai.chat.o_series_transformation import OpenAIOSeriesConfig

# pydantic's remark on litellm's typed dicts, made at the first call, says nothing to its users.
warnings.filterwarnings("ignore", message="Items? '.*' on TypedDict class", category=UserWarning)

# litellm's client for OpenAI dumps embeddings in base64 with a schema that expects numbers, and tells of each one.
warnings.filterwarnings("ignore", message=r"Pydantic serializer warnings:\s+\w+\(Expected `list\[float\]`")
# What it has begun when a call is cancelled.
warnings.filterwarnings(
    "ignore", message=r"coroutine '\w+\.(aembedding|async_streaming)' was never awaited", category=RuntimeWarning
)

litellm.suppress_debug_info = True
litellm.disable_hf_tokenizer_download = True
litellm.telemetry = False
# litellm's own retries of embeddings, which it makes where 0 are asked for; the service retries.
litellm.DEFAULT_MAX_RETRIES = 0
# litellm would break off an answer that says the same word a hundred times, such as a line of dashes.
litellm.REPEATED_STREAMING_CHUNK_LIMIT = 2**31


class _ClientOfTheLoop:
    """What litellm streams through for Anthropic, Gemini and others: a client for each event loop.

    litellm's own is one for all loops and takes its connections from the loop that used it before, in mid-stream.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(get_async_httpx_client("las"), name)


litellm.module_level_aclient = _ClientOfTheLoop()
# For a model that is not in its table litellm asks Ollama about it, several times a call: in the event loop without
# giving way, at OLLAMA_API_BASE instead of the call's address, and with the environment's key.
OllamaModelInfo.get_model_info = lambda *arguments, **named: None
# OpenAI knows the role, which litellm leaves as it is only for some of the models.
for _config in (OpenAIGPT5Config, OpenAIGPTAudioConfig, OpenAIUnknownModelConfig):
    _config.translate_developer_role_to_system_role = lambda self, messages: messages
_translate = OpenAIGPTConfig.translate_developer_role_to_system_role
OpenAIGPTConfig.translate_developer_role_to_system_role = lambda self, messages: (
    messages if type(self) is OpenAIGPTConfig else _translate(self, messages)
)
# OpenAI itself takes a system message for a developer's where a model reasons; litellm would make it a user's.
OpenAIOSeriesConfig._transform_messages = OpenAIGPTConfig._transform_messages

from las_langchain.transports.litellm.guards import install_guards  # noqa: E402 - when litellm is set up
from las_langchain.transports.litellm.transport import LiteLLMTransport  # noqa: E402 - when litellm is set up
from las_langchain.transports.litellm.worker import install_worker  # noqa: E402

install_guards()
install_worker()

__all__ = ["LiteLLMTransport"]
