"""Comparing drawings off the event loop, a bounded number at once and each player in turn."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol, TypeVar

from images.compare import distance
from images.decode import decode
from protocol.errors import ErrorCode, RequestError

T = TypeVar("T")

#: Comparisons of pictures that wait or run, 50 to 350 ms each. More would be answered later than anybody waits, and
#: each holds two pictures in memory.
MAX_PICTURES: Final = 32
#: Answers that wait or run, about 50 ms each. Each holds a few KB, and who has to come back may be late by then.
MAX_ANSWERS: Final = 256
#: Of one player, wait or run: one to be looked at, and the next one.
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
        self._pictures = FairThread("drawing", MAX_PICTURES)
        # Pictures must not make a drawing stage late.
        self._answers = FairThread("answer", MAX_ANSWERS)

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


class FairThread:
    """One thread, and a queue for each player: however many one sends, the others wait for one piece of it each."""

    def __init__(self, name: str, most: int) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._most = most
        #: What waits, by player, in the order of their turns.
        self._queues: dict[int, deque[_Piece]] = {}
        #: What waits or runs, by player. What was given up while it runs counts until the thread is free.
        self._held: Counter[int] = Counter()
        self._running = False

    def waiting(self) -> int:
        """How many wait for their turn."""
        return sum(map(len, self._queues.values()))

    def close(self) -> None:
        """Finish what runs and forget what waits."""
        for queue in self._queues.values():
            for piece in queue:
                piece.done.cancel()
        self._queues.clear()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def run(self, work: Callable[[], T], whose: int) -> T:
        """Do a piece of a player's work in its turn. Raises what it raises, and RequestError with `rate_limited`."""
        if self._held[whose] >= MAX_OF_ONE or self._held.total() >= self._most:
            raise RequestError(ErrorCode.RATE_LIMITED, retry_after_ms=RETRY_AFTER_MS)
        piece = _Piece(work, whose)
        self._held[whose] += 1
        self._queues.setdefault(whose, deque()).append(piece)
        self._next()
        try:
            return await piece.done  # type: ignore[no-any-return]
        except asyncio.CancelledError:
            self._give_up(piece)
            raise

    def _next(self) -> None:
        if self._running or not self._queues:
            return
        whose = next(iter(self._queues))
        queue = self._queues.pop(whose)
        piece = queue.popleft()
        if queue:
            self._queues[whose] = queue  # behind all others
        self._running = True
        doing = asyncio.get_running_loop().run_in_executor(self._thread, piece.work)
        doing.add_done_callback(lambda done: self._done(piece, done))

    def _done(self, piece: _Piece, doing: asyncio.Future[Any]) -> None:
        self._running = False
        self._release(piece.whose)
        if doing.cancelled():  # closed
            piece.done.cancel()
            return
        error = doing.exception()
        if not piece.done.done():
            if error is None:
                piece.done.set_result(doing.result())
            else:
                piece.done.set_exception(error)
        self._next()

    def _give_up(self, piece: _Piece) -> None:
        queue = self._queues.get(piece.whose)
        if queue is None or piece not in queue:
            return
        queue.remove(piece)
        if not queue:
            del self._queues[piece.whose]
        self._release(piece.whose)

    def _release(self, whose: int) -> None:
        self._held[whose] -= 1
        if not self._held[whose]:
            del self._held[whose]


class _Piece:
    """Work, whose it is, and where its outcome is waited for."""

    __slots__ = ("done", "whose", "work")

    def __init__(self, work: Callable[[], Any], whose: int) -> None:
        self.work = work
        self.whose = whose
        self.done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
