"""What is measured does not depend on place and size."""

import cv2
import numpy as np
import pytest

from images.ink import CANVAS, Drawing
from images.shape import DIRECTIONS, GRID, POINTS, cells, shape_of


def line(*ends: tuple[int, int]) -> Drawing:
    lines = np.zeros((CANVAS, CANVAS), np.uint8)
    cv2.line(lines, ends[0], ends[1], 1)
    return Drawing(lines)


def test_points_lie_around_the_middle_at_unit_distance() -> None:
    points = shape_of(line((10, 20), (90, 60))).points
    assert len(points) <= POINTS
    assert np.abs(points.mean(axis=0)).max() < 0.05
    assert np.sqrt((points**2).sum(axis=1).mean()) == pytest.approx(1, abs=0.05)


DEGREES = {0: ((10, 60), (110, 60)), 45: ((10, 10), (110, 110)), 90: ((60, 10), (60, 110)), 135: ((10, 110), (110, 10))}


@pytest.mark.parametrize("degrees", DEGREES)
def test_directions_follow_the_line(degrees: int) -> None:
    directions = np.degrees(shape_of(line(*DEGREES[degrees])).directions[10:-10])
    away = np.abs((directions - degrees + 90) % 180 - 90)
    assert away.max() < 5


def test_fields_are_0_on_the_line_in_its_direction_and_1_far_away() -> None:
    shape = shape_of(line((10, 60), (110, 60)))
    at = cells(shape.points[50])
    assert shape.fields[0, at[1], at[0]] == 0
    assert shape.fields[DIRECTIONS // 2, at[1], at[0]] == 0.5  # near a line, but none that runs so
    assert shape.fields[0, 0, 0] == 1


def test_a_dot_has_a_shape() -> None:
    shape = shape_of(line((64, 64), (64, 64)))
    assert shape.points.tolist() == [[0, 0]]
    assert shape.fields.shape == (DIRECTIONS, GRID, GRID)


def test_what_is_beyond_the_grid_lies_on_its_rim() -> None:
    assert cells(np.array([[-99, 99]], np.float32)).tolist() == [[0, GRID - 1]]
