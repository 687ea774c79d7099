"""What Redis holds of a ladder, as it is: for whoever checks it against PostgreSQL.

storage/boards.py describes the keys. Everything here only reads, in steps that hold Redis up for a millisecond or two.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import Final, cast

from game.ranking import Entry, Removal
from storage.boards import TAKEN_OFF, LadderMissing, entry_from, keys_of, member_of, prefix_of, score_of
from storage.redis_server import RedisServer, Request, Script

#: Entries read at a time: a millisecond of Redis' time.
CHUNK: Final = 1000
#: Digits that no bigint has, so no number of ours either.
_TOO_LONG: Final = 19

# KEYS: meta, ranks, members. ARGV: numbers. Answers false without a meta, else for each number its member ('' for none)
# and that member's score ('' for none).
_HELD: Final = Script("""
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
local answer = {}
for _, number in ipairs(ARGV) do
  local member = redis.call('HGET', KEYS[3], number)
  answer[#answer + 1] = member or ''
  answer[#answer + 1] = member and redis.call('ZSCORE', KEYS[2], member) or ''
end
return answer
""")
# KEYS: meta, ranks, members. ARGV: the first place and the last one. Answers false without a meta, else for each of
# these places its member, score, and the member that its number has in `members` ('' for none).
_STRETCH: Final = Script("""
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
local held = redis.call('ZRANGE', KEYS[2], ARGV[1], ARGV[2], 'WITHSCORES')
local answer = {}
for i = 1, #held, 2 do
  local number = string.match(string.sub(held[i], 14), '^0*(%d+)$')
  answer[#answer + 1] = held[i]
  answer[#answer + 1] = held[i + 1]
  answer[#answer + 1] = number and redis.call('HGET', KEYS[3], number) or ''
end
return answer
""")
# KEYS: meta, ranks, members. Answers the seconds that each has to live.
_LIFETIMES: Final = Script("""
local answer = {}
for i, key in ipairs(KEYS) do answer[i] = redis.call('TTL', key) end
return answer
""")
# KEYS: meta, ranks, members. ARGV: a member and the number in it. Answers its score and the member that the number has,
# '' for none.
_KNOWN: Final = Script("""
return {redis.call('ZSCORE', KEYS[2], ARGV[1]) or '', redis.call('HGET', KEYS[3], ARGV[2]) or ''}
""")


@dataclass(frozen=True, slots=True)
class Place:
    """One member of the sorted set. `entry` is None where it cannot be read, or its time and number are written in
    another way than ours; `known`: the player's line in `members` names it."""

    member: str
    entry: Entry | None
    known: bool


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Seconds to live of the three keys: -1 for ever, -2 for a key that is not there."""

    meta: int
    ranks: int
    members: int


class Torn:
    """`members` names a member that the sorted set does not have, or that belongs to somebody else."""


#: What Redis holds of one player: an entry, that it was taken off, nothing, or nonsense.
Held = Entry | Removal | None | Torn


class KeptBoards:
    """The ladders of one deployment. Every method raises RedisUnavailable when Redis does not answer in time, and
    those that read one ladder LadderMissing when it is not there (any more)."""

    def __init__(self, server: RedisServer, prefix: str) -> None:
        self._redis = server
        self._prefix = prefix

    @classmethod
    def connect(cls, redis_url: str, deployment: str) -> KeptBoards:
        """Connects at the first use, apart from those who play. Raises ValueError for a bad URL."""
        return cls(RedisServer.connect(redis_url), prefix_of(deployment))

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.close()

    async def ladders(self) -> list[str]:
        """Every ladder that is there, by name."""
        found = set()
        begin, end = keys_of(self._prefix, "\0").meta.split("\0")
        async for key in self._redis.keys(f"{begin}*{end}", CHUNK):
            found.add(key[len(begin) : -len(end)])
        return sorted(found)

    async def lifetimes(self, ladder: str) -> Lifetimes:
        """How long the ladder's keys live, all at one moment."""
        ((meta, ranks, members),) = await self._redis.all_of([_LIFETIMES.on(keys_of(self._prefix, ladder), [])])
        if meta == -2:
            raise LadderMissing(ladder)
        return Lifetimes(meta, ranks, members)

    async def stretch(self, ladder: str, offset: int, count: int) -> list[Place]:
        """`count` places of the board from this one on, which is counted from 0, all at one moment."""
        answer = await self._run(_STRETCH, ladder, [offset, offset + count - 1])
        # Three a place.
        triples = zip(answer[::3], answer[1::3], answer[2::3], strict=True)
        return [Place(member, _read(member, score), member == named) for member, score, named in triples]

    async def places(self, ladder: str) -> AsyncIterator[list[Place]]:
        """The whole board in its order, in chunks. If it changes meanwhile, an entry may be missing or come twice."""
        offset = 0
        while places := await self.stretch(ladder, offset, CHUNK):
            yield places
            offset += len(places)

    async def members(self, ladder: str) -> AsyncIterator[dict[int, bool]]:
        """Whom `members` names, and whether as taken off, in chunks; what is no number is left out. Who is there all
        the time is given at least once."""
        key = keys_of(self._prefix, ladder).members
        cursor = 0
        while True:
            ((cursor, chunk),) = await self._redis.all_of([Request(key, ("HSCAN", key, cursor, "COUNT", CHUNK))])
            yield {
                int(number): member == TAKEN_OFF
                for number, member in chunk.items()
                if number.isascii() and number.isdigit() and len(number) < _TOO_LONG
            }
            if not cursor:
                return

    async def held(self, ladder: str, numbers: Sequence[int]) -> dict[int, Held]:
        """What there is of each of these players, all at one moment."""
        answer = await self._run(_HELD, ladder, numbers)
        pairs = zip(numbers, answer[::2], answer[1::2], strict=True)
        return {number: _held(number, member, score) for number, member, score in pairs}

    async def unknown(self, ladder: str, members: Collection[str]) -> set[str]:
        """Which of these members are in the sorted set, though no player's line names them."""
        keys = keys_of(self._prefix, ladder)
        left = set()
        for member in members:
            number = member[13:].lstrip("0")
            ((score, named),) = await self._redis.all_of([_KNOWN.on(keys, [member, number])])
            if score and named != member:
                left.add(member)
        return left

    async def _run(self, script: Script, ladder: str, arguments: Sequence[int]) -> list[str]:
        request = script.on(keys_of(self._prefix, ladder), [str(each) for each in arguments])
        (answer,) = await self._redis.all_of([request])
        if answer is None:
            raise LadderMissing(ladder)
        return cast("list[str]", answer)


def _read(member: str, score: str) -> Entry | None:
    try:
        entry = entry_from(member, float(score))
    except (ValueError, OverflowError):
        return None
    ours = member_of(entry) == member and score_of(entry) == float(score) and len(str(entry.number)) < _TOO_LONG
    return entry if ours else None


def _held(number: int, member: str, score: str) -> Held:
    if not member:
        return None
    if member == TAKEN_OFF:
        return Removal(number)
    entry = _read(member, score) if score else None
    return entry if entry is not None and entry.number == number else Torn()
