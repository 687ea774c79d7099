from __future__ import annotations

import operator
import re
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from game.stages.dice import Dice
from game.stages.stage import Points
from game.stages.sums import LEVELS, Answer, Puzzle, Sums, solution
from tests.game.stages.answers import right_results, same_or_other

STAGE = Sums()
MINUTE = timedelta(minutes=1)
#: Level 0 asks for 10 and 11 in turn, level 1 for 20 and 21, and so on.
PUZZLE = Puzzle(tuple((f"{level} + {level * 9}", f"{level} + {level * 9 + 1}") for level in range(1, 11)), 0, 3, 2000)


def worth(*results: int | None, puzzle: Puzzle = PUZZLE) -> Points:
    return STAGE.judge(puzzle, Answer(results), MINUTE, same_or_other)


@pytest.mark.parametrize(
    ("text", "result"),
    [("7 + 8", 15), ("9 − 12", -3), ("6 × 7", 42), ("56 ÷ 8", 7), ("4 × 5 − 6", 14), ("30 + 20 − 11", 39)],
)
def test_solutions_are_those_of_arithmetic(text: str, result: int) -> None:
    assert solution(text) == result


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**63 - 1), st.integers(0, 9))
def test_sums_have_whole_results_and_none_is_asked_twice_in_a_row(seed: int, difficulty: int) -> None:
    puzzle = STAGE.deal(Dice(seed), difficulty)
    assert len(puzzle.levels) == LEVELS
    for level in puzzle.levels:
        assert all(one != other for one, other in pairwise(level))
        for text in level:
            assert re.fullmatch(r"\d+( [+−×÷] \d+){1,2}", text)
            assert 0 < solution(text) < 1000
            divided = re.fullmatch(r"(\d+) ÷ (\d+)", text)
            assert divided is None or operator.mod(int(divided[1]), int(divided[2])) == 0


def test_solutions_are_not_in_the_puzzle() -> None:
    puzzle = STAGE.deal(Dice(1), 0)
    assert set(puzzle.__dataclass_fields__) == {"levels", "first_level", "raise_after", "penalty_ms"}
    assert not any("=" in text for level in puzzle.levels for text in level)


def test_harder_begins_higher() -> None:
    assert [STAGE.deal(Dice(1), difficulty).first_level for difficulty in (0, 1, 2, 9)] == [0, 0, 1, 4]


def test_right_answers_lead_up_and_are_worth_more_there() -> None:
    assert worth(10).points == 20
    assert worth(10, 11, 10).points == 60
    assert worth(10, 11, 10, 20).points == 85  # the fourth was asked on the next level


def test_wrong_answer_costs_no_points_and_leads_down() -> None:
    assert worth(10, 11, 10, 99).points == 60
    assert worth(10, 11, 10, 99, 11).points == 80  # the second sum of the first level, again
    assert worth(10, 11, 10, None, 11).points == 80  # skipping is the same
    assert worth(99, 99, 10).points == 20  # never below the first


def test_streak_begins_anew_after_a_mistake() -> None:
    assert worth(10, 11, 99, 11, 10, 11).points == 5 * 20
    assert worth(10, 11, 99, 11, 10, 11, 20).points == 5 * 20 + 25


def test_stage_is_passed_with_three() -> None:
    assert not worth(10, 11).passed
    assert worth(10, 11, 10).passed
    assert worth(10, 99, 10, 11).passed


def test_mistake_costs_its_time_and_a_right_answer_a_moment() -> None:
    least = STAGE.least_time(PUZZLE, Answer((10, 99, 10)))
    assert least == timedelta(seconds=0.5 + 2 + 0.5)


def test_who_guesses_all_the_time_gets_nowhere_in_a_minute() -> None:
    guesses = Answer((99,) * 31)
    assert STAGE.least_time(PUZZLE, guesses) > STAGE.time_limit(0)


def test_good_adult_gets_most_of_the_points() -> None:
    puzzle = STAGE.deal(Dice(3), 0)
    assert 600 <= worth(*right_results(puzzle, 22), puzzle=puzzle).points <= 1000


def test_answer_of_any_size_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 200"):
        Answer((1,) * 201)
