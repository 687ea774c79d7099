"""The boards in Redis against the entries in PostgreSQL, while both change.

The boards follow PostgreSQL, at most a second behind. So one look proves nothing: a first one compares whole boards and
gives suspects, which are looked at again one by one, between two looks at PostgreSQL. Entries only improve, so what
Redis holds is right if it lies between what PostgreSQL held before and after. Who differs each time is a difference.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field

from game.fingerprint import Fingerprint
from game.ranking import Entry, Removal, has_period, lies_between, order
from storage.findings import Difference, Part
from storage.kept_boards import CHUNK, Held, KeptBoards, Lifetimes, Torn
from storage.ladders import Ladders


@dataclass(slots=True)
class Suspects:
    """What has differed at each look so far: players by number, members that nobody's line names, and whether the
    keys live as long as they should."""

    numbers: set[int] = field(default_factory=set)
    members: set[str] = field(default_factory=set)
    lifetimes: Lifetimes | None = None

    def __bool__(self) -> bool:
        return bool(self.numbers or self.members or self.lifetimes)


class BoardAudit:
    """Compares ladders. Every method raises StoreUnavailable when a store does not answer, and LadderMissing when the
    ladder is not in Redis (any more)."""

    def __init__(self, boards: KeptBoards, ladders: Ladders) -> None:
        self._boards = boards
        self._ladders = ladders

    async def compare(
        self, ladder: str, truth: AsyncIterator[list[Entry]], removed: Collection[int]
    ) -> tuple[Fingerprint, Suspects]:
        """The first look: the whole board against `truth`, which is in the order of the board, and who is `removed`.
        Gives the hash of what Redis holds, in its order there. Takes some 100 bytes an entry meanwhile."""
        suspects = Suspects(lifetimes=await self._wrong_lifetimes(ladder))
        found = Fingerprint()
        held: Entry | None = None
        on_board: set[int] = set()
        wanted = await _next(truth_of := _flat(truth))
        async for places in self._boards.places(ladder):
            for place in places:
                if not place.known:
                    suspects.members.add(place.member)
                if place.entry is None:
                    suspects.members.add(place.member)
                    continue
                (on_board if place.known else suspects.numbers).add(place.entry.number)
                found.add(place.entry)
                if held is not None and order(held) >= order(place.entry):
                    suspects.numbers |= {held.number, place.entry.number}
                held = place.entry
                # Both are in the order of the board: who is passed over on one side is not there as it is here.
                while wanted is not None and order(wanted) < order(place.entry):
                    suspects.numbers.add(wanted.number)
                    wanted = await _next(truth_of)
                if wanted == place.entry:
                    wanted = await _next(truth_of)
                else:
                    suspects.numbers.add(place.entry.number)
        while wanted is not None:
            suspects.numbers.add(wanted.number)
            wanted = await _next(truth_of)
        await self._compare_members(ladder, removed, on_board, suspects)
        return found, suspects

    async def _compare_members(
        self, ladder: str, removed: Collection[int], on_board: Collection[int], suspects: Suspects
    ) -> None:
        taken_off: set[int] = set()
        async for chunk in self._boards.members(ladder):
            for number, off in chunk.items():
                if off:
                    taken_off.add(number)
                elif number not in on_board:
                    suspects.numbers.add(number)
        suspects.numbers |= taken_off.symmetric_difference(removed)

    async def stretch(
        self, ladder: str, offset: int | None, number: int | None, count: int
    ) -> tuple[Suspects, int | None, int | None]:
        """A first look at a part: at `count` places of the board from `offset` on, and at `count` players from `number`
        on in PostgreSQL, None standing for an end that was reached. Gives also where the next part begins."""
        places = [] if offset is None else await self._boards.stretch(ladder, offset, count)
        known = [] if number is None else await self._ladders.some(ladder, number, count)
        suspects = Suspects(lifetimes=await self._wrong_lifetimes(ladder))
        suspects.members |= {place.member for place in places if place.entry is None or not place.known}
        entries = [place.entry for place in places if place.entry is not None]
        for one, other in itertools.pairwise(entries):
            if order(one) >= order(other):
                suspects.numbers |= {one.number, other.number}
        suspects.numbers |= {entry.number for entry in (*entries, *known)}
        next_number = known[-1].number + 1 if len(known) == count else None
        next_offset = offset + count if offset is not None and len(places) == count else None
        return suspects, next_offset, next_number

    async def look(self, ladder: str, suspects: Suspects) -> tuple[Suspects, list[Difference]]:
        """Another look at the suspects: those who differ again, and what is different."""
        left = Suspects(lifetimes=await self._wrong_lifetimes(ladder) if suspects.lifetimes is not None else None)
        differences = []
        if left.lifetimes is not None:
            differences.append(_difference(ladder, None, f"its keys live {_shown_lifetimes(left.lifetimes)}"))
        numbers = sorted(suspects.numbers)
        for at in range(0, len(numbers), CHUNK):
            some = numbers[at : at + CHUNK]
            before = await self._ladders.standing(ladder, some)
            held = await self._boards.held(ladder, some)
            after = await self._ladders.standing(ladder, some)
            for number in some:
                copy = held[number]
                if isinstance(copy, Torn) or not lies_between(before.get(number), copy, after.get(number)):
                    left.numbers.add(number)
                    what = f"it holds {_shown(copy)}, PostgreSQL {_shown(after.get(number))}"
                    differences.append(_difference(ladder, number, what))
        for member in sorted(await self._boards.unknown(ladder, suspects.members)):
            left.members.add(member)
            differences.append(_difference(ladder, None, f"a member is nobody's: {member!r}"))
        return left, differences

    async def _wrong_lifetimes(self, ladder: str) -> Lifetimes | None:
        found = await self._boards.lifetimes(ladder)
        lives = (found.meta, found.ranks, found.members)
        right = all(life == -2 or (life >= 0) == has_period(ladder) for life in lives)
        return None if right else found


def _difference(ladder: str, number: int | None, what: str) -> Difference:
    return Difference(Part.REDIS, what, number, ladder)


def _shown(held: Held) -> str:
    match held:
        case Entry():
            passed = "passed, " if held.passed_all_games else ""
            return f"{passed}{held.total_score} at {held.achieved_at.isoformat(timespec='milliseconds')}"
        case Removal():
            return "that the player is taken off"
        case Torn():
            return "a line without its member"
    return "nothing"


def _shown_lifetimes(found: Lifetimes) -> str:
    words = {-1: "for ever", -2: "not at all"}
    return ", ".join(
        f"{name} {words.get(life, f'{life} s')}"
        for name, life in (("meta", found.meta), ("ranks", found.ranks), ("members", found.members))
    )


async def _flat(chunks: AsyncIterator[list[Entry]]) -> AsyncIterator[Entry]:
    async for chunk in chunks:
        for entry in chunk:
            yield entry


async def _next(entries: AsyncIterator[Entry]) -> Entry | None:
    return await anext(entries, None)
