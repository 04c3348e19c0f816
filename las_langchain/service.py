"""The one door that every call goes through: budgets, cache, retries, deployments, fallbacks, costs and usage."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import TYPE_CHECKING, Any, Unpack

from las_langchain.call_options import Kind, chosen_model
from las_langchain.completions import Completions
from las_langchain.contexts import holding
from las_langchain.errors import ConfigurationError
from las_langchain.exchanges import Exchange
from las_langchain.forks import ForkAware
from las_langchain.listing import Listing, ModelsLister
from las_langchain.providers import Overrides, Target, split_name
from las_langchain.records import Observer, Operation
from las_langchain.settings import LASSettings, load_settings
from las_langchain.setups import Setup
from las_langchain.tracing.opening import open_tracing
from las_langchain.transports import SpeechAnswer, Tokenizer, Transport
from las_langchain.transports.background import BACKGROUND, synchronous
from las_langchain.transports.choice import Name
from las_langchain.tries import Request

if TYPE_CHECKING:
    from las_langchain.tracing.observer import Tracing
    from las_langchain.transports.litellm import LiteLLMTransport
    from las_langchain.transports.local import LocalTransport
    from las_langchain.usage import Ledger

Json = dict[str, Any]
logger = logging.getLogger(__name__)


class LiteLLMService(Completions):
    """Chat, embeddings, speech and transcription of every provider, and of the embedded models.

    It holds no connection and no event loop: one instance serves any number of threads and loops. The settings may be
    changed at any time; a call keeps those that it began with.

    Args:
        settings: keys, addresses, timeouts, retries; read from the environment if left out.

    Attributes:
        tracing: tells OpenTelemetry of the calls; None: it is not set up.

    Raises:
        ConfigurationError: the settings are wrong; the message names the variable or entry.
    """

    def __init__(self, settings: LASSettings | None = None) -> None:
        self._lock = threading.Lock()
        self._setup = Setup(settings or load_settings())
        self.tracing = _tracing(self.settings)
        self._observers: tuple[Observer, ...] = (self.tracing,) if self.tracing else ()
        self._lister = ModelsLister()

    def __reduce__(self) -> tuple[type[LiteLLMService], tuple[LASSettings]]:
        # Copies, also in other processes, have the settings, and connections, locks and observers of their own.
        return type(self), (self.settings,)

    @property
    def settings(self) -> LASSettings:
        """The settings that calls begin with from now on."""
        return self._setup.settings

    @property
    def config(self) -> LASSettings:
        """Another name of :attr:`settings`, which may be assigned to."""
        return self.settings

    @config.setter
    def config(self, settings: LASSettings) -> None:
        with self._lock:
            self._use(Setup(settings, self._setup))
            # The model in this process may be another one now.
            self.__dict__.pop("_local", None)

    def update_config(self, /, **changes: Any) -> LASSettings:
        """Change settings for the calls that begin from now on: all of *changes*, or, if one is wrong, none.

        Args:
            changes: as for :meth:`~las_langchain.settings.LASSettings.updated`; ``default_model`` and
                ``<provider>_api_key`` are understood too.

        Returns:
            The settings that hold now.

        Raises:
            ConfigurationError: a name is unknown, or a value invalid.
        """
        with self._lock:
            setup = Setup(self.settings.updated(**changes), self._setup)
            self._use(setup)
        return setup.settings

    def _use(self, setup: Setup) -> None:
        """Let calls begin with *setup* from now on, if everybody can do what it says."""
        settings = setup.settings
        if settings.callbacks or "_litellm" in self.__dict__:
            self._litellm.use_callbacks(settings.callbacks, log_prompts=settings.log_prompts)
        if self.tracing:
            self.tracing.log_prompts = settings.log_prompts
        self._setup = setup

    def _setup_litellm(self) -> None:
        """Hand litellm what the settings say of it; done by itself whenever these change."""
        with self._lock:
            self._use(self._setup)

    @property
    def ledger(self) -> Ledger | None:
        """What every call used and cost; None: ``enable_cost_tracking`` is off."""
        return self._setup.ledger

    def observe(self, observer: Observer) -> None:
        """Tell *observer* of every call from now on."""
        self._observers = (*self._observers, observer)

    def target(
        self,
        model: str | None = None,
        provider: str | None = None,
        *,
        kind: Kind = "model",
        setup: Setup | None = None,
        **overrides: Unpack[Overrides],
    ) -> Target:
        """Where calls to a model go.

        Args:
            model: its id, its bare name, or an alias; default: the settings'.
            provider: the provider, if *model* does not name it.
            kind: which of the settings' models is the default.
            setup: whose settings hold; default: those of now.
            overrides: what to use instead of the settings.

        Raises:
            BadRequestError: there is a provider and no model.
            ModelNotFoundError: no such provider.
            AuthenticationError: the provider's key is not set.
        """
        setup = setup or self._setup
        return setup.target(chosen_model(model, provider, setup.settings, kind), overrides)

    def exchange(
        self,
        operation: Operation,
        target: Target,
        request: Request,
        *,
        stream: bool = False,
        max_retries: int | None = None,
        alone: bool = False,
    ) -> Exchange:
        """One request, not sent yet.

        Args:
            operation: what is asked for.
            target: from :meth:`target`.
            request: OpenAI's request without ``model`` and ``stream``, or a function that makes it for the model that
                is about to be asked, which may be a fallback of another provider.
            stream: whether the answer is to come in chunks.
            max_retries: further tries after a retryable failure; default: the settings'.
            alone: whether only *target* itself is to answer: no cache, no fallback.
        """
        return Exchange(
            target.setup or self._setup,
            operation,
            target,
            request,
            self._find,
            self._observers,
            stream=stream,
            max_retries=max_retries,
            alone=alone,
        )

    async def acomplete(self, target: Target, body: Request, *, max_retries: int | None = None) -> Json:
        """Answer a chat request; cancelling it cancels the call.

        Args:
            target: from :meth:`target`.
            body: as for :meth:`exchange`.
            max_retries: as for :meth:`exchange`.

        Returns:
            A ``chat.completion``; with ``cache_hit`` where it came out of the cache.

        Raises:
            LASError: whatever went wrong, after the retries and fallbacks.
        """
        return await self.exchange("chat", target, body, max_retries=max_retries).complete()

    complete = synchronous(acomplete)

    def astream(self, target: Target, body: Request, *, max_retries: int | None = None) -> AsyncGenerator[Json]:
        """Answer a chat request in chunks; arguments and failures as for :meth:`acomplete`.

        The usage comes in a last chunk without choices if ``stream_options.include_usage`` asks for it. Only a stream
        that has not begun is retried. Closing the iterator closes the connection.
        """
        return self.exchange("chat", target, body, stream=True, max_retries=max_retries).chunks()

    def stream(self, target: Target, body: Request, *, max_retries: int | None = None) -> Generator[Json]:
        """Sync form of :meth:`astream`."""
        return BACKGROUND.iterate(self.astream(target, body, max_retries=max_retries))

    async def aembed(self, target: Target, body: Json, *, max_retries: int | None = None) -> Json:
        """Answer an embeddings request (``input``, ``dimensions``, ``encoding_format``, ``user``).

        Raises:
            LASError: whatever went wrong, after the retries.
        """
        return await self.exchange("embeddings", target, body, max_retries=max_retries).embed()

    embed = synchronous(aembed)

    async def aspeak(self, target: Target, body: Json, *, max_retries: int | None = None) -> SpeechAnswer:
        """Answer a speech request (``input``, ``voice``, ``response_format``, ``speed``, ``instructions``).

        Raises:
            LASError: whatever went wrong, after the retries.
        """
        return await self.exchange("speech", target, body, max_retries=max_retries).speak()

    speak = synchronous(aspeak)

    async def atranscribe(self, target: Target, body: Json, *, max_retries: int | None = None) -> Json:
        """Answer a transcription request: ``file`` (name, bytes, content type), ``language``, ``prompt`` and so on.

        Raises:
            LASError: whatever went wrong, after the retries.
        """
        return await self.exchange("transcription", target, body, max_retries=max_retries).transcribe()

    transcribe = synchronous(atranscribe)

    async def alist_models(self, provider: str | None = None) -> Listing:
        """The models of *provider*, or of all providers that can be called: asked of them, else publicly listed ones.

        Raises:
            ModelNotFoundError: there is no such provider.
        """
        return await self._lister.list_models(self.settings, provider)

    list_models = synchronous(alist_models)

    def tokenize(self, model: str | None, text: str) -> list[int]:
        """The tokens of *text*, found in this process; for a provider's model by the tokenizer that litellm ships."""
        return self._tokenizer(model).tokenize(model or self.settings.model, text)

    def count_tokens(self, model: str | None, body: Json) -> int:
        """The number of tokens of a chat request's ``messages`` and ``tools``, found in this process."""
        return self._tokenizer(model).count_tokens(model or self.settings.model, body)

    def _tokenizer(self, model: str | None) -> Tokenizer:
        # No target: counting needs no key.
        provider, _ = split_name(model or self.settings.model, self.settings)
        return self._local if provider == "local" else self._litellm

    async def _find(self, transport: Name) -> Any:
        name = f"_{transport}"
        # Importing litellm takes seconds, which no other call on this event loop should have to wait for.
        return getattr(self, name) if name in self.__dict__ else await asyncio.to_thread(getattr, self, name)

    @cached_property
    def _wire(self) -> Transport:
        from las_langchain.transports.wire.transport import WireTransport

        return WireTransport()

    @cached_property
    def _local(self) -> LocalTransport:
        from las_langchain.transports.local import LocalTransport

        return LocalTransport(self.settings)

    @cached_property
    def _litellm(self) -> LiteLLMTransport:
        from las_langchain.transports.litellm import LiteLLMTransport

        transport = LiteLLMTransport()
        if self.settings.callbacks:
            transport.use_callbacks(self.settings.callbacks, log_prompts=self.settings.log_prompts)
        return transport


def _tracing(settings: LASSettings) -> Tracing | None:
    try:
        return open_tracing(settings)
    except ConfigurationError as error:
        # The variables are OpenTelemetry's, so they may be meant for other programs.
        logger.warning("No traces are sent: %s", error)
        return None


class _Shared(ForkAware):
    """The service of this process, made once, however many threads ask for it first."""

    _service: LiteLLMService | None = None

    def get(self) -> LiteLLMService:
        """The service."""
        with self._lock:
            if self._service is None:
                self._service = LiteLLMService()
            return self._service

    def forget(self) -> None:
        """Have the next call make another one."""
        self._service = None


SHARED = _Shared()


_CURRENT: ContextVar[LiteLLMService | None] = ContextVar("las_service", default=None)


def get_litellm_service() -> LiteLLMService:
    """The service of the server or ``with`` block that this runs in, else that of this process, with the settings of
    its environment, built on first use."""
    return _CURRENT.get() or SHARED.get()


@contextmanager
def using(service: LiteLLMService) -> Iterator[None]:
    """Have what runs inside, such as a ``ChatLAS`` that was given no service, call by way of *service*."""
    with holding(_CURRENT, service):
        yield
