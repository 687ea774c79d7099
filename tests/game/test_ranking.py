"""Who is above whom, which boards there are, and what a session counts for."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from game.ranking import (
    ALL_TIME,
    BOARDS,
    Board,
    Entry,
    Period,
    Removal,
    UnknownBoard,
    better,
    board_named,
    entry_of,
    has_period,
    ladders_of,
    lies_between,
    order,
    period_end,
    period_start,
    ranked,
)
from game.session import Session, Status

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)
MILLISECOND = timedelta(milliseconds=1)

thorough = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Numbers are drawn and made into moments and entries, because that is several times faster than drawing the parts.
moments = st.integers(0, 230 * 365 * 86_400_000).map(lambda ms: datetime(1970, 1, 5, tzinfo=UTC) + ms * MILLISECOND)


def entry(number: int, variant: int) -> Entry:
    """One of the player's 24 entries: so few that ties of every kind are common."""
    variant, passed = divmod(variant, 2)
    score, later = divmod(variant, 3)
    return Entry(number, passed == 1, score, NOON + later * MILLISECOND)


def entries_of(drawn: dict[int, int]) -> list[Entry]:
    return [entry(number, variant) for number, variant in drawn.items()]


variants = st.integers(0, 23)
attempts = variants.map(lambda variant: entry(1, variant))
tied_entries = st.dictionaries(st.integers(1, 1000), variants, max_size=20).map(entries_of)
random_entries = st.lists(
    st.builds(Entry, st.integers(1, 10**9), st.booleans(), st.integers(0, 2**63 - 1), moments),
    unique_by=lambda entry: entry.number,
    max_size=8,
)


def is_above(left: Entry, right: Entry) -> bool:
    """The contract's sentence: passedAllGames first, then higher totalScore, then who reached it earlier, then the
    smaller number."""
    if left.passed_all_games != right.passed_all_games:
        return left.passed_all_games
    if left.total_score != right.total_score:
        return left.total_score > right.total_score
    if left.achieved_at != right.achieved_at:
        return left.achieved_at < right.achieved_at
    return left.number < right.number


def put_in_order(entries: Sequence[Entry]) -> list[Entry]:
    """Each entry goes before the first one that it is above of."""
    board: list[Entry] = []
    for entry in entries:
        place = next((place for place, other in enumerate(board) if is_above(entry, other)), len(board))
        board.insert(place, entry)
    return board


@thorough
@given(tied_entries)
def test_board_with_many_ties_has_the_order_of_the_contract(entries: list[Entry]) -> None:
    assert ranked(entries) == put_in_order(entries)


@thorough
@given(random_entries)
def test_board_of_any_entries_has_the_order_of_the_contract(entries: list[Entry]) -> None:
    assert ranked(entries) == put_in_order(entries)


@thorough
@given(tied_entries, st.randoms(use_true_random=False))
def test_order_does_not_depend_on_who_was_stored_first(entries: list[Entry], chance: random.Random) -> None:
    shuffled = list(entries)
    chance.shuffle(shuffled)
    assert ranked(shuffled) == ranked(entries)


@thorough
@given(tied_entries)
def test_no_two_players_share_a_place(entries: list[Entry]) -> None:
    keys = [order(entry) for entry in ranked(entries)]
    assert all(above < below for above, below in itertools.pairwise(keys))


def test_board_reads_as_the_contract_says() -> None:
    early, late = NOON, NOON + TICK
    passed_low = Entry(9, True, 1, late)
    failed_high_early = Entry(8, False, 99, early)
    failed_high_late = Entry(2, False, 99, late)
    failed_high_late_newer_player = Entry(3, False, 99, late)
    failed_low = Entry(1, False, 98, early)
    best_first = [passed_low, failed_high_early, failed_high_late, failed_high_late_newer_player, failed_low]
    for entries in itertools.permutations(best_first):
        assert ranked(entries) == best_first


def test_empty_board_is_empty() -> None:
    assert ranked([]) == []


@thorough
@given(attempts, attempts)
def test_better_does_not_care_which_attempt_came_first(left: Entry, right: Entry) -> None:
    assert better(left, right) == better(right, left)


