"""What a better attempt is, which boards a session counts for, and the order of a board.

A board is named by a period (`all-time`, `weekly`, `daily`) and perhaps one difficulty: `daily:3`. At any moment a
named board shows one *ladder*: the entries of one period, such as `daily:3@2026-11-23`. Ladders are what is stored;
a board turns to the next ladder when its period ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from game.session import MAX_DIFFICULTY, Session, Status


class Period(StrEnum):
    """How long an entry stays on a board. Days and weeks are UTC; a week starts on Monday."""

    ALL_TIME = "all-time"
    WEEKLY = "weekly"
    DAILY = "daily"


class UnknownBoard(ValueError):
    """No board has this name."""


@dataclass(frozen=True, slots=True)
class Board:
    """One board that clients can ask for; `difficulty` None stands for all difficulties together."""

    period: Period
    difficulty: int | None = None

    @property
    def name(self) -> str:
        """The name on the wire: `weekly` or `weekly:4`."""
        return self.period.value if self.difficulty is None else f"{self.period.value}:{self.difficulty}"

    def ladder(self, at: datetime) -> str:
        """The ladder that the board shows at that moment: `all-time`, `weekly:4@2026-11-23` (the Monday)."""
        start = period_start(self.period, at)
        return self.name if start is None else f"{self.name}@{start.isoformat()}"


def _all_boards() -> dict[str, Board]:
    difficulties = (None, *range(MAX_DIFFICULTY + 1))
    boards = (Board(period, difficulty) for period in Period for difficulty in difficulties)
    return {board.name: board for board in boards}


#: Every board there is, by name.
BOARDS: Final = _all_boards()
ALL_TIME: Final = BOARDS["all-time"]


def board_named(name: str) -> Board:
    """The board of that name; raises UnknownBoard."""
    try:
        return BOARDS[name]
    except KeyError:
        raise UnknownBoard(name) from None


def period_start(period: Period, at: datetime) -> date | None:
    """The first UTC day of the period that `at` falls in; None for all time."""
    day = at.astimezone(UTC).date()
    if period is Period.ALL_TIME:
        return None
    return day if period is Period.DAILY else day - timedelta(days=day.weekday())


def period_end(period: Period, at: datetime) -> datetime | None:
    """The first moment after the period that `at` falls in; None for all time."""
    start = period_start(period, at)
    if start is None:
        return None
    length = timedelta(days=1 if period is Period.DAILY else 7)
    return datetime.combine(start + length, time(), UTC)


def has_period(ladder: str) -> bool:
    """Whether the ladder belongs to a period that ends, rather than to all time."""
    return "@" in ladder


def ladders_of(session: Session) -> tuple[str, ...]:
    """The ladders that an ended session counts for: each period, with and without its difficulty; none if it does
    not count."""
    if not session.counts or session.ended_at is None:
        return ()
    return _ladders(session.difficulty, session.ended_at.astimezone(UTC).date())


@lru_cache(maxsize=64)
def _ladders(difficulty: int, day: date) -> tuple[str, ...]:
    noon = datetime.combine(day, time(12), UTC)
    return tuple(Board(period, which).ladder(noon) for period in Period for which in (None, difficulty))


class Entry(NamedTuple):
    """A player's best attempt on one ladder. `number` is the player's registration number."""

    number: int
    passed_all_games: bool
    total_score: int
    achieved_at: datetime


@dataclass(frozen=True, slots=True)
class Removal:
    """A player who is taken off a ladder: no entry of theirs counts there, whenever it comes."""

    number: int


def entry_of(number: int, session: Session) -> Entry:
    """What an ended session is worth on every ladder it counts for."""
    if not session.counts or session.ended_at is None:
        raise ValueError("a session that does not count has no entry")
    return Entry(number, session.status is Status.FINISHED, session.total_score, session.ended_at)


def order(entry: Entry) -> tuple[bool, int, datetime, int]:
    """The sort key of a board: passed all games first, then the higher score, then who was earlier, then the smaller
    number."""
    return (not entry.passed_all_games, -entry.total_score, entry.achieved_at, entry.number)


def ranked(entries: Iterable[Entry]) -> list[Entry]:
    """The entries in the order of a board."""
    return sorted(entries, key=order)


def better(left: Entry, right: Entry) -> Entry:
    """The better of two attempts of one player. Commutative, so it does not matter which is stored first."""
    return min(left, right, key=order)


def prevailing(left: Entry | Removal, right: Entry | Removal) -> Entry | Removal:
    """What counts of two things that are known of one player: a removal, or else the better attempt. Commutative."""
    if isinstance(left, Removal):
        return left
    return right if isinstance(right, Removal) else better(left, right)


def lies_between(before: Entry | Removal | None, held: Entry | Removal | None, after: Entry | Removal | None) -> bool:
    """Whether what a copy holds of a player can be right, if the truth was `before` and is `after` the look at it.

    Entries only improve, from none at all (None) on, so the copy may hold either or what lies between them.
    """
    if held in (before, after):
        return True
    if not isinstance(held, Entry) or isinstance(before, Removal) or not isinstance(after, Entry):
        return False
    return better(held, after) == after and (before is None or better(before, held) == held)
