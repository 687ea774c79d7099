"""Live boards: whoever applies what it is sent holds what the board is."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
import redis.asyncio
from structlog.testing import LogCapture

from game.ranking import ALL_TIME, BOARDS, Board, Entry
from game.standings import Standings
from protocol.client_messages import Since
from protocol.codec import decode_server_message
from protocol.server_messages import EntryData, Leaderboard, LeaderboardData, LeaderboardDelta, LeaderboardStale
from server.board_reader import BoardReader, Place
from server.changes import ChangedLadders
from server.live_board import LiveBoards
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
from tests.server.ladders import random_entry
from tests.stores import Stores

LIMITS = (10, 25, 50, 100)
HERTZ = 50.0


class Follower:
    """A subscriber that does with each frame what the contract says, and nothing else."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.rows: dict[int, EntryData] = {}
        self.epoch, self.version, self.total = "", 0, 0
        self.deltas = self.fulls = 0
        self.stale = False

    def take(self, data: LeaderboardData) -> None:
        assert data.entries is not None
        self.stale = data.stale is True
        self.epoch, self.version, self.total = data.epoch, data.version, data.total
        self.rows = {
            entry.number: EntryData(**{name: getattr(entry, name) for name in EntryData.model_fields})
            for entry in data.entries
        }
        assert [entry.position for entry in data.entries] == list(range(1, len(data.entries) + 1))

    def push_board(self, board: Board, frame: bytes) -> None:
        message = decode_server_message(frame)
        assert message.re is None
        if isinstance(message, Leaderboard):
            assert message.data.board == board.name
            self.fulls += 1
            self.take(message.data)
            return
        if isinstance(message, LeaderboardStale):
            assert message.data.board == board.name
            assert message.data.stale is not self.stale
            self.stale = message.data.stale
            return
        assert isinstance(message, LeaderboardDelta)
        delta = message.data
        assert delta.board == board.name
        assert (delta.epoch, delta.from_) == (self.epoch, self.version)
        assert delta.version > delta.from_
        self.deltas += 1
        for number in delta.removals:
            del self.rows[number]
        self.rows |= {entry.number: entry for entry in delta.upserts}
        ordered = sorted(
            self.rows.values(), key=lambda e: (not e.passed_all_games, -e.total_score, e.achieved_at, e.number)
        )
        self.rows = {entry.number: entry for entry in ordered[: self.limit]}
        self.version, self.total = delta.version, delta.total

    def shown(self) -> list[tuple[int, int]]:
        return [(row.number, row.total_score) for row in self.rows.values()]


@dataclass
class Scene:
    """A live board on real stores."""

    boards: Boards
    changes: ChangedLadders
    reader: BoardReader
    projection: Projection
    live: LiveBoards
    clock: FakeClock

    async def apply(self, *entries: Entry, ladder: str = "all-time") -> None:
        applied = await self.boards.apply({ladder: list(entries)})
        assert not applied.missing
        self.changes.add(applied.changed)

    async def follow(self, limit: int, board: Board = ALL_TIME) -> Follower:
        follower = Follower(limit)
        follower.take(await self.live.subscribe(follower, board, limit, None))
        return follower

    async def is_level(self, follower: Follower, board: Board = ALL_TIME) -> bool:
        data = await self.reader.leaderboard(board, Place(0, follower.limit))
        return (follower.epoch, follower.version) == (data.epoch, data.version)

    async def check(self, follower: Follower, board: Board = ALL_TIME) -> None:
        """The follower holds exactly what leaderboard.get gives."""

        async def level() -> bool:
            return await self.is_level(follower, board)

        await until(level, "the follower has the newest version")
        data = await self.reader.leaderboard(board, Place(0, follower.limit))
        expected = Follower(follower.limit)
        expected.take(data)
        assert list(follower.rows.values()) == list(expected.rows.values())
        assert follower.total == data.total


