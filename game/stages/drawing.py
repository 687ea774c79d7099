"""Draw it again: a picture made of clear strokes is shown for a moment; draw it from memory.

Place, size and pen do not matter to the comparison (docs/decisions/0006-image-comparison.md). Harder: shown for less
time, and pictures of more strokes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import Final

from game.stages.dice import Dice
from game.stages.pictures import PICTURES, Line, Point
from game.stages.stage import MAX_POINTS, Compare, Points

SIDE: Final = 1000
MAX_STROKES: Final = 200
MAX_NUMBERS: Final = 20_000
_SECONDS: Final = 60
#: The quickest sketch of anything.
_LEAST_DRAWING: Final = timedelta(seconds=1.5)
#: Distances of the comparison: full points up to here, none from there on. The same motif by another hand is mostly
#: below 30, another motif above 60; the boundary between them is 50.
_LIKE: Final = 8
_UNLIKE: Final = 68
_TO_PASS: Final = 58
#: So many pictures are dealt at each difficulty: the plainest at 0, those of the most strokes at 9.
_CHOICE: Final = 16
_HARDEST: Final = 9
#: Points that lie nearer than this to the line between their neighbours are left out, in units of 1000 a side.
_TOLERANCE: Final = 1.5

#: From the plainest picture to the one with the most strokes.
_BY_STROKES: Final = tuple(sorted(PICTURES, key=lambda name: (len(PICTURES[name]), name)))


@dataclass(frozen=True, slots=True)
class Puzzle:
    """The picture's strokes, each x0, y0, x1, y1, … from 0 to 1000 with y downwards, to be joined by straight lines;
    and how long they are shown."""

    strokes: tuple[tuple[int, ...], ...]
    show_ms: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The strokes drawn, as in the puzzle. A stroke of one point is a dot."""

    strokes: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        if len(self.strokes) > MAX_STROKES or sum(map(len, self.strokes)) > MAX_NUMBERS:
            raise ValueError(f"at most {MAX_STROKES} strokes of {MAX_NUMBERS} numbers together")
        if any(len(stroke) % 2 or not stroke for stroke in self.strokes):
            raise ValueError("a stroke is x0, y0, x1, y1, …")
        if any(not 0 <= number <= SIDE for number in chain(*self.strokes)):
            raise ValueError(f"from 0 to {SIDE}")


class Drawing:
    """The stage."""

    name = "drawing"
    puzzle_class = Puzzle
    answer_class = Answer
    compares_drawings = True

    def time_limit(self, difficulty: int) -> timedelta:
        """A minute, in which the picture is shown, too."""
        return timedelta(seconds=_SECONDS)

    def deal(self, dice: Dice, difficulty: int) -> Puzzle:
        """The picture's name is not sent: it would help to remember."""
        first = (len(_BY_STROKES) - _CHOICE) * difficulty // _HARDEST
        picture = PICTURES[dice.pick(_BY_STROKES[first : first + _CHOICE])]
        return Puzzle(tuple(map(_on_paper, picture)), 5000 - 400 * difficulty)

    def least_time(self, puzzle: Puzzle, answer: Answer) -> timedelta:
        """The picture is shown first."""
        return timedelta(milliseconds=puzzle.show_ms) + _LEAST_DRAWING

    def judge(self, puzzle: Puzzle, answer: Answer, elapsed: timedelta, compare: Compare) -> Points:
        """The less unlike, the more points."""
        if not answer.strokes:
            return Points(0, passed=False)
        distance = compare(puzzle.strokes, answer.strokes)
        share = (_UNLIKE - distance) / (_UNLIKE - _LIKE)
        return Points(round(MAX_POINTS * max(0.0, min(1.0, share))), passed=distance <= _TO_PASS)


def _on_paper(line: Line) -> tuple[int, ...]:
    """The line on a square of SIDE with a rim, without points that make no difference."""
    scale = SIDE / 2 / 110
    points = _simplified([(SIDE / 2 + x * scale, SIDE / 2 + y * scale) for x, y in line])
    return tuple(round(number) for point in points for number in point)


def _simplified(points: list[Point]) -> list[Point]:
    """Ramer, Douglas and Peucker: keep the point that is farthest from the straight line, if it is far, and go on."""
    if len(points) < 3:
        return points
    (x0, y0), (x1, y1) = points[0], points[-1]
    length = math.hypot(x1 - x0, y1 - y0)

    def off(point: Point) -> float:
        x, y = point[0] - x0, point[1] - y0
        return abs(x * (y1 - y0) - y * (x1 - x0)) / length if length else math.hypot(x, y)

    far, at = max((off(point), at) for at, point in enumerate(points[1:-1], start=1))
    if far <= _TOLERANCE:
        return [points[0], points[-1]]
    return _simplified(points[: at + 1])[:-1] + _simplified(points[at:])
