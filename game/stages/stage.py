"""What a stage is: it deals a puzzle from a seed, and judges an answer to it. No I/O, no clock.

docs/stages.md shows how to add one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Protocol

from game.session import Verdict
from game.stages.dice import Dice

#: Points of a stage at difficulty 0.
MAX_POINTS: Final = 1000
#: What a network may add to the time limit. Nobody is told: the limit is what a page counts down.
GRACE: Final = timedelta(seconds=3)
#: What a human needs at least is an estimate, and clocks of two servers differ a little: only below this share of it
#: an answer is refused.
_SURELY: Final = 0.9

#: The points of one movement of the pen in turn, x and y from 0 to 1000: x0, y0, x1, y1, …
Stroke = Sequence[int]
#: How unlike two drawings are: 0 for the same, at most 100.
Compare = Callable[[Sequence[Stroke], Sequence[Stroke]], int]


@dataclass(frozen=True, slots=True)
class Points:
    """What an answer is worth: 0 to MAX_POINTS, and whether the stage is passed with it."""

    points: int
    passed: bool


class Stage(Protocol):
    """One mini-game."""

    name: str
    #: Frozen dataclasses of plain JSON values: what the player is shown, and what comes back. What can be no answer
    #: raises ValueError when one is made of it.
    puzzle_class: type[Any]
    answer_class: type[Any]
    #: `judge` calls `compare`, which takes some 50 ms.
    compares_drawings: bool

    def time_limit(self, difficulty: int) -> timedelta:
        """How long a player has, from the deal on."""

    def deal(self, dice: Dice, difficulty: int) -> Any:
        """The puzzle, a `puzzle_class`; nothing in it that the player need not see. The same dice give the same."""

    def least_time(self, puzzle: Any, answer: Any) -> timedelta:
        """What a human needs at least to see the puzzle and to give this answer."""

    def judge(self, puzzle: Any, answer: Any, elapsed: timedelta, compare: Compare) -> Points:
        """What the answer is worth when it comes so long after the deal."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The score of a stage, difficulty included, and why."""

    score: int
    verdict: Verdict


class TooFast(Exception):
    """No human has given this answer in this time. It does not count as one."""


def dealt(stage: Stage, seed: int, number: int, difficulty: int) -> Any:
    """The puzzle of a session's stage `number`, counted from 0."""
    return stage.deal(Dice(seed, number, stage.name), difficulty)


def judged(
    stage: Stage, seed: int, number: int, difficulty: int, answer: Any, elapsed: timedelta, compare: Compare
) -> Judgement:
    """The same for the same arguments, at any time later. Raises TooFast."""
    if elapsed > stage.time_limit(difficulty) + GRACE:
        return Judgement(0, Verdict.LATE)
    puzzle = dealt(stage, seed, number, difficulty)
    if elapsed < stage.least_time(puzzle, answer) * _SURELY:
        raise TooFast
    worth = stage.judge(puzzle, answer, elapsed, compare)
    points = max(0, min(worth.points, MAX_POINTS))
    return Judgement(points * (10 + difficulty) // 10, Verdict.PASSED if worth.passed else Verdict.FAILED)
