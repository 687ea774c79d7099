"""Leaderboards in Redis: a projection of PostgreSQL's ladders, ordered by a sorted set.

A ladder is three keys, which one hash tag keeps in one slot of a cluster:

    …{ladder}:meta      hash: epoch, version, cursor
    …{ladder}:ranks     sorted set: member "<achievedAt in ms, 13 digits><number, 10 digits>",
                        score -(passedAllGames * 2^40 + totalScore), exact in a double
    …{ladder}:members   hash: number -> member, or "-" for a player who was taken off

Members of one score are sorted by their bytes, so ZRANGE is the order of a board, ties included. `apply` keeps the
better of two entries of a player, which makes it commutative and safe to repeat; no entry is better than being taken
off, so one that comes late brings nobody back. Who reads the truth from PostgreSQL uses `reconcile`, which tells where
somebody is taken off here and not there; that ladder has to be rebuilt. Both refuse a ladder without `meta`:
that one was never built, or Redis was emptied; `rebuild` makes it from PostgreSQL, with a new epoch.
`cursor` says up to where the changes in PostgreSQL are surely in here. It lives with the data it speaks of, so a Redis
that has lost its last second, or a replica that has taken over behind its primary, has also the older cursor. Beside it
each node leaves a mark of its own, by which it sees that later, even when another node has moved the cursor on since.

On a cluster ladders are on several servers, of which one may be away: then the others' ladders go on.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from game.ranking import Entry, Removal
from storage.postgres import StoreUnavailable
from storage.redis_server import RedisServer, Request, Script

PASSED_ALL_WEIGHT: Final = 2**40
#: Scores have to stay below, or they would pass for having passed all games.
MAX_TOTAL_SCORE: Final = PASSED_ALL_WEIGHT - 1
#: In place of a member, for a player who was taken off the ladder.
TAKEN_OFF: Final = "-"
_ACHIEVED_DIGITS: Final = 13
_NUMBER_DIGITS: Final = 10
_EPOCH_START: Final = datetime(1970, 1, 1, tzinfo=UTC)

#: How long Redis keeps a ladder that has a period: the longest one, a week, and some days to look back. One that is
#: asked for later is rebuilt.
_KEEP_PERIOD: Final = timedelta(days=16)
_KEEP_UNFINISHED_REBUILD: Final = timedelta(minutes=10)

# KEYS: meta, ranks, members. ARGV: epoch ('' for any), then number, score, member of each entry; member "-" takes the
# player off. Answers false without a meta, or with another epoch than that, else {epoch, version, entries that have
# changed, entries of players who are taken off}.
_APPLY: Final = Script("""
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if not epoch or (ARGV[1] ~= '' and ARGV[1] ~= epoch) then return false end
local better = 0
local barred = 0
for i = 2, #ARGV, 3 do
  local number, score, member = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2]
  local held = redis.call('HGET', KEYS[3], number)
  local held_score = held and held ~= '-' and tonumber(redis.call('ZSCORE', KEYS[2], held))
  if held == '-' then
    -- Taken off: an entry that comes late cannot be told from one that was put back.
    if member ~= '-' then barred = barred + 1 end
  elseif member == '-' then
    if held then
      redis.call('ZREM', KEYS[2], held)
      better = better + 1
    end
    redis.call('HSET', KEYS[3], number, member)
  elseif not held_score or score < held_score or (score == held_score and member < held) then
    redis.call('ZADD', KEYS[2], ARGV[i + 1], member)
    -- After the new one is in: Redis forgets a sorted set, and how long it lives, with its last member.
    if held and held ~= member then redis.call('ZREM', KEYS[2], held) end
    redis.call('HSET', KEYS[3], number, member)
    better = better + 1
  end
end
-- A key that has come into being, with the first entry or the first who is taken off, or again after the last entry had
-- gone, lives as long as meta.
if redis.call('TTL', KEYS[2]) == -1 or redis.call('TTL', KEYS[3]) == -1 then
  local left = redis.call('TTL', KEYS[1])
  if left > 0 then
    redis.call('EXPIRE', KEYS[2], left)
    redis.call('EXPIRE', KEYS[3], left)
  end
