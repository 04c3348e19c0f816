"""``LASEmbeddings``: one LangChain embeddings class for every provider and for the embedded model."""

from __future__ import annotations

from typing import Any

from langchain_core.embeddings import Embeddings
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from las_langchain.errors import APIError
from las_langchain.providers import Target
from las_langchain.service import LiteLLMService, get_litellm_service


class LASEmbeddings(BaseModel, Embeddings):
    """LangChain embeddings by any model that litellm reaches, or by the one inside this process.

    Without arguments it is the settings' model (``LAS_EMBEDDING_MODEL``, else the embedded one, which needs no key)::

        LASEmbeddings().embed_query("a cat on a mat")

    Raises:
        LASError: from every call.
    """

    model_config = ConfigDict(populate_by_name=True, extra="forbid", arbitrary_types_allowed=True)

    model: str | None = Field(None, description="provider/model; None: the settings' embedding model")
    dimensions: int | None = Field(None, ge=1, description="Length of the vectors, where the model can choose")
    batch_size: int = Field(256, ge=1, le=2048, description="Texts sent with one request")
    max_retries: int | None = Field(None, ge=0, description="Further tries after a retryable failure")
    user: str | None = Field(None, description="The end user's id, for the provider's abuse detection")
    api_key: SecretStr | None = Field(None, description="The key; None: the provider's variable")
    api_base: str | None = Field(None, alias="base_url", description="Address of the API; None: the provider's")
    service: LiteLLMService | None = Field(None, exclude=True, repr=False, description="None: the process-wide one")

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """The vectors of *texts*, in their order."""
        service, target = self._service, self._target()
        answers = [service.embed(target, body, max_retries=self.max_retries) for body in self._bodies(texts)]
        return [vector for answer in answers for vector in _vectors(answer)]

    def embed_query(self, text: str) -> list[float]:
        """The vector of *text*."""
        return self.embed_documents([text])[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Async form of :meth:`embed_documents`."""
        service, target = self._service, self._target()
        answers = [await service.aembed(target, body, max_retries=self.max_retries) for body in self._bodies(texts)]
        return [vector for answer in answers for vector in _vectors(answer)]

    async def aembed_query(self, text: str) -> list[float]:
        """Async form of :meth:`embed_query`."""
        return (await self.aembed_documents([text]))[0]

    @property
    def _service(self) -> LiteLLMService:
        return self.service or get_litellm_service()

    def _target(self) -> Target:
        model = self.model or self._service.settings.embedding_model
        return self._service.target(model, api_key=self.api_key, api_base=self.api_base)

    def _bodies(self, texts: list[str]) -> list[dict[str, Any]]:
        given = {"dimensions": self.dimensions, "user": self.user}
        fields = {name: value for name, value in given.items() if value is not None}
        starts = range(0, len(texts), self.batch_size)
        return [{"input": texts[start : start + self.batch_size], **fields} for start in starts]


def _vectors(answer: dict[str, Any]) -> list[list[float]]:
    data = sorted(answer["data"], key=lambda item: item["index"])
    if [item["index"] for item in data] != list(range(len(data))):
        raise APIError("The provider left out some of the embeddings")
    return [item["embedding"] for item in data]
