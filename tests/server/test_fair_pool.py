"""Turns in a pool: who asks for much waits behind others who ask for little, and nobody fills it alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from functools import partial

import pytest

from protocol.errors import ErrorCode, RequestError
from server.fair_pool import FairPool
from tests.server.fakes import DEADLINE

MOST, MOST_OF_ONE = 6, 4


def refusal() -> RequestError:
    return RequestError(ErrorCode.RATE_LIMITED, retry_after_ms=1000)


class Busy:
    """A pool of one thread that is at work until it is let go, and what it did then."""

    def __init__(self) -> None:
        self.pool = FairPool(1, "test", most=MOST, most_of_one=MOST_OF_ONE, refusal=refusal)
        self.go_on = threading.Event()
        self.done: list[str] = []

    async def begin(self) -> None:
        self.first = asyncio.create_task(self.pool.run(lambda: self.go_on.wait(DEADLINE), "somebody"))
        await asyncio.sleep(0)

    async def ask(self, whose: str | None, *names: str) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(self.pool.run(partial(self.done.append, name), whose)) for name in names]
        await asyncio.sleep(0)
        return tasks

    async def finish(self, *tasks: asyncio.Task[None]) -> list[BaseException | None]:
        self.go_on.set()
        return await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def busy() -> AsyncIterator[Busy]:
    found = Busy()
    await found.begin()
    yield found
    found.go_on.set()
    await found.first
    found.pool.close()


async def test_clients_are_served_in_turn(busy: Busy) -> None:
    tasks = await busy.ask("a", "a1", "a2", "a3")
    tasks += await busy.ask("b", "b1")
    tasks += await busy.ask("c", "c1", "c2")
    assert busy.pool.waiting() == 6
    await busy.finish(*tasks)
    assert busy.done == ["a1", "b1", "c1", "a2", "c2", "a3"]
    assert busy.pool.waiting() == 0


async def test_one_client_gets_no_more_places_than_its_own(busy: Busy) -> None:
    tasks = await busy.ask("a", "a1", "a2", "a3", "a4", "a5")
    tasks += await busy.ask("b", "b1")
    outcomes = await busy.finish(*tasks)
    assert [isinstance(outcome, RequestError) for outcome in outcomes] == [False] * 4 + [True, False]
    assert busy.done == ["a1", "b1", "a2", "a3", "a4"]


async def test_clients_of_this_machine_have_all_the_room_that_there_is(busy: Busy) -> None:
    tasks = await busy.ask(None, *map(str, range(MOST + 1)))
    outcomes = await busy.finish(*tasks)
    assert [isinstance(outcome, RequestError) for outcome in outcomes] == [False] * MOST + [True]


async def test_full_queue_takes_the_last_place_of_who_has_the_most(busy: Busy) -> None:
    tasks = await busy.ask("a", "a1", "a2", "a3", "a4")
    tasks += await busy.ask("b", "b1", "b2")
    tasks += await busy.ask("c", "c1")
    assert busy.pool.waiting() == MOST
    outcomes = await busy.finish(*tasks)
    assert [isinstance(outcome, RequestError) for outcome in outcomes] == [False] * 3 + [True] + [False] * 3
    assert busy.done == ["a1", "b1", "c1", "a2", "b2", "a3"]


async def test_who_is_cancelled_costs_no_work_and_no_place(busy: Busy) -> None:
    tasks = await busy.ask("a", "a1", "a2", "a3", "a4")
    for task in tasks[:3]:
        task.cancel()
    await asyncio.gather(*tasks[:3], return_exceptions=True)
    assert busy.pool.waiting() == 1
    tasks = tasks[3:] + await busy.ask("a", "a5")
    await busy.finish(*tasks)
    assert busy.done == ["a4", "a5"]


async def test_thread_of_a_cancelled_client_is_free_only_when_its_work_has_ended(busy: Busy) -> None:
    gone = asyncio.create_task(busy.pool.run(lambda: None, "gone"))
    busy.first.cancel()
    tasks = await busy.ask("a", "a1")
    assert busy.pool.waiting() == 2
    await busy.finish(*tasks, gone)
    assert busy.done == ["a1"]
    busy.first = asyncio.create_task(busy.pool.run(lambda: True, "somebody"))


async def test_error_of_the_work_is_its_clients(busy: Busy) -> None:
    busy.go_on.set()
    with pytest.raises(ZeroDivisionError):
        await busy.pool.run(lambda: 1 // 0, "a")
    assert await busy.pool.run(lambda: 1, "b") == 1


async def test_closed_pool_forgets_what_waits_and_takes_nothing_more(busy: Busy) -> None:
    (task,) = await busy.ask("a", "a1")
    busy.pool.close()
    await busy.finish(task)
    assert task.cancelled()
    with pytest.raises(RequestError):
        await busy.pool.run(lambda: None, "a")
    assert busy.done == []
