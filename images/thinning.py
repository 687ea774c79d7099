"""Lines one pixel wide, so that a felt pen and a pencil draw the same."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

# Which power of two stands for which neighbour: clockwise from the one above, as Guo and Hall number them ("Parallel
# thinning with two-subiteration algorithms", CACM 32, 1989, their A1). Zhang and Suen's older rules, which are better
# known, make lines vanish that are two pixels wide and run diagonally.
_NEIGHBOURS: Final = np.array([[128, 1, 2], [64, 0, 4], [32, 16, 8]], np.float32)


def _tables() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Say for each of the 256 neighbourhoods whether the first and the second half-step keep the pixel (1) or not."""
    tables = np.ones((2, 256), np.uint8)
    for code in range(256):
        p = [bool(code >> bit & 1) for bit in range(8)]
        parts = sum(not p[k] and (p[k + 1] or p[(k + 2) % 8]) for k in (0, 2, 4, 6))
        ends = min(sum(p[k - 1] or p[k] for k in (0, 2, 4, 6)), sum(p[k] or p[k + 1] for k in (0, 2, 4, 6)))
        if parts == 1 and 2 <= ends <= 3:
            tables[0, code] = p[6] and (p[4] or p[5] or not p[7])
            tables[1, code] = p[2] and (p[0] or p[1] or not p[3])
    return tables[0], tables[1]


_TABLES: Final = _tables()


def thinned(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Peel the mask (0 and 1) until its lines are one pixel wide. Connected parts stay connected, and holes open."""
    lines = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    left = -1
    while left != (left := cv2.countNonZero(lines)):
        for table in _TABLES:
            codes = cv2.filter2D(lines, cv2.CV_8U, _NEIGHBOURS, borderType=cv2.BORDER_CONSTANT)
            lines = cv2.bitwise_and(lines, cv2.LUT(codes, table))
    return np.asarray(lines[1:-1, 1:-1], np.uint8)