def scene_on(boards: Boards, postgres: Postgres, clock: FakeClock, log: Log, hertz: float) -> Scene:
    changes = ChangedLadders()
    projection = Projection(boards, Ladders(postgres), clock, log, changes.add)
    reader = BoardReader(boards, projection, Names(Accounts(postgres)), clock)
    live = LiveBoards(reader, changes, clock, log, hertz=hertz, frame=lambda payload: payload)
    return Scene(boards, changes, reader, projection, live, clock)


@pytest.fixture
async def scene(boards: Boards, postgres: Postgres, clock: FakeClock, log: Log) -> AsyncIterator[Scene]:
    found = scene_on(boards, postgres, clock, log, HERTZ)
    await found.projection.sweep()
    async with Running(found.live.run()):
        yield found


async def test_deltas_add_up_to_the_board_at_every_limit(scene: Scene, new_player: NewPlayer) -> None:
    draw = random.Random(7)
    numbers = [(await new_player()).number for _ in range(140)]
    scene.clock.step = timedelta(milliseconds=1)
    followers = [await scene.follow(limit) for limit in LIMITS]
    for _ in range(60):
        entries = [random_entry(draw, numbers, scene.clock()) for _ in range(draw.choice((1, 1, 2, 5, 20)))]
        await scene.apply(*entries)
        if draw.random() < 0.4:
            await until(lambda: _level(scene, followers[0]), "a delta after some changes")
        if draw.random() < 0.2:
            followers.append(await scene.follow(draw.choice(LIMITS)))
    for follower in followers:
        await scene.check(follower)
        assert follower.fulls == 0
    assert followers[0].deltas > 5
    assert followers[0].total > 100  # longer than the longest limit, so that rows fell off its end


async def _level(scene: Scene, follower: Follower) -> bool:
    return await scene.is_level(follower)


class _OneStuck(BoardReader):
    """The server that has one of the boards does not answer until it is let go."""

    let_go: asyncio.Event

    async def standings(self, board: Board, rows: int) -> Standings:
        if board == ALL_TIME:
            await self.let_go.wait()
        return await super().standings(board, rows)


async def test_board_that_is_stuck_does_not_keep_others_waiting(
    boards: Boards, postgres: Postgres, clock: FakeClock, log: Log, new_player: NewPlayer
) -> None:
    other = BOARDS["all-time:3"]
    changes = ChangedLadders()
    projection = Projection(boards, Ladders(postgres), clock, log, changes.add)
    reader = _OneStuck(boards, projection, Names(Accounts(postgres)), clock)
    reader.let_go = asyncio.Event()
    reader.let_go.set()
    live = LiveBoards(reader, changes, clock, log, hertz=HERTZ, frame=lambda payload: payload)
    scene = Scene(boards, changes, reader, projection, live, clock)
    number = (await new_player()).number
    await projection.sweep()
    stuck, free = await scene.follow(10), await scene.follow(10, other)
    for ladder in ("all-time", "all-time:3"):
        await scene.apply(Entry(number, False, 1, MORNING), ladder=ladder)
    reader.let_go.clear()
    async with Running(live.run()):
        await until(lambda: free.deltas > 0, "the board that is not stuck")
        assert stuck.deltas == 0
        reader.let_go.set()
        await scene.check(stuck)
        await scene.check(free, other)


async def test_staleness_is_counted_from_the_oldest_commit_in_what_was_sent(
    boards: Boards, postgres: Postgres, clock: FakeClock, log: Log, new_player: NewPlayer
) -> None:
    changes = ChangedLadders()
    handed: list[float] = []
    projection = Projection(boards, Ladders(postgres), clock, log, changes.add)
    reader = BoardReader(boards, projection, Names(Accounts(postgres)), clock)
    live = LiveBoards(reader, changes, clock, log, hertz=HERTZ, frame=lambda payload: payload, handed=handed.append)
    scene = Scene(boards, changes, reader, projection, live, clock)
    number = (await new_player()).number
    await projection.sweep()
    follower = await scene.follow(10)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    projection.put({"all-time": [Entry(number, False, 1, MORNING)]})
    await asyncio.sleep(0.05)
    # Nothing was applied yet, so both wait since the first one.
    projection.put(
        {"all-time": [Entry(number, False, 2, MORNING)], "daily@2026-11-23": [Entry(number, False, 2, MORNING)]}
    )
    async with Running(live.run(), projection.run()):
        await until(lambda: follower.deltas > 0, "a delta")
        elapsed = loop.time() - begun
        (first,) = handed
        assert 0.05 <= first <= elapsed
        # What another node has committed is not known here, nor is what nobody here follows.
        await scene.apply(Entry(number, False, 3, MORNING))
        await until(lambda: follower.deltas > 1, "another delta")
        assert handed == [first]
        begun = loop.time()
        projection.put({"all-time": [Entry(number, False, 4, MORNING)]})
        await until(lambda: follower.deltas > 2, "a third delta")
        assert len(handed) == 2
        assert 0 < handed[1] <= loop.time() - begun


