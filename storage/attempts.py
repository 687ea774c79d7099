"""How often something was tried lately, in Redis, so that all nodes count together.

A key for each account or address, named by a digest; a hash of how many tries are not forgiven yet (`count`), and until
when the next one has to wait (`until`, in seconds of Redis' own clock), from when on they are forgiven one by one. Keys
live no longer than they matter. Losing them forgives everybody, no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from storage.boards import prefix_of
from storage.redis_server import RedisServer, Request, Script

# KEYS: one counter. ARGV: seconds after which one try is forgiven. Answers how long to wait, and the count.
_LOOK: Final = Script("""
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local held = redis.call('HMGET', KEYS[1], 'count', 'until')
if not held[1] then return {'0', '0'} end
local count = math.max(0, held[1] - math.max(0, now - held[2]) / ARGV[1])
return {string.format('%.3f', math.max(0, held[2] - now)), string.format('%.3f', count)}
""")
# KEYS: one counter. ARGV: tries that are free, seconds after which one is forgiven, the first delay and the longest
# one. Answers the delay from now on.
_COUNT: Final = Script("""
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local free, forgive, first, longest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local held = redis.call('HMGET', KEYS[1], 'count', 'until')
local count = 1
if held[1] then count = math.max(0, held[1] - math.max(0, now - held[2]) / forgive) + 1 end
local delay = 0
if count > free then delay = math.min(longest, first * 2 ^ math.min(count - free - 1, 30)) end
redis.call('HSET', KEYS[1], 'count', string.format('%.3f', count), 'until', string.format('%.6f', now + delay))
redis.call('EXPIRE', KEYS[1], math.ceil(count * forgive + delay))
return string.format('%.3f', delay)
""")


class Escalation(NamedTuple):
    """So many tries are free; beyond that each doubles the delay before the next, from `first_seconds` to
    `longest_seconds`. One is forgiven each `forgive_seconds` in which nobody has to wait."""

    free: int
    forgive_seconds: float
    first_seconds: float
    longest_seconds: float


class Counted(NamedTuple):
    """Something that is counted: the digest that stands for it, and the rule that it goes by."""

    name: str
    rule: Escalation


class AttemptCounts:
    """The counters of one deployment. Everything raises StoreUnavailable. Its owner closes it."""

    def __init__(self, server: RedisServer, prefix: str) -> None:
        self._redis = server
        self._prefix = prefix

    @classmethod
    def connect(cls, redis_url: str, deployment: str) -> AttemptCounts:
        """Connects at the first use. Raises ValueError for a bad URL."""
        # Connections of its own, so that no login waits behind boards.
        return cls(RedisServer.connect(redis_url), f"{prefix_of(deployment)}:attempts")

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.close()

    async def look(self, counted: Sequence[Counted], mark: str | None) -> tuple[list[tuple[float, float]], bool]:
        """Of each: seconds to wait, and the count; and whether the mark is set."""
        requests = [_LOOK.on([self._key(one.name)], [str(one.rule.forgive_seconds)]) for one in counted]
        if mark is not None:
            requests.append(Request(self._key(mark), ("EXISTS", self._key(mark))))
        answers = await self._redis.all_of(requests)
        marked = mark is not None and bool(answers.pop())
        return [(float(wait), float(count)) for wait, count in answers], marked

    async def count(self, counted: Sequence[Counted]) -> list[float]:
        """One more try of each; gives the delays from now on, in seconds."""
        requests = [_COUNT.on([self._key(one.name)], [str(number) for number in one.rule]) for one in counted]
        return [float(delay) for delay in await self._redis.all_of(requests)]

    async def forget(self, name: str, mark: str, mark_seconds: int) -> None:
        """The counter starts from nothing, and the mark is set for so long."""
        key, mark_key = self._key(name), self._key(mark)
        await self._redis.all_of(
            [Request(key, ("DEL", key)), Request(mark_key, ("SET", mark_key, "1", "EX", mark_seconds))]
        )

    def _key(self, name: str) -> str:
        return f"{self._prefix}:{name}"
