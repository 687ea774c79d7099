"""Logins that were ended anywhere: their sockets are closed here, also after PostgreSQL was away."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from protocol.errors import CloseCode
from server.auth import Login
from server.hub import Hub
from server.revocations import OVERLAP, Revocations
from storage.accounts import Accounts, Player
from storage.logins import Logins, NewRefreshToken
from storage.postgres import Postgres, StoreUnavailable
from tests.server.conftest import NewPlayer
from tests.server.fakes import MORNING, FakeClock, FakeSocket
from tests.server.gate import Gate

ENDED = (CloseCode.UNAUTHENTICATED, "the login was ended")


async def socket_of(player: Player, logins: Logins, hub: Hub) -> FakeSocket:
    sid = uuid4()
    await logins.open(sid, player.number, "no hash", NewRefreshToken(sid.bytes, MORNING, MORNING + timedelta(days=1)))
    socket = FakeSocket(Login(player, sid, MORNING + timedelta(hours=1)))
    hub.add(socket)
    return socket


def sid_of(socket: FakeSocket) -> UUID:
    assert socket.login is not None
    return socket.login.sid


async def test_socket_of_an_ended_login_is_closed_and_no_other(
    postgres: Postgres, new_player: NewPlayer, clock: FakeClock
) -> None:
    logins, hub = Logins(postgres), Hub()
    player = await new_player()
    ended, kept = [await socket_of(player, logins, hub) for _ in range(2)]
    revocations = Revocations(logins, hub, clock)
    await revocations.look()
    assert (ended.closed, kept.closed) == (None, None)
    # By another node, whose clock is behind.
    await logins.revoke(sid_of(ended), clock.now - OVERLAP + timedelta(seconds=1))
    await revocations.look()
    assert (ended.closed, kept.closed) == (ENDED, None)


async def test_socket_of_a_deleted_account_is_closed(
    postgres: Postgres, new_player: NewPlayer, clock: FakeClock
) -> None:
    logins, hub = Logins(postgres), Hub()
    player = await new_player()
    socket = await socket_of(player, logins, hub)
    revocations = Revocations(logins, hub, clock)
    await Accounts(postgres).delete(player.number, clock.now)
    await revocations.look()
    assert socket.closed == ENDED


async def test_login_that_ended_while_postgresql_was_away_is_found_afterwards(
    postgres: Postgres, postgres_gate: Gate, new_player: NewPlayer, clock: FakeClock
) -> None:
    hub = Hub()
    socket = await socket_of(await new_player(), Logins(postgres), hub)
    gated = await Postgres.connect(postgres_gate.url, connections=1)
    revocations = Revocations(Logins(gated), hub, clock)
    await postgres_gate.shut()
    await Logins(postgres).revoke(sid_of(socket), clock.now)
    for _ in range(2):
        clock.advance(hours=1)
        with pytest.raises(StoreUnavailable):
            await revocations.look()
    await postgres_gate.open()
    await revocations.look()
    assert socket.closed == ENDED
    await gated.close()