@thorough
@given(attempts, attempts, attempts)
def test_better_does_not_care_how_attempts_are_grouped(one: Entry, two: Entry, three: Entry) -> None:
    assert better(better(one, two), three) == better(one, better(two, three))


@thorough
@given(attempts, attempts)
def test_same_attempt_again_changes_nothing(left: Entry, right: Entry) -> None:
    best = better(left, right)
    assert better(best, best) == best
    assert better(best, left) == better(best, right) == best


@thorough
@given(attempts, attempts)
def test_better_is_one_of_the_two_attempts_and_mixes_nothing(left: Entry, right: Entry) -> None:
    best = better(left, right)
    assert best in (left, right)
    assert best == (right if is_above(right, left) else left)


@thorough
@given(st.lists(attempts, min_size=1, max_size=12))
def test_playing_more_never_lowers_an_entry(played: list[Entry]) -> None:
    best = functools.reduce(better, played)
    assert not any(is_above(attempt, best) for attempt in played)
    assert best == put_in_order(played)[0]


def test_there_are_33_boards() -> None:
    names = {
        name + suffix
        for name in ("all-time", "weekly", "daily")
        for suffix in ("", *(f":{difficulty}" for difficulty in range(10)))
    }
    assert BOARDS.keys() == names
    assert len(BOARDS) == 33


@pytest.mark.parametrize("name", BOARDS)
def test_board_is_found_by_its_name(name: str) -> None:
    board = board_named(name)
    assert board.name == name
    assert board is BOARDS[name]
    period, _, difficulty = name.partition(":")
    assert board == Board(Period(period), int(difficulty) if difficulty else None)


def test_board_of_all_time_is_the_one_for_all_difficulties() -> None:
    assert Board(Period.ALL_TIME) == ALL_TIME


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "monthly", "Daily", "DAILY", " daily", "daily ", "daily\0", "all_time", "alltime"),
        *("daily:", "daily:10", "daily:-1", "daily:03", "daily:3.0", "daily:3:3", "daily:x", "daily::3", ":3"),
        *("daily: 3", "daily:٣", "daily:３", "daily@2026-11-23", "daily:3@2026-11-23", "ｄaily"),
    ],
)
def test_board_of_another_name_is_unknown(name: str) -> None:
    with pytest.raises(UnknownBoard):
        board_named(name)


@thorough
@given(st.text() | st.from_regex(r"(all-time|weekly|daily):?[0-9]{0,2}"))
def test_only_the_33_names_are_known(name: str) -> None:
    try:
        assert board_named(name).name == name
    except UnknownBoard:
        assert name not in BOARDS


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("moment", "day", "monday"),
    [
        ("2026-11-25T12:00:00Z", "2026-11-25", "2026-11-23"),  # in the middle of a week
        # around midnight UTC
        ("2026-11-25T23:59:59.999999Z", "2026-11-25", "2026-11-23"),
        ("2026-11-26T00:00:00Z", "2026-11-26", "2026-11-23"),
        # around Monday
        ("2026-11-22T23:59:59.999999Z", "2026-11-22", "2026-11-16"),
        ("2026-11-23T00:00:00Z", "2026-11-23", "2026-11-23"),
        # a week over the end of a year, and a year that begins on a Monday
        ("2026-12-31T23:59:59.999999Z", "2026-12-31", "2026-12-28"),
        ("2027-01-01T00:00:00Z", "2027-01-01", "2026-12-28"),
        ("2028-12-31T23:59:59.999999Z", "2028-12-31", "2028-12-25"),
        ("2029-01-01T00:00:00Z", "2029-01-01", "2029-01-01"),
        # a leap day, and a year without one
        ("2028-02-28T23:59:59.999999Z", "2028-02-28", "2028-02-28"),
        ("2028-02-29T00:00:00Z", "2028-02-29", "2028-02-28"),
        ("2028-03-01T00:00:00Z", "2028-03-01", "2028-02-28"),
        ("2100-02-28T23:59:59.999999Z", "2100-02-28", "2100-02-22"),
        ("2100-03-01T00:00:00Z", "2100-03-01", "2100-03-01"),
        # other clocks show another day; only UTC counts
        ("2026-11-23T01:30:00+02:00", "2026-11-22", "2026-11-16"),
        ("2026-11-22T20:00:00-05:00", "2026-11-23", "2026-11-23"),
        ("2026-11-22T13:30:00-10:30", "2026-11-23", "2026-11-23"),
        ("2026-11-23T13:59:59+14:00", "2026-11-22", "2026-11-16"),
    ],
)
def test_period_begins_at_midnight_utc_and_a_week_on_monday(moment: str, day: str, monday: str) -> None:
    assert period_start(Period.ALL_TIME, at(moment)) is None
    assert period_start(Period.DAILY, at(moment)) == date.fromisoformat(day)
    assert period_start(Period.WEEKLY, at(moment)) == date.fromisoformat(monday)
    assert BOARDS["all-time"].ladder(at(moment)) == "all-time"
    assert BOARDS["all-time:3"].ladder(at(moment)) == "all-time:3"
    assert BOARDS["daily"].ladder(at(moment)) == f"daily@{day}"
    assert BOARDS["daily:3"].ladder(at(moment)) == f"daily:3@{day}"
    assert BOARDS["weekly"].ladder(at(moment)) == f"weekly@{monday}"
    assert BOARDS["weekly:0"].ladder(at(moment)) == f"weekly:0@{monday}"


