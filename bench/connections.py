"""What connections cost: memory of idle ones, the rate at which they come, and all of them coming back at once.

    python -m bench.connections --idle 5000 --arrivals 5000 --storm 5000 --rounds 3

Memory is what a server process that was just started grows by (resident), by the number of sockets: spectators who
follow a board; players who are logged in and have begun a session. The kernel's part of a socket is not in it. Arrivals
are connections with a token in the handshake, each one closed again, so many at a time that the server is never idle.
In a storm all sockets are cut, and come back at once.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from functools import partial
from itertools import cycle, islice
from typing import Any, Final, TypeVar

import uvloop

from bench.machine import Cores, Server, StoreUrls, brain_game, stores
from bench.results import keep
from bench.sockets import Socket, connect, percentile, register, some_at_once

#: An access token, or None for who has none.
Token = TypeVar("Token", str, None)

#: Arrivals under way at a time.
_AT_ONCE: Final = 50
_FIRST: Final = 50
#: Tokens outlive the server that has given them.
_SECRET: Final = "a secret of the benchmark, long enough"


async def _growth(one: Server, connect_one: Callable[[Token], Awaitable[Socket]], tokens: list[Token]) -> float:
    """Bytes that the server's memory grows by for each socket."""

    async def all_of(some: list[Token]) -> list[Socket]:
        return await some_at_once([partial(connect_one, token) for token in some], 100)

    # What the first ones make it load stays out of it.
    for socket in await all_of(tokens[:_FIRST]):
        socket.drop()
    await asyncio.sleep(1)
    before = one.memory()
    sockets = await all_of(tokens)
    await asyncio.sleep(2)
    grown = one.memory() - before
    for socket in sockets:
        socket.drop()
    return grown / len(tokens)


async def _tokens(one: Server, count: int) -> list[str]:
    made = await register(one.url, count)
    for socket, _ in made:
        socket.drop()
    return [token for _, token in made]


async def _player(url: str, token: str) -> Socket:
    socket = await connect(url, token)
    await socket.ask("session.start")
    return socket


async def _follower(url: str, token: str | None) -> Socket:
    socket = await connect(url, token)
    await socket.ask("leaderboard.subscribe", board="all-time", limit=10)
    return socket


async def _arrivals(one: Server, tokens: list[str], count: int) -> dict[str, float]:
    async def arrive(token: str) -> float:
        begun = time.perf_counter()
        (await connect(one.url, token)).drop()
        return time.perf_counter() - begun

    cpu, own, started = one.cpu_seconds(), time.process_time(), time.perf_counter()
    took = await some_at_once([partial(arrive, token) for token in _repeated(tokens, count)], _AT_ONCE)
    elapsed = time.perf_counter() - started
    return {
        "a_second": count / elapsed,
        "us_cpu": (one.cpu_seconds() - cpu) / count * 1e6,
        "generator": (time.process_time() - own) / elapsed,
        "p50_ms": percentile(took, 0.5) * 1000,
        "p99_ms": percentile(took, 0.99) * 1000,
    }


async def _storm(one: Server, tokens: list[str], count: int) -> dict[str, float]:
    async def come_back(token: str) -> tuple[Socket, float, int]:
        begun, tries = time.perf_counter(), 0
        while True:
            tries += 1
            try:
                return await _follower(one.url, token), time.perf_counter() - begun, tries
            except (ConnectionError, OSError):
                await asyncio.sleep(0.1)

    every = list(_repeated(tokens, count))
    sockets = await some_at_once([partial(_follower, one.url, token) for token in every], 100)
    await asyncio.sleep(1)
    cpu, started = one.cpu_seconds(), time.perf_counter()
    for socket in sockets:
        socket.drop()
    back = await asyncio.gather(*(come_back(token) for token in every))
    elapsed = time.perf_counter() - started
    for socket, _, _ in back:
        socket.drop()
    return {
        "seconds": elapsed,
        "p50_s": percentile([took for _, took, _ in back], 0.5),
        "tries": max(tries for _, _, tries in back),
        "us_cpu": (one.cpu_seconds() - cpu) / count * 1e6,
    }


def _repeated(tokens: list[str], count: int) -> Iterable[str]:
    return islice(cycle(tokens), count)


async def _round(cores: Cores, urls: StoreUrls, idle: int, arrivals: int, storm: int) -> dict[str, dict[str, float]]:
    def fresh() -> AbstractAsyncContextManager[Server]:
        return brain_game(cores, urls, jwt_secret=_SECRET)

    async with fresh() as one:
        tokens = await _tokens(one, idle)
    async with fresh() as one:
        memory = {"spectator_bytes": await _growth(one, partial(_follower, one.url), [None] * idle)}
    async with fresh() as one:
        memory["player_bytes"] = await _growth(one, partial(_player, one.url), tokens)
    async with fresh() as one:
        await _arrivals(one, tokens, arrivals // 5)
        came = await _arrivals(one, tokens, arrivals)
        return {"idle": memory, "arrivals": came, "storm": await _storm(one, tokens, storm)}


async def measure(idle: int, arrivals: int, storm: int, rounds: int) -> list[Any]:
    """A sample for each round."""
    cores, samples = Cores.of_this_machine(), []
    async with stores(cores) as urls:
        for _ in range(rounds):
            samples.append(await _round(cores, urls, idle, arrivals, storm))
            print(samples[-1], flush=True)
    return samples


def main() -> None:
    """Measure, keep, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--idle", type=int, default=5000)
    parser.add_argument("--arrivals", type=int, default=5000)
    parser.add_argument("--storm", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    keep("connections", uvloop.run(measure(options.idle, options.arrivals, options.storm, options.rounds)))


if __name__ == "__main__":
    main()