async def test_row_that_falls_off_the_end_is_removed(scene: Scene) -> None:
    await scene.apply(*(Entry(number, False, 100 - number, MORNING) for number in range(1, 11)))
    follower = await scene.follow(10)
    await scene.apply(Entry(11, False, 95, MORNING))
    await scene.check(follower)
    assert 10 not in follower.rows
    assert len(follower.rows) == 10
    # It comes back whole when it climbs again.
    await scene.apply(Entry(10, True, 1, MORNING))
    await scene.check(follower)
    assert next(iter(follower.rows)) == 10


async def test_change_below_the_limit_still_tells_version_and_total(scene: Scene) -> None:
    await scene.apply(*(Entry(number, True, 100, MORNING) for number in range(1, 11)))
    follower = await scene.follow(10)
    before = follower.version
    await scene.apply(Entry(11, False, 1, MORNING))
    await scene.check(follower)
    assert (follower.version, follower.total, len(follower.rows)) == (before + 1, 11, 10)


async def test_burst_is_conflated_and_its_end_is_always_sent(
    boards: Boards, postgres: Postgres, clock: FakeClock, log: Log
) -> None:
    scene = scene_on(boards, postgres, clock, log, hertz=10.0)
    await scene.projection.sweep()
    async with Running(scene.live.run()):
        follower = await scene.follow(100)
        started = time.monotonic()
        for score in range(1, 301):
            await scene.apply(Entry(1, False, score, MORNING))
        await scene.check(follower)
        elapsed = time.monotonic() - started
        assert follower.shown() == [(1, 300)]
        assert follower.deltas <= elapsed * 10 + 2
        # Nothing more comes: the last delta was the last.
        deltas = follower.deltas
        await scene.changes.wait(0.3)
        assert follower.deltas == deltas


async def test_subscriber_of_another_limit_has_only_that_one_afterwards(scene: Scene) -> None:
    await scene.apply(*(Entry(number, False, number, MORNING) for number in range(1, 60)))
    follower = await scene.follow(10)
    follower.limit = 50
    follower.take(await scene.live.subscribe(follower, ALL_TIME, 50, None))
    await scene.apply(Entry(60, True, 1, MORNING))
    await scene.check(follower)
    assert follower.deltas == 1  # and not one for each limit it ever had


async def test_who_unsubscribes_is_sent_nothing_more(scene: Scene) -> None:
    staying, leaving = await scene.follow(10), await scene.follow(10)
    scene.live.unsubscribe(leaving, ALL_TIME)
    scene.live.unsubscribe(leaving, ALL_TIME)
    scene.live.unsubscribe(leaving, BOARDS["weekly"])
    await scene.apply(Entry(1, False, 1, MORNING))
    await scene.check(staying)
    assert (leaving.deltas, leaving.fulls) == (0, 0)


async def test_board_that_nobody_follows_is_forgotten_and_starts_fresh(scene: Scene) -> None:
    follower = await scene.follow(10)
    scene.live.unsubscribe(follower, ALL_TIME)
    assert scene.live.full_frame(ALL_TIME, 10) is None
    await scene.apply(Entry(1, False, 1, MORNING))
    again = await scene.follow(10)
    assert again.shown() == [(1, 1)]
    await scene.apply(Entry(1, False, 2, MORNING))
    await scene.check(again)


