"""bcrypt off the event loop, and never more of it at once than leaves room for play."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import bcrypt

from protocol.errors import ErrorCode, RequestError

#: How many may wait for their turn: a class that registers together, not a crowd whose last ones have long gone away.
MAX_WAITING: Final = 1000
_NICENESS: Final = 10
_BCRYPT_READS_BYTES: Final = 72
T = TypeVar("T")

_SALT: Final = "abcdefghijklmnopqrstuu"
_DIGEST: Final = "abcdefghijklmnopqrstuvwxyzabcde"


class Passwords:
    """Hashes and checks passwords in a few threads of low priority."""

    def __init__(self, cost: int, *, threads: int | None = None) -> None:
        self._cost = cost
        # bcrypt lets go of the interpreter lock, so one core can hash while another one plays.
        self._threads = threads or max(1, (os.cpu_count() or 1) - 1)
        self._pool = ThreadPoolExecutor(self._threads, "bcrypt", initializer=_yield_to_play)
        self._waiting = 0
        # A hash that no password has: checking against it takes as long as checking against a real one.
        self._nobody = f"$2b${cost:02d}${_SALT}{_DIGEST}"

    async def hash(self, password: str) -> str:
        """The hash to keep, salt and cost included. Raises RequestError (`unavailable`) when too many wait."""
        encoded = password.encode()
        hashed = await self._run(lambda: bcrypt.hashpw(encoded, bcrypt.gensalt(self._cost)))
        return hashed.decode()

    async def check(self, password: str, password_hash: str | None) -> bool:
        """Whether the password has this hash; no hash (an unknown email) takes as long and is never right."""
        encoded = password.encode()
        if len(encoded) > _BCRYPT_READS_BYTES or b"\0" in encoded:
            # Cannot be anybody's password. The time is spent all the same.
            encoded, password_hash = b"", None
        known = (password_hash or self._nobody).encode()
        matches = await self._run(lambda: bcrypt.checkpw(encoded, known))
        return matches and password_hash is not None

    def waiting(self) -> int:
        """How many wait for their turn."""
        return max(0, self._waiting - self._threads)

    def close(self) -> None:
        """Stop; what waits is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= MAX_WAITING + self._threads:
            raise RequestError(ErrorCode.UNAVAILABLE, "Too many logins at once; please try again.", retry_after_ms=2000)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1


def _yield_to_play() -> None:
    # Linux gives each thread its own niceness; the thread of the event loop keeps its share of a busy core.
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
