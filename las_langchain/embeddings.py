"""``LASEmbeddings``: one LangChain embeddings class for every provider and for the embedded model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from langchain_core.embeddings import Embeddings
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from las_langchain.embedding_calls import EmbeddingCall, EmbeddingUsage
from las_langchain.errors import ModelNotFoundError
from las_langchain.keys import ApiKey
from las_langchain.providers import model_id, split_name
from las_langchain.service import LiteLLMService, get_litellm_service
from las_langchain.settings import nearest

Json = dict[str, Any]

# Names that users know from other embeddings classes.
_ALIASES = {
    "chunk_size": "batch_size",
    "request_timeout": "timeout",
    "base_url": "api_base",
    "show_progress_bar": "show_progress",
}


def _aliased(name: str) -> AliasChoices:
    return AliasChoices(name, *(alias for alias, field in _ALIASES.items() if field == name))


def _default_model(known: Json) -> str:
    return (known.get("service") or get_litellm_service()).settings.embedding_model


class LASEmbeddings(BaseModel, Embeddings):
    """LangChain embeddings by any model that litellm reaches, or by the one inside this process.

    Without arguments it is the settings' model (``LAS_EMBEDDING_MODEL``, else the embedded one, which needs no key)::

        LASEmbeddings().embed_query("a cat on a mat")
        LASEmbeddings(model="openai/text-embedding-3-small", dimensions=512)

    Texts are sent in batches, several at a time; the vectors come in the order of the texts. The first batch that
    fails ends the others. An empty text is refused before anything is sent. A text that is longer than the model reads
    is refused by its index, or cut where the provider cuts it, as the embedded model does, with a warning in the log.

    Fields left at None are not sent: the provider's own defaults hold.

    Raises:
        LASError: from every call.
    """

    model_config = ConfigDict(
        populate_by_name=True, extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True
    )

    # Before the model, whose default it has.
    service: SkipJsonSchema[LiteLLMService | None] = Field(
        None, exclude=True, repr=False, description="None: the process-wide one"
    )
    model: str | None = Field(default_factory=_default_model, description="provider/model; unset: the settings'")
    dimensions: int | None = Field(None, ge=1, description="Length of the vectors, where the model can choose")
    encoding_format: Literal["float", "base64"] | None = Field(
        None, description="How vectors travel; the result is the same. None: base64 from OpenAI, else not sent"
    )
    batch_size: int | None = Field(
        None,
        ge=1,
        le=2048,
        validation_alias=_aliased("batch_size"),
        description="Most texts of one request; None: 256, or the provider's limit if that is lower",
    )
    max_tokens_per_batch: int | None = Field(
        None,
        ge=1,
        description="Most tokens of one request, each byte of UTF-8 counted as one: at OpenAI never too few; "
        "None: 300,000, or the provider's limit if that is lower",
    )
    max_concurrency: int = Field(
        4, ge=1, description="Most requests at a time; the embedded model always takes one after the other"
    )
    timeout: float | None = Field(
        None,
        gt=0,
        validation_alias=_aliased("timeout"),
        description="Longest wait for the answer to one request, in seconds; None: the settings'",
    )
    max_retries: int | None = Field(
        None, ge=0, description="Further tries of a request after a retryable failure; None: the settings'"
    )
    user: str | None = Field(None, description="The end user's id, for the provider's abuse detection")
    api_key: ApiKey | None = Field(
        None, repr=False, description="The key, or a function that returns it; None: the provider's variable"
    )
    api_base: str | None = Field(
        None, validation_alias=_aliased("api_base"), description="Address of the API; None: the provider's"
    )
    organization: str | None = Field(None, description="Sent as the header OpenAI-Organization")
    # Headers may hold credentials, so they stay out of representations and dumps.
    extra_headers: dict[str, str] | None = Field(None, exclude=True, repr=False, description="Further headers")
    extra_body: dict[str, Any] | None = Field(None, description="Further fields of the provider's own")
    show_progress: bool = Field(
        False, validation_alias=_aliased("show_progress"), description="Whether a bar counts the texts (needs tqdm)"
    )
    on_usage: SkipJsonSchema[Callable[[EmbeddingUsage], Any] | None] = Field(
        None, exclude=True, repr=False, description="Called in the caller's thread after each request that was answered"
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, values: Any) -> Any:
        known = {*cls.model_fields, *_ALIASES}
        for name in values if isinstance(values, dict) else ():
            if name not in known:
                raise ValueError(f"LASEmbeddings has no argument {name!r}{nearest(name, known)}")
        return values

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """The vectors of *texts*, in their order.

        Raises:
            BadRequestError: one of them is no text, or is empty; nothing was sent.
            ContextWindowExceededError: one is longer than the model reads; ``param`` is its ``texts[index]``.
            AuthenticationError: there is no key, the provider refused it, or the function that gives it failed.
            ConfigurationError: a progress bar is wanted, and tqdm is not installed.
            LASError: whatever else went wrong, after the retries.
        """
        return EmbeddingCall(self, texts, shown=self.show_progress).run()

    def embed_query(self, text: str) -> list[float]:
        """The vector of *text*; raises as :meth:`embed_documents`, with ``text`` as ``param``."""
        return EmbeddingCall(self, [text], "text").run()[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Async form of :meth:`embed_documents`; cancelling it cancels all requests."""
        return await EmbeddingCall(self, texts, shown=self.show_progress).arun()

    async def aembed_query(self, text: str) -> list[float]:
        """Async form of :meth:`embed_query`."""
        return (await EmbeddingCall(self, [text], "text").arun())[0]


def init_embeddings(model: str, *, provider: str | None = None, **kwargs: Any) -> LASEmbeddings:
    """Embeddings by the name of their model, as LangChain's function of this name, but of every provider.

    Args:
        model: ``provider/model`` or LangChain's ``provider:model``; or a bare name, with *provider* or publicly listed.
        provider: the provider, if *model* does not name it.
        kwargs: further arguments of :class:`LASEmbeddings`.

    Raises:
        ModelNotFoundError: *model* is empty or no model's name, or there is no such provider.
        ValueError: an argument is unknown or wrong.
    """
    name = model_id(model, provider)
    if not name.rpartition("/")[2]:
        raise ModelNotFoundError("init_embeddings: name a model, as provider/model", param="model")
    embeddings = LASEmbeddings(model=name, **kwargs)
    split_name(name, (embeddings.service or get_litellm_service()).settings)
    return embeddings
