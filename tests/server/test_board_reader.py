"""Reading boards: windows, the stretch around a player, ties, and ladders that are not there yet."""

from __future__ import annotations

import random
from datetime import timedelta

import asyncpg
import pytest

from game.ranking import BOARDS, Entry
from protocol.server_messages import LeaderboardData
from server.board_reader import BoardReader, Place, leaderboard_data
from server.changes import ChangedLadders
from server.log import Log
from server.names import Names
from server.projection import Projection
from storage.accounts import Accounts
from storage.boards import Boards
from storage.ladders import Ladders
from storage.postgres import Postgres, StoreUnavailable
from tests.server.conftest import NewPlayer
from tests.server.fakes import MORNING, FakeClock, Running, until
from tests.server.gate import Gate
from tests.server.ladders import Ladder, random_entry

BOARD = BOARDS["all-time"]


def reader_of(
    boards: Boards, postgres: Postgres, clock: FakeClock, log: Log
) -> tuple[BoardReader, Projection, ChangedLadders]:
    changes = ChangedLadders()
    projection = Projection(boards, Ladders(postgres), clock, log, changes.add)
    return BoardReader(boards, projection, Names(Accounts(postgres)), clock), projection, changes


@pytest.fixture
def reader(boards: Boards, postgres: Postgres, clock: FakeClock, log: Log) -> BoardReader:
    return reader_of(boards, postgres, clock, log)[0]


@pytest.fixture
def ladder(sql: asyncpg.Connection[asyncpg.Record]) -> Ladder:
    return Ladder(sql, "all-time")


def rows(data: LeaderboardData) -> list[tuple[int, int]]:
    assert data.entries is not None
    return [(entry.position, entry.number) for entry in data.entries]


async def test_board_that_redis_never_had_is_built_when_it_is_read(reader: BoardReader, ladder: Ladder) -> None:
    await ladder.write(Entry(1, False, 10, MORNING))
    data = await reader.leaderboard(BOARD, Place(0, 10))
    assert (data.board, data.total, rows(data)) == ("all-time", 1, [(1, 1)])


async def test_empty_board_is_an_answer(reader: BoardReader) -> None:
    data = await reader.leaderboard(BOARDS["daily:3"], Place(0, 10))
    assert (data.board, data.total, data.entries) == ("daily:3", 0, [])


async def test_row_shows_the_name_and_never_the_email(
    reader: BoardReader, ladder: Ladder, new_player: NewPlayer
) -> None:
    ada = await new_player("Ada")
    await ladder.write(Entry(ada.number, True, 123, MORNING))
    data = await reader.leaderboard(BOARD, Place(0, 10))
    assert data.model_dump(mode="json", by_alias=True)["entries"] == [
        {
            "position": 1,
            "number": ada.number,
            "username": "Ada",
            "totalScore": 123,
            "passedAllGames": True,
            "achievedAt": "2026-11-23T08:30:00.000Z",
        }
    ]


async def test_ties_go_to_who_was_earlier_then_to_the_smaller_number(reader: BoardReader, ladder: Ladder) -> None:
    later = MORNING + timedelta(milliseconds=1)
    await ladder.write(
        Entry(1, False, 999, MORNING),  # did not pass all games, so no score helps
        Entry(12, True, 10, later),
        Entry(5, True, 10, later),
        Entry(100, True, 10, MORNING),
        Entry(7, True, 11, later),
    )
    assert rows(await reader.leaderboard(BOARD, Place(0, 10))) == [(1, 7), (2, 100), (3, 5), (4, 12), (5, 1)]


async def test_windows_of_any_offset_are_stretches_of_one_order(
    reader: BoardReader, ladder: Ladder, clock: FakeClock
) -> None:
    draw, clock.step = random.Random(3), timedelta(milliseconds=1)
    await ladder.write(*(random_entry(draw, range(1, 60), clock()) for _ in range(150)))
    order = [(position, entry.number) for position, entry in enumerate(ladder.ranked(), start=1)]
    total = len(order)
    for offset in (0, 1, 7, total - 5, total - 1, total, total + 1, 2**31 - 1):
        for limit in (1, 10, 100):
            data = await reader.leaderboard(BOARD, Place(offset, limit))
            assert rows(data) == order[offset : offset + limit]
            assert data.total == total


async def test_player_is_in_the_middle_of_the_stretch_around_it(reader: BoardReader, ladder: Ladder) -> None:
    await ladder.write(*(Entry(number, False, 1000 - number, MORNING) for number in range(1, 31)))
    assert rows(await reader.around(BOARD, 15, 5)) == [(13, 13), (14, 14), (15, 15), (16, 16), (17, 17)]
    assert rows(await reader.around(BOARD, 15, 1)) == [(15, 15)]
    assert rows(await reader.around(BOARD, 15, 4)) == [(13, 13), (14, 14), (15, 15), (16, 16)]


async def test_stretch_around_a_player_at_an_end_is_cut_there(reader: BoardReader, ladder: Ladder) -> None:
    await ladder.write(*(Entry(number, False, 1000 - number, MORNING) for number in range(1, 11)))
    assert rows(await reader.around(BOARD, 1, 5)) == [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]
    assert (10, 10) in rows(await reader.around(BOARD, 10, 5))
    assert len(rows(await reader.around(BOARD, 10, 100))) == 10


async def test_player_without_an_entry_sees_the_top(reader: BoardReader, ladder: Ladder) -> None:
    await ladder.write(*(Entry(number, False, 1000 - number, MORNING) for number in range(1, 11)))
    assert rows(await reader.around(BOARD, 99, 3)) == [(1, 1), (2, 2), (3, 3)]


