"""What is said of a player, in words that an operator can use; every damage is found in tests/storage/test_audit.py."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from game.ranking import Entry
from game.replay import Replay
from game.session import NEVER_PLAYED, Complete, PlayerState, Start, step
from storage.findings import Account, Difference, Finding, Kept, Part, finding
from storage.sessions import Event

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
RIGHT = Kept(Entry(7, True, 5, NOON), UUID(int=1), False)
LADDERS = [
    *("all-time", "all-time:0"),
    *("daily:0@2026-11-23", "daily@2026-11-23"),
    *("weekly:0@2026-11-23", "weekly@2026-11-23"),
]


def played() -> Replay:
    """Player 7 has finished a session of one stage."""
    log, state = Replay(7), NEVER_PLAYED
    for command, score in ((Start(UUID(int=1), 1), None), (Complete(5), 5)):
        after = step(state, command, NOON)
        assert isinstance(after, PlayerState)
        assert log.add(Event(7, str(after.version), command.action, score, after, NOON)) == []
        state = after
    return log


def found(account: Account | None, kept: Kept | None, *problems: str) -> Finding:
    """With that entry on every ladder."""
    log = played()
    assert sorted(log.best) == LADDERS
    return finding(log, 2, problems, account, {} if kept is None else dict.fromkeys(LADDERS, kept))


def account(*, deleted: bool = False, taken_off: bool = False, off_boards: bool = False) -> Account:
    return Account(deleted, taken_off, None if deleted else played().state, off_boards)


@pytest.mark.parametrize(
    ("of", "removed"),
    [
        (account(), False),
        (account(taken_off=True, off_boards=True), True),
        (account(deleted=True), True),
        (account(deleted=True, taken_off=True), True),
    ],
)
def test_entry_is_removed_exactly_where_its_player_is_not_shown(of: Account, removed: bool) -> None:
    for held in (False, True):
        differences = found(of, replace(RIGHT, removed=held)).differences
        if held == removed:
            assert differences == []
        else:
            what = f"removed is {held}, not {removed}"
            assert differences == [Difference(Part.ENTRY, what, 7, ladder) for ladder in LADDERS]


def test_differences_read_as_lines() -> None:
    late = replace(RIGHT, entry=Entry(7, False, 6, NOON + timedelta(milliseconds=1)), session_id=UUID(int=2))
    lines = [str(each) for each in found(account(off_boards=True), late).differences]
    assert lines[:2] == [
        "session #7: off_boards is True, and the record of the operators says False",
        "entry all-time #7: passed_all_games is False, not True, total_score is 6, not 5, "
        "achieved_at is 2026-11-23 12:00:00.001000+00:00, not 2026-11-23 12:00:00+00:00, "
        "session_id is 00000000-0000-0000-0000-000000000002, not 00000000-0000-0000-0000-000000000001",
    ]
    assert len(lines) == 1 + len(LADDERS)


def test_nothing_is_mendable_where_the_log_is_damaged() -> None:
    for damaged in (found(account(), None, "a hole"), found(None, None)):
        assert [each.part for each in damaged.differences] == [Part.LOG, *[Part.ENTRY] * len(LADDERS)]
        assert not any(each.mendable for each in damaged.differences)
    assert all(each.mendable for each in found(account(), None).differences)


def test_difference_in_redis_names_no_player_where_none_is_meant() -> None:
    assert str(Difference(Part.REDIS, "it is shown now, and not in Redis", None, "all-time")) == (
        "Redis all-time: it is shown now, and not in Redis"
    )
