"""The Python client against the conformance kit, as any other client's author would run it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from client.errors import Closed, ConnectionLost, RequestRefused
from client.player import Game, connect
from conformance.scenarios import SCENARIOS
from tests.server_process import ROOT


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kit() -> AsyncIterator[str]:
    """Where the kit is."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "run_server.py"), "conformance", "--port", "0", "--settle", "0.3"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    ready = (await process.stdout.readline()).decode()
    yield ready.split()[-1]
    process.terminate()
    await process.communicate()
    assert process.returncode == 0


async def enter(game: Game) -> None:
    await game.register("ada@example.test", "Ada", "correct horse")


async def stay(game: Game) -> None:
    await enter(game)
    await asyncio.Event().wait()


async def follow(game: Game) -> None:
    async for _ in game.follow():
        pass


def play(stages: int) -> Callable[[Game], Awaitable[None]]:
    async def play(game: Game) -> None:
        await enter(game)
        await game.start()
        for _ in range(stages):
            await game.complete(120)

    return play


async def ask_at_once(game: Game) -> None:
    await asyncio.gather(game.ping(), game.leaderboard(), game.ping())
    await game.ping()


#: What a user of the client would do for each task.
TASKS: dict[str, Callable[[Game], Awaitable[None]]] = {
    "play": play(3),
    "duplicate": play(1),
    "unavailable": play(1),
    "gap": follow,
    "duplicate-delta": follow,
    "epoch": follow,
    "entries-null": follow,
    "drain": stay,
    "expiry": stay,
    "expired": stay,
    "revoked": stay,
    "slow": play(2),
    "unknown-push": play(2),
    "order": ask_at_once,
    "silence": stay,
    "flood": play(0),
}


def test_every_scenario_is_tried() -> None:
    assert TASKS.keys() == SCENARIOS.keys()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", TASKS)
async def test_client_passes(kit: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.link.PING_SECONDS", 0.3)  # for the scenario that is silent
    verdict: dict[str, Any] = {}
    async with aiohttp.ClientSession() as http, connect(f"{kit.replace('http', 'ws', 1)}/{name}/1/ws") as game:

        async def work() -> None:
            with suppress(Closed, ConnectionLost, RequestRefused):
                await TASKS[name](game)

        working = asyncio.create_task(work())
        async with asyncio.timeout(60):
            while verdict.get("passed") is None:
                await asyncio.sleep(0.05)
                async with http.get(f"{kit}/{name}/1/verdict") as answer:
                    if answer.status == 200:
                        verdict = await answer.json()
        working.cancel()
        await asyncio.wait([working])
    assert verdict["passed"], json.dumps(verdict["steps"], indent=1)
