"""The rolling check: silent while all is right, loud about what is not, patient with what is on its way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import LogCapture

from game.ranking import BOARDS, Entry
from server import rolling_check
from server.clock import utc_now
from server.log import Log
from server.metrics import Metrics
from server.projection import Projection
from server.rolling_check import LOOKS, RollingCheck
from storage.boards import Boards
from storage.kept_boards import KeptBoards
from storage.ladders import Ladders
from storage.postgres import Postgres, StoreUnavailable
from storage.redis_server import Request
from tests.server.fakes import Running, until
from tests.server.gate import Gate
from tests.storage.damage import ADA, BACK, populate
from tests.storage.playing import NOON
from tests.storage.waiting import running
from tests.stores import Stores

ALL = len(BOARDS)


class World:
    """A database in which people have played, boards made of it, and a check."""

    def __init__(self, postgres: Postgres, boards: Boards, kept: KeptBoards, log: Log) -> None:
        self.metrics = Metrics()
        self.boards = boards
        self.projection = Projection(boards, Ladders(postgres), lambda: NOON, log, lambda _ladders, _since=None: None)
        self.check = RollingCheck(postgres, kept, Ladders(postgres), lambda: NOON, log, self.metrics)

    def counted(self, name: str) -> float:
        families = text_string_to_metric_families(self.metrics.text().decode())
        return next(each.value for family in families for each in family.samples if each.name == f"braingame_{name}")

    async def passes(self, times: int = 1) -> list[str]:
        """Look until every player and every board was looked at so often; gives the differences."""
        found: list[str] = []
        for _ in range(times):
            ladders = 0
            while ladders < ALL:
                one = await self.check.look()
                ladders += one.ladders
                found += [str(each) for each in one.differences]
        return found


@pytest.fixture
async def world(stores: Stores, postgres: Postgres, boards: Boards, log: Log) -> AsyncIterator[World]:
    async with running(postgres) as commits:
        await populate(postgres, commits)
    kept = KeptBoards.connect(stores.redis_url, str(await Ladders(postgres).deployment()))
    found = World(postgres, boards, kept, log)
    await found.projection.sweep()
    yield found
    await kept.close()


async def test_nothing_is_said_while_everything_is_right(world: World, capture: LogCapture) -> None:
    assert await world.passes() == []
    assert capture.entries == []
    assert world.counted("check_ladders_total") == ALL
    # Two looks a pass: six players fit into one, and the next finds that there are no more.
    assert world.counted("check_players_total") >= 6 * (ALL // 2 - 1)
    assert world.counted("check_differences_total") == 0
    assert world.counted("check_last_pass_timestamp_seconds") == NOON.timestamp()


async def test_player_who_does_not_follow_from_the_log_is_logged_and_counted(
    world: World, capture: LogCapture, sql: asyncpg.Connection[asyncpg.Record]
) -> None:
    await sql.execute("UPDATE sessions SET stage = 7 WHERE number = $1", ADA)
    while not (await world.check.look()).differences:
        assert world.counted("check_players_total") < 100
    (said,) = capture.entries
    assert (said["level"], said["event"]) == ("error", "what is stored does not follow from the log")
    assert (said["part"], said["number"], said["ladder"]) == ("session", ADA, None)
    assert said["difference"] == "stage is 7, not 1"
    assert world.counted("check_differences_total") == 1


async def test_board_that_does_not_follow_is_reported_at_the_third_look(world: World, capture: LogCapture) -> None:
    # A better entry than PostgreSQL has, as no projection will ever take back.
    await world.boards.apply({"all-time": [Entry(BACK, True, 12_345, NOON)]})
    looks = 0
    while not (waiting := world.check._waiting):
        await world.check.look()
    assert waiting[0].ladder == "all-time"
    while not capture.entries:
        await world.check.look()
        looks += 1
    assert looks == LOOKS - 1
    (said,) = capture.entries
    assert (said["part"], said["ladder"], said["number"]) == ("Redis", "all-time", BACK)


async def test_board_that_catches_up_is_not_reported(
    world: World, capture: LogCapture, sql: asyncpg.Connection[asyncpg.Record]
) -> None:
    """The removal is committed, and Redis has not heard of it yet."""
    await sql.execute("UPDATE ladder_entries SET removed = true WHERE number = $1 AND ladder = 'all-time'", BACK)
    await sql.execute("UPDATE sessions SET off_boards = true WHERE number = $1", BACK)
    while not world.check._waiting:
        await world.check.look()
    await world.projection.rebuild("all-time")
    capture.entries.clear()
    await world.passes()
    assert [said for said in capture.entries if said["part"] == "Redis"] == []


async def test_board_that_redis_does_not_have_is_left_to_the_sweep(world: World, capture: LogCapture) -> None:
    for board in BOARDS.values():
        meta = f"{world.boards._prefix}:{{{board.ladder(NOON)}}}:meta"
        await world.boards._redis.all_of([Request(meta, ("DEL", meta))])
    for _ in range(3):
        assert (await world.check.look()).ladders == 0
    assert capture.entries == []


async def test_it_rests_while_a_store_is_away_and_goes_on_afterwards(
    world: World, stores: Stores, postgres_gate: Gate, log: Log, capture: LogCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rolling_check, "ROUND_SECONDS", 0.0)
    monkeypatch.setattr("storage.postgres.PATIENCE_SECONDS", 0.1)
    gated = await Postgres.connect(postgres_gate.url, connections=1)
    kept = KeptBoards.connect(stores.redis_url, str(await Ladders(gated).deployment()))
    metrics = Metrics()
    check = RollingCheck(gated, kept, Ladders(gated), utc_now, log, metrics)
    await postgres_gate.shut()
    with pytest.raises(StoreUnavailable):
        await check.look()
    world.metrics = metrics
    async with Running(check.run()):
        await asyncio.sleep(0)
        assert world.counted("check_players_total") == 0
        await postgres_gate.open()
        await until(lambda: world.counted("check_players_total") > 0, "a look")
    assert capture.entries == []
    await kept.close()
    await gated.close()
