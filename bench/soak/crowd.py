"""The load of a soak: so many players and spectators at any time, others in their place when they go, and strangers."""

from __future__ import annotations

import asyncio
import math
import random
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import aiohttp

from bench.soak.passers_by import STRANGERS, spectate
from bench.soak.players import VISIT_SECONDS, Account, House, Player
from bench.soak.visitor import PATIENCE, Tally
from bench.sockets import some_at_once

#: Seconds between two looks at what falls due.
_TICK_SECONDS: Final = 0.002
#: Accounts for one player who is there: they come and go, and come back.
_ACCOUNTS_A_PLAYER: Final = 3
#: Of the arrivals, those of a new account.
_NEW: Final = 0.02
#: Access tokens that a server remembers (server/tokens.py).
_TOKENS_REMEMBERED: Final = 10_000
_draw: Final = random.Random()  # noqa: S311


@dataclass(frozen=True, slots=True)
class Size:
    """Of the load: players and spectators at a time, actions and strangers a second."""

    players: int
    spectators: int
    rate: float
    strangers: float


class Crowd:
    """Everybody who is there."""

    def __init__(self, house: House, size: Size) -> None:
        self._house = house
        self._size = size
        self._run = secrets.token_hex(4)
        self._away: list[Account] = []
        self._accounts = 0
        self._here: list[Player] = []
        self._unclaimed: list[float] = []
        self._falling_due: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def make_accounts(self) -> None:
        """All that come back later: each plays a little, so that what is kept of it is there."""

        async def one(account: Account) -> None:
            player = Player(account, self._house)
            with self._house.tally.visit("first visit"):
                try:
                    await player.arrive()
                    player.act(time.perf_counter())
                    player.act(time.perf_counter())
                    await player.play(0)
                    if _draw.random() < 0.1:  # what comparing takes is loaded when it is done first
                        await player.compare()
                finally:
                    player.drop()
                self._away.append(account)

        accounts = [self._new() for _ in range(self._size.players * _ACCOUNTS_A_PLAYER)]
        await some_at_once([partial(one, account) for account in accounts], 30)

    async def fill_tokens(self, processes: int) -> None:
        """Use as many tokens as so many server processes remember, since that is memory which is meant to be used."""
        rounds = math.ceil(_TOKENS_REMEMBERED * processes * 1.2 / len(self._away))

        async def one(account: Account) -> None:
            if account.refresh_token is None:
                return
            went = False
            with self._house.tally.visit("tokens"):
                account.hold(await self._house.post("/refresh", 200, refreshToken=account.refresh_token))
                await self._house.get("/api/users/me", account.token)
                went = True
            if not went:
                account.doubt()

        for _ in range(rounds):
            # A login's tokens of one second are the same.
            pause = asyncio.create_task(asyncio.sleep(1))
            # So many that the server opens all connections to PostgreSQL that it may.
            await some_at_once([partial(one, account) for account in self._away], 100)
            await pause

    def move_to(self, house: House) -> None:
        """The same people at another door."""
        self._house = house

    def come(self) -> None:
        """From now on they are there."""
        for index in range(self._size.players):
            self._start(self._again_and_again(self._visit, index * VISIT_SECONDS / self._size.players / 4))
        for index in range(self._size.spectators):
            self._start(self._again_and_again(self._spectate, index * 0.1))
        self._start(self._let_strangers_in())
        self._falling_due = self._start(self._fall_due())

    async def go(self) -> None:
        """No more actions; all that fell due are answered; then everybody vanishes."""
        assert self._falling_due is not None  # noqa: S101
        self._falling_due.cancel()
        end = time.perf_counter() + PATIENCE
        while time.perf_counter() < end and (self._unclaimed or any(not player.idle for player in self._here)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    def _start(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _again_and_again(self, visit: Callable[[], Awaitable[None]], pause: float) -> None:
        await asyncio.sleep(pause)
        while True:
            await visit()
            await asyncio.sleep(_draw.uniform(0, 0.5))

    async def _visit(self) -> None:
        account = self._new() if _draw.random() < _NEW else self._away.pop(_draw.randrange(len(self._away)))
        player, went = Player(account, self._house), False
        try:
            with self._house.tally.visit("player"):
                await player.arrive()
                self._here.append(player)
                unclaimed, self._unclaimed = self._unclaimed, []
                for due in unclaimed:
                    player.act(due)
                await player.play(_draw.expovariate(1 / VISIT_SECONDS))
                self._here.remove(player)
                await player.leave()
                went = True
        finally:
            if player in self._here:
                self._here.remove(player)
            for due in player.leftover():
                self._give(due)
            player.drop()
            if not went:
                account.doubt()
            if account.expires_at:  # else it may be registered or not
                self._away.append(account)

    async def _spectate(self) -> None:
        with self._house.tally.visit("spectator"):
            await spectate(self._house)

    async def _let_strangers_in(self) -> None:
        ways, weights = list(STRANGERS), list(STRANGERS.values())
        while True:
            (way,) = _draw.choices(ways, weights)
            self._start(self._stranger(way))
            await asyncio.sleep(_draw.expovariate(self._size.strangers))

    async def _stranger(self, way: Callable[[House], Awaitable[None]]) -> None:
        with self._house.tally.visit(way.__name__):
            await way(self._house)

    async def _fall_due(self) -> None:
        due = time.perf_counter()
        while True:
            while due <= time.perf_counter():
                self._house.tally.due += 1
                self._give(due)
                due += _draw.expovariate(self._size.rate)
            await asyncio.sleep(_TICK_SECONDS)

    def _give(self, due: float) -> None:
        if self._here:
            _draw.choice(self._here).act(due)
        else:
            self._unclaimed.append(due)

    def _new(self) -> Account:
        self._accounts += 1
        return Account(f"s{self._run}-{self._accounts}")


@asynccontextmanager
async def house_at(url: str, tally: Tally) -> AsyncIterator[House]:
    """The ways to a server."""
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as kept,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as closing,
    ):
        yield House(url, tally, (kept, closing))
