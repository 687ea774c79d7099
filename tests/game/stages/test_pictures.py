from __future__ import annotations

import pytest

from game.stages.pictures import PICTURES


def test_there_are_at_least_forty() -> None:
    assert len(PICTURES) >= 40
    assert {"cat", "house", "bicycle", "key"} <= PICTURES.keys()


@pytest.mark.parametrize("name", PICTURES)
def test_picture_is_made_of_strokes_within_its_square(name: str) -> None:
    picture = PICTURES[name]
    assert 1 <= len(picture) <= 12
    assert all(len(line) >= 2 for line in picture)
    assert all(-110 <= number <= 110 for line in picture for point in line for number in point)


@pytest.mark.parametrize("name", PICTURES)
def test_picture_fills_its_square(name: str) -> None:
    points = [point for line in PICTURES[name] for point in line]
    sides = [max(values) - min(values) for values in zip(*points, strict=True)]
    assert max(sides) > 160


def test_no_two_pictures_are_the_same() -> None:
    assert len(set(PICTURES.values())) == len(PICTURES)
