"""Who is connected, by player and by login."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

from server.auth import Login
from server.hub import Hub
from storage.accounts import Player
from tests.server.fakes import MORNING, FakeSocket


def login(number: int, sid: UUID | None = None) -> Login:
    player = Player(uuid4(), number, f"{number}@example.test", f"player {number}")
    return Login(player, sid or uuid4(), MORNING + timedelta(hours=1))


def test_sockets_are_found_by_player_and_by_login() -> None:
    hub, sid = Hub(), uuid4()
    phone, tablet, other, spectator = (
        FakeSocket(login(1, sid)),
        FakeSocket(login(1)),
        FakeSocket(login(2)),
        FakeSocket(),
    )
    for socket in (phone, tablet, other, spectator):
        hub.add(socket)
    assert set(hub) == {phone, tablet, other, spectator}
    assert len(hub) == 4
    assert set(hub.of_player(1)) == {phone, tablet}
    assert hub.of_login(sid) == (phone,)
    assert hub.of_player(3) == ()
    assert hub.of_login(uuid4()) == ()


def test_socket_that_has_closed_is_found_nowhere() -> None:
    hub, sid = Hub(), uuid4()
    socket, second = FakeSocket(login(1, sid)), FakeSocket(login(1, sid))
    hub.add(socket)
    hub.add(second)
    hub.remove(socket)
    assert (list(hub), hub.of_player(1), hub.of_login(sid)) == ([second], (second,), (second,))
    hub.remove(second)
    assert (list(hub), hub.of_player(1), hub.of_login(sid)) == ([], (), ())


def test_socket_follows_its_login() -> None:
    hub, first, second = Hub(), login(1), login(2)
    socket = FakeSocket()
    hub.add(socket)
    before: Login | None = None
    for after in (first, second, None, first):
        socket.login = after
        hub.changed_login(socket, before)
        for one in (first, second):
            found = (socket,) if one is after else ()
            assert hub.of_player(one.player.number) == found
            assert hub.of_login(one.sid) == found
        before = after


def test_new_token_of_the_same_login_changes_nothing() -> None:
    hub, before = Hub(), login(1)
    socket = FakeSocket(before)
    hub.add(socket)
    socket.login = Login(before.player, before.sid, before.expires_at + timedelta(hours=1))
    hub.changed_login(socket, before)
    assert hub.of_player(1) == (socket,)
    assert hub.of_login(before.sid) == (socket,)


def test_sockets_may_close_while_they_are_told_something() -> None:
    hub, sid = Hub(), uuid4()
    for _ in range(9):
        hub.add(FakeSocket(login(1, sid)))
    for found in (lambda: hub, lambda: hub.of_player(1), lambda: hub.of_login(sid)):
        before, seen = len(hub), 0
        for socket in found():
            seen += 1
            if seen <= 3:
                hub.remove(socket)
        assert (seen, len(hub)) == (before, before - 3)


async def test_end_is_seen_when_the_last_socket_has_gone() -> None:
    hub = Hub()
    await hub.wait_until_empty()
    sockets = [FakeSocket(), FakeSocket(login(1))]
    for socket in sockets:
        hub.add(socket)
    waiting = asyncio.create_task(hub.wait_until_empty())
    hub.remove(sockets[0])
    await asyncio.sleep(0)
    assert not waiting.done()
    hub.remove(sockets[1])
    await waiting


def test_socket_that_has_gone_may_go_again() -> None:
    hub, socket = Hub(), FakeSocket(login(1))
    hub.add(socket)
    hub.remove(socket)
    hub.remove(socket)
    assert len(hub) == 0


def test_every_socket_is_told_that_the_server_stops() -> None:
    hub, sockets = Hub(), [FakeSocket(), FakeSocket(login(1))]
    for socket in sockets:
        hub.add(socket)
    before = hub.draining
    hub.drain()
    assert (before, hub.draining) == (False, True)
    assert all(socket.closed for socket in sockets)


def test_players_and_spectators_are_counted() -> None:
    hub = Hub()
    assert hub.count() == (0, 0)
    for socket in (FakeSocket(login(1)), FakeSocket(login(1)), FakeSocket()):
        hub.add(socket)
    assert hub.count() == (2, 1)
