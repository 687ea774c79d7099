"""What counts as drawn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from images.ink import CANVAS, MARGIN, drawing_of
from tests.images.pictures import sheet

WHITE = (255, 255, 255, 255)


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(lambda size: arrays(np.uint8, (*size, 4))))
def test_any_pixels_give_lines_on_the_canvas(pixels: np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]) -> None:
    lines = drawing_of(pixels).lines
    assert lines.shape == (CANVAS, CANVAS)
    assert lines.max() <= 1


def test_lines_reach_the_margin_of_the_canvas() -> None:
    y, x = np.nonzero(drawing_of(sheet("star", scale=0.3, at=(0.3, 0.6))).lines)
    extent = max(np.ptp(x), np.ptp(y)) + 1
    assert CANVAS - 2 * MARGIN - 20 <= extent <= CANVAS - 2 * MARGIN


def test_noise_on_an_empty_sheet_is_blank() -> None:
    random = np.random.default_rng(3)
    noisy = np.full((200, 200, 4), 255, np.uint8)
    noisy[:, :, :3] = np.clip(random.normal(200, 6, (200, 200, 3)), 0, 255)
    assert drawing_of(noisy).blank


def test_an_empty_sheet_in_uneven_light_is_blank() -> None:
    shaded = np.full((200, 200, 4), 255, np.uint8)
    shaded[:, :, :3] = np.linspace(120, 240, 200)[None, :, None]
    assert drawing_of(shaded).blank


def test_paper_that_is_wholly_transparent_is_blank_whatever_its_colours() -> None:
    hidden = sheet("house")
    hidden[:, :, 3] = 0
    assert drawing_of(hidden).blank


def test_a_hole_rubbed_into_the_paper_is_paper() -> None:
    rubbed = np.full((100, 100, 4), 255, np.uint8)
    rubbed[40:60, 40:60] = 0
    assert drawing_of(rubbed).blank


def test_dirt_is_not_drawn() -> None:
    clean, dirty = sheet("house"), sheet("house")
    dirty[5:7, 5:7, :3] = 0
    assert np.array_equal(drawing_of(clean).lines, drawing_of(dirty).lines)


@pytest.mark.parametrize("width", [2, 4, 8, 12])
def test_a_pen_leaves_a_single_line(width: int) -> None:
    line = (np.array([[-1.0, -1.0], [1.0, 1.0]]),)
    lines = drawing_of(sheet(line, width=width)).lines
    assert lines.sum(axis=0).max() <= 3
    assert lines.sum() >= 90


def test_a_filled_shape_leaves_its_outline() -> None:
    square = np.full((100, 100, 4), 255, np.uint8)
    square[20:80, 20:80, :3] = 0
    lines = drawing_of(square).lines
    assert lines[40:88, 40:88].sum() == 0
    assert lines.sum() > 350


def test_a_dot_is_drawn() -> None:
    dot = np.full((100, 100, 4), 255, np.uint8)
    dot[50:54, 50:54, :3] = 0
    assert not drawing_of(dot).blank
