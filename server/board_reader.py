"""Reading boards: from Redis, with names, building a ladder first where Redis does not have it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from game.ranking import Board, Removal
from game.standings import Row, Standings
from protocol.server_messages import LeaderboardData, RankedEntryData
from server.clock import Clock
from server.names import Names
from server.projection import Projection
from storage.boards import Boards, LadderMissing, Places, Window
from storage.postgres import StoreUnavailable

#: Tries to read a ladder that Redis loses in between, or on which the caller's entry moves in between.
_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class Place:
    """A stretch of a board: `offset` rows from the top."""

    offset: int
    limit: int


class BoardReader:
    """Reads what the boards show now. Raises StoreUnavailable when a store that it needs does not answer."""

    def __init__(self, boards: Boards, projection: Projection, names: Names, clock: Clock) -> None:
        self._boards = boards
        self._projection = projection
        self._names = names
        self._clock = clock

    async def standings(self, board: Board, rows: int) -> Standings:
        """The first rows of the ladder that the board shows now."""
        ladder, window = await self._window(board, Place(0, rows))
        return await self._named(ladder, window)

    async def leaderboard(self, board: Board, place: Place) -> LeaderboardData:
        """A stretch of the board, with what this node has committed before."""
        await self._projection.flush()
        ladder, window = await self._window(board, place)
        return leaderboard_data(board, await self._named(ladder, window), place)

    async def around(self, board: Board, number: int, limit: int) -> LeaderboardData:
        """The stretch with a player's entry in its middle, or the top when it has none."""
        await self._projection.flush()
        for _ in range(_TRIES):
            position = (await self.places(board, [number])).positions.get(number)
            place = Place(max(0, (position or 0) - limit // 2), limit)
            ladder, window = await self._window(board, place)
            if position is None or any(entry.number == number for entry in window.entries):
                return leaderboard_data(board, await self._named(ladder, window), place)
        raise StoreUnavailable("the entry moved each time")

    async def take_off(self, number: int, ladders: Collection[str]) -> None:
        """Take a player, whose entries PostgreSQL has marked as removed, off the boards now rather than at the next
        sweep."""
        self._projection.put({ladder: [Removal(number)] for ladder in ladders})
        self._names.forget(number)
        await self._projection.flush()

    async def put_back(self, ladders: Collection[str]) -> None:
        """Show a player, whose entries on these ladders PostgreSQL has marked as shown again, now rather than at the
        next sweep."""
        await self._projection.put_back(ladders)

    async def rebuild(self, ladder: str) -> None:
        """Make a ladder anew from PostgreSQL, under a new epoch."""
        await self._projection.rebuild(ladder)

    async def _window(self, board: Board, place: Place) -> tuple[str, Window]:
        for _ in range(_TRIES):
            ladder = board.ladder(self._clock())
            try:
                return ladder, await self._boards.read(ladder, place.offset, place.limit)
            except LadderMissing:
                await self._projection.rebuild(ladder)
        raise StoreUnavailable("Redis loses what it is given")

    async def places(self, board: Board, numbers: Sequence[int]) -> Places:
        """Where these players stand now."""
        for _ in range(_TRIES):
            ladder = board.ladder(self._clock())
            try:
                return await self._boards.places(ladder, numbers)
            except LadderMissing:
                await self._projection.rebuild(ladder)
        raise StoreUnavailable("Redis loses what it is given")

    async def _named(self, ladder: str, window: Window) -> Standings:
        names = await self._names.of([entry.number for entry in window.entries])
        rows = tuple(Row(entry, names[entry.number]) for entry in window.entries)
        return Standings(ladder, window.epoch, window.version, window.total, rows)


def leaderboard_data(board: Board, standings: Standings, place: Place | None) -> LeaderboardData:
    """The wire form. `standings` begin at the place's offset; without a place the receiver holds the rows already."""
    entries = None
    if place is not None:
        rows = standings.top(place.limit)
        entries = [RankedEntryData.at(place.offset + index, row) for index, row in enumerate(rows, start=1)]
    return LeaderboardData(
        board=board.name,
        epoch=standings.epoch,
        version=standings.version,
        total=standings.total,
        entries=entries,
    )
