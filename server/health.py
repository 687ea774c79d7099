"""Whether this process can do its work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from protocol.http_messages import StoreName
from storage.boards import Boards
from storage.ladders import Ladders
from storage.postgres import StoreUnavailable


class Health:
    """Asks the stores."""

    def __init__(self, ladders: Ladders, boards: Boards) -> None:
        self._checks: dict[StoreName, Callable[[], Awaitable[object]]] = {
            "postgresql": ladders.deployment,
            "redis": boards.ping,
        }

    async def down(self) -> list[StoreName]:
        """What does not answer now."""
        down: list[StoreName] = []
        for name, check in self._checks.items():
            try:
                await check()
            except StoreUnavailable:
                down.append(name)
        return down
