"""Logins beside play: how many passwords are checked a second, and how much later play is answered meanwhile.

    python -m bench.logins --players 200 --rate 500 --storm 200 --rounds 3

Passwords are hashed at the cost that the server has by default (12). The bound is one bcrypt after the other on the
server's core. The storm is so many clients that log in again and again, beside players who act at a given rate; what
play takes is measured without the storm and with it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from typing import Any, Final

import bcrypt
import uvloop

from bench.load import Load
from bench.machine import Cores, brain_game, stores
from bench.results import keep
from bench.sockets import Socket, connect, percentile

_COST: Final = 12
_SECONDS: Final = 8.0


def _bound(cores: Cores) -> float:
    """Hashes a second, on the server's core with nothing else to do."""
    os.sched_setaffinity(0, cores.server)
    hashed = bcrypt.hashpw(b"password", bcrypt.gensalt(_COST))
    begun, count = time.perf_counter(), 8
    for _ in range(count):
        bcrypt.checkpw(b"password", hashed)
    took = time.perf_counter() - begun
    os.sched_setaffinity(0, cores.rest)
    return count / took


class _Storm:
    """Clients that log in again and again."""

    def __init__(self) -> None:
        self.took: list[float] = []
        self.refused = 0

    async def log_in_again(self, socket: Socket, email: str) -> None:
        """Until cancelled."""
        while True:
            begun = time.perf_counter()
            try:
                await socket.ask("auth.login", email=email, password="password")
                self.took.append(time.perf_counter() - begun)
            except RuntimeError:
                # Too many wait already, which is an answer, too.
                self.refused += 1
                await asyncio.sleep(0.2)


async def _round(cores: Cores, urls: Any, players: int, rate: float, storm: int) -> dict[str, float]:
    # What a login costs is in the account's hash; the players' own cost little, so that they are there soon.
    email = f"storm-{time.time_ns()}@bench.test"
    async with brain_game(cores, urls, bcrypt_cost=str(_COST)) as expensive:
        socket = await connect(expensive.url)
        await socket.ask("auth.register", email=email, username=email[:30], password="password")
        socket.drop()
    async with brain_game(cores, urls) as one:
        load = Load(one.url)
        await load.arrive(players)
        calm = await load.play(_SECONDS, rate)
        sockets = [await connect(one.url) for _ in range(storm)]
        attack = _Storm()
        attacking = [asyncio.create_task(attack.log_in_again(each, email)) for each in sockets]
        await asyncio.sleep(1)
        attack.took.clear()
        attack.refused = 0
        begun = time.perf_counter()
        stormy = await load.play(_SECONDS, rate, warm=0.5)
        elapsed = time.perf_counter() - begun
        for task in attacking:
            task.cancel()
        await asyncio.wait(attacking)
        for each in sockets:
            each.drop()
        load.leave()
        return {
            "bound_a_second": _bound(cores),
            "logins_a_second": len(attack.took) / elapsed,
            "refused_a_second": attack.refused / elapsed,
            "login_p50_ms": percentile(attack.took, 0.5) * 1000,
            "calm_p50_ms": calm["p50_ms"],
            "calm_p99_ms": calm["p99_ms"],
            "stormy_p50_ms": stormy["p50_ms"],
            "stormy_p99_ms": stormy["p99_ms"],
            "errors": calm["errors"] + stormy["errors"],
        }


async def measure(players: int, rate: float, storm: int, rounds: int) -> dict[str, Any]:
    """A sample for each round."""
    cores, samples = Cores.of_this_machine(), []
    async with stores(cores) as urls:
        for _ in range(rounds):
            samples.append(await _round(cores, urls, players, rate, storm))
            print({key: round(value, 2) for key, value in samples[-1].items()}, flush=True)
    return {"players": players, "rate": rate, "storm": storm, "cost": _COST, "samples": samples}


def main() -> None:
    """Measure, keep, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--players", type=int, default=100)
    parser.add_argument("--rate", type=float, default=500)
    parser.add_argument("--storm", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    keep("logins", uvloop.run(measure(options.players, options.rate, options.storm, options.rounds)))


if __name__ == "__main__":
    main()
