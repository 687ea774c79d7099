"""Comparing drawings off the event loop, a bounded number at once and each player in turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from images.compare import distance
from images.decode import decode
from protocol.errors import ErrorCode, RequestError
from server.fair_pool import FairPool

T = TypeVar("T")

#: Comparisons of pictures that wait, 50 to 350 ms each. More would be answered later than anybody waits, and
#: each holds two pictures in memory.
MAX_PICTURES: Final = 32
#: Answers that wait, about 50 ms each. Each holds a few KB, and who has to come back may be late by then.
MAX_ANSWERS: Final = 256
#: Of one player that wait.
MAX_OF_ONE: Final = 2
#: What a client is told to wait when there are so many.
RETRY_AFTER_MS: Final = 1000


class Drawings(Protocol):
    """Says how unlike two drawings are."""

    async def distance(self, whose: int, original: str, drawn: str) -> int:
        """0 for the same drawing, at most 100. Both are base64 or data: URLs; `whose` is the number of the player who
        asks. Raises ImageUnreadable, ImageTooLarge, RequestError with `rate_limited`, and StoreUnavailable where
        somebody else compares."""


class Workshop:
    """Threads that decode and compare. Its owner closes it."""

    def __init__(self) -> None:
        # The work is mostly done outside the interpreter's lock, but a core has to be left for play: one thread each.
        self._pictures = FairPool(1, "drawing", most=MAX_PICTURES, most_of_one=MAX_OF_ONE, refusal=_too_many)
        # Pictures must not make a drawing stage late.
        self._answers = FairPool(1, "answer", most=MAX_ANSWERS, most_of_one=MAX_OF_ONE, refusal=_too_many)

    def waiting(self) -> int:
        """How many wait for their turn."""
        return self._pictures.waiting() + self._answers.waiting()

    def close(self) -> None:
        """Finish what runs and forget what waits."""
        self._pictures.close()
        self._answers.close()

    async def distance(self, whose: int, original: str, drawn: str) -> int:
        """Compare with our own eyes (docs/decisions/0006-image-comparison.md)."""
        return await self._pictures.run(lambda: distance(decode(original), decode(drawn)), whose)

    async def check(self, whose: int, *pictures: str) -> None:
        """Refuse what is no picture, or too large a one."""
        await self._pictures.run(lambda: [decode(picture) for picture in pictures], whose)

    async def run(self, work: Callable[[], T], whose: int) -> T:
        """Judge a player's answer in its turn. Raises what the work raises, and RequestError with `rate_limited`."""
        return await self._answers.run(work, whose)


def _too_many() -> RequestError:
    return RequestError(ErrorCode.RATE_LIMITED, retry_after_ms=RETRY_AFTER_MS)
