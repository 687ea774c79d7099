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
that has lost its last second, or a replica that has taken over behind its primary, has also the older cursor.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Collection, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, NamedTuple, cast

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from game.ranking import Entry, Removal
from storage.postgres import StoreUnavailable

PASSED_ALL_WEIGHT: Final = 2**40
#: Scores have to stay below, or they would pass for having passed all games.
MAX_TOTAL_SCORE: Final = PASSED_ALL_WEIGHT - 1
#: In place of a member, for a player who was taken off the ladder.
_TAKEN_OFF: Final = "-"
_ACHIEVED_DIGITS: Final = 13
_NUMBER_DIGITS: Final = 10
_EPOCH_START: Final = datetime(1970, 1, 1, tzinfo=UTC)

#: Seconds for one exchange with Redis.
PATIENCE_SECONDS: Final = 1.0
_CONNECTIONS: Final = 16
#: How long Redis keeps a ladder that has a period: the longest one, a week, and some days to look back. One that is
#: asked for later is rebuilt.
_KEEP_PERIOD: Final = timedelta(days=16)
_KEEP_UNFINISHED_REBUILD: Final = timedelta(minutes=10)

# KEYS: meta, ranks, members. ARGV: epoch ('' for any), then number, score, member of each entry; member "-" takes the
# player off. Answers false without a meta, or with another epoch than that, else {epoch, version, entries that have
# changed, entries of players who are taken off}.
_APPLY: Final = """
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if not epoch or (ARGV[1] ~= '' and ARGV[1] ~= epoch) then return false end
local first = redis.call('EXISTS', KEYS[2]) == 0
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
if first and better > 0 then
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
"""

# KEYS: meta, ranks, members, then the same three of what was prepared. ARGV: epoch that is replaced ('' for none),
# new epoch, cursor, seconds to live (0: for ever). Answers 0 when somebody else has replaced it before.
_SWAP: Final = """
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
"""

# KEYS: meta, ranks, members. ARGV: cursor, epoch. Never back, never on a ladder that is not there, and never on one
# that was rebuilt meanwhile: what was applied before is not in it.
_ADVANCE: Final = """
local held = redis.call('HMGET', KEYS[1], 'cursor', 'epoch')
if held[1] and held[2] == ARGV[2] and tonumber(held[1]) < tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[1], 'cursor', ARGV[1])
end
return held[1]
"""


# KEYS: meta, ranks, members. ARGV: numbers. Answers false without a meta, else {epoch, version, total, then for each
# number its place from 0, or -1}.
_PLACES: Final = """
local held = redis.call('HMGET', KEYS[1], 'epoch', 'version')
if not held[1] then return false end
local answer = {held[1], tonumber(held[2]), redis.call('ZCARD', KEYS[2])}
for i, number in ipairs(ARGV) do
  local member = redis.call('HGET', KEYS[3], number)
  answer[i + 3] = member and member ~= '-' and redis.call('ZRANK', KEYS[2], member) or -1
end
return answer
"""

_APPLY_SHA: Final = hashlib.sha1(_APPLY.encode(), usedforsecurity=False).hexdigest()
_PLACES_SHA: Final = hashlib.sha1(_PLACES.encode(), usedforsecurity=False).hexdigest()
_ADVANCE_SHA: Final = hashlib.sha1(_ADVANCE.encode(), usedforsecurity=False).hexdigest()


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
    """Changes that were written before `at` (see Ladders.horizon) are in the ladder of this epoch."""

    epoch: str
    at: int


class _Keys(NamedTuple):
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


@contextmanager
def _translated() -> Any:
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise StoreUnavailable("Redis does not answer") from error


