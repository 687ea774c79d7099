"""Durable actions a second, side by side with what somebody would pick instead.

    python -m bench.throughput --players 1000 --rounds 3 --seconds 6

Each server in turn, several rounds: as many actions as it can in a closed loop; and then, in an open loop at half and
at nine tenths of the median of that, how long an acknowledgement takes. Stores, load and server are as bench/machine.py
places them. The limit beside it is our own group commit with nothing around it (bench/limits.py).
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvloop

from bench.dialects import COLYSEUS, OURS, PYTHON, SOCKETIO, Dialect
from bench.limits import commits_a_second
from bench.load import Load
from bench.machine import Cores, Server, StoreUrls, brain_game, cpu_seconds, server, stores
from bench.results import keep

_PEERS: Final = Path(__file__).parent / "peers"
_NODE: Final = Path(sys.executable).with_name("node")


@dataclass(frozen=True, slots=True)
class Contestant:
    """A server that does the job."""

    dialect: Dialect
    start: Callable[[Cores, StoreUrls], AbstractAsyncContextManager[Server]]


def _peer(*command: str) -> Callable[[Cores, StoreUrls], AbstractAsyncContextManager[Server]]:
    def start(cores: Cores, urls: StoreUrls) -> AbstractAsyncContextManager[Server]:
        variables = {"DATABASE_URL": urls.database, "REDIS_URL": urls.redis, "PORT": "0", "NODE_ENV": "production"}
        return server(command, cores.server, variables)

    return start


CONTESTANTS: Final[Mapping[str, Contestant]] = {
    "Brain Game": Contestant(OURS, brain_game),
    "Socket.IO": Contestant(SOCKETIO, _peer(str(_NODE), str(_PEERS / "node" / "socketio.js"))),
    "Colyseus": Contestant(COLYSEUS, _peer(str(_NODE), str(_PEERS / "node" / "colyseus.js"))),
    "FastAPI": Contestant(PYTHON, _peer(sys.executable, "-m", "bench.peers.fastapi_peer")),
    "websockets": Contestant(PYTHON, _peer(sys.executable, "-m", "bench.peers.websockets_peer")),
}


async def _play(
    name: str, cores: Cores, urls: StoreUrls, players: int, seconds: float, rates: list[float | None]
) -> list[dict[str, float]]:
    """A sample for each rate; None is the closed loop."""
    one = CONTESTANTS[name]
    samples = []
    async with one.start(cores, urls) as running:
        load = Load(running.url, one.dialect)
        await load.arrive(players)
        meters = {"us_server": running.cpu_seconds, "us_stores": lambda: cpu_seconds(urls.pids)}
        for rate in rates:
            samples.append(await load.play(seconds, rate, meters=meters))
            print(name, rate, {key: round(value, 2) for key, value in samples[-1].items()}, flush=True)
        load.leave()
    return samples


async def measure(names: list[str], players: int, rounds: int, seconds: float) -> dict[str, Any]:
    """All samples of all, and the limits."""
    cores = Cores.of_this_machine()
    async with stores(cores) as urls:
        closed: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        commits = []
        for _ in range(rounds):
            for name in names:
                closed[name] += await _play(name, cores, urls, players, seconds, [None])
            commits.append(await commits_a_second(urls.database, cores, players, seconds))
        loads: dict[str, dict[str, list[dict[str, float]]]] = {name: {"half": [], "nine tenths": []} for name in names}
        for _ in range(rounds):
            for name in names:
                most = statistics.median(sample["actions_per_second"] for sample in closed[name])
                half, near = await _play(name, cores, urls, players, seconds, [most * 0.5, most * 0.9])
                loads[name]["half"].append(half)
                loads[name]["nine tenths"].append(near)
    return {"players": players, "seconds": seconds, "closed": closed, "open": loads, "commits_a_second": commits}


def main() -> None:
    """Measure, keep, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--players", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--only", choices=CONTESTANTS, nargs="+", default=list(CONTESTANTS))
    options = parser.parse_args()
    found = uvloop.run(measure(options.only, options.players, options.rounds, options.seconds))
    if options.only == list(CONTESTANTS):
        keep("throughput", found)


if __name__ == "__main__":
    main()
