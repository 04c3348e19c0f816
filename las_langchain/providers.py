"""How a model's name finds its provider, address and key."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, cast

from pydantic import SecretStr

from las_langchain.catalog import litellm_providers, models_of, provider_of
from las_langchain.deployments import DeploymentSettings, ProviderSettings, alias_of, served_model
from las_langchain.errors import AuthenticationError, BadRequestError, ConfigurationError, ModelNotFoundError
from las_langchain.fields import CHAT_FIELDS
from las_langchain.prices import own_prices, without_prices
from las_langchain.provider_rows import CLAUDE_FIELDS, PROVIDERS, Provider
from las_langchain.settings import EMBEDDED_EMBEDDINGS, LASSettings, local_chat_model, nearest

if TYPE_CHECKING:
    from las_langchain.setups import Setup


@dataclass(frozen=True, slots=True)
class Target:
    """Where a call goes and with which credentials; built from settings, never from what a client sends.

    Attributes:
        provider: the provider's name.
        model: the model's name without the provider's prefix.
        litellm_model: litellm's name for the same model.
        api_base: address of the API, or None for the provider's own.
        api_key: the key, or None.
        headers: headers to send with the call.
        options: further litellm arguments of this provider.
        timeout: longest wait for the first byte, in seconds.
        stream_timeout: longest silence between two chunks, in seconds.
        transport: how it is to be reached: ``wire`` or ``litellm``; None: the best way.
        defaults: fields of requests that name none themselves.
        asked: the model as the caller named it, where that is an alias.
        alias: that alias, or the pattern that the name fits; its deployments take turns.
        served: what else tells this model from another of the same id: an alias's deployments, a local model's file.
        deployment: litellm's id of the alias's deployment that this is.
        prices: the deployment's own, and its ``base_model``, in litellm's words.
        extra_fields: what clients may send beside OpenAI's fields.
        overrides: what was given in place of the settings', to be kept with another deployment.
        setup: what the service made of its settings when the call began.
    """

    provider: str
    model: str
    litellm_model: str
    api_base: str | None = None
    api_key: SecretStr | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    timeout: float = 120
    stream_timeout: float = 60
    transport: str | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    asked: str | None = None
    alias: str | None = None
    served: str | None = field(default=None, repr=False)
    deployment: str | None = None
    prices: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    extra_fields: frozenset[str] = field(default=frozenset(), repr=False, compare=False)
    overrides: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    setup: Setup | None = field(default=None, repr=False, compare=False)

    @property
    def id(self) -> str:
        """The model's full id, ``provider/model``."""
        return f"{self.provider}/{self.model}"


# A model's name becomes part of URLs and of litellm's routing, so its alphabet is closed.
_NAME = re.compile(r"[A-Za-z0-9._:@/-]{1,256}")
_UNSAFE = ("..", "//")


class Overrides(TypedDict, total=False):
    """What a call may say about its way in place of the settings; None counts as not said.

    Attributes:
        api_key: the key.
        api_base: the address.
        transport: how to reach the model.
        timeout: longest wait for the first byte, in seconds.
        stream_timeout: longest silence between two chunks, in seconds.
        headers: headers beside the settings'.
    """

    api_key: SecretStr | None
    api_base: str | None
    transport: str | None
    timeout: float | None
    stream_timeout: float | None
    headers: Mapping[str, str] | None


def resolve(name: str, settings: LASSettings, **overrides: Unpack[Overrides]) -> Target:
    """Find the provider, address and key for a model.

    Args:
        name: ``provider/model``, an alias, or a bare name: publicly listed (``gpt-4o``), else the default provider's.
        settings: where keys, addresses and timeouts come from.
        overrides: what to use instead.

    Returns:
        For an alias, its first deployment.

    Raises:
        ModelNotFoundError: the name is not well-formed, or names no known provider.
        BadRequestError: the model cannot be reached by the wanted transport, or an alias was given a key or an address.
        AuthenticationError: the provider needs a key and none is set; the message names the variable.
    """
    alias = alias_of(name, settings.models)
    if alias is None:
        return _resolved(name, settings, overrides)
    for own in ("api_key", "api_base"):
        if overrides.get(own) is not None:
            raise BadRequestError(f"{own}: the alias {name!r} has deployments with their own", param=own)
    entry = settings.models[alias]
    found = _first_usable(entry.deployments, name, settings, overrides)
    return replace(found, asked=name, alias=alias, served=repr([item.model for item in entry.deployments]))


