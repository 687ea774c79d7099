"""What is done to a deployment while people play. A fault returns when it is over; what it broke heals by itself."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
import asyncpg
import pytest
import redis.asyncio

from tests.faults.arena import Arena, freeze, thaw
from tests.faults.players import Actor, Spectator

SLOW = 0.05


@dataclass
class Scene:
    """What a fault may touch."""

    arena: Arena
    actors: list[Actor]
    spectators: list[Spectator]
    draw: random.Random
    #: Seconds that something is away.
    away: float


Fault = Callable[[Scene], Awaitable[None]]


async def nothing(scene: Scene) -> None:
    """For comparison."""
    await asyncio.sleep(scene.away)


async def kill_server(scene: Scene) -> None:
    """SIGKILL, and the server is started again."""
    node = scene.draw.choice(scene.arena.nodes)
    await node.server.kill()
    await asyncio.sleep(0.2)
    await node.start()


async def kill_worker(scene: Scene) -> None:
    """SIGKILL for one worker of the first node; its parent starts another."""
    node = scene.arena.nodes[0]
    before = node.workers()
    os.kill(scene.draw.choice(before), signal.SIGKILL)
    while len(set(node.workers()) | set(before)) == len(before):
        await asyncio.sleep(0.02)
    await asyncio.sleep(1)


async def rolling_restart(scene: Scene) -> None:
    """SIGTERM for one node after the other; each is started again before the next."""
    for node in scene.arena.nodes:
        await node.server.stop()
        await node.start()


async def kill_postgres(scene: Scene) -> None:
    """SIGKILL for PostgreSQL's first process, so that all of them end; it is started again."""
    await _killed(scene, scene.arena.postmaster())


async def kill_valkey(scene: Scene) -> None:
    """SIGKILL; it is started again and reads its log."""
    await _killed(scene, await scene.arena.valkey())


async def _killed(scene: Scene, pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    await asyncio.sleep(0.05)
    await scene.arena.until_stores_answer()


async def empty_valkey(scene: Scene) -> None:
    """FLUSHALL."""
    async with redis.asyncio.Redis.from_url(scene.arena.redis_url) as client:
        await client.flushall()


async def freeze_postgres(scene: Scene) -> None:
    """SIGSTOP for every process of PostgreSQL, then SIGCONT."""
    await _frozen(scene, scene.arena.postgres_processes())


async def freeze_valkey(scene: Scene) -> None:
    """SIGSTOP, then SIGCONT."""
    await _frozen(scene, [await scene.arena.valkey()])


async def _frozen(scene: Scene, pids: list[int]) -> None:
    freeze(pids)
    try:
        await asyncio.sleep(scene.away)
    finally:
        thaw(pids)


async def slow_postgres(scene: Scene) -> None:
    """Each piece of data is 50 ms on its way."""
    scene.arena.postgres_gate.delay = SLOW
    await asyncio.sleep(scene.away)
    scene.arena.postgres_gate.delay = 0.0


async def slow_valkey(scene: Scene) -> None:
    """The same before Valkey."""
    scene.arena.redis_gate.delay = SLOW
    await asyncio.sleep(scene.away)
    scene.arena.redis_gate.delay = 0.0


async def cut_off_postgres(scene: Scene) -> None:
    """Connections break and new ones are refused."""
    await scene.arena.postgres_gate.shut()
    await asyncio.sleep(scene.away)
    await scene.arena.postgres_gate.open()


async def cut_off_valkey(scene: Scene) -> None:
    """The same before Valkey."""
    await scene.arena.redis_gate.shut()
    await asyncio.sleep(scene.away)
    await scene.arena.redis_gate.open()


async def hold_postgres(scene: Scene) -> None:
    """Nothing passes, and no connection breaks: a cable that was pulled out."""
    scene.arena.postgres_gate.hold()
    await asyncio.sleep(scene.away)
    scene.arena.postgres_gate.let_pass()


async def hold_valkey(scene: Scene) -> None:
    """The same before Valkey."""
    scene.arena.redis_gate.hold()
    await asyncio.sleep(scene.away)
    scene.arena.redis_gate.let_pass()


async def lose_answers_of_postgres(scene: Scene) -> None:
    """What is asked arrives and is done, but the answers are lost together with the connections."""
    scene.arena.postgres_gate.swallow_answers()
    await asyncio.sleep(0.5)
    await scene.arena.postgres_gate.shut()
    await scene.arena.postgres_gate.open()


async def clients_vanish(scene: Scene) -> None:
    """Half of the players lose their connection without a word, several times."""
    for _ in range(4):
        for actor in scene.draw.sample(scene.actors, len(scene.actors) // 2):
            await actor.vanish()
        await asyncio.sleep(scene.away / 4)


async def readers_stall(scene: Scene) -> None:
    """Half of the spectators read nothing for a while."""
    stalled = [one.link for one in scene.spectators[::2] if one.link is not None]
    for link in stalled:
        link.reads.clear()
    await asyncio.sleep(scene.away)
    for link in stalled:
        link.reads.set()


async def full_disk(scene: Scene) -> None:
    """Not a byte is left on the disk of PostgreSQL and Valkey, then there is room again."""
    ballast = scene.arena.folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 65536)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    try:
        connection = await asyncpg.connect(scene.arena.database_url)
        with pytest.raises(asyncpg.DiskFullError):
            await connection.execute("CREATE TABLE too_much AS SELECT generate_series(1, 1000000)")
        await connection.close()
        await asyncio.sleep(scene.away)
    finally:
        ballast.unlink()
    await scene.arena.until_stores_answer()


async def clock_steps(scene: Scene) -> None:
    """The nodes' clocks go forward and back by minutes and by a day."""
    for offset in ("+300", "-300", "+86400", "-86400", "+0"):
        (scene.arena.folder / "clock").write_text(offset)
        async with aiohttp.ClientSession() as http:
            for node in scene.arena.nodes:
                async with http.get(f"http://{node.netloc}/healthz") as answer:
                    told = parsedate_to_datetime(answer.headers["Date"]) - datetime.now(UTC)
                assert abs(told.total_seconds() - int(offset)) < 30, "the clock did not move"
        await asyncio.sleep(scene.away / 2)


#: These need an arena of their own.
ON_A_SMALL_DISK: dict[str, Fault] = {"full disk": full_disk}
WITH_A_CLOCK: dict[str, Fault] = {"clock steps": clock_steps}

FAULTS: dict[str, Fault] = {
    "nothing": nothing,
    "SIGKILL of a server": kill_server,
    "SIGKILL of a worker": kill_worker,
    "rolling restart of two nodes (SIGTERM)": rolling_restart,
    "SIGKILL of PostgreSQL": kill_postgres,
    "SIGKILL of Valkey": kill_valkey,
    "Valkey emptied": empty_valkey,
    "PostgreSQL frozen": freeze_postgres,
    "Valkey frozen": freeze_valkey,
    "PostgreSQL slow": slow_postgres,
    "Valkey slow": slow_valkey,
    "PostgreSQL cut off": cut_off_postgres,
    "Valkey cut off": cut_off_valkey,
    "PostgreSQL out of reach": hold_postgres,
    "Valkey out of reach": hold_valkey,
    "answers of PostgreSQL lost": lose_answers_of_postgres,
    "clients vanish": clients_vanish,
    "readers stall": readers_stall,
}
