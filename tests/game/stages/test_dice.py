from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from game.stages.dice import Dice


def test_puzzles_of_old_sessions_stay_what_they_were() -> None:
    dice = Dice(42, 0, "sequence")
    assert [dice.below(1000) for _ in range(6)] == [809, 468, 365, 170, 951, 480]


@given(st.integers(0, 2**63 - 1), st.integers(1, 10**6))
def test_same_seed_and_labels_give_the_same_numbers(seed: int, end: int) -> None:
    one, other = Dice(seed, "a", 1), Dice(seed, "a", 1)
    drawn = [one.below(end) for _ in range(5)]
    assert drawn == [other.below(end) for _ in range(5)]
    assert all(0 <= number < end for number in drawn)


@pytest.mark.parametrize("other", [Dice(7, 1), Dice(8, 0), Dice(7, 0, "x")])
def test_another_seed_or_label_gives_others(other: Dice) -> None:
    dice = Dice(7, 0)
    assert [dice.below(2**32) for _ in range(3)] != [other.below(2**32) for _ in range(3)]


def test_every_side_comes_up_about_as_often() -> None:
    dice = Dice(1)
    seen = Counter(dice.between(1, 6) for _ in range(6000))
    assert seen.keys() == {1, 2, 3, 4, 5, 6}
    assert min(seen.values()) > 850


def test_pick_takes_each_of_the_things() -> None:
    dice = Dice(1)
    assert {dice.pick("abc") for _ in range(100)} == {"a", "b", "c"}
