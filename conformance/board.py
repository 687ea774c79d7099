"""The board of a scripted run: every change that the script makes to it, and what a right client holds by now."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from conformance.report import ReportedEntry
from game.ranking import Entry, order
from game.standings import Row, Standings, difference
from protocol.client_messages import Since
from protocol.server_messages import EntryData, LeaderboardData, LeaderboardDeltaData, RankedEntryData

FIRST_VERSION: Final = 41
#: More than the ten that most follow, so that rows come into sight and leave it.
PLAYERS: Final = 12
_LONG_AGO: Final = datetime(2026, 11, 23, 13, 0, tzinfo=UTC)


def _first_rows() -> tuple[Row, ...]:
    # Number 1 leads with 1200, number 12 has 100. Two have not passed all games; they stand last for all their points.
    entries = [
        Entry(number, number not in (2, 9), 1300 - 100 * number, _LONG_AGO + timedelta(minutes=number))
        for number in range(1, PLAYERS + 1)
    ]
    return tuple(Row(entry, f"Player {entry.number}") for entry in sorted(entries, key=order))


@dataclass(frozen=True, slots=True)
class Change:
    """From one state to the next version of the same epoch."""

    before: Standings
    after: Standings

    def delta(self, board: str, limit: int) -> LeaderboardDeltaData:
        """What a follower of `limit` rows is told."""
        found = difference(self.before.top(limit), self.after.top(limit))
        return LeaderboardDeltaData(
            board=board,
            epoch=self.after.epoch,
            from_=self.before.version,
            version=self.after.version,
            total=self.after.total,
            upserts=[EntryData.of(row) for row in found.upserts],
            removals=list(found.removals),
        )


class ScriptedBoard:
    """One board under whatever name the client asks for."""

    def __init__(self) -> None:
        rows = _first_rows()
        self.now = Standings("all-time", "epoch-1", FIRST_VERSION, len(rows), rows)
        self.changes: list[Change] = []
        #: The (epoch, version) that a client has held one after the other if it does everything right.
        self.held: list[tuple[str, int]] = []
        self._settled = 0

    def change(self, number: int, score: int) -> Change:
        """A player has a better attempt: the next version."""
        before = self.now
        at = _LONG_AGO + timedelta(hours=1, minutes=before.version)
        entry = Row(Entry(number, True, score, at), f"Player {number}")
        rows = [row for row in before.rows if row.entry.number != number] + [entry]
        self.now = replace(
            before,
            version=before.version + 1,
            total=len(rows),
            rows=tuple(sorted(rows, key=lambda row: order(row.entry))),
        )
        self.changes.append(Change(before, self.now))
        return self.changes[-1]

    def begin_epoch(self, version: int) -> None:
        """The board is another one: the last three players, and versions that have nothing to do with those before."""
        rows = self.now.rows[-3:]
        epochs = {change.after.epoch for change in self.changes} | {self.now.epoch}
        self.now = Standings("all-time", f"epoch-{len(epochs) + 1}", version, len(rows), rows)

    def full(self, board: str, limit: int, since: Since | None = None) -> LeaderboardData:
        """What a subscriber is sent; without entries where it holds this state already."""
        self._note((self.now.epoch, self.now.version))
        is_known = since is not None and (since.epoch, since.version) == self.held[-1]
        return self.window(board, 0, None if is_known else limit)

    def window(self, board: str, offset: int, limit: int | None) -> LeaderboardData:
        """`limit` rows from `offset` on; null for None."""
        rows = None if limit is None else self.now.rows[offset : offset + limit]
        return LeaderboardData(
            board=board,
            epoch=self.now.epoch,
            version=self.now.version,
            total=self.now.total,
            entries=None
            if rows is None
            else [RankedEntryData.at(position, row) for position, row in enumerate(rows, offset + 1)],
        )

    def delivered(self, change: Change) -> None:
        """A client was sent this change: one that is right applies it only where it fits."""
        if self.held and self.held[-1] == (change.before.epoch, change.before.version):
            self._note((change.after.epoch, change.after.version))

    def settle(self) -> None:
        """The client has had the time to read everything: it has no excuse for holding an older state from now on."""
        self._settled = max(len(self.held) - 1, 0)

    def may_hold(self, since: Since) -> bool:
        """Whether a right client may still say that it holds this; pushes that are on their way are not held against
        it."""
        return (since.epoch, since.version) in self.held[self._settled :]

    def is_held(self, since: Since | None) -> bool:
        """Whether this is what a right client holds now."""
        return since is not None and self.held[-1:] == [(since.epoch, since.version)]

    def agrees(self, entries: list[ReportedEntry] | None, limit: int) -> bool:
        """Whether a client holds the rows that it should."""
        right = [(row.entry.number, row.entry.total_score) for row in self.now.top(limit)]
        return entries is not None and [(entry.number, entry.total_score) for entry in entries] == right

    def _note(self, state: tuple[str, int]) -> None:
        if self.held[-1:] != [state]:
            self.held.append(state)
