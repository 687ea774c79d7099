"""Sequence: tiles of a 3 x 3 board light up one after the other; tap them again in this order.

Each round shows one tile more of the same sequence, until the first mistake. Harder: longer from the first round on,
and faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from game.stages.dice import Dice
from game.stages.stage import MAX_POINTS, Compare, Points

TILES: Final = 9
ROUNDS: Final = 10
_SECONDS: Final = 120
#: Somebody who knows the order by heart hits ten tiles a second.
_LEAST_TAP: Final = timedelta(seconds=0.1)
#: Of the points, what is for speed. It is earned by a tap each 0.4 s, and lost by one each 1.2 s.
_FOR_SPEED: Final = 100
_QUICK_TAP: Final = timedelta(seconds=0.4)
_SLOW_TAP: Final = timedelta(seconds=1.2)
#: Before each round and after it, to see that one begins.
_PAUSE: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Puzzle:
    """`tiles` counts 0 to 8 by rows. Round 1 shows the first `firstLength` of them, each later one a tile more; a tile
    follows the other after `stepMs`."""

    tiles: tuple[int, ...]
    first_length: int
    step_ms: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The tiles tapped, by round; the last round may be unfinished or wrong."""

    rounds: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        if len(self.rounds) > ROUNDS or any(len(taps) > 2 * ROUNDS for taps in self.rounds):
            raise ValueError(f"at most {ROUNDS} rounds of {2 * ROUNDS} taps")
        if any(not 0 <= tile < TILES for taps in self.rounds for tile in taps):
            raise ValueError(f"tiles from 0 to {TILES - 1}")


class Sequence:
    """The stage."""

    name = "sequence"
    puzzle_class = Puzzle
    answer_class = Answer
    compares_drawings = False

    def time_limit(self, difficulty: int) -> timedelta:
        """The same for all difficulties: a longer sequence is also a faster one."""
        return timedelta(seconds=_SECONDS)

    def deal(self, dice: Dice, difficulty: int) -> Puzzle:
        """No tile lights up twice in a row, which would look like once."""
        first_length = 3 + difficulty // 4
        tiles = [dice.below(TILES)]
        while len(tiles) < first_length + ROUNDS - 1:
            tiles.append((tiles[-1] + dice.between(1, TILES - 1)) % TILES)
        return Puzzle(tuple(tiles), first_length, 700 - 45 * difficulty)

    def least_time(self, puzzle: Puzzle, answer: Answer) -> timedelta:
        """Each round that was tapped has been shown before."""
        taps = sum(map(len, answer.rounds))
        return _shown(puzzle, len(answer.rounds)) + taps * _LEAST_TAP

    def judge(self, puzzle: Puzzle, answer: Answer, elapsed: timedelta, compare: Compare) -> Points:
        """Points for the longest run that was right, a little for speed; passed with the first round."""
        rounds, longest = 0, 0
        for number, taps in enumerate(answer.rounds):
            wanted = puzzle.tiles[: puzzle.first_length + number]
            right = next((at for at, pair in enumerate(zip(wanted, taps, strict=False)) if pair[0] != pair[1]), None)
            longest = max(longest, min(len(taps), len(wanted)) if right is None else right)
            if taps != wanted:
                break
            rounds += 1
        share = longest / len(puzzle.tiles)
        points = round((MAX_POINTS - _FOR_SPEED) * share)
        if rounds:
            tapped = sum(puzzle.first_length + number for number in range(rounds))
            pace = (elapsed - _shown(puzzle, rounds) - 2 * rounds * _PAUSE) / tapped
            quickness = (_SLOW_TAP - pace) / (_SLOW_TAP - _QUICK_TAP)
            points += round(_FOR_SPEED * share * max(0.0, min(1.0, quickness)))
        return Points(points, passed=rounds > 0)


def _shown(puzzle: Puzzle, rounds: int) -> timedelta:
    tiles = sum(puzzle.first_length + number for number in range(min(rounds, ROUNDS)))
    return timedelta(milliseconds=tiles * puzzle.step_ms)
