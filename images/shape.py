"""What is measured of a drawing's lines: points with directions, free of place and size, and fields of distances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from images.ink import Drawing, Mask

Floats = NDArray[np.float32]

#: Points that stand for a drawing. More make it slower and no better.
POINTS: Final = 100

#: Directions that lines are sorted into, over half a turn.
DIRECTIONS: Final = 6

#: Side of the grid that distances are looked up in, and the pixels in it that one unit has: a point's root mean square
#: distance from the middle of its drawing.
GRID: Final = 112
UNIT: Final = 24.0

#: Units from which on a distance counts as one: there is nothing near. Far is far, or one missing line would outweigh
#: all that is alike.
REACH: Final = 0.5


@dataclass(frozen=True, slots=True)
class Shape:
    """Points (n, 2) in units, x before y, the middle at 0; directions (n,) in radians from 0 to pi; `fields` of shape
    (DIRECTIONS, GRID, GRID), 0 to 1: how far it is from there to a line of that direction."""

    points: Floats
    directions: Floats
    fields: Floats


def shape_of(drawing: Drawing) -> Shape:
    """Measure a drawing that is not blank."""
    lines = drawing.lines
    y, x = np.nonzero(lines)
    at = np.stack([x, y], axis=1).astype(np.float32)
    directions = _directions(lines, y, x)
    at -= at.mean(axis=0)
    # A single dot has no size of its own; it is then as large as it is on the canvas.
    size = float(np.sqrt((at**2).sum(axis=1).mean())) or 1.0
    at /= size
    few = np.linspace(0, len(at) - 1, min(POINTS, len(at))).round().astype(np.intp)
    return Shape(at[few], directions[few], _fields(at, directions))


def _directions(lines: Mask, y: NDArray[np.intp], x: NDArray[np.intp]) -> Floats:
    """Give the direction that a line runs in at each of the pixels (structure tensor of the blurred lines)."""
    soft = cv2.GaussianBlur(lines.astype(np.float32), (0, 0), 1.5)
    dx, dy = cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)
    even = cv2.GaussianBlur(dx * dx - dy * dy, (0, 0), 2.0)[y, x]
    odd = cv2.GaussianBlur(2 * dx * dy, (0, 0), 2.0)[y, x]
    across = np.arctan2(odd, even) / 2  # towards where it is darker or brighter; the line itself is square to it
    return np.asarray((across + np.pi / 2) % np.pi, np.float32)


def _fields(at: Floats, directions: Floats) -> Floats:
    x, y = cells(at).T
    bins = directions * (DIRECTIONS / np.pi)
    nearest = np.rint(bins).astype(np.intp) % DIRECTIONS
    second = (nearest + np.where(bins - np.rint(bins) < 0, -1, 1)) % DIRECTIONS
    fields = np.empty((DIRECTIONS, GRID, GRID), np.float32)
    everywhere = _field(x, y)
    for direction in range(DIRECTIONS):
        mine = (nearest == direction) | (second == direction)
        # Half for being near any line, half for its running the same way.
        fields[direction] = (everywhere + _field(x[mine], y[mine])) / 2
    return fields


def cells(at: Floats) -> NDArray[np.intp]:
    """Give where in the grid points (…, 2) in units lie; what is beyond its rim lies on it."""
    return np.asarray(np.clip(at * np.float32(UNIT) + np.float32(GRID / 2), 0, GRID - 1), np.intp)


def _field(x: NDArray[np.intp], y: NDArray[np.intp]) -> Floats:
    if not len(x):
        return np.ones((GRID, GRID), np.float32)
    empty = np.ones((GRID, GRID), np.uint8)
    empty[y, x] = 0
    away = cv2.distanceTransform(empty, cv2.DIST_L2, 5)
    return np.asarray(np.minimum(away / (REACH * UNIT), 1), np.float32)
