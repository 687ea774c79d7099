"""bcrypt off the event loop, and never more of it at once than leaves room for play."""

from __future__ import annotations

import os
import threading
from typing import Final

import bcrypt

from protocol.errors import ErrorCode, RequestError
from server.fair_pool import FairPool

#: How many may wait for their turn: a class that registers together, not a crowd whose last ones have long gone away.
MAX_WAITING: Final = 1000
#: How many of one address: some classes. Addresses take turns, so these delay nobody but each other.
MAX_WAITING_OF_ONE: Final = 250
_NICENESS: Final = 10
_BCRYPT_READS_BYTES: Final = 72

_SALT: Final = "abcdefghijklmnopqrstuu"
_DIGEST: Final = "abcdefghijklmnopqrstuvwxyzabcde"


class Passwords:
    """Hashes and checks passwords in a few threads of low priority."""

    def __init__(self, cost: int, *, threads: int | None = None) -> None:
        self._cost = cost
        # bcrypt lets go of the interpreter lock, so one core can hash while another one plays.
        threads = threads or max(1, (os.cpu_count() or 1) - 1)
        self._pool = FairPool(
            threads,
            "bcrypt",
            most=MAX_WAITING,
            most_of_one=MAX_WAITING_OF_ONE,
            refusal=_too_many,
            initializer=_yield_to_play,
        )
        # A hash that no password has: checking against it takes as long as checking against a real one.
        self._nobody = f"$2b${cost:02d}${_SALT}{_DIGEST}"

    # `address` is whose turn it is taken for; None for a client of this machine.

    async def hash(self, password: str, address: str | None = None) -> str:
        """The hash to keep, salt and cost included. Raises RequestError (`unavailable`) when too many wait."""
        encoded = password.encode()
        hashed = await self._pool.run(lambda: bcrypt.hashpw(encoded, bcrypt.gensalt(self._cost)), address)
        return hashed.decode()

    async def check(self, password: str, password_hash: str | None, address: str | None = None) -> bool:
        """Whether the password has this hash; no hash (an unknown email) takes as long and is never right."""
        encoded = password.encode()
        if len(encoded) > _BCRYPT_READS_BYTES or b"\0" in encoded:
            # Cannot be anybody's password. The time is spent all the same.
            encoded, password_hash = b"", None
        known = (password_hash or self._nobody).encode()
        matches = await self._pool.run(lambda: bcrypt.checkpw(encoded, known), address)
        return matches and password_hash is not None

    def waiting(self) -> int:
        """How many wait for their turn."""
        return self._pool.waiting()

    def close(self) -> None:
        """Stop; what waits is dropped."""
        self._pool.close()


def _too_many() -> RequestError:
    return RequestError(ErrorCode.UNAVAILABLE, "Too many logins at once; please try again.", retry_after_ms=2000)


def _yield_to_play() -> None:
    # Linux gives each thread its own niceness; the thread of the event loop keeps its share of a busy core.
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
