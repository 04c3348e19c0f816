"""The tables of ``las.toml``: providers, model aliases with their deployments, and how one of these is chosen."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    field_validator,
)

from las_langchain.fields import check_extra_fields
from las_langchain.prices import is_price

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Cooldown = Annotated[float, Field(ge=0, le=86_400)]
Strategy = Literal["simple-shuffle", "least-busy", "latency-based-routing", "cost-based-routing"]
STRATEGIES: tuple[str, ...] = get_args(Strategy)
"""litellm's routing strategies that are known here."""


def is_address(value: Any) -> bool:
    """Whether *value* is an http(s) address."""
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        # Its port is checked only when it is read.
        return parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def shown_address(address: str, mark: str = "") -> str:
    """*address* with *mark* in the place of what may be secret in it: its user and its query."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return mark
    user, _, host = parts.netloc.rpartition("@")
    netloc = f"{mark}@{host}" if user and mark else host
    return parts._replace(netloc=netloc, query=mark if parts.query else "", fragment="").geturl()


def _check_address(value: str) -> str:
    if not is_address(value):
        raise ValueError("expected an address such as https://host/v1")
    return value


def is_header_value(value: str) -> bool:
    """Whether a header may hold *value*."""
    return value.isascii() and value.isprintable()


def _check_header_value(value: str) -> str:
    if not is_header_value(value):
        raise ValueError("has a line break or another character that no header can hold")
    return value


def _check_header_name(value: str) -> str:
    if not _HEADER_NAME.fullmatch(value):
        raise ValueError("expected the name of a header, such as X-Team")
    return value


def _check_key(value: SecretStr) -> SecretStr:
    _check_header_value(value.get_secret_value())
    return value


_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
Address = Annotated[str, AfterValidator(_check_address)]
Key = Annotated[SecretStr, AfterValidator(_check_key)]
FieldNames = Annotated[list[str], AfterValidator(check_extra_fields)]
Headers = dict[Annotated[str, AfterValidator(_check_header_name)], Annotated[str, AfterValidator(_check_header_value)]]


def _priced(table: dict[str, Any]) -> dict[str, Any]:
    """*table* with its prices as numbers: YAML takes ``1e-6`` for a word."""
    prices = {name: value for name, value in table.items() if is_price(name) and value is not None}
    try:
        return {**table, **_PRICES.validate_python(prices)}
    except ValidationError as error:
        raise ValueError(f"{error.errors()[0]['loc'][0]}: expected a price in US dollars") from None


_COOLDOWN: TypeAdapter[float] = TypeAdapter(Cooldown)
_PRICES: TypeAdapter[dict[str, float]] = TypeAdapter(dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]])


class ProviderSettings(BaseModel):
    """One provider's entry in ``las.toml``: ``[providers.openai]``."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    api_key: Key | None = Field(None, description="Key; else the provider's own variable, such as OPENAI_API_KEY")
    base_url: Address | None = Field(None, description="Address of the API, for proxies and self-hosted servers")
    headers: Headers = Field(default_factory=dict, description="Headers sent with every call")
    options: dict[str, Any] = Field(
        default_factory=dict, repr=False, description="litellm arguments, such as api_version"
    )
    extra_fields: FieldNames = Field(
        default_factory=list, description="Fields beside OpenAI's that clients may send to it"
    )

    _check_prices = field_validator("options")(_priced)


