"""What good and bad players answer, for each game."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from game.stages import drawing, sequence, sums
from game.stages.stage import Stage
from game.stages.sums import solution


def perfect(stage: Stage, puzzle: Any) -> Any:
    """Everything right, and as much of it as fits."""
    match puzzle:
        case sequence.Puzzle():
            ends = range(puzzle.first_length, len(puzzle.tiles) + 1)
            return sequence.Answer(tuple(puzzle.tiles[:end] for end in ends))
        case sums.Puzzle():
            return sums.Answer(tuple(right_results(puzzle, 40)))
        case drawing.Puzzle():
            return drawing.Answer(puzzle.strokes)
    raise AssertionError(f"nobody knows how to play {stage.name}")


def nothing(stage: Stage) -> Any:
    """An answer without anything in it."""
    return stage.answer_class(())


def right_results(puzzle: sums.Puzzle, count: int) -> list[int | None]:
    """The results of somebody who makes no mistake: the rule of levels, written down a second time."""
    asked = [0] * len(puzzle.levels)
    found: list[int | None] = []
    for number in range(count):
        level = min(puzzle.first_level + number // puzzle.raise_after, len(puzzle.levels) - 1)
        found.append(solution(puzzle.levels[level][asked[level] % len(puzzle.levels[level])]))
        asked[level] += 1
    return found


def same_or_other(one: Sequence[Sequence[int]], other: Sequence[Sequence[int]]) -> int:
    """Eyes that only see whether two drawings are the same."""
    return 0 if list(map(list, one)) == list(map(list, other)) else 100
