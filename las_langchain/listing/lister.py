"""The list of models: every provider asked at once, the answers kept for a while."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from las_langchain.catalog import models_of
from las_langchain.errors import AuthenticationError, ConfigurationError, LASError, ModelNotFoundError
from las_langchain.listing.models import ListedModel, Source, aliased, described, embedded
from las_langchain.listing.rows import LIVE, LiveList
from las_langchain.listing.sharing import Shared
from las_langchain.provider_rows import PROVIDERS
from las_langchain.providers import (
    Target,
    known_models,
    known_provider,
    missing_variable,
    resolve,
    split_name,
)
from las_langchain.settings import LASSettings
from las_langchain.transports.background import BACKGROUND

TIME_LIMIT = 3.0
"""Longest wait for one provider, in seconds."""
KEPT = 60.0
"""Seconds for which a provider's answer holds."""
FAILURE_KEPT = 10.0
"""Seconds for which a provider that failed is not asked again."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Models, and where they are from.

    Attributes:
        models: sorted by id, those of this process first.
        sources: by provider.
    """

    models: list[ListedModel]
    sources: dict[str, Source]


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one provider said; without an error, its models' names."""

    names: tuple[str, ...]
    error: str | None
    seconds: float


class ModelsLister:
    """Lists models, and remembers for a while what the providers said; for any number of threads and event loops.

    Args:
        time_limit: longest wait for one provider, in seconds.
        clock: seconds that go on.
    """

    def __init__(self, *, time_limit: float = TIME_LIMIT, clock: Callable[[], float] = time.monotonic) -> None:
        self._time_limit = time_limit
        # Beyond the limit only what a busy event loop takes longer.
        self._answers: Shared[_Answer] = Shared(_keep, time_limit + 1, clock)

    async def list_models(self, settings: LASSettings, provider: str | None = None) -> Listing:
        """The models of one provider, or of all that can be called and the settings' aliases.

        A provider that does not answer has those that litellm's table lists for it, and an ``error`` that says why.

        Args:
            settings: where keys and addresses come from.
            provider: the provider, whether or not its key is set; None: all whose key is set or that need none.

        Raises:
            ModelNotFoundError: there is no such provider.
        """
        names = _callable_now(settings) if provider is None else [known_provider(provider)]
        listed = await asyncio.gather(*[self._listed(name, settings, alone=provider is not None) for name in names])
        aliases = [alias for alias in settings.models if provider is None and "*" not in alias]
        models = [model for found, _ in listed for model in found if model.id not in aliases]
        models += [aliased(alias, settings) for alias in aliases]
        models.sort(key=lambda model: (model.provider != "local", model.id))
        return Listing(models, {name: source for name, (_, source) in zip(names, listed, strict=True)})

    async def _listed(
        self, provider: str, settings: LASSettings, *, alone: bool
    ) -> tuple[Sequence[ListedModel], Source]:
        if provider == "local":
            return [embedded(model, settings) for model in known_models(provider, settings)], Source("embedded")
        # An alias may have the name of any model.
        plain = settings.model_copy(update={"models": {}})
        live = LIVE.get(provider)
        try:
            target = resolve(f"{provider}/any", plain)
            question = _identity(live, target) if live else ""
        except (AuthenticationError, ConfigurationError) as error:
            return _of_table(provider), Source("litellm", error.message)
        if live is None:
            return _of_table(provider), Source("litellm")
        answer = await self._answers.get(question, lambda: self._ask(live, target))
        if answer.error is None:
            safe = [name for name in set(answer.names) if _is_safe(provider, name, plain)]
            return [described(provider, name, "live") for name in safe], Source("live", None, answer.seconds)
        if PROVIDERS[provider].keyless and not alone:
            return [], Source(None, answer.error, answer.seconds)
        return _of_table(provider), Source("litellm", answer.error, answer.seconds)

    async def _ask(self, live: LiveList, target: Target) -> _Answer:
        begun = time.perf_counter()
        names: list[str] = []
        error = None
        try:
            # Reading all certificates takes a while.
            tls = await asyncio.to_thread(lambda: self._tls)
            from las_langchain.listing.asking import ask

            names = await ask(live, target, tls, self._time_limit)
        except LASError as failure:
            error = failure.message
        except OSError as failure:
            error = f"The certificates to trust cannot be read: {failure}; check SSL_CERT_FILE and SSL_CERT_DIR"
        return _Answer(tuple(names), error, round(time.perf_counter() - begun, 3))

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        # The client is imported with the first question.
        import httpx

        return httpx.create_ssl_context()


async def list_models(settings: LASSettings, provider: str | None = None) -> Listing:
    """As :meth:`ModelsLister.list_models`, with nothing remembered."""
    return await ModelsLister().list_models(settings, provider)


def list_models_sync(settings: LASSettings, provider: str | None = None) -> Listing:
    """Sync form of :func:`list_models`."""
    return BACKGROUND.run(list_models(settings, provider))


def _keep(answer: _Answer) -> float:
    return KEPT if answer.error is None else FAILURE_KEPT


def _callable_now(settings: LASSettings) -> list[str]:
    """The providers whose key is set, or that need none."""
    rows = [row for row in PROVIDERS.values() if missing_variable(row, settings) is None]
    # Whether credentials that litellm finds by itself are there is not known here.
    return [row.name for row in rows if row.signs_with is None or row.name in settings.providers]


def _identity(live: LiveList, target: Target) -> str:
    """A digest of what makes one answer differ from another.

    Raises:
        ConfigurationError: the address is malformed.
    """
    from las_langchain.listing.asking import address_of

    key = target.api_key.get_secret_value() if target.api_key else None
    parts = (target.provider, str(address_of(live, target)), key, sorted(target.headers.items()))
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@cache
def _of_table(provider: str) -> tuple[ListedModel, ...]:
    # Some of the table's names are patterns.
    return tuple(described(provider, name, "litellm") for name in models_of(provider) if "*" not in name)


def _is_safe(provider: str, name: str, settings: LASSettings) -> bool:
    """Whether a call can name it."""
    try:
        return split_name(f"{provider}/{name}", settings) == (provider, name)
    except ModelNotFoundError:
        return False
