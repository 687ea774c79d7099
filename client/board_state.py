"""What a follower of a board holds, and how the server's messages change it (docs/protocol.md, "Leaderboard"). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """One row. `number` is the player's registration number; `achieved_at` is RFC 3339 in UTC with milliseconds, which
    sorts as text."""

    number: int
    username: str
    total_score: int
    passed_all_games: bool
    achieved_at: str

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Entry:
        """From the wire; fields that are not known are ignored."""
        return cls(data["number"], data["username"], data["totalScore"], data["passedAllGames"], data["achievedAt"])

    @property
    def order(self) -> tuple[bool, int, str, int]:
        """The sort key of a board."""
        return (not self.passed_all_games, -self.total_score, self.achieved_at, self.number)


@dataclass(frozen=True, slots=True)
class BoardState:
    """The first rows of a board at one version: `entries[0]` is the first. `total` counts all entries of the board."""

    board: str
    epoch: str
    version: int
    total: int
    entries: tuple[Entry, ...]


def from_leaderboard(data: Mapping[str, Any], held: BoardState | None) -> BoardState | None:
    """The state that a `leaderboard` message gives. One without entries confirms what is held; None when there is
    nothing that it could confirm."""
    if data["entries"] is None:
        confirmed = held is not None and (held.epoch, held.version) == (data["epoch"], data["version"])
        return held if confirmed else None
    entries = tuple(Entry.of(entry) for entry in data["entries"])
    return BoardState(data["board"], data["epoch"], data["version"], data["total"], entries)


def apply_delta(state: BoardState, delta: Mapping[str, Any], limit: int) -> BoardState | None:
    """The state after a `leaderboard.delta`, for a follower of the first `limit` rows; None when it builds on another
    state, so that the follower has to subscribe again."""
    if (delta["board"], delta["epoch"], delta["from"]) != (state.board, state.epoch, state.version):
        return None
    held = {entry.number: entry for entry in state.entries}
    for number in delta["removals"]:
        held.pop(number, None)
    for upsert in delta["upserts"]:
        held[upsert["number"]] = Entry.of(upsert)
    entries = tuple(sorted(held.values(), key=lambda entry: entry.order)[:limit])
    return BoardState(state.board, state.epoch, delta["version"], delta["total"], entries)
