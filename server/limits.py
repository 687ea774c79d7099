"""How much one socket may ask for. Pure: the time is passed in."""

from __future__ import annotations

import math
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


def milliseconds(seconds: float) -> int:
    """For `retryAfterMs`: rounded up, so that who waits as told is not refused again."""
    return math.ceil(seconds * 1000)
