"""Reading boards: from Redis, with names, building a ladder first where Redis does not have it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
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


@dataclass(frozen=True, slots=True)
class _Known:
    """The first `rows` of a board, or all that there are, as they were read last."""

    standings: Standings
    rows: int

    def reach(self, end: int) -> bool:
        """Whether this tells what is on every place before `end`."""
        return end <= self.rows or len(self.standings.rows) < self.rows


class BoardReader:
    """Reads what the boards show now. Raises StoreUnavailable when a store that it needs does not answer."""

    def __init__(self, boards: Boards, projection: Projection, names: Names, clock: Clock) -> None:
        self._boards = boards
        self._projection = projection
        self._names = names
        self._clock = clock
        #: For the time when a store does not answer; one for each board at most, and there are some thirty.
        self._known: dict[Board, _Known] = {}

    @property
    def behind(self) -> bool:
        """Whether what is read may lack what is committed, because a store did not answer."""
        return self._projection.behind

    async def standings(self, board: Board, rows: int) -> Standings:
        """The first rows of the ladder that the board shows now."""
        ladder, window = await self._window(board, Place(0, rows))
        return self._keep(board, await self._named(ladder, window), rows)

    def known(self, board: Board, rows: int) -> Standings | None:
        """The first rows as they were when they were read last; None when that is not known."""
        known = self._known.get(board)
        return known.standings if known is not None and known.reach(rows) else None

    async def leaderboard(self, board: Board, place: Place) -> LeaderboardData:
        """A stretch of the board, with what this node has committed before. Near the top it is an earlier one, said to
        be stale, while a store does not answer."""
        try:
            await self._projection.flush()
            ladder, window = await self._window(board, place)
            standings = await self._named(ladder, window)
        except StoreUnavailable:
            end = place.offset + place.limit
            known = self.known(board, end)
            if known is None:
                raise
            return leaderboard_data(board, replace(known, rows=known.rows[place.offset : end]), place, stale=True)
        if place.offset == 0:
            self._keep(board, standings, place.limit)
        return leaderboard_data(board, standings, place, stale=self.behind)

    async def around(self, board: Board, number: int, limit: int) -> LeaderboardData:
        """The stretch with a player's entry in its middle, or the top when it has none."""
        await self._projection.flush()
        for _ in range(_TRIES):
            position = (await self.places(board, [number])).positions.get(number)
            place = Place(max(0, (position or 0) - limit // 2), limit)
            ladder, window = await self._window(board, place)
            if position is None or any(entry.number == number for entry in window.entries):
                return leaderboard_data(board, await self._named(ladder, window), place, stale=self.behind)
        raise StoreUnavailable("the entry moved each time")

    async def take_off(self, number: int, ladders: Collection[str]) -> None:
        """Take a player, whose entries PostgreSQL has marked as removed, off the boards now rather than at the next
        sweep."""
        self._projection.put({ladder: [Removal(number)] for ladder in ladders})
        self._names.forget(number)
        self._known.clear()
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

    def _keep(self, board: Board, standings: Standings, rows: int) -> Standings:
        known = self._known.get(board)
        held = None if known is None else (known.standings.epoch, known.standings.version)
        if known is None or known.rows <= rows or held != (standings.epoch, standings.version):
            self._known[board] = _Known(standings, rows)
        return standings

    async def _named(self, ladder: str, window: Window) -> Standings:
        names = await self._names.of([entry.number for entry in window.entries])
        rows = tuple(Row(entry, names[entry.number]) for entry in window.entries)
        return Standings(ladder, window.epoch, window.version, window.total, rows)


def leaderboard_data(
    board: Board, standings: Standings, place: Place | None, *, stale: bool = False
) -> LeaderboardData:
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
        stale=True if stale else None,
    )