class Boards:
    """The boards of one deployment. Every method raises StoreUnavailable when Redis does not answer in time; what was
    under way then may have been done, and may be done again."""

    def __init__(self, client: redis.asyncio.Redis, prefix: str) -> None:
        self._redis = client
        self._prefix = prefix
        self._swap = client.register_script(_SWAP)

    @classmethod
    def connect(cls, redis_url: str, deployment: str) -> Boards:
        """Boards of that deployment; connects at the first use. Raises ValueError for a bad URL."""
        # Those who come when all are in use wait for one, instead of opening hundreds at once.
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            redis_url,
            max_connections=_CONNECTIONS,
            timeout=PATIENCE_SECONDS,
            decode_responses=True,
            socket_timeout=PATIENCE_SECONDS,
            socket_connect_timeout=PATIENCE_SECONDS,
            # Waiting and trying again is decided by callers, who know how much time they have.
            retry=Retry(NoBackoff(), 0),
        )
        client = redis.asyncio.Redis.from_pool(pool)
        return cls(client, f"braingame:{deployment}")

    async def close(self) -> None:
        """Close the connections."""
        with _translated():
            await self._redis.aclose()

    async def ping(self) -> None:
        """Is Redis there."""
        with _translated():
            await self._redis.ping()

    async def apply(self, entries: Mapping[str, Collection[Entry | Removal]]) -> tuple[set[str], set[str]]:
        """Apply entries and removals by ladder, in one round trip. Gives the ladders that changed and those that are
        missing."""
        changed, missing, _ = await self.reconcile(entries)
        return changed, missing

    async def reconcile(
        self,
        entries: Mapping[str, Collection[Entry | Removal]],
        held: Mapping[str, Cursor | None] = MappingProxyType({}),
    ) -> tuple[set[str], set[str], set[str]]:
        """The same, but not for a ladder in `held` that has another epoch by now, which counts as missing: it was made
        from what was read later than these. Gives also the ladders that hold a player for taken off whose entry is
        among these: if the entries are what PostgreSQL holds now, these ladders have to be rebuilt."""
        ladders = list(entries)
        calls: list[tuple[_Keys, list[str]]] = []
        for ladder in ladders:
            cursor = held.get(ladder)
            arguments = ["" if cursor is None else cursor.epoch]
            for entry in entries[ladder]:
                if isinstance(entry, Removal):
                    arguments += (str(entry.number), "0", _TAKEN_OFF)
                else:
                    arguments += (str(entry.number), str(score_of(entry)), member_of(entry))
            calls.append((self._keys(ladder), arguments))
        answers = await self._run_for_each(_APPLY, _APPLY_SHA, calls)
        changed = {ladder for ladder, answer in zip(ladders, answers, strict=True) if answer and answer[2]}
        missing = {ladder for ladder, answer in zip(ladders, answers, strict=True) if not answer}
        barred = {ladder for ladder, answer in zip(ladders, answers, strict=True) if answer and answer[3]}
        return changed, missing, barred

    async def read(self, ladder: str, offset: int, limit: int) -> Window:
        """A stretch of the ladder with its version, all at one moment. Raises LadderMissing."""
        keys = self._keys(ladder)
        with _translated():
            pipeline = self._redis.pipeline(transaction=True)
            pipeline.hmget(keys.meta, ["epoch", "version"])
            pipeline.zcard(keys.ranks)
            pipeline.zrange(keys.ranks, offset, offset + limit - 1, withscores=True)
            (epoch, version), total, members = await pipeline.execute()
        if epoch is None:
            raise LadderMissing(ladder)
        return Window(epoch, int(version), total, offset, [entry_from(member, score) for member, score in members])

    async def places(self, ladder: str, numbers: Sequence[int]) -> Places:
        """Where these players stand, all at one moment. Redis does nothing else meanwhile, so not for thousands.
        Raises LadderMissing."""
        call = (self._keys(ladder), [str(number) for number in numbers])
        (answer,) = await self._run_for_each(_PLACES, _PLACES_SHA, [call])
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
        prepared = _Keys(*(f"{key}:{secrets.token_hex(4)}" for key in keys))
        with _translated():
            replaced = await cast("Awaitable[str | None]", self._redis.hget(keys.meta, "epoch"))
        async for chunk in chunks:
            members: dict[str, str] = {}
            scores: dict[str, float] = {}
            for entry in chunk:
                member = _TAKEN_OFF if isinstance(entry, Removal) else member_of(entry)
                members[str(entry.number)] = member
                if not isinstance(entry, Removal):
                    scores[member] = score_of(entry)
            with _translated():
                pipeline = self._redis.pipeline(transaction=False)
                if scores:
                    pipeline.zadd(prepared.ranks, scores)
                pipeline.hset(prepared.members, mapping=cast("Any", members))
                # An unfinished rebuild goes away by itself.
                for key in (prepared.ranks, prepared.members):
                    pipeline.expire(key, _KEEP_UNFINISHED_REBUILD)
                await pipeline.execute()
        keep = int(_KEEP_PERIOD.total_seconds()) if has_period else 0
        arguments = [replaced or "", secrets.token_hex(8), str(cursor), str(keep)]
        with _translated():
            return bool(await self._swap(keys=[*keys, *prepared], args=arguments))

    async def cursors(self, ladders: Collection[str]) -> dict[str, Cursor | None]:
        """Up to where the changes are in each ladder; None for one that is missing."""
        with _translated():
            pipeline = self._redis.pipeline(transaction=False)
            for ladder in ladders:
                pipeline.hmget(self._keys(ladder).meta, ["epoch", "cursor"])
            answers = await pipeline.execute()
        return {
            ladder: None if cursor is None else Cursor(epoch, int(cursor))
            for ladder, (epoch, cursor) in zip(ladders, answers, strict=True)
        }

    async def advance(self, held: Mapping[str, Cursor], to: int) -> None:
        """All changes before `to` are in these ladders now, if they are those whose cursors these were."""
        calls = [(self._keys(ladder), [str(to), cursor.epoch]) for ladder, cursor in held.items()]
        await self._run_for_each(_ADVANCE, _ADVANCE_SHA, calls)

    async def _run_for_each(self, script: str, sha: str, calls: Iterable[tuple[_Keys, list[str]]]) -> list[Any]:
        """Run a script once for each ladder, in one round trip. The library's own Script objects would ask in a second
        one, each time, whether Redis still has the text. Only for scripts that may be run again."""
        with _translated():
            for last in (False, True):
                pipeline = self._redis.pipeline(transaction=False)
                for keys, arguments in calls:
                    pipeline.evalsha(sha, len(keys), *keys, *arguments)
                try:
                    return await pipeline.execute()
                except NoScriptError:
                    # Redis was restarted and has forgotten the script.
                    if last:
                        raise
                    await self._redis.script_load(script)
        raise AssertionError("not reached")

    def _keys(self, ladder: str) -> _Keys:
        base = f"{self._prefix}:{{{ladder}}}"
        return _Keys(f"{base}:meta", f"{base}:ranks", f"{base}:members")
