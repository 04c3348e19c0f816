"""Any model in, any client out: LangChain models on litellm and on a model inside the process.

Names are imported on first use, so importing this package costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from las_langchain.lazy import imported_on_use

if TYPE_CHECKING:
    from las_langchain.callers import calling
    from las_langchain.chat_models import ChatLAS, init_chat_model
    from las_langchain.embeddings import LASEmbeddings, init_embeddings
    from las_langchain.errors import LASError
    from las_langchain.provider_factory import ProviderFactory
    from las_langchain.service import LiteLLMService, get_litellm_service
    from las_langchain.settings import LASSettings, LiteLLMConfig, load_settings
    from las_langchain.tools import ToolDefinition

__all__ = [
    "ChatLAS",
    "LASEmbeddings",
    "LASError",
    "LASSettings",
    "LiteLLMConfig",
    "LiteLLMService",
    "ProviderFactory",
    "ToolDefinition",
    "calling",
    "get_litellm_service",
    "init_chat_model",
    "init_embeddings",
    "load_settings",
]
__version__ = "0.1.0"

_HOMES = {
    "ChatLAS": "chat_models",
    "LASEmbeddings": "embeddings",
    "LASError": "errors",
    "LASSettings": "settings",
    "LiteLLMConfig": "settings",
    "LiteLLMService": "service",
    "ProviderFactory": "provider_factory",
    "ToolDefinition": "tools",
    "calling": "callers",
    "get_litellm_service": "service",
    "init_chat_model": "chat_models",
    "init_embeddings": "embeddings",
    "load_settings": "settings",
}
__getattr__ = imported_on_use(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
