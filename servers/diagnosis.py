"""What ``las doctor`` says: what is in force, how calls go, and what is wrong. It asks no provider."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import urlsplit

from yarl import URL

import las_langchain
from las_langchain.catalog import litellm_callbacks
from las_langchain.deployments import DeploymentSettings, is_address, shown_address
from las_langchain.errors import ConfigurationError, LASError
from las_langchain.provider_rows import PROVIDERS
from las_langchain.providers import Target, deployed, missing_variable, resolve
from las_langchain.records import Operation
from las_langchain.settings import (
    EMBEDDED_CHAT,
    EMBEDDED_EMBEDDINGS,
    STORED,
    LASSettings,
    config_file,
    local_chat_model,
    nearest,
)
from las_langchain.setups import Setup
from las_langchain.transports.choice import choose
from las_langchain.transports.local.weights import EMBEDDED
from las_langchain.transports.wire import proxies, trust
from las_langchain.transports.wire.addresses import address
from las_langchain.usage.ledger import FILE

T = TypeVar("T")
Kind = Literal["default", "deployment", "provider"]
_CHAT = "chat/completions"
_NOT_READ = "not read"


@dataclass(frozen=True, slots=True)
class Way:
    """How the calls to a model go.

    Attributes:
        kind: why it is looked at.
        name: what a caller says: a default's variable, an alias, a provider.
        model: the model's id; of a provider, its example's.
        transport: the transport's name; empty: the model cannot be called.
        why: why this transport, or why none.
        key: where its key is from; never the key.
        address: of its API, without what may be secret in it.
    """

    kind: Kind
    name: str
    model: str
    transport: str
    why: str
    key: str = ""
    address: str = ""


@dataclass(slots=True)
class Diagnosis:
    """What is in force.

    Attributes:
        versions: of this package and of what it is built on.
        settings: the settings' files, by what they are.
        data_dir: the folder for what is stored.
        writable: whether something can be stored there.
        ledger: where the usage is kept, or that it is not.
        cache: where answers are kept, or that they are not.
        embedded: the embedded models, and whether each is installed.
        callbacks: litellm's.
        variables: those about proxies and certificates, and litellm's own, without passwords.
        ways: how calls go.
        missing: the variable that each provider lacks which cannot be called.
        problems: what is wrong, each with what to do.
    """

    versions: dict[str, str]
    settings: dict[str, str] = field(default_factory=dict)
    data_dir: str = ""
    writable: bool = False
    ledger: str = _NOT_READ
    cache: str = _NOT_READ
    embedded: dict[str, bool] = field(default_factory=dict)
    callbacks: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    ways: list[Way] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def tried(self, what: Callable[[], T], otherwise: T) -> T:
        """What *what* returns; where it fails, its reason is a problem, and *otherwise* is returned."""
        try:
            return what()
        except LASError as error:
            self.report(str(error))
            return otherwise

    def report(self, problem: str) -> None:
        """Note what is wrong, once."""
        if problem not in self.problems:
            self.problems.append(problem)


def diagnose(load: Callable[[], LASSettings]) -> Diagnosis:
    """Look at everything.

    Args:
        load: reads the settings; where they are wrong, that is all there is to say.
    """
    found = Diagnosis(_versions(), variables=_variables())
    found.tried(trust.trusted, None)
    # Which files are read is to be known above all where they are wrong.
    found.settings = found.tried(_files, {})
    settings = found.tried(load, None)
    if settings is None:
        return found
    found.settings |= _files_of(settings)
    _look_at_storage(found, settings)
    _look_at_models(found, settings)
    _look_at_callbacks(found, settings)
    setup = found.tried(lambda: Setup(settings), None)
    if setup is not None:
        found.ways = list(_ways(found, setup))
    return found


def _versions() -> dict[str, str]:
    return {
        "las-langchain": las_langchain.__version__,
        "Python": platform.python_version(),
        # Importing it takes seconds.
        **{name: _version(name) for name in ("litellm", "aiohttp", "langchain-core")},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _files() -> dict[str, str]:
    return _there({"las.toml": config_file(), ".env": Path(".env")})


def _files_of(settings: LASSettings) -> dict[str, str]:
    return _there({STORED: settings.data_dir / STORED, "LAS_LITELLM_CONFIG": settings.litellm_config})


def _there(files: dict[str, Path | None]) -> dict[str, str]:
    return {name: str(path.absolute()) for name, path in files.items() if path is not None and path.is_file()}


def _variables() -> dict[str, str]:
    spelled = [spelling for name in proxies.VARIABLES for spelling in (name, name.lower())]
    found = {name: os.environ[name] for name in (*spelled, trust.FILE, trust.FOLDER) if os.environ.get(name)}
    return {name: _shown(name, value) for name, value in found.items()}


def _shown(name: str, value: str) -> str:
    if name.upper() == "NO_PROXY" or not name.upper().endswith("_PROXY"):
        return value
    return shown_address(proxies.with_scheme(value), "***") or "not an address"


def _look_at_storage(found: Diagnosis, settings: LASSettings) -> None:
    folder = settings.data_dir.absolute()
    found.data_dir, found.writable = str(folder), _is_writable(folder)
    if not found.writable:
        found.report(f"{folder} cannot be written: set LAS_DATA_DIR to a folder that can")
    found.ledger = found.tried(lambda: _ledger(settings), "cannot be used")
    found.cache = _cache(settings)


def _is_writable(folder: Path) -> bool:
    # It is made when it is needed.
    there = next(one for one in (folder, *folder.parents) if os.path.lexists(one))
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def _ledger(settings: LASSettings) -> str:
    from las_langchain.usage import Ledger

    if not settings.enable_cost_tracking:
        return "off (LAS_ENABLE_COST_TRACKING)"
    if settings.database_url is None and not (settings.data_dir / FILE).is_file():
        return f"{settings.data_dir.absolute() / FILE}, made with the first call"
    with Ledger.of(settings) as ledger:
        ledger.check()
        return ledger.where


def _cache(settings: LASSettings) -> str:
    if not settings.enable_caching:
        return "off (LAS_ENABLE_CACHING)"
    if settings.cache_type == "redis" and settings.redis_url is not None:
        return f"redis, {shown_address(settings.redis_url.get_secret_value(), '***')}"
    return settings.cache_type


def _look_at_models(found: Diagnosis, settings: LASSettings) -> None:
    found.embedded = {f"local/{one.name}": one.path(settings.data_dir).is_file() for one in EMBEDDED}
    used = {settings.model, settings.embedding_model}
    for name in used.intersection((EMBEDDED_CHAT, EMBEDDED_EMBEDDINGS)):
        if not found.embedded.get(name, True):
            found.report(f"The embedded model {name} is not installed: run `las local install`")
    known = (
        ("LAS_MODEL", settings.model, local_chat_model(settings.local_model)),
        ("LAS_EMBEDDING_MODEL", settings.embedding_model, EMBEDDED_EMBEDDINGS),
    )
    for variable, model, only in known:
        if model.startswith("local/") and model != only:
            found.report(f"{variable}: {model} is none of the local models for this; there is only {only}")
    for variable, path in (("LAS_LOCAL_MODEL", settings.local_model), ("LAS_LOCAL_MMPROJ", settings.local_mmproj)):
        if path is not None and not path.is_file():
            found.report(f"{variable}: no such file: {path}; set it to a GGUF file")


def _look_at_callbacks(found: Diagnosis, settings: LASSettings) -> None:
    found.callbacks = list(settings.callbacks)
    known = litellm_callbacks() if settings.callbacks else ()
    for name in settings.callbacks:
        if name not in known:
            found.report(f"LAS_CALLBACKS: litellm knows no {name!r}{nearest(name, known)}")


def _ways(found: Diagnosis, setup: Setup) -> Iterator[Way]:
    settings = setup.settings
    defaults: Iterable[tuple[str, str, Operation]] = (
        ("LAS_MODEL", settings.model, "chat"),
        ("LAS_EMBEDDING_MODEL", settings.embedding_model, "embeddings"),
    )
    for variable, model, operation in defaults:
        yield _way(found, setup, "default", variable, model, lambda model=model: resolve(model, settings), operation)  # type: ignore[misc]
    for alias, entry in settings.models.items():
        for deployment in entry.deployments:
            yield _way(found, setup, "deployment", alias, deployment.model, _deployed(deployment, alias, settings))
    for name, example in _callable_providers(found, settings):
        yield _way(found, setup, "provider", name, example, lambda example=example: resolve(example, settings))  # type: ignore[misc]


def _deployed(deployment: DeploymentSettings, alias: str, settings: LASSettings) -> Callable[[], Target]:
    return lambda: deployed(deployment, alias.replace("*", "any"), settings, {})


def _callable_providers(found: Diagnosis, settings: LASSettings) -> Iterator[tuple[str, str]]:
    """The providers that can be called, or are meant to be, each with the id of a model."""
    for name, row in PROVIDERS.items():
        missing = missing_variable(row, settings)
        if missing is not None and name not in settings.providers:
            found.missing[name] = missing
        elif name != "local":
            yield name, row.example
    yield from ((name, f"{name}/any") for name in settings.providers if name not in PROVIDERS)


def _way(
    found: Diagnosis,
    setup: Setup,
    kind: Kind,
    name: str,
    model: str,
    find: Callable[[], Target],
    operation: Operation = "chat",
) -> Way:
    try:
        target = replace(find(), setup=setup)
        choice = choose(target, operation)
        where = _address(target, choice.transport)
    except LASError as error:
        found.report(f"{name}: {error}")
        return Way(kind, name, model, "", str(error))
    if choice.transport == "wire":
        _look_at_proxy(found, URL(where))
    shown = shown_address(where).removesuffix(f"/{_CHAT}")
    return Way(kind, name, target.id, choice.transport, choice.why, _key(target), shown)


def _address(target: Target, transport: str) -> str:
    """Where the calls to *target* go; empty: litellm knows.

    Raises:
        ConfigurationError: no call can go there.
    """
    base = target.api_base or ""
    # What the variables of providers hold is looked at by nobody before.
    if base and (not is_address(base) or _is_whole(base, target.provider)):
        row = PROVIDERS.get(target.provider)
        variables = row.base_url_variables if row else ()
        hint = f"; {variables[0]} sets it" if variables else ""
        shown = shown_address(base, "***") or "its address"
        raise ConfigurationError(f"expected the base of an address, such as https://host/v1, not {shown}{hint}")
    return str(address(target, _CHAT)) if transport == "wire" else base


def _is_whole(base: str, provider: str) -> bool:
    # Azure's pages show the whole address, which may be set as it is.
    return provider != "azure" and urlsplit(base).path.rstrip("/").endswith(f"/{_CHAT}")


def _look_at_proxy(found: Diagnosis, where: URL) -> None:
    try:
        proxies.proxy_for(where)
    except ConfigurationError as error:
        # It is the same for each address.
        if not any(problem.startswith(f"{error.param}:") for problem in found.problems):
            found.report(str(error))


def _key(target: Target) -> str:
    if target.api_key is not None:
        return "set"
    row = PROVIDERS.get(target.provider)
    if row is not None and row.keyless:
        return row.signs_with or "not needed"
    return "in options" if row is not None else "not set"