async def test_many_subscribe_at_once_and_hold_one_state(scene: Scene) -> None:
    await scene.apply(Entry(1, False, 1, MORNING))
    followers = await asyncio.gather(*(scene.follow(limit) for limit in LIMITS * 10))
    await scene.apply(Entry(2, False, 2, MORNING))
    for follower in followers:
        await scene.check(follower)
        assert follower.deltas == 1


async def test_boards_are_apart(scene: Scene) -> None:
    all_time, weekly = await scene.follow(10), await scene.follow(10, BOARDS["weekly"])
    await scene.apply(Entry(1, False, 1, MORNING))
    await scene.check(all_time)
    await scene.apply(Entry(2, False, 2, MORNING), ladder="weekly@2026-11-23")
    await scene.check(weekly, BOARDS["weekly"])
    assert (all_time.shown(), weekly.shown()) == ([(1, 1)], [(2, 2)])
    assert (all_time.deltas, weekly.deltas) == (1, 1)


# Since


async def test_who_holds_the_current_state_is_not_sent_it_again(scene: Scene) -> None:
    await scene.apply(Entry(1, False, 1, MORNING))
    follower = await scene.follow(10)
    scene.live.unsubscribe(follower, ALL_TIME)
    held = Since(epoch=follower.epoch, version=follower.version)
    reply = await scene.live.subscribe(follower, ALL_TIME, 10, held)
    assert (reply.epoch, reply.version, reply.entries) == (follower.epoch, follower.version, None)
    await scene.apply(Entry(2, False, 2, MORNING))
    await scene.check(follower)  # deltas go on from what it held
    assert follower.fulls == 0


async def test_who_holds_another_state_is_sent_the_current_one(scene: Scene) -> None:
    await scene.apply(Entry(1, False, 1, MORNING))
    follower = await scene.follow(10)
    for since in (
        Since(epoch=follower.epoch, version=follower.version - 1),
        Since(epoch=follower.epoch, version=follower.version + 1),
        Since(epoch="another", version=follower.version),
    ):
        assert (await scene.live.subscribe(follower, ALL_TIME, 10, since)).entries is not None


# Slow readers


class SlowFollower(Follower):
    """One whose connection cannot take anything for a while, as server/socket.py treats it."""

    slow = False
    behind = False

    def push_board(self, board: Board, frame: bytes) -> None:
        if self.slow:
            self.behind = True
        else:
            super().push_board(board, frame)


async def test_slow_reader_goes_on_from_a_fresh_state(scene: Scene) -> None:
    slow = SlowFollower(10)
    slow.take(await scene.live.subscribe(slow, ALL_TIME, 10, None))
    quick = await scene.follow(10)
    slow.slow = True
    for score in range(1, 20):
        await scene.apply(Entry(score, False, score, MORNING))
        await scene.check(quick)
    assert (slow.behind, slow.deltas) == (True, 0)
    slow.slow = False
    frame = scene.live.full_frame(ALL_TIME, 10)
    assert frame is not None
    slow.push_board(ALL_TIME, frame)
    await scene.check(slow)
    await scene.apply(Entry(20, True, 1, MORNING))
    await scene.check(slow)
    await scene.check(quick)
    assert (slow.fulls, slow.deltas) == (1, 1)
    assert (quick.fulls, quick.deltas) == (0, 20)


# Periods


