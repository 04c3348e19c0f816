"""One provider asked for its models, over HTTP."""

from __future__ import annotations

import asyncio
import ssl

import httpx
import orjson

from las_langchain.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    BadRequestError,
    ConfigurationError,
    for_status,
)
from las_langchain.listing.rows import LiveList
from las_langchain.provider_rows import PROVIDERS
from las_langchain.providers import Target

MAX_BYTES = 5_000_000
"""Size of all pages together."""
MAX_PAGES = 50
MAX_REDIRECTS = 3


def address_of(live: LiveList, target: Target) -> httpx.URL:
    """The address that *live*'s path follows.

    Raises:
        ConfigurationError: it is malformed.
    """
    try:
        url = httpx.URL(target.api_base or live.base_url)
        if url.scheme not in ("http", "https") or not url.host or (url.port or 0) > 65_535:
            raise httpx.InvalidURL("not the address of an HTTP server")
    except (httpx.InvalidURL, UnicodeError):
        raise _malformed(target.provider) from None
    path = url.path.rstrip("/")
    ending = next(filter(path.endswith, live.endings), "")
    return url.copy_with(path=path.removesuffix(ending), fragment=None)


async def ask(live: LiveList, target: Target, tls: ssl.SSLContext, time_limit: float) -> list[str]:
    """The names of the provider's models, as it gives them.

    Args:
        live: how to ask.
        target: with the address, key and headers.
        tls: the certificates to trust.
        time_limit: of everything, in seconds.

    Raises:
        LASError: it could not be asked, or did not answer with its models; the message holds no secret.
    """
    address = address_of(live, target)
    who = f"{PROVIDERS[target.provider].title} at {_shown(address)}"
    try:
        async with asyncio.timeout(time_limit), _client(live, target, tls) as client:
            return await _Asking(client, who, target.provider).names(live, address)
    # The last two are about the proxy that the environment names.
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, ValueError, ImportError):
        raise _malformed(target.provider) from None
    except (TimeoutError, httpx.TimeoutException):
        raise APITimeoutError(f"{who} did not answer within {time_limit:g} s") from None
    except httpx.ConnectError:
        raise APIConnectionError(f"{who} cannot be reached{_where_set(target.provider)}") from None
    except httpx.HTTPError:
        raise APIConnectionError(f"{who} broke off the connection") from None


def _malformed(provider: str) -> ConfigurationError:
    title = PROVIDERS[provider].title
    return ConfigurationError(f"{title} cannot be asked: its address, its key, a header or the proxy is malformed")


def _client(live: LiveList, target: Target, tls: ssl.SSLContext) -> httpx.AsyncClient:
    # Unpacked, an answer could be larger than it came.
    headers = httpx.Headers({"accept": "application/json", "accept-encoding": "identity"})
    if target.api_key is not None:
        headers.update(live.headers(target.api_key.get_secret_value()))
    headers.update(target.headers)
    return httpx.AsyncClient(headers=headers, verify=tls, timeout=None)  # noqa: S113 - all of it has one limit


class _Asking:
    """The requests of one list; they share the limit of its size."""

    def __init__(self, client: httpx.AsyncClient, who: str, provider: str) -> None:
        self._client, self._who, self._provider = client, who, provider
        self._left = MAX_BYTES

    async def names(self, live: LiveList, address: httpx.URL) -> list[str]:
        """All pages' names."""
        found: list[str] = []
        url = address.copy_with(path=address.path.rstrip("/") + live.path).copy_merge_params(live.query)
        for _ in range(MAX_PAGES):
            content = await self._content(url)
            try:
                names, following = live.page(orjson.loads(content))
            except ValueError:
                raise APIError(f"{self._who} answered something else than a list of models") from None
            found += names
            if following is None:
                return found
            url = url.copy_merge_params(following)
        raise APIError(f"{self._who} answered more than {MAX_PAGES} pages")

    async def _content(self, url: httpx.URL) -> bytes:
        request = self._client.build_request("GET", url)
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._client.send(request, stream=True)
            try:
                if response.next_request is None:
                    self._check(response.status_code)
                    return await self._read(response)
            finally:
                await response.aclose()
            request = response.next_request
            if _origin(request.url) != _origin(url):
                # The key is not for anybody else.
                raise APIError(f"{self._who} redirects to another host, which is not followed")
        raise APIError(f"{self._who} redirects without an end")

    def _check(self, status: int) -> None:
        if status != 200:
            variables = PROVIDERS[self._provider].key_variables
            # Gemini says 400 of a wrong key.
            hint = f"; check {variables[0]}" if status in (400, 401, 403) and variables else ""
            kind = for_status(status) if status >= 400 else BadRequestError
            raise kind(f"{self._who} answered with HTTP status {status}{hint}")

    async def _read(self, response: httpx.Response) -> bytes:
        content = bytearray()
        async for piece in response.aiter_raw():
            content += piece
            self._left -= len(piece)
            if self._left < 0:
                raise APIError(f"{self._who} answered more than {MAX_BYTES // 1_000_000} MB")
        return bytes(content)


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _shown(address: httpx.URL) -> str:
    """*address* without what may be secret in it."""
    return str(address.copy_with(userinfo=b"", query=None)).rstrip("/")


def _where_set(provider: str) -> str:
    variables = PROVIDERS[provider].base_url_variables
    return f"; {variables[0]} sets its address" if variables else ""