@pytest.mark.parametrize(
    ("moment", "midnight", "monday"),
    [
        ("2026-11-22T23:59:59.999999Z", "2026-11-23", "2026-11-23"),
        ("2026-11-23T00:00:00Z", "2026-11-24", "2026-11-30"),
        ("2026-12-31T12:00:00Z", "2027-01-01", "2027-01-04"),
        ("2028-02-28T12:00:00Z", "2028-02-29", "2028-03-06"),
        ("2028-02-29T12:00:00Z", "2028-03-01", "2028-03-06"),
        ("2026-11-23T01:30:00+02:00", "2026-11-23", "2026-11-23"),
    ],
)
def test_period_ends_at_midnight_utc(moment: str, midnight: str, monday: str) -> None:
    assert period_end(Period.ALL_TIME, at(moment)) is None
    assert period_end(Period.DAILY, at(moment)) == at(f"{midnight}T00:00:00Z")
    assert period_end(Period.WEEKLY, at(moment)) == at(f"{monday}T00:00:00Z")


@thorough
@given(st.sampled_from([board for board in BOARDS.values() if board.period is not Period.ALL_TIME]), moments)
def test_board_shows_one_ladder_until_its_period_ends_and_another_from_then_on(board: Board, moment: datetime) -> None:
    end = period_end(board.period, moment)
    start = period_start(board.period, moment)
    assert end is not None
    assert start is not None
    first = datetime(start.year, start.month, start.day, tzinfo=UTC)
    assert first <= moment < end
    assert board.ladder(first) == board.ladder(moment) == board.ladder(end - TICK)
    assert board.ladder(first - TICK) != board.ladder(moment) != board.ladder(end)
    assert end - first == timedelta(days=1 if board.period is Period.DAILY else 7)
    assert first.isoweekday() == 1 or board.period is Period.DAILY


@thorough
@given(st.sampled_from(list(BOARDS.values())), moments, st.integers(-14 * 60, 14 * 60))
def test_ladder_does_not_depend_on_the_time_zone_of_the_clock(board: Board, moment: datetime, minutes: int) -> None:
    elsewhere = moment.astimezone(timezone(timedelta(minutes=minutes)))
    assert board.ladder(elsewhere) == board.ladder(moment)
    assert period_end(board.period, elsewhere) == period_end(board.period, moment)


def test_boards_never_share_a_ladder() -> None:
    assert len({board.ladder(NOON) for board in BOARDS.values()}) == 33


@pytest.mark.parametrize("board", BOARDS.values(), ids=lambda board: board.name)
def test_ladder_says_whether_its_period_ends(board: Board) -> None:
    assert has_period(board.ladder(NOON)) == (board.period is not Period.ALL_TIME)


