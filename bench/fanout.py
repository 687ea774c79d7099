"""What a change of a board costs for each spectator, beside a bare write of as many bytes.

    python -m bench.fanout --spectators 1000 8000 --rounds 3

Nine players change their places on a board all the time, and so many spectators are sent a delta of 1 KB four times a
second. The CPU time of the server, without what it takes with one spectator, by the number of deliveries. Beside it, in
turn: a uvloop server that writes a prepared frame of the same length to each of its sockets four times a second, and
does nothing else; and the same by write(2) alone. Stores and clients are on another core. `spread` is the time from a
delta's arrival at the first spectator to that at the last one.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

import uvloop

from bench.machine import Cores, Server, StoreUrls, brain_game, server, stores
from bench.results import keep
from bench.sockets import Socket, connect, percentile, register, some_at_once

#: Deltas a second. A server that is not busy all the time, or its CPU time would depend on how much it falls behind.
HERTZ: Final = 4
#: Players whose places change with each delta: 1 KB.
_MOVED: Final = 9
_SECONDS: Final = 5.0
#: Each better than all before.
_scores: Final = itertools.count(1)


class Spectators:
    """Readers of one board, who note when each delta came to the first and to the last of them."""

    def __init__(self) -> None:
        self.sockets: list[Socket] = []
        self.frames = 0
        self.bytes = 0
        self._arrived: dict[bytes, tuple[float, float, int]] = {}

    async def add(self, url: str, count: int, *, board: str | None) -> None:
        """Connect more; to be sent what happens on the board, or whatever the server sends."""

        async def one() -> Socket:
            socket = await connect(url)
            if board is not None:
                await socket.ask("leaderboard.subscribe", board=board, limit=10)
            socket.told = self._told
            return socket

        self.sockets += await some_at_once([one] * count, 100)

    def forget(self) -> None:
        """Begin to count anew."""
        self.frames = self.bytes = 0
        self._arrived.clear()

    def spreads(self) -> list[float]:
        """Seconds from the first arrival to the last, of each delta that has come to all."""
        return [last - first for first, last, count in self._arrived.values() if count == len(self.sockets)]

    def _told(self, text: bytes) -> None:
        now = time.perf_counter()
        self.frames += 1
        self.bytes += len(text)
        # The beginning names the version.
        first, _, count = self._arrived.get(text[:140], (now, now, 0))
        self._arrived[text[:140]] = (first, now, count + 1)

    def drop(self) -> None:
        """Vanish, all of them."""
        for socket in self.sockets:
            socket.drop()


async def _measured(one: Server, spectators: Spectators) -> dict[str, float]:
    spectators.forget()
    cpu, started = one.cpu_seconds(), time.perf_counter()
    await asyncio.sleep(_SECONDS)
    used, elapsed = one.cpu_seconds() - cpu, time.perf_counter() - started
    found = {
        "cpu": used / elapsed,
        "deliveries_a_second": spectators.frames / elapsed,
        "bytes": spectators.bytes / max(1, spectators.frames),
    }
    # The bare writer's frames are all the same, so which one has come where cannot be told.
    if spreads := spectators.spreads():
        found["spread_p50_ms"] = statistics.median(spreads) * 1000
        found["spread_p99_ms"] = percentile(spreads, 0.99) * 1000
    return found


@asynccontextmanager
async def changing(url: str, *, hertz: float) -> AsyncIterator[None]:
    """Nine players who become better that often: session after session, each with one point more than the last."""
    players = [socket for socket, _ in await register(url, _MOVED)]

    async def play(player: Socket) -> None:
        while True:
            due = time.perf_counter() + 1 / hertz
            await player.ask("session.start")
            await player.ask("session.close", score=next(_scores))
            await asyncio.sleep(max(0.0, due - time.perf_counter()))

    playing = [asyncio.create_task(play(player)) for player in players]
    yield
    for task in playing:
        task.cancel()
    await asyncio.wait(playing)
    for player in players:
        player.drop()


@asynccontextmanager
async def _ours(cores: Cores, urls: StoreUrls) -> AsyncIterator[Server]:
    async with brain_game(cores, urls, board_hz=str(HERTZ)) as one, changing(one.url, hertz=2 * HERTZ):
        yield one


@asynccontextmanager
async def _bare(cores: Cores, _urls: StoreUrls, *how: str) -> AsyncIterator[Server]:
    async with server([sys.executable, "-m", "bench.bare_writer", str(HERTZ), *how], cores.server) as one:
        yield one


def _kernel(cores: Cores, urls: StoreUrls) -> AbstractAsyncContextManager[Server]:
    return _bare(cores, urls, "kernel")


_KINDS: Final[dict[str, Callable[[Cores, StoreUrls], AbstractAsyncContextManager[Server]]]] = {
    "ours": _ours,
    "bare": _bare,
    "kernel": _kernel,
}


async def measure(counts: list[int], rounds: int) -> dict[str, Any]:
    """Samples of ours and bare, in turn, for each number of spectators."""
    cores = Cores.of_this_machine()
    found: dict[str, Any] = {}
    async with stores(cores) as urls:
        for count in counts:
            samples: dict[str, list[dict[str, float]]] = {name: [] for name in _KINDS}
            for _ in range(rounds):
                for name, made in _KINDS.items():
                    async with made(cores, urls) as one:
                        spectators = Spectators()
                        board = "all-time" if name == "ours" else None
                        await spectators.add(one.url, 1, board=board)
                        alone = await _measured(one, spectators)
                        await spectators.add(one.url, count - 1, board=board)
                        await asyncio.sleep(1)
                        full = await _measured(one, spectators)
                        more = full["deliveries_a_second"] - alone["deliveries_a_second"]
                        samples[name].append(full | {"us_a_delivery": (full["cpu"] - alone["cpu"]) / more * 1e6})
                        spectators.drop()
                    print(count, name, samples[name][-1], flush=True)
            found[str(count)] = samples
    return found


def main() -> None:
    """Measure, keep, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spectators", type=int, nargs="+", default=[1000, 8000])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    keep("fanout", uvloop.run(measure(options.spectators, options.rounds)))


if __name__ == "__main__":
    main()
