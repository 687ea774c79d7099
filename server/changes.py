"""Which ladders have changed: written by the projection, read by the live boards."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping


class ChangedLadders:
    """A set that somebody waits for. Many changes of one ladder count as one.

    Beside it, where it is known, the loop's time at which the oldest of them was committed.
    """

    def __init__(self) -> None:
        self._ladders: set[str] = set()
        self._since: dict[str, float] = {}
        self._taken_since: dict[str, float] = {}
        self._some = asyncio.Event()

    def add(self, ladders: Iterable[str], since: Mapping[str, float] | None = None) -> None:
        """These have changed, by what was committed from those times on."""
        self._ladders.update(ladders)
        for ladder, at in (since or {}).items():
            self._since[ladder] = min(at, self._since.get(ladder, at))
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
        self._taken_since, self._since = self._since, {}
        return ladders

    @property
    def waiting_since(self) -> float | None:
        """When the oldest change was committed that nobody has taken yet; None if there is none, or it is unknown."""
        return min(self._since.values(), default=None)

    def taken_since(self, ladder: str) -> float | None:
        """When the oldest change of the ladder was committed, of those that were taken last; None if it is unknown."""
        return self._taken_since.get(ladder)
