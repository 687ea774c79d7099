"""Cost against size: what an action and a delivery cost on larger boards, with more sockets, with more workers.

    python -m bench.sizes --boards 1000 10000 100000 1000000 --sockets 100 1000 10000 --rounds 2

Boards: the CPU time of server and stores for a session that betters its player's entry, and how long a top and a place
in the middle take to be read, where so many players have entries already. Sockets: the server's CPU time for a session
while so many idle spectators are connected, who follow nothing that changes. Workers: CPU time an action with one and
two of them, at most and at half of that (with two, server, stores and load share two cores); bench/simulation.py
goes by these.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import time
from typing import Any, Final

import uvloop

from bench.bulk import add_entries, add_players, settle
from bench.load import Load
from bench.machine import Cores, Server, StoreUrls, brain_game, cpu_seconds, stores
from bench.results import keep
from bench.simulation import PLAYERS
from bench.sockets import Socket, connect, percentile, register, some_at_once
from storage.postgres import Postgres

_PLAYERS: Final = 50
_SECONDS: Final = 5.0
_READS: Final = 200
_IDLE: Final = "all-time:9"
_scores: Final = itertools.count(100_000)


async def _bettering(one: Server, urls: StoreUrls, players: list[Socket]) -> dict[str, float]:
    """Microseconds of CPU for a session of two actions that betters its player's entries."""
    end, count = time.perf_counter() + _SECONDS, 0

    async def play(player: Socket) -> None:
        nonlocal count
        while time.perf_counter() < end:
            await player.ask("session.start")
            await player.ask("session.close", score=next(_scores))
            count += 1

    cpu, stores_cpu = one.cpu_seconds(), cpu_seconds(urls.pids)
    await asyncio.gather(*map(play, players))
    return {
        "us_server": (one.cpu_seconds() - cpu) / count * 1e6,
        "us_stores": (cpu_seconds(urls.pids) - stores_cpu) / count * 1e6,
    }


async def _reading(reader: Socket) -> dict[str, float]:
    """Milliseconds for the top of the board and for a place far down."""
    found = {}
    for name, data in (("top", {"offset": 0}), ("around", {"around": "me"})):
        took = []
        for _ in range(_READS):
            begun = time.perf_counter()
            await reader.ask("leaderboard.get", board="all-time", limit=10, **data)
            took.append(time.perf_counter() - begun)
        found[f"{name}_p50_ms"] = percentile(took, 0.5) * 1000
    return found


async def _size(reader: Socket) -> int:
    found: int = (await reader.ask("leaderboard.get", board="all-time", limit=10, offset=0))["total"]
    return found


async def _board(cores: Cores, size: int) -> dict[str, float]:
    async with stores(cores) as urls:
        async with brain_game(cores, urls):
            pass  # lays the schema
        postgres = await Postgres.connect(urls.database, connections=1)
        await add_entries(postgres, await add_players(postgres, size))
        await settle(postgres)
        await postgres.close()
        async with brain_game(cores, urls) as one:
            players = [socket for socket, _ in await register(one.url, _PLAYERS + 1)]
            reader = players.pop()
            await reader.ask("session.start")
            await reader.ask("session.close", score=500)
            # The first one who reads it has it built.
            async with asyncio.timeout(120):
                while await _size(reader) < size:  # noqa: ASYNC110
                    await asyncio.sleep(0.2)
            await _bettering(one, urls, players[:5])
            return await _bettering(one, urls, players) | await _reading(reader)


async def _sockets(cores: Cores, count: int) -> dict[str, float]:
    async with stores(cores) as urls, brain_game(cores, urls) as one:
        players = [socket for socket, _ in await register(one.url, _PLAYERS)]

        async def idle() -> Socket:
            socket = await connect(one.url)
            await socket.ask("leaderboard.subscribe", board=_IDLE, limit=10)
            return socket

        await some_at_once([idle] * count, 100)
        await _bettering(one, urls, players[:5])
        cpu, begun = one.cpu_seconds(), time.perf_counter()
        await asyncio.sleep(3)
        idle_cpu = (one.cpu_seconds() - cpu) / (time.perf_counter() - begun)
        return await _bettering(one, urls, players) | {"idle_cpu": idle_cpu}


async def _workers(cores: Cores, workers: int) -> dict[str, float]:
    places = cores if workers == 1 else Cores(cores.server | cores.rest, cores.rest)
    async with stores(cores) as urls, brain_game(places, urls, workers=str(workers)) as one:
        load = Load(one.url)
        await load.arrive(PLAYERS)
        meters = {"us_server": one.cpu_seconds, "us_stores": lambda: cpu_seconds(urls.pids)}
        found = await load.play(_SECONDS, meters=meters)
        half = await load.play(_SECONDS, found["actions_per_second"] / 2, meters=meters)
        load.leave()
        return found | {f"half_{name}": value for name, value in half.items()}


async def measure(boards: list[int], sockets: list[int], workers: list[int], rounds: int) -> dict[str, Any]:
    """Samples by size, the sizes in turn."""
    cores = Cores.of_this_machine()
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    for _ in range(rounds):
        for name, sizes, measured in (
            ("boards", boards, _board),
            ("sockets", sockets, _sockets),
            ("workers", workers, _workers),
        ):
            for size in sizes:
                sample = await measured(cores, size)
                found.setdefault(name, {}).setdefault(str(size), []).append(sample)
                print(name, size, {key: round(value, 2) for key, value in sample.items()}, flush=True)
    return found


def main() -> None:
    """Measure, keep, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boards", type=int, nargs="*", default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--sockets", type=int, nargs="*", default=[100, 1000, 10_000])
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    keep("sizes", uvloop.run(measure(options.boards, options.sockets, options.workers, options.rounds)))


if __name__ == "__main__":
    main()
