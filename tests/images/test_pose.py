"""One drawing is laid on the other."""

import numpy as np
import pytest

from images.ink import drawing_of
from images.pose import LIMITS, best_fit, distances, matrices
from images.shape import shape_of
from tests.images.pictures import sheet

HOUSE = shape_of(drawing_of(sheet("house")))


def test_a_drawing_lies_on_itself_unmoved() -> None:
    fit = best_fit(HOUSE, HOUSE)
    assert not fit.pose.any()
    assert not fit.there.any()
    assert not fit.back.any()


@pytest.mark.parametrize("turn", [-14, 9])
def test_a_turn_is_found(turn: float) -> None:
    fit = best_fit(HOUSE, shape_of(drawing_of(sheet("house", turn=turn))))
    assert np.degrees(fit.pose[0]) == pytest.approx(turn, abs=4)


def test_no_pose_leaves_its_limits() -> None:
    fit = best_fit(HOUSE, shape_of(drawing_of(sheet("arrow", turn=90))))
    assert (np.abs(fit.pose) <= LIMITS).all()


def test_a_pose_there_and_back_again_is_none() -> None:
    poses = np.random.default_rng(2).uniform(-LIMITS, LIMITS, (20, 6))
    there, back = distances(np.zeros((1, 6)), HOUSE, HOUSE)
    assert there.shape == back.shape == (1, len(HOUSE.points))
    assert (np.linalg.det(matrices(poses)) > 0).all()  # no pose mirrors
