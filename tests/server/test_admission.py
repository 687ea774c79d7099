"""Who may come in, and that everybody who leaves makes room."""

from __future__ import annotations

from collections import Counter

from server.addresses import Addresses
from server.admission import Admission, Visitor

ONE, OTHER, LOOPBACK, PROXY = (("203.0.113.7", 1), ("203.0.113.8", 1), ("127.0.0.1", 1), ("10.0.0.1", 1))


def admitted(admission: Admission, peername: object = ONE) -> Visitor:
    visitor = admission.visitor(peername)
    assert visitor is not None
    return visitor


def test_address_with_enough_connections_is_crowded_and_others_are_not() -> None:
    hits: Counter[str] = Counter()
    admission = Admission(sockets_per_address=2, limit_hit=lambda limit: hits.update([limit]))
    inside = [admitted(admission) for _ in range(2)]
    assert [visitor.crowded for visitor in inside] == [False, False]
    assert admitted(admission).crowded
    assert not admitted(admission, OTHER).crowded
    assert hits == {"address_sockets": 1}
    inside[0].comes_in()
    inside[0].leaves()
    assert not admitted(admission).crowded


def test_who_is_told_so_is_not_counted_and_too_many_of_them_are_dropped() -> None:
    admission = Admission(sockets_per_address=1)
    inside = admitted(admission)
    told = [admitted(admission) for _ in range(50)]
    assert all(visitor.crowded for visitor in told)
    assert admission.visitor(ONE) is None
    for visitor in told:
        visitor.leaves()
    inside.leaves()
    assert not admitted(admission).crowded


def test_clients_of_this_machine_are_not_counted() -> None:
    admission = Admission(sockets_per_address=1)
    assert not any(admitted(admission, LOOPBACK).crowded for _ in range(10))
    assert not any(admitted(admission, "").crowded for _ in range(10))


def test_clients_behind_a_proxy_are_counted_one_by_one_when_they_ask_for_a_socket() -> None:
    admission = Admission(Addresses(["10.0.0.1"]), sockets_per_address=1)
    first, second, third = (admitted(admission, PROXY) for _ in range(3))
    assert not first.crowded
    first.requests(["198.51.100.1"], [])
    second.requests(["198.51.100.1"], [])
    third.requests(["198.51.100.2"], [])
    assert [visitor.crowded for visitor in (first, second, third)] == [False, True, False]
    first.leaves()
    again = admitted(admission, PROXY)
    again.requests(["198.51.100.1"], [])
    assert not again.crowded


def test_full_doorway_lets_nobody_in_until_somebody_is_through() -> None:
    hits: Counter[str] = Counter()
    admission = Admission(doorway=2, limit_hit=lambda limit: hits.update([limit]))
    waiting = [admitted(admission, LOOPBACK) for _ in range(2)]
    assert admission.visitor(LOOPBACK) is None
    assert hits == {"doorway_connections": 1}
    waiting[0].comes_in()
    third = admitted(admission, LOOPBACK)
    # Whoever is through leaves the doorway once.
    waiting[0].leaves()
    assert admission.visitor(LOOPBACK) is None
    third.leaves()
    assert admission.visitor(LOOPBACK) is not None


def test_limit_that_is_off_counts_nobody() -> None:
    admission = Admission(sockets_per_address=None)
    assert not any(admitted(admission).crowded for _ in range(2000))
