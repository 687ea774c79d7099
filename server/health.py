"""Whether this process can do its work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from protocol.http_messages import PartName
from storage.boards import Boards
from storage.ladders import Ladders
from storage.postgres import StoreUnavailable


class Health:
    """Asks the stores, and the canary whether what goes through them arrives."""

    def __init__(self, ladders: Ladders, boards: Boards, delivered: Callable[[], bool]) -> None:
        self._delivered = delivered
        self._checks: dict[PartName, Callable[[], Awaitable[object]]] = {
            "postgresql": ladders.deployment,
            "redis": boards.ping,
        }

    async def down(self) -> list[PartName]:
        """What does not work now. Delivery only where no store explains it."""
        down: list[PartName] = []
        for name, check in self._checks.items():
            try:
                await check()
            except StoreUnavailable:
                down.append(name)
        return down if down or self._delivered() else ["delivery"]
