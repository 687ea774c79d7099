"""How old a board is on the wire: from the acknowledgement of a change to its arrival at a spectator, under load.

    python -m bench.staleness --players 1000 --rate 2000 --spectators 2000 --rounds 3

Players act at a given rate all the time, and many spectators follow the board, which is sent at most ten times a
second. Some players more, the probes, become the best of all again and again; for each of those changes and each
spectator the time is taken. The clock of both ends is that of this process.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import time
from typing import Any, Final

import uvloop

from bench.load import Load
from bench.machine import Cores, brain_game, cpu_seconds, stores
from bench.results import keep
from bench.sockets import Socket, connect, percentile, register, some_at_once

_PROBES: Final = 5
_SECONDS: Final = 8.0
#: Above all that the load's players reach.
_scores: Final = itertools.count(100_000)


class _Watch:
    """When each score of a probe was acknowledged, and how long after that it came to the spectators."""

    def __init__(self) -> None:
        self.acknowledged: dict[bytes, float] = {}
        self.ages: list[float] = []
        self._came: list[tuple[float, bytes]] = []

    def told(self, text: bytes) -> None:
        """A spectator was sent a delta. What is in it is looked at later."""
        self._came.append((time.perf_counter(), text))

    def count(self) -> None:
        """Look at all that has come."""
        for at, text in self._came:
            for part in text.split(b'"totalScore":')[1:]:
                acknowledged = self.acknowledged.get(part.partition(b",")[0])
                if acknowledged is not None:
                    self.ages.append(at - acknowledged)


async def _probe(socket: Socket, watch: _Watch, end: float) -> None:
    draw = random.Random()  # noqa: S311
    while time.perf_counter() < end:
        score = next(_scores)
        await socket.ask("session.start")
        # Passed, as the load's players have: whoever has failed stands below them, whatever the score.
        for part in (0, 0, score):
            await socket.ask("session.complete", score=part)
        watch.acknowledged[b"%d" % score] = time.perf_counter()
        # Longer than a tick: a score that is bettered at once would not be sent at all.
        await asyncio.sleep(draw.uniform(0.3, 0.7))


async def _round(cores: Cores, urls: Any, players: int, rate: float, spectators: int) -> dict[str, float]:
    async with brain_game(cores, urls) as one:
        load = Load(one.url)
        await load.arrive(players)
        probes = [socket for socket, _ in await register(one.url, _PROBES)]
        watch = _Watch()

        async def spectator() -> Socket:
            socket = await connect(one.url)
            await socket.ask("leaderboard.subscribe", board="all-time", limit=10)
            socket.told = watch.told
            return socket

        sockets = await some_at_once([spectator] * spectators, 100)
        meters = {"us_server": one.cpu_seconds, "us_stores": lambda: cpu_seconds(urls.pids)}
        playing = asyncio.create_task(load.play(_SECONDS, rate, meters=meters))
        await asyncio.sleep(1)
        end = time.perf_counter() + _SECONDS
        await asyncio.gather(*(_probe(socket, watch, end) for socket in probes))
        found = await playing
        await asyncio.sleep(0.5)
        watch.count()
        for socket in (*sockets, *probes):
            socket.drop()
        load.leave()
        return found | {
            "staleness_p50_ms": percentile(watch.ages, 0.5) * 1000,
            "staleness_p99_ms": percentile(watch.ages, 0.99) * 1000,
            "arrivals": len(watch.ages),
            # Fewer come where two probes become better within a tick, or the load falls behind.
            "acknowledged": len(watch.acknowledged) * spectators,
        }


async def measure(players: int, rate: float, spectators: int, rounds: int) -> dict[str, Any]:
    """A sample for each round."""
    cores, samples = Cores.of_this_machine(), []
    async with stores(cores) as urls:
        for _ in range(rounds):
            samples.append(await _round(cores, urls, players, rate, spectators))
            print({key: round(value, 2) for key, value in samples[-1].items()}, flush=True)
    return {"players": players, "rate": rate, "spectators": spectators, "samples": samples}


def main() -> None:
    """Measure, keep, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--players", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=2000)
    parser.add_argument("--spectators", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    keep("staleness", uvloop.run(measure(options.players, options.rate, options.spectators, options.rounds)))


if __name__ == "__main__":
    main()
