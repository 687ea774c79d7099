"""Reads by key, gathered: while one statement is on its way, what is asked for waits and makes up the next one.

Thousands who come back at once are a few statements this way, as their actions are a few commits (storage/commits.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from typing import Final, Generic, TypeVar

from storage.postgres import PATIENCE_SECONDS, StoreUnavailable, deadline_of

Key = TypeVar("Key")
Value = TypeVar("Value")

#: Keys in one statement.
MOST: Final = 500


class Gathered(Generic[Key, Value]):
    """Asks `read` for the values of many keys at a time; those that it does not find are left out of its answer.

    What is given was read after it was asked for. Errors of `read` are those of everyone whose key was in it.
    """

    def __init__(self, read: Callable[[list[Key]], Awaitable[Mapping[Key, Value]]]) -> None:
        self._read = read
        self._waiting: dict[Key, list[asyncio.Future[Value | None]]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def get(self, key: Key) -> Value | None:
        """The key's value; raises StoreUnavailable when none can be had in time, and what `read` raises."""
        loop = asyncio.get_running_loop()
        asked: asyncio.Future[Value | None] = loop.create_future()
        self._waiting.setdefault(key, []).append(asked)
        if self._reading is None:
            # In a context of its own: the patience of the one who happens to be the first is not that of all.
            self._reading = loop.create_task(self._read_all(), context=Context())
        timer = loop.call_at(deadline_of(PATIENCE_SECONDS), _give_up, asked)
        try:
            return await asked
        finally:
            timer.cancel()

    async def _read_all(self) -> None:
        try:
            while self._waiting:
                batch = {key: self._waiting.pop(key) for key in list(self._waiting)[:MOST]}
                try:
                    found = await self._read(list(batch))
                except Exception as error:
                    for asked in (each for several in batch.values() for each in several if not each.done()):
                        asked.set_exception(error)
                    continue
                for key, several in batch.items():
                    for asked in several:
                        if not asked.done():
                            asked.set_result(found.get(key))
        finally:
            self._reading = None


def _give_up(asked: asyncio.Future[Value | None]) -> None:
    if not asked.done():
        asked.set_exception(StoreUnavailable("PostgreSQL does not answer"))