def _first_usable(
    deployments: Sequence[DeploymentSettings], name: str, settings: LASSettings, overrides: Overrides
) -> Target:
    """The first deployment whose provider has a key; which one is asked is decided later."""
    for deployment in deployments[:-1]:
        try:
            return deployed(deployment, name, settings, overrides)
        except AuthenticationError:
            continue
    return deployed(deployments[-1], name, settings, overrides)


def deployed(deployment: DeploymentSettings, name: str, settings: LASSettings, overrides: Overrides) -> Target:
    """Where a call to one deployment of an alias goes.

    Args:
        deployment: which one.
        name: the model as the caller named it, whose end stands for a ``*`` in the deployment's.
        settings: where keys, addresses and timeouts come from that the deployment does not say.
        overrides: as for :func:`resolve`.

    Raises:
        LASError: as :func:`resolve`.
    """
    model = served_model(deployment.model, name, alias_of(name, settings.models) or name)
    own: Overrides = {"api_key": deployment.api_key, "api_base": deployment.base_url, "timeout": deployment.timeout}
    given = {key: value for key, value in overrides.items() if value is not None}
    if _split(model, settings)[0] != split_name(name, settings)[0]:
        # They may hold credentials, and were meant for the provider that the name stands for first.
        given.pop("headers", None)
    target = _resolved(model, settings, cast("Overrides", {**own, **given}))
    headers = {**target.headers, **(deployment.options.get("extra_headers") or {})}
    defaults = {key: value for key, value in deployment.options.items() if key in CHAT_FIELDS - {"extra_headers"}}
    options = {key: value for key, value in deployment.options.items() if key not in CHAT_FIELDS}
    return replace(
        target,
        headers=headers,
        options={**target.options, **without_prices(options)},
        prices=own_prices(target.prices, deployment.routing.model_info, options),
        defaults={**target.defaults, **defaults},
        extra_fields=target.extra_fields.union(deployment.extra_fields),
        overrides={key: value for key, value in overrides.items() if value is not None},
    )


def _resolved(name: str, settings: LASSettings, overrides: Overrides) -> Target:
    provider, model = _split(name, settings)
    row = PROVIDERS.get(provider)
    given = settings.providers.get(provider, ProviderSettings.model_validate({}))
    defaults = {"temperature": settings.temperature, "max_tokens": settings.max_tokens}
    return Target(
        provider=provider,
        model=model,
        litellm_model=f"{(row and row.litellm_name) or provider}/{model}",
        api_base=overrides.get("api_base") or given.base_url or _base_url(provider, row, settings),
        api_key=overrides.get("api_key") or _key(provider, row, given, settings),
        headers={**given.headers, **(overrides.get("headers") or {})},
        options={**_options(row, settings, given.options), **without_prices(given.options)},
        prices=own_prices(given.options),
        extra_fields=extra_fields(provider, settings),
        timeout=overrides.get("timeout") or settings.timeout,
        stream_timeout=overrides.get("stream_timeout") or settings.stream_timeout,
        transport=_transport(provider, overrides.get("transport")),
        served=_local_file(settings) if provider == "local" else None,
        defaults={key: value for key, value in defaults.items() if value is not None},
    )


def extra_fields(provider: str, settings: LASSettings) -> frozenset[str]:
    """What clients may send to *provider* beside OpenAI's fields."""
    row, given = PROVIDERS.get(provider), settings.providers.get(provider)
    return (row.extra_fields if row else CLAUDE_FIELDS).union(given.extra_fields if given else ())


