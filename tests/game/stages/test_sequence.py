from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from game.stages.dice import Dice
from game.stages.sequence import ROUNDS, Answer, Puzzle, Sequence
from game.stages.stage import Points
from tests.game.stages.answers import same_or_other

STAGE = Sequence()
PUZZLE = Puzzle((4, 0, 8, 2, 5, 1, 7, 4, 3, 6, 0, 8), 3, 700)
MINUTE = timedelta(minutes=1)


def worth(*rounds: tuple[int, ...], elapsed: timedelta = MINUTE) -> Points:
    return STAGE.judge(PUZZLE, Answer(rounds), elapsed, same_or_other)


@given(st.integers(0, 2**63 - 1), st.integers(0, 9))
def test_tiles_are_on_the_board_and_none_lights_up_twice_in_a_row(seed: int, difficulty: int) -> None:
    puzzle = STAGE.deal(Dice(seed), difficulty)
    assert set(puzzle.tiles) <= set(range(9))
    assert all(one != other for one, other in pairwise(puzzle.tiles))
    assert len(puzzle.tiles) == puzzle.first_length + ROUNDS - 1


def test_harder_is_longer_and_faster() -> None:
    easy, hard = STAGE.deal(Dice(1), 0), STAGE.deal(Dice(1), 9)
    assert (easy.first_length, easy.step_ms) == (3, 700)
    assert (hard.first_length, hard.step_ms) == (5, 295)


def test_longer_run_is_worth_more() -> None:
    runs = [worth(*(PUZZLE.tiles[:end] for end in range(3, last + 1))).points for last in range(3, 13)]
    assert runs == sorted(set(runs))


def test_run_ends_with_the_first_mistake() -> None:
    good = worth((4, 0, 8), (4, 0, 8, 2))
    assert worth((4, 0, 8), (4, 0, 8, 2), (4, 0, 7, 2, 5)).points == good.points
    assert worth((4, 0, 8), (4, 0, 8, 2), (4, 0, 7, 2, 5), (4, 0, 8, 2, 5, 1)).points == good.points


def test_beginning_of_a_round_counts_up_to_the_mistake() -> None:
    assert worth((4, 0, 8), (4, 0, 8, 3)).points == worth((4, 0, 8)).points
    assert worth((4, 0, 8), (4, 0, 8, 2), (4, 0, 8, 2, 0)).points == worth((4, 0, 8), (4, 0, 8, 2)).points
    assert worth((4, 0)).points > worth((4,)).points > worth(()).points == 0


def test_stage_is_passed_with_the_first_round() -> None:
    assert worth((4, 0, 8)).passed
    assert not worth((4, 0, 7)).passed
    assert not worth((4, 0)).passed
    assert not worth((4, 0, 8, 2)).passed  # one tap too many is a mistake


def test_speed_is_worth_a_little_and_never_more_than_another_tile() -> None:
    rounds = [PUZZLE.tiles[:end] for end in range(3, 9)]
    quick, slow = worth(*rounds, elapsed=MINUTE / 2), worth(*rounds, elapsed=2 * MINUTE)
    assert 0 < quick.points - slow.points <= 100


def test_what_was_tapped_has_to_have_been_shown() -> None:
    shown = timedelta(milliseconds=(3 + 4) * 700)
    assert STAGE.least_time(PUZZLE, Answer(((4, 0, 8), (4, 0, 8, 2)))) == shown + 7 * timedelta(seconds=0.1)


@pytest.mark.parametrize("rounds", [((1,),) * (ROUNDS + 1), ((1,) * 21,)])
def test_answer_of_any_size_is_refused(rounds: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match="at most 10 rounds"):
        Answer(rounds)
