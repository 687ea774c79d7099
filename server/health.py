"""Whether this process can do its work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from protocol.http_messages import PartName
from storage.boards import Boards
from storage.ladders import Ladders
from storage.postgres import StoreUnavailable

#: Seconds between two looks for `watch`.
_WATCH_SECONDS: Final = 5.0


class Health:
    """Asks the stores, and the canary whether what goes through them arrives. One task, `watch`, which the owner starts
    and cancels."""

    def __init__(self, ladders: Ladders, boards: Boards, delivered: Callable[[], bool]) -> None:
        self._delivered = delivered
        self._checks: dict[PartName, Callable[[], Awaitable[object]]] = {
            "postgresql": ladders.deployment,
            "redis": boards.ping,
        }

    async def watch(self, tell: Callable[[list[PartName]], None]) -> None:
        """Tell every few seconds what does not work, until cancelled, whether or not anybody asks."""
        while True:
            # A canary that has landed came through Redis; to ask it as well would cost, and find nothing new.
            tell(await self._down(["postgresql"] if self._delivered() else self._checks))
            await asyncio.sleep(_WATCH_SECONDS)

    async def down(self) -> list[PartName]:
        """What does not work now. Delivery only where no store explains it."""
        return await self._down(self._checks)

    async def _down(self, parts: Iterable[PartName]) -> list[PartName]:
        down: list[PartName] = []
        for name in parts:
            try:
                await self._checks[name]()
            except StoreUnavailable:
                down.append(name)
        return down if down or self._delivered() else ["delivery"]