class DeploymentRouting(BaseModel):
    """What litellm's Router knows of a deployment beside its weight and its limits."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    order: int | None = Field(None, description="The lowest is asked first, the next ones where it fails")
    cooldown_time: Cooldown | None = Field(None, description="As in [routing], for this one alone")
    model_info: dict[str, Any] = Field(
        default_factory=dict, description="litellm's model_info: its base_model and prices, among others"
    )

    @field_validator("model_info")
    @classmethod
    def _check_info(cls, value: dict[str, Any]) -> dict[str, Any]:
        cooldown = value.get("cooldown_time")
        return _priced(value if cooldown is None else {**value, "cooldown_time": _COOLDOWN.validate_python(cooldown)})


class DeploymentSettings(BaseModel):
    """One place that serves a model: an entry of ``deployments`` under ``[models.<alias>]``."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    model: str = Field(description="provider/model")
    api_key: Key | None = Field(None, description="Key; else the provider's")
    base_url: Address | None = Field(None, description="Address of the API; else the provider's")
    weight: float | None = Field(None, gt=0, description="Share of the calls, relative to the other deployments")
    rpm: int | None = Field(None, gt=0, description="Requests a minute that it takes, by which the choice is weighted")
    tpm: int | None = Field(None, gt=0, description="Tokens a minute that it takes, by which the choice is weighted")
    timeout: Seconds | None = Field(None, description="Longest wait for the first byte, in seconds")
    options: dict[str, Any] = Field(
        default_factory=dict, repr=False, description="litellm arguments, such as api_version"
    )
    extra_fields: FieldNames = Field(
        default_factory=list, description="Fields beside OpenAI's that clients may send; and the provider's"
    )
    routing: DeploymentRouting = Field(
        default_factory=DeploymentRouting, description="Further fields of litellm's Router: order, cooldown_time"
    )

    @field_validator("options")
    @classmethod
    def _check_options(cls, value: dict[str, Any]) -> dict[str, Any]:
        headers = value.get("extra_headers")
        checked = {} if headers is None else {"extra_headers": _HEADERS.validate_python(headers)}
        return {**_priced(value), **checked}


_HEADERS: TypeAdapter[Headers] = TypeAdapter(Headers)


class AliasSettings(BaseModel):
    """A model's alias in ``las.toml``: ``[models.fast]``."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    deployments: list[DeploymentSettings] = Field(min_length=1, description="Where it is served; ids or tables")
    fallbacks: list[str] = Field(default_factory=list, description="Models to ask, in order, when all of these fail")
    context_window_fallbacks: list[str] = Field(
        default_factory=list, description="Models to ask instead where the prompt is too long; else fallbacks"
    )

    @field_validator("deployments", mode="before")
    @classmethod
    def _take_ids(cls, value: Any) -> Any:
        given = [value] if isinstance(value, (str, dict)) else value
        return (
            [{"model": item} if isinstance(item, str) else item for item in given] if isinstance(given, list) else given
        )


class RoutingSettings(BaseModel):
    """``[routing]`` in ``las.toml``: how litellm's Router chooses among an alias's deployments."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    strategy: Strategy = Field("simple-shuffle", description="litellm's routing strategy")
    allowed_fails: int = Field(2, ge=0, description="Failures a minute after which a deployment is left alone")
    cooldown_time: Cooldown = Field(
        30, description="How long it is left alone, in seconds, or longer where it says so; 0: it never is"
    )
    default_fallbacks: list[str] = Field(
        default_factory=list, description="Models to ask, in order, when one without fallbacks of its own fails"
    )


def alias_of(name: str, aliases: Mapping[str, AliasSettings]) -> str | None:
    """The alias that *name* is, or whose pattern, such as ``openai/*``, it fits; None if there is none."""
    if name in aliases:
        return name
    patterns = (alias for alias in aliases if "*" in alias and _fits(name, alias))
    # As litellm's Router does: of several patterns the most specific, which is the longest.
    return max(patterns, key=len, default=None)


def served_model(model: str, name: str, alias: str) -> str:
    """The model that a deployment serves a call with.

    Args:
        model: the deployment's; what each ``*`` in *alias* stands for takes the place of one of its own.
        name: the model as the caller named it.
        alias: the alias that *name* is or fits.
    """
    found = _match(name, alias)
    if "*" not in model or found is None or not found.groups():
        return model
    first, *others = found.groups()
    for part in (first.removeprefix(model.partition("*")[0]), *others):
        model = model.replace("*", part, 1)
    return model


def _fits(name: str, pattern: str) -> bool:
    return _match(name, pattern) is not None


def _match(name: str, pattern: str) -> re.Match[str] | None:
    return re.fullmatch("(.*)".join(map(re.escape, pattern.split("*"))), name)
