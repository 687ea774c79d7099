"""Usernames by registration number, for the boards: read once, then from memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from typing import Final

from storage.accounts import Accounts

#: About 100 bytes each.
MAX_CACHED: Final = 20_000
_GONE: Final = "…"


class Names:
    """A cache in front of the players' table. A name never changes."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._names: OrderedDict[int, str] = OrderedDict()

    async def of(self, numbers: Collection[int]) -> dict[int, str]:
        """The names of these players. Raises StoreUnavailable when one is not known and PostgreSQL is away."""
        unknown = [number for number in numbers if number not in self._names]
        if unknown:
            self._names.update(await self._accounts.usernames(unknown))
        found = {number: self._names.get(number, _GONE) for number in numbers}
        for number in found:
            if number in self._names:
                self._names.move_to_end(number)
        while len(self._names) > MAX_CACHED:
            self._names.popitem(last=False)
        return found

    def forget(self, number: int) -> None:
        """The player has deleted the account."""
        self._names.pop(number, None)
