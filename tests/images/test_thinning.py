"""Lines become thin and stay whole."""

import cv2
import numpy as np
import pytest

from images.ink import CANVAS
from images.thinning import thinned
from tests.images.pictures import MOTIFS, sheet


def mask_of(motif: str) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    small = cv2.resize(sheet(motif, width=12, scale=0.9)[:, :, 0], (CANVAS, CANVAS), interpolation=cv2.INTER_AREA)
    return np.asarray(small < 128, np.uint8).reshape(CANVAS, CANVAS)


@pytest.mark.parametrize("motif", list(MOTIFS)[::4])
def test_thinning_keeps_parts_and_holes(motif: str) -> None:
    mask = mask_of(motif)
    lines = thinned(mask)
    assert cv2.connectedComponents(lines, connectivity=8)[0] == cv2.connectedComponents(mask, connectivity=8)[0]
    assert cv2.connectedComponents(1 - lines, connectivity=4)[0] == cv2.connectedComponents(1 - mask, connectivity=4)[0]
    assert not np.any(lines > mask)


def test_thin_lines_stay_as_they_are() -> None:
    lines = thinned(mask_of("house"))
    assert np.array_equal(thinned(lines), lines)


@pytest.mark.parametrize("flip", [1, -1])
def test_a_diagonal_of_two_pixels_does_not_vanish(flip: int) -> None:
    mask = np.eye(40, dtype=np.uint8) | np.eye(40, k=1, dtype=np.uint8)
    assert thinned(np.ascontiguousarray(mask[::flip])).sum() >= 38


def test_nothing_thins_to_nothing() -> None:
    assert not thinned(np.zeros((9, 9), np.uint8)).any()


def test_a_mask_that_fills_its_canvas_is_thinned_too() -> None:
    assert 0 < thinned(np.ones((40, 40), np.uint8)).sum() < 80
