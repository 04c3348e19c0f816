"""The proxies that the environment names."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from functools import lru_cache
from urllib import request

import aiohttp
from yarl import URL

from las_langchain.deployments import shown_address
from las_langchain.errors import APIConnectionError, ConfigurationError

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
"""The variables, which may be written in small letters too."""
_SPELLINGS = (*VARIABLES, *map(str.lower, VARIABLES), "REQUEST_METHOD")


def are_named() -> bool:
    """Whether the environment names any proxy."""
    return any(map(os.environ.get, _SPELLINGS))


def proxy_for(address: URL) -> URL | None:
    """The proxy that the environment names for *address*.

    Raises:
        ConfigurationError: it is none that HTTP can go through, such as SOCKS; the message names the variable.
    """
    values = tuple(map(os.environ.get, _SPELLINGS))
    return _proxy(address.scheme, address.host or "", address.port, values) if any(values) else None


@lru_cache(maxsize=256)
def _proxy(scheme: str, host: str, port: int | None, values: tuple[str | None, ...]) -> URL | None:
    proxies = request.getproxies_environment()
    kind = scheme if scheme in proxies else "all"
    named = proxies.get(kind)
    if named is None or _is_bypassed(host, proxies) or _is_bypassed(f"{host}:{port}", proxies):
        return None
    try:
        proxy = URL(with_scheme(named))
    except ValueError:
        proxy = URL()
    if proxy.scheme not in ("http", "https") or not proxy.host:
        variable, shown = f"{kind.upper()}_PROXY", shown_address(with_scheme(named)) or "this"
        raise ConfigurationError(
            f"{variable}: expected a proxy such as http://host:3128, not {shown}; NO_PROXY={host} goes without",
            param=variable,
        )
    return proxy


def with_scheme(named: str) -> str:
    """The address of a proxy as variables name it, which may lack its scheme."""
    return named if "://" in named else f"http://{named}"


def _is_bypassed(host: str, proxies: dict[str, str]) -> bool:
    # Python documents only the function that also asks the system.
    return bool(request.proxy_bypass_environment(host, proxies))  # type: ignore[attr-defined]


@contextlib.contextmanager
def said_of_proxy(proxy: URL | None, address: URL) -> Iterator[None]:
    """Say of the proxy what would otherwise be said of the provider at *address*."""
    try:
        yield
    except aiohttp.ClientProxyConnectionError:
        text = f"The proxy {_shown(proxy)} cannot be reached"
    except aiohttp.ClientHttpProxyError as error:
        text = f"The proxy {_shown(proxy)} does not connect to {address.host}: {error.status} {error.message}"
    else:
        return
    raise APIConnectionError(
        f"{text}; {address.scheme.upper()}_PROXY or ALL_PROXY names it, NO_PROXY={address.host} goes without"
    )


def _shown(proxy: URL | None) -> str:
    return shown_address(str(proxy)).rstrip("/")
