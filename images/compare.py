"""How unlike two drawings are.

Both are measured (images/shape.py), laid on each other (images/pose.py), and then looked at in two ways: how far lines
lie from lines, and which directions lines have in each part of the picture.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from images.ink import Drawing
from images.pose import best_fit, moved
from images.shape import Floats, shape_of

#: What is answered for the same drawing, and at most.
SAME: Final = 0
UNLIKE: Final = 100

#: The unlikeness (0 to 1) that is answered with 50: between two hands and two motifs (images/evaluation says how well).
BOUNDARY: Final = 0.26

# How fast the answer turns from near to far around the boundary.
_STEEPNESS: Final = 3.0

# The parts of a picture: a square of so many cells a side, which reaches so many units from the middle, and directions.
_CELLS: Final = 9
_SPAN: Final = 2.2
_BINS: Final = 6


def distance(original: Drawing, drawn: Drawing) -> int:
    """Give 0 for the same drawing, 100 for nothing in common; below 50 is rather the same motif than another one.

    The order of the two makes no difference. A blank one is as far as can be from all but another blank one.
    """
    if original.blank or drawn.blank:
        return SAME if original.blank and drawn.blank else UNLIKE
    share: float = (unlikeness(original, drawn) / BOUNDARY) ** _STEEPNESS
    return round(UNLIKE * share / (1 + share))


def unlikeness(original: Drawing, drawn: Drawing) -> float:
    """Give 0 for the same lines, at most 1. Neither may be blank."""
    # In one order, so that rounding cannot make a difference between a, b and b, a.
    one, other = sorted((original, drawn), key=lambda drawing: drawing.lines.tobytes())
    first, second = shape_of(one), shape_of(other)
    fit = best_fit(first, second)
    apart = float(fit.there.mean() + fit.back.mean()) / 2
    common = float((_parts(*moved(first, fit.pose)) * _parts(second.points, second.directions)).sum())
    return (apart + 1 - min(common, 1.0)) / 2


def _parts(points: Floats, directions: Floats) -> NDArray[np.float64]:
    """Give the square root of the share of all lines in each cell and direction; what lies between is shared out.

    The sum of the products of two such tables is what both have in common, 0 to 1 (Bhattacharyya's coefficient).
    """
    at = np.clip((points / _SPAN + 1) / 2 * _CELLS - 0.5, 0, _CELLS - 1.001)
    cell = at.astype(np.intp)
    beyond = at - cell
    turn = directions * (_BINS / np.pi)
    direction = turn.astype(np.intp)
    parts = np.zeros(_BINS * _CELLS * _CELLS)
    for dx, dy, turned in np.ndindex(2, 2, 2):
        share = np.abs(1 - dx - beyond[:, 0]) * np.abs(1 - dy - beyond[:, 1]) * np.abs(1 - turned - (turn - direction))
        index = (((direction + turned) % _BINS) * _CELLS + cell[:, 1] + dy) * _CELLS + cell[:, 0] + dx
        parts += np.bincount(index, share, len(parts))
    return np.sqrt(parts / len(points))
