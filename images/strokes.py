"""Drawings that come as strokes: movements of a pen, put on paper and then looked at as any picture is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from images.compare import distance
from images.ink import Drawing, drawing_of

#: Units on each side of the square that strokes are given in.
SIDE: Final = 1000
#: Pixels of the paper, of its rim, and of the pen; those of a picture that is sent, roughly.
_PAPER: Final = 512
_RIM: Final = 16
_PEN: Final = 5
#: OpenCV takes points in fractions of a pixel, as integers with so many bits behind the point.
_FRACTION_BITS: Final = 4

#: x0, y0, x1, y1, … from 0 to SIDE, y downwards.
Stroke = Sequence[int]


def drawing_of_strokes(strokes: Sequence[Stroke]) -> Drawing:
    """The drawing that a pen leaves. A stroke of one point is a dot."""
    paper = np.full((_PAPER, _PAPER, 4), 255, np.uint8)
    scale = (_PAPER - 2 * _RIM) / SIDE
    for stroke in strokes:
        points = np.array(stroke, np.float64).reshape(-1, 2) * scale + _RIM
        if len(points) == 1:
            points = np.repeat(points, 2, axis=0)
        fixed = np.round(points * 2**_FRACTION_BITS).astype(np.int32)
        cv2.polylines(paper, [fixed], False, (0, 0, 0, 255), _PEN, cv2.LINE_AA, _FRACTION_BITS)
    return drawing_of(paper)


def stroke_distance(original: Sequence[Stroke], drawn: Sequence[Stroke]) -> int:
    """How unlike two drawings are: 0 for the same, at most 100."""
    return distance(drawing_of_strokes(original), drawing_of_strokes(drawn))