end
local version
if better > 0 then
  version = redis.call('HINCRBY', KEYS[1], 'version', better)
else
  version = redis.call('HGET', KEYS[1], 'version')
end
return {epoch, tonumber(version), better, barred}
""")

# KEYS: meta, ranks, members, then the same three of what was prepared. ARGV: epoch that is replaced ('' for none),
# new epoch, cursor, seconds to live (0: for ever). Answers 0 when somebody else has replaced it before.
_SWAP: Final = Script("""
if (redis.call('HGET', KEYS[1], 'epoch') or '') ~= ARGV[1] then
  redis.call('DEL', KEYS[5], KEYS[6])
  return 0
end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
for i = 2, 3 do
  if redis.call('EXISTS', KEYS[i + 3]) == 1 then
    redis.call('RENAME', KEYS[i + 3], KEYS[i])
    redis.call('PERSIST', KEYS[i])
  end
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'version', 1, 'cursor', ARGV[3])
if ARGV[4] ~= '0' then
  for i = 1, 3 do redis.call('EXPIRE', KEYS[i], ARGV[4]) end
end
return 1
""")

# KEYS: meta, ranks, members. ARGV: cursor, epoch, mark of the node. Never back, never on a ladder that is not there,
# and never on one that was rebuilt meanwhile: what was applied before is not in it.
_ADVANCE: Final = Script("""
local held = redis.call('HMGET', KEYS[1], 'cursor', 'epoch')
if held[1] and held[2] == ARGV[2] then
  redis.call('HSET', KEYS[1], ARGV[3], ARGV[1])
  if tonumber(held[1]) < tonumber(ARGV[1]) then redis.call('HSET', KEYS[1], 'cursor', ARGV[1]) end
end
return held[1]
""")


# KEYS: meta, ranks, members. ARGV: numbers. Answers false without a meta, else {epoch, version, total, then for each
# number its place from 0, or -1}.
_PLACES: Final = Script("""
local held = redis.call('HMGET', KEYS[1], 'epoch', 'version')
if not held[1] then return false end
local answer = {held[1], tonumber(held[2]), redis.call('ZCARD', KEYS[2])}
for i, number in ipairs(ARGV) do
  local member = redis.call('HGET', KEYS[3], number)
  answer[i + 3] = member and member ~= '-' and redis.call('ZRANK', KEYS[2], member) or -1
end
return answer
""")

# KEYS: meta, ranks, members. ARGV: first and last place. Answers false without a meta, else {epoch, version, total,
# {member and score by turns}}.
_READ: Final = Script("""
local held = redis.call('HMGET', KEYS[1], 'epoch', 'version')
if not held[1] then return false end
local entries = redis.call('ZRANGE', KEYS[2], ARGV[1], ARGV[2], 'WITHSCORES')
return {held[1], tonumber(held[2]), redis.call('ZCARD', KEYS[2]), entries}
""")


class LadderMissing(Exception):
    """Redis does not have this ladder: it has to be rebuilt from PostgreSQL."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a ladder in its order, `offset` entries from the top, at one version of one epoch."""

    epoch: str
    version: int
    total: int
    offset: int
    entries: list[Entry]


@dataclass(frozen=True, slots=True)
class Places:
    """Where players stand on a ladder, counted from 0, at one version of one epoch; who has no entry is not in it."""

    epoch: str
    version: int
    total: int
    positions: dict[int, int]


class Cursor(NamedTuple):
    """Changes that were written before `at` (see Ladders.horizon) are in the ladder of this epoch. `own`: up to where
    this node has moved it, as far as the ladder knows; 0 if never."""

    epoch: str
    at: int
    own: int = 0


class LadderKeys(NamedTuple):
    """The three keys of a ladder."""

    meta: str
    ranks: str
    members: str


def score_of(entry: Entry) -> int:
    """The sorted set's score; smaller is better."""
    return -(PASSED_ALL_WEIGHT * entry.passed_all_games + entry.total_score)


