"""Connections to public addresses only, checked where they are made: no name and no redirect gets around it."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import httpcore

from las_langchain.errors import BadRequestError
from las_langchain.threads import in_thread

Address = IPv4Address | IPv6Address
Allows = Callable[[Address, int], bool]

_PORTS = (80, 443)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(address: Address) -> bool:
    """Whether *address* is one that everybody reaches, and no part of this machine or of a network around it.

    An address of IPv6 that stands for one of IPv4 is judged by that one.
    """
    if isinstance(address, IPv6Address):
        inside = address.ipv4_mapped or address.sixtofour or _translated(address)
        if inside is not None:
            return is_public(inside)
        if address.is_site_local:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _translated(address: IPv6Address) -> IPv4Address | None:
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None


def public_web(address: Address, port: int) -> bool:
    """Whether a web page may be read there: the address is public, and the port one of the web's."""
    return is_public(address) and port in _PORTS


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """What connections are made by.

    A name is resolved once, all of its addresses are checked, and the connection goes to one of these: a name that
    changes its address between a check and the connection gains nothing.

    Args:
        allows: whether a connection to an address and port may be made.
    """

    def __init__(self, allows: Allows = public_web) -> None:
        self._allows = allows
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's name
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to *host*.

        Raises:
            BadRequestError: one of its addresses is not allowed, or it has none.
            ConnectError: from httpcore, as the timeout is.
        """
        failure: Exception | None = None
        for address in await self._addresses(host, port):
            try:
                return await self._inner.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except httpcore.ConnectError as error:
                failure = error
        raise failure or BadRequestError(f"{host}: no such host", param="url")

    async def _addresses(self, host: str, port: int) -> list[Address]:
        found = list(dict.fromkeys(await in_thread(lambda: _resolved(host, port))))
        refused = next((one for one in found if not self._allows(one, port)), None)
        if refused is not None:
            raise BadRequestError(f"{host}:{port} is not a public address of the web, so it is not read", param="url")
        return found


def _resolved(host: str, port: int) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise BadRequestError(f"{host:.100}: no such host", param="url") from None
    return [ipaddress.ip_address(entry[4][0]) for entry in found]
