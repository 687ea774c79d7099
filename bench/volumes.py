"""How much is written, kept and sent: bytes for an action, for a log's row, for an entry of a board.

    python -m bench.volumes --players 500 --entries 100000

PostgreSQL's write-ahead log and the growth of its tables with their indexes while a load plays; the memory that Redis
takes for each entry of a board; and how long this disk takes to make one small write durable. These do not depend on
what else the machine does, but for the last.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from typing import Any, Final

import redis.asyncio
import uvloop

from bench.bulk import add_entries, add_players, settle
from bench.load import Load
from bench.machine import Cores, brain_game, stores
from bench.results import keep
from bench.sockets import Socket, register
from storage.postgres import Postgres

_SECONDS: Final = 5.0
_WRITES: Final = 200
_WRITTEN: Final = """
    SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint AS log,
        (SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class WHERE relname = 'session_events') AS events,
        (SELECT count(*) FROM session_events) AS actions
"""


async def measure(players: int, entries: int) -> dict[str, Any]:
    """Bytes, and milliseconds for a durable write."""
    cores = Cores.of_this_machine()
    async with stores(cores) as urls:
        async with brain_game(cores, urls) as one:
            postgres = await Postgres.connect(urls.database, connections=1)
            load = Load(one.url)
            await load.arrive(players)
            await load.play(1.0)
            await settle(postgres)
            (before,) = await postgres.fetch(_WRITTEN)
            await load.play(_SECONDS, warm=0.0)
            load.leave()
            (after,) = await postgres.fetch(_WRITTEN)
        actions = after["actions"] - before["actions"]
        numbers = await add_players(postgres, entries)
        await postgres.close()
        memory = redis.asyncio.Redis.from_url(urls.redis)
        async with brain_game(cores, urls) as one:
            ((socket, _),) = await register(one.url, 1)
            await _board(socket)
            empty = (await memory.info("memory"))["used_memory"]
            postgres = await Postgres.connect(urls.database, connections=1)
            held = await _board(socket)
            await add_entries(postgres, numbers)
            await postgres.close()
            async with asyncio.timeout(120):
                while await _board(socket) < held + entries:  # noqa: ASYNC110
                    await asyncio.sleep(0.5)
            full = (await memory.info("memory"))["used_memory"]
            socket.drop()
        await memory.aclose()
    return {
        "actions": actions,
        "wal_bytes_an_action": (after["log"] - before["log"]) / actions,
        "kept_bytes_an_action": (after["events"] - before["events"]) / actions,
        "redis_bytes_an_entry": (full - empty) / entries,
        "sync_ms": statistics.median(_syncs()) * 1000,
    }


async def _board(socket: Socket) -> int:
    total: int = (await socket.ask("leaderboard.get", board="all-time", limit=1, offset=0))["total"]
    return total


def _syncs() -> list[float]:
    """Seconds for each durable write of 8 KB, one after the other."""
    took = []
    with tempfile.TemporaryFile() as file:
        for _ in range(_WRITES):
            begun = time.perf_counter()
            os.write(file.fileno(), bytes(8192))
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - begun)
    return took


def main() -> None:
    """Measure, keep, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--players", type=int, default=500)
    parser.add_argument("--entries", type=int, default=100_000)
    options = parser.parse_args()
    found = uvloop.run(measure(options.players, options.entries))
    print(found)
    keep("volumes", found)


if __name__ == "__main__":
    main()
