"""Health: names exactly what does not answer, and notices when it is back."""

from __future__ import annotations

from server.health import Health
from storage.boards import Boards
from storage.ladders import Ladders
from storage.postgres import Postgres
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
