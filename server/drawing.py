"""Comparing drawings off the event loop, a bounded number at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol, TypeVar

from images.compare import distance
from images.decode import decode
from protocol.errors import ErrorCode, RequestError

T = TypeVar("T")

#: Threads that compare. The work is mostly done outside the interpreter's lock, but one core has to be left for play.
THREADS: Final = 1
#: Comparisons that wait or run, about 50 ms each. More would be answered later than anybody waits, and each holds two
#: pictures in memory.
MAX_WAITING: Final = 32
#: What a client is told to wait when there are so many.
RETRY_AFTER_MS: Final = 1000


class Drawings(Protocol):
    """Says how unlike two drawings are."""

    async def distance(self, original: str, drawn: str) -> int:
        """0 for the same drawing, at most 100. Both are base64 or data: URLs. Raises ImageUnreadable, ImageTooLarge,
        RequestError with `rate_limited`, and StoreUnavailable where somebody else compares."""


class Workshop:
    """Threads that decode and compare. Its owner closes it."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="drawing")
        self._waiting = 0

    def waiting(self) -> int:
        """How many wait for their turn."""
        return max(0, self._waiting - THREADS)

    def close(self) -> None:
        """Finish what runs and forget what waits."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def distance(self, original: str, drawn: str) -> int:
        """Compare with our own eyes (docs/decisions/0006-image-comparison.md)."""
        return await self.run(lambda: distance(decode(original), decode(drawn)))

    async def check(self, *pictures: str) -> None:
        """Refuse what is no picture, or too large a one."""
        await self.run(lambda: [decode(picture) for picture in pictures])

    async def run(self, work: Callable[[], T]) -> T:
        """Do a piece of work in its turn. Raises what it raises, and RequestError with `rate_limited`."""
        if self._waiting >= MAX_WAITING:
            raise RequestError(ErrorCode.RATE_LIMITED, retry_after_ms=RETRY_AFTER_MS)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1
