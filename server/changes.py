"""Which ladders have changed: written by the projection, read by the live boards."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable


class ChangedLadders:
    """A set that somebody waits for. Many changes of one ladder count as one."""

    def __init__(self) -> None:
        self._ladders: set[str] = set()
        self._some = asyncio.Event()

    def add(self, ladders: Iterable[str]) -> None:
        """These have changed."""
        self._ladders.update(ladders)
        if self._ladders:
            self._some.set()

    async def wait(self, seconds: float) -> set[str]:
        """Wait for a change, but no longer than this; take all there are."""
        try:
            async with asyncio.timeout(seconds):
                await self._some.wait()
        except TimeoutError:
            return set()
        self._some.clear()
        ladders, self._ladders = self._ladders, set()
        return ladders
