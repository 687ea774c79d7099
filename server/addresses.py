"""By which address a client is counted: that of the connection, or what a trusted proxy says.

https://www.rfc-editor.org/rfc/rfc7239 (Forwarded), and X-Forwarded-For, which came before it and is what most proxies
send.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final

Network = IPv4Network | IPv6Network

#: What one subscriber of IPv6 is given at least; it may use any address in it.
_IPV6_PREFIX: Final = 64
#: Addresses of one header that are looked at. A longer list is nothing that proxies of ours have written.
_MOST_HOPS: Final = 20
_FOR: Final = re.compile(r"""(?:^|[;,\s])for\s*=\s*("[^"]*"|[^;,\s]*)""", re.IGNORECASE)
_IPV4_WITH_PORT: Final = re.compile(r"(\d+\.\d+\.\d+\.\d+):\d+")


def parse_networks(text: str) -> tuple[str, ...]:
    """Addresses and networks between commas, each in its usual form. Raises ValueError."""
    return tuple(str(ip_network(part.strip())) for part in text.split(",") if part.strip())


class Addresses:
    """Gives each connection the address that limits go by; None where they do not hold.

    They do not hold for who comes from this machine itself, by loopback or a unix socket, without a proxy in front:
    whoever runs programs here can exhaust it without any socket, and for tests and load tools all players have this one
    address. With a trusted proxy on this machine what comes through it is counted by what the proxy says.
    """

    def __init__(self, trusted_proxies: Sequence[str] = ()) -> None:
        self._trusted = [ip_network(network) for network in trusted_proxies]

    def of_peer(self, peername: Any) -> str | None:
        """The address of a connection by what its transport calls the peer; None as well for that of a trusted proxy,
        whose clients are counted one by one."""
        address = _parse(peername[0]) if isinstance(peername, tuple) and peername else None
        if address is None or address.is_loopback or self._is_trusted(address):
            return None
        return grouped(address)

    def of_request(self, peername: Any, forwarded_for: Sequence[str], forwarded: Sequence[str]) -> str | None:
        """The address of a request: the last one in the chain that is none of our proxies. `forwarded_for` and
        `forwarded` are the values of these two headers, in order; they are looked at only if a trusted proxy sends
        them, and X-Forwarded-For first."""
        if isinstance(peername, tuple) and peername:
            peer = _parse(peername[0])
            if peer is None or not self._is_trusted(peer):
                return self.of_peer(peername)
        elif not self._trusted:
            return None
        # A unix socket has no address; whoever names proxies has put one in front of it.
        for hop in reversed(_hops(forwarded_for, forwarded)[-_MOST_HOPS:]):
            address = _parse(hop)
            if address is None:
                # Hidden on purpose, or nonsense: nothing before it can be believed.
                return "unknown"
            if not self._is_trusted(address):
                return grouped(address)
        return None

    def _is_trusted(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._trusted)


def grouped(address: IPv4Address | IPv6Address) -> str:
    """What an address counts as: itself, or its /64 in IPv6."""
    if isinstance(address, IPv6Address):
        return str(ip_network((address, _IPV6_PREFIX), strict=False))
    return str(address)


def _hops(forwarded_for: Sequence[str], forwarded: Sequence[str]) -> list[str]:
    if forwarded_for:
        return [hop.strip() for value in forwarded_for for hop in value.split(",")]
    return [found.group(1).strip('"') for value in forwarded for found in _FOR.finditer(value)]


def _parse(text: Any) -> IPv4Address | IPv6Address | None:
    text = str(text).strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif with_port := _IPV4_WITH_PORT.fullmatch(text):
        text = with_port[1]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # IPv4 by way of a socket for both.
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
