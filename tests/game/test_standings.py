"""Whoever does with a difference what the contract says holds exactly the next state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from game.ranking import Entry
from game.standings import Difference, Row, Standings, difference

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
CLIENT_LIMITS = (10, 25, 50, 100)

thorough = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])

limits = st.integers(1, 8) | st.sampled_from(CLIENT_LIMITS)

Ladder = dict[int, Row]


def row(number: int, score: int, *, passed: bool = False, name: str = "", later: int = 0) -> Row:
    return Row(Entry(number, passed, score, NOON + timedelta(milliseconds=later)), name or f"player {number}")


def rows_of(number: int, variant: int) -> Row:
    """One of the player's 96 rows, so few that ties are common. One number is all that has to be drawn for it."""
    variant, name = divmod(variant, 2)
    variant, passed = divmod(variant, 2)
    score, later = divmod(variant, 4)
    return row(number, score, passed=passed == 1, name=("Ada", "😀")[name], later=later)


variants = st.integers(0, 95)


def ladder_of(drawn: dict[int, int]) -> Ladder:
    return {number: rows_of(number, variant) for number, variant in drawn.items()}


#: Everybody's entries, also those below what anybody holds.
ladders = st.dictionaries(st.integers(1, 30), variants, max_size=16).map(ladder_of)
#: What happens to whom: see `change`.
changes = st.dictionaries(st.integers(1, 36), variants, max_size=8)


def change(ladder: Ladder, happens: dict[int, int]) -> Ladder:
    """The ladder after some players improved, joined, were renamed, or are gone, and the others did nothing."""
    after = dict(ladder)
    for number, variant in happens.items():
        held = after.get(number)
        match variant % 4:
            case 0 if held is not None:
                del after[number]
            case 1 if held is not None:
                score = held.entry.total_score + 1 + variant % 3
                after[number] = replace(held, entry=held.entry._replace(total_score=score))
            case 2 if held is not None:
                after[number] = replace(held, username=f"{held.username}!")
            case _:
                after[number] = rows_of(number, variant)
    return after


def in_order(rows: Iterable[Row]) -> list[Row]:
    """The order of the contract, in its words."""
    return sorted(
        rows,
        key=lambda row: (
            0 if row.entry.passed_all_games else 1,
            -row.entry.total_score,
            row.entry.achieved_at,
            row.entry.number,
        ),
    )


def top(ladder: Ladder, limit: int) -> list[Row]:
    return in_order(ladder.values())[:limit]


def receive(held: Iterable[Row], delta: Difference, limit: int) -> list[Row]:
    """Drop the removals, put the upserts in by number, sort, keep the first `limit`."""
    rows = {row.entry.number: row for row in held}
    for number in delta.removals:
        del rows[number]  # only what is held can be removed
    for upsert in delta.upserts:
        rows[upsert.entry.number] = upsert
    return in_order(rows.values())[:limit]


@thorough
@given(ladders, limits, changes)
def test_receiver_of_a_difference_holds_exactly_the_next_top(
    before: Ladder, limit: int, happens: dict[int, int]
) -> None:
    after = change(before, happens)
    held, expected = top(before, limit), top(after, limit)
    assert receive(held, difference(held, expected), limit) == expected


@thorough
@given(ladders, ladders, limits)
def test_receiver_gets_from_any_ladder_to_any_other(before: Ladder, after: Ladder, limit: int) -> None:
    held, expected = top(before, limit), top(after, limit)
    assert receive(held, difference(held, expected), limit) == expected


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ladders, limits, st.lists(changes, max_size=5))
def test_follower_of_many_differences_never_drifts(ladder: Ladder, limit: int, history: list[dict[int, int]]) -> None:
    followed = held = top(ladder, limit)
    for happens in history:
        ladder = change(ladder, happens)
        after = top(ladder, limit)
        followed = receive(followed, difference(held, after), limit)
        held = after
        assert followed == held


@thorough
@given(ladders, limits, changes)
def test_difference_holds_nothing_that_did_not_change(before: Ladder, limit: int, happens: dict[int, int]) -> None:
    after = change(before, happens)
    held, expected = top(before, limit), top(after, limit)
    delta = difference(held, expected)
    assert set(delta.upserts) == set(expected) - set(held)
    numbers = {row.entry.number for row in expected}
    assert set(delta.removals) == {row.entry.number for row in held} - numbers
    assert len(delta.upserts) == len(set(delta.upserts))
    assert len(delta.removals) == len(set(delta.removals))


@thorough
@given(ladders, limits)
def test_same_top_again_is_no_difference(ladder: Ladder, limit: int) -> None:
    assert difference(top(ladder, limit), top(ladder, limit)) == Difference((), ())


@thorough
@given(ladders, limits)
def test_first_difference_is_the_whole_top_and_the_last_clears_it(ladder: Ladder, limit: int) -> None:
    rows = top(ladder, limit)
    assert difference([], rows) == Difference(tuple(rows), ())
    assert difference(rows, []) == Difference((), tuple(row.entry.number for row in rows))


def test_player_pushed_below_the_limit_is_removed() -> None:
    first, second, newcomer = row(1, 30), row(2, 20), row(3, 25)
    delta = difference([first, second], [first, newcomer])
    assert delta == Difference((newcomer,), (2,))
    assert receive([first, second], delta, 2) == [first, newcomer]


def test_player_from_below_the_limit_fills_the_gap_of_one_who_is_gone() -> None:
    first, second, third = row(1, 30), row(2, 20), row(3, 10)
    delta = difference([first, second], [second, third])
    assert delta == Difference((third,), (1,))
    assert receive([first, second], delta, 2) == [second, third]


def test_player_who_improved_is_an_upsert_and_no_removal() -> None:
    first, second, improved = row(1, 30), row(2, 20), row(2, 40)
    delta = difference([first, second], [improved, first])
    assert delta == Difference((improved,), ())
    assert receive([first, second], delta, 10) == [improved, first]


def test_player_with_another_name_is_an_upsert() -> None:
    renamed = row(1, 30, name="Countess")
    assert difference([row(1, 30, name="Ada")], [renamed]) == Difference((renamed,), ())


def test_nobody_before_and_after_is_no_difference() -> None:
    assert difference([], []) == Difference((), ())


@thorough
@given(ladders, limits)
def test_top_is_the_first_rows(ladder: Ladder, limit: int) -> None:
    rows = in_order(ladder.values())
    standings = Standings("all-time", "epoch", 3, len(rows), tuple(rows))
    assert standings.top(limit) == tuple(rows)[:limit]
