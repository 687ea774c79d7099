"""The whole audit and the rebuild, on real stores: hashes that agree, damage that is found and mended everywhere."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from game.fingerprint import Fingerprint
from game.ranking import BOARDS, Entry
from server import audit as auditing
from server.audit import Audit, RedisSide, Report, Standing, rebuild
from server.log import Log
from server.projection import Projection
from storage.boards import Boards
from storage.kept_boards import KeptBoards
from storage.ladders import Ladders
from storage.notices import Notices
from storage.postgres import Postgres, StoreUnavailable
from tests.server.fakes import Running, until
from tests.server.gate import Gate
from tests.storage.damage import ADA, BACK, OFF, populate
from tests.storage.playing import NOON
from tests.storage.waiting import running
from tests.stores import Stores

EVERYBODY = "all-time"
#: What Redis has: two ladders of now, and one of the past.
BUILT = [EVERYBODY, "daily@2026-11-24", "weekly:0@2026-11-23"]


class Site:
    """Stores in which people have played, with boards made of them."""

    def __init__(self, database_url: str, postgres: Postgres, boards: Boards, redis: RedisSide) -> None:
        self.database_url = database_url
        self.postgres = postgres
        self.boards = boards
        self.redis = redis

    async def audit(self, *, ladder: str | None = None) -> Report:
        return await Audit(self.database_url, self.postgres, self.redis, lambda: NOON, ladder=ladder).run()

    async def rebuild(self, *, only_look: bool = False) -> list[str]:
        lines: list[str] = []
        done = await rebuild(
            self.database_url, self.postgres, self.boards, self.redis, lines.append, only_look=only_look
        )
        assert done.mended == len([line for line in lines if line.startswith(("mended: ", "would mend: "))])
        assert done.left == len([line for line in lines if line.startswith("cannot be mended: ")])
        return lines


@asynccontextmanager
async def redis_side(redis_url: str, deployment: str) -> AsyncIterator[RedisSide]:
    side = RedisSide(KeptBoards.connect(redis_url, deployment), Notices.connect(redis_url, deployment))
    yield side
    await side.boards.close()
    await side.notices.close()


@pytest.fixture
async def site(
    stores: Stores, database_url: str, postgres: Postgres, boards: Boards, log: Log, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Site]:
    monkeypatch.setattr(auditing, "PAUSE_SECONDS", 0.01)
    async with running(postgres) as commits:
        await populate(postgres, commits)
    projection = Projection(boards, Ladders(postgres), lambda: NOON, log, lambda _ladders, _since=None: None)
    for name in BUILT:
        await projection.rebuild(name)
    async with redis_side(stores.redis_url, str(await Ladders(postgres).deployment())) as redis:
        yield Site(database_url, postgres, boards, redis)


async def test_log_tables_and_boards_agree_after_everything_that_players_and_operators_do(site: Site) -> None:
    report = await site.audit()
    assert (report.count, report.no_redis) == (0, None)
    assert (report.players, report.sessions) == (6, 5)
    by_name = {board.ladder: board for board in report.ladders}
    # The others are built when somebody asks for them.
    assert [name for name, board in by_name.items() if board.standing is Standing.AGREES] == BUILT
    assert by_name["daily@2026-11-23"].standing is Standing.NOT_BUILT
    assert by_name["daily@2026-11-23"].redis is None
    expected = Fingerprint()
    for entry in await Ladders(site.postgres).ranked(EVERYBODY, 10):
        expected.add(entry)
    board = by_name[EVERYBODY]
    for found in (board.log, board.postgres, board.redis):
        assert found is not None
        assert (found.entries, found.hexdigest()) == (2, expected.hexdigest())


async def test_one_ladder_alone_is_compared(site: Site, sql: asyncpg.Connection[asyncpg.Record]) -> None:
    await sql.execute("UPDATE ladder_entries SET total_score = 500 WHERE number = $1", ADA)
    report = await site.audit(ladder="all-time:0")
    assert [board.ladder for board in report.ladders] == ["all-time:0"]
    assert {each.ladder for each in report.differences} == {"all-time:0"}


@pytest.mark.parametrize(
    ("damage", "projected"),
    [
        ("UPDATE ladder_entries SET total_score = 5000 WHERE number = 1", True),
        ("UPDATE ladder_entries SET total_score = 5 WHERE number = 1", False),
        ("DELETE FROM ladder_entries", False),
        ("UPDATE ladder_entries SET removed = NOT removed", False),
        (
            "INSERT INTO ladder_entries SELECT ladder, 77, true, 9999, achieved_at, session_id FROM ladder_entries "
            "WHERE number = 1",
            True,
        ),
    ],
    ids=["too good", "too bad", "gone", "turned", "from nowhere"],
)
async def test_damaged_entries_are_found_in_both_stores_and_mended_in_both(
    site: Site, sql: asyncpg.Connection[asyncpg.Record], damage: str, projected: bool
) -> None:
    before = await site.audit()
    await sql.execute(damage)
    if projected:
        # Redis is made of what is wrong.
        ladders = Ladders(site.postgres)
        for name in await site.redis.boards.ladders():
            assert await site.boards.rebuild(name, 1, ladders.entries(name), has_period="@" in name)
    report = await site.audit()
    parts = {each.part.value for each in report.differences}
    assert parts == ({"entry"} if projected else {"entry", "Redis"})
    (board,) = [board for board in report.ladders if board.ladder == EVERYBODY]
    assert board.log.hexdigest() != board.postgres.hexdigest()
    assert board.redis is not None
    assert (board.redis.hexdigest() == board.postgres.hexdigest()) is projected
    assert board.standing is (Standing.AGREES if projected else Standing.DIFFERS)

    would = await site.rebuild(only_look=True)
    assert (await site.audit()).count == report.count
    lines = await site.rebuild()
    assert [line.removeprefix("mended") for line in lines if line.startswith("mended")] == [
        line.removeprefix("would mend") for line in would if line.startswith("would mend")
    ]
    after = await site.audit()
    assert after.count == 0
    assert [(board.ladder, board.log.hexdigest()) for board in after.ladders] == [
        (board.ladder, board.log.hexdigest()) for board in before.ladders
    ]


async def test_board_that_is_wrong_in_redis_alone_is_found_and_rebuilt_under_a_new_epoch(site: Site) -> None:
    await site.boards.apply({EVERYBODY: [Entry(BACK, True, 12_345, NOON)]})
    report = await site.audit()
    assert [str(each) for each in report.differences] == [
        "Redis all-time #5: it holds passed, 12345 at 2026-11-23T12:00:00.000+00:00, "
        "PostgreSQL 99 at 2026-11-25T12:00:00.000+00:00"
    ]
    epoch = (await site.boards.read(EVERYBODY, 0, 1)).epoch
    lines = await site.rebuild()
    assert lines == [f"rebuilt: {name}" for name in BUILT]
    assert (await site.boards.read(EVERYBODY, 0, 1)).epoch != epoch
    assert (await site.audit()).count == 0


async def test_player_who_comes_back_at_the_second_look_is_no_difference(
    site: Site, sql: asyncpg.Connection[asyncpg.Record]
) -> None:
    """The boards are a moment behind."""
    await sql.execute("DELETE FROM operator_acts WHERE number = $1", OFF)
    await sql.execute("UPDATE sessions SET off_boards = false WHERE number = $1", OFF)
    await sql.execute("UPDATE ladder_entries SET removed = false WHERE number = $1", OFF)
    pauses = 0

    async def pause(_seconds: float) -> None:
        nonlocal pauses
        pauses += 1
        ladders = Ladders(site.postgres)
        for name in await site.redis.boards.ladders():
            assert await site.boards.rebuild(name, 1, ladders.entries(name), has_period="@" in name)

    report = await Audit(site.database_url, site.postgres, site.redis, lambda: NOON, sleep=pause).run()
    assert (report.count, pauses) == (0, 1)
    assert {board.standing for board in report.ladders if board.ladder == EVERYBODY} == {Standing.CHANGED}


async def test_board_of_now_is_missed_only_where_a_server_listens(site: Site) -> None:
    now = {board.ladder(NOON) for board in BOARDS.values()}
    assert (await site.audit()).count == 0
    heard: list[str | None] = []

    async def listen() -> None:
        async for notice in site.redis.notices.listen():
            heard.append(notice)

    async with Running(listen()):
        await until(lambda: heard == [None], "the subscription")
        report = await site.audit()
        assert {str(each) for each in report.differences} == {
            f"Redis {name}: it is shown now, and not in Redis" for name in now.difference(BUILT)
        }
        assert {board.standing for board in report.ladders if board.ladder in now.difference(BUILT)} == {
            Standing.MISSING
        }
        # What a rebuild has changed is told to who listens.
        await site.rebuild()
        await until(lambda: len(heard) == 2, "the notice")
    assert json.loads(heard[1] or "")["ladders"] == BUILT


async def test_redis_that_is_away_leaves_the_rest_of_the_audit(
    site: Site, redis_gate: Gate, sql: asyncpg.Connection[asyncpg.Record]
) -> None:
    await sql.execute("UPDATE ladder_entries SET total_score = 500 WHERE number = $1", ADA)
    async with redis_side(redis_gate.url, str(await Ladders(site.postgres).deployment())) as redis:
        await redis_gate.shut()
        report = await Audit(site.database_url, site.postgres, redis, lambda: NOON).run()
        assert report.no_redis == "Redis does not answer"
        assert {each.part.value for each in report.differences} == {"entry"}
        assert {board.standing for board in report.ladders} == {Standing.NOT_LOOKED_AT}
        lines: list[str] = []
        boards = Boards.connect(redis_gate.url, "x")
        done = await rebuild(site.database_url, site.postgres, boards, redis, lines.append)
        assert done.ladders is None
        assert done.mended == len(lines) > 0
        await boards.close()


async def test_postgresql_that_is_away_ends_the_audit(site: Site, postgres_gate: Gate) -> None:
    await postgres_gate.shut()
    with pytest.raises(StoreUnavailable):
        await Audit(postgres_gate.url, site.postgres, site.redis, lambda: NOON).run()


async def test_hole_in_the_log_is_reported_and_nothing_is_made_of_it(
    site: Site, sql: asyncpg.Connection[asyncpg.Record]
) -> None:
    await sql.execute("DELETE FROM session_events WHERE number = $1 AND version <= 4", ADA)
    count = (await site.audit()).count
    lines = [line for line in await site.rebuild() if not line.startswith("rebuilt")]
    assert len(lines) == count
    assert all(line.startswith("cannot be mended: ") for line in lines)
    assert "cannot be mended: log #1: version 5: events before it are missing (versions 1 to 4 are missing)" in lines
    assert (await site.audit()).count == count


async def test_differences_beyond_those_that_are_shown_are_counted(
    site: Site, sql: asyncpg.Connection[asyncpg.Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auditing, "MAX_SHOWN", 3)
    await sql.execute("DELETE FROM ladder_entries")
    report = await site.audit()
    assert len(report.differences) == 3
    assert report.count > 20
