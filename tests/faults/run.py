"""One fault run: play, the fault, play on, quiet, and then the checker."""

from __future__ import annotations

import asyncio
import random
import secrets
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp

from tests.faults.arena import Arena
from tests.faults.checker import Truth, Violation, actions_of, check, rows_as, rows_in
from tests.faults.faults import Fault, Scene
from tests.faults.history import History
from tests.faults.players import Actor, Figures, Spectator

#: What the spectators on each node follow.
FOLLOWED = (("all-time", 10), ("all-time:1", 100), ("daily", 25), ("weekly:2", 50))
#: Seconds for everything to come right after a fault; it takes 2 or 3.
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a run. Times in seconds."""

    acknowledged: int
    repeated: int
    unavailable: int
    longest_answer: float
    #: From the end of the fault to the first action that was acknowledged afterwards.
    back_after: float
    violations: list[Violation]
    #: Where the history was written, if something was wrong.
    history: Path | None


async def run(arena: Arena, fault: Fault, *, players: int, seconds: float, away: float, seed: int) -> Result:
    """Do a fault once, with so many seconds of play before and after it, and something `away` for so many."""
    history, draw, figures = History(), random.Random(seed), Figures()
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession() as http:
        accounts = await asyncio.gather(*(_register(http, arena) for _ in range(players)))
        actors = [
            Actor(history, arena.entrances, token, number, random.Random(draw.random()), figures, http)
            # A third of them play on two connections at once.
            for token, number in accounts + accounts[: players // 3]
        ]
        spectators = [Spectator(history, node, FOLLOWED) for node in arena.entrances for _ in range(3)]
        playing = [asyncio.create_task(actor.play()) for actor in actors]
        watching = [asyncio.create_task(spectator.watch()) for spectator in spectators]
        try:
            await asyncio.sleep(seconds)
            await fault(Scene(arena, actors, spectators, draw, away))
            over = loop.time()
            await _until(
                lambda: any(at > over for at in figures.acknowledged), playing + watching, "somebody plays again"
            )
            back_after = next(at for at in figures.acknowledged if at > over) - over
            await asyncio.sleep(seconds)
            for actor in actors:
                actor.stop()
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*playing)
            truth = await arena.truth(sorted({number for _, number in accounts}))
            for spectator in spectators:
                await _until(partial(_is_level, spectator, truth), watching, "boards come right")
                await spectator.end()
            await asyncio.gather(*watching)
        finally:
            for task in playing + watching:
                task.cancel()
            await asyncio.wait(playing + watching)
    violations = check(history, truth)
    asked = actions_of(history).values()
    path = None
    if violations:
        path = Path(tempfile.mkstemp(prefix="history-", suffix=".jsonl")[1])
        history.write(path)
    return Result(
        acknowledged=sum(bool(one.outcomes) for one in asked),
        repeated=sum(one.tries > 1 for one in asked),
        unavailable=figures.unavailable,
        longest_answer=figures.longest_answer,
        back_after=back_after,
        violations=violations,
        history=path,
    )


async def _register(http: aiohttp.ClientSession, arena: Arena) -> tuple[str, int]:
    """Token and number of a new player; a node that has just started may still ask for patience."""
    async with asyncio.timeout(PATIENCE):
        while True:
            name = f"f{secrets.token_hex(6)}"
            login = {"email": f"{name}@example.test", "password": "correct horse"}
            origin = f"http://{arena.entrances[0].netloc}"
            async with http.post(f"{origin}/register", json={**login, "username": name}) as answer:
                registered = await answer.json()
            if answer.status == 201:
                async with http.post(f"{origin}/login", json=login) as answer:
                    if answer.status == 200:
                        return (await answer.json())["token"], registered["number"]
            assert answer.status == 503, registered
            await asyncio.sleep(0.1)


async def _is_level(spectator: Spectator, truth: Truth) -> bool:
    """Whether the spectator has, of each board, the version that its node would give now, and it is not said to be
    stale; and whether the node gives the true first rows by now, since a board that was made anew may lack what was
    committed meanwhile, until the next sweep. What the spectator made of its deltas is for the checker."""
    if spectator.link is None or any(spectator.stale.get(board, True) for board, _ in FOLLOWED):
        return False
    held = dict(spectator.held)
    for board, limit in FOLLOWED:
        reply = await spectator.link.ask("leaderboard.get", {"board": board, "limit": limit})
        if reply["type"] == "error" or "stale" in reply["data"]:
            return False
        if (reply["data"]["epoch"], reply["data"]["version"]) != held.get(board):
            return False
        if rows_in(reply["data"]["entries"]) != rows_as(truth.on(board)[:limit]):
            return False
    return True


async def _until(condition: Callable[[], bool | Awaitable[bool]], tasks: list[asyncio.Task[None]], what: str) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                for task in tasks:
                    if task.done():
                        task.result()
                try:
                    holds = condition()
                    if holds if isinstance(holds, bool) else await holds:
                        return
                except OSError:
                    pass  # A connection that was just lost.
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not within {PATIENCE:g} s: {what}") from None