def member_of(entry: Entry) -> str:
    """The sorted set's member: who was earlier, then the smaller number, comes first among equal scores."""
    milliseconds = (entry.achieved_at - _EPOCH_START) // timedelta(milliseconds=1)
    return f"{milliseconds:0{_ACHIEVED_DIGITS}d}{entry.number:0{_NUMBER_DIGITS}d}"


def entry_from(member: str, score: float) -> Entry:
    """The entry behind a member and its score."""
    worth = -int(score)
    return Entry(
        number=int(member[_ACHIEVED_DIGITS:]),
        passed_all_games=worth >= PASSED_ALL_WEIGHT,
        total_score=worth % PASSED_ALL_WEIGHT,
        achieved_at=_EPOCH_START + timedelta(milliseconds=int(member[:_ACHIEVED_DIGITS])),
    )


def keys_of(prefix: str, ladder: str) -> LadderKeys:
    """The keys of a ladder of the deployment that the prefix stands for."""
    base = f"{prefix}:{{{ladder}}}"
    return LadderKeys(f"{base}:meta", f"{base}:ranks", f"{base}:members")


def prefix_of(deployment: str) -> str:
    """What all keys of a deployment begin with."""
    return f"braingame:{deployment}"


class Applied(NamedTuple):
    """What became of entries, as sets of ladders."""

    #: They have changed.
    changed: Set[str]
    #: Redis does not have them.
    missing: Set[str]
    #: They hold a player for taken off whose entry was among those that were applied.
    barred: Set[str] = frozenset()
    #: Their part of Redis did not answer. The entries may be in them or not.
    unreached: Set[str] = frozenset()


