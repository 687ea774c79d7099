"""What one more node costs the stores, and the two things of it that grow with the square of their number.

    python -m bench.nodes --nodes 1 2 4 8 --rate 500 --rounds 2

- Nodes that only follow: players play on the first one at a given rate, and each node has a spectator on three boards
  that change. It is told of each tick, reads those boards, and looks each second at what has changed in PostgreSQL.
- A notice to one more node: the CPU time of Redis for each delivery of a message to many subscribers.
- An entry that one more node sweeps: the CPU time of PostgreSQL for each changed entry that is read.

docs/scaling.md goes by these.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any, Final

import redis.asyncio
import uvloop

from bench.bulk import add_entries, add_players, settle
from bench.load import Load
from bench.machine import Cores, StoreUrls, brain_game, cpu_seconds, stores
from bench.results import keep
from bench.sockets import connect
from server.nodes import notice_of
from storage.ladders import Ladders
from storage.postgres import Postgres

_PLAYERS: Final = 200
_SECONDS: Final = 6.0
_FOLLOWED: Final = ("all-time", "weekly", "daily")
_SUBSCRIBERS: Final = 50
_NOTICES: Final = 4000
_PIPELINED: Final = 50
_ENTRIES: Final = 50_000
_SWEEPS: Final = 5


async def _following(cores: Cores, urls: StoreUrls, count: int, rate: float) -> dict[str, float]:
    """Shares of a core, while one of so many nodes is played on."""
    async with AsyncExitStack() as stack:
        secret = "one secret for all of these nodes, long enough"
        nodes = [await stack.enter_async_context(brain_game(cores, urls, jwt_secret=secret)) for _ in range(count)]
        spectators = []
        for node in nodes:
            spectators.append(await connect(node.url))
            for board in _FOLLOWED:
                await spectators[-1].ask("leaderboard.subscribe", board=board, limit=10)
        first, *others = nodes
        load = Load(first.url)
        await load.arrive(_PLAYERS)
        begun = time.perf_counter()
        before = [cpu_seconds(urls.pids), sum(node.cpu_seconds() for node in others)]
        found = await load.play(_SECONDS, rate, warm=0.0)
        elapsed = time.perf_counter() - begun
        spent = cpu_seconds(urls.pids) - before[0], sum(node.cpu_seconds() for node in others) - before[1]
        load.leave()
        for spectator in spectators:
            spectator.drop()
    return {
        "actions_per_second": found["actions_per_second"],
        "stores_cpu": spent[0] / elapsed,
        "a_follower_cpu": spent[1] / elapsed / len(others) if others else 0.0,
    }


async def _notice(urls: StoreUrls) -> float:
    """Microseconds of Redis for each subscriber that a notice of some players goes to."""
    text = notice_of("0" * 32, _FOLLOWED, range(100_000, 100_020))
    async with redis.asyncio.Redis.from_url(urls.redis) as client, AsyncExitStack() as stack:

        async def listener() -> None:
            pubsub = await stack.enter_async_context(client.pubsub())
            await pubsub.subscribe("bench")
            heard = 0
            async for message in pubsub.listen():
                heard += message["type"] == "message"
                if heard == _NOTICES:
                    return

        listeners = [asyncio.create_task(listener()) for _ in range(_SUBSCRIBERS)]
        while dict(await client.pubsub_numsub("bench")).get(b"bench", 0) < _SUBSCRIBERS:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        before = cpu_seconds(urls.pids)
        for _ in range(_NOTICES // _PIPELINED):
            pipeline = client.pipeline(transaction=False)
            for _ in range(_PIPELINED):
                pipeline.publish("bench", text)
            await pipeline.execute()
        await asyncio.gather(*listeners)
        return (cpu_seconds(urls.pids) - before) / _NOTICES / _SUBSCRIBERS * 1e6


async def _sweep(urls: StoreUrls) -> float:
    """Microseconds of PostgreSQL for each entry that a sweep reads."""
    postgres = await Postgres.connect(urls.database, connections=1)
    ladders = Ladders(postgres)
    begun = await ladders.horizon()
    await add_entries(postgres, await add_players(postgres, _ENTRIES))
    await settle(postgres)
    until, read = await ladders.horizon(), 0
    before = cpu_seconds(urls.pids)
    for _ in range(_SWEEPS):
        async for chunk in ladders.changes(begun, until):
            read += sum(map(len, chunk.values()))
    spent = cpu_seconds(urls.pids) - before
    await postgres.close()
    assert read >= _SWEEPS * _ENTRIES, read  # noqa: S101
    return spent / read * 1e6


async def measure(nodes: list[int], rate: float, rounds: int) -> dict[str, Any]:
    """Samples by the number of nodes, in turn, and of the two others."""
    cores = Cores.of_this_machine()
    found: dict[str, list[dict[str, float]]] = {str(count): [] for count in nodes}
    notices, sweeps = [], []
    async with stores(cores) as urls:
        for _ in range(rounds):
            for count in nodes:
                sample = await _following(cores, urls, count, rate)
                found[str(count)].append(sample)
                print(count, {name: round(value, 4) for name, value in sample.items()}, flush=True)
            notices.append(await _notice(urls))
            sweeps.append(await _sweep(urls))
            print(f"{notices[-1]:.2f} us a notice and node, {sweeps[-1]:.2f} us an entry and node", flush=True)
    return {"rate": rate, "boards": len(_FOLLOWED), "nodes": found, "us_a_notice": notices, "us_an_entry": sweeps}


def main() -> None:
    """Measure, keep, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--rate", type=float, default=500)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    keep("nodes", uvloop.run(measure(options.nodes, options.rate, options.rounds)))


if __name__ == "__main__":
    main()
