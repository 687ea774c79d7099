"""Sums: sixty seconds of mental arithmetic.

Three right answers lead up to the next level, a wrong one or a skipped sum leads down by one. Harder: the first level
is higher. The solutions stay here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final

from game.stages.dice import Dice
from game.stages.stage import Compare, Points

LEVELS: Final = 10
#: More than anybody gets through on one level; then they begin again.
PER_LEVEL: Final = 24
RAISE_AFTER: Final = 3
MAX_RESULTS: Final = 200
#: No result comes near it. What is answered is kept.
RESULT_BOUND: Final = 10**9
_SECONDS: Final = 60
#: To read a sum and to type its result.
_LEAST_RIGHT: Final = timedelta(seconds=0.5)
#: What a wrong answer costs: nothing but time.
PENALTY: Final = timedelta(seconds=2)
_TO_PASS: Final = 3


@dataclass(frozen=True, slots=True)
class Puzzle:
    """Sums as text, by level; × and ÷ come before + and −. `firstLevel` counts from 0 and is asked first; on each level
    the sums are asked in turn. With each `raiseAfter` right answers in a row the level goes up by one; after a wrong
    one, or a skipped sum, it goes down by one, never below the first, and the next is asked `penaltyMs` later."""

    levels: tuple[tuple[str, ...], ...]
    first_level: int
    raise_after: int
    penalty_ms: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The results in the order in which the sums were asked; null for a sum that was skipped."""

    results: tuple[int | None, ...]

    def __post_init__(self) -> None:
        if len(self.results) > MAX_RESULTS:
            raise ValueError(f"at most {MAX_RESULTS} results")
        if any(result is not None and abs(result) >= RESULT_BOUND for result in self.results):
            raise ValueError(f"results of up to {len(str(RESULT_BOUND - 1))} digits")


class Sums:
    """The stage."""

    name = "sums"
    puzzle_class = Puzzle
    answer_class = Answer
    compares_drawings = False

    def time_limit(self, difficulty: int) -> timedelta:
        """A minute."""
        return timedelta(seconds=_SECONDS)

    def deal(self, dice: Dice, difficulty: int) -> Puzzle:
        """Ten levels; the first one asked goes up with every second difficulty."""
        levels = tuple(tuple(_different(partial(make, dice))) for make in _LEVELS)
        return Puzzle(levels, difficulty // 2, RAISE_AFTER, int(PENALTY.total_seconds() * 1000))

    def least_time(self, puzzle: Puzzle, answer: Answer) -> timedelta:
        """Right ones have to be thought of, wrong ones waited for."""
        return sum((_LEAST_RIGHT if right else PENALTY for _, right in _played(puzzle, answer)), timedelta())

    def judge(self, puzzle: Puzzle, answer: Answer, elapsed: timedelta, compare: Compare) -> Points:
        """Each right answer counts, more on a higher level; passed with three."""
        right = [level for level, is_right in _played(puzzle, answer) if is_right]
        return Points(sum(20 + 5 * level for level in right), passed=len(right) >= _TO_PASS)


def solution(text: str) -> int:
    """What the sum comes to: numbers and + − × ÷ between blanks, × and ÷ first."""
    first, *rest = text.split(" ")
    terms = [int(first)]
    for sign, number in zip(rest[::2], map(int, rest[1::2]), strict=True):
        match sign:
            case "+":
                terms.append(number)
            case "−":
                terms.append(-number)
            case "×":
                terms[-1] *= number
            case "÷":
                terms[-1] //= number
    return sum(terms)


def _played(puzzle: Puzzle, answer: Answer) -> Iterator[tuple[int, bool]]:
    """The level of each sum that was answered, and whether its result is right."""
    asked = [0] * len(puzzle.levels)
    level, streak = puzzle.first_level, 0
    for result in answer.results:
        sums = puzzle.levels[level]
        right = result == solution(sums[asked[level] % len(sums)])
        asked[level] += 1
        yield level, right
        streak = streak + 1 if right else 0
        if not right:
            level = max(puzzle.first_level, level - 1)
        elif streak % puzzle.raise_after == 0:
            level = min(len(puzzle.levels) - 1, level + 1)


def _different(make: Callable[[], str]) -> Iterator[str]:
    """None twice in a row."""
    before = ""
    for _ in range(PER_LEVEL):
        while (text := make()) == before:
            pass
        before = text
        yield text


def _add(most: int) -> Callable[[Dice], str]:
    def make(dice: Dice) -> str:
        total = dice.between(most // 2, most)
        one = dice.between(1, total - 1)
        return f"{one} + {total - one}"

    return make


def _subtract(least: int, most: int) -> Callable[[Dice], str]:
    def make(dice: Dice) -> str:
        whole = dice.between(least, most)
        return f"{whole} − {dice.between(2, whole - 2)}"

    return make


def _multiply(most: int, by: int) -> Callable[[Dice], str]:
    return lambda dice: f"{dice.between(3, most)} × {dice.between(3, by)}"


def _divide(dice: Dice) -> str:
    by = dice.between(3, 9)
    return f"{by * dice.between(3, 12)} ÷ {by}"


def _either(*makers: Callable[[Dice], str]) -> Callable[[Dice], str]:
    return lambda dice: dice.pick(makers)(dice)


def _multiply_and_add(dice: Dice) -> str:
    sign = dice.pick("+−")
    one, other = dice.between(4, 9), dice.between(4, 9)
    return f"{one} × {other} {sign} {dice.between(6, one * other - 1)}"


def _three(dice: Dice) -> str:
    one, two = dice.between(15, 70), dice.between(15, 70)
    return f"{one} + {two} − {dice.between(11, one + two - 1)}"


_LEVELS: Final[tuple[Callable[[Dice], str], ...]] = (
    _add(12),
    _either(_add(20), _subtract(8, 15)),
    _either(_add(50), _subtract(20, 50)),
    _either(_multiply(9, 6), _subtract(30, 80)),
    _either(_multiply(9, 9), _divide),
    _either(_add(150), _subtract(60, 150)),
    _multiply_and_add,
    _either(_three, _multiply(19, 6)),
    _either(_multiply(49, 9), _add(600)),
    _either(_multiply(99, 9), _subtract(300, 999)),
)
