"""Boards in Redis against PostgreSQL: every damage is found, and what is only on its way is not taken for one."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import redis.asyncio

from game.fingerprint import Fingerprint
from game.ranking import Entry, Removal, ranked
from storage.board_audit import BoardAudit, Suspects
from storage.boards import Boards, LadderMissing, member_of, score_of
from storage.findings import Difference
from storage.kept_boards import KeptBoards
from storage.ladders import Ladders
from storage.postgres import Postgres
from tests.storage.playing import NOON, Sql, later, write_entries
from tests.storage.test_kept_boards import build
from tests.stores import Stores

DAILY = "daily@2026-11-23"
ENTRIES = ranked(Entry(number, number % 2 == 0, 100 - number % 3, NOON) for number in range(1, 8))
FIRST, SECOND = ENTRIES[:2]
#: Whom PostgreSQL keeps, but does not show.
OFF = 9


class Sides:
    """A ladder in both stores, and the audit of it."""

    def __init__(self, postgres: Postgres, boards: Boards, kept: KeptBoards, sql: Sql) -> None:
        self.boards = boards
        self.ladders = Ladders(postgres)
        self.audit = BoardAudit(kept, self.ladders)
        self.sql = sql

    async def fill(self, ladder: str = DAILY) -> None:
        await write_entries(self.sql, ladder, *ENTRIES, Entry(OFF, True, 999, NOON))
        await self.sql.execute("UPDATE ladder_entries SET removed = true WHERE number = $1", OFF)
        await build(self.boards, ladder, *[each async for chunk in self.ladders.entries(ladder) for each in chunk])

    async def compare(self, ladder: str = DAILY) -> tuple[Fingerprint, Suspects]:
        async def truth() -> AsyncIterator[list[Entry]]:
            yield await self.ladders.ranked(ladder, 1000)

        return await self.audit.compare(ladder, truth(), {OFF})

    async def differences(self, ladder: str = DAILY) -> list[Difference]:
        """What is different at the first look and at the second one, each way of looking."""
        _, suspects = await self.compare(ladder)
        left, differences = await self.audit.look(ladder, suspects)
        assert bool(left) == bool(differences)
        part, behind, beyond = await self.audit.stretch(ladder, 0, 0, 100)
        assert (behind, beyond) == (None, None)
        assert {str(each) for each in (await self.audit.look(ladder, part))[1]} <= {str(each) for each in differences}
        return differences


@pytest.fixture
async def sides(stores: Stores, postgres: Postgres, boards: Boards, sql: Sql) -> AsyncIterator[Sides]:
    kept = KeptBoards.connect(stores.redis_url, str(await Ladders(postgres).deployment()))
    yield Sides(postgres, boards, kept, sql)
    await kept.close()


@pytest.mark.parametrize("ladder", [DAILY, "all-time"])
async def test_board_that_was_just_built_is_right(sides: Sides, ladder: str) -> None:
    await sides.fill(ladder)
    found, suspects = await sides.compare(ladder)
    assert not suspects
    assert await sides.differences(ladder) == []
    expected = Fingerprint()
    for each in ENTRIES:
        expected.add(each)
    assert (found.entries, found.hexdigest()) == (len(ENTRIES), expected.hexdigest())


async def test_board_that_is_not_there_is_missing(sides: Sides) -> None:
    with pytest.raises(LadderMissing):
        await sides.compare()
    with pytest.raises(LadderMissing):
        await sides.audit.look(DAILY, Suspects(numbers={1}))
    with pytest.raises(LadderMissing):
        await sides.audit.stretch(DAILY, 0, 0, 10)


WORSE, BETTER = Entry(FIRST.number, False, 1, NOON), Entry(FIRST.number, True, 5000, NOON)

# By name: commands on the keys (the base stands for *), and what is said of whom.
DAMAGES: dict[str, tuple[Sequence[Sequence[Any]], int | None, str]] = {
    "entry gone": (
        [("ZREM", "*:ranks", member_of(FIRST)), ("HDEL", "*:members", FIRST.number)],
        FIRST.number,
        "it holds nothing, PostgreSQL passed, 100",
    ),
    "worse entry": (
        [("ZADD", "*:ranks", score_of(WORSE), member_of(WORSE))],
        FIRST.number,
        "it holds 1 at 2026-11-23T12:00:00.000+00:00, PostgreSQL passed, 100",
    ),
    "better entry": (
        [("ZADD", "*:ranks", score_of(BETTER), member_of(BETTER))],
        FIRST.number,
        "it holds passed, 5000",
    ),
    "entry from nowhere": (
        [
            ("ZADD", "*:ranks", -7, member_of(Entry(77, False, 7, NOON))),
            ("HSET", "*:members", 77, member_of(Entry(77, False, 7, NOON))),
        ],
        77,
        "it holds 7 at 2026-11-23T12:00:00.000+00:00, PostgreSQL nothing",
    ),
    "taken off by mistake": (
        [("ZREM", "*:ranks", member_of(FIRST)), ("HSET", "*:members", FIRST.number, "-")],
        FIRST.number,
        "it holds that the player is taken off, PostgreSQL passed",
    ),
    "not taken off": (
        [("HDEL", "*:members", OFF)],
        OFF,
        "it holds nothing, PostgreSQL that the player is taken off",
    ),
    "cheater shown": (
        [
            ("ZADD", "*:ranks", -7, member_of(Entry(OFF, False, 7, NOON))),
            ("HSET", "*:members", OFF, member_of(Entry(OFF, False, 7, NOON))),
        ],
        OFF,
        "PostgreSQL that the player is taken off",
    ),
    "line without its member": ([("ZREM", "*:ranks", member_of(FIRST))], FIRST.number, "a line without its member"),
    "line with another's member": (
        [("HSET", "*:members", FIRST.number, member_of(SECOND))],
        FIRST.number,
        "a line without its member",
    ),
    "member without a line": ([("HDEL", "*:members", FIRST.number)], FIRST.number, "it holds nothing"),
    "member twice": (
        [("ZADD", "*:ranks", -3, member_of(later(FIRST)))],
        None,
        f"a member is nobody's: {member_of(later(FIRST))!r}",
    ),
    "nonsense": ([("ZADD", "*:ranks", 0, "nonsense")], None, "a member is nobody's: 'nonsense'"),
    "for ever": ([("PERSIST", "*:ranks")], None, "its keys live meta 1382"),
}


def without_seconds(text: str) -> str:
    """A key's seconds pass while it is looked at."""
    return re.sub(r"\b\d+ s\b", "… s", text)