class Boards:
    """The boards of one deployment. Every method raises StoreUnavailable when Redis does not answer in time; what was
    under way then may have been done, and may be done again."""

    def __init__(self, server: RedisServer, prefix: str) -> None:
        self._redis = server
        self._prefix = prefix
        self._mark = f"node:{secrets.token_hex(4)}"

    @classmethod
    def connect(cls, redis_url: str, deployment: str) -> Boards:
        """Boards of that deployment; connects at the first use. Raises ValueError for a bad URL."""
        return cls(RedisServer.connect(redis_url), prefix_of(deployment))

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.close()

    async def ping(self) -> None:
        """Is Redis there, or at least a part of it."""
        await self._redis.ping()

    async def apply(self, entries: Mapping[str, Collection[Entry | Removal]]) -> Applied:
        """Apply entries and removals by ladder, in one round trip. Raises StoreUnavailable only when no ladder was
        reached."""
        return await self.reconcile(entries)

    async def reconcile(
        self,
        entries: Mapping[str, Collection[Entry | Removal]],
        held: Mapping[str, Cursor | None] = MappingProxyType({}),
    ) -> Applied:
        """The same, but not for a ladder in `held` that has another epoch by now, which counts as missing: it was made
        from what was read later than these. If the entries are what PostgreSQL holds now, the ladders that are barred
        have to be rebuilt."""
        requests = []
        for ladder, improved in entries.items():
            cursor = held.get(ladder)
            arguments = ["" if cursor is None else cursor.epoch]
            for entry in improved:
                if isinstance(entry, Removal):
                    arguments += (str(entry.number), "0", TAKEN_OFF)
                else:
                    arguments += (str(entry.number), str(score_of(entry)), member_of(entry))
            requests.append(_APPLY.on(self._keys(ladder), arguments))
        answers, unreached = await self._of_each(list(entries), requests)
        return Applied(
            {ladder for ladder, answer in answers.items() if answer and answer[2]},
            {ladder for ladder, answer in answers.items() if not answer},
            {ladder for ladder, answer in answers.items() if answer and answer[3]},
            unreached,
        )

    async def read(self, ladder: str, offset: int, limit: int) -> Window:
        """A stretch of the ladder with its version, all at one moment. Raises LadderMissing."""
        (answer,) = await self._redis.all_of([_READ.on(self._keys(ladder), [str(offset), str(offset + limit - 1)])])
        if not answer:
            raise LadderMissing(ladder)
        epoch, version, total, flat = answer
        pairs = zip(flat[::2], flat[1::2], strict=True)
        return Window(epoch, version, total, offset, [entry_from(member, float(score)) for member, score in pairs])

    async def places(self, ladder: str, numbers: Sequence[int]) -> Places:
        """Where these players stand, all at one moment. Redis does nothing else meanwhile, so not for thousands.
        Raises LadderMissing."""
        (answer,) = await self._redis.all_of([_PLACES.on(self._keys(ladder), [str(number) for number in numbers])])
        if not answer:
            raise LadderMissing(ladder)
        epoch, version, total, *found = answer
        held = zip(numbers, found, strict=True)
        return Places(epoch, version, total, {number: position for number, position in held if position >= 0})

    async def rebuild(
        self, ladder: str, cursor: int, chunks: AsyncIterator[Iterable[Entry | Removal]], *, has_period: bool
    ) -> bool:
        """Replace the ladder by these entries, under a new epoch; `cursor` was read before them.

        Readers see the old ladder until the new one is complete. False when somebody else has replaced it meanwhile.
        """
        keys = self._keys(ladder)
        # The suffix comes after the tag, so they share its slot.
        prepared = LadderKeys(*(f"{key}:{secrets.token_hex(4)}" for key in keys))
        (replaced,) = await self._redis.all_of([Request(keys.meta, ("HGET", keys.meta, "epoch"))])
        async for chunk in chunks:
            members: list[str] = []
            ranks: list[str | int] = []
            for entry in chunk:
                member = TAKEN_OFF if isinstance(entry, Removal) else member_of(entry)
                members += (str(entry.number), member)
                if not isinstance(entry, Removal):
                    ranks += (score_of(entry), member)
            requests = [Request(prepared.members, ("HSET", prepared.members, *members))]
            if ranks:
                requests.append(Request(prepared.ranks, ("ZADD", prepared.ranks, *ranks)))
            # An unfinished rebuild goes away by itself.
            seconds = int(_KEEP_UNFINISHED_REBUILD.total_seconds())
            requests += [Request(key, ("EXPIRE", key, seconds)) for key in (prepared.ranks, prepared.members)]
            await self._redis.all_of(requests)
        keep = int(_KEEP_PERIOD.total_seconds()) if has_period else 0
        arguments = [replaced or "", secrets.token_hex(8), str(cursor), str(keep)]
        (swapped,) = await self._redis.all_of([_SWAP.on([*keys, *prepared], arguments)])
        return bool(swapped)

    async def cursors(self, ladders: Collection[str]) -> dict[str, Cursor | None]:
        """Up to where the changes are in each ladder; None for one that is missing. Ladders whose part of Redis did not
        answer are left out; raises StoreUnavailable when that is all of them."""
        metas = [self._keys(ladder).meta for ladder in ladders]
        requests = [Request(meta, ("HMGET", meta, "epoch", "cursor", self._mark)) for meta in metas]
        answers, _ = await self._of_each(ladders, requests)
        return {
            ladder: None if cursor is None else Cursor(epoch, int(cursor), int(own or 0))
            for ladder, (epoch, cursor, own) in answers.items()
        }

    async def advance(self, held: Mapping[str, Cursor], to: int) -> None:
        """All changes before `to` are in these ladders now, if they are those whose cursors these were. A ladder that
        cannot be reached does not keep the others from it."""
        await self._redis.all_of(
            [_ADVANCE.on(self._keys(name), [str(to), cursor.epoch, self._mark]) for name, cursor in held.items()]
        )

    def _keys(self, ladder: str) -> LadderKeys:
        return keys_of(self._prefix, ladder)

    async def _of_each(self, ladders: Collection[str], requests: Sequence[Request]) -> tuple[dict[str, Any], set[str]]:
        """The answers by ladder, and the ladders without one; there is at least one answer."""
        outcomes = dict(zip(ladders, await self._redis.run(requests), strict=True))
        failed = {ladder: outcome for ladder, outcome in outcomes.items() if isinstance(outcome, StoreUnavailable)}
        if failed and len(failed) == len(outcomes):
            raise next(iter(failed.values()))
        return {ladder: outcomes[ladder] for ladder in outcomes if ladder not in failed}, set(failed)