def _local_file(settings: LASSettings) -> str:
    return f"{settings.local_model} {settings.local_mmproj} {settings.local_context} {settings.local_max_tokens}"


def _transport(provider: str, wanted: str | None) -> str | None:
    row = PROVIDERS.get(provider)
    speaks = row is not None and row.wire is not None
    possible = ("local",) if provider == "local" else ("wire", "litellm") if speaks else ("litellm",)
    if wanted is not None and wanted not in possible:
        ways = " or ".join(f"transport={way!r}" for way in possible)
        raise BadRequestError(f"{provider} models are reached by {ways}, not {wanted!r}", param="transport")
    return wanted


def split_name(name: str, settings: LASSettings) -> tuple[str, str]:
    """The provider and the bare name of a model; of an alias, those of its first deployment.

    Raises:
        ModelNotFoundError: as :func:`resolve`.
    """
    alias = alias_of(name, settings.models)
    if alias is not None:
        return _split(served_model(settings.models[alias].deployments[0].model, name, alias), settings)
    return _split(name, settings)


def _split(name: str, settings: LASSettings) -> tuple[str, str]:
    if not _NAME.fullmatch(name) or any(part in name for part in _UNSAFE) or "/" in (name[0], name[-1]):
        shown = name if len(name) <= 60 else name[:60] + "…"
        raise ModelNotFoundError(f"Not a model name: {shown!r}; expected provider/model", param="model")
    prefix, _, rest = name.partition("/")
    if rest and _known(prefix):
        return prefix, rest
    listed = provider_of(name)
    if listed:
        return listed, name
    default = settings.default_provider or settings.model.partition("/")[0]
    if not rest and _known(default):
        return default, name
    hint = _hint(prefix, settings.models)
    raise ModelNotFoundError(f"Unknown provider {prefix!r} in model {name!r}{hint}", param="model")


def model_id(model: str, provider: str | None = None) -> str:
    """The id ``provider/model`` of a model that is named as LangChain's own functions take it.

    Args:
        model: ``provider/model``, ``provider:model``, or a bare name.
        provider: the provider, if *model* does not name it.
    """
    prefix, colon, rest = model.partition(":")
    if provider:
        return f"{provider}/{model.removeprefix(f'{provider}/')}"
    return f"{prefix}/{rest}" if colon and _known(prefix) else model


def check_configured(settings: LASSettings) -> None:
    """Check that *settings* are about providers that there are.

    Raises:
        ConfigurationError: one is not; the message names the nearest.
    """
    default = settings.default_provider
    if default is not None and not _known(default):
        raise ConfigurationError(
            f"LAS_DEFAULT_PROVIDER: unknown provider {default!r:.60}{_hint(default)}", param="default_provider"
        )
    for kind in ("model", "embedding_model"):
        try:
            split_name(getattr(settings, kind), settings)
        except ModelNotFoundError as error:
            raise ConfigurationError(f"LAS_{kind.upper()}: {error}", param=kind) from None
    for name in settings.providers:
        if not _known(name):
            raise ConfigurationError(f"[providers.{name}]: unknown provider{_hint(name)}", param="providers")
    for alias, entry in settings.models.items():
        names = [deployment.model for deployment in entry.deployments]
        for name in (*names, *entry.fallbacks, *entry.context_window_fallbacks):
            _check_entry(f"models.{alias}", name, settings)
    for name in settings.routing.default_fallbacks:
        _check_entry("routing", name, settings)


def _check_entry(table: str, name: str, settings: LASSettings) -> None:
    if name == "*":
        return
    try:
        split_name(name.replace("*", "any"), settings)
    except ModelNotFoundError as error:
        raise ConfigurationError(f"[{table}]: {error}", param=table.partition(".")[0]) from None


def known_provider(name: str) -> str:
    """*name*, if there is such a provider.

    Raises:
        ModelNotFoundError: there is not; the message names the nearest.
    """
    if not isinstance(name, str):
        raise BadRequestError(f"provider: expected a name, not {type(name).__name__}", param="provider")
    if not _known(name):
        raise ModelNotFoundError(f"Unknown provider {name!r:.60}{_hint(name)}", param="provider")
    return name


