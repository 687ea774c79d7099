"""Health: names exactly what does not answer, and notices when it is back."""

from __future__ import annotations

import asyncio

from protocol.http_messages import PartName
from server.health import Health
from storage.boards import Boards
from storage.ladders import Ladders
from storage.postgres import Postgres
from tests.server.fakes import DEADLINE
from tests.server.gate import Gate


async def test_health_names_what_is_down_now(postgres_gate: Gate, redis_gate: Gate) -> None:
    postgres = await Postgres.connect(postgres_gate.url, connections=1)
    boards = Boards.connect(redis_gate.url, "health")
    delivered = True
    health = Health(Ladders(postgres), boards, lambda: delivered)
    assert await health.down() == []
    await redis_gate.shut()
    assert await health.down() == ["redis"]
    await postgres_gate.shut()
    assert await health.down() == ["postgresql", "redis"]
    await redis_gate.open()
    await postgres_gate.open()
    assert await health.down() == []
    delivered = False
    assert await health.down() == ["delivery"]
    await redis_gate.shut()
    assert await health.down() == ["redis"]  # which explains it
    await boards.close()
    await postgres.close()


async def test_watch_tells_what_is_down_without_being_asked(postgres_gate: Gate, redis_gate: Gate) -> None:
    postgres = await Postgres.connect(postgres_gate.url, connections=1)
    boards = Boards.connect(redis_gate.url, "health")
    delivered = True
    health = Health(Ladders(postgres), boards, lambda: delivered)
    told: asyncio.Queue[list[PartName]] = asyncio.Queue()

    async def next_look() -> list[PartName]:
        watching = asyncio.create_task(health.watch(told.put_nowait))
        try:
            async with asyncio.timeout(DEADLINE):
                return await told.get()
        finally:
            watching.cancel()

    assert await next_look() == []
    await redis_gate.shut()
    assert await next_look() == []  # what was delivered a moment ago came through Redis
    delivered = False
    assert await next_look() == ["redis"]
    await boards.close()
    await postgres.close()
