"""What the nodes of one deployment tell each other, by Redis pub/sub.

A notice reaches who listens at that moment, at most once, and nothing is kept: it may only make somebody look sooner at
what the stores hold. Whoever comes back after a lost connection has to look at everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Final

from storage.postgres import StoreUnavailable
from storage.redis_server import RedisServer

#: A connection on which nothing was heard for so long is given up; each node hears itself more often than that.
SILENCE_SECONDS: Final = 10.0
_RETRY_SECONDS: Final = 0.2


class Notices:
    """One channel. Its owner closes it."""

    def __init__(self, server: RedisServer, channel: str) -> None:
        self._redis = server
        self._channel = channel

    @classmethod
    def connect(cls, redis_url: str, deployment: str) -> Notices:
        """The channel of that deployment; connects at the first use. Raises ValueError for a bad URL."""
        # Connections of its own, so that no notice waits behind boards.
        return cls(RedisServer.connect(redis_url), f"braingame:{deployment}:notices")

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.close()

    async def publish(self, notice: str) -> None:
        """Tell every node, this one included. Raises StoreUnavailable; then it may have been told or not."""
        await self._redis.publish(self._channel, notice)

    async def listeners(self) -> int:
        """How many nodes listen now. Raises StoreUnavailable."""
        return await self._redis.listeners(self._channel)

    async def listen(self) -> AsyncIterator[str | None]:
        """Notices as they come, for ever. None stands for a new connection, before which any number may have been
        missed: the old one broke, fell silent, or another server has the channel now."""
        while True:
            with suppress(StoreUnavailable):
                async with aclosing(self._redis.subscription(self._channel, SILENCE_SECONDS)) as subscription:
                    async for notice in subscription:
                        yield notice
            await asyncio.sleep(_RETRY_SECONDS)
