"""How much one client may ask for: a socket, a player, an address. Pure: the time is passed in.

The numbers here are the defaults of the settings of the same name, and say why they are what they are.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Final

#: Messages a second that a socket may send for long. A person who plays sends a few; a client that catches up after a
#: lost connection, some dozens at once.
MESSAGES_PER_SECOND: Final = 200.0
MESSAGES_AT_ONCE: Final = 400.0
#: A longer message counts as so many as it has pieces of this size, since reading it costs the more.
BYTES_OF_ONE_MESSAGE: Final = 16 * 1024
#: Refusals that a socket may collect at once, and a second in the long run, before it is closed: a client that heeds
#: `retryAfterMs` collects none. Not a count of refusals in a row: with a new token each 5 ms even a flood has an answer
#: among them now and then.
REFUSALS_AT_ONCE: Final = 400.0
REFUSALS_PER_SECOND: Final = 200.0
#: Malformed messages in a row before the socket is closed.
MALFORMED_BEFORE_CLOSE: Final = 10
#: The same for all sockets of a player on this node and its HTTP requests together: ten tabs that come back at once,
#: and no more work for the stores than a few sockets could ask for.
PLAYER_MESSAGES_PER_SECOND: Final = 500.0
PLAYER_MESSAGES_AT_ONCE: Final = 2000.0
#: Bytes of one message or HTTP body. The largest without a picture has some hundred.
MESSAGE_BYTES: Final = 64 * 1024
#: The same for players, who send two pictures in base64: a canvas of 2,000 x 2,000 pixels is well below 1 MB as PNG.
PLAYER_MESSAGE_BYTES: Final = 4 * 1024 * 1024
#: Pieces that one message may come in. Libraries that cut at all do so at 16 KiB, which makes 256 of the largest.
MESSAGE_FRAGMENTS: Final = 1024
#: Bytes that a fragment counts for beside its own, since a piece costs work however little is in it.
BYTES_OF_ONE_FRAGMENT: Final = 1024
#: Seconds from the first byte of a message to its last one, or of an HTTP body: the largest at 70 KB a second.
MESSAGE_SECONDS: Final = 60.0
#: Boards that a socket may follow at once. There are 33: three periods, all games and ten difficulties.
SUBSCRIPTIONS_PER_SOCKET: Final = 33
#: Open connections of one address (IPv6: of one /64) to a process. A hall with a thousand phones behind one address is
#: let in; a single machine does not get at all the memory that there is.
SOCKETS_PER_ADDRESS: Final = 1000
#: Sockets of one account on a process: twenty devices of ten tabs.
SOCKETS_PER_ACCOUNT: Final = 200
#: Connections whose first request is not complete yet, of all addresses together: 16 KiB each at most, and ten seconds.
#: More than the thousands who come back together after a restart.
DOORWAY_CONNECTIONS: Final = 10_000
#: What a socket that is one too many is told to wait for another one to close.
TOO_MANY_RETRY_MS: Final = 5000
#: Players whose buckets are kept between two sockets or requests, some 200 bytes each.
_BUCKETS: Final = 10_000


@dataclass(slots=True)
class TokenBucket:
    """At most `burst` at once and `rate` a second in the long run; times in seconds of any steady clock."""

    rate: float
    burst: float
    tokens: float
    updated_at: float

    @classmethod
    def full(cls, rate: float, burst: float, now: float) -> TokenBucket:
        """A bucket that nothing was taken from yet."""
        return cls(rate, burst, burst, now)

    def take(self, now: float, tokens: float = 1) -> float:
        """Take tokens, no more than `burst`: 0, or the seconds after which there will be enough."""
        self.tokens = min(self.burst, self.tokens + max(0.0, now - self.updated_at) * self.rate)
        self.updated_at = now
        if self.tokens >= tokens:
            self.tokens -= tokens
            return 0.0
        return (tokens - self.tokens) / self.rate


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """What one connection may do; see the constants for units and reasons."""

    messages_per_second: float = MESSAGES_PER_SECOND
    messages_at_once: float = MESSAGES_AT_ONCE
    message_fragments: int = MESSAGE_FRAGMENTS
    message_seconds: float = MESSAGE_SECONDS
    subscriptions: int = SUBSCRIPTIONS_PER_SOCKET


class PlayerBuckets:
    """One bucket for each player, shared by its sockets and its HTTP requests here. The least used are forgotten, and
    begin full again."""

    def __init__(
        self,
        rate: float = PLAYER_MESSAGES_PER_SECOND,
        burst: float = PLAYER_MESSAGES_AT_ONCE,
        most: int = _BUCKETS,
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._most = most
        self._buckets: OrderedDict[int, TokenBucket] = OrderedDict()

    def of(self, number: int, now: float) -> TokenBucket:
        """The bucket of the player of this number; `now` in seconds of the clock by which it is used."""
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = TokenBucket.full(self._rate, self._burst, now)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(number)
        return bucket


class Crowd:
    """How many are inside by address, and whether one more may come in."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._inside: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Let one in; False, and nobody is let in, when the address has enough inside."""
        if self._inside[address] >= self._most:
            return False
        self._inside[address] += 1
        return True

    def leave(self, address: str) -> None:
        """One that was let in has gone."""
        self._inside[address] -= 1
        if self._inside[address] <= 0:
            # Or addresses that were here once would be kept for ever.
            del self._inside[address]

    def __len__(self) -> int:
        return len(self._inside)


def milliseconds(seconds: float) -> int:
    """For `retryAfterMs`: rounded up, so that who waits as told is not refused again."""
    return math.ceil(seconds * 1000)
