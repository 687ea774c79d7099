"""By which address a client is counted, and whose word is taken for it."""

from __future__ import annotations

from typing import Any

import pytest

from server.addresses import Addresses, parse_networks

DIRECT = Addresses()
BEHIND = Addresses(parse_networks("10.0.0.0/8, 127.0.0.1, 2001:db8:1::/48"))
PROXY, PEER, LOOPBACK = ("10.0.0.9", 4000), ("203.0.113.7", 4000), ("127.0.0.1", 4000)


@pytest.mark.parametrize(
    ("peername", "address"),
    [
        (("203.0.113.7", 4000), "203.0.113.7"),
        (("2001:db8:2:3:4:5:6:7", 4000, 0, 0), "2001:db8:2:3::/64"),  # whoever has one has all of them
        (("2001:db8:2:3::1", 4000, 0, 0), "2001:db8:2:3::/64"),
        (("::ffff:203.0.113.7", 4000, 0, 0), "203.0.113.7"),  # IPv4 by a socket for both
        (("fe80::1%eth0", 4000, 0, 2), "fe80::/64"),
        (("127.0.0.1", 4000), None),
        (("127.8.9.1", 4000), None),
        (("::1", 4000, 0, 0), None),
        (("::ffff:127.0.0.1", 4000, 0, 0), None),
        ("", None),  # a unix socket
        (None, None),
    ],
)
def test_direct_client_is_counted_by_its_own_address(peername: Any, address: str | None) -> None:
    assert DIRECT.of_peer(peername) == address


@pytest.mark.parametrize("peername", [PEER, LOOPBACK])
def test_nobody_but_a_trusted_proxy_is_believed(peername: Any) -> None:
    assert DIRECT.of_request(peername, ["198.51.100.1"], ["for=198.51.100.1"]) == DIRECT.of_peer(peername)
    assert BEHIND.of_request(PEER, ["198.51.100.1"], []) == "203.0.113.7"


@pytest.mark.parametrize(
    ("forwarded_for", "forwarded", "address"),
    [
        (["198.51.100.1"], [], "198.51.100.1"),
        (["1.2.3.4, 198.51.100.1"], [], "198.51.100.1"),  # what the client itself has put before it
        (["198.51.100.1, 10.0.0.3"], [], "198.51.100.1"),  # one proxy of ours behind another
        (["1.2.3.4", "198.51.100.1"], [], "198.51.100.1"),  # two headers are one list
        (["198.51.100.1:55123"], [], "198.51.100.1"),
        (["2001:db8:9:9::1"], [], "2001:db8:9:9::/64"),
        (["[2001:db8:9:9::1]:55123"], [], "2001:db8:9:9::/64"),
        ([], ["for=198.51.100.1;proto=https, for=10.0.0.3"], "198.51.100.1"),
        ([], ['for="[2001:db8:9:9::1]:4711"'], "2001:db8:9:9::/64"),
        ([], ["For=1.2.3.4, FOR = 198.51.100.1"], "198.51.100.1"),
        (["198.51.100.1"], ["for=1.2.3.4"], "198.51.100.1"),
        (["198.51.100.1, unknown"], [], "unknown"),
        ([], ["for=_hidden"], "unknown"),
        (["127.0.0.1"], [], None),  # the proxy asks for itself: it looks whether we are well
        ([], [], None),
        (["1.2.3.4" + ", 10.0.0.1" * 30], [], None),  # too long to be of our proxies: nobody's, not the first one's
    ],
)
def test_trusted_proxy_says_for_whom_it_asks(
    forwarded_for: list[str], forwarded: list[str], address: str | None
) -> None:
    assert BEHIND.of_request(PROXY, forwarded_for, forwarded) == address
    assert BEHIND.of_peer(PROXY) is None


def test_proxy_by_loopback_or_unix_socket_may_be_trusted_too() -> None:
    assert BEHIND.of_request(LOOPBACK, ["198.51.100.1"], []) == "198.51.100.1"
    assert BEHIND.of_request("", ["198.51.100.1"], []) == "198.51.100.1"
    assert DIRECT.of_request("", ["198.51.100.1"], []) is None


def test_network_that_is_none_is_refused() -> None:
    for text in ("10.0.0.0/33", "proxy.example", "10.0.0.1/8"):
        with pytest.raises(ValueError):  # noqa: PT011
            parse_networks(text)
    assert parse_networks("") == ()