@pytest.mark.parametrize(
    ("board", "before", "period"),
    [
        ("daily", datetime(2026, 11, 23, 23, 59, 59, 999_000, tzinfo=UTC), "daily@2026-11-23"),
        ("daily:3", datetime(2026, 11, 23, 23, 59, 59, 999_000, tzinfo=UTC), "daily:3@2026-11-23"),
        ("weekly", datetime(2026, 11, 29, 23, 59, 59, 999_000, tzinfo=UTC), "weekly@2026-11-23"),
    ],
)
async def test_new_period_is_a_fresh_leaderboard(scene: Scene, board: str, before: datetime, period: str) -> None:
    scene.clock.now = before
    followed = BOARDS[board]
    await scene.projection.sweep()
    await scene.apply(Entry(1, False, 1, before), ladder=period)
    followers = [await scene.follow(limit, followed) for limit in (10, 100)]
    assert followers[0].shown() == [(1, 1)]
    epoch = followers[0].epoch
    scene.clock.advance(milliseconds=1)
    await until(lambda: all(follower.fulls for follower in followers), "a fresh board in the new period")
    for follower in followers:
        assert (follower.shown(), follower.total, follower.deltas) == ([], 0, 0)
        assert follower.epoch != epoch
    await scene.apply(Entry(2, False, 5, scene.clock.now), ladder=followed.ladder(scene.clock.now))
    for follower in followers:
        await scene.check(follower, followed)
        assert follower.shown() == [(2, 5)]
        assert (follower.fulls, follower.deltas) == (1, 1)


async def test_new_day_leaves_the_boards_of_the_week_alone(scene: Scene) -> None:
    scene.clock.now = datetime(2026, 11, 23, 23, 59, 59, tzinfo=UTC)
    await scene.projection.sweep()
    daily, weekly = await scene.follow(10, BOARDS["daily"]), await scene.follow(10, BOARDS["weekly"])
    scene.clock.advance(seconds=1)
    await until(lambda: daily.fulls == 1, "a fresh daily board")
    assert (weekly.fulls, weekly.deltas) == (0, 0)


# When Redis is not what it was


async def test_emptied_redis_is_a_fresh_leaderboard(scene: Scene, stores: Stores) -> None:
    await scene.apply(Entry(1, False, 1, MORNING))
    follower = await scene.follow(10)
    async with redis.asyncio.Redis.from_url(stores.redis_url) as valkey:
        await valkey.flushall()
    # PostgreSQL holds no entry here, since `apply` wrote to Redis only.
    await scene.projection.sweep()
    await until(lambda: follower.fulls > 0, "a fresh board")
    await scene.check(follower)
    assert follower.shown() == []
    await scene.apply(Entry(2, False, 2, MORNING))
    await scene.check(follower)


async def test_redis_that_went_back_in_time_is_a_fresh_leaderboard(
    scene: Scene, stores: Stores, capture: LogCapture
) -> None:
    await scene.apply(Entry(1, False, 1, MORNING), Entry(2, False, 2, MORNING))
    follower = await scene.follow(10)
    async with redis.asyncio.Redis.from_url(stores.redis_url, decode_responses=True) as valkey:
        # As after a replica behind its primary has taken over: the same epoch, an older version.
        (meta,) = [key async for key in valkey.scan_iter(f"{scene.boards._prefix}:{{all-time}}:meta")]
        await valkey.hset(meta, "version", str(follower.version - 1))
    epoch = follower.epoch
    scene.changes.add(["all-time"])
    await until(lambda: follower.fulls > 0, "a fresh board")
    assert follower.epoch != epoch
    assert [line["log_level"] for line in capture.entries] == ["warning"]


async def test_version_that_redis_has_given_out_twice_is_a_fresh_leaderboard(
    scene: Scene, stores: Stores, capture: LogCapture
) -> None:
    await scene.apply(Entry(1, False, 1, MORNING), Entry(2, False, 2, MORNING))
    follower = await scene.follow(10)
    async with redis.asyncio.Redis.from_url(stores.redis_url, decode_responses=True) as valkey:
        # As before, and another node has applied something since then, before this one looked.
        (meta,) = [key async for key in valkey.scan_iter(f"{scene.boards._prefix}:{{all-time}}:meta")]
        await valkey.hset(meta, "version", str(follower.version - 1))
    await scene.boards.apply({"all-time": [Entry(3, False, 3, MORNING)]})
    epoch = follower.epoch
    scene.changes.add(["all-time"])
    await until(lambda: follower.fulls > 0, "a fresh board")
    assert follower.epoch != epoch
    assert [line["log_level"] for line in capture.entries] == ["warning"]


