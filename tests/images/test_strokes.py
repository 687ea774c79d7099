from __future__ import annotations

import numpy as np
import pytest

from game.stages.dice import Dice
from game.stages.drawing import Drawing, Puzzle
from images.strokes import drawing_of_strokes, stroke_distance

CROSS = [[100, 100, 900, 900], [900, 100, 100, 900]]


@pytest.fixture
def puzzles() -> list[Puzzle]:
    return [Drawing().deal(Dice(seed), seed % 10) for seed in range(12)]


def test_drawing_is_as_far_from_itself_as_nothing(puzzles: list[Puzzle]) -> None:
    assert [stroke_distance(puzzle.strokes, puzzle.strokes) for puzzle in puzzles] == [0] * len(puzzles)


def test_unsteady_hand_is_near_and_another_picture_far(puzzles: list[Puzzle]) -> None:
    random = np.random.default_rng(1)
    for puzzle in puzzles:
        shaky = [np.clip(np.array(stroke) + random.integers(-9, 10, len(stroke)), 0, 1000) for stroke in puzzle.strokes]
        assert stroke_distance(puzzle.strokes, [list(map(int, stroke)) for stroke in shaky]) < 35
    assert stroke_distance(puzzles[0].strokes, CROSS) > 58


def test_place_and_size_do_not_matter() -> None:
    small = [[number // 3 + 40 for number in stroke] for stroke in CROSS]
    assert stroke_distance(CROSS, small) <= 2


def test_number_of_points_of_a_stroke_does_not_matter() -> None:
    dense = [[number for step in range(11) for number in (100 + 80 * step, 100 + 80 * step)], CROSS[1]]
    assert stroke_distance(CROSS, dense) <= 2


def test_stroke_of_one_point_is_a_dot() -> None:
    assert not drawing_of_strokes([[500, 500]]).blank


def test_no_strokes_are_a_blank_sheet() -> None:
    assert drawing_of_strokes([]).blank
    assert stroke_distance(CROSS, []) == 100


def test_stroke_along_the_rim_is_seen() -> None:
    frame = [[0, 0, 1000, 0, 1000, 1000, 0, 1000, 0, 0]]
    assert not drawing_of_strokes(frame).blank
    assert stroke_distance(frame, [[200, 200, 800, 200, 800, 800, 200, 800, 200, 200]]) <= 5
