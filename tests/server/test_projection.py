"""The boards in Redis follow PostgreSQL, whatever happens in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
import redis.asyncio
import structlog
from structlog.testing import LogCapture

from game.ranking import ALL_TIME, BOARDS, Entry, Removal
from server.changes import ChangedLadders
from server.log import Log
from server.projection import Projection
from storage.boards import Applied, Boards, Cursor, LadderMissing, Window
from storage.ladders import Ladders
from storage.postgres import Postgres, StoreUnavailable
from tests.server.fakes import MORNING, FakeClock, Running, until
from tests.server.gate import Gate
from tests.server.ladders import Ladder
from tests.storage.redis_servers import cluster
from tests.stores import Stores

LADDER = "all-time"
#: As an operator's act does it.
_SHOW = "UPDATE ladder_entries SET removed = $2, changed_by = pg_current_xact_id() WHERE number = $1"


@pytest.fixture
def changes() -> ChangedLadders:
    return ChangedLadders()


@pytest.fixture
def projection(boards: Boards, postgres: Postgres, clock: FakeClock, log: Log, changes: ChangedLadders) -> Projection:
    return Projection(boards, Ladders(postgres), clock, log, changes.add)


@pytest.fixture
def ladder(sql: asyncpg.Connection[asyncpg.Record]) -> Ladder:
    return Ladder(sql, LADDER)


@pytest.fixture
async def valkey(stores: Stores) -> AsyncIterator[redis.asyncio.Redis]:
    client = redis.asyncio.Redis.from_url(stores.redis_url)
    yield client
    await client.aclose()


def entry(number: int, score: int, *, passed: bool = False, at: datetime = MORNING) -> Entry:
    return Entry(number, passed, score, at)


async def shown(boards: Boards, name: str = LADDER) -> Window:
    return await boards.read(name, 0, 100)


async def test_first_sweep_builds_every_board_of_now(projection: Projection, boards: Boards, clock: FakeClock) -> None:
    await projection.sweep()
    for board in BOARDS.values():
        window = await shown(boards, board.ladder(clock.now))
        assert (window.total, window.entries) == (0, [])


async def test_what_was_committed_before_the_first_sweep_is_shown(
    projection: Projection, boards: Boards, ladder: Ladder
) -> None:
    await ladder.write(entry(1, 10), entry(2, 20, passed=True), entry(3, 30))
    await projection.sweep()
    assert (await shown(boards)).entries == ladder.ranked()


async def test_what_is_put_is_shown(projection: Projection, boards: Boards, changes: ChangedLadders) -> None:
    await projection.sweep()
    await changes.wait(0)
    async with Running(projection.run()):
        projection.put({LADDER: [entry(1, 10)], "daily@2026-11-23": [entry(1, 10)]})
        await projection.flush()
    assert (await shown(boards)).entries == [entry(1, 10)]
    assert (await shown(boards, "daily@2026-11-23")).entries == [entry(1, 10)]
    assert await changes.wait(0) == {LADDER, "daily@2026-11-23"}


async def test_reader_sees_its_own_writes_after_a_flush(projection: Projection, boards: Boards) -> None:
    await projection.sweep()
    async with Running(projection.run()):
        for score in range(1, 50):
            projection.put({LADDER: [entry(1, score)]})
            await projection.flush()
            assert (await shown(boards)).entries == [entry(1, score)]


async def test_flush_with_nothing_under_way_waits_for_nothing(projection: Projection) -> None:
    # No task runs, so a flush that waited for one would only end by its time limit.
    async with asyncio.timeout(0.2):
        await projection.flush()


async def test_of_two_entries_put_at_once_the_better_is_shown(projection: Projection, boards: Boards) -> None:
    await projection.sweep()
    async with Running(projection.run()):
        projection.put({LADDER: [entry(1, 30)]})
        projection.put({LADDER: [entry(1, 20)]})
        projection.put({LADDER: [entry(1, 10, passed=True)]})
        projection.put({LADDER: [entry(1, 40)]})
        await projection.flush()
    assert (await shown(boards)).entries == [entry(1, 10, passed=True)]


async def test_crash_between_commit_and_projection_is_healed_by_a_sweep(
    projection: Projection, boards: Boards, ladder: Ladder, changes: ChangedLadders
) -> None:
    await projection.sweep()
    before = await shown(boards)
    await changes.wait(0)
    # Committed by a node that was killed before it could tell anybody.
    await ladder.write(entry(1, 10), entry(2, 20))
    await projection.sweep()
    window = await shown(boards)
    assert window.entries == ladder.ranked()
    assert (window.epoch, window.version > before.version) == (before.epoch, True)
    assert await changes.wait(0) == {LADDER}


async def test_sweep_without_news_changes_nothing(
    projection: Projection, boards: Boards, ladder: Ladder, changes: ChangedLadders
) -> None:
    await ladder.write(entry(1, 10))
    await projection.sweep()
    before = await shown(boards)
    await changes.wait(0)
    for _ in range(3):
        await projection.sweep()
    assert await shown(boards) == before
    assert await changes.wait(0) == set()


async def test_commit_that_is_still_open_during_a_sweep_is_found_by_a_later_one(
    projection: Projection, boards: Boards, ladder: Ladder, database_url: str
) -> None:
    await projection.sweep()
    slow = await asyncpg.connect(database_url)
    try:
        async with slow.transaction():
            await Ladder(slow, LADDER).write(entry(1, 10))
            # A later transaction is committed and swept first; the cursor may not pass the open one.
            await ladder.write(entry(2, 20))
            await projection.sweep()
            await projection.sweep()
        await projection.sweep()
    finally:
        await slow.close()
    assert (await shown(boards)).entries == [entry(2, 20), entry(1, 10)]


async def test_emptied_redis_is_filled_again_under_a_new_epoch(
    projection: Projection, boards: Boards, ladder: Ladder, changes: ChangedLadders, valkey: redis.asyncio.Redis
) -> None:
    await ladder.write(entry(1, 10), entry(2, 20))
    await projection.sweep()
    before = await shown(boards)
    await changes.wait(0)
    await valkey.flushall()
    with pytest.raises(LadderMissing):
        await shown(boards)
    await ladder.write(entry(3, 30))
    await projection.sweep()
    after = await shown(boards)
    assert after.entries == ladder.ranked()
    assert after.epoch != before.epoch
    assert LADDER in await changes.wait(0)


async def test_emptied_redis_is_noticed_by_what_is_put(
    projection: Projection, boards: Boards, ladder: Ladder, valkey: redis.asyncio.Redis
) -> None:
    await ladder.write(entry(1, 10))
    await projection.sweep()
    async with Running(projection.run()):
        await valkey.flushall()
        await ladder.write(entry(2, 20))
        projection.put({LADDER: [entry(2, 20)]})
        await projection.flush()
        await until(_shows(boards, [entry(2, 20), entry(1, 10)]), "the ladder is rebuilt with the entry before")


async def test_redis_without_its_scripts_is_given_them_again(
    projection: Projection, boards: Boards, valkey: redis.asyncio.Redis
) -> None:
    await projection.sweep()
    await valkey.script_flush()
    async with Running(projection.run()):
        projection.put({LADDER: [entry(1, 10)]})
        await projection.flush()
        assert (await shown(boards)).entries == [entry(1, 10)]


async def test_redis_that_was_away_catches_up(
    redis_gate: Gate,
    postgres: Postgres,
    ladder: Ladder,
    clock: FakeClock,
    log: Log,
    capture: LogCapture,
    changes: ChangedLadders,
) -> None:
    ladders = Ladders(postgres)
    boards = Boards.connect(redis_gate.url, str(await ladders.deployment()))
    projection = Projection(boards, ladders, clock, log, changes.add)
    await projection.sweep()
    async with Running(projection.run(), projection.sweep_for_ever()):
        await redis_gate.shut()
        await ladder.write(entry(1, 10))
        projection.put({LADDER: [entry(1, 10)]})
        # The reader is not kept waiting for a Redis that is not there.
        await projection.flush()
        with pytest.raises(StoreUnavailable):
            await shown(boards)
        await redis_gate.open()
        await until(_shows(boards, [entry(1, 10)]), "the board has caught up")
        await until(lambda: len(capture.entries) == 2, "the log says that the boards are up to date again")
    assert [(line["log_level"], line["event"]) for line in capture.entries] == [
        ("warning", "the boards fall behind until the stores are back"),
        ("info", "the boards are up to date again"),
    ]
    await boards.close()


async def test_change_whose_answer_was_lost_is_told_once_redis_is_back(
    redis_gate: Gate, postgres: Postgres, ladder: Ladder, clock: FakeClock, log: Log, changes: ChangedLadders
) -> None:
    """It is on the board by then, so no sweep finds that it makes a difference."""
    ladders = Ladders(postgres)
    boards = Boards.connect(redis_gate.url, str(await ladders.deployment()))
    projection = Projection(boards, ladders, clock, log, changes.add)
    await projection.sweep()
    await boards.apply({LADDER: []})  # from now on Redis knows the script
    await ladder.write(entry(1, 10))
    await changes.wait(0)
    redis_gate.swallow_answers()
    async with Running(projection.run()):
        projection.put({LADDER: [entry(1, 10)]})
        await until(lambda: projection.behind, "that the answer is missed")
    assert await changes.wait(0) == set()
    await redis_gate.shut()
    await redis_gate.open()
    assert (await shown(boards)).entries == [entry(1, 10)]
    await projection.sweep()
    assert not projection.behind
    assert LADDER in await changes.wait(0)
    await boards.close()


@pytest.mark.parametrize("another_node_is_faster", [False, True])
async def test_ladder_that_went_back_in_redis_gets_a_new_epoch(
    projection: Projection,
    boards: Boards,
    postgres: Postgres,
    stores: Stores,
    clock: FakeClock,
    log: Log,
    valkey: redis.asyncio.Redis,
    sql: asyncpg.Connection[asyncpg.Record],
    ladder: Ladder,
    another_node_is_faster: bool,
) -> None:
    """A replica that lacks the last changes has taken over: its versions are older, and would be given out again. A
    node that has no part in what was lost brings it back, and moves the cursor on; that must not hide it from who has.
    """
    await projection.sweep()
    await ladder.write(entry(1, 10))
    await projection.sweep()
    keys = {key: f"{boards._prefix}:{{{LADDER}}}:{key}" for key in ("meta", "ranks", "members")}
    behind = {key: await valkey.dump(name) or b"" for key, name in keys.items()}

    async def written_and_passed(number: int) -> None:
        await ladder.write(entry(number, number * 10))
        # Cursors go no further than to what every transaction has left behind.
        last = int(await sql.fetchval("SELECT max(changed_by::text::bigint) FROM ladder_entries"))

        async def passed() -> bool:
            await projection.sweep()
            cursor = (await boards.cursors([LADDER]))[LADDER]
            return cursor is not None and cursor.at > last

        await until(passed, "a cursor behind the change")

    await written_and_passed(2)
    before = await shown(boards)
    for key, name in keys.items():
        await valkey.restore(name, 0, behind[key], replace=True)
    assert (await shown(boards)).version < before.version
    if another_node_is_faster:
        others = Boards.connect(stores.redis_url, str(await Ladders(postgres).deployment()))
        await Projection(others, Ladders(postgres), clock, log, lambda *_: None).sweep()
        assert await shown(boards) == before  # the same version for what may be another state
        await others.close()
    await projection.sweep()
    after = await shown(boards)
    assert after.epoch != before.epoch
    assert after.entries == [entry(2, 20), entry(1, 10)]
    # Once, and not again and again.
    await projection.sweep()
    assert (await shown(boards)).epoch == after.epoch


class _CountingLadders(Ladders):
    """How often the changes were read."""

    sweeps = 0

    def changes(self, since: int, until: int) -> AsyncIterator[dict[str, list[Entry | Removal]]]:
        self.sweeps += 1
        return super().changes(since, until)


async def test_of_two_nodes_one_sweeps_and_the_other_takes_over_when_it_is_gone(
    boards: Boards, postgres: Postgres, stores: Stores, clock: FakeClock, log: Log, ladder: Ladder
) -> None:
    read_by = [_CountingLadders(postgres), _CountingLadders(postgres)]
    others = Boards.connect(stores.redis_url, str(await Ladders(postgres).deployment()))
    one, two = (
        Projection(redis, ladders, clock, log, lambda *_: None)
        for redis, ladders in zip((boards, others), read_by, strict=True)
    )
    await one.sweep()
    await two.sweep()
    begun = [ladders.sweeps for ladders in read_by]
    for number in range(1, 5):
        await ladder.write(entry(number, number))
        await one.sweep()
        await two.sweep()
    by_one, by_two = (ladders.sweeps - before for ladders, before in zip(read_by, begun, strict=True))
    # The first look tells the second node only where the cursors are.
    assert by_two <= 1 < by_one
    await ladder.write(entry(5, 5))
    for _ in range(2):
        await two.sweep()
    assert (await shown(boards)).total == 5
    await others.close()


async def test_ladders_go_on_while_a_part_of_redis_is_away(
    postgres: Postgres,
    sql: asyncpg.Connection[asyncpg.Record],
    clock: FakeClock,
    log: Log,
    capture: LogCapture,
    changes: ChangedLadders,
) -> None:
    with cluster() as servers:
        ladders = Ladders(postgres)
        deployment = str(await ladders.deployment())
        boards = Boards.connect(servers.url, deployment)
        projection = Projection(boards, ladders, clock, log, changes.add)
        await projection.sweep()
        frozen = servers.owner(f"{{{LADDER}}}")
        names = [board.ladder(clock.now) for board in BOARDS.values()]
        there = next(name for name in names if servers.owner(f"{{{name}}}") is not frozen)
        away_too = next(n for n in names if n != LADDER and servers.owner(f"{{{n}}}") is frozen)
        await changes.wait(0)
        frozen.freeze()
        async with Running(projection.run()):
            for score, name in ((10, there), (10, LADDER)):
                await Ladder(sql, name).write(entry(1, score))
            projection.put({there: [entry(1, 10)], LADDER: [entry(1, 10)]})
            await until(lambda: projection.behind, "that a part is missed")
            assert there in await changes.wait(0)
            # By a node that did not come to apply it; the sweep finds it.
            await Ladder(sql, there).write(entry(2, 20))
            await Ladder(sql, away_too).write(entry(2, 20))
            await until(lambda: _swept(projection, boards, there, [entry(2, 20), entry(1, 10)]), "the sweep")
            assert there in await changes.wait(0)
            assert projection.behind
            frozen.thaw()
            await until(lambda: _swept(projection, boards, LADDER, [entry(1, 10)]), "the part that was away")
            await until(lambda: _swept(projection, boards, away_too, [entry(2, 20)]), "all of it")
            await until(lambda: _well(projection), "that nothing is missed any more")
        assert {LADDER, away_too} <= await changes.wait(0)
        assert [line["event"] for line in capture.entries] == [
            "the boards fall behind until the stores are back",
            "the boards are up to date again",
        ]
        await boards.close()


class _LostOnTheWay(Boards):
    """The part of Redis that has one ladder is away just when entries are applied, and back for the cursors."""

    async def reconcile(
        self, entries: Mapping[str, Collection[Entry | Removal]], held: Mapping[str, Cursor | None] | None = None
    ) -> Applied:
        done = await super().reconcile({name: entries[name] for name in entries if name != LADDER}, held or {})
        return done._replace(unreached={LADDER} & entries.keys())


async def test_cursor_stays_before_what_a_sweep_could_not_apply(
    projection: Projection, boards: Boards, postgres: Postgres, ladder: Ladder, sql: asyncpg.Connection[asyncpg.Record]
) -> None:
    await projection.sweep()
    before = await boards.cursors([LADDER, "all-time:3"])
    await ladder.write(entry(1, 10))
    await Ladder(sql, "all-time:3").write(entry(1, 10))
    losing = _LostOnTheWay(boards._redis, boards._prefix)
    await Projection(losing, Ladders(postgres), FakeClock(), structlog.get_logger(), lambda *_: None).sweep()
    after = await boards.cursors([LADDER, "all-time:3"])
    assert after[LADDER] == before[LADDER]
    assert after["all-time:3"] != before["all-time:3"]
    assert (await shown(boards)).entries == []
    await projection.sweep()
    assert (await shown(boards)).entries == (await shown(boards, "all-time:3")).entries == [entry(1, 10)]


async def _swept(projection: Projection, boards: Boards, name: str, expected: list[Entry]) -> bool:
    try:
        await projection.sweep()
        return (await shown(boards, name)).entries == expected
    except StoreUnavailable:
        return False


async def _well(projection: Projection) -> bool:
    await projection.sweep()
    return not projection.behind


async def test_player_who_is_put_back_in_postgresql_is_shown_after_a_sweep(
    projection: Projection,
    boards: Boards,
    sql: asyncpg.Connection[asyncpg.Record],
    ladder: Ladder,
    changes: ChangedLadders,
) -> None:
    await ladder.write(entry(1, 10), entry(2, 20))
    await projection.sweep()
    await sql.execute(_SHOW, 1, True)
    await projection.sweep()
    off = await shown(boards)
    assert off.entries == [entry(2, 20)]
    await changes.wait(0)
    await sql.execute(_SHOW, 1, False)
    await projection.sweep()
    back = await shown(boards)
    assert back.entries == ladder.ranked()
    # Under a new epoch: nothing else can undo a removal.
    assert back.epoch != off.epoch
    assert await changes.wait(0) == {LADDER}
    # Once is enough.
    await projection.sweep()
    assert await shown(boards) == back


async def test_entry_that_comes_late_does_not_bring_back_who_was_taken_off(
    projection: Projection, boards: Boards, sql: asyncpg.Connection[asyncpg.Record], ladder: Ladder
) -> None:
    await ladder.write(entry(1, 10), entry(2, 20))
    await projection.sweep()
    await sql.execute(_SHOW, 1, True)
    await projection.sweep()
    off = await shown(boards)
    async with Running(projection.run()):
        # Committed before the player was taken off, by a node that was held up.
        projection.put({LADDER: [entry(1, 99)]})
        await projection.flush()
        assert await shown(boards) == off
    await projection.sweep()
    assert await shown(boards) == off


async def test_many_nodes_show_who_was_put_back(
    boards: Boards,
    postgres: Postgres,
    clock: FakeClock,
    log: Log,
    sql: asyncpg.Connection[asyncpg.Record],
    ladder: Ladder,
) -> None:
    await ladder.write(*(entry(number, number) for number in range(1, 30)))
    nodes = [Projection(boards, Ladders(postgres), clock, log, ChangedLadders().add) for _ in range(4)]
    await nodes[0].sweep()
    for number in (3, 7, 20):
        await sql.execute(_SHOW, number, True)
        await asyncio.gather(*(node.sweep() for node in nodes))
        await nodes[0].sweep()
        assert number not in {one.number for one in (await shown(boards)).entries}
        await sql.execute(_SHOW, number, False)
        await asyncio.gather(*(node.sweep() for node in nodes))
        await nodes[0].sweep()
        assert (await shown(boards)).entries == ladder.ranked()


async def test_player_who_was_put_back_is_shown_at_once_when_the_node_is_told(
    projection: Projection, boards: Boards, sql: asyncpg.Connection[asyncpg.Record], ladder: Ladder
) -> None:
    await ladder.write(entry(1, 10))
    await Ladder(sql, "daily@2020-01-01").write(entry(1, 10))
    await projection.sweep()
    await sql.execute(_SHOW, 1, True)
    async with Running(projection.run()):
        projection.put({LADDER: [Removal(1)]})
        await sql.execute(_SHOW, 1, False)
        # The removal is still under way: it must not be applied to the ladder that is made anew.
        await projection.put_back([LADDER, "daily@2020-01-01"])
    assert (await shown(boards)).entries == [entry(1, 10)]
    with pytest.raises(LadderMissing):
        await shown(boards, "daily@2020-01-01")  # nobody has asked for that day


async def test_day_that_has_just_ended_is_still_swept(
    projection: Projection, boards: Boards, sql: asyncpg.Connection[asyncpg.Record], clock: FakeClock
) -> None:
    clock.now = datetime(2026, 11, 24, 0, 0, tzinfo=UTC) - timedelta(seconds=1)
    await projection.sweep()
    await Ladder(sql, "daily@2026-11-23").write(entry(1, 10))
    clock.advance(seconds=2)
    await projection.sweep()
    assert (await shown(boards, "daily@2026-11-23")).entries == [entry(1, 10)]
    assert (await shown(boards, "daily@2026-11-24")).entries == []


async def test_only_current_ladders_are_built_unasked(
    projection: Projection, boards: Boards, sql: asyncpg.Connection[asyncpg.Record]
) -> None:
    await Ladder(sql, "daily@2020-01-01").write(entry(1, 10))
    await projection.sweep()
    with pytest.raises(LadderMissing):
        await shown(boards, "daily@2020-01-01")
    await projection.rebuild("daily@2020-01-01")
    assert (await shown(boards, "daily@2020-01-01")).entries == [entry(1, 10)]


async def test_rebuild_asked_for_by_many_is_done_once(projection: Projection, boards: Boards, ladder: Ladder) -> None:
    await ladder.write(entry(1, 10))
    await asyncio.gather(*(projection.rebuild(LADDER) for _ in range(10)))
    epoch = (await shown(boards)).epoch
    await projection.sweep()
    assert (await shown(boards)).epoch == epoch


async def test_nodes_that_rebuild_at_once_agree(
    boards: Boards, postgres: Postgres, clock: FakeClock, log: Log, ladder: Ladder
) -> None:
    await ladder.write(*(entry(number, number) for number in range(1, 30)))
    nodes = [Projection(boards, Ladders(postgres), clock, log, ChangedLadders().add) for _ in range(4)]
    await asyncio.gather(*(node.sweep() for node in nodes))
    for board in BOARDS.values():
        await shown(boards, board.ladder(clock.now))
    assert (await shown(boards, ALL_TIME.name)).entries == ladder.ranked()


def _shows(boards: Boards, entries: list[Entry]) -> Callable[[], Awaitable[bool]]:
    async def shows() -> bool:
        try:
            return (await shown(boards)).entries == entries
        except (LadderMissing, StoreUnavailable):
            return False

    return shows


async def test_two_tasks_are_cancelled_without_a_trace(projection: Projection) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(Running(projection.run(), projection.sweep_for_ever()))
        await asyncio.sleep(0)
