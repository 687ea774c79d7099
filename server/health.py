"""Whether this process can do its work."""

from __future__ import annotations

from storage.boards import Boards
from storage.ladders import Ladders
from storage.postgres import StoreUnavailable


class Health:
    """Asks the stores."""

    def __init__(self, ladders: Ladders, boards: Boards) -> None:
        self._ladders = ladders
        self._boards = boards

    async def down(self) -> list[str]:
        """What does not answer now."""
        down = []
        for name, check in (("postgresql", self._ladders.deployment), ("redis", self._boards.ping)):
            try:
                await check()
            except StoreUnavailable:
                down.append(name)
        return down
