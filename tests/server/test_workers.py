"""The port that workers share. What they do is seen from outside, in tests/whole/test_workers.py."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from server.stores import CannotStart
from server.workers import reserve


def listener(port: int = 0, *, shared: bool = False) -> socket.socket:
    found = socket.socket()
    if shared:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        found.bind(("127.0.0.1", port))
        found.listen()
    except OSError:
        found.close()
        raise
    return found


def test_free_port_is_found_and_kept_for_the_workers_alone() -> None:
    with ExitStack() as stack:
        port = reserve("127.0.0.1", 0, stack)
        assert reserve("127.0.0.1", port, stack) == port  # nobody listens there yet
        with pytest.raises(OSError, match="in use"):
            listener(port)
        with listener(port, shared=True), listener(port, shared=True):
            pass
    with listener(port):
        pass


@pytest.mark.parametrize("shared", [False, True])
def test_port_on_which_somebody_listens_is_refused(shared: bool) -> None:
    with listener(shared=shared) as taken, ExitStack() as stack:
        port = taken.getsockname()[1]
        with pytest.raises(CannotStart, match=f"port {port}"):
            reserve("127.0.0.1", port, stack)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_address_that_is_not_ours_is_refused(host: str) -> None:
    with ExitStack() as stack, pytest.raises(CannotStart, match=host):
        reserve(host, 0, stack)


def test_name_of_several_addresses_has_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{last}", 0)) for last in (2, 3)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: addresses)
    with ExitStack() as stack:
        port = reserve("both", 0, stack)
        for _, _, _, _, (address, _) in addresses:
            with socket.socket() as other, pytest.raises(OSError, match="in use"):
                other.bind((address, port))
