"""What the machine itself allows, beside what a server makes of it."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Final
from uuid import uuid4

from bench.bulk import add_players
from bench.dialects import SCORES
from bench.machine import Cores
from game.session import NEVER_PLAYED, Command, Complete, PlayerState, Start, step
from server.clock import utc_now
from storage.commits import Change, Commits, new_key
from storage.postgres import Postgres

_STAGES: Final = len(SCORES)


async def commits_a_second(database_url: str, cores: Cores, players: int, seconds: float) -> float:
    """Actions that are made durable each second where nothing but their commit is done: no socket, no message, no
    board. Players play their sessions in this process, on the server's core; whoever has a commit wants the next."""
    os.sched_setaffinity(0, cores.server)
    postgres = await Postgres.connect(database_url, connections=2)
    commits = Commits(postgres.lasting())
    running = asyncio.create_task(commits.run())
    try:
        numbers = await add_players(postgres, players)
        end = time.perf_counter() + seconds
        return sum(await asyncio.gather(*(_play(commits, number, end) for number in numbers))) / seconds
    finally:
        running.cancel()
        await asyncio.wait([running])
        await postgres.close()
        os.sched_setaffinity(0, cores.rest)


async def _play(commits: Commits, number: int, end: float) -> int:
    state, count = NEVER_PLAYED, 0
    while time.perf_counter() < end:
        session: list[Command] = [Start(uuid4(), _STAGES), *map(Complete, SCORES)]
        for command in session:
            now = utc_now()
            after = step(state, command, now)
            assert isinstance(after, PlayerState)  # noqa: S101
            score = command.score if isinstance(command, Complete) else None
            await commits.commit(Change(number, command.action, score, after, now, new_key()))
            state = after
            count += 1
    return count