async def test_reader_sees_what_this_node_has_committed_before(
    boards: Boards, postgres: Postgres, clock: FakeClock, log: Log
) -> None:
    reader, projection, _ = reader_of(boards, postgres, clock, log)
    await projection.sweep()
    async with Running(projection.run()):
        for number in range(1, 30):
            projection.put({"all-time": [Entry(number, False, number * 10, MORNING)]})
            assert rows(await reader.leaderboard(BOARD, Place(0, 1))) == [(1, number)]
            projection.put({"all-time": [Entry(number, False, number * 10 + 5, MORNING)]})
            around = await reader.around(BOARD, number, 1)
            assert around.entries is not None
            assert [entry.total_score for entry in around.entries] == [number * 10 + 5]


async def test_board_turns_to_the_next_ladder_at_midnight(
    reader: BoardReader, sql: asyncpg.Connection[asyncpg.Record], clock: FakeClock
) -> None:
    await Ladder(sql, "daily@2026-11-23").write(Entry(1, False, 10, MORNING))
    board = BOARDS["daily"]
    before = await reader.leaderboard(board, Place(0, 10))
    clock.now = MORNING.replace(hour=0, minute=0) + timedelta(days=1) - timedelta(milliseconds=1)
    assert rows(await reader.leaderboard(board, Place(0, 10))) == [(1, 1)]
    clock.advance(milliseconds=1)
    after = await reader.leaderboard(board, Place(0, 10))
    assert rows(after) == []
    assert after.epoch != before.epoch


async def test_all_of_an_answer_is_of_one_version(reader: BoardReader, boards: Boards, ladder: Ladder) -> None:
    await ladder.write(Entry(1, False, 10, MORNING))
    first = await reader.leaderboard(BOARD, Place(0, 10))
    await boards.apply({"all-time": [Entry(2, False, 20, MORNING), Entry(3, False, 5, MORNING)]})
    second = await reader.leaderboard(BOARD, Place(0, 10))
    assert second.epoch == first.epoch
    assert second.version > first.version
    assert (second.total, len(rows(second))) == (3, 3)


async def test_only_what_is_known_of_a_board_is_shown_while_redis_is_away_and_said_to_be_stale(
    redis_gate: Gate, postgres: Postgres, ladder: Ladder, clock: FakeClock, log: Log
) -> None:
    await ladder.write(*(Entry(number, False, 1000 - number, MORNING) for number in range(1, 31)))
    boards = Boards.connect(redis_gate.url, str(await Ladders(postgres).deployment()))
    reader = reader_of(boards, postgres, clock, log)[0]
    first = await reader.leaderboard(BOARD, Place(0, 20))
    assert first.stale is None
    await reader.leaderboard(BOARD, Place(0, 10))  # tells less of the same state
    await reader.leaderboard(BOARDS["daily"], Place(0, 10))
    await redis_gate.shut()
    assert await reader.leaderboard(BOARD, Place(0, 20)) == first.model_copy(update={"stale": True})
    window = await reader.leaderboard(BOARD, Place(12, 5))
    assert (window.stale, window.total, rows(window)) == (True, 30, [(place, place) for place in range(13, 18)])
    for place in (Place(0, 21), Place(20, 10)):
        with pytest.raises(StoreUnavailable):
            await reader.leaderboard(BOARD, place)
    with pytest.raises(StoreUnavailable):
        await reader.around(BOARD, 1, 10)
    with pytest.raises(StoreUnavailable):
        await reader.leaderboard(BOARDS["weekly"], Place(0, 1))  # was never read
    # The end of this one is known, so there is nothing on any later place.
    assert (await reader.leaderboard(BOARDS["daily"], Place(50, 10))).entries == []
    await redis_gate.open()
    assert (await reader.leaderboard(BOARD, Place(20, 10))).stale is None
    await boards.close()


async def test_board_that_redis_may_not_have_whole_is_said_to_be_stale(
    redis_gate: Gate, postgres: Postgres, clock: FakeClock, log: Log
) -> None:
    boards = Boards.connect(redis_gate.url, str(await Ladders(postgres).deployment()))
    reader, projection, _ = reader_of(boards, postgres, clock, log)
    async with Running(projection.run()):
        await projection.sweep()
        await redis_gate.shut()
        projection.put({"all-time": [Entry(1, False, 1, MORNING)]})
        await until(lambda: reader.behind, "the entry cannot be applied")
        await redis_gate.open()
        for data in (await reader.leaderboard(BOARD, Place(0, 10)), await reader.around(BOARD, 1, 10)):
            assert data.stale is True
        await projection.sweep()
        assert (await reader.leaderboard(BOARD, Place(0, 10))).stale is None
    await boards.close()


async def test_player_who_was_taken_off_is_not_shown_from_memory(
    redis_gate: Gate, postgres: Postgres, ladder: Ladder, clock: FakeClock, log: Log
) -> None:
    await ladder.write(Entry(1, False, 10, MORNING))
    boards = Boards.connect(redis_gate.url, str(await Ladders(postgres).deployment()))
    reader = reader_of(boards, postgres, clock, log)[0]
    await reader.leaderboard(BOARD, Place(0, 10))
    await redis_gate.shut()
    await reader.take_off(1, ["all-time"])
    with pytest.raises(StoreUnavailable):
        await reader.leaderboard(BOARD, Place(0, 10))
    await boards.close()


async def test_state_that_is_held_already_is_answered_without_rows(reader: BoardReader, ladder: Ladder) -> None:
    await ladder.write(Entry(1, False, 10, MORNING))
    standings = await reader.standings(BOARD, 100)
    data = leaderboard_data(BOARD, standings, None)
    assert (data.epoch, data.version, data.total, data.entries) == (standings.epoch, standings.version, 1, None)