def session(status: Status, *, difficulty: int = 4, ended_at: datetime | None = NOON) -> Session:
    return Session(
        session_id=UUID(int=7),
        status=status,
        stage=2,
        stage_count=3,
        total_score=420,
        difficulty=difficulty,
        started_at=NOON - timedelta(days=8),
        ended_at=ended_at,
    )


@pytest.mark.parametrize("status", [Status.FINISHED, Status.FAILED])
def test_ended_session_counts_for_each_period_with_and_without_its_difficulty(status: Status) -> None:
    assert sorted(ladders_of(session(status))) == [
        "all-time",
        "all-time:4",
        "daily:4@2026-11-23",
        "daily@2026-11-23",
        "weekly:4@2026-11-23",
        "weekly@2026-11-23",
    ]


@pytest.mark.parametrize("ended_at", [NOON, None])
def test_canceled_session_counts_for_no_ladder(ended_at: datetime | None) -> None:
    assert ladders_of(session(Status.CANCELED, ended_at=ended_at)) == ()


def test_session_in_progress_counts_for_no_ladder() -> None:
    assert ladders_of(session(Status.IN_PROGRESS, ended_at=None)) == ()


def test_session_over_midnight_counts_for_the_period_it_ended_in() -> None:
    midnight = datetime(2026, 11, 23, tzinfo=UTC)
    late = session(Status.FINISHED)._replace(started_at=midnight - TICK, ended_at=midnight)
    assert {"daily@2026-11-23", "weekly@2026-11-23"} < set(ladders_of(late))
    in_time = late._replace(ended_at=midnight - TICK)
    assert {"daily@2026-11-22", "weekly@2026-11-16"} < set(ladders_of(in_time))


@thorough
@given(st.sampled_from([Status.FINISHED, Status.FAILED]), st.integers(0, 9), moments)
def test_session_counts_exactly_for_the_boards_that_show_it_at_its_end(
    status: Status, difficulty: int, ended_at: datetime
) -> None:
    showing = [board.ladder(ended_at) for board in BOARDS.values() if board.difficulty in (None, difficulty)]
    assert sorted(ladders_of(session(status, difficulty=difficulty, ended_at=ended_at))) == sorted(showing)


@pytest.mark.parametrize(("status", "passed"), [(Status.FINISHED, True), (Status.FAILED, False)])
def test_entry_is_what_the_session_reached_when_it_ended(status: Status, passed: bool) -> None:
    assert entry_of(12, session(status)) == Entry(12, passed, 420, NOON)


@pytest.mark.parametrize("status", [Status.CANCELED, Status.IN_PROGRESS])
def test_session_that_does_not_count_has_no_entry(status: Status) -> None:
    with pytest.raises(ValueError, match="does not count"):
        entry_of(12, session(status))


@thorough
@given(st.lists(attempts, min_size=1, max_size=6), st.data())
def test_copy_may_hold_whatever_the_truth_was_meanwhile(played: list[Entry], data: st.DataObject) -> None:
    truths: list[Entry | None] = [None]
    for attempt in played:
        truths.append(attempt if truths[-1] is None else better(truths[-1], attempt))
    first = data.draw(st.integers(0, len(truths) - 1))
    last = data.draw(st.integers(first, len(truths) - 1))
    held = data.draw(st.integers(0, len(truths) - 1))
    before, after = truths[first], truths[last]
    right = first <= held <= last or truths[held] in (before, after)
    assert lies_between(before, truths[held], after) is right


@pytest.mark.parametrize(
    ("before", "held", "after", "right"),
    [
        (None, None, None, True),
        (None, Removal(1), None, False),
        (entry(1, 0), None, entry(1, 0), False),
        (None, entry(1, 0), None, False),
        (entry(1, 0), Removal(1), Removal(1), True),
        (Removal(1), entry(1, 0), Removal(1), False),
        (Removal(1), entry(1, 5), entry(1, 0), False),
        (Removal(1), entry(1, 0), entry(1, 0), True),
        (entry(1, 0), Removal(1), entry(1, 0), False),
    ],
)
def test_copy_that_holds_what_never_was_is_wrong(
    before: Entry | Removal | None, held: Entry | Removal | None, after: Entry | Removal | None, right: bool
) -> None:
    assert lies_between(before, held, after) is right