def _hint(name: str, known: Iterable[str] = ()) -> str:
    return nearest(name, [*known, *PROVIDERS, *litellm_providers()]) or "; `las providers` lists them"


def _known(provider: str) -> bool:
    return provider in PROVIDERS or provider in litellm_providers()


def variable_prefix(provider: str) -> str:
    """What the environment variables of a provider without a row begin with, such as ``SCX_AI`` for ``scx-ai``."""
    return re.sub(r"\W", "_", provider).upper()


def key_variable(provider: str) -> str:
    """The environment variable for a provider's key."""
    row = PROVIDERS.get(provider)
    return row.key_variables[0] if row and row.key_variables else f"{variable_prefix(provider)}_API_KEY"


def _base_url(provider: str, row: Provider | None, settings: LASSettings) -> str | None:
    variables = row.base_url_variables if row else (f"{variable_prefix(provider)}_API_BASE",)
    values = (settings.variable(name) for name in variables)
    return next(filter(None, values), row.base_url if row else None)


def _options(row: Provider | None, settings: LASSettings, given: Mapping[str, Any]) -> dict[str, str]:
    """litellm's arguments out of their variables, which it would not find in ``.env``."""
    variables = row.option_variables if row else {}
    found = {name: next(filter(None, map(settings.variable, names)), None) for name, names in variables.items()}
    if not _AWS_CREDENTIALS.isdisjoint(given):
        # litellm would join the keys of the settings with the session's token of the environment.
        found = {**found, **dict.fromkeys(_AWS_CREDENTIALS), "aws_session_token": ""}
    return {name: value for name, value in found.items() if value is not None}


_AWS_CREDENTIALS = frozenset({"aws_access_key_id", "aws_secret_access_key", "aws_session_token"})


def _key(provider: str, row: Provider | None, given: ProviderSettings, settings: LASSettings) -> SecretStr | None:
    if given.api_key:
        return given.api_key
    variables = (*row.key_variables, *row.optional_keys) if row else (f"{variable_prefix(provider)}_API_KEY",)
    value = next(filter(None, (settings.variable(name) for name in variables)), None)
    if value is None and row and not row.keyless and given.options.keys().isdisjoint(row.key_options):
        raise AuthenticationError(
            f"No key for {row.title}: set {row.key_variables[0]} in the environment or in .env", provider=provider
        )
    return SecretStr(value) if value else None


def available_models(settings: LASSettings) -> list[str]:
    """The ids of the models that can be called as things are: embedded, default, and those of providers with a key."""
    defaults = (_full_name(model, settings) for model in (settings.model, settings.embedding_model))
    ids = {*defaults, EMBEDDED_EMBEDDINGS, local_chat_model(settings.local_model)}
    ids.update(alias for alias in settings.models if "*" not in alias)
    for name, row in PROVIDERS.items():
        if row.key_variables and missing_variable(row, settings) is None:
            ids.update(f"{name}/{model}" for model in models_of(name))
    return sorted(ids, key=lambda model: (not model.startswith("local/"), model))


def _full_name(model: str, settings: LASSettings) -> str:
    try:
        return "/".join(split_name(model, settings))
    except ModelNotFoundError:
        # What is wrong with a default model is said by the calls to it.
        return model


def known_models(provider: str, settings: LASSettings) -> list[str]:
    """The ids of all models that are publicly listed for *provider*, whether or not its key is set.

    Raises:
        ModelNotFoundError: there is no such provider.
    """
    if known_provider(provider) == "local":
        return [name for name in available_models(settings) if name.startswith("local/")]
    return [f"{provider}/{model}" for model in models_of(provider)]


def missing_variable(row: Provider, settings: LASSettings) -> str | None:
    """The variable that must be set before *row*'s models can be called; None if they can be."""
    given = settings.providers.get(row.name)
    if row.keyless or (given and given.api_key) or any(map(settings.variable, row.key_variables)):
        return None
    return row.key_variables[0]
