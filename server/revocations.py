"""Ended logins reach every socket: each node asks PostgreSQL, so it works without Redis and cannot be missed."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

from server.clock import Clock
from server.hub import Hub
from storage.logins import Logins
from storage.postgres import StoreUnavailable

#: Seconds between two looks; 1 s is promised.
LOOK_SECONDS: Final = 0.4
#: How far the clocks of two nodes may be apart, plus the time that a revocation takes to be committed.
OVERLAP: Final = timedelta(minutes=1)


class Revocations:
    """One task, `run`, which the owner starts and cancels."""

    def __init__(self, logins: Logins, hub: Hub, clock: Clock) -> None:
        self._logins = logins
        self._hub = hub
        self._clock = clock
        self._seen_until = clock()

    async def run(self) -> None:
        """Close the sockets of logins that were ended anywhere, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except StoreUnavailable:
                # The next look begins where the last one that worked has begun.
                continue

    async def look(self) -> None:
        """Close the sockets of logins that have ended since the last look. Raises StoreUnavailable."""
        now = self._clock()
        for sid in await self._logins.revoked_since(self._seen_until - OVERLAP):
            self._hub.end_login(sid, "the login was ended")
        self._seen_until = now
