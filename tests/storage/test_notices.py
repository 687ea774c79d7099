"""Notices: who listens hears what is published, and who comes back knows that something may have been missed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from storage.notices import Notices
from storage.postgres import StoreUnavailable
from tests.server.gate import Gate
from tests.storage.redis_servers import ON_EVERY_KIND


@pytest.fixture
async def notices(redis_url: str) -> AsyncIterator[Notices]:
    found = Notices.connect(redis_url, uuid4().hex)
    yield found
    await found.close()


@ON_EVERY_KIND
async def test_every_listener_hears_what_is_published_in_order(notices: Notices, redis_url: str) -> None:
    other = Notices.connect(redis_url, notices._channel.split(":")[1])
    stranger = Notices.connect(redis_url, uuid4().hex)
    listeners = [each.listen() for each in (notices, other, stranger)]
    assert [await anext(listener) for listener in listeners] == [None] * 3
    for text in ("one", "two", "drei ü"):
        await notices.publish(text)
    await stranger.publish("elsewhere")
    async with asyncio.timeout(10):
        for listener in listeners[:2]:
            assert [await anext(listener) for _ in range(3)] == ["one", "two", "drei ü"]
        assert await anext(listeners[2]) == "elsewhere"
    for listener in listeners:
        await listener.aclose()  # type: ignore[attr-defined]
    await other.close()
    await stranger.close()


async def test_listener_is_told_when_it_may_have_missed_something(redis_gate: Gate) -> None:
    notices = Notices.connect(redis_gate.url, uuid4().hex)
    listener = notices.listen()
    assert await anext(listener) is None
    await redis_gate.shut()
    with pytest.raises(StoreUnavailable):
        await notices.publish("lost")
    await redis_gate.open()
    async with asyncio.timeout(10):
        assert await anext(listener) is None
        await notices.publish("heard")
        assert await anext(listener) == "heard"
    await listener.aclose()  # type: ignore[attr-defined]
    await notices.close()


async def test_nobody_is_told_while_redis_is_away() -> None:
    notices = Notices.connect("redis://127.0.0.1:1/0", "x")
    async with asyncio.timeout(3):
        with pytest.raises(StoreUnavailable):
            await notices.publish("lost")
    await notices.close()
