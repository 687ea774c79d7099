"""A player's own place: told once it is known, again whenever it has changed, and never what was known before."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from game.ranking import ALL_TIME, BOARDS, Board, Entry
from protocol.codec import decode_server_message
from protocol.server_messages import LeaderboardPlace
from server.board_reader import BoardReader
from server.changes import ChangedLadders
from server.log import Log
from server.names import Names
from server.own_places import ASKED_AT_ONCE, OwnPlaces
from server.projection import Projection
from storage.accounts import Accounts
from storage.boards import Boards
from storage.ladders import Ladders
from storage.postgres import Postgres
from tests.server.fakes import MORNING, FakeClock, Running, until

DAILY = BOARDS["daily"]


class Socket:
    """A player's socket that keeps where it was told to stand."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int | None, int]] = []
        self.slow = False

    def push_place(self, payload: bytes) -> bool:
        if self.slow:
            return False
        message = decode_server_message(payload)
        assert isinstance(message, LeaderboardPlace)
        self.told.append((message.data.board, message.data.position, message.data.total))
        return True


@dataclass
class Scene:
    boards: Boards
    places: OwnPlaces
    clock: FakeClock

    async def score(self, board: Board, **scores: int) -> None:
        entries = [Entry(int(name[1:]), False, score, MORNING) for name, score in scores.items()]
        await self.boards.apply({board.ladder(self.clock.now): entries})
        self.places.mark(board)

    async def told(self, socket: Socket, *expected: tuple[str, int | None, int]) -> None:
        await until(lambda: len(socket.told) >= len(expected), "as many places as expected")
        assert socket.told == list(expected)


@pytest.fixture
async def scene(boards: Boards, postgres: Postgres, clock: FakeClock, log: Log) -> AsyncIterator[Scene]:
    projection = Projection(boards, Ladders(postgres), clock, log, ChangedLadders().add)
    await projection.sweep()
    places = OwnPlaces(BoardReader(boards, projection, Names(Accounts(postgres)), clock))
    async with Running(places.run()):
        yield Scene(boards, places, clock)


async def test_player_is_told_where_it_stands_and_when_that_changes(scene: Scene) -> None:
    socket, other = Socket(), Socket()
    await scene.score(ALL_TIME, p1=10, p2=20, p3=30)
    scene.places.follow(socket, ALL_TIME, 1)
    scene.places.follow(other, ALL_TIME, 3)
    await scene.told(socket, ("all-time", 3, 3))
    await scene.score(ALL_TIME, p2=25)  # which moves nobody
    await scene.score(ALL_TIME, p1=27)
    await scene.told(socket, ("all-time", 3, 3), ("all-time", 2, 3))
    await scene.told(other, ("all-time", 1, 3))


async def test_player_without_an_entry_is_told_when_it_gets_one(scene: Scene) -> None:
    socket, other = Socket(), Socket()
    scene.places.follow(socket, ALL_TIME, 1)
    scene.places.follow(other, ALL_TIME, 2)
    await scene.score(ALL_TIME, p2=20)
    await scene.told(other, ("all-time", 1, 1))
    assert socket.told == []
    await scene.score(ALL_TIME, p1=10)
    await scene.told(socket, ("all-time", 2, 2))


async def test_player_has_no_place_in_a_new_period(scene: Scene) -> None:
    socket = Socket()
    scene.places.follow(socket, DAILY, 1)
    await scene.score(DAILY, p1=10)
    await scene.told(socket, ("daily", 1, 1))
    scene.clock.advance(days=1)
    scene.places.mark(DAILY)
    await scene.told(socket, ("daily", 1, 1), ("daily", None, 0))


async def test_slow_reader_is_told_when_it_has_caught_up(scene: Scene) -> None:
    slow, quick = Socket(), Socket()
    slow.slow = True
    for socket in (slow, quick):
        scene.places.follow(socket, ALL_TIME, 1)
    await scene.score(ALL_TIME, p1=10)
    await scene.told(quick, ("all-time", 1, 1))
    assert slow.told == []
    slow.slow = False
    scene.places.mark(ALL_TIME)
    await scene.told(slow, ("all-time", 1, 1))


async def test_socket_that_changes_hands_is_told_the_new_players_place(scene: Scene) -> None:
    socket, other = Socket(), Socket()
    await scene.score(ALL_TIME, p1=10, p2=20)
    scene.places.follow(socket, ALL_TIME, 1)
    await scene.told(socket, ("all-time", 2, 2))
    scene.places.follow(socket, ALL_TIME, 1)  # once more, with another limit: nothing is new
    scene.places.follow(other, ALL_TIME, 1)
    await scene.told(other, ("all-time", 2, 2))
    scene.places.follow(socket, ALL_TIME, 2)
    await scene.told(socket, ("all-time", 2, 2), ("all-time", 1, 2))


async def test_who_leaves_is_told_nothing_more(scene: Scene) -> None:
    leaving, staying = Socket(), Socket()
    for socket in (leaving, staying):
        scene.places.follow(socket, ALL_TIME, 1)
    scene.places.unfollow(leaving, ALL_TIME)
    scene.places.unfollow(leaving, DAILY)
    await scene.score(ALL_TIME, p1=10)
    await scene.told(staying, ("all-time", 1, 1))
    assert leaving.told == []


async def test_more_players_than_are_asked_for_at_once_are_all_told(scene: Scene) -> None:
    count = 2 * ASKED_AT_ONCE + 1
    sockets = {number: Socket() for number in range(1, count + 1)}
    for number, socket in sockets.items():
        scene.places.follow(socket, ALL_TIME, number)
    await scene.score(ALL_TIME, **{f"p{number}": number for number in sockets})
    await until(lambda: all(socket.told for socket in sockets.values()), "everybody is told")
    assert [socket.told for socket in sockets.values()] == [
        [("all-time", count + 1 - number, count)] for number in sockets
    ]
