from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from game.stages.dice import Dice
from game.stages.drawing import MAX_NUMBERS, MAX_STROKES, Answer, Drawing, Puzzle
from game.stages.pictures import PICTURES
from game.stages.stage import Points

STAGE = Drawing()
PUZZLE = Puzzle(((0, 0, 1000, 1000), (1000, 0, 0, 1000)), 5000)
MINUTE = timedelta(minutes=1)


def worth(distance: int, *strokes: tuple[int, ...]) -> Points:
    def compare(original: Sequence[Sequence[int]], drawn: Sequence[Sequence[int]]) -> int:
        assert (original, drawn) == (PUZZLE.strokes, strokes)
        return distance

    return STAGE.judge(PUZZLE, Answer(strokes), MINUTE, compare)


def test_points_fall_with_the_distance() -> None:
    points = [worth(distance, (0, 0, 5, 5)).points for distance in range(101)]
    assert points == sorted(points, reverse=True)
    assert (points[0], points[8], points[38], points[68], points[100]) == (1000, 1000, 500, 0, 0)


def test_drawing_of_something_else_does_not_pass() -> None:
    assert worth(58, (0, 0, 5, 5)).passed
    assert not worth(59, (0, 0, 5, 5)).passed


def test_empty_sheet_is_not_compared() -> None:
    assert STAGE.judge(PUZZLE, Answer(()), MINUTE, lambda *_: 0) == Points(0, passed=False)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**63 - 1), st.integers(0, 9))
def test_picture_is_on_the_paper_with_a_rim_and_no_point_too_many(seed: int, difficulty: int) -> None:
    puzzle = STAGE.deal(Dice(seed), difficulty)
    Answer(puzzle.strokes)  # could be drawn just so
    numbers = [number for stroke in puzzle.strokes for number in stroke]
    assert 10 <= min(numbers) <= max(numbers) <= 990
    assert len(numbers) < 800


def test_corners_of_a_picture_stay() -> None:
    puzzles = [STAGE.deal(Dice(seed), 0) for seed in range(200)]
    envelope = ((91, 236, 909, 236, 909, 764, 91, 764, 91, 236), (91, 236, 500, 568, 909, 236))
    assert envelope in {puzzle.strokes for puzzle in puzzles}


def test_every_picture_is_dealt_at_some_difficulty_and_the_plain_ones_first() -> None:
    def dealt(difficulty: int) -> set[tuple[tuple[int, ...], ...]]:
        return {STAGE.deal(Dice(seed), difficulty).strokes for seed in range(300)}

    easy, hard = dealt(0), dealt(9)
    assert len(easy) == len(hard) == 16
    assert max(map(len, easy)) <= min(map(len, hard))
    assert len(set().union(*(dealt(difficulty) for difficulty in range(10)))) == len(PICTURES)


def test_harder_is_shown_shorter() -> None:
    assert [STAGE.deal(Dice(1), difficulty).show_ms for difficulty in (0, 5, 9)] == [5000, 3000, 1400]


def test_picture_has_to_have_been_seen() -> None:
    assert STAGE.least_time(PUZZLE, Answer(((1, 1),))) == timedelta(seconds=6.5)


@pytest.mark.parametrize(
    "strokes",
    [
        ((1,),),
        ((),),
        ((1, 2, 3),),
        ((-1, 0),),
        ((0, 1001),),
        ((1, 1),) * (MAX_STROKES + 1),
        ((1, 1) * (MAX_NUMBERS // 2 + 1),),
    ],
)
def test_what_is_no_drawing_is_refused(strokes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match=r"at most|a stroke is|from 0"):
        Answer(strokes)
