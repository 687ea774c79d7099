"""What subscribers of a board hold, and the difference between two such states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from game.ranking import Entry


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a board as everybody may see it: an entry with the player's name."""

    entry: Entry
    username: str


@dataclass(frozen=True, slots=True)
class Standings:
    """The first rows of a ladder at one version of one epoch, best first; `total` counts all of its entries."""

    ladder: str
    epoch: str
    version: int
    total: int
    rows: tuple[Row, ...]

    def top(self, limit: int) -> tuple[Row, ...]:
        """The first `limit` rows."""
        return self.rows[:limit]


@dataclass(frozen=True, slots=True)
class Difference:
    """How to get from one top of a ladder to another: drop `removals`, then put in `upserts`."""

    upserts: tuple[Row, ...]
    removals: tuple[int, ...]


def difference(before: Sequence[Row], after: Sequence[Row]) -> Difference:
    """What changed between two tops of the same limit.

    Positions are not part of it: a receiver sorts what it holds. A row that left the top is a removal even when its
    entry still exists further down, because a receiver that kept it could not know when it is overtaken.
    """
    held = {row.entry.number: row for row in before}
    kept = {row.entry.number for row in after}
    return Difference(
        upserts=tuple(row for row in after if held.get(row.entry.number) != row),
        removals=tuple(number for number in held if number not in kept),
    )
