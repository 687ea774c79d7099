"""Threads that serve clients in turn, so that one who asks for much waits for itself and not for the others to wait."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

from protocol.errors import RequestError

T = TypeVar("T")


class FairPool:
    """A few threads, and a queue for each client. Of one event loop; its owner closes it."""

    def __init__(
        self,
        threads: int,
        name: str,
        *,
        most: int,
        most_of_one: int,
        refusal: Callable[[], RequestError],
        initializer: Callable[[], None] | None = None,
    ) -> None:
        """At most `most` pieces of work wait in all and `most_of_one` of one client; `refusal` makes the error for what
        is too much; each thread, called `name` and a number, begins with `initializer`."""
        self._threads = ThreadPoolExecutor(threads, name, initializer=initializer)
        self._free = threads
        self._most = most
        self._most_of_one = most_of_one
        self._refusal = refusal
        #: Whose turn it is comes first. No queue is empty.
        self._queues: OrderedDict[Hashable, deque[_Piece]] = OrderedDict()
        self._waiting = 0
        self._closed = False

    def waiting(self) -> int:
        """How many wait for their turn."""
        return self._waiting

    async def run(self, work: Callable[[], T], whose: Hashable | None) -> T:
        """Do a piece of work of this client in its turn; None, the clients of this machine, are one client that may
        have as many as there is room for. Raises what the work raises, and the refusal."""
        piece = _Piece(work, whose, asyncio.get_running_loop().create_future())
        if self._closed:
            raise self._refusal()
        if self._free:
            self._start(piece)
        else:
            self._queue(piece)
        try:
            return cast("T", await piece.done)
        finally:
            self._leave(piece)

    def close(self) -> None:
        """Finish what runs and forget what waits."""
        self._closed = True
        for queue in self._queues.values():
            for piece in queue:
                piece.done.cancel()
        self._queues.clear()
        self._waiting = 0
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _queue(self, piece: _Piece) -> None:
        own = self._queues.get(piece.whose, ())
        if piece.whose is not None and len(own) >= self._most_of_one:
            raise self._refusal()
        if self._waiting >= self._most:
            # Some clients together must not shut the others out either: whoever has the most loses its last.
            longest = max(self._queues.values(), key=len)
            if len(longest) <= len(own) + 1:
                raise self._refusal()
            dropped = longest[-1]
            self._leave(dropped)
            if not dropped.done.done():
                dropped.done.set_exception(self._refusal())
        self._queues.setdefault(piece.whose, deque()).append(piece)
        self._waiting += 1

    def _leave(self, piece: _Piece) -> None:
        queue = self._queues.get(piece.whose)
        if queue is None or piece not in queue:
            return
        queue.remove(piece)
        self._waiting -= 1
        if not queue:
            del self._queues[piece.whose]

    def _start(self, piece: _Piece) -> None:
        self._free -= 1
        running = asyncio.get_running_loop().run_in_executor(self._threads, piece.work)
        running.add_done_callback(lambda running: self._ended(piece, running))

    def _ended(self, piece: _Piece, running: asyncio.Future[Any]) -> None:
        self._free += 1
        error = None if running.cancelled() else running.exception()
        if not piece.done.done():
            if running.cancelled():
                piece.done.cancel()
            elif error is not None:
                piece.done.set_exception(error)
            else:
                piece.done.set_result(running.result())
        while self._queues and self._free and not self._closed:
            whose, queue = next(iter(self._queues.items()))
            following = queue.popleft()
            self._waiting -= 1
            if queue:
                self._queues.move_to_end(whose)
            else:
                del self._queues[whose]
            if not following.done.done():
                self._start(following)


class _Piece:
    """Some work, whose it is, and what becomes of it."""

    __slots__ = ("done", "whose", "work")

    def __init__(self, work: Callable[[], Any], whose: Hashable | None, done: asyncio.Future[Any]) -> None:
        self.work = work
        self.whose = whose
        self.done = done