@pytest.mark.parametrize("name", DAMAGES)
async def test_every_damage_is_found(name: str, sides: Sides, valkey: redis.asyncio.Redis) -> None:
    await sides.fill()
    commands, number, said = DAMAGES[name]
    base = f"{sides.boards._prefix}:{{{DAILY}}}"
    for command, key, *arguments in commands:
        await valkey.execute_command(command, key.replace("*", base), *arguments)  # type: ignore[no-untyped-call]
    found = await sides.differences()
    assert [each for each in found if each.number == number and said in each.what], found
    assert {each.ladder for each in found} == {DAILY}
    # It stays, however often one looks.
    _, suspects = await sides.compare()
    for _ in range(3):
        suspects, again = await sides.audit.look(DAILY, suspects)
        assert [without_seconds(str(each)) for each in again] == [without_seconds(str(each)) for each in found]
    # And goes with a rebuild.
    await sides.fill()
    assert await sides.differences() == []


async def test_ladder_of_all_time_that_ends_is_found(sides: Sides, valkey: redis.asyncio.Redis) -> None:
    await sides.fill("all-time")
    await valkey.expire(f"{sides.boards._prefix}:{{all-time}}:members", 1000)
    (found,) = await sides.differences("all-time")
    assert without_seconds(found.what) == "its keys live meta for ever, ranks for ever, members … s"
    assert re.search(r"members (1000|99\d) s", found.what)


async def test_board_that_lags_behind_is_no_difference_once_it_has_caught_up(sides: Sides) -> None:
    await sides.fill()
    improved = Entry(FIRST.number, True, 7000, NOON)
    await write_entries(sides.sql, DAILY, improved, Entry(50, False, 1, NOON))
    _, suspects = await sides.compare()
    assert suspects.numbers == {FIRST.number, 50}
    left, differences = await sides.audit.look(DAILY, suspects)
    assert (left.numbers, len(differences)) == ({FIRST.number, 50}, 2)
    await sides.boards.apply({DAILY: [improved, Entry(50, False, 1, NOON)]})
    left, differences = await sides.audit.look(DAILY, left)
    assert not left
    assert differences == []


async def test_entry_that_improves_between_the_two_looks_at_postgresql_is_right(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever PostgreSQL has shown meanwhile, Redis may hold."""
    await sides.fill()
    steps = [Entry(FIRST.number, True, score, NOON) for score in (200, 300)]
    standing = sides.ladders.standing

    async def and_then_improve(ladder: str, numbers: Sequence[int]) -> dict[int, Entry | Removal]:
        found = await standing(ladder, numbers)
        if steps:
            await sides.boards.apply({DAILY: steps[:1]})
            await write_entries(sides.sql, DAILY, steps.pop())
            steps.clear()
        return found

    monkeypatch.setattr(sides.ladders, "standing", and_then_improve)
    _, differences = await sides.audit.look(DAILY, Suspects(numbers={FIRST.number}))
    assert differences == []
    # It has not caught up; only the next look could say so.
    _, differences = await sides.audit.look(DAILY, Suspects(numbers={FIRST.number}))
    assert [each.number for each in differences] == [FIRST.number]


async def test_parts_of_a_board_are_looked_at_until_its_end(sides: Sides) -> None:
    await sides.fill()
    looked: set[int] = set()
    offset: int | None = 0
    number: int | None = 0
    for expected in ((3, 4), (6, 7), (None, None)):
        suspects, offset, number = await sides.audit.stretch(DAILY, offset, number, 3)
        looked |= suspects.numbers
        assert (offset, number) == expected
    assert looked == {*(each.number for each in ENTRIES), OFF}
    nothing, *ends = await sides.audit.stretch(DAILY, None, None, 3)
    assert (bool(nothing), ends) == (False, [None, None])
