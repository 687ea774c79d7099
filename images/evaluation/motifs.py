"""The pictures of the drawing stage (game/stages/pictures.py) as arrays, in a square from -1 to 1.

The boundary was set on `TUNING`. `HELD_OUT` measures the comparison; how far it is fresh says
docs/decisions/0006-image-comparison.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from game.stages.pictures import PICTURES

#: One movement of the pen: points of shape (n, 2), close enough to be joined by straight lines.
Stroke = NDArray[np.float64]
Motif = tuple[Stroke, ...]

_MOTIFS: Final = {name: tuple(np.array(line) / 100 for line in picture) for name, picture in PICTURES.items()}

TUNING: Final[Mapping[str, Motif]] = dict(list(_MOTIFS.items())[:20])
HELD_OUT: Final[Mapping[str, Motif]] = dict(list(_MOTIFS.items())[20:])
