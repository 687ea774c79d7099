"""Several processes on one port: whoever a client's connection comes to, it is one game."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from websockets.exceptions import ConnectionClosed, InvalidMessage

from tests.server.clients import Client
from tests.server_process import PATIENCE
from tests.stores import Stores
from tests.whole.board import Follower
from tests.whole.running import Server, data_folder, database_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORKERS = 2
#: Enough for the kernel, which spreads connections by chance, to give some to each worker.
MANY = 24


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def several(stores: Stores) -> AsyncIterator[Server]:
    async with (
        database_of(stores) as settings,
        await Server.start("--workers", str(WORKERS), **settings, BRAINGAME_LIMITS="off") as found,
    ):
        yield found


def workers_of(server: Server) -> list[int]:
    """Process ids."""
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if b"\0worker\0" in Path(f"/proc/{child}/cmdline").read_bytes()]


def sockets_of(pid: int) -> int:
    """How many connections a worker has open."""
    found = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            found += str(entry.readlink()).startswith("socket:")
    return found


async def crowd(server: Server, stack: AsyncExitStack, token: str | None = None, count: int = MANY) -> list[Client]:
    return [await stack.enter_async_context(server.client(token)) for _ in range(count)]


async def test_connections_are_spread_over_the_workers(several: Server) -> None:
    workers = workers_of(several)
    assert len(workers) == WORKERS
    before = [sockets_of(pid) for pid in workers]
    async with AsyncExitStack() as stack:
        await crowd(several, stack)
        more = [sockets_of(pid) - held for pid, held in zip(workers, before, strict=True)]
        assert sum(more) >= MANY
        assert all(more)


async def test_actions_of_one_player_on_all_workers_are_applied_one_at_a_time(several: Server) -> None:
    async with several.client() as client, AsyncExitStack() as stack:
        token = (await client.register("everyworker"))["token"]
        everywhere = await crowd(several, stack, token)
        done = await asyncio.gather(
            *(one.do("session.start", key=f"start {index:02}") for index, one in enumerate(everywhere))
        )
        assert sorted(state["sessionVersion"] for state in done) == list(range(1, MANY + 1))
        # And once more on another's socket: each was done once.
        again = await asyncio.gather(
            *(one.do("session.start", key=f"start {MANY - 1 - index:02}") for index, one in enumerate(everywhere))
        )
        assert again == [{**state, "replayed": True} for state in reversed(done)]


async def test_spectators_of_every_worker_hold_the_same_board(several: Server) -> None:
    async with AsyncExitStack() as stack:
        followers = [Follower(one, "all-time:4", 10) for one in await crowd(several, stack)]
        for follower in followers:
            await follower.subscribe()
        players = await crowd(several, stack, count=6)
        for index, player in enumerate(players):
            await player.register(f"workerboard{index}")
            await player.do("session.start", difficulty=4)
            await player.do("session.close", score=index)
        for follower in followers:
            for index in range(len(players)):
                await follower.until(f"workerboard{index}")
            await follower.check()
        assert all(follower.entries == followers[0].entries for follower in followers)
        assert all(follower.fulls == 0 for follower in followers)


async def test_each_worker_tells_the_figures_of_all(several: Server) -> None:
    async def scraped() -> dict[str, float]:
        async with (
            aiohttp.ClientSession(several.origin) as http,
            http.get("/metrics") as answer,
        ):
            text = await answer.text()
        return {name: float(value) for name, value in re.findall(r"^(braingame\S+) (\S+)$", text, re.MULTILINE)}

    listed = 'braingame_requests_total{outcome="ok",type="logins.list"}'  # which nobody else here asks for
    open_now = 'braingame_connections{role="player"}'
    async with several.client() as client, AsyncExitStack() as stack:
        token = (await client.register("counted"))["token"]
        for one in await crowd(several, stack, token):
            await one.do("logins.list")
        async with asyncio.timeout(PATIENCE):
            # A worker that is not scraped itself tells its figures once a second.
            while (await scraped())[listed] != MANY:
                await asyncio.sleep(0.1)
        for _ in range(8):  # on new connections, so some are answered by each
            assert (await scraped())[listed] == MANY
        async with asyncio.timeout(PATIENCE):
            while (await scraped())[open_now] != MANY + 1:
                await asyncio.sleep(0.1)


async def test_killed_worker_takes_only_its_own_sockets_along_and_is_started_again(stores: Stores) -> None:
    async with (
        database_of(stores) as settings,
        await Server.start("--workers", str(WORKERS), **settings) as server,
        AsyncExitStack() as stack,
    ):
        async with server.client() as client:
            token = (await client.register("survivor"))["token"]
            await client.do("session.start")
        everywhere = await crowd(server, stack, token)
        victim, *others = workers_of(server)
        os.kill(victim, signal.SIGKILL)
        answers = await asyncio.gather(*map(still_answers, everywhere))
        assert any(answers)
        assert not all(answers)
        # The port stays open all the time, and soon there are as many workers as before.
        async with asyncio.timeout(PATIENCE):
            while len(found := workers_of(server)) < WORKERS or not set(others) < set(found):
                # The kernel may have given a connection to the one that was about to die.
                with suppress(InvalidMessage, OSError):
                    async with server.client(token) as client:
                        assert (await client.push("welcome"))["session"]["sessionVersion"] == 1
        assert victim not in found
        assert '"a worker has ended and is started again"' in server.log
        server.log = server.log.replace('"level": "error"', '"level": "seen"')


async def still_answers(client: Client) -> bool:
    try:
        async with asyncio.timeout(PATIENCE):
            await client.do("ping")
    except ConnectionClosed:
        return False
    return True


async def test_sigterm_drains_every_worker(stores: Stores) -> None:
    async with (
        database_of(stores) as settings,
        await Server.start("--workers", str(WORKERS), **settings) as server,
        AsyncExitStack() as stack,
    ):
        everywhere = await crowd(server, stack)
        workers = workers_of(server)
        server.process.send_signal(signal.SIGTERM)
        for one in everywhere:
            assert await one.closed() == 1001
            assert any(message["type"] == "server.draining" for message in one.pushes)
        assert await server.exit_code() == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


async def test_killed_parent_leaves_no_worker_behind_and_the_next_server_has_everything() -> None:
    with data_folder() as folder:
        settings = {"BRAINGAME_DATA_DIR": str(folder)}
        first = await Server.start("--workers", str(WORKERS), **settings)
        async with first.client() as client:
            token = (await client.register("orphan"))["token"]
            done = await client.do("session.start")
            await first.kill()
            assert await client.closed() in (1001, None)
        async with (
            await Server.start("--workers", str(WORKERS), "--port", str(first.port), **settings) as second,
            second.client(token) as client,
        ):
            assert (await client.push("welcome"))["session"] == done


async def test_port_of_other_workers_is_not_shared_by_mistake(several: Server, stores: Stores) -> None:
    async with database_of(stores) as settings:
        second = await Server.spawn("--workers", "2", "--port", str(several.port), **settings)
        assert await second.exit_code() == 2
        (line,) = second.log.splitlines()
        assert str(several.port) in line