async def test_boards_go_on_when_redis_is_back(
    redis_gate: Gate, boards: Boards, postgres: Postgres, clock: FakeClock, log: Log
) -> None:
    behind_gate = Boards.connect(redis_gate.url, str(await Ladders(postgres).deployment()))
    scene = scene_on(behind_gate, postgres, clock, log, HERTZ)
    await scene.projection.sweep()
    async with Running(scene.live.run()):
        follower = await scene.follow(10)
        await redis_gate.shut()
        # Another node goes on.
        await boards.apply({"all-time": [Entry(1, False, 1, MORNING)]})
        scene.changes.add(["all-time"])
        await until(lambda: not scene.changes._ladders, "the change is looked at, in vain")
        await redis_gate.open()
        await scene.check(follower)
        assert (follower.shown(), follower.deltas) == ([(1, 1)], 1)
    await behind_gate.close()


async def test_followers_are_told_when_a_board_may_be_out_of_date_and_when_it_is_not_any_more(
    redis_gate: Gate, boards: Boards, postgres: Postgres, clock: FakeClock, log: Log
) -> None:
    behind_gate = Boards.connect(redis_gate.url, str(await Ladders(postgres).deployment()))
    scene = scene_on(behind_gate, postgres, clock, log, HERTZ)
    await scene.projection.sweep()
    async with Running(scene.live.run(), scene.projection.sweep_for_ever()):
        await scene.apply(Entry(1, False, 1, MORNING))
        early = [await scene.follow(10), await scene.follow(100), await scene.follow(10, BOARDS["daily"])]
        await redis_gate.shut()
        await until(lambda: all(follower.stale for follower in early), "all are told, though nothing has changed")
        # Who comes now is shown what is known, and so is a slow reader who catches up.
        late = await scene.follow(25)
        assert (late.stale, late.shown()) == (True, [(1, 1)])
        frame = scene.live.full_frame(ALL_TIME, 100)
        assert frame is not None
        early[1].push_board(ALL_TIME, frame)
        assert (early[1].stale, early[1].shown()) == (True, [(1, 1)])
        with pytest.raises(StoreUnavailable):
            await scene.follow(10, BOARDS["weekly:7"])
        # Another node goes on.
        await boards.apply({"all-time": [Entry(2, False, 2, MORNING)]})
        await redis_gate.open()
        # Looked at again and again: a sweep that began while Redis was away may fail afterwards.
        everybody = [*early, late, await scene.follow(10)]
        await until(lambda: not any(one.stale for one in everybody), "all are told that it is over")
        # What was missing came before that.
        for follower in (*early[:2], late):
            assert follower.shown() == [(2, 2), (1, 1)]
    await behind_gate.close()


async def test_board_that_is_known_from_an_earlier_follower_is_shown_and_goes_on_when_redis_is_back(
    redis_gate: Gate, boards: Boards, postgres: Postgres, clock: FakeClock, log: Log
) -> None:
    behind_gate = Boards.connect(redis_gate.url, str(await Ladders(postgres).deployment()))
    scene = scene_on(behind_gate, postgres, clock, log, HERTZ)
    await scene.projection.sweep()
    await scene.apply(*(Entry(number, False, 100 - number, MORNING) for number in range(1, 31)))
    async with Running(scene.live.run()):
        first = await scene.follow(10)
        scene.live.unsubscribe(first, ALL_TIME)
        # Reading the first ten again must not make the thirty forgotten.
        await scene.reader.leaderboard(ALL_TIME, Place(0, 10))
        await redis_gate.shut()
        follower = await scene.follow(50)
        assert (follower.stale, len(follower.rows), follower.total) == (True, 30, 30)
        await boards.apply({"all-time": [Entry(31, True, 1, MORNING)]})
        await redis_gate.open()
        await until(lambda: not follower.stale, "the board is live again")
        assert (len(follower.rows), next(iter(follower.rows)), follower.deltas) == (31, 31, 1)
    await behind_gate.close()
