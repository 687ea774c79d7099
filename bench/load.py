"""A load of players, in a closed loop or in an open one.

    python -m bench.load http://127.0.0.1:8080 --players 500 --seconds 10
    python -m bench.load http://127.0.0.1:8080 --players 500 --seconds 10 --rate 3000

In a closed loop each player waits for the answer to an action before it sends the next: what comes out is the most that
a server can do. In an open one actions fall due at random times (Poisson) at the given rate, whatever the server does;
the time of an answer counts from when its action was due, so that a stall shows in all that it delays.

The server should run with BRAINGAME_BCRYPT_COST=4 and BRAINGAME_LIMITS=off. The client side is a bare asyncio
protocol, so that it costs less than the server it measures; `generator` in the result is its share of one core.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import uvloop

from bench.dialects import OURS, Dialect, host_of
from bench.sockets import Wire, handshake, percentile

#: Players that come at a time.
_AT_ONCE = 50
_TICK_SECONDS = 0.001


class Player(Wire):
    """One socket that plays session after session: an action for each time in `due`."""

    def __init__(self, dialect: Dialect, head: bytes, name: str, load: Load) -> None:
        super().__init__(head)
        self._dialect = dialect
        self._name = name
        self._load = load
        self._heard: list[bytes] = []
        self._next = 0
        self.due: deque[float] = deque()
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def opened(self) -> None:
        """Who speaks first is the dialect's business."""
        self._greet()

    def refused(self, error: ConnectionError) -> None:
        """A player who is gone is an error, but at the end."""
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(f"{error}, having heard {self._heard}"))
        self._load.lost += 1

    def heard(self, text: bytes) -> None:
        """Register first, then play."""
        dialect = self._dialect
        if not self.ready.done():
            self._heard.append(text)
            self._greet()
            if dialect.registered(text):
                self.ready.set_result(None)
        elif dialect.answers(text):
            self._load.answered(self.due.popleft(), error=b'error"' in text[:80])
            self._go_on()
        elif (echo := dialect.echo(text)) is not None:
            self.say(echo)

    def _greet(self) -> None:
        for frame in self._dialect.greet(self._name, self._heard):
            self.say(frame)

    def _go_on(self) -> None:
        if self._load.closed:
            self.due.append(time.perf_counter())
        if self.due:
            self._move()

    def act(self, due: float) -> None:
        """An action is due; it is sent when those before it are answered."""
        self.due.append(due)
        if len(self.due) == 1:
            self._move()

    def _move(self) -> None:
        self.say(self._dialect.moves[self._next])
        self._next = (self._next + 1) % len(self._dialect.moves)


class Load:
    """Players of one server, and how long their answers took."""

    def __init__(self, url: str, dialect: Dialect = OURS) -> None:
        self._url = url
        self._dialect = dialect
        self._players: list[Player] = []
        self._latencies: list[float] = []
        self._errors = 0
        #: Whether an answer makes the next action due.
        self.closed = False
        self.lost = 0

    async def arrive(self, count: int) -> None:
        """Connect and register so many players."""
        host, port, netloc = host_of(self._url)
        loop, run = asyncio.get_running_loop(), secrets.token_hex(4)

        async def one(index: int) -> Player:
            name = f"b{run}-{index}"
            path = await asyncio.to_thread(self._dialect.path, self._url, name)
            head = handshake(netloc, path)
            _, player = await loop.create_connection(lambda: Player(self._dialect, head, name, self), host, port)
            await player.ready
            return player

        for start in range(0, count, _AT_ONCE):
            self._players += await asyncio.gather(*(one(i) for i in range(start, min(start + _AT_ONCE, count))))

    def answered(self, due: float, *, error: bool) -> None:
        """A player has its answer."""
        self._latencies.append(time.perf_counter() - due)
        self._errors += error

    async def play(
        self,
        seconds: float,
        rate: float | None = None,
        *,
        warm: float = 2.0,
        meters: Mapping[str, Callable[[], float]] | None = None,
    ) -> dict[str, float]:
        """Play, count the last `seconds` of it, and stop when all is answered. `meters` give CPU seconds so far: what
        an action has cost by each, in microseconds, is in the result as well."""
        if rate is None:
            self.closed = True
            for player in self._players:
                player.act(time.perf_counter())
            playing = None
        else:
            playing = asyncio.create_task(self._play_at(rate))
        await asyncio.sleep(warm)
        self._latencies.clear()
        self._errors = self.lost = 0
        metered = {name: meter() for name, meter in (meters or {}).items()}
        started, cpu = time.perf_counter(), time.process_time()
        await asyncio.sleep(seconds)
        elapsed, used = time.perf_counter() - started, time.process_time() - cpu
        metered = {name: (meter() - metered[name]) * 1e6 for name, meter in (meters or {}).items()}
        counted, errors, lost = sorted(self._latencies), self._errors, self.lost
        if playing is not None:
            playing.cancel()
        self.closed = False
        async with asyncio.timeout(20):
            while any(player.due for player in self._players):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return {
            "actions_per_second": len(counted) / elapsed,
            "p50_ms": percentile(counted, 0.5) * 1000,
            "p99_ms": percentile(counted, 0.99) * 1000,
            "errors": errors + lost,
            "generator": used / elapsed,
            **{name: cost / max(1, len(counted)) for name, cost in metered.items()},
        }

    async def _play_at(self, rate: float) -> None:
        draw, due, index = random.Random(1), time.perf_counter(), 0  # noqa: S311
        while True:
            while due <= time.perf_counter():
                self._players[index].act(due)
                index = (index + 1) % len(self._players)
                due += draw.expovariate(rate)
            await asyncio.sleep(_TICK_SECONDS)

    def leave(self) -> None:
        """All vanish."""
        for player in self._players:
            player.drop()


async def measure(url: str, players: int, seconds: float, rate: float | None = None) -> dict[str, float]:
    """Connect that many players to our server, let them play for a while, and count."""
    load = Load(url)
    await load.arrive(players)
    found = await load.play(seconds, rate)
    load.leave()
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8080")
    parser.add_argument("--players", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=float, help="actions a second; without it, as many as the server does")
    parser.add_argument("--cpu", type=int, help="run on this core only")
    options = parser.parse_args(arguments)
    if options.cpu is not None:
        os.sched_setaffinity(0, {options.cpu})
    found = uvloop.run(measure(options.url, options.players, options.seconds, options.rate))
    print(json.dumps({name: round(value, 2) for name, value in found.items()}))


if __name__ == "__main__":
    main()
