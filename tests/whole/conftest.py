"""One server for all tests that need nothing special, and the servers' logs beside a failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import pytest_asyncio

from tests.stores import Stores
from tests.whole.running import SERVERS, Server, server_on

#: A page that the operator has named.
FRIEND = "https://friend.example"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(stores: Stores) -> AsyncIterator[Server]:
    """A server that many tests share, so players need names of their own. Its limits are on, as by default."""
    async with server_on(stores, BRAINGAME_ORIGINS=f"http://other.example, {FRIEND}") as found:
        yield found


@dataclass
class Idle:
    """What became of silent sockets: the close code of the one without a purpose and after how many seconds it came,
    and whether the subscriber and the player were still answered then."""

    code: int | None
    seconds: float
    others: list[str]


async def _idle(server: Server) -> Idle:
    loop = asyncio.get_running_loop()
    async with server.client() as idler, server.client() as subscriber, server.client() as player:
        started = loop.time()
        await idler.do("ping")  # neither of these is a purpose
        await idler.do("leaderboard.get")
        await subscriber.do("leaderboard.subscribe")
        await player.register("silent")
        code = await idler.closed()
        seconds = loop.time() - started
        return Idle(code, seconds, [(await one.ask("ping"))["type"] for one in (subscriber, player)])


@pytest_asyncio.fixture(scope="session", loop_scope="session", autouse=True)
async def idle(server: Server) -> AsyncIterator[Future[Idle]]:
    """Silent sockets from the first test on, in a thread of their own: the tests run while the server waits for a
    purpose."""
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(asyncio.run, _idle(server))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections += [(f"Log of the server with process id {one.process.pid}", one.log) for one in SERVERS]
    return report


def pytest_runtest_setup(item: pytest.Item) -> None:
    SERVERS[:] = [one for one in SERVERS if one.alive]
