"""What the nodes of one deployment tell each other, by Redis pub/sub.

A notice reaches who listens at that moment, at most once, and nothing is kept: it may only make somebody look sooner at
what the stores hold. Whoever comes back after a lost connection has to look at everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from storage.boards import PATIENCE_SECONDS
from storage.postgres import StoreUnavailable

#: A connection on which nothing was heard for so long is given up; each node hears itself more often than that.
SILENCE_SECONDS: Final = 10.0
_RETRY_SECONDS: Final = 0.2


class Notices:
    """One channel. Its owner closes it."""

    def __init__(self, client: redis.asyncio.Redis, channel: str) -> None:
        self._redis = client
        self._channel = channel

    @classmethod
    def connect(cls, redis_url: str, deployment: str) -> Notices:
        """The channel of that deployment; connects at the first use. Raises ValueError for a bad URL."""
        client = redis.asyncio.Redis.from_url(
            redis_url,
            decode_responses=True,
            socket_timeout=PATIENCE_SECONDS,
            socket_connect_timeout=PATIENCE_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        return cls(client, f"braingame:{deployment}:notices")

    async def close(self) -> None:
        """Close the connections."""
        with suppress(RedisError, OSError, TimeoutError):
            await self._redis.aclose()

    async def publish(self, notice: str) -> None:
        """Tell every node, this one included. Raises StoreUnavailable; then it may have been told or not."""
        try:
            await self._redis.publish(self._channel, notice)
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable("Redis does not answer") from error

    async def listen(self) -> AsyncIterator[str | None]:
        """Notices as they come, for ever. None stands for a new connection, before which any number may have been
        missed."""
        while True:
            with suppress(RedisError, OSError, TimeoutError):
                async with self._redis.pubsub(ignore_subscribe_messages=False) as subscription:
                    await subscription.subscribe(self._channel)
                    while message := await subscription.get_message(timeout=SILENCE_SECONDS):
                        yield None if message["type"] == "subscribe" else str(message["data"])
            await asyncio.sleep(_RETRY_SECONDS)
