"""The providers as a user sees them: what they offer, which key they need, and whether it is set."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from las_langchain.catalog import model_providers, models_of
from las_langchain.provider_rows import PROVIDERS, Provider
from las_langchain.providers import key_variable, missing_variable, variable_prefix
from las_langchain.settings import LASSettings

_DOCS = "https://docs.litellm.ai/docs/providers/"
# Where AWS's own libraries, by which litellm signs, look for credentials.
_AWS = (
    "AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_BEARER_TOKEN_BEDROCK", "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ProviderInfo:
    """One provider.

    Attributes:
        name: the prefix of its models' ids.
        title: its name for people.
        example: a model id.
        features: what it offers, as far as that is known.
        keyless: whether it answers without a key.
        key_variables: environment variables that hold its key; the first that is set counts.
        configured: whether its credentials, if it needs any, are set.
        missing_variable: the variable to set if not.
        base_url: the address that is set, without credentials, or its default; None: litellm knows it.
        docs: where its models and keys are described.
    """

    name: str
    title: str
    example: str
    features: tuple[str, ...]
    keyless: bool
    key_variables: tuple[str, ...]
    configured: bool
    missing_variable: str | None
    base_url: str | None
    docs: str


def list_providers(settings: LASSettings) -> list[ProviderInfo]:
    """The providers that are known by more than their name, then all others that litellm reaches."""
    # Some rows stand for another of litellm's names.
    known = {*PROVIDERS, *(row.litellm_name for row in PROVIDERS.values())}
    others = sorted(model_providers() - known)
    return [*(_of_row(row, settings) for row in PROVIDERS.values()), *(_of_name(name, settings) for name in others)]


def _of_row(row: Provider, settings: LASSettings) -> ProviderInfo:
    variables, missing = row.key_variables, missing_variable(row, settings)
    if row.signs_with:
        variables, missing = _AWS, None if _signs(row.name, settings) else _AWS[0]
    return ProviderInfo(
        name=row.name,
        title=row.title,
        example=row.example,
        features=row.features,
        keyless=not variables,
        key_variables=variables,
        configured=missing is None,
        missing_variable=missing,
        base_url=_address(row.name, row.base_url_variables, row.base_url, settings),
        docs=row.docs,
    )


def _of_name(name: str, settings: LASSettings) -> ProviderInfo:
    variable, given = key_variable(name), settings.providers.get(name)
    configured = bool((given and given.api_key) or settings.variable(variable))
    return ProviderInfo(
        name=name,
        title=name,
        example=f"{name}/{next(iter(models_of(name)), 'model')}",
        features=(),
        keyless=False,
        key_variables=(variable,),
        configured=configured,
        missing_variable=None if configured else variable,
        base_url=_address(name, (f"{variable_prefix(name)}_API_BASE",), None, settings),
        docs=_DOCS + name,
    )


def _signs(name: str, settings: LASSettings) -> bool:
    given = settings.providers.get(name)
    return any(map(settings.variable, _AWS)) or bool(given and any(key.startswith("aws_") for key in given.options))


def _address(name: str, variables: tuple[str, ...], default: str | None, settings: LASSettings) -> str | None:
    given = settings.providers.get(name)
    address = (given and given.base_url) or next(filter(None, map(settings.variable, variables)), default)
    return _without_credentials(address) if address else None


def _without_credentials(address: str) -> str:
    """*address* without what may be secret in it: user, password, query and fragment."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "(not an address)"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
