"""Looks all the time whether what is stored follows from the log: some players and a part of a board every 5 s.

Costs less than 1 % of a core, however much has been played; `python run_server.py audit` looks at everything at once.
Every node does it, each from a place of its own.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Final

from game.ranking import BOARDS
from server.clock import Clock
from server.log import Log
from server.metrics import Metrics
from storage.audit import check_some, last_number
from storage.board_audit import BoardAudit, Suspects
from storage.boards import LadderMissing
from storage.findings import Difference
from storage.kept_boards import KeptBoards
from storage.ladders import Ladders
from storage.postgres import Postgres, StoreUnavailable

#: Seconds between two looks.
ROUND_SECONDS: Final = 5.0
#: Players in one look, and events, at up to 70 microseconds each on a busy machine. Somebody with more of them is
#: looked at alone, and the next look comes accordingly later.
MAX_PLAYERS: Final = 50
MAX_EVENTS: Final = 300
#: Seconds for one look. Only a log of hundreds of thousands of events takes that long.
PATIENCE_SECONDS: Final = 30.0
#: Places of a board, and entries, in one look, at up to 70 microseconds each.
MAX_PLACES: Final = 100
#: An entry in Redis that differs at each of so many looks, one a round, differs: it should be there within a second.
LOOKS: Final = 3


@dataclass(slots=True)
class _Stretch:
    """Where the check of a board stands. `offset` is a place in Redis, `number` a player in PostgreSQL; each is None at
    its end."""

    ladder: str
    offset: int | None = 0
    number: int | None = 0


@dataclass(slots=True)
class _Waiting:
    """Who has differed, at how many looks."""

    ladder: str
    suspects: Suspects
    looks: int = 1


@dataclass(slots=True)
class Found:
    """What one look has come to."""

    players: int = 0
    events: int = 0
    ladders: int = 0
    differences: list[Difference] = field(default_factory=list)


class RollingCheck:
    """One task, `run`, which its owner starts and cancels. Logs an error for each difference, at each pass again."""

    def __init__(
        self, postgres: Postgres, boards: KeptBoards, ladders: Ladders, clock: Clock, log: Log, metrics: Metrics
    ) -> None:
        self._postgres = postgres
        self._audit = BoardAudit(boards, ladders)
        self._clock = clock
        self._log = log
        self._metrics = metrics
        # The first number of the next look; None until it is known how many there are.
        self._next: int | None = None
        self._names = list(BOARDS)
        self._board = random.randrange(len(self._names))  # noqa: S311
        self._stretch: _Stretch | None = None
        self._waiting: list[_Waiting] = []

    async def run(self) -> None:
        """Look every few seconds, until cancelled. While a store is away nothing is looked at."""
        pause = ROUND_SECONDS
        while True:
            await asyncio.sleep(pause)
            pause = ROUND_SECONDS
            try:
                found = await self.look()
            except StoreUnavailable:
                continue
            pause *= max(1.0, found.events / MAX_EVENTS)

    async def look(self) -> Found:
        """Look at the next players, and at the next part of a board. Raises StoreUnavailable."""
        found = Found()
        try:
            await self._look_at_players(found)
            await self._look_again(found)
            await self._look_at_board(found)
        finally:
            self._metrics.checked(found.players, found.ladders, len(found.differences))
            for difference in found.differences:
                self._log.error(
                    "what is stored does not follow from the log",
                    part=difference.part.value,
                    number=difference.number,
                    ladder=difference.ladder,
                    difference=difference.what,
                )
        return found

    async def _look_at_players(self, found: Found) -> None:
        if self._next is None:
            self._next = random.randint(1, max(1, await last_number(self._postgres)))  # noqa: S311
        batch = await check_some(
            self._postgres, self._next, MAX_PLAYERS, max_events=MAX_EVENTS, within=PATIENCE_SECONDS
        )
        found.players, found.events = batch.players, batch.events
        found.differences += batch.differences
        if batch.last is None:
            self._next = 1
            self._metrics.check_passed(self._clock())
        else:
            self._next = batch.last + 1

    async def _look_again(self, found: Found) -> None:
        """At those who have differed before: reported when they have differed often enough."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            try:
                each.suspects, differences = await self._audit.look(each.ladder, each.suspects)
            except LadderMissing:
                # Redis was emptied, or has let go of an old ladder: all of it will be made anew.
                continue
            each.looks += 1
            if each.suspects and each.looks < LOOKS:
                self._waiting.append(each)
            else:
                found.differences += differences

    async def _look_at_board(self, found: Found) -> None:
        if self._stretch is None:
            self._board = (self._board + 1) % len(self._names)
            self._stretch = _Stretch(BOARDS[self._names[self._board]].ladder(self._clock()))
        stretch = self._stretch
        try:
            suspects, stretch.offset, stretch.number = await self._audit.stretch(
                stretch.ladder, stretch.offset, stretch.number, MAX_PLACES
            )
            left, _ = await self._audit.look(stretch.ladder, suspects)
        except LadderMissing:
            # The next sweep builds it.
            self._stretch = None
            return
        if left:
            self._waiting.append(_Waiting(stretch.ladder, left))
        if stretch.offset is None and stretch.number is None:
            self._stretch = None
            found.ladders += 1
