"""``ProviderFactory``: providers by name, for programs that are written around such objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Unpack, overload

from las_langchain.call_options import ChatOptions, chat_fields, check_options, chosen_model
from las_langchain.catalog import litellm_providers
from las_langchain.conversations import Messages
from las_langchain.errors import ConfigurationError, ModelNotFoundError
from las_langchain.openai_objects import AsyncChatStream, ChatStream
from las_langchain.provider_rows import PROVIDERS
from las_langchain.service import LiteLLMService, get_litellm_service
from las_langchain.settings import nearest

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletion

    from las_langchain.chat_models import ChatLAS
    from las_langchain.embeddings import LASEmbeddings

Factory = Callable[..., Any]


class LiteLLMProvider:
    """One model of any provider.

    Args:
        model: ``provider/model``, a bare name or an alias; None: the settings'.
        provider: the provider, if *model* does not name it.
        service: makes the calls; None: the one of this process.
        options: what holds for every call that does not say otherwise, as for
            :meth:`~las_langchain.service.LiteLLMService.chat_completion`.

    Attributes:
        model: the model's id.
        service: makes the calls.

    Raises:
        ModelNotFoundError: there is no such provider.
        BadRequestError: an option is unknown or wrong, or a provider is named without a model.
    """

    def __init__(
        self,
        model: str | None = None,
        provider: str | None = None,
        *,
        service: LiteLLMService | None = None,
        **options: Unpack[ChatOptions],
    ) -> None:
        check_options(options, ChatOptions, ("model", "provider", "service"))
        self.service = service or get_litellm_service()
        self.model = chosen_model(model, provider, self.service.settings)
        self._options = options

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model!r})"

    @overload
    def chat_completion(
        self, messages: Messages, stream: Literal[False] = False, **options: Unpack[ChatOptions]
    ) -> ChatCompletion: ...

    @overload
    def chat_completion(
        self, messages: Messages, stream: Literal[True], **options: Unpack[ChatOptions]
    ) -> ChatStream: ...

    def chat_completion(
        self, messages: Messages, stream: bool = False, **options: Unpack[ChatOptions]
    ) -> ChatCompletion | ChatStream:
        """Answer a chat, as :meth:`~las_langchain.service.LiteLLMService.chat_completion` does."""
        if stream:
            return self.stream(messages, **options)
        return self.service.chat_completion(messages, self.model, **self._with(options))

    def stream(self, messages: Messages, **options: Unpack[ChatOptions]) -> ChatStream:
        """Answer a chat in chunks."""
        return self.service.chat_completion(messages, self.model, stream=True, **self._with(options))

    @overload
    async def achat_completion(
        self, messages: Messages, stream: Literal[False] = False, **options: Unpack[ChatOptions]
    ) -> ChatCompletion: ...

    @overload
    async def achat_completion(
        self, messages: Messages, stream: Literal[True], **options: Unpack[ChatOptions]
    ) -> AsyncChatStream: ...

    async def achat_completion(
        self, messages: Messages, stream: bool = False, **options: Unpack[ChatOptions]
    ) -> ChatCompletion | AsyncChatStream:
        """Async form of :meth:`chat_completion`."""
        if stream:
            return await self.astream(messages, **options)
        return await self.service.achat_completion(messages, self.model, **self._with(options))

    async def astream(self, messages: Messages, **options: Unpack[ChatOptions]) -> AsyncChatStream:
        """Async form of :meth:`stream`."""
        return await self.service.achat_completion(messages, self.model, stream=True, **self._with(options))

    def _with(self, options: ChatOptions) -> ChatOptions:
        return {**self._options, **options}

    def get_langchain_llm(self, **fields: Any) -> ChatLAS:
        """The model as LangChain's.

        Args:
            fields: of :class:`~las_langchain.chat_models.ChatLAS`, beside this provider's options.

        Raises:
            ValidationError: a field is wrong; the message names it.
        """
        from langchain_core.language_models import BaseChatModel

        from las_langchain.calls import ALIASES
        from las_langchain.chat_models import ChatLAS

        # LangChain's own `metadata` is about runs; OpenAI's is a field of the request.
        known = {*ChatLAS.model_fields, *ALIASES} - BaseChatModel.model_fields.keys()
        own = {name: value for name, value in self._options.items() if value is not None and name in known}
        others = chat_fields({name: value for name, value in self._options.items() if name not in known})
        if others:
            fields["model_kwargs"] = {**others, **fields.get("model_kwargs", {})}
        return ChatLAS(**{"model": self.model, "service": self.service, **own, **fields})

    def get_langchain_embeddings(self, model: str | None = None, **fields: Any) -> LASEmbeddings:
        """An embedding model as LangChain's.

        Args:
            model: its id; None: the settings' embedding model, since a chat model does not embed.
            fields: of :class:`~las_langchain.embeddings.LASEmbeddings`.

        Raises:
            ValidationError: a field is wrong; the message names it.
        """
        from las_langchain.embeddings import LASEmbeddings

        named = {} if model is None else {"model": model}
        return LASEmbeddings(**{"service": self.service, **named, **fields})


class ProviderFactory:
    """Makes providers by name: ``litellm`` for any model, a provider's own name, or a name that was registered."""

    # The registry belongs to the class, since it is the class that users call. Its methods are single steps of a dict,
    # which threads cannot come between, and it holds no lock that a fork could copy in its locked state.
    _factories: ClassVar[dict[str, Factory]] = {"litellm": LiteLLMProvider}

    @classmethod
    def create(cls, provider_name: str, model: str | None = None, **options: Any) -> Any:
        """Make a provider.

        Args:
            provider_name: ``litellm``, a registered name, or a provider's, such as ``openai``.
            model: for ``litellm`` its id (``openai/gpt-4o``); for a provider's name the bare one will do.
            options: what else the factory takes; for all but registered ones, those of :class:`LiteLLMProvider`.

        Returns:
            What the factory of this name makes: a :class:`LiteLLMProvider` unless it was registered.

        Raises:
            ModelNotFoundError: there is no such name; the message has the known ones.
            LASError: whatever else the factory raises.
        """
        factory = cls._factories.get(provider_name) if isinstance(provider_name, str) else None
        if factory is not None:
            return factory(model=model, **options)
        if _is_a_provider(provider_name):
            return LiteLLMProvider(model, provider_name, **options)
        known = cls.names()
        hint = nearest(str(provider_name), [*known, *litellm_providers()])
        raise ModelNotFoundError(
            f"There is no provider {provider_name!r}{hint}; known are {', '.join(known)} and litellm's others",
            param="provider_name",
        )

    @classmethod
    def register(cls, name: str, factory: Factory, *, replace: bool = False) -> None:
        """Let :meth:`create` make what *factory* makes.

        Args:
            name: the name to ask for.
            factory: called with ``model`` and the options of :meth:`create`, by keyword.
            replace: whether *name* may be taken already; else only by this factory.

        Raises:
            ConfigurationError: *name* is taken or empty, or *factory* cannot be called.
        """
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f"name: expected a provider's name, not {name!r}", param="name")
        if not callable(factory):
            raise ConfigurationError(f"factory: expected a function, not {type(factory).__name__}", param="factory")
        if replace:
            cls._factories[name] = factory
        elif _is_a_provider(name) or cls._factories.setdefault(name, factory) is not factory:
            raise ConfigurationError(
                f"The provider name {name!r} is taken: register it with replace=True", param="name"
            )

    @classmethod
    def names(cls) -> list[str]:
        """The names that :meth:`create` knows, those of litellm's further providers left out."""
        return sorted({*cls._factories.copy(), *PROVIDERS})


def _is_a_provider(name: Any) -> bool:
    return isinstance(name, str) and (name in PROVIDERS or name in litellm_providers())
